"""Transforms refuse image, label and weight map that are not of one size."""

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.border import BorderWeights
from segjax.transforms.elastic import RandomElastic
from segjax.transforms.geometric import (
    MirrorPad,
    RandomCrop,
    RandomFlip,
    RandomFlipVertical,
    RandomRotate90,
    RandomScale,
    Resize,
)
from segjax.transforms.rotate import RandomRotate

ALL = (
    RandomScale(),
    Resize(5),
    RandomCrop(4, fill=0),
    MirrorPad(2),
    RandomFlip(1.0),
    RandomFlipVertical(1.0),
    RandomRotate90(),
    RandomElastic(),
    RandomRotate(probability=1.0),
    BorderWeights(),
)
EXAMPLE = {
    "image": np.zeros((6, 7, 3), np.uint8),
    "label": np.zeros((6, 7), np.uint8),
    "name": "scan 7",
}


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize(
    ("key", "shape"),
    [("label", (7, 6, 1)), ("label", (1, 6, 7)), ("label", (3, 7)), ("weight", (6, 1))],
)
def test_maps_of_two_sizes_are_refused_with_both_shapes_and_the_name(transform, key, shape):
    transform(EXAMPLE, np.random.default_rng(0))
    wrong = {**EXAMPLE, key: np.zeros(shape, np.uint8)}
    with pytest.raises(InputError, match="^Example 'scan 7'") as raised:
        transform(wrong, np.random.default_rng(0))
    assert str(shape) in str(raised.value) and "(6, 7, 3)" in str(raised.value)


@pytest.mark.parametrize("label", [np.zeros((6, 7, 2), np.uint8), np.zeros((6, 7), np.float32)])
def test_border_weights_refuse_what_is_not_one_map_of_class_ids(label):
    wrong = {**EXAMPLE, "label": label}
    with pytest.raises(
        InputError, match="^Example 'scan 7': BorderWeights finds cells"
    ) as raised:
        BorderWeights()(wrong, np.random.default_rng(0))
    assert f"{label.dtype} of shape {label.shape}" in str(raised.value)


@pytest.mark.parametrize("label", [-1, 2, 254])
def test_border_weights_have_a_weight_for_classes_alone(label):
    wrong = {**EXAMPLE, "label": np.full((6, 7), label)}
    with pytest.raises(InputError, match=f"2 class_weights, but a label is {label}"):
        BorderWeights(class_weights=(1.0, 2.0))(wrong, np.random.default_rng(0))


@pytest.mark.parametrize(
    "fields",
    [
        {"class_weights": (1.0, np.nan)},
        {"class_weights": (-1.0,)},
        {"w0": np.nan},
        {"sigma": 0.0},
    ],
    ids=str,
)
def test_border_weights_are_numbers_of_at_least_0(fields):
    with pytest.raises(InputError, match="^BorderWeights needs"):
        BorderWeights(**fields)

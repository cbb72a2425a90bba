"""Examples of planes: whatever is wrong with one is said in one line, without a traceback."""

import numpy as np
import pytest

from segjax.data.checks import check_example, check_finite_image, check_plane_example
from segjax.data.loader import batches
from segjax.errors import InputError

NAMES = ("disc", "cup")
EXAMPLE = {
    "image": np.zeros((4, 5, 3), np.uint8),
    "label": np.array([0, 1, 255, 0] * 10, np.uint8).reshape(4, 5, 2),
    "name": "scan 7",
}
MISSING = object()
FAULTS = [
    ("image", EXAMPLE["image"].tolist(), "'image' must be a NumPy array, got list"),
    ("image", MISSING, "'image' must be a NumPy array, got NoneType"),
    ("image", EXAMPLE["image"][..., 0], r"the image has shape \(4, 5\), not h w c"),
    ("image", EXAMPLE["image"].astype(np.int32), "An image is int32, whose full brightness"),
    ("image", np.full((4, 5, 3), np.nan), "60 image value.s. that are not finite"),
    ("label", EXAMPLE["label"].tolist(), "'label' must be a NumPy array, got list"),
    ("label", MISSING, "'label' must be a NumPy array, got NoneType"),
    ("label", EXAMPLE["label"][:3], r"the label has shape \(3, 5, 2\), the image"),
    ("label", EXAMPLE["label"][..., 0], r"it must be h w k, here \(4, 5, 2\)"),
    ("label", EXAMPLE["label"].transpose(2, 0, 1), r"for planes k h w give label.transpose\(1"),
    ("label", EXAMPLE["label"].astype(float), "the planes of its label are float64"),
    ("label", EXAMPLE["label"] * 7, r"the values \[7, 249\] in its label's planes"),
    ("weight", np.ones((4, 5)).tolist(), "'weight' must be a NumPy array of real .* got list"),
    ("weight", np.full((4, 5), "a"), "'weight' must be a NumPy array of real numbers, got <U1"),
    ("weight", np.full((4, 5), None), "'weight' must be a NumPy array of real .* got object"),
    ("weight", np.ones((4, 5), complex), "'weight' must be a NumPy .* got complex128"),
    ("weight", None, "'weight' must be a NumPy array of real numbers, got NoneType"),
    ("weight", np.ones((4, 5, 3)), r"the weight map has shape \(4, 5, 3\); it must be h w"),
    ("weight", np.full((4, 5), -1.0), "has the pixel weight -1.0"),
]


class Data:
    channels, class_names = 3, NAMES

    def prepare(self):
        pass

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(EXAMPLE)


def changed(key, value):
    given = {**EXAMPLE, key: value}
    return {k: v for k, v in given.items() if v is not MISSING}


@pytest.mark.parametrize(("key", "value", "message"), FAULTS)
def test_what_is_wrong_is_one_line_with_the_examples_name(key, value, message):
    check_plane_example(EXAMPLE, NAMES)
    with pytest.raises(InputError, match=f"^Example 'scan 7'.*{message}") as raised:
        check_plane_example(changed(key, value), NAMES)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("key", "value", "message"), FAULTS)
def test_so_is_what_a_transform_returns(key, value, message):
    check = lambda e, transformed=False: check_plane_example(e, NAMES, transformed=transformed)
    spoil = lambda example, rng: changed(key, value)
    with pytest.raises(InputError, match=f"^Example 'scan 7'.*{message}"):
        next(batches(Data(), (spoil,), batch_size=2, seed=0, threads=0, check=check))


@pytest.mark.parametrize("value", [EXAMPLE["image"].tolist(), MISSING, EXAMPLE["image"][0]])
def test_every_check_says_the_same_of_an_image(value):
    lines = []
    for check in (check_plane_example, check_example):
        with pytest.raises(InputError) as raised:
            check(changed("image", value), NAMES)
        lines.append(str(raised.value))
    with pytest.raises(InputError) as raised:
        check_finite_image(changed("image", value))
    assert {*lines} == {str(raised.value)}


def test_weights_may_be_of_each_pixel_or_of_each_plane():
    for shape in ((4, 5), (4, 5, 2)):
        weight = np.where(EXAMPLE["label"] == 255, np.nan, 1.0)
        given = weight if len(shape) == 3 else np.ones(shape)
        assert check_plane_example({**EXAMPLE, "weight": given}, NAMES) is None
    with pytest.raises(InputError, match="weight"):
        check_plane_example({**EXAMPLE, "weight": np.ones((4, 5, 3))}, NAMES)

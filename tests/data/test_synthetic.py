import importlib.util
import pathlib
import pickle

import numpy as np
import pytest

from segjax.contracts import Dataset
from segjax.data.synthetic import CLASSES, Synthetic
from segjax.errors import InputError


def test_an_example_is_a_function_of_seed_split_and_index():
    first, again = Synthetic(seed=3)[7], Synthetic(seed=3)[7]
    assert all(np.array_equal(first[key], again[key]) for key in ("image", "label"))
    others = (Synthetic(seed=4)[7], Synthetic(seed=3)[8], Synthetic("val", seed=3)[7])
    assert not any(np.array_equal(first["image"], other["image"]) for other in others)


def test_it_is_a_dataset_with_no_end_to_train_on_and_64_images_held_out():
    train, val = Synthetic(), Synthetic("val")
    train.prepare()
    assert isinstance(train, Dataset) and (len(train), len(val)) == (2**20, 64)
    assert eval(repr(val)) == val == pickle.loads(pickle.dumps(val))
    assert len(Synthetic(count=5)) == 5
    with pytest.raises(IndexError):
        val[64]


@pytest.mark.parametrize("size", [33, 96])
def test_images_are_rgb_bytes_and_every_class_occurs(size):
    examples = [Synthetic(size=size)[i] for i in range(20)]
    for example in examples:
        assert example["image"].shape == (size, size, 3) and example["image"].dtype == np.uint8
        assert example["label"].shape == (size, size) and example["label"].dtype == np.uint8
    labels = np.stack([example["label"] for example in examples])
    counts = np.bincount(labels.ravel(), minlength=len(CLASSES))
    assert len(counts) == len(CLASSES) and counts.min() > 0.01 * labels.size
    assert 0.4 < counts[0] / labels.size < 0.8


def test_each_kind_of_pixel_has_the_same_mean_and_spread_of_colour():
    examples = [Synthetic(size=48)[i] for i in range(300)]
    image = np.stack([example["image"] for example in examples]).astype(float)
    label = np.stack([example["label"] for example in examples])
    means = np.stack([image[label == c].mean(0) for c in range(len(CLASSES))])
    spreads = np.stack([image[label == c].std(0) for c in range(len(CLASSES))])
    assert np.ptp(means, axis=0).max() < 15 and np.ptp(spreads, axis=0).max() < 10


def test_a_shape_differs_from_the_ground_around_it_in_colour():
    example = Synthetic()[0]
    means = [
        example["image"][example["label"] == c].mean(0) for c in np.unique(example["label"])
    ]
    assert all(abs(mean - means[0]).max() > 20 for mean in means[1:])


@pytest.fixture(scope="module")
def pixel_baseline():
    path = pathlib.Path(__file__).parents[2] / "benchmarks" / "pixel_baseline.py"
    spec = importlib.util.spec_from_file_location("pixel_baseline", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("kind", ["linear", "histogram"])
def test_no_classifier_of_single_pixels_comes_near_half_the_possible_score(
    pixel_baseline, kind, balanced
):
    train, val = Synthetic(size=48), Synthetic("val", size=48, count=16)
    if kind == "linear":
        predict = pixel_baseline.softmax_classifier(
            train, pixel_baseline.linear, images=60, per_image=50, steps=100, balanced=balanced
        )
    else:
        predict = pixel_baseline.histogram_classifier(train, images=60, balanced=balanced)
    mean_iou, _ = pixel_baseline.score(predict, val)
    assert 0.01 < mean_iou < 0.2


def test_the_baseline_finds_what_colour_alone_does_tell(pixel_baseline):
    class Coloured(Synthetic):
        def __getitem__(self, index):
            example = super().__getitem__(index)
            return {**example, "image": self.palette[example["label"]]}

    train, val = Coloured(size=48), Coloured("val", size=48, count=8)
    predict = pixel_baseline.softmax_classifier(train, pixel_baseline.linear, images=40)
    assert pixel_baseline.score(predict, val)[0] > 0.95
    predict = pixel_baseline.histogram_classifier(train, images=40)
    assert pixel_baseline.score(predict, val)[0] > 0.99


@pytest.mark.parametrize(
    "fields", [{"split": "test"}, {"size": 8}, {"count": 0}, {"seed": -1}], ids=str
)
def test_a_field_that_cannot_work_is_named(fields):
    with pytest.raises(InputError, match=str(next(iter(fields.values())))):
        Synthetic(**fields)

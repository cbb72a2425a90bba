"""Examples of a dataset of one's own: what is wrong is named before it becomes a number."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from segjax.data.checks import check_example
from segjax.data.loader import batches, equal_size_batches
from segjax.data.synthetic import Synthetic
from segjax.errors import InputError

NAMES = ("ground", "road", "car")
EXAMPLE = {
    "image": np.zeros((4, 5, 3), np.float32),
    "label": np.arange(20).reshape(4, 5) % 3,
    "name": "scan 7",
}


def spoilt(array: np.ndarray, value: Any) -> np.ndarray:
    array = array.copy()
    array[1, 2] = value
    return array


FAULTS = [
    ({"label": spoilt(EXAMPLE["label"], -1)}, r"has the label ids \[-1\], but the 3 classes"),
    ({"label": spoilt(EXAMPLE["label"], 7)}, r"has the label ids \[7\].*0 to 2 .and 255"),
    ({"label": spoilt(EXAMPLE["label"], 2**32)}, r"has the label ids \[4294967296\]"),
    ({"label": spoilt(EXAMPLE["label"], 256).astype(np.uint16)}, r"\[256\]"),
    (
        {"label": EXAMPLE["label"].astype(float)},
        "label must be class ids .integers., got float64",
    ),
    (
        {"image": spoilt(EXAMPLE["image"], np.nan)},
        "3 image value.s. that are not finite.*first nan",
    ),
    ({"image": spoilt(EXAMPLE["image"], -np.inf)}, "-inf at row 1, column 2, channel 0"),
    ({"image": EXAMPLE["image"].astype(complex)}, "An image is complex128"),
    ({"image": EXAMPLE["image"].astype(np.int16)}, "An image is int16, whose full brightness"),
    ({"image": EXAMPLE["image"].astype(bool)}, "An image is bool"),
    ({"weight": spoilt(np.ones((4, 5)), -2.0)}, "has the pixel weight -2.0"),
    ({"weight": spoilt(np.ones((4, 5)), np.nan)}, "has the pixel weight nan"),
    ({"weight": np.ones((4, 5)).tolist()}, "'weight' must be a NumPy array .*, got list"),
    ({"weight": np.ones((4, 5), complex)}, "of real numbers, got complex128"),
    ({"weight": np.ones((4, 5), object)}, "of real numbers, got object"),
]


@dataclass(frozen=True)
class Mine:
    """Eight examples, of which number `at` is changed."""

    changed: Any
    at: int = 6
    class_names: tuple[str, ...] = NAMES

    def prepare(self):
        pass

    def __len__(self):
        return 8

    def __getitem__(self, index):
        changed = self.changed if index == self.at else {}
        weight = {"weight": np.ones((4, 5))} if "weight" in self.changed else {}
        return {**EXAMPLE, **weight, "name": f"n{index}", **changed}


@pytest.mark.parametrize(("changed", "message"), FAULTS)
def test_what_is_wrong_with_an_example_is_one_line_with_its_name(changed, message):
    check_example(EXAMPLE, NAMES)
    with pytest.raises(InputError, match=f"^Example 'scan 7'.*{message}") as raised:
        check_example({**EXAMPLE, **changed}, NAMES)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("changed", "message"), FAULTS)
def test_every_example_of_training_and_of_evaluation_is_looked_at(changed, message):
    data = Mine(changed)
    with pytest.raises(InputError, match=f"^Example 'n6'.*{message}"):
        for _ in equal_size_batches(data, range(8), 3):
            pass
    found = batches(data, (), batch_size=2, seed=0, threads=0)
    with pytest.raises(InputError, match=f"^Example 'n6'.*{message}"):
        for _ in range(4):
            next(found)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("k", [1, 2, 3, 127, 128, 254, 255, 256])
def test_every_label_of_every_type_is_a_class_or_ignored_or_named(dtype, k):
    limits = np.iinfo(dtype) if dtype is not bool else np.iinfo(np.uint8)
    for i in (0, 1, 2, 126, 127, 128, 254, 255, 256, 511, -1, -128):
        if not limits.min <= i <= (1 if dtype is bool else limits.max):
            continue
        label = spoilt(np.zeros((4, 5), dtype), i)
        example = {**EXAMPLE, "label": label, "weight": np.ones((4, 5))}
        if 0 <= i < k or i == 255:
            check_example(example, ("a",) * k)
        else:
            with pytest.raises(InputError, match=rf"has the label ids \[{i}\], but the {k}"):
                check_example(example, ("a",) * k)


def test_an_example_without_pixels_is_read():
    empty = {"image": np.zeros((0, 5, 3)), "label": np.zeros((0, 5), int)}
    assert check_example({**empty, "weight": np.zeros((0, 5))}, NAMES) is None
    with pytest.raises(InputError, match="the label has shape"):
        check_example({**empty, "label": np.zeros((0, 4), int)}, NAMES)


def test_ignored_pixels_may_have_any_weight():
    label, weight = spoilt(EXAMPLE["label"], 255), spoilt(np.ones((4, 5)), np.nan)
    assert check_example({**EXAMPLE, "label": label, "weight": weight}, NAMES) is None
    with pytest.raises(InputError, match="pixel weight nan"):
        check_example({**EXAMPLE, "weight": weight}, NAMES)


def test_worker_processes_name_the_example_too():
    found = batches(Synthetic(size=16), (Spoil(),), batch_size=2, seed=0, workers=1)
    with pytest.raises(
        Exception, match=r"Example '[^']*' after its transforms has the label ids"
    ):
        next(found)


@dataclass(frozen=True)
class Spoil:
    """A transform that makes another label of every one."""

    label: int = 9

    def __call__(self, example, rng):
        return {**example, "label": np.full_like(example["label"], self.label)}


def test_labels_are_what_the_transforms_make_of_them():
    raw = Mine({"label": np.full((4, 5), 9)})
    next(batches(raw, (Spoil(label=2),), batch_size=8, seed=0, threads=0))
    good = replace(raw, changed={})
    with pytest.raises(InputError, match=r"Example 'n\d' after its transforms has"):
        next(batches(good, (Spoil(),), batch_size=2, seed=0, threads=0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"weight": np.ones((4, 5)), "extra": np.ones(1)},
            "examples with .*image, label, weight",
        ),
        ({"image": np.zeros((4, 5, 3), np.uint8)}, "images of (uint8|float32)"),
        (
            {"image": np.zeros((4, 5, 1), np.float32)},
            r"examples of shapes image \(4, 5, [13]\)",
        ),
    ],
)
def test_examples_of_two_kinds_cannot_share_a_batch(changed, message):
    with pytest.raises(
        InputError, match=rf"^One batch cannot hold {message}.* \(n\d\) and .*n"
    ):
        next(batches(Mine(changed), (), batch_size=8, seed=0, threads=0))


def test_byte_orders_share_a_batch_which_has_the_machines_own():
    data = Mine({"image": np.full((4, 5, 3), 0.5, ">f4"), "label": EXAMPLE["label"] + 0})
    (_, images, _), *more = equal_size_batches(data, range(8), 8)
    assert not more and images.dtype.isnative and (images[6] == 0.5).all()
    for at in (6, None):
        every = replace(data, at=at) if at else Same(data.changed)
        batch = next(batches(every, (), batch_size=8, seed=0, threads=0))
        assert batch["image"].dtype.isnative and batch["image"].max() == 0.5


class Same(Mine):
    """All examples are changed."""

    def __getitem__(self, index):
        return {**EXAMPLE, "name": f"n{index}", **self.changed}


def test_an_image_of_other_channels_is_named_even_alone_in_its_batch():
    data = Mine({"image": np.zeros((4, 5, 4), np.float32)})
    message = "^Example 'n6' has 4 channels, the first example 3"
    with pytest.raises(InputError, match=message):
        list(equal_size_batches(data, range(8), 1))
    found = batches(data, (), batch_size=1, seed=0, threads=0, channels=3)
    with pytest.raises(InputError, match=message):
        for _ in range(8):
            next(found)


def test_images_of_two_types_are_evaluated_apart():
    data = Mine({"image": np.zeros((4, 5, 3), np.uint8)})
    groups = list(equal_size_batches(data, range(8), 8))
    assert sorted((len(g), images.dtype.name) for g, images, _ in groups) == [
        (1, "uint8"),
        (7, "float32"),
    ]

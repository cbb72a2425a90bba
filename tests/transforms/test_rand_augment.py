import numpy as np
import pytest

from segjax.description import describe_lines, wrong_types
from segjax.errors import InputError
from segjax.transforms import rand_augment
from segjax.transforms.rand_augment import OPERATIONS, RandAugment

GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y", "zoom")
RGB_ONLY = ("saturation", "hue")


def rng(seed=0):
    return np.random.default_rng(seed)


def example(c=3, dtype=np.uint8):
    label = np.kron(rng(1).integers(0, 4, (5, 6)), np.ones((8, 8), int)).astype(np.uint8)
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[np.dtype(dtype).name]
    image = (label[..., None] * 40 + rng(2).integers(20, 60, (40, 48, c))) * scale
    return {"image": image.astype(dtype), "label": label, "name": "scan 7"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.__name__)
@pytest.mark.parametrize(("c", "dtype"), [(3, np.uint8), (1, np.uint16), (4, np.float32)])
def test_each_operation_keeps_dtype_and_size_and_grows_with_its_level(operation, c, dtype):
    given, name = example(c, dtype), operation.__name__
    changes = []
    for level in (0.2, -1.0, 1.0):
        found = operation(given, level, rng(), 0)
        assert found["image"].dtype == dtype and found["image"].shape == given["image"].shape
        moved = not np.array_equal(found["label"], given["label"])
        assert moved == (name in GEOMETRIC)
        difference = found["image"].astype(np.float64) - given["image"]
        changes.append(abs(difference).mean() / (given["image"].max() / 100))
    if name == "identity" or (name in RGB_ONLY and c != 3):
        assert max(changes) == 0
    else:
        # CLAHE's tiles are too small here for its clip limit to matter.
        assert changes[0] < min(changes[1:]) + (name == "clahe")
        assert min(changes[1:]) > 0.5


def test_the_table_of_the_module_lists_every_operation():
    table = rand_augment.__doc__
    assert all(f"`{operation.__name__}`" in table for operation in OPERATIONS)


def test_a_turn_at_level_1_is_one_of_30_degrees():
    given = {**example(), "points": np.array([[24.0, 20.0], [34.0, 20.0]])}
    centre, right = rand_augment.rotate(given, 1.0, rng(), 0)["points"]
    np.testing.assert_allclose(centre, [24, 20])
    np.testing.assert_allclose(right - centre, [10 * np.sqrt(3) / 2, -5], atol=1e-9)


def counting(level_list):
    def record(example, level, rng, fill):
        level_list.append(level)
        return example

    return record


def test_count_operations_are_drawn_from_the_list_with_both_signs():
    first, second = [], []
    transform = RandAugment(3, 4.0, (counting(first), counting(second)))
    generator = rng()
    for _ in range(200):
        transform(example(), generator)
    assert len(first) + len(second) == 600 and 250 < len(first) < 350
    assert set(first) == set(second) == {0.4, -0.4} and 120 < first.count(0.4) < 180


def test_the_same_generator_gives_the_same_result():
    first, again = (RandAugment(4)(example(), rng(6)) for _ in range(2))
    for key in ("image", "label"):
        np.testing.assert_array_equal(first[key], again[key])


def test_a_run_is_described_by_the_names_of_its_operations():
    transform = RandAugment(operations=(rand_augment.hue, rand_augment.zoom))
    assert list(describe_lines((transform,), path="t"))[1:5] == [
        "t.0.count = 2",
        "t.0.magnitude = 9.0",
        "t.0.operations.0 = segjax.transforms.rand_augment.hue",
        "t.0.operations.1 = segjax.transforms.rand_augment.zoom",
    ]
    assert not list(wrong_types(transform)) and not list(wrong_types(RandAugment()))


def test_an_operation_without_a_name_cannot_describe_a_run():
    transform = RandAugment(operations=(rand_augment.hue, lambda example, *_: example))
    (line,) = wrong_types(transform)
    assert line.startswith("operations: ") and "<lambda> has no name to describe it by" in line


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.__name__)
def test_a_label_that_cannot_hold_255_is_refused_whatever_is_drawn(operation):
    given = {**example(), "label": np.zeros((40, 48), bool)}
    with pytest.raises(InputError, match="'label' is bool, which cannot hold 255"):
        RandAugment(1, operations=(operation,))(given, rng())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandAugment(-1), "RandAugment needs a whole number count >= 0, got -1"),
        (lambda: RandAugment(1.5), "got 1.5"),
        (lambda: RandAugment(magnitude=11), "magnitude in 0 ... 10, got 11"),
        (lambda: RandAugment(operations=()), r"RandAugment needs operations, .* got \(\)"),
        (lambda: RandAugment(operations=("hue",)), r"got \('hue',\)"),
        (lambda: RandAugment(fill="x"), "fill='x'"),
    ],
)
def test_a_field_that_cannot_work_is_named(make, words):
    with pytest.raises(InputError, match=words):
        make()

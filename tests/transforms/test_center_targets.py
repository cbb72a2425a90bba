"""Targets of centres and offsets, against a brute force pixel by pixel."""

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.center_targets import CenterTargets

RNG = np.random.default_rng(0)
SIZE = (26, 41)


def example_of(ids: np.ndarray, crowd=(), **more) -> dict:
    numbers = np.unique(ids[ids > 0]).astype(np.int32)
    label = np.where(ids > 0, 1, 0).astype(np.uint8)
    label[:3] = 255
    return {
        "image": np.zeros((*SIZE, 3), np.uint8),
        "label": label,
        "name": "street",
        "instances": ids[..., None],
        "instance_ids": numbers,
        "classes": np.ones(len(numbers), np.int32),
        "boxes": np.zeros((len(numbers), 4), np.float32),
        "crowd": np.isin(numbers, crowd),
        **more,
    }


def blocks(seed: int) -> np.ndarray:
    """Ids of blocks that touch, lie apart and cross the border."""
    rng = np.random.default_rng(seed)
    shares = (0.35, 0.3, 0.2, 0.1, 0.05)
    small = rng.choice([0, 1, 2, 7, 300], size=(7, 11), p=shares).astype(np.uint16)
    return small.repeat(4, 0).repeat(4, 1)[: SIZE[0], : SIZE[1]]


def brute_force(example: dict, transform: CenterTargets) -> dict[str, np.ndarray]:
    ids, label, sigma = example["instances"][..., 0], example["label"], transform.sigma
    reach, crowds = int(np.ceil(3 * sigma)), example["instance_ids"][example["crowd"]]
    pixels = {n: np.argwhere(ids == n) for n in example["instance_ids"] if n not in crowds}
    out = {key: np.zeros(label.shape) for key in ("center", "center_weight", "offset_weight")}
    out |= {"weight": np.ones(label.shape), "offset": np.zeros((*label.shape, 2))}
    for i, j in np.ndindex(label.shape):
        out["center_weight"][i, j] = label[i, j] != 255 and ids[i, j] not in crowds
        for n, own in pixels.items():
            row, column = middle = own.mean(0)
            di, dj = i - int(np.floor(row + 0.5)), j - int(np.floor(column + 0.5))
            if max(abs(di), abs(dj)) <= reach:
                heat = np.exp(-(di**2 + dj**2) / (2 * sigma**2))
                out["center"][i, j] = max(out["center"][i, j], heat)
            if ids[i, j] == n:
                out["offset"][i, j] = middle - (i, j)
                out["offset_weight"][i, j] = 1
                if len(own) < transform.small_area:
                    out["weight"][i, j] = transform.small_weight
    return out


@pytest.mark.parametrize("sigma", [1.5, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_maps_equal_a_brute_force(seed, sigma):
    example = example_of(blocks(seed), crowd=(7,))
    transform = CenterTargets(sigma=sigma, small_area=200)
    found, wanted = transform(example, RNG), brute_force(example, transform)
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=key)
        assert found[key].dtype == np.float32
    assert len(np.unique(wanted["weight"])) == 2 and wanted["center"].max() == 1


def test_the_shapes_of_a_batch_do_not_depend_on_the_number_of_objects():
    found = [CenterTargets()(example_of(blocks(0) * many), RNG) for many in (np.uint16(0), 1)]
    none, some = ({k: v.shape for k, v in f.items() if hasattr(v, "shape")} for f in found)
    assert none == some
    assert not {"boxes", "classes", "instance_ids", "crowd", "instances"} & some.keys()
    assert not found[0]["center"].any() and not found[0]["offset_weight"].any()


def test_a_pixel_belongs_to_the_largest_id_of_its_layers():
    below, above = blocks(1), np.zeros(SIZE, np.uint16)
    above[5:15, 5:30] = 999
    both = np.stack([below, above], -1)
    example = example_of(np.maximum(below, above), instances=both)
    alone = example_of(np.maximum(below, above))
    found, wanted = CenterTargets()(example, RNG), CenterTargets()(alone, RNG)
    np.testing.assert_array_equal(found["offset"], wanted["offset"])


def test_an_existing_weight_is_multiplied():
    weight = np.full(SIZE, 0.5, np.float16)
    found = CenterTargets()(example_of(blocks(0), weight=weight), RNG)["weight"]
    np.testing.assert_array_equal(np.unique(found), [0.5, 1.5])


def test_an_example_without_objects_is_refused_by_name():
    example = {"image": np.zeros((4, 4, 3), np.uint8), "label": np.zeros((4, 4)), "name": "sea"}
    with pytest.raises(InputError, match="'sea' has no 'instances'"):
        CenterTargets()(example, RNG)


@pytest.mark.parametrize("field", ["sigma", "small_area", "small_weight"])
def test_a_wrong_field_is_named(field):
    with pytest.raises(InputError, match=field):
        CenterTargets(**{field: -1})

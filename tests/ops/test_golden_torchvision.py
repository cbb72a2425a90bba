"""torchvision's answers about boxes, anchors, RoIAlign and masks."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops.anchors import anchors
from segjax.ops.boxes import box_iou, clip_boxes, decode_boxes, encode_boxes
from segjax.ops.crop_masks import crop_masks
from segjax.ops.paste_masks import paste_mask, paste_masks
from segjax.ops.roi_align import roi_align, roi_levels

MAKER = runpy.run_path(str(pathlib.Path(__file__).parent / "make_golden_torchvision.py"))
GIVEN = MAKER["inputs"]()
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


@pytest.fixture(scope="module")
def golden():
    with np.load(MAKER["FILE"]) as file:
        return dict(file)


def _assert_close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def test_overlaps_codes_and_clipped_boxes_are_torchvisions(golden):
    boxes, others, deltas = (jnp.asarray(GIVEN[n]) for n in ("boxes", "others", "deltas"))
    _assert_close(box_iou(boxes, others), golden["iou"])
    _assert_close(encode_boxes(others, boxes, weights=WEIGHTS), golden["encoded"])
    _assert_close(decode_boxes(deltas, boxes, weights=WEIGHTS), golden["decoded"])
    np.testing.assert_array_equal(clip_boxes(boxes, MAKER["CANVAS"]), golden["clipped"])


def test_levels_of_boxes_are_torchvisions(golden):
    levels = roi_levels(jnp.asarray(GIVEN["areas"]))
    np.testing.assert_array_equal(levels, golden["levels"])
    assert len(set(levels.tolist())) == 3


@pytest.mark.parametrize("name", MAKER["GRIDS"])
def test_anchors_are_torchvisions(name, golden):
    grid, canvas = MAKER["GRIDS"][name]
    stride = (canvas[0] // grid[0], canvas[1] // grid[1])
    found = [anchors(grid, stride=stride, sizes=(s,), ratios=(0.5, 1, 2)) for s in (32, 64)]
    np.testing.assert_array_equal(jnp.concatenate(found), golden[f"anchors {name}"])


@pytest.mark.parametrize("form", ["gather", "separable"])
@pytest.mark.parametrize("name", MAKER["SETTINGS"])
def test_aligned_features_are_torchvisions(name, form, golden):
    aligned, samples = MAKER["SETTINGS"][name]
    maps, images, boxes = *(jnp.asarray(GIVEN[n]) for n in ("map", "images")), golden["inside"]
    options = dict(strides=(4,), size=7, samples=samples, aligned=aligned, form=form)
    run = jax.jit(functools.partial(roi_align, **options))
    found = run([maps], boxes, images, jnp.zeros_like(images))
    _assert_close(found, golden[f"roi_align {name}"])


def test_crops_of_masks_are_torchvisions(golden):
    packed = jnp.asarray(np.packbits(GIVEN["masks"], axis=-1))
    boxes, index = jnp.asarray(golden["inside"]), jnp.asarray(GIVEN["index"])
    crop = jax.jit(functools.partial(crop_masks, size=14, width=MAKER["CANVAS"][1]))
    _assert_close(crop(packed, boxes, index), golden["crops"])


def test_pasted_masks_are_torchvisions(golden):
    boxes, probabilities = golden["clipped"], GIVEN["probabilities"]
    shape = (len(boxes), *MAKER["CANVAS"])
    expected = np.unpackbits(golden["pasted"], count=np.prod(shape)).reshape(shape) > 0
    for box, each, mask in zip(boxes, probabilities, expected, strict=True):
        np.testing.assert_array_equal(paste_mask(each, box, MAKER["CANVAS"]), mask)
    run = jax.jit(functools.partial(paste_masks, size=MAKER["CANVAS"]))
    np.testing.assert_array_equal(run(probabilities, boxes), expected)

"""RoIAlign against plain loops over samples in float64, in both forms."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from segjax.ops import roi_align as module
from segjax.ops.roi_align import roi_align, roi_levels

FORMS = ("gather", "separable")
SIZES, STRIDES, CHANNELS = ((9, 12), (5, 6), (2, 3)), (4.0, 8.0, 16.0), 3


def _value(map_, y, x):
    """Returns the features at a point, interpolated between pixels."""
    height, width, _ = map_.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = map_[top, left] * (1 - x + left) + map_[top, right] * (x - left)
    lower = map_[bottom, left] * (1 - x + left) + map_[bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


def _aligned(map_, box, *, stride, size, samples, aligned):
    """Returns the bins of one box."""
    shift = 0.5 if aligned else 0
    x0, y0, x1, y1 = (float(each) / stride - shift for each in box)
    height, width = y1 - y0, x1 - x0
    if not aligned:
        height, width = max(height, 1), max(width, 1)
    rows, columns = (samples or math.ceil(s / size) for s in (height, width))
    bins = np.zeros((size, size, map_.shape[2]))
    for i in range(size):
        for j in range(size):
            for k in range(rows):
                for n in range(columns):
                    y = y0 + (i + (k + 0.5) / rows) * height / size
                    x = x0 + (j + (n + 0.5) / columns) * width / size
                    bins[i, j] += _value(map_, y, x)
    return bins / max(rows * columns, 1)


def _case(count, seed=0):
    """Returns maps, boxes of all kinds (float32), their images and levels."""
    rng = np.random.default_rng(seed)
    maps = [jnp.asarray(rng.normal(size=(2, *size, CHANNELS)), jnp.float32) for size in SIZES]
    first = rng.uniform(-12, 48, (count, 2))
    boxes = np.concatenate([first, first + rng.uniform(0.1, 50, (count, 2))], 1)
    images, levels = rng.integers(0, (2, 3), (count, 2)).T.astype(np.int32)
    return maps, jnp.asarray(boxes, jnp.float32), jnp.asarray(images), jnp.asarray(levels)


def _run(form, **options):
    return jax.jit(functools.partial(roi_align, strides=STRIDES, form=form, **options))


OPTIONS = [
    dict(size=2, samples=2, aligned=False),
    dict(size=3, samples=1, aligned=True),
    dict(size=3, samples=0, most_samples=6, aligned=True),
    dict(size=2, samples=0, most_samples=8, aligned=False),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_both_forms_are_the_loop_over_samples(options):
    maps, boxes, images, levels = _case(300)
    loop = {key: value for key, value in options.items() if key != "most_samples"}
    expected = np.stack(
        [
            _aligned(np.asarray(maps[level][image], float), box, stride=STRIDES[level], **loop)
            for box, image, level in zip(boxes, images, levels, strict=True)
        ]
    )
    largest = np.abs(expected).max()
    for form in FORMS:
        found = _run(form, **options)(maps, boxes, images, levels)
        np.testing.assert_allclose(found, expected, atol=1e-5 * largest, err_msg=form)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_by_features_are_those_of_finite_differences(form):
    maps, boxes, images, levels = _case(5)
    with jax.enable_x64(True):
        maps = [jnp.asarray(each, jnp.float64) for each in maps]
        run = _run(form, size=2)
        check_grads(lambda maps: run(maps, boxes, images, levels), (maps,), order=2)


@pytest.mark.parametrize("form", FORMS)
def test_no_gradient_reaches_the_boxes(form):
    maps, boxes, images, levels = _case(5)
    total = lambda boxes: _run(form, size=2)(maps, boxes, images, levels).sum()
    assert not jax.grad(total)(jnp.asarray(boxes)).any()


@pytest.mark.parametrize("form", FORMS)
def test_chunks_change_neither_values_nor_gradients(form, monkeypatch):
    maps, boxes, images, levels = _case(11)

    def run():
        """Returns the value and the gradient of a function that is traced now."""
        square = lambda maps: (_run(form, size=2)(maps, boxes, images, levels) ** 2).sum()
        return jax.jit(jax.value_and_grad(square))(maps)

    whole = run()
    monkeypatch.setattr(module, "_CHUNK", 4 * (2 * 2 * 2) ** 2 * CHANNELS)
    parts = run()
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_forms_agree_under_vmap():
    maps, boxes, _, levels = _case(6)
    boxes, levels = boxes.reshape(2, 3, 4), levels.reshape(2, 3)
    per_image = lambda form: jax.jit(
        jax.vmap(
            lambda maps, boxes, levels: roi_align(
                [each[None] for each in maps],
                boxes,
                jnp.zeros_like(levels),
                levels,
                strides=STRIDES,
                size=2,
                form=form,
            )
        )
    )(maps, boxes, levels)
    images = jnp.repeat(jnp.arange(2), 3)
    expected = _run("gather", size=2)(maps, boxes.reshape(6, 4), images, levels.ravel())
    for form in FORMS:
        found = per_image(form).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_half_precision_is_rounded_only_once():
    maps, boxes, images, levels = _case(4)
    maps = [jnp.asarray(each, jnp.bfloat16) for each in maps]
    for form in FORMS:
        found = _run(form, size=2)(maps, boxes, images, levels)
        wide = [each.astype(jnp.float32) for each in maps]
        expected = _run(form, size=2)(wide, boxes, images, levels).astype(jnp.bfloat16)
        assert found.dtype == jnp.bfloat16
        np.testing.assert_array_equal(found, expected)


def test_levels_follow_the_equation():
    sides = np.asarray([0, 1, 111.9, 112, 223.9, 224, 448, 896, 5000], np.float32)
    boxes = jnp.asarray(np.stack([0 * sides, 0 * sides, sides, sides], -1))
    assert roi_levels(boxes).tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 3]
    inside = roi_levels(boxes, inside_log=True)
    assert inside.tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 3]
    assert roi_levels(boxes, count=2, finest=3).tolist() == [0] * 5 + [1] * 4


def test_wrong_options_are_errors_that_name_them():
    maps, boxes, images, levels = _case(1)
    for options, message in (
        (dict(strides=(4,)), "3 maps need as many strides, got 1"),
        (dict(strides=STRIDES, samples=0), "samples=0, most_samples=None"),
        (dict(strides=STRIDES, form="fast"), "got 'fast'"),
    ):
        with pytest.raises(ValueError, match=message):
            roi_align(maps, boxes, images, levels, size=2, **options)

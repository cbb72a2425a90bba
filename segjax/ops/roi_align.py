"""RoIAlign (He et al., 2017, section 3): the features of boxes, resampled to one size.

Two forms have the same meaning. The gather form reads each box's samples out of one table of
all levels, and does no work on levels that a box does not use. The separable form multiplies
each level with a matrix for the rows and one for the columns of each box: no gathers, and more
arithmetic, which suits TPUs.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Integer

from segjax.ops.dispatch import on_cpu
from segjax.ops.roi_samples import bin_weights, neighbours, sample_positions

_CHUNK = 1 << 24
"""Numbers that one chunk of boxes may read or hold: 64 MiB in float32."""


def roi_align(
    features: Sequence[Float[Array, "b _ _ c"]],
    boxes: Float[Array, "r 4"],
    images: Integer[Array, "r"],
    levels: Integer[Array, "r"],
    *,
    strides: Sequence[float | int],
    size: int,
    samples: int = 2,
    most_samples: int | None = None,
    aligned: bool = False,
    form: str | None = None,
) -> Float[Array, "r size size c"]:
    """Returns the features of each box, averaged in size × size bins.

    Gradients reach the features. They do not reach the boxes: proposals are constants.

    Args:
      features: one map a level.
      boxes: (x0, y0, x1, y1) in pixels of the image.
      images: which image of the batch each box belongs to.
      levels: which of `features` each box reads; `roi_levels` chooses.
      strides: pixels of the image per pixel of each map.
      size: bins on each side.
      samples: samples of a bin on each axis; 0 means as many as a bin has pixels, rounded up.
      most_samples: the largest number of them if `samples` is 0.
      aligned: False is torchvision's first convention: no half-pixel shift, and boxes have at
        least one pixel of the map on each side. True is detectron2's: pixel centres are at ½.
      form: "gather", "separable", or None for the platform's faster one.

    Raises:
      ValueError: a number is out of its range, or the form is unknown.
    """
    if len(features) != len(strides):
        raise ValueError(f"{len(features)} maps need as many strides, got {len(strides)}.")
    if size < 1 or samples < 0 or not (samples or (most_samples or 0) > 0):
        raise ValueError(
            f"RoIAlign needs size ≥ 1 and samples ≥ 1, or samples=0 and most_samples ≥ 1; "
            f"got size={size}, samples={samples}, most_samples={most_samples}."
        )
    if form is None:
        form = "gather" if on_cpu() or jax.default_backend() == "gpu" else "separable"
    if form not in ("gather", "separable"):
        raise ValueError(f'form must be "gather", "separable" or None, got {form!r}.')
    dtype = jnp.result_type(boxes.dtype, features[0].dtype, jnp.float32)
    boxes = lax.stop_gradient(boxes.astype(dtype))
    if not len(boxes):
        return jnp.zeros((0, size, size, features[0].shape[-1]), features[0].dtype)
    stride = jnp.asarray(np.asarray(strides), boxes.dtype)[levels]
    start = boxes / stride[:, None] - (0.5 if aligned else 0)
    sides = start[:, 2:] - start[:, :2]
    sides = sides if aligned else jnp.maximum(sides, 1)
    run = _gathered if form == "gather" else _separable
    bins = functools.partial(run, size=size, samples=samples, most_samples=most_samples)
    return bins(features, start[:, :2], sides, images, levels).astype(features[0].dtype)


def roi_levels(
    boxes: Float[Array, "r 4"],
    *,
    count: int = 4,
    finest: int = 2,
    canonical_level: int = 4,
    canonical_size: float | int = 224,
    inside_log: bool = False,
) -> Integer[Array, "r"]:
    """Returns the level of each box, from 0 (Lin et al., 2017, FPN, equation 1).

    Args:
      boxes: (x0, y0, x1, y1) in pixels of the image.
      count: the number of levels.
      finest: the name of level 0: 2 is P2.
      canonical_level: the level of boxes of `canonical_size`² pixels.
      canonical_size: the square root of an area.
      inside_log: whether 1e-8 is added inside the logarithm, as detectron2 does, and not 1e-6
        after it, as torchvision does.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(0)
    relative = jnp.sqrt(sides[:, 0] * sides[:, 1]) / canonical_size
    if inside_log:
        level = canonical_level + jnp.log2(relative + 1e-8)
    else:
        level = canonical_level + jnp.log2(relative) + 1e-6
    return (jnp.floor(level).clip(finest, finest + count - 1) - finest).astype(jnp.int32)


def _gathered(
    features: Sequence[Float[Array, "b _ _ c"]],
    start: Float[Array, "r 2"],
    sides: Float[Array, "r 2"],
    images: Integer[Array, "r"],
    levels: Integer[Array, "r"],
    *,
    size: int,
    samples: int,
    most_samples: int | None,
) -> Float[Array, "r size size c"]:
    """Returns the bins of each box, read from one table of all levels."""
    shapes = np.asarray([each.shape[1:3] for each in features])
    areas = shapes.prod(-1)
    batch, channels = features[0].shape[0], features[0].shape[-1]
    table = jnp.concatenate([each.reshape(-1, channels) for each in features])
    offsets = jnp.asarray(np.cumsum([0, *areas[:-1]]) * batch, jnp.int32)
    first = offsets[levels] + images * jnp.asarray(areas, jnp.int32)[levels]
    extents = jnp.asarray(shapes, jnp.int32)[levels]

    def of_some(start, sides, extents, first) -> Array:
        """Returns the bins of some boxes."""
        rows, row_weights = _pixels(start[:, 1], sides[:, 1], extents[:, 0])
        columns, column_weights = _pixels(start[:, 0], sides[:, 0], extents[:, 1])
        rows = first[:, None, None] + rows * extents[:, 1, None, None]
        index = rows[:, :, None, :, None] + columns[:, None, :, None, :]
        weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
        values = table.at[index].get(mode="promise_in_bounds")
        return (values * weights[..., None]).sum((3, 4))

    def _pixels(start, length, extent) -> tuple[Array, Array]:
        """Returns the pixels that each bin reads along an axis, and their weights: r size n."""
        positions, share = sample_positions(
            start, length, size=size, samples=samples, most_samples=most_samples
        )
        pixels, weights = neighbours(positions, extent)
        shape = (*positions.shape[:2], -1)
        return pixels.reshape(shape), (weights * share[..., None]).reshape(shape)

    reads = (2 * size * (samples or most_samples or 1)) ** 2 * channels
    return _in_chunks(of_some, (start, sides, extents, first), numbers=reads)


def _separable(
    features: Sequence[Float[Array, "b _ _ c"]],
    start: Float[Array, "r 2"],
    sides: Float[Array, "r 2"],
    images: Integer[Array, "r"],
    levels: Integer[Array, "r"],
    *,
    size: int,
    samples: int,
    most_samples: int | None,
) -> Float[Array, "r size size c"]:
    """Returns the bins of each box, by two products with each level."""
    batch, channels = features[0].shape[0], features[0].shape[-1]
    widest = max(each.shape[2] for each in features)
    product = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)

    def of_some(start, sides, images, levels) -> Array:
        """Returns the bins of some boxes."""
        total = jnp.zeros((len(start), size, size, channels), start.dtype)
        for level, each in enumerate(features):
            weights = [
                bin_weights(
                    start[:, 1 - axis],
                    sides[:, 1 - axis],
                    extent=each.shape[1 + axis],
                    size=size,
                    samples=samples,
                    most_samples=most_samples,
                )
                for axis in (0, 1)
            ]
            chosen = images[:, None] == jnp.arange(batch)[None]
            chosen &= (levels == level)[:, None]
            rows = chosen[:, None, :, None] * weights[0][:, :, None]
            crops = product("ribh,bhwc->riwc", rows, each.astype(start.dtype))
            total += product("rjw,riwc->rijc", weights[1], crops)
        return total

    holds = size * widest * channels
    return _in_chunks(of_some, (start, sides, images, levels), numbers=holds)


def _in_chunks(function, arrays: tuple[Array, ...], *, numbers: int) -> Array:
    """Returns `function(*arrays)`, some rows at a time where memory asks for it.

    Args:
      function: row by row of the arrays.
      arrays: arrays with equal first axes.
      numbers: how many numbers one row reads or holds.
    """
    rows = max(1, _CHUNK // numbers)
    if len(arrays[0]) <= rows:
        return function(*arrays)
    of_one = lambda row: function(*(each[None] for each in row))[0]
    return lax.map(of_one, arrays, batch_size=rows)

"""Where the bins of a box sample a map along one axis, and with which weights.

RoIAlign (He et al., 2017) divides a side into bins. Each bin averages n values, interpolated
linearly between pixels. Here one side has 2 bins of 2 samples; pixels are at whole numbers:

    start                                             start + length
      |        bin 0            |        bin 1            |
            x           x             x           x

Samples more than one pixel outside count 0. Those less far outside take the border's value.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer


def sample_positions(
    start: Float[Array, "r"],
    length: Float[Array, "r"],
    *,
    size: int,
    samples: int,
    most_samples: int | None = None,
) -> tuple[Float[Array, "r size n"], Float[Array, "r 1 n"]]:
    """Returns the positions of samples, and each sample's share of its bin.

    Args:
      start: the side's first coordinate, in pixels of the map.
      length: the side's length, in the same unit.
      size: the number of bins.
      samples: a bin's number of samples n; 0 means ⌈length / size⌉, as in detectron2.
      most_samples: the bound n of that number, which fixes shapes; a side that would need more
        has this many.
    """
    if samples:
        count = jnp.full_like(start, samples)
    else:
        # XLA multiplies by 1 / size, and 42 / 14 may become 3.0000002, which is one too many.
        count = jnp.ceil(length / size)
        count = (count - ((count - 1) * size >= length)).clip(1, most_samples)
    number = jnp.arange(samples or most_samples, dtype=start.dtype)
    inside = (number[None] + 0.5) / count[:, None]  # A bin's length is 1 here.
    bins = jnp.arange(size, dtype=start.dtype)[None, :, None] + inside[:, None]
    positions = start[:, None, None] + bins * (length / size)[:, None, None]
    share = jnp.where(number[None] < count[:, None], 1 / count[:, None], 0)
    return positions, share[:, None]


def neighbours(
    positions: Float[Array, "r *s"], extent: Integer[Array, "r"]
) -> tuple[Integer[Array, "r *s 2"], Float[Array, "r *s 2"]]:
    """Returns the two pixels around each position, and their weights.

    Args:
      positions: coordinates on an axis whose pixels are at 0, 1, …
      extent: the number of pixels of each row's axis.
    """
    extent = extent.reshape((-1,) + (1,) * (positions.ndim - 1))
    last = extent - 1
    near = (positions >= -1) & (positions <= extent)
    clamped = positions.clip(0, last.astype(positions.dtype))
    low = jnp.floor(clamped).astype(jnp.int32)
    high = jnp.minimum(low + 1, last)
    upper = clamped - low
    weights = jnp.stack([1 - upper, upper], -1) * near[..., None]
    return jnp.stack([low, high], -1), weights


def bin_weights(
    start: Float[Array, "r"],
    length: Float[Array, "r"],
    *,
    extent: int,
    size: int,
    samples: int,
    most_samples: int | None = None,
) -> Float[Array, "r size extent"]:
    """Returns the weight of each pixel of an axis in each bin: a matrix for each box.

    Arguments are those of `sample_positions`; `extent` is the number of pixels of the axis.
    """
    positions, share = sample_positions(
        start, length, size=size, samples=samples, most_samples=most_samples
    )
    near = (positions >= -1) & (positions <= extent)
    weight = share * near
    clamped = positions.clip(0, extent - 1)
    pixels = jnp.arange(extent, dtype=start.dtype)
    # One sample at a time: n times the memory would be written and read otherwise.
    total = jnp.zeros((*positions.shape[:2], extent), start.dtype)
    for i in range(positions.shape[2]):
        distance = jnp.abs(clamped[:, :, i, None] - pixels[None, None])
        total += weight[:, :, i, None] * (1 - distance).clip(0)
    return total

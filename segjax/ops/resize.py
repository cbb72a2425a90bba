"""Bilinear interpolation: one small matrix per axis, one einsum.

Where the samples of 4 pixels lie on 2 pixels:

    align_corners=False    |  0     |     1  |     pixels are areas: the images' edges coincide
                            0   1   2   3          source = (i + ½) · in / out − ½
    align_corners=True     0        .        1     pixels are points: the corners' centres
    coincide
                           0     1     2     3     source = i · (in − 1) / (out − 1)
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from segjax.ops.symbolic_shapes import positions


def resize_bilinear(
    x: Float[Array, "b h w c"], size: tuple[int, int], *, align_corners: bool = False
) -> Float[Array, "b oh ow c"]:
    """Returns `x` interpolated to `size`, like PyTorch's `interpolate(mode="bilinear")`.

    Shrinking does not smooth first (no antialiasing), unlike Pillow and `jax.image.resize`.
    Half-precision inputs are interpolated in float32 and rounded once.

    Args:
      x: the image or the logits.
      size: (height, width) to return.
      align_corners: whether corner pixels keep their values; TensorFlow's DeepLab and PSPNet do
        so.

    Raises:
      ValueError: a side is below 1.
    """
    if any(side < 1 for side in (*size, *x.shape[1:3])):
        raise ValueError(f"Sides must be at least 1, got {x.shape[1:3]} to {size}.")
    if x.shape[1:3] == size:
        return x
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    rows, columns = (
        jnp.asarray(interpolation_matrix(n, m, align_corners=align_corners), dtype)
        for n, m in zip(x.shape[1:3], size, strict=True)
    )
    # Full precision: TF32 or bfloat16 products would change logits by more than interpolation.
    result = jnp.einsum(
        "hi,wj,bijc->bhwc", rows, columns, x.astype(dtype), precision=lax.Precision.HIGHEST
    )
    return result.astype(x.dtype)


def resize_axis(x: Float[np.ndarray, "*shape"], axis: int, new: int) -> np.ndarray:
    """Returns a NumPy array interpolated along one axis to `new` samples, as `resize_bilinear`.

    The centres are those of `align_corners=False`; each sample is between the two nearest.
    """
    old = x.shape[axis]
    source = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    low = np.minimum(source.astype(np.int64), max(old - 2, 0))
    others = [a for a in range(x.ndim) if a != axis]
    part = np.expand_dims((source - low).astype(np.float32), others)
    below, above = x.take(low, axis), x.take(np.minimum(low + 1, old - 1), axis)
    return below + (above - below) * part


def interpolation_matrix(
    size: int, new_size: int, *, align_corners: bool
) -> np.ndarray | Array:
    """Returns the weights of `size` samples in each of `new_size` samples, new_size × size.

    Samples beyond the outermost pixels repeat the outermost values.

    >>> interpolation_matrix(2, 3, align_corners=True).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    index = positions(0, new_size)
    # Integers up to the last division: exact, also in an export's 32 bits.
    if align_corners:
        source, unit = index * (size - 1), max(new_size - 1, 1)
    else:
        source, unit = (2 * index + 1) * size - new_size, 2 * new_size
    source = source.clip(0, (size - 1) * unit)
    distance = abs(source[:, None] - unit * positions(0, size)[None, :])
    return (unit - distance).clip(0) / unit

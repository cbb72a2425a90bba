"""Padding and cropping, so that a network can take an image of any size."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from segjax.ops.conv import Pair, pair
from segjax.ops.symbolic_shapes import positions

Pads = tuple[tuple[int, int], tuple[int, int]]
"""((top, bottom), (left, right)), in pixels."""


def center_crop(
    x: Shaped[Array, "b h w c"], size: tuple[int, int]
) -> Shaped[Array, "b oh ow c"]:
    """Returns the centre of `x`, of `size` (height, width).

    Where an odd number of pixels is cut, bottom and right lose one more.

    Raises:
      ValueError: `size` is larger than `x`, or empty.
    """
    height, width = size
    if not (1 <= height <= x.shape[1] and 1 <= width <= x.shape[2]):
        raise ValueError(f"Cannot crop {size} from {x.shape[1:3]}; a crop must lie inside it.")
    top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
    return x[:, top : top + height, left : left + width]


def mirror_pad(x: Shaped[Array, "b h w c"], pads: Pads) -> Shaped[Array, "b oh ow c"]:
    """Returns `x` padded by its mirror image, which does not repeat the border pixel.

        pads of 3 on a b c:    b c b | a b c | b a b       (the side may be shorter than the
        pad)

    Raises:
      ValueError: a pad is negative.
    """
    if any(pad < 0 for pad in (*pads[0], *pads[1])):
        raise ValueError(f"Pads must be at least 0, got {pads}; center_crop takes pixels away.")
    rows, columns = (_mirrored(n, *pad) for n, pad in zip(x.shape[1:3], pads, strict=True))
    return jnp.take(jnp.take(x, rows, axis=1, mode="clip"), columns, axis=2, mode="clip")


def _mirrored(size: int, before: int, after: int) -> np.ndarray | Array:
    """Returns, for positions −before … size + after − 1, the index of the mirrored pixel."""
    period = max(2 * (size - 1), 1)
    position = positions(-before, size + after) % period
    return position - (2 * position - period).clip(0)


def pad_to_multiple(
    x: Shaped[Array, "b h w c"], multiple: Pair
) -> tuple[Shaped[Array, "b oh ow c"], Callable[[Array], Array]]:
    """Returns `x` mirror-padded to the next multiple, and a function that crops it back.

    The function crops any b h w c of the padded height and width, such as logits.

    Raises:
      ValueError: a multiple is below 1.
    """
    height, width = x.shape[1:3]
    down, right = pair(multiple)
    if min(down, right) < 1:
        raise ValueError(f"A multiple must be at least 1, got {multiple}.")
    split = lambda missing: (missing // 2, missing - missing // 2)
    # Not −n % m: an export must see that the padded symbolic sides are divisible by m.
    rows, columns = (split(-(-n // m) * m - n) for n, m in ((height, down), (width, right)))
    padded = mirror_pad(x, (rows, columns))
    return padded, lambda y: center_crop(y, (height, width))

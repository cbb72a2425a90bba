"""The parts of masks inside boxes, resampled to one size: targets of a mask head."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer, UInt8

from segjax.ops.roi_samples import bin_weights

_AT_ONCE = 8
"""Boxes whose masks are unpacked at a time."""


def crop_masks(
    packed: UInt8[Array, "n h w8"],
    boxes: Float[Array, "r 4"],
    index: Integer[Array, "r"],
    *,
    size: int,
    width: int,
) -> Float[Array, "r size size"]:
    """Returns the share of each bin of each box that its mask covers, from 0 to 1.

    It is RoIAlign of the full mask as torchvision's mask targets have it: without a half-pixel
    shift, boxes at least one pixel wide and high, and as many samples of a bin as it has
    pixels, rounded up. The targets are not binarised.

    Args:
      packed: masks as bits along the width, as `np.packbits` packs them; w8 = ⌈width / 8⌉.
      boxes: (x0, y0, x1, y1) in pixels.
      index: the mask of each box.
      size: bins on each side.
      width: the width of the masks in pixels.

    Raises:
      ValueError: the masks do not have this width.
    """
    packed, boxes = jnp.asarray(packed), jnp.asarray(boxes)
    height = packed.shape[1]
    if packed.shape[2] != -(-width // 8):
        raise ValueError(f"Masks {width} wide have {-(-width // 8)} bytes, got {packed.shape}.")
    boxes = boxes.astype(jnp.promote_types(boxes.dtype, jnp.float32))

    def of_one(box_and_index: tuple[Array, Array]) -> Array:
        """Returns the crop of one box."""
        box, which = box_and_index
        mask = jnp.unpackbits(packed[which], axis=-1, count=width).astype(box.dtype)
        rows, columns = (
            bin_weights(
                box[None, axis],
                jnp.maximum(box[None, axis + 2] - box[None, axis], 1),
                extent=extent,
                size=size,
                samples=0,
                most_samples=-(-extent // size),
            )[0]
            for axis, extent in ((1, height), (0, width))
        )
        product = lambda a, b: jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
        return product(product(rows, mask), columns.T)

    if not len(boxes):
        return jnp.zeros((0, size, size), boxes.dtype)
    crops = lax.map(of_one, (boxes, index), batch_size=min(_AT_ONCE, len(boxes)))
    return jax.lax.stop_gradient(crops)

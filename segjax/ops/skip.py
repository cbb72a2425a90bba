"""Skip connections: what an earlier layer saw joins what a later one made of it.

    addition         y = x + skip      the Jacobian is I + …: residual networks, FCN
    concatenation    y = [skip, x]     the Jacobian has a block I: U-Net, DenseNet

Either way a part of the gradient arrives at the earlier layer as it left the later one.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.ops.frame import center_crop


def add_skip(
    x: Float[Array, "b h w c"], skip: Float[Array, "b sh sw c2"]
) -> Float[Array, "b h w c"]:
    """Returns x + skip, the middle of `skip` where that is larger.

    Raises:
      ValueError: `skip` is smaller than `x`, or batch or channels differ.
    """
    if skip.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"Cannot add a skip of {skip.shape[-1]} channels to {x.shape[-1]}; bring it to "
            "them by a 1×1 convolution, or concatenate."
        )
    return x + _fitted(x, skip)


def concat_skip(
    x: Float[Array, "b h w c"], skip: Float[Array, "b sh sw c2"]
) -> Float[Array, "b h w c_and_c2"]:
    """Returns the channels of `skip` and then those of `x`, the middle of `skip` if larger.

    Raises:
      ValueError: `skip` is smaller than `x`, or batches differ.
    """
    return jnp.concatenate([_fitted(x, skip), x], axis=-1)


def _fitted(x: Array, skip: Array) -> Array:
    """Returns the middle of `skip` that lies over `x`."""
    (batch, height, width, _), (skips, tall, wide, _) = x.shape, skip.shape
    if batch != skips:
        raise ValueError(f"Cannot join {skips} skips to {batch} images; give one for each.")
    if tall < height or wide < width:
        raise ValueError(
            f"Cannot join a skip of {tall}×{wide} pixels to {height}×{width}: it may be "
            "larger, never smaller. Pad the image to a multiple of the network's stride."
        )
    return skip if (tall, wide) == (height, width) else center_crop(skip, (height, width))

"""Skip connections: the output of an earlier layer joins that of a later one.

    addition         y = x + skip      the Jacobian is I + …: residual networks, FCN
    concatenation    y = [skip, x]     the Jacobian has a block I: U-Net, DenseNet

Either way a part of the gradient reaches the earlier layer unchanged. `no_skip` is the control
for experiments that compare them.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.ops.padding import center_crop


def add_skip(
    x: Float[Array, "b h w c"], skip: Float[Array, "b2 sh sw c2"]
) -> Float[Array, "b h w c"]:
    """Returns x + skip, without broadcasting.

    Raises:
      ValueError: the shapes differ.
    """
    if skip.shape != x.shape:
        raise ValueError(
            f"Cannot add a skip of shape {skip.shape} to {x.shape}; bring it there by a 1×1 "
            "convolution with the stride, or by a crop."
        )
    return x + skip


def concat_skip(
    x: Float[Array, "b h w c"], skip: Float[Array, "b2 sh sw c2"]
) -> Float[Array, "b h w c_and_c2"]:
    """Returns the channels of `skip` and then those of `x`; a larger `skip` is centre-cropped.

    Raises:
      ValueError: `skip` is smaller than `x`, or batches differ.
    """
    (batch, height, width, _), (skips, tall, wide, _) = x.shape, skip.shape
    if batch != skips:
        raise ValueError(f"Cannot join {skips} skips to {batch} images; give one for each.")
    if tall < height or wide < width:
        raise ValueError(
            f"Cannot join a skip of {tall}×{wide} pixels to {height}×{width}: it may be "
            "larger, never smaller. Pad the image to a multiple of the network's stride."
        )
    return jnp.concatenate([center_crop(skip, (height, width)), x], axis=-1)


def no_skip(
    x: Float[Array, "b h w c"], skip: Float[Array, "b2 sh sw c2"]
) -> Float[Array, "b h w c"]:
    """Returns x alone: the skip and its gradient end here."""
    del skip
    return x

"""Upsampling by 2 for expanding paths; each way has one convolution.

    transposed    2×2 with stride 2: each pixel paints four (U-Net's up-convolution)
    bilinear      1×1, then interpolation: a quarter of the weights, and no checkerboard
    subpixel      1×1 to four times the channels, which become 2×2 pixels (Shi et al., 2016,
                  arXiv:1609.05158; the dense upsampling convolution of Wang et al., 2018)

The first and the last span the same functions: only initialisation, bias and layout differ.
"""

from typing import Any, Protocol, runtime_checkable

import flax.linen as nn
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, ConvTranspose, he_fan_in
from segjax.ops.resize import resize_bilinear
from segjax.ops.shuffle import depth_to_space

# Each output of an up-convolution reads one of the 2×2 taps, so fan-in is a quarter of Flax's.
he_fan_in_up = nn.initializers.variance_scaling(
    4 * 2.0, "fan_in", "normal", in_axis=-1, out_axis=-2
)


@runtime_checkable
class Up(Protocol):
    """A way to upsample by 2, called in a compact module; its parameters are named `name`."""

    def __call__(
        self, x: Float[Array, "b h w c"], features: int, *, dtype: Any, name: str
    ) -> Float[Array, "b 2*h 2*w f"]:
        """Returns `features` channels at twice the size."""
        ...


def transposed(
    x: Float[Array, "b h w c"], features: int, *, dtype: Any, name: str
) -> Float[Array, "b 2*h 2*w f"]:
    """Returns a transposed convolution, 2×2 with stride 2."""
    init = he_fan_in_up
    return ConvTranspose(features, 2, stride=2, dtype=dtype, kernel_init=init, name=name)(x)


def bilinear(
    x: Float[Array, "b h w c"], features: int, *, dtype: Any, name: str
) -> Float[Array, "b 2*h 2*w f"]:
    """Returns a 1×1 convolution, interpolated bilinearly to twice the size."""
    # The two commute: this order interpolates fewer channels.
    x = Conv(features, 1, dtype=dtype, kernel_init=he_fan_in, name=name)(x)
    return resize_bilinear(x, (2 * x.shape[1], 2 * x.shape[2]))


def subpixel(
    x: Float[Array, "b h w c"], features: int, *, dtype: Any, name: str
) -> Float[Array, "b 2*h 2*w f"]:
    """Returns a 1×1 convolution to four times the features, rearranged to 2×2 pixels."""
    x = Conv(4 * features, 1, dtype=dtype, kernel_init=he_fan_in, name=name)(x)
    return depth_to_space(x, 2)

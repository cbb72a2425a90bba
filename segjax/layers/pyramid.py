"""Pyramids: one feature map seen at several scales."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import ConvNormReLU, SeparableConv
from segjax.layers.dropout import Dropout


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling with the image-level feature (DeepLab v3, section 3.3).

    Parallel branches: a 1×1 convolution, a 3×3 for each rate, and the pooled image through a
    1×1. They are concatenated in torchvision's order (TensorFlow's DeepLab puts the pooled
    image first); a 1×1 and dropout follow. With `separable` the 3×3 are separable convolutions
    (DeepLab v3+, section 3.1).
    """

    rates: tuple[int, ...]
    features: int = 256
    dropout: float = 0.5
    separable: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w f"]:
        """Returns `features` channels of the same size."""
        conv3x3 = SeparableConv if self.separable else ConvNormReLU

        def pointwise(y: Float[Array, "b h w c"], name: str) -> Float[Array, "b h w f"]:
            return ConvNormReLU(self.features, 1, dtype=self.dtype, name=name)(y, train=train)

        def atrous(rate: int, name: str) -> Float[Array, "b h w f"]:
            conv = conv3x3(self.features, 3, dilation=rate, dtype=self.dtype, name=name)
            return conv(x, train=train)

        pooled = pointwise(x.mean((1, 2), keepdims=True), f"convs_{len(self.rates) + 1}")
        pyramid = [
            pointwise(x, "convs_0"),
            *(atrous(rate, f"convs_{i}") for i, rate in enumerate(self.rates, start=1)),
            # Bilinear interpolation of a single pixel is that pixel everywhere.
            jnp.broadcast_to(pooled, (*x.shape[:3], self.features)),
        ]
        projected = pointwise(jnp.concatenate(pyramid, axis=-1), "project")
        return Dropout(self.dropout, name="dropout")(projected, train=train)

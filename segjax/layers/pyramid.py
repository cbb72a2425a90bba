"""Pyramids: one feature map seen at several scales."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import ConvNormReLU
from segjax.layers.dropout import Dropout


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling with the image-level feature (DeepLab v3, section 3.3).

    A 1×1, one 3×3 a rate, and the pooled image through a 1×1, side by side in torchvision's
    order (TensorFlow's DeepLab puts the pooled image first), then a 1×1 and dropout.
    """

    rates: tuple[int, ...]
    features: int = 256
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w f"]:
        """Returns `features` channels of the same size."""

        def branch(
            y: Float[Array, "b h w c"], kernel_size: int, dilation: int, name: str
        ) -> Float[Array, "b h w f"]:
            return ConvNormReLU(
                self.features, kernel_size, dilation=dilation, dtype=self.dtype, name=name
            )(y, train=train)

        last = len(self.rates) + 1
        pooled = branch(x.mean((1, 2), keepdims=True), 1, 1, f"convs_{last}")
        pyramid = [
            branch(x, 1, 1, "convs_0"),
            *(branch(x, 3, rate, f"convs_{i}") for i, rate in enumerate(self.rates, start=1)),
            # Bilinear interpolation of a single pixel is that pixel everywhere.
            jnp.broadcast_to(pooled, (*x.shape[:3], self.features)),
        ]
        projected = branch(jnp.concatenate(pyramid, axis=-1), 1, 1, "project")
        return Dropout(self.dropout, name="dropout")(projected, train=train)

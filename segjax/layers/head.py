"""Heads: features → one score a class."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, ConvNormReLU, at_least_float32
from segjax.layers.dropout import Dropout


def hand_over(module: nn.Module, name: str, logits: Float[Array, "b h w k"]) -> None:
    """Sows an auxiliary head's logits into the collection "auxiliary", but not in `init`."""
    if not module.is_initializing():
        newest = lambda _, new: new
        module.sow("auxiliary", name, logits, init_fn=lambda: logits, reduce_fn=newest)


class FCNHead(nn.Module):
    """torchvision's: 3×3 to a quarter of the channels, norm, ReLU, dropout, 1×1 to classes."""

    num_classes: int
    dropout: float = 0.1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w k"]:
        """Returns logits of the features' size."""
        y = ConvNormReLU(x.shape[-1] // 4, 3, dtype=self.dtype, name="conv")(x, train=train)
        y = Dropout(self.dropout, name="dropout")(y, train=train)
        dtype = at_least_float32(self.dtype)
        return Conv(self.num_classes, 1, dtype=dtype, name="classifier")(y)

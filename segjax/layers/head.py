"""Heads: layers from features to one score for each class."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, ConvNormReLU, at_least_float32
from segjax.layers.dropout import Dropout


def sow_auxiliary(module: nn.Module, name: str, logits: Float[Array, "b h w k"]) -> None:
    """Sows an auxiliary head's logits into the collection "auxiliary"; not during `init`."""
    if not module.is_initializing():
        newest = lambda _, new: new
        module.sow("auxiliary", name, logits, init_fn=lambda: logits, reduce_fn=newest)


def sow_auxiliary_head(
    module: nn.Module, name: str, logits: Callable[[], Array], *, train: bool
) -> None:
    """Sows an auxiliary head's logits, if the module has one (`auxiliary`) and `train` is true.

    During `init` the head runs whatever `train` is, to create its parameters.
    """
    if module.auxiliary and (train or module.is_initializing()):
        sow_auxiliary(module, name, logits())


def head_dtype(model: nn.Module) -> Any:
    """Returns the model's `dtype`, or the backbone's where the model's is None."""
    return model.backbone.dtype if model.dtype is None else model.dtype


class FCNHead(nn.Module):
    """FCN's head: 3×3 to `features`, norm, ReLU, dropout, 1×1 to classes.

    The defaults are torchvision's: `features=None` is a quarter of the channels, and dropout
    zeroes single values. `whole_channels` makes it zero entire channels, as in PSPNet.
    """

    num_classes: int
    features: int | None = None
    dropout: float = 0.1
    whole_channels: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w k"]:
        """Returns logits of the features' size."""
        features = x.shape[-1] // 4 if self.features is None else self.features
        y = ConvNormReLU(features, 3, dtype=self.dtype, name="conv")(x, train=train)
        dropout = Dropout(self.dropout, name="dropout")
        if self.whole_channels:
            y = y * dropout(jnp.ones((y.shape[0], 1, 1, features), y.dtype), train=train)
        else:
            y = dropout(y, train=train)
        dtype = at_least_float32(self.dtype)
        return Conv(self.num_classes, 1, dtype=dtype, name="classifier")(y)

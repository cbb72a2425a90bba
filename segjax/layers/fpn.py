"""Feature pyramid network (Lin et al., 2017, arXiv:1612.03144) as in torchvision."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.contracts import Features
from segjax.layers.conv import Conv, ConvNorm
from segjax.ops.skip import add_skip

_uniform = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
"""PyTorch's `kaiming_uniform_(a=1)`."""


class FPN(nn.Module):
    """c2 … c5 → P2 … P6, all with `features` channels (section 3, figure 3).

    A 1×1 convolution of each map plus the coarser map, enlarged by nearest neighbour to its
    size; then a 3×3. P6 is every second pixel of P5 (section 4.1, footnote). Maps may have any
    size. Without a `norm` the convolutions have biases; a norm, such as `BatchNorm`, replaces
    them. Layers have torchvision's names.
    """

    features: int = 256
    norm_layer: Callable[..., nn.Module] | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, features: Features, *, train: bool
    ) -> tuple[Float[Array, "b _ _ f"], ...]:
        """Returns P2 … P6."""
        top, pyramid = None, []
        for i in reversed(range(4)):
            lateral = self._conv(features[f"c{i + 2}"], 1, f"inner_blocks_{i}", train=train)
            size = (lateral.shape[1], lateral.shape[2])
            top = lateral if top is None else add_skip(lateral, _enlarged(top, size))
            pyramid.insert(0, self._conv(top, 3, f"layer_blocks_{i}", train=train))
        return (*pyramid, pyramid[-1][:, ::2, ::2])

    def _conv(
        self, x: Float[Array, "b h w c"], kernel_size: int, name: str, *, train: bool
    ) -> Float[Array, "b h w f"]:
        options = {"dtype": self.dtype, "kernel_init": _uniform, "name": name}
        if self.norm_layer is None:
            return Conv(self.features, kernel_size, **options)(x)
        conv = ConvNorm(self.features, kernel_size, norm_layer=self.norm_layer, **options)
        return conv(x, train=train)


def _enlarged(x: Float[Array, "b _ _ f"], size: tuple[int, int]) -> Float[Array, "b h w f"]:
    """Returns the nearest neighbour of each pixel, ⌊i · old / new⌋, as PyTorch rounds."""
    for axis, new in zip((1, 2), size, strict=True):
        old = x.shape[axis]
        if new % old == 0:
            x = jnp.repeat(x, new // old, axis=axis)
        else:
            x = jnp.take(x, jnp.arange(new) * old // new, axis=axis)
    return x

"""DenseNet (Huang et al., 2016, arXiv:1608.06993) as in torchvision, with any output stride.

Submodules have torchvision's names (`features.denseblock1.denselayer2.conv1` is
`denseblock1_denselayer2/conv1`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.backbones.output_stride import Stage, plan_stages
from segjax.contracts import Features
from segjax.layers.conv import Conv, he_fan_in
from segjax.layers.norm import BatchNorm
from segjax.ops.pool import max_pool


class DenseLayer(nn.Module):
    """Norm, ReLU, 1×1 to four times the growth, norm, ReLU, 3×3 (section 3, DenseNet-B)."""

    growth: int
    dilation: int
    dtype: Any = jnp.float32
    norm_layer: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(
        self, features: Sequence[Float[Array, "b h w _"]], *, train: bool
    ) -> Float[Array, "b h w g"]:
        """Returns `growth` new channels, computed from all features before them."""
        conv = partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=he_fan_in)
        norm = partial(self.norm_layer, dtype=self.dtype)
        x = jnp.concatenate(features, axis=-1)
        x = nn.relu(norm(name="norm1")(x, train=train))
        x = conv(4 * self.growth, 1, name="conv1")(x)
        x = nn.relu(norm(name="norm2")(x, train=train))
        return conv(self.growth, 3, dilation=self.dilation, name="conv2")(x)


class Transition(nn.Module):
    """Norm, ReLU, 1×1 to half the channels, 2×2 average pool (section 3)."""

    stage: Stage
    dtype: Any = jnp.float32
    norm_layer: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b h w c"], Float[Array, "b oh ow o"]]:
        """Returns the features after norm and ReLU, and the input of the next block."""
        x = nn.relu(self.norm_layer(dtype=self.dtype, name="norm")(x, train=train))
        conv = Conv(
            x.shape[-1] // 2,
            1,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=he_fan_in,
            name="conv",
        )
        stride, dilation = self.stage.stride, self.stage.first_dilation
        return x, _average_pool(conv(x), stride=stride, dilation=dilation)


def _average_pool(
    x: Float[Array, "b h w c"], *, stride: int, dilation: int
) -> Float[Array, "b oh ow c"]:
    """Returns the means of 2×2 pixels `dilation` apart; at the border, of those inside the map.

    With stride 2 a last odd row is dropped, as by torchvision. With stride 1, by the same rule,
    sides are cut to multiples of 2 · dilation. So the dense map contains the pixels of the
    strided map, and has twice as many along each side.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        step, kept = min(dilation, size), size // (2 * dilation) * (2 * dilation) or size
        rest = lax.slice_in_dim(x, step, size, axis=axis)
        last = lax.slice_in_dim(x, size - step, size, axis=axis)
        mean = (x + jnp.concatenate([rest, last], axis=axis)) / 2
        x = lax.slice_in_dim(mean, 0, kept, stride, axis=axis)
    return x


class DenseNet(nn.Module):
    """image → c1 (stem, stride 2), c2 … c5 (denseblock1 … 4, strides 4 to `output_stride`).

    c2 … c4 are taken after the norm and ReLU of the next transition, c5 after `norm5` and ReLU,
    because nothing has normalised a block's own output. A block that loses its stride dilates
    all its 3×3 convolutions. The average pool before it keeps its 2×2 pixels at the distance
    they had. So the statistics of pretrained weights stay right, parameters do not depend on
    `output_stride`, and dense features subsample to the strided ones. `remat` recomputes each
    layer in the backward pass instead of storing its input, which saves memory that grows with
    the square of the depth. `norm` is a class of `segjax.layers.norm`.
    """

    layers: tuple[int, ...] = (6, 12, 24, 16)
    growth: int = 32
    width: int = 64
    output_stride: int = 32
    remat: bool = False
    dtype: Any = jnp.float32
    norm: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Features:
        """Returns the five feature maps.

        Raises:
          ValueError: the output stride is not 8, 16 or 32.
        """
        norm = partial(self.norm, dtype=self.dtype)
        stem = Conv(
            self.width,
            7,
            stride=2,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=he_fan_in,
            name="conv0",
        )
        features = {"c1": nn.relu(norm(name="norm0")(stem(image), train=train))}
        x = max_pool(features["c1"], window=3, stride=2, padding=1)
        for i, stage in enumerate(plan_stages(self.output_stride)):
            if i > 0:
                transition = Transition(
                    stage, dtype=self.dtype, norm_layer=self.norm, name=f"transition{i}"
                )
                features[f"c{i + 1}"], x = transition(x, train=train)
            x = self._block(x, i, stage.dilation, train=train)
        features["c5"] = nn.relu(norm(name="norm5")(x, train=train))
        return features

    def _block(
        self, x: Float[Array, "b h w c"], index: int, dilation: int, *, train: bool
    ) -> Float[Array, "b h w o"]:
        """Returns the channels of `x` and those that each layer of the block adds."""
        stack = [x]
        for j in range(self.layers[index]):
            name = f"denseblock{index + 1}_denselayer{j + 1}"
            layer = DenseLayer(
                self.growth, dilation, dtype=self.dtype, norm_layer=self.norm, name=name
            )
            apply = lambda layer, *features: layer(features, train=train)
            if self.remat:
                apply = nn.remat(apply)
            stack.append(apply(layer, *stack))
        return jnp.concatenate(stack, axis=-1)


DenseNet121 = partial(DenseNet)
DenseNet169 = partial(DenseNet, layers=(6, 12, 32, 32))
DenseNet201 = partial(DenseNet, layers=(6, 12, 48, 32))

"""ResNet (He et al., 2015, arXiv:1512.03385) as in torchvision, with any output stride.

"v1.5": a bottleneck's stride is on its 3×3, not on its first 1×1 as in the paper. Submodules
have torchvision's names (`layer1.0.downsample.0` is `layer1_0/downsample_conv`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.backbones.stages import Unit, plan
from segjax.layers.conv import Conv
from segjax.layers.norm import BatchNorm
from segjax.ops.pool import max_pool
from segjax.ops.skip import add_skip
from segjax.types import Features


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 to four times the width, and a shortcut around them (figure 5, right)."""

    width: int
    unit: Unit
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow o"]:
        """Returns 4 · width channels."""
        conv_norm = partial(_conv_norm, dtype=self.dtype, train=train)
        stride, dilation = self.unit.stride, self.unit.first_dilation
        y = nn.relu(conv_norm(x, self.width, 1, names=("conv1", "bn1")))
        y = conv_norm(
            y, self.width, 3, stride=stride, dilation=dilation, names=("conv2", "bn2")
        )
        y = conv_norm(nn.relu(y), 4 * self.width, 1, names=("conv3", "bn3"))
        return nn.relu(add_skip(y, _shortcut(x, 4 * self.width, self.unit.stride, conv_norm)))


class BasicBlock(nn.Module):
    """Two 3×3 and a shortcut around them (figure 5, left); torchvision's cannot be dilated."""

    width: int
    unit: Unit
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow o"]:
        """Returns `width` channels."""
        conv_norm = partial(_conv_norm, dtype=self.dtype, train=train)
        stride, first_dilation, dilation = self.unit
        y = conv_norm(
            x, self.width, 3, stride=stride, dilation=first_dilation, names=("conv1", "bn1")
        )
        y = conv_norm(nn.relu(y), self.width, 3, dilation=dilation, names=("conv2", "bn2"))
        return nn.relu(add_skip(y, _shortcut(x, self.width, stride, conv_norm)))


def _conv_norm(
    x: Float[Array, "b h w c"],
    features: int,
    kernel_size: int,
    *,
    names: tuple[str, str],
    dtype: Any,
    train: bool,
    stride: int = 1,
    dilation: int = 1,
) -> Float[Array, "b oh ow o"]:
    """Returns a convolution, normalised; the two submodules belong to the block that calls."""
    y = Conv(
        features,
        kernel_size,
        stride=stride,
        dilation=dilation,
        use_bias=False,
        dtype=dtype,
        name=names[0],
    )(x)
    return BatchNorm(dtype=dtype, name=names[1])(y, train=train)


def _shortcut(
    x: Float[Array, "b h w c"], features: int, stride: int, conv_norm: Callable
) -> Float[Array, "b oh ow o"]:
    """Returns `x` itself, or its projection where the unit changes the shape."""
    if stride == 1 and x.shape[-1] == features:
        return x
    return conv_norm(x, features, 1, stride=stride, names=("downsample_conv", "downsample_bn"))


class ResNet(nn.Module):
    """image → c1 (stem, stride 2), c2 … c5 (layer1 … layer4, strides 4 to `output_stride`).

    Parameters do not depend on `output_stride` and `multi_grid`. Without multi-grid the unit
    that loses its stride keeps the previous dilation, as in torchvision; with it layer4 follows
    DeepLab v3 (section 3.2): 2, 4, 8 for (1, 2, 4) at output stride 16, and 4, 8, 16 at 8. See
    `stages`.
    """

    stages: tuple[int, ...] = (3, 4, 6, 3)
    block: Callable[..., nn.Module] = Bottleneck
    width: int = 64
    output_stride: int = 32
    multi_grid: tuple[int, ...] | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Features:
        """Returns the five feature maps.

        Raises:
          ValueError: the output stride is not 8, 16 or 32, or multi_grid does not fit layer4.
        """
        stages = plan(self.output_stride)
        conv_norm = partial(_conv_norm, dtype=self.dtype, train=train)
        x = nn.relu(conv_norm(image, self.width, 7, stride=2, names=("conv1", "bn1")))
        features = {"c1": x}
        x = max_pool(x, window=3, stride=2, padding=1)
        for i, (stage, count) in enumerate(zip(stages, self.stages, strict=True)):
            units = stage.units(count, self.multi_grid if i == len(stages) - 1 else None)
            for j, unit in enumerate(units):
                block = self.block(
                    self.width * 2**i, unit, dtype=self.dtype, name=f"layer{i + 1}_{j}"
                )
                x = block(x, train=train)
            features[f"c{i + 2}"] = x
        return features


ResNet18 = partial(ResNet, stages=(2, 2, 2, 2), block=BasicBlock)
ResNet34 = partial(ResNet, stages=(3, 4, 6, 3), block=BasicBlock)
ResNet50 = partial(ResNet, stages=(3, 4, 6, 3))
ResNet101 = partial(ResNet, stages=(3, 4, 23, 3))
ResNet152 = partial(ResNet, stages=(3, 8, 36, 3))

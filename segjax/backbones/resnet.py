"""ResNet (He et al., 2015, arXiv:1512.03385) as in torchvision, with any output stride.

This is "v1.5": a bottleneck's stride is on its 3×3. `block=BottleneckV1` puts it on the first
1×1, as in the paper ("v1"), MSRA's and Caffe's weights, and DeepLab v2. Submodules have
torchvision's names (`layer1.0.downsample.0` is `layer1_0/downsample_conv`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.backbones.output_stride import Unit, plan_stages
from segjax.contracts import Features
from segjax.layers.conv import Conv
from segjax.layers.norm import BatchNorm
from segjax.ops.materialize import materialized
from segjax.ops.pool import max_pool
from segjax.ops.skip import add_skip


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 to four times the width, and a shortcut around them (figure 5, right).

    With `stride_first` the stride is on the first 1×1. Where that stride is lost, the 3×3 reads
    the finer grid, so it takes the later units' dilation.
    """

    width: int
    unit: Unit
    stride_first: bool = False
    dtype: Any = jnp.float32
    norm: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow o"]:
        """Returns 4 · width channels."""
        conv_norm = partial(_conv_norm, dtype=self.dtype, norm=self.norm, train=train)
        stride, first_dilation, dilation = self.unit
        first, second = (stride, 1) if self.stride_first else (1, stride)
        rate = dilation if self.stride_first else first_dilation
        y = conv_norm(x, self.width, 1, stride=first, names=("conv1", "bn1"))
        y = conv_norm(
            nn.relu(y), self.width, 3, stride=second, dilation=rate, names=("conv2", "bn2")
        )
        y = conv_norm(nn.relu(y), 4 * self.width, 1, names=("conv3", "bn3"))
        shortcut = _shortcut(x, 4 * self.width, stride, conv_norm)
        return materialized(nn.relu(add_skip(y, shortcut)))


BottleneckV1 = partial(Bottleneck, stride_first=True)


class BasicBlock(nn.Module):
    """Two 3×3 and a shortcut around them (figure 5, left); may dilate, unlike torchvision's."""

    width: int
    unit: Unit
    dtype: Any = jnp.float32
    norm: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow o"]:
        """Returns `width` channels."""
        conv_norm = partial(_conv_norm, dtype=self.dtype, norm=self.norm, train=train)
        stride, first_dilation, dilation = self.unit
        y = conv_norm(
            x, self.width, 3, stride=stride, dilation=first_dilation, names=("conv1", "bn1")
        )
        y = conv_norm(nn.relu(y), self.width, 3, dilation=dilation, names=("conv2", "bn2"))
        shortcut = _shortcut(x, self.width, stride, conv_norm)
        return materialized(nn.relu(add_skip(y, shortcut)))


def _conv_norm(
    x: Float[Array, "b h w c"],
    features: int,
    kernel_size: int,
    *,
    names: tuple[str, str],
    dtype: Any,
    norm: Callable[..., nn.Module],
    train: bool,
    stride: int = 1,
    dilation: int = 1,
) -> Float[Array, "b oh ow o"]:
    """Returns a convolution with its norm; both submodules belong to the caller."""
    y = Conv(
        features,
        kernel_size,
        stride=stride,
        dilation=dilation,
        use_bias=False,
        dtype=dtype,
        name=names[0],
    )(x)
    return norm(dtype=dtype, name=names[1])(y, train=train)


def _shortcut(
    x: Float[Array, "b h w c"], features: int, stride: int, conv_norm: Callable
) -> Float[Array, "b oh ow o"]:
    """Returns `x`, or its 1×1 projection where the unit changes the shape."""
    if stride == 1 and x.shape[-1] == features:
        return x
    return conv_norm(x, features, 1, stride=stride, names=("downsample_conv", "downsample_bn"))


class ResNet(nn.Module):
    """image → c1 (stem, stride 2), c2 … c5 (layer1 … layer4, strides 4 to `output_stride`).

    Parameters do not depend on the output stride or the dilations. By default the unit that
    loses its stride keeps the previous dilation, as in torchvision, so that dense features
    subsample to the strided ones. The other layouts use the new dilation in the first unit too:

    * `uniform_dilation`: a stage's new dilation in all its units, as in PSPNet's code.
    * `multi_grid`: layer4 follows DeepLab v3 (section 3.2): 2, 4, 8 for (1, 2, 4) at output
      stride 16, and 4, 8, 16 at 8.
    * `rates`: (stage, a rate for each unit) for stages counted from 1, such as HDC's. They are
      meant for one output stride and do not change at another.

    `deep_stem` replaces the 7×7 by three 3×3, with twice the width. `remat` recomputes each
    unit in the backward pass instead of storing its activations. `frozen_norm` normalises by
    the running statistics in training too and never updates them, as in DeepLab v2. Scales and
    offsets remain parameters; the optimizer's `multipliers=(("bn", 0.0),)` keeps them fixed.
    `norm` is a class of `segjax.layers.norm`; with `FrozenBatchNorm` scales and offsets are no
    parameters.
    """

    stages: tuple[int, ...] = (3, 4, 6, 3)
    block: Callable[..., nn.Module] = Bottleneck
    width: int = 64
    deep_stem: bool = False
    output_stride: int = 32
    multi_grid: tuple[int, ...] | None = None
    uniform_dilation: bool = False
    rates: tuple[tuple[int, tuple[int, ...]], ...] = ()
    remat: bool = False
    frozen_norm: bool = False
    dtype: Any = jnp.float32
    norm: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Features:
        """Returns the five feature maps.

        Raises:
          ValueError: the output stride is not 8, 16 or 32, or multi_grid or rates do not fit.
        """
        # Only the normalisation behaves differently in training.
        train = train and not self.frozen_norm
        run: Callable = lambda block, x: block(x, train=train)
        if self.remat:
            run = nn.remat(run)
        x = self._stem(image, train=train)
        features = {"c1": x}
        x = max_pool(x, window=3, stride=2, padding=1)
        for i, units in enumerate(self._units()):
            for j, unit in enumerate(units):
                block = self.block(
                    self.width * 2**i,
                    unit,
                    dtype=self.dtype,
                    norm=self.norm,
                    name=f"layer{i + 1}_{j}",
                )
                x = run(block, x)
            features[f"c{i + 2}"] = x
        return features

    def _stem(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow o"]:
        """Returns a map of half the size; `width` channels, or twice as many (`deep_stem`)."""
        conv_norm = partial(_conv_norm, dtype=self.dtype, norm=self.norm, train=train)
        if not self.deep_stem:
            return nn.relu(conv_norm(x, self.width, 7, stride=2, names=("conv1", "bn1")))
        x = nn.relu(conv_norm(x, self.width, 3, stride=2, names=("conv1", "bn1")))
        x = nn.relu(conv_norm(x, self.width, 3, names=("conv2", "bn2")))
        return nn.relu(conv_norm(x, 2 * self.width, 3, names=("conv3", "bn3")))

    @nn.nowrap
    def _units(self) -> list[tuple[Unit, ...]]:
        """Returns the strides and dilations of the units of each stage."""
        rates, last = dict(self.rates), len(self.stages)
        named = [stage for stage, _ in self.rates]
        if self.multi_grid is not None:
            named.append(last)
        if len(set(named)) < len(named) or not set(named) <= set(range(1, last + 1)):
            raise ValueError(
                f"rates={self.rates} must name stages 1 to {last}, each once, and {last} not "
                "beside multi_grid."
            )
        result = []
        for i, (stage, count) in enumerate(
            zip(plan_stages(self.output_stride), self.stages, strict=True), start=1
        ):
            if i in rates:
                result.append(stage.units_at_rates(count, rates[i]))
            elif i == last and self.multi_grid is not None:
                result.append(stage.units(count, self.multi_grid))
            elif self.uniform_dilation:
                result.append(stage.units_at_rates(count, [stage.dilation] * count))
            else:
                result.append(stage.units(count))
        return result


ResNet18 = partial(ResNet, stages=(2, 2, 2, 2), block=BasicBlock)
ResNet34 = partial(ResNet, stages=(3, 4, 6, 3), block=BasicBlock)
ResNet50 = partial(ResNet, stages=(3, 4, 6, 3))
ResNet101 = partial(ResNet, stages=(3, 4, 23, 3))
ResNet152 = partial(ResNet, stages=(3, 8, 36, 3))

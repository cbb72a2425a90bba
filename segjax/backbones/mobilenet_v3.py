"""MobileNetV3 (Howard et al., 2019, arXiv:1905.02244) as in torchvision.

Layers have torchvision's indices (`features.4` is `features_4`); a block's parts are called
expand, depthwise, squeeze_excite and project.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.contracts import Features
from segjax.layers.conv import Conv, ConvNorm
from segjax.layers.norm import BatchNorm
from segjax.ops.skip import add_skip

_conv_norm = partial(ConvNorm, momentum=0.99, epsilon=1e-3)


class Row(NamedTuple):
    """A block's row in tables 1 and 2."""

    kernel_size: int
    expanded: int
    features: int
    squeeze_excite: bool
    hard_swish: bool
    stride: int


LARGE = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)
"""Table 1."""

SMALL = (
    Row(3, 16, 16, True, False, 2),
    Row(3, 72, 24, False, False, 2),
    Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2),
    Row(5, 240, 40, True, True, 1),
    Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1),
    Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2),
    Row(5, 576, 96, True, True, 1),
    Row(5, 576, 96, True, True, 1),
)
"""Table 2."""


class SqueezeExcite(nn.Module):
    """Squeeze and excite: scales channels by the map's mean (Hu et al., 2017; figure 4)."""

    squeezed: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Returns `x` with each channel multiplied by a number in [0, 1]."""
        y = Conv(self.squeezed, 1, dtype=self.dtype, name="fc1")(x.mean((1, 2), keepdims=True))
        gate = Conv(x.shape[-1], 1, dtype=self.dtype, name="fc2")(nn.relu(y))
        return x * nn.hard_sigmoid(gate)


class InvertedResidual(nn.Module):
    """1×1 to many channels, depthwise k×k, squeeze and excite, 1×1 to few (figure 4).

    With `dilation` above 1 the depthwise convolution is dilated instead of strided.
    """

    row: Row
    dilation: int = 1
    dtype: Any = jnp.float32
    norm: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow f"]:
        """Returns `row.features` channels; adds the input where stride and channels allow."""
        conv_norm = partial(_conv_norm, dtype=self.dtype, norm_layer=self.norm)
        row = self.row
        activation = nn.hard_swish if row.hard_swish else nn.relu
        y = x
        if row.expanded != x.shape[-1]:
            y = activation(conv_norm(row.expanded, 1, name="expand")(y, train=train))
        depthwise = conv_norm(
            row.expanded,
            row.kernel_size,
            stride=row.stride if self.dilation == 1 else 1,
            dilation=self.dilation,
            groups=row.expanded,
            name="depthwise",
        )
        y = activation(depthwise(y, train=train))
        if row.squeeze_excite:
            squeezed = squeezed_channels(row.expanded)
            y = SqueezeExcite(squeezed, dtype=self.dtype, name="squeeze_excite")(y)
        y = conv_norm(row.features, 1, name="project")(y, train=train)
        # By the table's stride: a block that lost its stride still has no shortcut.
        return add_skip(y, x) if row.stride == 1 and row.features == x.shape[-1] else y


def squeezed_channels(channels: int) -> int:
    """Returns a quarter, rounded to a multiple of 8, but at least 90% of a quarter.

    >>> [squeezed_channels(channels) for channels in (16, 72, 120, 672)]
    [8, 24, 32, 168]
    """
    quarter = channels // 4
    rounded = max(8, (quarter + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * quarter else rounded


class MobileNetV3(nn.Module):
    """image → c1 … c4, the first maps of strides 2, 4, 8, 16, and c5, the last 1×1 convolution.

    In Large these are `features_0`, 2, 4, 7, 16 with 16, 24, 40, 80, 960 channels; in Small 0,
    1, 2, 4, 12 with 16, 16, 24, 40, 576.

    At output stride 16 all of the last three blocks dilate by 2, as torchvision's `dilated`
    weights assume. So, unlike in `ResNet`, c5 does not subsample to c5 at output stride 32.
    `reduced_tail` halves the channels of c5 and of the last blocks, as the paper does for
    segmentation (section 6.4). `remat` recomputes each block in the backward pass, to save
    memory. `norm` is a class of `segjax.layers.norm`.
    """

    rows: tuple[Row, ...] = LARGE
    output_stride: int = 32
    reduced_tail: bool = False
    dtype: Any = jnp.float32
    remat: bool = False
    norm: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Features:
        """Returns the five feature maps.

        Raises:
          ValueError: the output stride is neither 16 nor 32.
        """
        if self.output_stride not in (16, 32):
            raise ValueError(
                f"MobileNetV3's output stride must be 16 or 32, got {self.output_stride}."
            )
        apply = lambda block, x: block(x, train=train)
        apply = nn.remat(apply) if self.remat else apply
        rows = _with_half_a_tail(self.rows) if self.reduced_tail else self.rows
        conv_norm = partial(_conv_norm, dtype=self.dtype, norm_layer=self.norm)
        stem = conv_norm(16, 3, stride=2, name="features_0")
        x = nn.hard_swish(stem(image, train=train))
        features = {"c1": x}
        for i, row in enumerate(rows, start=1):
            dilation = 2 if self.output_stride == 16 and i > len(rows) - 3 else 1
            block = InvertedResidual(
                row, dilation, dtype=self.dtype, norm=self.norm, name=f"features_{i}"
            )
            x = apply(block, x)
            if row.stride == 2 and len(features) < 4:
                features[f"c{len(features) + 1}"] = x
        last = conv_norm(6 * x.shape[-1], 1, name=f"features_{len(rows) + 1}")
        return {**features, "c5": nn.hard_swish(last(x, train=train))}


def _with_half_a_tail(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Returns the rows; those of the last stage have half the channels after the stride."""
    first, *others = (row._replace(features=row.features // 2) for row in rows[-3:])
    return (*rows[:-3], first, *(row._replace(expanded=row.expanded // 2) for row in others))


MobileNetV3Large = partial(MobileNetV3, rows=LARGE)
MobileNetV3Small = partial(MobileNetV3, rows=SMALL)

"""The modified aligned Xception of DeepLab v3+ (Chen et al., 2018, arXiv:1802.02611, figure 4).

It follows Chollet (2016, arXiv:1610.02357) and Dai et al. (2017, arXiv:1703.06211), with
strided separable convolutions instead of max-pooling, and normalises every convolution. Layers
have the names of DeepLab's TensorFlow code (`entry_flow/block1/unit_1/xception_module` is
`entry_flow_block1_unit_1`). Figure 4 shows a ReLU after each normalisation. The released
networks have that in the last module only; elsewhere a ReLU precedes each separable
convolution.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.backbones.output_stride import plan_stages
from segjax.contracts import Features
from segjax.layers.conv import ConvNorm, SeparableConv
from segjax.layers.norm import BatchNorm
from segjax.ops.skip import add_skip

_init = nn.initializers.truncated_normal(0.09)
_conv_norm = partial(ConvNorm, momentum=0.9997, epsilon=1e-3, kernel_init=_init)
_separable_conv = partial(
    SeparableConv, momentum=0.9997, epsilon=1e-3, depthwise_init=_init, pointwise_init=_init
)


class ResidualModule(nn.Module):
    """Three times ReLU and a separable convolution, the last one strided, and a shortcut.

    The shortcut is the input, or if `projects` a strided 1×1 convolution of it.
    """

    features: tuple[int, int, int]
    projects: bool
    stride: int = 1
    dilation: int = 1
    dtype: Any = jnp.float32
    norm: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b oh ow f"], Float[Array, "b h w f2"]]:
        """Returns the sum, and the last map before the stride (the second convolution's)."""
        y = inner = x
        for i, features in enumerate(self.features, start=1):
            inner = y
            conv = _separable_conv(
                features,
                stride=self.stride if i == len(self.features) else 1,
                dilation=self.dilation,
                relu=False,
                dtype=self.dtype,
                norm_layer=self.norm,
                name=f"separable_conv{i}",
            )
            y = conv(nn.relu(y), train=train)
        if not self.projects:
            return add_skip(y, x), inner
        shortcut = _conv_norm(
            self.features[-1],
            1,
            stride=self.stride,
            dtype=self.dtype,
            norm_layer=self.norm,
            name="shortcut",
        )
        return add_skip(y, shortcut(x, train=train)), inner


class LastModule(nn.Module):
    """Three separable convolutions with ReLU after each of their normalisations."""

    features: tuple[int, int, int]
    dilation: int
    multi_grid: tuple[int, int, int] = (1, 1, 1)
    dtype: Any = jnp.float32
    norm: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w f"]:
        """Returns the last of `features` channels, at least 0."""
        both = zip(self.features, self.multi_grid, strict=True)
        for i, (features, factor) in enumerate(both, start=1):
            conv = _separable_conv(
                features,
                dilation=self.dilation * factor,
                dtype=self.dtype,
                norm_layer=self.norm,
                name=f"separable_conv{i}",
            )
            x = conv(x, train=train)
        return x


class Xception(nn.Module):
    """image → c1 … c4, the last maps of strides 2, 4, 8, 16, and c5, the final map.

    c1 … c4 are outputs of the second separable convolution of a strided module, after its
    normalisation and before the next ReLU. They have 128, 256, 728 and 1024 channels; c5 has
    2048. c2 is the low-level feature of DeepLab v3+'s decoder. (timm returns the same maps
    after the ReLU.)

    `entry_flow` holds (channels, stride) of its modules. Parameters do not depend on
    `output_stride` and `multi_grid`. A module that loses its stride keeps the previous
    dilation, as in `ResNet`; `multi_grid` multiplies the dilations of the last module's three
    convolutions. `remat` recomputes each module in the backward pass, to save memory. `norm`
    is a class of `segjax.layers.norm`.
    """

    entry_flow: tuple[tuple[int, int], ...] = ((128, 2), (256, 2), (728, 2))
    middle_units: int = 16
    exit_flow: tuple[tuple[int, int, int], ...] = ((728, 1024, 1024), (1536, 1536, 2048))
    output_stride: int = 32
    multi_grid: tuple[int, int, int] = (1, 1, 1)
    dtype: Any = jnp.float32
    remat: bool = False
    norm: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Features:
        """Returns the five feature maps.

        Raises:
          ValueError: the output stride is not 8, 16 or 32.
        """
        strides = (*(stride for _, stride in self.entry_flow), 1, 2, 1)
        *entry, middle, exit1, exit2 = plan_stages(self.output_stride, strides=strides, stem=2)
        run = lambda module, x: module(x, train=train)
        run = nn.remat(run) if self.remat else run
        conv_norm = partial(_conv_norm, dtype=self.dtype, norm_layer=self.norm)
        residual = partial(ResidualModule, dtype=self.dtype, norm=self.norm)
        x = nn.relu(conv_norm(32, 3, stride=2, name="entry_flow_conv1_1")(image, train=train))
        x = nn.relu(conv_norm(64, 3, name="entry_flow_conv1_2")(x, train=train))
        features = {}
        for i, ((width, nominal), stage) in enumerate(
            zip(self.entry_flow, entry, strict=True), start=1
        ):
            rate, name = stage.first_dilation, f"entry_flow_block{i}_unit_1"
            widths = (width, width, width)
            x, inner = run(residual(widths, True, stage.stride, rate, name=name), x)
            if nominal > 1:
                features[f"c{len(features) + 1}"] = inner
        for i in range(1, self.middle_units + 1):
            width, name = x.shape[-1], f"middle_flow_block1_unit_{i}"
            widths = (width, width, width)
            x, _ = run(residual(widths, False, dilation=middle.dilation, name=name), x)
        first, last = self.exit_flow
        name = "exit_flow_block1_unit_1"
        block1 = residual(first, True, exit1.stride, exit1.first_dilation, name=name)
        x, features["c4"] = run(block1, x)
        block2 = LastModule(
            last,
            exit2.dilation,
            self.multi_grid,
            dtype=self.dtype,
            norm=self.norm,
            name="exit_flow_block2_unit_1",
        )
        return {**features, "c5": run(block2, x)}


Xception41 = partial(Xception, middle_units=8)
Xception65 = partial(Xception, middle_units=16)
Xception71 = partial(
    Xception, entry_flow=((128, 2), (256, 1), (256, 2), (728, 1), (728, 2)), middle_units=16
)

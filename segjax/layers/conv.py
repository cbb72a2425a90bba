"""Convolutions with parameters, on `segjax.ops`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.norm import BatchNorm
from segjax.ops.conv import Pair, conv2d, pair
from segjax.ops.transposed import conv_transpose2d

he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""He et al. (2015), backward pass: variance 2 / (k·k·out). torchvision's ResNets use it."""
he_fan_in = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
"""He et al. (2015), forward pass: variance 2 / (k·k·in), where k·k·in feed one output."""


def at_least_float32(dtype: Any) -> Any:
    """Returns `dtype`, at least float32: in bfloat16 close scores would become equal."""
    return jnp.promote_types(dtype, jnp.float32)


class Conv(nn.Module):
    """A convolution; by default an odd kernel keeps the size, divided by the stride.

    Parameters have `param_dtype`; the computation and the result have `dtype`.
    """

    features: int
    kernel_size: Pair
    stride: Pair = 1
    dilation: Pair = 1
    padding: Pair | str = "same"
    groups: int = 1
    use_bias: bool = True
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = he_fan_out

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b oh ow o"]:
        """Returns `features` channels, of the size that `conv_output_size` gives."""
        shape = (*pair(self.kernel_size), x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        y = conv2d(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return _add_bias(self, y) if self.use_bias else y


class ConvTranspose(nn.Module):
    """A transposed convolution with PyTorch's sizes; the kernel is h w o i."""

    features: int
    kernel_size: Pair
    stride: Pair = 1
    padding: Pair = 0
    output_padding: Pair = 0
    groups: int = 1
    use_bias: bool = True
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.variance_scaling(
        2.0, "fan_out", "normal", in_axis=-1, out_axis=-2
    )

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b oh ow o"]:
        """Returns `features` channels, of the size that `conv_transpose2d` gives."""
        shape = (*pair(self.kernel_size), self.features // self.groups, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        y = conv_transpose2d(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            groups=self.groups,
        )
        return _add_bias(self, y) if self.use_bias else y


def _add_bias(
    module: Conv | ConvTranspose, y: Float[Array, "b h w o"]
) -> Float[Array, "b h w o"]:
    """Returns `y` plus the module's parameter `bias`."""
    bias = module.param("bias", nn.initializers.zeros, (module.features,), module.param_dtype)
    return y + bias.astype(module.dtype)[None, None, None, :]


class ConvNorm(nn.Module):
    """A convolution without bias, then a norm: batch normalisation by default."""

    features: int
    kernel_size: Pair
    stride: Pair = 1
    dilation: Pair = 1
    groups: int = 1
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = he_fan_out
    norm_layer: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow o"]:
        """Returns `features` channels."""
        return self._normalised(x, train=train)

    def _normalised(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b oh ow o"]:
        y = Conv(
            self.features,
            self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            name="conv",
        )(x)
        norm = self.norm_layer(
            momentum=self.momentum, epsilon=self.epsilon, dtype=self.dtype, name="norm"
        )
        return norm(y, train=train)


class ConvNormReLU(ConvNorm):
    """A convolution without bias, then a norm (by default batch normalisation) and ReLU."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow o"]:
        """Returns `features` channels, at least 0."""
        # Not the parent's __call__, which every trace would show as a separate module.
        return nn.relu(self._normalised(x, train=train))


class SeparableConv(nn.Module):
    """A depthwise convolution, then a 1×1; each with batch normalisation and ReLU.

    DeepLab v3+'s atrous separable convolution (section 3.1): the depthwise convolution has the
    stride and the dilation. `relu=False` leaves both ReLUs out, as in most of Xception. The
    kernels are initialised as in DeepLab's TensorFlow code.
    """

    features: int
    kernel_size: Pair = 3
    stride: Pair = 1
    dilation: Pair = 1
    relu: bool = True
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    depthwise_init: nn.initializers.Initializer = nn.initializers.truncated_normal(0.33)
    pointwise_init: nn.initializers.Initializer = nn.initializers.truncated_normal(0.06)
    norm_layer: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow o"]:
        """Returns `features` channels, at least 0 if `relu`."""
        conv_norm = partial(
            ConvNorm,
            momentum=self.momentum,
            epsilon=self.epsilon,
            dtype=self.dtype,
            norm_layer=self.norm_layer,
        )
        activation = nn.relu if self.relu else lambda y: y
        depthwise = conv_norm(
            x.shape[-1],
            self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            groups=x.shape[-1],
            kernel_init=self.depthwise_init,
            name="depthwise",
        )
        pointwise = conv_norm(
            self.features, 1, kernel_init=self.pointwise_init, name="pointwise"
        )
        return activation(pointwise(activation(depthwise(x, train=train)), train=train))

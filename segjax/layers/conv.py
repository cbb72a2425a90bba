"""Convolutions with parameters, on `segjax.ops`."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.norm import BatchNorm
from segjax.ops.conv import Pair, conv2d, pair
from segjax.ops.transposed import conv_transpose2d

he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""He et al. (2015) for the backward pass: variance 2 / (k·k·out), torchvision's for ResNets."""


def at_least_float32(dtype: Any) -> Any:
    """The dtype for scores: bfloat16 has too few digits to tell close ones apart."""
    return jnp.promote_types(dtype, jnp.float32)


class Conv(nn.Module):
    """A convolution; by default odd kernels keep the size (divided by the stride).

    Parameters are `param_dtype`, the computation and the result `dtype`.
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
        """Returns `features` channels; sizes as `conv_output_size`."""
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
        """Returns `features` channels; sizes as `conv_transpose2d`."""
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


class ConvNormReLU(nn.Module):
    """A convolution without bias, batch normalisation, ReLU."""

    features: int
    kernel_size: Pair
    stride: Pair = 1
    dilation: Pair = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow o"]:
        """Returns `features` channels, none below zero."""
        y = Conv(
            self.features,
            self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            use_bias=False,
            dtype=self.dtype,
            name="conv",
        )(x)
        return nn.relu(BatchNorm(dtype=self.dtype, name="norm")(y, train=train))

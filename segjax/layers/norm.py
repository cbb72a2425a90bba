"""Normalisation: over the global batch, by frozen numbers, or over groups of channels.

A backbone's field `norm` is one of the classes, or a partial of one, such as
`partial(FrozenBatchNorm, epsilon=0.0)`. All of them have the fields `momentum`, `epsilon` and
`dtype`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from segjax.contracts import AXIS


class BatchNorm(nn.Module):
    """Batch normalisation with torchvision's constants, synchronised over devices.

    `train=True` normalises by the batch's statistics. It works only under
    `parallel.sharing.over_devices`, even on one device; elsewhere JAX reports an unbound axis.
    Statistics and parameters are float32 whatever `dtype` is. The running variance is the
    biased one; PyTorch's is n / (n − 1) times as large. (Ioffe and Szegedy, 2015.)
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    scale_init: nn.initializers.Initializer = nn.initializers.ones
    bias_init: nn.initializers.Initializer = nn.initializers.zeros
    axis_name: str | None = AXIS

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w c"]:
        """Returns `x` normalised per channel; updates the running statistics if `train`."""
        shape = x.shape[-1:]
        scale = self.param("scale", self.scale_init, shape, self.param_dtype)
        bias = self.param("bias", self.bias_init, shape, self.param_dtype)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        variance = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if not train:
            factor = scale * lax.rsqrt(variance.value + self.epsilon)
            y = (wide - mean.value[None, None, None]) * factor[None, None, None]
            return (y + bias[None, None, None]).astype(self.dtype)
        axis = None if self.is_initializing() else self.axis_name
        y, *of_batch = _traced_once(wide, scale, bias, self.epsilon, axis)
        if not self.is_initializing():
            for running, new in zip((mean, variance), of_batch, strict=True):
                updated = self.momentum * running.value + (1 - self.momentum) * new
                running.value = updated.astype(jnp.float32)
        return y.astype(self.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _by_batch(
    x: Float[Array, "b h w c"],
    scale: Float[Array, "c"],
    bias: Float[Array, "c"],
    epsilon: float,
    axis: str | None,
) -> tuple[Float[Array, "b h w c"], Float[Array, "c"], Float[Array, "c"]]:
    """Returns `x` normalised by its own mean and variance, and these two.

    E[x²] − E[x]² would lose the variance of few, nearly equal values, such as the ASPP's pooled
    pixels of a small batch. Gradients on two devices and on one then differed by 1e-3; with two
    passes they differ by 1e-6.
    """
    (mean,) = _means([x], axis)
    centred = x - mean[None, None, None]
    (variance,) = _means([jnp.square(centred)], axis)
    factor = scale * lax.rsqrt(variance + epsilon)
    y = centred * factor[None, None, None] + bias[None, None, None]
    return y, mean, variance


@_by_batch.defjvp
def _along(
    epsilon: float, axis: str | None, primals: tuple, tangents: tuple
) -> tuple[tuple, tuple]:
    """Returns value and derivative, which needs two sums over pixels.

    So does its transpose: the sums of g and of g · (x − mean), which devices exchange together.
    JAX's own takes four, and twice as many maps of products. The derivative of the variance by
    the mean is zero.
    """
    (x, scale, bias), (dx, dscale, dbias) = primals, tangents
    y, mean, variance = _by_batch(x, scale, bias, epsilon, axis)
    centred, inverse = x - mean[None, None, None], lax.rsqrt(variance + epsilon)
    factor = scale * inverse
    dmean, along_centred = _means([dx, centred * dx], axis)
    of_centred = inverse * dscale - factor * jnp.square(inverse) * along_centred
    dy = dx * factor[None, None, None] + centred * of_centred[None, None, None]
    dy += (dbias - factor * dmean)[None, None, None]
    return (y, mean, variance), (dy, dmean, 2 * along_centred)


_traced_once = jax.jit(_by_batch, static_argnums=(3, 4))
"""`_by_batch`, which JAX traces once for each shape."""


def _means(maps: Sequence[Float[Array, "b h w c"]], axis: str | None) -> Float[Array, "m c"]:
    """Returns each map's mean over images and pixels, and over the devices in one exchange."""
    means = jnp.stack([each.mean((0, 1, 2)) for each in maps])
    return means if axis is None else lax.pmean(means, axis)


class FrozenBatchNorm(BatchNorm):
    """Batch normalisation whose four numbers a channel are constants, in training too.

    Statistics, scale and offset lie in the collection `batch_stats`. So they are not
    parameters: they have no gradient, no weight decay and no running mean of parameters. It
    reads `epsilon` and `dtype` alone. torchvision's `FrozenBatchNorm2d`; its published Mask
    R-CNN and Faster R-CNN of the first version need `epsilon=0.0`.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w c"]:
        """Returns `x` normalised by the frozen numbers, whatever `train` is."""

        def constant(name: str, value: float) -> Float[Array, "c"]:
            make = lambda: jnp.full(x.shape[-1:], value, jnp.float32)
            return lax.stop_gradient(self.variable("batch_stats", name, make).value)

        mean, var = constant("mean", 0.0), constant("var", 1.0)
        factor = constant("scale", 1.0) * lax.rsqrt(var + self.epsilon)
        shift = constant("bias", 0.0) - mean * factor
        y = x.astype(jnp.promote_types(x.dtype, jnp.float32)) * factor[None, None, None]
        return (y + shift[None, None, None]).astype(self.dtype)


class GroupNorm(nn.Module):
    """Normalisation of each image over groups of channels (Wu and He, 2018, arXiv:1803.08494).

    Training and evaluation do not differ, and no image depends on another one. Statistics and
    parameters are float32 whatever `dtype` is. There are no running statistics, so `momentum`
    is not read: a backbone gives it to every norm.
    """

    groups: int = 32
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w c"]:
        """Returns `x` normalised over the pixels and channels of each group.

        Raises:
          ValueError: the channels are not a multiple of the groups.
        """
        *sides, channels = x.shape
        if channels % self.groups:
            raise ValueError(
                f"GroupNorm: {channels} channels are not a multiple of groups={self.groups}; "
                "choose groups that divide them."
            )
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        grouped = wide.reshape(*sides, self.groups, channels // self.groups)
        centred = grouped - grouped.mean((1, 2, 4), keepdims=True)
        variance = jnp.square(centred).mean((1, 2, 4), keepdims=True)
        y = (centred * lax.rsqrt(variance + self.epsilon)).reshape(x.shape)
        return (y * scale[None, None, None] + bias[None, None, None]).astype(self.dtype)

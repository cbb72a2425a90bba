"""Batch normalisation over the global batch."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.contracts import AXIS


class BatchNorm(nn.BatchNorm):
    """Linen's BatchNorm with torchvision's constants, synchronised over devices.

    `train=True` normalises by the batch's statistics. It works only under
    `parallel.sharing.over_devices`, even on one device; elsewhere JAX reports an unbound axis.
    Statistics and parameters are float32 whatever `dtype` is. The running variance is the
    biased one; PyTorch's is n / (n − 1) times as large. (Ioffe and Szegedy, 2015.)
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    # E[x²] − E[x]² loses the variance of few, nearly equal values, such as the ASPP's pooled
    # pixels of a small batch. Gradients on two devices and on one then differed by 1e-3; with
    # two passes they differ by 1e-6.
    use_fast_variance: bool = False
    axis_name: str | None = AXIS

    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w c"]:
        """Returns `x` normalised per channel; updates the running statistics if `train`."""
        return super().__call__(x, use_running_average=not train)

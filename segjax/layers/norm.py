"""Batch normalisation over the global batch."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.contracts import AXIS


class BatchNorm(nn.BatchNorm):
    """Linen's with torchvision's numbers, synchronised over devices (Ioffe and Szegedy, 2015).

    `train=True` normalises by the batch's statistics and so works only under
    `parallel.sharing.over_devices`, one device included; elsewhere JAX reports an unbound axis.
    Statistics and parameters are float32 whatever `dtype` is. The running variance is the
    biased one; PyTorch's is n / (n − 1) times as large.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Any = jnp.float32
    # E[x²] − E[x]² loses the variance of few, nearly equal values, such as the ASPP's pooled
    # pixels of a small batch: gradients on two devices and on one then differed by 1e-3, with
    # two passes by 1e-6.
    use_fast_variance: bool = False
    axis_name: str | None = AXIS

    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w c"]:
        """Returns `x` normalised per channel; `train` updates the running statistics."""
        return super().__call__(x, use_running_average=not train)

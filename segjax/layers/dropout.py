"""Dropout whose masks depend neither on the number of devices nor on micro-batches."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.ops.dispatch import on_cpu
from segjax.parallel.micro_batches import positions


class Dropout(nn.Module):
    """Dropout: zeroes elements with probability `rate`, divides the others by 1 − rate.

    The mask of an example is drawn from the rng "dropout" (the same on every device) and the
    example's position in the global batch, so one device or four take the same step. Like
    BatchNorm it trains only under `parallel.sharing.over_devices`. (Srivastava et al., 2014.)
    """

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "b *rest"], *, train: bool) -> Float[Array, "b *rest"]:
        """Returns `x` with elements dropped; `x` itself if `train` is false.

        Raises:
          ValueError: the rate lies outside [0, 1).
        """
        if not 0 <= self.rate < 1:
            raise ValueError(f"The dropout rate must lie in [0, 1), got {self.rate}.")
        if not train or self.rate == 0 or self.is_initializing():
            return x
        key, keep = self.make_rng("dropout"), 1 - self.rate
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(positions(x.shape[0]))
        # The same bits; XLA takes up to four times as long to compile three axes on a CPU.
        shape = (math.prod(x.shape[1:]),) if on_cpu() else x.shape[1:]
        mask = jax.vmap(lambda k: jax.random.bernoulli(k, keep, shape))(keys)
        return jnp.where(mask.reshape(x.shape), x / keep, jnp.zeros_like(x))

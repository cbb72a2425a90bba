"""Rematerialisation: recomputing activations for the gradient instead of storing them."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn


def maybe_remat(method: Callable[..., Any], *inputs: Any, remat: bool, **options: Any) -> Any:
    """Returns `method(*inputs, **options)` of a module; parameter names do not change.

    With `remat` only the inputs are stored for the gradient; activations are recomputed by a
    second forward pass (Chen et al., 2016, arXiv:1604.06174). The compiler decides what that
    saves (`benchmarks/memory.py`, `docs/guides/memory.md`); jax 0.10 on a CPU needs the
    flags that `segjax.parallel.cluster.tune_cpu` sets for it.

    Args:
      method: a bound method of a Linen module, such as `block.__call__`.
      *inputs: arrays that a gradient may flow to, or None.
      remat: whether to recompute.
      **options: arguments known while the network is traced, such as `train`.
    """
    if not remat:
        return method(*inputs, **options)
    function, module = method.__func__, method.__self__
    anew = nn.remat(lambda module, *inputs: function(module, *inputs, **options))
    return anew(module, *inputs)

"""Maps that are computed once, whatever reads them.

XLA's CPU compiler computes a chain of operations by element again for each operation that reads
its result. The output of a ResNet's unit has two readers, the next unit's convolution and its
shortcut, and the shortcut's sum is itself such a chain: at the n-th unit of a stage each reader
would read the maps of all n units (`benchmarks/results.md`, "Chains of residual units"). The
units of Xception, MobileNet v3 and RefineNet move no fewer bytes with it. The result of a
convolution is written once too ("What a layer keeps").
"""

from jax import lax
from jax.core import Tracer
from jaxtyping import Array

from segjax.ops.dispatch import is_plain, on_cpu


def materialized(x: Array) -> Array:
    """Returns `x`, which compiled programs on a CPU write once for all that read it.

    It is for a map that has several readers and is itself a sum of maps. Elsewhere, under
    `plain()`, and where devices share an image, it is `x` itself: compilers for GPUs and TPUs
    weigh such repetition themselves. jax 0.10 does as it says only with the flags that
    `segjax.parallel.cluster.tune_cpu` sets.
    """
    if not isinstance(x, Tracer) or is_plain() or not on_cpu():
        return x
    return lax.optimization_barrier(x)

"""Batch normalisation as a part of the convolutions before it, for a network that is done.

With running statistics a norm multiplies and shifts each channel. Behind a convolution whose
result goes nowhere else, the factor moves into its kernel and its bias:

    norm(y) = y · s + t          s = scale / √(variance + ε),  t = bias − mean · s
    norm(K ∗ x + b) = (K · s) ∗ x + (b · s + t)

Where a norm comes before its convolution with a ReLU between them (DenseNet, FC-DenseNet) it
cannot move, and one multiplication and one addition remain of it.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float

from segjax.contracts import Array, Variables
from segjax.layers.conv import Conv
from segjax.layers.norm import BatchNorm
from segjax.ops.dispatch import plain

_Path = tuple[str, ...]
_CONV, _NORM = "segjax conv ", "segjax norm "


def fold_norms(
    apply: Callable[[Variables, Array], Array], variables: Variables, image: Any
) -> Variables:
    """Returns variables for inference under `folded_norms`: no statistics, scaled kernels.

    Of each norm at most `scale` and `bias` are left, now the factor and the shift above: none
    behind a convolution with a bias, the shift behind one without. Numbers agree up to
    rounding. A network in half precision rounds other kernels, and so agrees to its own digits.

    Args:
      apply: (variables, image) → result, in evaluation; it is traced, nothing is run.
      variables: the network's.
      image: the shape and dtype (b h w c) to trace with; its size does not matter.
    """
    sources = _sources(apply, variables, image)
    flat: dict[_Path, Any] = flatten_dict(jax.device_get(dict(variables)))  # type: ignore
    for norm, (epsilon, conv) in sources.items():
        factor, shift = _affine(flat, norm, epsilon)
        if conv is None:
            flat[("params", *norm, "scale")] = factor.astype(np.float32)
        else:
            kernel = ("params", *conv, "kernel")
            flat[kernel] = (flat[kernel] * factor).astype(flat[kernel].dtype)
        bias = ("params", *(conv or norm), "bias")
        if conv is not None and bias in flat:
            flat[bias] = (flat[bias] * factor + shift).astype(flat[bias].dtype)
        else:
            flat[("params", *norm, "bias")] = shift.astype(np.float32)
    return unflatten_dict(flat)


def folded_norms() -> contextlib.AbstractContextManager:
    """Returns a block in which BatchNorm is only the shift that `fold_norms` has left."""
    return nn.intercept_methods(_apply_folded)


def _sources(
    apply: Callable[[Variables, Array], Array], variables: Variables, image: Any
) -> dict[_Path, tuple[float, _Path | None]]:
    """Returns each norm's ε, and the convolution that it can be folded into or None.

    Names are left in the traced network where convolutions return and norms begin; who reads
    what is then seen in its jaxpr.
    """
    epsilons: dict[_Path, float] = {}

    def named(call: Callable, arguments: tuple, keywords: dict, context: Any) -> Any:
        """Calls a module's method, with a name on a norm's input or a convolution's result."""
        module = context.module
        if context.method_name == "__call__" and isinstance(module, BatchNorm):
            epsilons[module.path] = module.epsilon
            return checkpoint_name(arguments[0], _NORM + "/".join(module.path))
        result = call(*arguments, **keywords)
        if context.method_name == "__call__" and isinstance(module, Conv):
            return checkpoint_name(result, _CONV + "/".join(module.path))
        return result

    with plain(), nn.intercept_methods(named):
        traced = jax.make_jaxpr(lambda v, x: apply(v, x))(variables, image)
    # A network may call a module several times: all of its calls must agree.
    before, behind = defaultdict(set), defaultdict(set)
    for conv, norm in _links(traced.jaxpr):
        before[norm].add(conv)
        behind[conv].add(norm)
    sources: dict[_Path, tuple[float, _Path | None]] = {}
    for norm, epsilon in epsilons.items():
        convs = before[norm]
        (conv,) = convs if len(convs) == 1 else (None,)
        alone = conv is not None and behind[conv] == {norm}
        sources[norm] = (epsilon, conv if alone else None)
    return sources


def _links(jaxpr: Any) -> Iterator[tuple[_Path | None, _Path | None]]:
    """Yields (convolution, norm) where the one's result is the other's alone.

    A convolution that anything else reads is yielded with None, and so is any other norm.
    """
    tags = [(e, e.params["name"]) for e in jaxpr.eqns if e.primitive.name == "name"]
    path = lambda name, kind: tuple(name.removeprefix(kind).split("/"))
    norms = {e.invars[0]: path(name, _NORM) for e, name in tags if name.startswith(_NORM)}
    convs = {e.outvars[0]: path(name, _CONV) for e, name in tags if name.startswith(_CONV)}
    readers = Counter(v for e in jaxpr.eqns for v in e.invars if not hasattr(v, "val"))
    readers.update(v for v in jaxpr.outvars if not hasattr(v, "val"))
    for result, conv in convs.items():
        yield conv, norms[result] if readers[result] == 1 and result in norms else None
    for x, norm in norms.items():
        if x not in convs or readers[x] > 1:
            yield None, norm
    for equation in jaxpr.eqns:
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from _links(inner)


def _affine(
    flat: dict[_Path, Any], norm: _Path, epsilon: float
) -> tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]:
    """Takes a norm's numbers out of `flat`; returns its factor and shift, in float64."""

    def take(name: str) -> Float[np.ndarray, "c"]:
        # All numbers of a frozen norm are statistics.
        kinds = [kind for kind in ("params", "batch_stats") if (kind, *norm, name) in flat]
        return np.asarray(flat.pop((kinds[0], *norm, name)), np.float64)

    factor = take("scale") / np.sqrt(take("var") + epsilon)
    return factor, take("bias") - take("mean") * factor


def _apply_folded(call: Callable, arguments: tuple, keywords: dict, context: Any) -> Any:
    """Returns what BatchNorm gives with only those of its parameters that are there."""
    module = context.module
    if not isinstance(module, BatchNorm) or context.method_name != "__call__":
        return call(*arguments, **keywords)
    (x,) = arguments
    y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    parameter = lambda name: module.get_variable("params", name)[None, None, None, :]
    y = y * parameter("scale") if module.has_variable("params", "scale") else y
    y = y + parameter("bias") if module.has_variable("params", "bias") else y
    return y.astype(module.dtype)

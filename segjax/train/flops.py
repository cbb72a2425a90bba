"""Floating point operations of a function, counted from its jaxpr; nothing is compiled or run.

Only matrix products and convolutions count, as is usual for the utilisation of a model's FLOPs
(Chowdhery et al., 2022, arXiv:2204.02311, appendix B). A product that a network with `remat`
computes a second time for its gradient has the same operands as the first one, so it has the
same number below and counts once.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

Flops = Counter[str]
"""{dtype of the operands: operations}; a multiplication and an addition are two."""

_INLINED = (
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "checkpoint",
    "remat2",
    "custom_jvp_call",
)
_SAME = ("optimization_barrier", "layout_constraint", "name", "copy", "copy_p")
"""Primitives whose results are their operands, as far as counting is concerned."""


def flops_of(function: Callable, *arguments: Any, axis: str | None = None) -> Flops:
    """Returns the operations of a call by the dtype of the operands.

    The body of a loop counts as often as it runs if that is known (`scan`), else once. Of the
    branches of a condition the most expensive one counts.

    >>> image, kernel = jax.ShapeDtypeStruct((8, 4), "float32"), np.zeros((4, 2), "float32")
    >>> dict(flops_of(lambda image: image @ kernel, image))
    {'float32': 128}

    Args:
      function: a function of arrays.
      *arguments: its arguments, or their shapes and dtypes.
      axis: the name of an axis of length 1 over which the function's collectives run.
    """
    names = [(axis, 1)] if axis else None
    closed = jax.make_jaxpr(function, axis_env=names)(*arguments)
    return _Counter().total(closed.jaxpr)


class _Counter:
    """Counts equations, each value once: equal operations on equal operands are one value."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._flops: Flops = Counter()

    def total(self, jaxpr: Any) -> Flops:
        """Returns the operations of a jaxpr."""
        self._inline(jaxpr, [self._new() for _ in jaxpr.invars])
        return self._flops

    def _new(self) -> int:
        return self._number(object())

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def _inline(self, jaxpr: Any, arguments: Sequence[int]) -> list[int]:
        """Counts a jaxpr on numbered arguments; returns the numbers of its results."""
        known: dict[Any, int] = dict(zip(jaxpr.invars, arguments, strict=True))
        known |= {var: self._number(("constant", id(var))) for var in jaxpr.constvars}

        def number(atom: Any) -> int:
            if isinstance(atom, core.Literal):
                return self._number(("literal", str(atom.aval), repr(atom.val)))
            return known[atom]

        for equation in jaxpr.eqns:
            results = self._equation(equation, [number(atom) for atom in equation.invars])
            known |= dict(zip(equation.outvars, results, strict=True))
        return [number(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, operands: list[int]) -> list[int]:
        name, inner = equation.primitive.name, _inner(equation)
        if name in _SAME:
            return operands
        if len(inner) == 1 and (name in _INLINED or name.startswith("custom_vjp_call")):
            if len(inner[0].invars) == len(operands):
                return self._inline(inner[0], operands)
        parameters = repr(equation.params) if not inner else str(id(equation))
        key = (name, parameters, *operands)
        if key not in self._numbers:
            self._flops += _inner_flops(equation, inner) if inner else _own_flops(equation)
        first = self._number(key)
        return [self._number((first, place)) for place in range(len(equation.outvars))]


def _inner(equation: Any) -> list[Any]:
    """Returns the jaxprs in an equation's parameters."""
    values = []
    for value in equation.params.values():
        values += value if isinstance(value, (tuple, list)) else [value]
    opened = [getattr(value, "jaxpr", value) for value in values]
    return [value for value in opened if hasattr(value, "eqns") and hasattr(value, "invars")]


def _inner_flops(equation: Any, inner: Sequence[Any]) -> Flops:
    each = [_Counter().total(jaxpr) for jaxpr in inner]
    if equation.primitive.name == "cond":
        return max(each, key=lambda flops: flops.total())
    times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
    return Counter({dtype: times * n for dtype, n in sum(each, Counter()).items()})


def _own_flops(equation: Any) -> Flops:
    count = {"dot_general": _product, "conv_general_dilated": _convolution}
    if equation.primitive.name not in count:
        return Counter()
    dtype = np.dtype(equation.invars[0].aval.dtype).name
    return Counter({dtype: count[equation.primitive.name](equation)})


def _product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    return 2 * int(np.prod(out)) * int(np.prod([left[axis] for axis in contracted]))


def _convolution(equation: Any) -> int:
    """Returns the operations of a convolution, without those on padding and inserted zeros."""
    p, numbers = equation.params, equation.params["dimension_numbers"]
    left, kernel, out = (
        [atom.aval.shape[axis] for axis in spec]
        for atom, spec in zip(
            (*equation.invars, *equation.outvars),
            (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec),
            strict=True,
        )
    )
    # Of the kernel's channels o i, i is those of one group already.
    pairs = left[0] // p["batch_group_count"] * kernel[0] * kernel[1]
    for place, stride in enumerate(p["window_strides"]):
        pairs *= _taps(
            (left[2 + place], kernel[2 + place], out[2 + place]),
            stride=stride,
            before=p["padding"][place][0],
            dilations=(p["lhs_dilation"][place], p["rhs_dilation"][place]),
        )
    return 2 * pairs


def _taps(
    sizes: tuple[int, int, int], *, stride: int, before: int, dilations: tuple[int, int]
) -> int:
    """Returns how many pairs (output, kernel's tap) along an axis read a value of the image."""
    image, kernel, out = sizes
    at = np.arange(out)[:, None] * stride + np.arange(kernel) * dilations[1] - before
    inside = (at >= 0) & (at <= (image - 1) * dilations[0]) & (at % dilations[0] == 0)
    return int(inside.sum())

"""A network's layers with their costs and fields, read from its jaxpr without running it.

The network is traced with shapes only, in its plain form (`segjax.ops.dispatch.plain`). For
each equation, `segjax.explain.jaxpr_receptive_field` says what its result sees of the image's
rows and columns.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from segjax.contracts import Variables
from segjax.explain.jaxpr_receptive_field import Reach, reach_of
from segjax.ops.dispatch import plain
from segjax.ops.receptive_field import Field

LARGEST_CONSTANT = 2**22
"""Elements of the largest array that is computed while tracing, such as indices."""

Seen = tuple[Reach, Reach]
"""What an array sees of the image's rows and columns."""


class LayerRow(NamedTuple):
    """A convolution, a pooling or a matrix product.

    Attributes:
      path: its module, names joined by slashes; "" for the network itself.
      operation: in words, such as `conv 3x3 /2 d2`.
      shape: (height, width, channels) of its result.
      parameters: of the module, and of the norms after it that have no row of their own.
      multiply_adds: for one image, including taps on padding.
      seen: what a position of its result sees of the image.
    """

    path: str
    operation: str
    shape: tuple[int, int, int]
    parameters: int
    multiply_adds: int
    seen: Seen


class Trace(NamedTuple):
    """A network's layers.

    Attributes:
      rows: in the order of execution.
      answer: what a position of the output sees; of several maps, the last one by name.
      shape: (height, width, channels) of the output.
      unused: {module: parameters} of modules that are not used in evaluation.
    """

    rows: list[LayerRow]
    answer: Seen
    shape: tuple[int, int, int]
    unused: dict[str, int]


def variable_shapes(model: nn.Module, image: jax.ShapeDtypeStruct) -> Variables:
    """Returns the shapes of a network's variables for such an image; nothing is allocated."""
    start = lambda key: model.init(key, jnp.zeros(image.shape, image.dtype), train=False)
    return jax.eval_shape(start, jax.random.key(0))


def trace(model: nn.Module, size: tuple[int, int], *, channels: int = 3) -> Trace:
    """Returns the layers of a network in evaluation, for one image of (height, width).

    Raises:
      ValueError: the network does not take such an image.
    """
    image = jax.ShapeDtypeStruct((1, *size, channels), jnp.float32)
    variables = variable_shapes(model, image)
    with plain():
        closed = jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, image)
    modules = _modules(variables.get("params", {}))
    walk = _Walk(modules)
    start = (Reach(1, Field(1, 1, 0)), Reach(2, Field(1, 1, 0)))
    inputs = [None] * (len(closed.jaxpr.invars) - 1)
    *_, answer = walk.through(closed.jaxpr, closed.consts, [*inputs, start], "")
    assert isinstance(answer, tuple)
    shape = _map_shape(closed.jaxpr.outvars[-1].aval.shape, answer)
    return Trace(walk.owned_rows(), answer, shape, walk.unused())


def _modules(params: Mapping[str, Any]) -> dict[str, int]:
    """Returns {path of a module: number of its own parameters}."""
    counts: dict[str, int] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = "/".join(str(key.key) for key in path[:-1])
        counts[name] = counts.get(name, 0) + math.prod(leaf.shape)
    return counts


@dataclasses.dataclass
class _Walk:
    """A single pass through a jaxpr that collects its rows.

    Attributes:
      modules: parameters by module.
      rows: layers so far, without parameters.
      touched: by module, the number of rows before its first equation.
    """

    modules: Mapping[str, int]
    rows: list[LayerRow] = dataclasses.field(default_factory=list)
    touched: dict[str, int] = dataclasses.field(default_factory=dict)

    def through(self, jaxpr: Any, consts: Sequence, inputs: Sequence, scope: str) -> list:
        """Returns for each output what it sees (`Seen`), or a known array, or None."""
        values = dict(zip(jaxpr.constvars, map(_known, consts), strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))
        read = lambda v: _known(v.val) if hasattr(v, "val") else values.get(v)
        for equation in jaxpr.eqns:
            path = f"{scope}/{equation.source_info.name_stack}"
            results = self._equation(equation, [read(v) for v in equation.invars], path)
            values.update(zip(equation.outvars, results, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _equation(self, equation: Any, operands: list, scope: str) -> Sequence:
        if equation.primitive.name in _CALLS:
            jaxpr, consts = _called(equation.params)
            return self.through(jaxpr, consts, operands, scope)
        if all(isinstance(operand, np.ndarray) for operand in operands):
            return _evaluated(equation, operands)
        if not any(isinstance(operand, tuple) for operand in operands):
            return [None] * len(equation.outvars)
        known = [o if isinstance(o, np.ndarray) else None for o in operands]
        along = lambda k: [o[k] if isinstance(o, tuple) else None for o in operands]
        seen = reach_of(equation, along(0), known), reach_of(equation, along(1), known)
        path = module_path(scope)
        self.touched.setdefault(self._module(path), len(self.rows))
        self._note(equation, path, operands, seen)
        return [seen] * len(equation.outvars)

    def _note(self, equation: Any, path: str, operands: list, seen: Seen) -> None:
        found = operation(equation, operands)
        if found is None:
            return
        words, cost = found
        row = LayerRow(
            path, words, _map_shape(equation.outvars[0].aval.shape, seen), 0, cost, seen
        )
        if words == "resize" and self.rows and self.rows[-1][:2] == row[:2]:
            # The second matrix of an interpolation: rows first, then columns.
            row = row._replace(multiply_adds=cost + self.rows.pop().multiply_adds)
        self.rows.append(row)

    def _module(self, path: str) -> str:
        """Returns the innermost module with parameters that contains a path, or ""."""
        names = path.split("/")
        candidates = ("/".join(names[:n]) for n in range(len(names), 0, -1))
        return next((c for c in candidates if c in self.modules), "")

    def _owner(self, module: str) -> int | None:
        """Returns the row that counts a module's parameters: its own, or the one before."""
        own = (i for i, row in enumerate(self.rows) if self._module(row.path) == module)
        before = self.touched.get(module)
        fallback = None if before is None or not self.rows else max(before - 1, 0)
        return next(own, fallback)

    def owned_rows(self) -> list[LayerRow]:
        """Returns the rows with their parameters."""
        counts = [0] * len(self.rows)
        for module, count in self.modules.items():
            if (owner := self._owner(module)) is not None:
                counts[owner] += count
        return [row._replace(parameters=n) for row, n in zip(self.rows, counts, strict=True)]

    def unused(self) -> dict[str, int]:
        """Returns parameters of modules that the traced network does not use."""
        return {m: n for m, n in self.modules.items() if self._owner(m) is None}


def module_path(scope: str) -> str:
    """Returns the names of submodules in an equation's scope.

    The first name is the network's class. Methods (`UNet._up`) and formulas of `einsum` are
    left out.

    >>> module_path("/UNet/UNet._network/up0/conv1"), module_path("/UNet/hi,bijc->bhjc")
    ('up0/conv1', '')
    """
    names = [name for name in scope.split("/") if name]
    return "/".join(name for name in names[1:] if re.fullmatch(r"\w+", name))


def _known(value: Any) -> np.ndarray | None:
    small = np.size(value) <= LARGEST_CONSTANT
    try:
        return np.asarray(value) if small else None
    except TypeError:  # A random key is not an array of numbers.
        return None


_CALLS = (
    *("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2"),
    *("custom_jvp_call", "custom_vjp_call"),
)
"""Primitives that only call a jaxpr."""


def _called(params: Mapping[str, Any]) -> tuple[Any, Sequence]:
    """Returns the jaxpr that an equation calls, and its constants."""
    called = params["jaxpr"] if "jaxpr" in params else params["call_jaxpr"]
    return getattr(called, "jaxpr", called), getattr(called, "consts", ())


def _evaluated(equation: Any, operands: list[np.ndarray]) -> Sequence[np.ndarray | None]:
    """Returns the results of an equation with known operands."""
    if any(math.prod(v.aval.shape) > LARGEST_CONSTANT for v in equation.outvars):
        return [None] * len(equation.outvars)
    results = equation.primitive.bind(*operands, **equation.params)
    return [_known(r) for r in (results if equation.primitive.multiple_results else [results])]


def _map_shape(shape: Sequence[int], seen: Seen) -> tuple[int, int, int]:
    """Returns (height, width, channels) of a result for one image, in any order of axes."""
    height, width = (1 if s.axis is None else shape[s.axis] for s in seen)
    return height, width, math.prod(shape) // (height * width)


def operation(equation: Any, operands: Sequence) -> tuple[str, int] | None:
    """Returns (words, multiply-adds) of a convolution, pooling or matrix product, or None."""
    name, params = equation.primitive.name, equation.params
    if name == "conv_general_dilated":
        return _convolution(equation)
    if name.startswith("reduce_window"):
        kind = {"reduce_window_max": "max pool", "reduce_window_sum": "average pool"}
        sizes = [i for i, n in enumerate(params["window_dimensions"]) if n > 1]
        kernel, stride = (
            [params[key][i] for i in sizes] for key in ("window_dimensions", "window_strides")
        )
        return f"{kind.get(name, 'pool')} {_by(kernel)}{_option('/', stride)}", 0
    if name in ("reduce_sum", "reduce_max"):
        axes = [o[k].axis for o in operands if isinstance(o, tuple) for k in (0, 1)]
        return ("image pool", 0) if set(axes) & set(params["axes"]) else None
    if name == "dot_general":
        (lhs, _), _ = params["dimension_numbers"]
        taps = math.prod(equation.invars[0].aval.shape[axis] for axis in lhs)
        words = "resize" if any(isinstance(o, np.ndarray) for o in operands) else "product"
        return words, taps * math.prod(equation.outvars[0].aval.shape)
    return None


def _convolution(equation: Any) -> tuple[str, int]:
    params = equation.params
    _, rhs, _ = params["dimension_numbers"]
    image, kernel = (operand.aval.shape for operand in equation.invars)
    sides, groups = [kernel[i] for i in rhs[2:]], params["feature_group_count"]
    spread = params["lhs_dilation"]
    words = "transposed" if max(spread) > 1 else "conv"
    stride = spread if max(spread) > 1 else params["window_strides"]
    options = _option("/", stride) + _option("d", params["rhs_dilation"])
    # A transposed convolution uses each input once: the zeros between are not counted.
    each = math.prod(image) if max(spread) > 1 else math.prod(equation.outvars[0].aval.shape)
    channels = kernel[rhs[0]] // groups if max(spread) > 1 else kernel[rhs[1]]
    grouped = f" g{groups}" if groups > 1 else ""
    return f"{words} {_by(sides)}{options}{grouped}", each * math.prod(sides) * channels


def _by(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))


def _option(sign: str, values: Sequence[int]) -> str:
    """Returns ` /2`, or ` /2x1` if the axes differ; an empty string if all are 1."""
    if max(values, default=1) == 1:
        return ""
    return f" {sign}{values[0] if len(set(values)) == 1 else _by(values)}"

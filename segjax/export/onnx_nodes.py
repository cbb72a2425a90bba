"""JAX's primitives as ONNX's operators: what inference of a segmentation network is made of.

Each function takes the graph, an equation and its inputs, and returns the name of its result.
Activations stay b h w c; convolutions and pools, which ONNX has for b c h w only, stand between
two transpositions, which runtimes move and cancel.
"""

from collections.abc import Callable, Sequence
from string import ascii_lowercase
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

Value = str | np.ndarray
"""The name of what is computed when the graph runs, or an array that is known already."""

Node = Callable[["Graph", Any, Sequence[Value]], Value]


@runtime_checkable
class Graph(Protocol):
    """What an ONNX graph is written to."""

    def node(self, operator: str, *inputs: Value, **attributes: Any) -> Value:
        """Adds a node; returns its result."""
        ...


class NoNode(ValueError):
    """ONNX, or this table, has nothing for an operation."""


def _named(operator: str) -> Node:
    """Returns an operator that is the same in both, element by element."""
    return lambda graph, equation, inputs: graph.node(operator, *inputs)


def _itself(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    return inputs[0]


def _largest(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    """Returns the larger of two; with a float and zero, as a Relu, which runtimes fuse."""
    if jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating):
        for this, other in (inputs, inputs[::-1]):
            if isinstance(other, np.ndarray) and not other.any():
                return graph.node("Relu", this)
    return graph.node("Max", *inputs)


def _not_equal(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    return graph.node("Not", graph.node("Equal", *inputs))


def _power(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    exponent = np.asarray(equation.params["y"], equation.outvars[0].aval.dtype)
    return graph.node("Pow", inputs[0], exponent)


def _inverse_root(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    return graph.node("Reciprocal", graph.node("Sqrt", *inputs))


def _square(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    return graph.node("Mul", inputs[0], inputs[0])


def _clamp(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    low, x, high = inputs
    return graph.node("Min", graph.node("Max", x, low), high)


def _cast(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    if equation.invars[0].aval.dtype == equation.outvars[0].aval.dtype:
        return inputs[0]
    return graph.node("Cast", inputs[0], to=equation.outvars[0].aval.dtype)


def _reshape(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    return graph.node("Reshape", inputs[0], _numbers(equation.outvars[0].aval.shape))


def _broadcast(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    shape, places = equation.params["shape"], equation.params["broadcast_dimensions"]
    sides = [1] * len(shape)
    for place, side in zip(places, equation.invars[0].aval.shape, strict=True):
        sides[place] = side
    spread = graph.node("Reshape", inputs[0], _numbers(sides))
    return spread if sides == list(shape) else graph.node("Expand", spread, _numbers(shape))


def _transpose(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    return graph.node("Transpose", inputs[0], perm=list(equation.params["permutation"]))


def _concatenate(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    both = zip(inputs, equation.invars, strict=True)
    some = [value for value, v in both if 0 not in v.aval.shape]
    return graph.node("Concat", *some, axis=equation.params["dimension"])


def _slice(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    starts, ends = equation.params["start_indices"], equation.params["limit_indices"]
    steps = equation.params["strides"] or (1,) * len(starts)
    axes = range(len(starts))
    return graph.node("Slice", inputs[0], *map(_numbers, (starts, ends, axes, steps)))


def _reversed(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    axes = equation.params["dimensions"]
    numbers = [[n] * len(axes) for n in (-1, -(2**31), -1)]
    starts, ends, steps = map(_numbers, numbers)
    return graph.node("Slice", inputs[0], starts, ends, _numbers(axes), steps)


def _pad(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    before, after, between = zip(*equation.params["padding_config"], strict=True)
    if any(between):
        raise NoNode("padding between pixels")
    return graph.node("Pad", inputs[0], _numbers((*before, *after)), inputs[1])


def _reduction(operator: str) -> Node:
    def reduce(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
        axes = _numbers(equation.params["axes"])
        return graph.node(operator, inputs[0], axes, keepdims=0)

    return reduce


def _argmax(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    (axis,) = equation.params["axes"]
    index = graph.node("ArgMax", inputs[0], axis=axis, keepdims=0)
    return graph.node("Cast", index, to=equation.outvars[0].aval.dtype)


def _select(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    which, *cases = inputs
    if len(cases) != 2 or equation.invars[0].aval.dtype != bool:
        raise NoNode("a choice between more than two")
    return graph.node("Where", which, cases[1], cases[0])


def _product(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    """Returns a sum of products over any axes, as an einsum."""
    (sums, others), (batch, other_batch) = equation.params["dimension_numbers"]
    letters = iter(ascii_lowercase)
    left = [next(letters) for _ in equation.invars[0].aval.shape]
    right = [next(letters) for _ in equation.invars[1].aval.shape]
    for i, j in (*zip(sums, others, strict=True), *zip(batch, other_batch, strict=True)):
        right[j] = left[i]
    free = [c for i, c in enumerate(left) if i not in (*sums, *batch)]
    free += [c for j, c in enumerate(right) if j not in (*others, *other_batch)]
    result = "".join([*(left[i] for i in batch), *free])
    return graph.node("Einsum", *inputs, equation=f"{''.join(left)},{''.join(right)}->{result}")


def _take(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    """Returns rows or columns by their known numbers, what `jnp.take` along one axis is."""
    x, indices = inputs
    numbers, shape = equation.params["dimension_numbers"], equation.invars[0].aval.shape
    axes, size = numbers.start_index_map, equation.params["slice_sizes"]
    whole = [s == n for i, (s, n) in enumerate(zip(size, shape, strict=True)) if i not in axes]
    one_axis = len(axes) == 1 and numbers.collapsed_slice_dims == axes and all(whole)
    offsets = tuple(i for i in range(len(shape)) if i not in axes)
    if not (one_axis and numbers.offset_dims == offsets and isinstance(indices, np.ndarray)):
        raise NoNode("a gather of other than whole rows and columns")
    inside = np.clip(indices[..., 0], 0, shape[axes[0]] - 1).astype(np.int64)
    return graph.node("Gather", x, inside, axis=axes[0])


def _scatter_add(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    """Returns single values added at their positions, as SegNet's unpooling needs."""
    target, indices, updates = inputs
    numbers, rank = equation.params["dimension_numbers"], equation.invars[0].aval.ndim
    axes = tuple(range(rank))
    if numbers.update_window_dims or numbers.scatter_dims_to_operand_dims != axes:
        raise NoNode("a scatter of other than single values")
    indices = graph.node("Cast", indices, to=np.dtype(np.int64))
    return graph.node("ScatterND", target, indices, updates, reduction="add")


def _convolution(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    p, (x, kernel) = equation.params, inputs
    layout = (p["dimension_numbers"].lhs_spec, p["dimension_numbers"].rhs_spec)
    if layout != ((0, 3, 1, 2), (3, 2, 0, 1)) or p["batch_group_count"] != 1:
        raise NoNode("a convolution of another layout")
    (top, bottom), (left, right) = p["padding"]
    pads, options = [top, left, bottom, right], {"group": p["feature_group_count"]}
    x = graph.node("Transpose", x, perm=[0, 3, 1, 2])
    options["dilations"] = list(p["rhs_dilation"])
    if set(p["lhs_dilation"]) == {1} and min(pads) >= 0:
        kernel = graph.node("Transpose", kernel, perm=[3, 2, 0, 1])
        options |= {"strides": list(p["window_strides"]), "pads": pads}
        y = graph.node("Conv", x, kernel, **options)
    else:
        y = _transposed(graph, equation, x, kernel, pads, options)
    return graph.node("Transpose", y, perm=[0, 2, 3, 1])


def _transposed(
    graph: Graph, equation: Any, x: Value, kernel: Value, pads: list[int], options: dict
) -> Value:
    """Returns the gather that a transposed convolution is in JAX, as ONNX's scatter."""
    p, sides = equation.params, equation.invars[1].aval.shape[:2]
    reach = [d * (k - 1) for d, k in zip(p["rhs_dilation"], sides, strict=True)]
    top, left, bottom, right = (r - n for r, n in zip(reach * 2, pads, strict=True))
    known = isinstance(kernel, np.ndarray) and p["feature_group_count"] == 1
    if not known or set(p["window_strides"]) != {1} or min(top, left) < 0:
        raise NoNode("a convolution with zeros between its pixels")
    assert isinstance(kernel, np.ndarray)
    scattered = np.ascontiguousarray(kernel[::-1, ::-1].transpose(2, 3, 0, 1))
    extra = [max(-bottom, 0), max(-right, 0)]
    options |= {"strides": list(p["lhs_dilation"]), "output_padding": extra}
    options["pads"] = [top, left, max(bottom, 0), max(right, 0)]
    return graph.node("ConvTranspose", x, scattered, **options)


def _max_pool(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Value:
    p = equation.params
    window, strides, padding = p["window_dimensions"], p["window_strides"], p["padding"]
    inner = all(v[0] == v[3] == 1 for v in (window, strides)) and not any(
        map(any, (padding[0], padding[3]))
    )
    if not inner or set((*p["base_dilation"], *p["window_dilation"])) != {1}:
        raise NoNode("a pool over batch or channels, or with gaps")
    (top, bottom), (left, right) = padding[1:3]
    y = graph.node(
        "MaxPool",
        graph.node("Transpose", inputs[0], perm=[0, 3, 1, 2]),
        kernel_shape=list(window[1:3]),
        strides=list(strides[1:3]),
        pads=[top, left, bottom, right],
    )
    return graph.node("Transpose", y, perm=[0, 2, 3, 1])


def _numbers(values: Sequence[Any]) -> np.ndarray:
    return np.asarray(values, np.int64)


NODES: dict[str, Node] = {
    "abs": _named("Abs"),
    "add": _named("Add"),
    "add_any": _named("Add"),
    "and": _named("And"),
    "argmax": _argmax,
    "broadcast_in_dim": _broadcast,
    "clamp": _clamp,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "convert_element_type": _cast,
    "copy": _itself,
    "div": _named("Div"),
    "dot_general": _product,
    "eq": _named("Equal"),
    "exp": _named("Exp"),
    "expand_dims": _reshape,
    "gather": _take,
    "ge": _named("GreaterOrEqual"),
    "gt": _named("Greater"),
    "integer_pow": _power,
    "le": _named("LessOrEqual"),
    "log": _named("Log"),
    "logistic": _named("Sigmoid"),
    "lt": _named("Less"),
    "max": _largest,
    "min": _named("Min"),
    "mul": _named("Mul"),
    "ne": _not_equal,
    "neg": _named("Neg"),
    "not": _named("Not"),
    "or": _named("Or"),
    "pad": _pad,
    "pow": _named("Pow"),
    "reduce_max": _reduction("ReduceMax"),
    "reduce_min": _reduction("ReduceMin"),
    "reduce_sum": _reduction("ReduceSum"),
    "reduce_window_max": _max_pool,
    "reshape": _reshape,
    "rev": _reversed,
    "rsqrt": _inverse_root,
    "scatter-add": _scatter_add,
    "scatter_add": _scatter_add,
    "select_n": _select,
    "slice": _slice,
    "sqrt": _named("Sqrt"),
    "square": _square,
    "squeeze": _reshape,
    "stop_gradient": _itself,
    "sub": _named("Sub"),
    "tanh": _named("Tanh"),
    "transpose": _transpose,
}
"""By the primitive's name."""

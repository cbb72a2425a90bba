"""What an array sees of one image axis after each of JAX's primitives."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from segjax.explain.windows import joined, resampled, taken
from segjax.ops.receptive_field import Field, Layer, after


class Reach(NamedTuple):
    """What the elements of an array see of one axis of the image.

    Attributes:
      axis: the array's axis whose positions see different windows; None if all see the same.
      field: these windows; None without such an axis.
      image: whether the elements also see the whole axis, by pooling for example.
      unknown: whether an operation mixed positions in a way that is not implemented here.
    """

    axis: int | None
    field: Field | None
    image: bool = False
    unknown: bool = False


IMAGE = Reach(None, None, image=True)
UNKNOWN = Reach(None, None, unknown=True)

Known = Sequence[np.ndarray | None]
"""The operands of an equation whose values are known; None for the others."""

Rule = Callable[[Any, Reach, int, Known], Reach]
"""(equation, reach of an operand, its index, known operands) → reach of the result."""


def reach_of(equation: Any, operands: Sequence[Reach | None], known: Known) -> Reach:
    """Returns what the result of an equation sees; operands that see no image are None."""
    rule = RULES.get(equation.primitive.name, lambda *_: UNKNOWN)
    results = [
        seen if seen.axis is None else rule(equation, seen, index, known)
        for index, seen in enumerate(operands)
        if seen is not None
    ]
    result = results[0]
    for other in results[1:]:
        result = _together(result, other, equation.outvars[0].aval.shape)
    return result


def _together(a: Reach, b: Reach, shape: Sequence[int]) -> Reach:
    image, unknown = a.image or b.image, a.unknown or b.unknown
    if a.field is None or b.field is None:
        local = b if a.field is None else a
        return local._replace(image=image, unknown=unknown)
    if a.axis is None or a.axis != b.axis:
        return UNKNOWN
    return Reach(a.axis, joined(a.field, b.field, length=shape[a.axis]), image, unknown)


def _moved(seen: Reach, axis: int | None) -> Reach:
    """Returns the same windows along another axis of the array; the whole image for None."""
    return IMAGE if axis is None else seen._replace(axis=axis)


def _through(seen: Reach, axis: int, *layers: Layer) -> Reach:
    field = seen.field
    for layer in layers:
        assert field is not None
        field = after(field, layer)
    return seen._replace(axis=axis, field=field)


def _spread(factor: int) -> tuple[Layer, ...]:
    """Returns the layer that puts zeros between neighbours: transposed, with one tap."""
    return (Layer(stride=factor, transposed=True),) if factor > 1 else ()


def _elementwise(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    before, result = equation.invars[index].aval.shape, equation.outvars[0].aval.shape
    assert seen.axis is not None
    return IMAGE if before[seen.axis] != result[seen.axis] else seen


def _convolution(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    p = equation.params
    lhs, rhs, out = p["dimension_numbers"]
    if index != 0 or seen.axis not in lhs[2:]:
        return UNKNOWN
    i = lhs.index(seen.axis) - 2
    kernel = equation.invars[1].aval.shape[rhs[2 + i]]
    layer = Layer(kernel, p["window_strides"][i], int(p["padding"][i][0]), p["rhs_dilation"][i])
    return _through(seen, out[2 + i], *_spread(p["lhs_dilation"][i]), layer)


def _window(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    p, axis = equation.params, seen.axis
    assert axis is not None
    if index != 0:
        return UNKNOWN
    layer = Layer(
        p["window_dimensions"][axis],
        p["window_strides"][axis],
        int(p["padding"][axis][0]),
        p["window_dilation"][axis],
    )
    return _through(seen, axis, *_spread(p["base_dilation"][axis]), layer)


def _slice(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    axis, p = seen.axis, equation.params
    assert axis is not None
    stride = 1 if p["strides"] is None else p["strides"][axis]
    return _through(seen, axis, Layer(stride=stride, padding=-int(p["start_indices"][axis])))


def _dynamic_slice(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    axis = seen.axis
    assert axis is not None
    if index != 0:
        return UNKNOWN
    start = known[1 + axis]
    if equation.params["slice_sizes"][axis] == equation.invars[0].aval.shape[axis]:
        return seen
    return UNKNOWN if start is None else _through(seen, axis, Layer(padding=-int(start)))


def _pad(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    if index != 0 or seen.axis is None:
        return UNKNOWN
    before, _, interior = map(int, equation.params["padding_config"][seen.axis])
    return _through(seen, seen.axis, *_spread(interior + 1), Layer(padding=before))


def _broadcast(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    assert seen.axis is not None
    axis = equation.params["broadcast_dimensions"][seen.axis]
    same = equation.invars[0].aval.shape[seen.axis] == equation.outvars[0].aval.shape[axis]
    return _moved(seen, axis if same else None)


def _reshape(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    """Follows an axis that is kept: equal size, and as many elements before it."""
    before, result = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    axis = seen.axis
    assert axis is not None
    fits = [
        i
        for i in range(len(result))
        if result[i] == before[axis] and math.prod(result[:i]) == math.prod(before[:axis])
    ]
    if not fits:
        return IMAGE if before[axis] == 1 else UNKNOWN
    return _moved(seen, axis if axis in fits else fits[0])


def _transpose(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    return _moved(seen, equation.params["permutation"].index(seen.axis))


def _without(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    """Follows a reduction or squeeze; a reduction along this axis sees the whole image."""
    gone = equation.params["axes" if "axes" in equation.params else "dimensions"]
    assert seen.axis is not None
    return (
        IMAGE
        if seen.axis in gone
        else _moved(seen, seen.axis - sum(a < seen.axis for a in gone))
    )


def _along(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    """Follows concatenation, splitting, sorting and accumulation along other axes."""
    p = equation.params
    axis = next(p[name] for name in ("dimension", "axis") if name in p)
    return UNKNOWN if axis == seen.axis else seen


def _gather(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    """Follows `jnp.take` of known rows: a crop, or reflected borders."""
    p, rows, shape = equation.params, known[1], equation.invars[0].aval.shape
    numbers = p["dimension_numbers"]
    axis = numbers.start_index_map[0]
    whole = [
        size == n
        for i, (size, n) in enumerate(zip(p["slice_sizes"], shape, strict=True))
        if i != axis
    ]
    one = numbers.start_index_map == numbers.collapsed_slice_dims == (axis,)
    if index != 0 or rows is None or not one or not all(whole) or rows.shape != (rows.size, 1):
        return UNKNOWN
    assert seen.axis is not None and seen.field is not None
    if seen.axis != axis:
        return _moved(seen, numbers.offset_dims[seen.axis - (seen.axis > axis)])
    field = taken(seen.field, rows[:, 0].tolist(), size=shape[axis])
    (place,) = set(range(len(shape))) - set(numbers.offset_dims)
    return UNKNOWN if field is None else seen._replace(axis=place, field=field)


def _product(equation: Any, seen: Reach, index: int, known: Known) -> Reach:
    """Follows a matrix product; a known matrix along the axis is an interpolation."""
    contracted, batch = equation.params["dimension_numbers"]
    shapes = [operand.aval.shape for operand in equation.invars]
    free = [
        [a for a in range(len(shape)) if a not in (*contracted[i], *batch[i])]
        for i, shape in enumerate(shapes)
    ]
    place = lambda side, axis: len(batch[0]) + side * len(free[0]) + free[side].index(axis)
    other = 1 - index
    if seen.axis in batch[index]:
        return _moved(seen, batch[index].index(seen.axis))
    if seen.axis in free[index]:
        return _moved(seen, place(index, seen.axis))
    matrix = known[other]
    if matrix is None or matrix.ndim != 2 or len(free[other]) != 1 or matrix.shape[0] == 0:
        return IMAGE
    weights = np.moveaxis(matrix, contracted[other][0], 1)
    if 1 in weights.shape and weights.shape != (1, 1):
        return IMAGE
    assert seen.field is not None
    return seen._replace(
        axis=place(other, free[other][0]), field=resampled(seen.field, weights)
    )


_ELEMENTWISE = """
abs add add_any and atan2 cbrt ceil clamp convert_element_type copy cos device_put div eq erf
erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min
mul name ne neg nextafter not optimization_barrier or pow reduce_precision rem round rsqrt
select_n sharding_constraint sign sin sqrt square stop_gradient sub tan tanh xor
""".split()

_REDUCTIONS = "argmax argmin reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum"
_WINDOWS = "reduce_window reduce_window_max reduce_window_min reduce_window_sum"

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys([*_REDUCTIONS.split(), "squeeze"], _without),
    **dict.fromkeys(_WINDOWS.split(), _window),
    **dict.fromkeys(["concatenate", "split", "sort", "cumsum", "cummax"], _along),
    "conv_general_dilated": _convolution,
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "pad": _pad,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "transpose": _transpose,
    "gather": _gather,
    "dot_general": _product,
}
"""Rules by the name of the primitive; after any other primitive the reach is unknown."""

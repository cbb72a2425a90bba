"""Initial states, drawn by a few small programs instead of one that holds every parameter.

`jax.jit` of a network's `init` drops the forward pass, but compiles the random numbers of each
kernel separately: seconds, for programs that differ in a shape and a factor. Here all kernels
of one initializer share a program. It draws a block of numbers from a key and a place, because
a random number is a function of its key and of its place in the flattened array. The numbers
are those of `jax.jit`, bit for bit; with jax from 0.11 on, an initializer that multiplies by
three factors can differ in the last bit.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core
from jax.extend.random import threefry2x32_p

ROWS, COLUMNS = 8, 1 << 15
"""The size of a block of numbers. All numbers of a row belong to one array."""

_CALLS = frozenset(("jit", "pjit", "closed_call", "custom_jvp_call"))
_RESHAPING = frozenset(("broadcast_in_dim", "reshape", "stop_gradient"))
_BY_PLACE = frozenset(
    "abs add and bitcast_convert_type clamp convert_element_type div erf_inv exp log log1p max "
    "min mul neg not or select_n shift_left shift_right_logical sqrt sub tanh xor".split()
)
"""Primitives that compute each number from the numbers at its place."""

_OF_CONSTANTS = {
    "add": np.add,
    "div": np.divide,
    "mul": np.multiply,
    "neg": np.negative,
    "nextafter": np.nextafter,
    "sqrt": np.sqrt,
    "sub": np.subtract,
}
"""Operations that NumPy and XLA round alike."""

_FOLDED = frozenset(("convert_element_type", "erf", "exp", "log"))
"""Other operations on constants, which XLA is asked for."""

_KEEP_FACTORS = frozenset(("add", "clamp", "erf_inv", "max", "min", "select_n", "sub"))
"""Primitives that XLA does not combine with a constant factor of their result."""


class _Unfit(Exception):
    """The array is not a function of one key and of a place alone."""


class _Constant(NamedTuple):
    """A number that is equal at all places, by its bits."""

    dtype: str
    bits: bytes

    def number(self) -> Any:
        return np.frombuffer(self.bits, self.dtype)[0]


class _Step(NamedTuple):
    """An operation on numbers: `operands` are the indices of earlier steps, or constants."""

    primitive: core.Primitive
    parameters: tuple[tuple[str, Any], ...]
    operands: tuple[int | _Constant, ...]


class _Recipe(NamedTuple):
    """How an array is made of random bits, step by step, and whether a factor comes last."""

    steps: tuple[_Step, ...]
    is_scaled: bool


class _Drawn(NamedTuple):
    """The numbers at the places of an array: the result of a step."""

    step: int


class _Scope(NamedTuple):
    """The equations of a jaxpr by variable; its arguments as atoms of the scope around it."""

    producers: dict[Any, tuple[Any, int]]
    arguments: dict[Any, tuple[Any, "_Scope"]]


def initial_state(function: Callable, *arguments: Any) -> Any:
    """Returns `function(*arguments)` in host memory, the bits that `jax.jit` gives.

    It compiles less than `jax.jit` where the function makes arrays of random numbers and of
    constants, as the `init` of a network and of an optimizer does. Other arrays, and on other
    platforms than CPUs all of them, are computed by `jax.jit`. No two arrays of the result
    share memory.

    Args:
      function: of arrays and keys, to a tree of arrays.
      *arguments: trees of arrays and keys.
    """
    flat, structure = jax.tree.flatten(arguments)
    if not _by_place(flat):
        return jax.tree.map(np.array, jax.device_get(jax.jit(function)(*arguments)))
    closed, shapes = jax.make_jaxpr(
        lambda *flat: function(*jax.tree.unflatten(structure, flat)), return_shape=True
    )(*flat)
    return jax.tree.unflatten(jax.tree.structure(shapes), _evaluated(closed, flat))


def _by_place(arguments: Sequence[Any]) -> bool:
    """Returns whether random numbers are a CPU's, and functions of key and place."""
    keys = [x for x in arguments if _is_key(x)]
    return (
        jax.default_backend() == "cpu"
        and jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
        and all(str(jax.random.key_impl(key)) == "threefry2x32" for key in keys)
    )


def _is_key(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _evaluated(closed: core.ClosedJaxpr, arguments: Sequence[Any]) -> list[np.ndarray]:
    """Returns the results of a jaxpr."""
    jaxpr = closed.jaxpr
    given = dict(zip(jaxpr.invars, arguments, strict=True))
    scope = _Scope(_producers(jaxpr), {})
    results, rest = [], []
    drawn: dict[_Recipe, list[_Order]] = {}
    for place, atom in enumerate(jaxpr.outvars):
        if not isinstance(atom, core.Literal) and atom in given:
            results.append(np.array(given[atom]))
            continue
        results.append(array := np.empty(atom.aval.shape, atom.aval.dtype))
        try:
            found = _Reader(scope, given, array.size).read(atom)
        except _Unfit:
            rest.append(place)
            continue
        if isinstance(found, np.generic):
            array[...] = found
        else:
            recipe, key, factor = found
            drawn.setdefault(recipe, []).append(_Order(array.reshape(-1), key, factor))
    for recipe, orders in drawn.items():
        _draw(recipe, orders)
    if rest:
        every = core.jaxpr_as_fun(closed)
        compiled = jax.jit(lambda *a: [every(*a)[place] for place in rest])
        for place, value in zip(rest, compiled(*arguments), strict=True):
            results[place] = np.array(value)
    return results


def _producers(jaxpr: Any) -> dict[Any, tuple[Any, int]]:
    return {var: (eqn, i) for eqn in jaxpr.eqns for i, var in enumerate(eqn.outvars)}


class _Reader:
    """Reads how one array of `size` numbers is made, from the equations that lead to it.

    A value is a key, a number that is equal at all places, or `_Drawn`.
    """

    def __init__(self, scope: _Scope, given: dict[Any, Any], size: int):
        self._scope, self._given, self._size = scope, given, size
        self._steps: list[_Step] = []
        self._key: Any = None
        self._known: dict[tuple[int, Any], Any] = {}
        self._opened: dict[int, _Scope] = {}

    def read(self, atom: Any) -> np.generic | tuple[_Recipe, Any, np.generic]:
        """Returns the number of which the array is full; or its recipe, key and last factor.

        Raises:
          _Unfit: there is no such recipe.
        """
        found = self._value(atom, self._scope)
        if isinstance(found, np.generic):
            return found
        if not isinstance(found, _Drawn) or found.step != len(self._steps) - 1:
            raise _Unfit
        return self._without_factor()

    def _without_factor(self) -> tuple[_Recipe, Any, np.generic]:
        """Takes the last factors out of the steps: XLA makes (x · c) · d to x · (c · d)."""
        steps, factor = list(self._steps), None
        while (taken := _factor(steps)) is not None:
            factor = taken if factor is None else np.multiply(taken, factor)
            steps.pop()
        if factor is None or steps[-1].primitive.name not in _KEEP_FACTORS:
            return _Recipe(tuple(self._steps), False), self._key, np.float32(1)
        return _Recipe(tuple(steps), True), self._key, factor

    def _value(self, atom: Any, scope: Any) -> Any:
        if isinstance(atom, core.Literal):
            known: Any = atom.aval
            if known.shape:
                raise _Unfit
            return np.asarray(atom.val, known.dtype)[()]
        name = (id(scope), atom)
        if name not in self._known:
            self._known[name] = self._made(atom, scope)
        return self._known[name]

    def _made(self, var: Any, scope: Any) -> Any:
        if var in scope.arguments:
            outer, around = scope.arguments[var]
            return self._value(outer, around)
        if var in scope.producers:
            equation, place = scope.producers[var]
            return self._result(equation, place, scope)
        value = self._given.get(var)
        if value is None or not _is_key(value) or value.shape:
            raise _Unfit
        return value

    def _result(self, equation: Any, place: int, scope: _Scope) -> Any:
        name, size = equation.primitive.name, equation.outvars[place].aval.size
        if name in _CALLS:
            inner, outvars = self._open(equation, scope)
            return self._value(outvars[place], inner)
        operands: list[Any] = [self._value(atom, scope) for atom in equation.invars]
        drawn = any(isinstance(x, _Drawn) for x in operands)
        numbers = all(isinstance(x, (_Drawn, np.generic)) for x in operands)
        if name == "random_fold_in" and isinstance(operands[1], np.generic):
            key, data = operands
            return jax.random.fold_in(key, data)
        if name == "random_bits" and self._key is None and size == self._size:
            if equation.params["bit_width"] == 32:
                self._key = operands[0]
                return self._added(equation, (), ())
        elif name in _RESHAPING and numbers and len(operands) == 1:
            # A constant is the same everywhere, and a place stays the same.
            if not drawn or (name != "broadcast_in_dim" and size == self._size):
                return operands[0]
        elif name in _BY_PLACE and drawn and numbers:
            return self._added(equation, operands, tuple(sorted(equation.params.items())))
        elif numbers and (name in _OF_CONSTANTS or name in _FOLDED):
            return _of_constants(equation, operands)
        raise _Unfit

    def _added(self, equation: Any, operands: Sequence[Any], parameters: tuple) -> _Drawn:
        try:
            hash(parameters)
        except TypeError:
            raise _Unfit from None
        steps = [
            x.step if isinstance(x, _Drawn) else _Constant(x.dtype.name, x.tobytes())
            for x in operands
        ]
        self._steps.append(_Step(equation.primitive, parameters, tuple(steps)))
        return _Drawn(len(self._steps) - 1)

    def _open(self, equation: Any, scope: _Scope) -> tuple[_Scope, Sequence[Any]]:
        """Returns the scope of a call, the same for all of its results, and what it returns."""
        closed = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
        if id(equation) not in self._opened:
            pairs = zip(closed.jaxpr.invars, equation.invars, strict=True)
            arguments = {inner: (outer, scope) for inner, outer in pairs}
            self._opened[id(equation)] = _Scope(_producers(closed.jaxpr), arguments)
        return self._opened[id(equation)], closed.jaxpr.outvars


def _of_constants(equation: Any, operands: Sequence[Any]) -> Any:
    """Returns an operation on constants as XLA rounds it."""
    primitive = equation.primitive
    if primitive.name in _OF_CONSTANTS:
        return _OF_CONSTANTS[primitive.name](*operands)
    if primitive.name == "convert_element_type":
        return operands[0].astype(equation.params["new_dtype"])
    # XLA computes it while it compiles, because nothing is an argument.
    found = jax.jit(lambda: primitive.bind(*map(jnp.asarray, operands), **equation.params))()
    return np.asarray(found)[()]


def _factor(steps: Sequence[_Step]) -> Any:
    """Returns the constant by which the last step multiplies the step before it, if it does."""
    last, before = steps[-1], len(steps) - 2
    if last.primitive.name == "mul" and before in last.operands:
        for operand in last.operands:
            if isinstance(operand, _Constant):
                return operand.number()
    return None


class _Order(NamedTuple):
    """An array to fill, flattened, with the key and the last factor of its numbers."""

    array: np.ndarray
    key: Any
    factor: Any


def _draw(recipe: _Recipe, orders: Sequence[_Order]) -> None:
    """Fills arrays that have the same recipe, block by block."""
    rows = list(_rows(orders))
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS]
        filled = block + block[-1:] * (ROWS - len(block))
        targets, *columns = zip(*filled, strict=True)
        numbers = np.asarray(_program(recipe)(*map(np.stack, columns)))
        for target, row in zip(targets, numbers, strict=True):
            target[...] = row[: target.size]


def _rows(
    orders: Sequence[_Order],
) -> Iterator[tuple[np.ndarray, np.uint32, np.ndarray, np.generic]]:
    """Yields the parts of arrays that are a row, with first place, key and factor."""
    for array, key, factor in orders:
        bits = np.asarray(jax.random.key_data(key))
        for first in range(0, array.size, COLUMNS):
            yield array[first : first + COLUMNS], np.uint32(first), bits, factor


@functools.cache
def _program(recipe: _Recipe) -> Callable:
    """Returns the compiled `(first places r, keys r 2, factors r) → numbers r columns`."""

    def row(first: jax.Array, key: jax.Array, factor: jax.Array) -> jax.Array:
        """Returns the numbers at the places from `first` on."""
        numbers: list[jax.Array] = []
        for step in recipe.steps:
            if not numbers:
                numbers.append(_bits(key, first))
                continue
            operands = [
                jnp.full(COLUMNS, x.number()) if isinstance(x, _Constant) else numbers[x]
                for x in step.operands
            ]
            numbers.append(step.primitive.bind(*operands, **dict(step.parameters)))
        return numbers[-1] * factor if recipe.is_scaled else numbers[-1]

    return jax.jit(lambda *rows: lax.map(lambda each: row(*each), rows))


def _bits(key: jax.Array, first: jax.Array) -> jax.Array:
    """Returns the random bits of a key at the places from `first` on, below 2^32."""
    places = first + lax.iota(np.uint32, COLUMNS)
    high, low = threefry2x32_p.bind(key[0], key[1], jnp.zeros_like(places), places)
    return high ^ low

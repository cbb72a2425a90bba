"""The distinct lattice points, found by a hash table of keys made of gathers and scatters.

On a CPU XLA sorts pairs of numbers a hundred times slower than it scatters them. So equal keys
are matched in a hash table: in each round every key claims a slot, the first key of a slot
keeps it, keys equal to that one are done, and the others try their next slot.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int32, UInt32

_ROUNDS = 1000
"""More rounds than any table at most half full needed so far; three or four are usual."""


class LatticePoints(NamedTuple):
    """The distinct points among the corners of n simplices, numbered by first appearance.

    Attributes:
      point: the point's number, for each of e corners.
      stands: whether a corner represents its point (the first with its key).
      count: the number of points.
      complete: whether every corner found its point.
      table: slots of the hash table: the corner that represents a key, or e if empty.
    """

    point: Int32[Array, " e"]
    stands: Bool[Array, " e"]
    count: Int32[Array, ""]
    complete: Bool[Array, ""]
    table: Int32[Array, " t"]


def find_points(keys: Int32[Array, "d e"]) -> LatticePoints:
    """Returns the distinct keys, numbered."""
    count = keys.shape[1]
    slots = 1 << max(count - 1, 1).bit_length()
    entry = jnp.arange(count, dtype=jnp.int32)

    def claim(state):
        """Returns the state after all corners without a point claim this round's slot."""
        table, owner, turn = state
        slot = _slot(keys, turn, slots)
        waiting = owner == count
        free = waiting & (_at(table, slot) == count)
        table = table.at[jnp.where(free, slot, slots)].min(entry, mode="drop")
        holder = _at(table, slot)
        found = waiting & _equal(keys, holder, keys)
        return table, jnp.where(found, holder, owner), turn + 1

    empty = jnp.full(slots, count, jnp.int32), jnp.full(count, count, jnp.int32), jnp.int32(0)
    more = lambda state: (state[1] == count).any() & (state[2] < _ROUNDS)
    table, owner, _ = lax.while_loop(more, claim, empty)
    stands = owner == entry
    number = running_total(stands.astype(jnp.int32))
    point = _at(number, jnp.minimum(owner, count - 1))
    return LatticePoints(
        point, stands, stands.sum(dtype=jnp.int32), (owner < count).all(), table
    )


def representatives(points: LatticePoints, capacity: int) -> Int32[Array, " capacity"]:
    """Returns the corner that represents each point; e for numbers without a point."""
    entry = jnp.arange(len(points.point), dtype=jnp.int32)
    nobody = jnp.full(capacity, len(points.point), jnp.int32)
    index = jnp.where(points.stands, points.point, capacity)
    return nobody.at[index].set(entry, mode="drop")


def look_up(
    points: LatticePoints, keys: Int32[Array, "d e"], wanted: Int32[Array, "d q"]
) -> Int32[Array, " q"]:
    """Returns the corner that represents each of q wanted keys; e for keys not in the table."""
    count, slots = keys.shape[1], points.table.shape[0]

    def probe(state):
        """Returns the state after this round's slot was read for all unresolved keys."""
        found, looking, turn = state
        holder = _at(points.table, _slot(wanted, turn, slots))
        equal = looking & _equal(keys, holder, wanted)
        return jnp.where(equal, holder, found), looking & ~equal & (holder < count), turn + 1

    nothing = jnp.full(wanted.shape[1], count, jnp.int32)
    start = nothing, jnp.ones(wanted.shape[1], bool), jnp.int32(0)
    more = lambda state: state[1].any() & (state[2] < _ROUNDS)
    return lax.while_loop(more, probe, start)[0]


def running_total(x: Int32[Array, " n"]) -> Int32[Array, " n"]:
    """Returns the sum of all elements before each; by rows, as one long row is slow."""
    rows = jnp.pad(x, (0, -len(x) % 1024)).reshape(-1, 1024)
    within = jnp.cumsum(rows, axis=1)
    before = jnp.cumsum(within[:, -1]) - within[:, -1]
    return (within - rows + before[:, None]).reshape(-1)[: len(x)]


def _slot(keys: Int32[Array, "d e"], turn: Int32[Array, ""], slots: int) -> Int32[Array, " e"]:
    """Returns the pseudo-random slot that each key claims in a round, below a power of 2."""
    bits = jnp.broadcast_to((turn + 1).astype(jnp.uint32), keys.shape[1:])
    for key in keys.astype(jnp.uint32):
        bits = _mixed(bits ^ key)
    return (bits & jnp.uint32(slots - 1)).astype(jnp.int32)


def _mixed(bits: UInt32[Array, " e"]) -> UInt32[Array, " e"]:
    """Returns a permutation of 32-bit numbers: every output bit depends on all input bits."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)


def _equal(
    keys: Int32[Array, "d e"], holder: Int32[Array, " q"], wanted: Int32[Array, "d q"]
) -> Bool[Array, " q"]:
    """Returns whether the corner that holds a slot has the wanted key; False if empty."""
    index = jnp.minimum(holder, keys.shape[1] - 1)
    same = [_at(key, index) == want for key, want in zip(keys, wanted, strict=True)]
    return functools.reduce(jnp.logical_and, same, holder < keys.shape[1])


def _at(x: Array, index: Int32[Array, " q"]) -> Array:
    return x.at[index].get(mode="promise_in_bounds")

"""Which lattice points there are: a hash table of keys, made of gathers and scatters.

XLA sorts pairs of numbers on a CPU a hundred times slower than it scatters them. So keys that
are equal find each other in a table: all keys claim a slot, the first one in each slot stays,
those equal to it have found their point, and the others go on to their next slot.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int32, UInt32

_ROUNDS = 1000
"""More than any table that is at most half full has ever needed; three or four are usual."""


class LatticePoints(NamedTuple):
    """The points that the corners of n simplices are, numbered in order of appearance.

    Attributes:
      point: the number of each of e corners' points.
      stands: whether a corner is the one that stands for its point.
      count: how many points there are.
      complete: whether every corner found its point.
      table: slots of the hash table: the corner that stands for a key, or e.
    """

    point: Int32[Array, " e"]
    stands: Bool[Array, " e"]
    count: Int32[Array, ""]
    complete: Bool[Array, ""]
    table: Int32[Array, " t"]


def find_points(keys: Int32[Array, "d e"]) -> LatticePoints:
    """Returns the different keys' numbers."""
    count = keys.shape[1]
    slots = 1 << max(count - 1, 1).bit_length()
    entry = jnp.arange(count, dtype=jnp.int32)

    def claim(state):
        """Lets all corners without a point claim their slot of this round."""
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
    """Returns the corner that stands for each point; e where there is no such point."""
    entry = jnp.arange(len(points.point), dtype=jnp.int32)
    nobody = jnp.full(capacity, len(points.point), jnp.int32)
    index = jnp.where(points.stands, points.point, capacity)
    return nobody.at[index].set(entry, mode="drop")


def look_up(
    points: LatticePoints, keys: Int32[Array, "d e"], wanted: Int32[Array, "d q"]
) -> Int32[Array, " q"]:
    """Returns a corner that has the wanted key, for each of q; e where none has."""
    count, slots = keys.shape[1], points.table.shape[0]

    def probe(state):
        """Reads the slot of this round for all that are still looking."""
        found, looking, turn = state
        holder = _at(points.table, _slot(wanted, turn, slots))
        equal = looking & _equal(keys, holder, wanted)
        return jnp.where(equal, holder, found), looking & ~equal & (holder < count), turn + 1

    nothing = jnp.full(wanted.shape[1], count, jnp.int32)
    start = nothing, jnp.ones(wanted.shape[1], bool), jnp.int32(0)
    more = lambda state: state[1].any() & (state[2] < _ROUNDS)
    return lax.while_loop(more, probe, start)[0]


def running_total(x: Int32[Array, " n"]) -> Int32[Array, " n"]:
    """Returns the sum of all before each; in rows, for one long row takes many passes."""
    rows = jnp.pad(x, (0, -len(x) % 1024)).reshape(-1, 1024)
    within = jnp.cumsum(rows, axis=1)
    before = jnp.cumsum(within[:, -1]) - within[:, -1]
    return (within - rows + before[:, None]).reshape(-1)[: len(x)]


def _slot(keys: Int32[Array, "d e"], turn: Int32[Array, ""], slots: int) -> Int32[Array, " e"]:
    """Returns the slot that each key claims in a round: pseudo-random, of power-of-two many."""
    bits = jnp.broadcast_to((turn + 1).astype(jnp.uint32), keys.shape[1:])
    for key in keys.astype(jnp.uint32):
        bits = _mixed(bits ^ key)
    return (bits & jnp.uint32(slots - 1)).astype(jnp.int32)


def _mixed(bits: UInt32[Array, " e"]) -> UInt32[Array, " e"]:
    """Returns a permutation of the 32-bit numbers in which every bit depends on every bit."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)


def _equal(
    keys: Int32[Array, "d e"], holder: Int32[Array, " q"], wanted: Int32[Array, "d q"]
) -> Bool[Array, " q"]:
    """Returns whether the corner that holds a slot has the wanted key; no holder has none."""
    index = jnp.minimum(holder, keys.shape[1] - 1)
    same = [_at(key, index) == want for key, want in zip(keys, wanted, strict=True)]
    return functools.reduce(jnp.logical_and, same, holder < keys.shape[1])


def _at(x: Array, index: Int32[Array, " q"]) -> Array:
    return x.at[index].get(mode="promise_in_bounds")

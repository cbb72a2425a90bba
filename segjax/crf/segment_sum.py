r"""Segment sums by gathers, in rows of eight, because XLA's scatter is slow on a CPU.

A segment sum adds the values of all entries that have the same number. As a scatter, XLA does
it one entry at a time. Here a row of eight entries is a sum of eight gathers. The first eight
entries of a number are its `first` row. Further entries fill `more` rows; up to eight of these
are summed as a `group`, which is added to the number's sum:

    number 7:  first   e e e e e e e e
               more    e e e e e e e e   \
                       e e e e e e e e    }  group  →  + first
                       e e e . . . . .   /

Points of a photograph have 1 to 5000 entries, most of them less than 8.
"""

import functools
import operator
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int32, UInt32

from segjax.crf.hash_table import running_total

WIDTH = 8
CHUNK = 1024
"""The number of groups added at once."""


class SegmentRows(NamedTuple):
    """The entries of each number, arranged in rows. An empty place has weight 0.

    Attributes:
      first: indices of the values in each number's first row.
      first_weight: the weights of these values.
      more: indices of the values in further rows.
      more_weight: the weights of these values.
      group: further rows that are summed together; the length of `more` for an empty place.
      owner: the number that a group belongs to.
      groups: the number of groups.
    """

    first: Int32[Array, "8 numbers"]
    first_weight: Float[Array, "8 numbers"]
    more: Int32[Array, "8 rows"]
    more_weight: Float[Array, "8 rows"]
    group: Int32[Array, "8 groups"]
    owner: Int32[Array, " groups"]
    groups: Int32[Array, ""]


def arrange(
    number: Int32[Array, "v n"],
    weights: Float[Array, "v n"],
    capacity: int,
) -> SegmentRows:
    """Returns the entries arranged in rows of equal number; entry (v, n) weighs value n.

    Args:
      number: each entry's number; no number occurs in two of the v lines. Entries with numbers
        of at least `capacity` are left out.
      weights: each entry's weight.
      capacity: the number of segments.
    """
    entries = number.size
    entry, number, rank, degree = _ranked(jnp.minimum(number, capacity), capacity)
    inside = number < capacity
    number = jnp.minimum(number, capacity - 1)
    further = jnp.maximum((degree + WIDTH - 1) // WIDTH - 1, 0)
    groups = (further + WIDTH - 1) // WIDTH
    length = entries // WIDTH + 1
    # The index of a row among its number's further rows; −1 is the first row.
    place, column = rank // WIDTH - 1, rank % WIDTH
    row = running_total(further)[number] + place
    group, slot = running_total(groups)[number] + place // WIDTH, place % WIDTH
    # One scatter for both tables: `more` follows `first`.
    here = jnp.where(place < 0, number, capacity + row)
    tables = _table((WIDTH, capacity + length), entries, column, here, inside, entry)
    heads = inside & (place >= 0) & (column == 0)
    slots = -(-length // CHUNK) * CHUNK
    owner = _table((1, slots), 0, 0 * slot, group, heads & (slot == 0), number)
    reads, weight = _weighted(tables, weights)
    return SegmentRows(
        reads[:, :capacity],
        weight[:, :capacity],
        reads[:, capacity:],
        weight[:, capacity:],
        _table((WIDTH, slots), length, slot, group, heads, row),
        owner[0],
        groups.sum(),
    )


def row_sums(rows: SegmentRows, values: Float[Array, "n k"]) -> Float[Array, "numbers k"]:
    """Returns Σ weight · value over the entries of each number."""
    sums = weighted_gather(values, rows.first, rows.first_weight)
    further = weighted_gather(values, rows.more, rows.more_weight)
    further = jnp.pad(further, ((0, 1), (0, 0)))

    def add(i: Array, sums: Array) -> Array:
        """Adds a chunk of groups to their numbers' sums."""
        group = lax.dynamic_slice_in_dim(rows.group, i * CHUNK, CHUNK, axis=1)
        owner = lax.dynamic_slice_in_dim(rows.owner, i * CHUNK, CHUNK)
        total = sum(further.at[line].get(mode="promise_in_bounds") for line in group)
        return sums.at[owner].add(total, mode="promise_in_bounds")

    return lax.fori_loop(0, (rows.groups + CHUNK - 1) // CHUNK, add, sums)


def _weighted(
    entries: Int32[Array, "8 r"], weights: Float[Array, "v n"]
) -> tuple[Int32[Array, "8 r"], Float[Array, "8 r"]]:
    """Returns each entry's value index and weight; weight 0 for an empty place."""
    there = entries < weights.size
    index = jnp.where(there, entries, 0)
    weight = weights.reshape(-1).at[index].get(mode="promise_in_bounds")
    return index % weights.shape[1], jnp.where(there, weight, 0)


def weighted_gather(
    values: Float[Array, "m k"], index: Int32[Array, "j n"], weight: Float[Array, "j n"]
) -> Float[Array, "n k"]:
    """Returns Σ_j weight_jn · values[index_jn]."""
    terms = [
        values.at[i].get(mode="promise_in_bounds") * w[:, None]
        for i, w in zip(index, weight, strict=True)
    ]
    return functools.reduce(operator.add, terms)


def _ranked(
    number: Int32[Array, "v n"], capacity: int
) -> tuple[Int32[Array, " e"], Int32[Array, " e"], Int32[Array, " e"], Int32[Array, " c"]]:
    """Returns entries, their numbers, their ranks among equal numbers, and the totals.

    It is a counting sort. Sorting a block gives the ranks within it; totals of the blocks
    before are added. An entry is sorted as one 32-bit integer, which XLA does ten times as fast
    as pairs of integers.
    """
    v, n = number.shape
    bits = min(10, 32 - capacity.bit_length(), max(n - 1, 1).bit_length())
    blocks = -(-n // 2**bits)
    fill = ((0, 0), (0, blocks * 2**bits - n))
    packed = jnp.pad(number, fill, constant_values=capacity).reshape(v, blocks, -1)
    place = jnp.arange(2**bits, dtype=jnp.uint32)[None, None]
    packed = jnp.sort(packed.astype(jnp.uint32) << bits | place, axis=-1)
    number = (packed >> bits).astype(jnp.int32)

    def count(total: Array, number: Array) -> tuple[Array, Array]:
        return total.at[number].add(1), total[number]

    total, before = lax.scan(count, jnp.zeros(capacity + 1, jnp.int32), number.swapaxes(0, 1))
    rank = before.swapaxes(0, 1) + _place_in_run(number)
    start = n * jnp.arange(v)[:, None, None] + 2**bits * jnp.arange(blocks)[None, :, None]
    entry = start.astype(jnp.int32) + _low_bits(packed, bits)
    return entry.reshape(-1), number.reshape(-1), rank.reshape(-1), total[:capacity]


def _low_bits(packed: UInt32[Array, "v b l"], bits: int) -> Int32[Array, "v b l"]:
    return (packed & jnp.uint32(2**bits - 1)).astype(jnp.int32)


def _place_in_run(number: Int32[Array, "v b l"]) -> Int32[Array, "v b l"]:
    """Returns how many equal numbers directly precede each number, along the last axis."""
    place = jnp.broadcast_to(jnp.arange(number.shape[-1], dtype=jnp.int32), number.shape)
    starts = jnp.concatenate(
        [jnp.ones_like(number[..., :1], bool), number[..., 1:] != number[..., :-1]], axis=-1
    )
    return place - lax.cummax(jnp.where(starts, place, 0), axis=2)


def _table(shape: tuple[int, int], empty: int, row, column, written, values) -> Array:
    """Returns a table filled with `empty`, with `values` written where `written` is true."""
    cell = jnp.where(written, row * shape[1] + column, shape[0] * shape[1])
    table = jnp.full(shape[0] * shape[1], empty, jnp.int32)
    return table.at[cell].set(values, mode="drop").reshape(shape)

"""Images of many sizes as tables of one shape, for the program in `chunks`; filled by NumPy.

A bucket is a number L: a power of two, or one and a half of it. It holds images that have at
most L pixels, with margins between their rows or columns, and whose lattices have at most L
points. Results are those of `lattice` and `spatial_gaussian` up to rounding.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64

from segjax.crf import chunks
from segjax.crf.chunks import CHUNK
from segjax.crf.host_lattice import HostLattice, sums_of_ones
from segjax.crf.mean_field import Normalization

REACHES = (15, 25)
"""Pixels after which taps end: 5 σ of widths up to 3 and 5, the rest is 6e-7 of the sum."""

WIDTH = 8
"""The corners of a point that are summed at once."""

CLASSES = 8
"""Classes are padded to a multiple of this: so many numbers a processor computes at once."""

_SMALLEST, _LARGEST = 2**14, 2**22
_MOST_MARGIN = 2
"""The most rows for each pixel, margins included; images of a few columns would have more."""


class Shape(NamedTuple):
    """An image's height and width, and the margin between its rows and columns."""

    h: int
    w: int
    reach: int

    @property
    def pixels(self) -> Int32[np.ndarray, "h w"]:
        """The buffer's row of each pixel: image rows in turn, a margin before each."""
        y, x = np.ogrid[: self.h, : self.w]
        return (self.reach + y * (self.w + self.reach) + x).astype(np.int32)

    @property
    def columns(self) -> Int32[np.ndarray, "h w"]:
        """The place of each pixel among the columns in turn, a margin after each."""
        y, x = np.ogrid[: self.h, : self.w]
        return (x * (self.h + self.reach) + y).astype(np.int32)

    @property
    def rows(self) -> int:
        """The rows that suffice for both."""
        h, w, reach = self
        return max(h * (w + reach), w * (h + reach)) + reach


class Splat(NamedTuple):
    """Sums by eights: of the pixels at each point, of these sums, … until a point has one.

    Attributes:
      index: rows of the buffer that are summed, r 8.
      weight: their weights, r 8.
      last: for each point, the row of the buffer that has its sum; 0 for point 0.
    """

    index: Int32[np.ndarray, "r 8"]
    weight: Float32[np.ndarray, "r 8"]
    last: Int64[np.ndarray, " m1"]


def fits(h: int, w: int, sigmas: tuple[float, ...] | None) -> bool:
    """Returns whether a bucket takes images of h × w pixels and such smoothness widths."""
    reach = _reach(sigmas)
    if reach is None:
        return False
    rows = Shape(h, w, reach).rows
    return rows <= _LARGEST and (rows <= _SMALLEST or rows <= _MOST_MARGIN * h * w)


def infer(
    probabilities: Float[np.ndarray, "h w k"],
    lattice: HostLattice | None,
    sigmas: tuple[float, ...] | None,
    compats: tuple[Any, ...],
    *,
    iterations: int,
    normalization: Normalization,
) -> Float32[np.ndarray, "h w k"]:
    """Returns the marginals of an image that `fits`.

    Args:
      probabilities: of the classes.
      lattice: the lattice around the pixels, or None for no appearance kernel.
      sigmas: the smoothness kernel's widths along w and h, or None for no such kernel.
      compats: energies of the kernels that are not None: smoothness, appearance.
      iterations: iterations of the mean field.
      normalization: see `mean_field.normalized`.

    Raises:
      ValueError: the image does not fit.
    """
    h, w, k = probabilities.shape
    reach = _reach(sigmas)
    if reach is None:
        raise ValueError(f"Smoothness widths {sigmas} need too many taps.")
    shape = Shape(h, w, reach)
    before = after = np.ones(h * w, np.float32)
    if sigmas is not None:
        before, after = _scales(_sums_of_taps(shape, sigmas), normalization)
    appearance = None
    room = _bucket(shape.rows)
    if lattice is not None:
        inside, outside = _scales(sums_of_ones(lattice), normalization)
        room = max(room, _bucket_of(lattice))
        appearance = _appearance(lattice, shape, room, inside / before, outside)
    width = -(-k // CLASSES) * CLASSES
    place = shape.pixels.reshape(-1)
    p = np.zeros((room, width), np.float32)
    p[place, :k] = probabilities.reshape(-1, k)
    found = chunks.infer(
        chunks.Image(
            p, np.int32(k), _spread(room, place, before), _count(h * (w + shape.reach))
        ),
        None if sigmas is None else _smooth(shape, room, sigmas, after),
        appearance,
        tuple(_padded(np.asarray(energies), width) for energies in compats),
        np.int32(iterations),
    )
    rows = np.asarray(found)[shape.reach :][: h * (w + shape.reach)]
    return rows.reshape(h, w + shape.reach, width)[:, :w, :k].copy()


def _reach(sigmas: tuple[float, ...] | None) -> int | None:
    """Returns the taps to one side, None if the widths need too many."""
    return next((reach for reach in REACHES if 5 * max(sigmas or (0,)) <= reach), None)


def _bucket(rows: int) -> int:
    """Returns a power of two, or one and a half of it, with room for `rows`."""
    whole = max(_SMALLEST, 1 << (rows - 1).bit_length())
    return whole * 3 // 4 if _SMALLEST < rows <= whole * 3 // 4 else whole


def _bucket_of(lattice: HostLattice) -> int:
    """Returns the smallest bucket with room for a lattice's points and its splat."""
    points = _whole(len(lattice.degree))
    sums, rows = 0, lattice.degree
    while len(rows):
        rows = -(-rows // WIDTH)
        sums += _whole(int(rows.sum()))
        rows = rows[rows > 1]
    # Splat and blur share 2 L rows of the buffer.
    return _bucket(max(points, -(-(max(sums, points) + points) // 2)))


def _whole(rows: int) -> int:
    """Returns the rows of the chunks that `rows` need."""
    return -(-rows // CHUNK) * CHUNK


def _count(rows: int) -> np.int32:
    return np.int32(-(-rows // CHUNK))


def _spread(
    room: int, place: Int32[np.ndarray, " n"], values: np.ndarray
) -> Float32[np.ndarray, " room"]:
    """Returns `room` zeros, with the values of the pixels in their places."""
    spread = np.zeros(room, np.float32)
    spread[place] = values
    return spread


def _padded(energies: np.ndarray, width: int) -> Float32[np.ndarray, "..."]:
    """Returns the energies with zeros for classes that there are not."""
    padded = np.zeros((width,) * energies.ndim, np.float32)
    padded[tuple(slice(0, side) for side in energies.shape)] = energies
    return padded


def _scales(
    sums: Float[np.ndarray, " n"], normalization: Normalization
) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Returns what multiplies values before and after a kernel with these sums."""
    sums = sums.astype(np.float32)
    ones = np.ones_like(sums)
    match normalization:
        case "symmetric":
            return 1 / np.sqrt(sums), 1 / np.sqrt(sums)
        case "before":
            return 1 / sums, ones
        case "after":
            return ones, 1 / sums
    return ones, ones


def _taps(reach: int, sigma: float) -> Float32[np.ndarray, " t"]:
    return np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2).astype(np.float32)


def _sums_of_taps(shape: Shape, sigmas: tuple[float, ...]) -> Float[np.ndarray, " n"]:
    """Returns the smoothness kernel's sums over the image: one for each axis, multiplied."""

    def along(side: int, sigma: float) -> Float[np.ndarray, " side"]:
        until = np.cumsum(_taps(shape.reach, sigma), dtype=np.float64)
        i = np.arange(side)
        left, right = np.minimum(i, shape.reach), np.minimum(side - 1 - i, shape.reach)
        return until[left] + until[right] - 1

    sigma_w, sigma_h = sigmas
    return np.outer(along(shape.h, sigma_h), along(shape.w, sigma_w)).reshape(-1)


def _smooth(
    shape: Shape, room: int, sigmas: tuple[float, ...], after: Float32[np.ndarray, " n"]
) -> chunks.Smooth:
    """Returns the smoothness kernel's tables.

    Results along rows begin at the buffer's row 2 L, those along columns after it at L. Both
    leave out the first margin.
    """
    h, w, reach = shape
    place, columns = shape.pixels.reshape(-1), shape.columns.reshape(-1)
    source = np.zeros(room + 2 * reach, np.int32)
    source[columns + reach] = 2 * room + place - reach
    back = np.zeros(room, np.int32)
    back[place] = room + columns
    along_w, along_h = (_taps(reach, sigma) for sigma in sigmas)
    count, scale = _count(w * (h + reach)), _spread(room, place, after)
    return chunks.Smooth(along_w, along_h, source, count, back, scale)


def _appearance(
    lattice: HostLattice,
    shape: Shape,
    room: int,
    before: Float32[np.ndarray, " n"],
    after: Float32[np.ndarray, " n"],
) -> chunks.Lattice:
    """Returns the appearance kernel's tables."""
    axes, pixels = lattice.vertex.shape
    place = shape.pixels.reshape(-1)
    splat = _splat(lattice, place, before, 2 * room)
    points = _whole(len(lattice.degree))
    blurred = (2 * room + max(len(splat.index), points), 2 * room)
    begins = [blurred[turn % 2] for turn in range(-(-axes // 2))]
    vertex, weight = np.zeros((axes, room), np.int32), np.zeros((axes, room), np.float32)
    vertex[:, place] = lattice.vertex + begins[-1]
    weight[:, place] = lattice.weight * (after / np.float32(1 + 2.0 ** (1 - axes)))
    at = np.concatenate([begin + np.arange(0, points, CHUNK) for begin in begins])
    first = 2 * room + np.arange(0, len(splat.index), CHUNK)
    return chunks.Lattice(
        _chunks(splat.index.T, splat.weight.T, first, 2 * room),
        _chunks(_blurs(lattice, splat.last, begins), None, at, len(begins) * room),
        vertex,
        weight,
    )


def _chunks(
    index: Int32[np.ndarray, "j r"],
    weight: Float32[np.ndarray, "j r"] | None,
    at: Int64[np.ndarray, " c"],
    room: int,
) -> chunks.Chunks:
    """Returns the tables with `room` rows."""

    def widened(x: np.ndarray, length: int) -> np.ndarray:
        wide = np.zeros(
            (*x.shape[:-1], length), np.float32 if x.dtype.kind == "f" else np.int32
        )
        wide[..., : x.shape[-1]] = x
        return wide

    weight = None if weight is None else widened(weight, room)
    count = np.int32(len(at))
    return chunks.Chunks(widened(index, room), weight, widened(at, room // CHUNK), count)


def _splat(
    lattice: HostLattice,
    place: Int32[np.ndarray, " n"],
    before: Float32[np.ndarray, " n"],
    begin: int,
) -> Splat:
    """Returns the sums of each point's pixels, in rows of the buffer from `begin` on."""
    pixel = lattice.order % len(place)
    source = place[pixel]
    weights = lattice.weight.reshape(-1)[lattice.order] * before[pixel]
    counts, owner = lattice.degree, np.arange(len(lattice.degree))
    last = np.zeros(len(owner), np.int64)
    indices, all_weights = [], []
    while len(owner):
        rows = -(-counts // WIDTH)
        first = np.cumsum(rows) - rows
        start = np.cumsum(counts) - counts
        cell = np.arange(len(source)) + np.repeat(WIDTH * first - start, counts)
        length = _whole(int(rows.sum()))
        for table, values in ((indices, source), (all_weights, weights)):
            filled = np.zeros(WIDTH * length, values.dtype)
            filled[cell] = values
            table.append(filled.reshape(-1, WIDTH))
        several = rows > 1
        last[owner[rows == 1]] = begin + first[rows == 1]
        source = (begin + np.flatnonzero(np.repeat(several, rows))).astype(np.int32)
        weights = np.ones(len(source), np.float32)
        counts, owner = rows[several], owner[several]
        begin += length
    return Splat(np.concatenate(indices), np.concatenate(all_weights), last)


def _blurs(
    lattice: HostLattice, last: Int64[np.ndarray, " m1"], begins: list[int]
) -> Int32[np.ndarray, "9 r"]:
    """Returns the rows that are summed to blur along two axes at a time, as `chunks.BLUR`."""
    points = len(last)
    here = np.arange(points)
    # An axis without neighbours changes nothing; it makes the number of axes even.
    alone = np.stack([here, 0 * here, 0 * here])
    axes = [np.stack([here, *around]) for around in lattice.neighbor] + [alone]
    length = _whole(points)
    rows = np.zeros((9, len(begins) * length), np.int32)
    for turn in range(len(begins)):
        source = here + begins[turn - 1] if turn else last
        source = np.where(here > 0, source, 0)
        pair = axes[2 * turn][:, axes[2 * turn + 1]].swapaxes(0, 1).reshape(9, points)
        rows[:, turn * length :][:, :points] = source[pair]
    return rows

"""Images of many sizes as tables of a few shapes, for `bucket_program`; filled by NumPy.

A bucket is a pair of numbers L and m. L is a power of two, or one and a half of it: it holds
images that have at most L pixels, with margins between their rows or columns. m is L times ¾,
1½, 3, …: it holds lattices that have at most m points; those of photographs mostly have fewer
than ¾ L. Results are those of `lattice` and `spatial_gaussian` up to rounding.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64, Shaped

from segjax.crf import bucket_program
from segjax.crf.bucket_program import CHUNK
from segjax.crf.host_lattice import HostLattice, on_threads, sums_of_ones
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

_ALIGNMENT = 64
"""Bytes. XLA reads an array in place if it begins at a multiple of this."""


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


class Level(NamedTuple):
    """Sums by eights, see `_levels`.

    Attributes:
      cell: where each summand stands in a table of rows of 8.
      rows: the rows of this table.
      source: the rows that are summed; None for corners of pixels.
    """

    cell: Int64[np.ndarray, " e"]
    rows: int
    source: Int32[np.ndarray, " e"] | None


class Room(NamedTuple):
    """The rows of a bucket's arrays.

    Attributes:
      pixels: L.
      points: m.
      sums: of the splat's sums: v L / 8 + m for v corners of each pixel, some for rounding.
      more: of the sums of sums among them.
    """

    pixels: int
    points: int
    sums: int
    more: int


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
    pixels, width = _bucket(shape.rows), -(-k // CLASSES) * CLASSES
    p = _zeros((pixels, width))
    _cut(p, shape)[..., :k] = probabilities
    found = bucket_program.infer(
        bucket_program.Image(p, np.int32(k), _spread(pixels, shape, before)),
        None if sigmas is None else _smooth(shape, pixels, sigmas, after),
        None if lattice is None else _appearance(lattice, shape, pixels, before, normalization),
        tuple(_padded(np.asarray(energies), width) for energies in compats),
        np.int32(iterations),
    )
    marginals = _zeros((h, w, k))
    marginals[...] = _cut(np.asarray(found), shape)[..., :k]
    return marginals


def _reach(sigmas: tuple[float, ...] | None) -> int | None:
    """Returns the taps to one side, None if the widths need too many."""
    return next((reach for reach in REACHES if 5 * max(sigmas or (0,)) <= reach), None)


def _bucket(rows: int) -> int:
    """Returns a power of two, or one and a half of it, with room for `rows`."""
    whole = max(_SMALLEST, 1 << (rows - 1).bit_length())
    return whole * 3 // 4 if _SMALLEST < rows <= whole * 3 // 4 else whole


def _room(pixels: int, corners: int, points: int, levels: list[int]) -> Room:
    """Returns the smallest bucket's rows.

    Args:
      pixels: L.
      corners: of each pixel.
      points: of the lattice, and the row of zeros.
      levels: the rows of each level of the splat's sums, as in `_splat`.
    """
    for double in range(5):
        most = 3 * pixels // 4 << double
        sums = corners * pixels // WIDTH + most + 8 * CHUNK
        room = Room(pixels, most, sums, sums // 4 // CHUNK * CHUNK)
        if points <= most and sum(levels) <= sums and sum(levels[1:]) <= room.more:
            return room
    raise ValueError(f"No bucket for {points} points of {pixels} pixels.")


def _whole(rows: int) -> int:
    """Returns the rows of the chunks that `rows` need."""
    return -(-rows // CHUNK) * CHUNK


def _zeros(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Returns zeros that XLA reads without copying them."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    begin = -raw.ctypes.data % _ALIGNMENT
    return raw[begin : begin + size].view(dtype).reshape(shape)


def _cut(rows: np.ndarray, shape: Shape) -> np.ndarray:
    """Returns the view h w … of the pixels' rows."""
    h, w, reach = shape
    inner = rows[reach:][: h * (w + reach)]
    return inner.reshape(h, w + reach, *rows.shape[1:])[:, :w]


def _spread(
    pixels: int, shape: Shape, values: Shaped[np.ndarray, "n *rest"]
) -> Shaped[np.ndarray, "L *rest"]:
    """Returns rows of zeros, with the values of the pixels in their places."""
    spread = _zeros((pixels, *values.shape[1:]), values.dtype)
    _cut(spread, shape)[...] = values.reshape(shape.h, shape.w, *values.shape[1:])
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
    shape: Shape, pixels: int, sigmas: tuple[float, ...], after: Float32[np.ndarray, " n"]
) -> bucket_program.Smooth:
    """Returns the smoothness kernel's tables. Its results leave out the first margin."""
    place, at = shape.pixels.reshape(-1), shape.columns.reshape(-1) + shape.reach
    columns, inside = _zeros((pixels,), np.int32), _zeros((pixels,))
    columns[at], inside[at] = place - shape.reach, 1
    back = _spread(pixels, shape, shape.columns.reshape(-1))
    along_w, along_h = (_taps(shape.reach, sigma) for sigma in sigmas)
    return bucket_program.Smooth(
        along_w, along_h, columns, inside, back, _spread(pixels, shape, after)
    )


def _appearance(
    lattice: HostLattice,
    shape: Shape,
    pixels: int,
    before: Float32[np.ndarray, " n"],
    normalization: Normalization,
) -> bucket_program.Lattice:
    """Returns the appearance kernel's tables; `before` is what scales the marginals already."""
    levels, last = _levels(lattice)
    axes = len(lattice.vertex)
    room = _room(pixels, axes, len(last), [rows for _, rows, _ in levels])
    scaled = lambda: _scales(sums_of_ones(lattice), normalization)
    turns = [
        lambda turn=turn: _blur(lattice, last, room, turn) for turn in range(-(-axes // 2))
    ]
    (inside, outside), *blur = on_threads(lambda task: task(), [scaled, *turns])
    share = outside / np.float32(1 + 2.0 ** (1 - axes))
    splat, vertex, weight = on_threads(
        lambda task: task(),
        [
            lambda: _splat(lattice, shape, inside / before, levels, room),
            lambda: _spread(pixels, shape, lattice.vertex.T),
            lambda: _spread(pixels, shape, (lattice.weight * share).T),
        ],
    )
    return bucket_program.Lattice(splat, tuple(blur), vertex, weight)


def _levels(lattice: HostLattice) -> tuple[list[Level], Int64[np.ndarray, " m1"]]:
    """Returns the levels of the splat's sums, and the row that has each point's sum.

    A point's corners are summed by eights, then these sums by eights, until one is left. Row 0,
    and point 0's, is zeros.
    """
    counts, owner = lattice.degree, np.arange(len(lattice.degree))
    last = np.zeros(len(owner), np.int64)
    source, begin, levels = None, 0, []
    while len(owner):
        rows = -(-counts // WIDTH)
        first = np.cumsum(rows) - rows + (not levels)
        start = np.cumsum(counts) - counts
        cell = np.repeat(WIDTH * first - start, counts)
        cell += np.arange(len(cell))
        length = _whole(int(rows.sum()) + (not levels))
        levels.append(Level(cell, length, source))
        several, one = rows > 1, rows == 1
        last[owner[one]] = begin + first[one]
        within = np.flatnonzero(np.repeat(several, rows)) + (len(levels) == 1)
        source = (begin + within).astype(np.int32)
        counts, owner = rows[several], owner[several]
        begin += length
    return levels, last


def _splat(
    lattice: HostLattice,
    shape: Shape,
    scale: Float32[np.ndarray, " n"],
    levels: list[Level],
    room: Room,
) -> bucket_program.Splat:
    """Returns the tables of the splat's sums; `scale` multiplies the pixels."""
    index, weight = _zeros((room.sums, WIDTH), np.int32), _zeros((room.sums, WIDTH))
    more, at = _zeros((room.more, WIDTH), np.int32), np.zeros(room.more // CHUNK, np.int32)
    cell, begin, _ = levels[0]
    pixel = lattice.order % len(scale)
    index.reshape(-1)[cell] = shape.pixels.reshape(-1)[pixel]
    weight.reshape(-1)[cell] = (lattice.weight * scale).reshape(-1)[lattice.order]
    done = 0
    for cell, rows, source in levels[1:]:
        more[done : done + rows].reshape(-1)[cell] = source
        at[done // CHUNK : (done + rows) // CHUNK] = begin + np.arange(0, rows, CHUNK)
        done, begin = done + rows, begin + rows
    return bucket_program.Splat(index, weight, more, at, np.int32(done // CHUNK))


def _blur(
    lattice: HostLattice, last: Int64[np.ndarray, " m1"], room: Room, turn: int
) -> Int32[np.ndarray, "m 9"]:
    """Returns the rows that are summed to blur along axes 2 t and 2 t + 1."""
    here = np.arange(len(last), dtype=np.int32)
    # An axis without neighbours changes nothing; it makes the number of axes even.
    alone = np.stack([here, 0 * here, 0 * here])
    axes = [np.stack([here, *around]) for around in lattice.neighbor[2 * turn :][:2]]
    first, second = [*axes, alone][:2]
    rows = _zeros((room.points, len(bucket_program.BLUR)), np.int32)
    for column, (i, j) in enumerate(np.ndindex(3, 3)):
        found = first[j][second[i]]
        rows[: len(here), column] = found if turn else last[found]
    return rows

"""CLAHE, contrast-limited adaptive histogram equalisation (Zuiderveld, 1994)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from segjax.contracts import Example, full_scale
from segjax.errors import InputError
from segjax.transforms.color import GREY, in_range
from segjax.transforms.entries import change_images
from segjax.transforms.fields import check_number, check_probability, is_count

LEVELS = 256


@dataclass(frozen=True)
class RandomCLAHE:
    """Local contrast made even, with `probability`.

    The image is divided into `tiles` (rows, columns). The histogram of each tile is cut at
    `clip_limit` times its mean, and maps the tile's values to evenly spread ones; between the
    centres of tiles the maps are interpolated. A grey uint8 image becomes what OpenCV's
    `createCLAHE` makes of it. Of an RGB image, the luma changes and the two colour differences
    stay. Any other image changes channel by channel. Histograms have 256 levels for all dtypes.
    """

    clip_limit: float = 2.0
    tiles: tuple[int, int] = (8, 8)
    probability: float = 0.5

    def __post_init__(self):
        check_number(self, "clip_limit", 0)
        given = self.tiles
        are_counts = isinstance(given, tuple) and len(given) == 2 and all(map(is_count, given))
        if not are_counts or min(given) < 1:
            raise InputError(
                "RandomCLAHE needs tiles as (rows, columns), positive whole numbers, got "
                f"{given!r}."
            )
        check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example, its image equalised or as it was."""
        is_changed = rng.random() < self.probability
        change = lambda image: equalise(image, self.clip_limit, self.tiles)
        return change_images(
            example, change if is_changed else lambda image: image, by="RandomCLAHE"
        )


def equalise(
    image: Shaped[np.ndarray, "h w c"], clip_limit: float, tiles: tuple[int, int]
) -> Shaped[np.ndarray, "h w c"]:
    """Returns the image after CLAHE, in its dtype; see `RandomCLAHE`."""
    scale = np.float32(full_scale(image.dtype) / (LEVELS - 1))
    if image.shape[-1] != 3:
        planes = [
            clahe(image[..., c] / scale, clip_limit, tiles) for c in range(image.shape[-1])
        ]
        return in_range(np.stack(planes, axis=-1) * scale, image.dtype)
    luma = image.astype(np.float32) @ GREY.astype(np.float32)
    if image.dtype == np.uint8:
        luma = np.rint(luma)  # Whole levels need one map each, which halves the time.
    change = clahe(luma / scale, clip_limit, tiles) * scale - luma
    return in_range(image + change[..., None], image.dtype)


def clahe(
    plane: Shaped[np.ndarray, "h w"], clip_limit: float, tiles: tuple[int, int]
) -> Float32[np.ndarray, "h w"]:
    """Returns a plane of values 0 … 255 after CLAHE.

    Values between two levels are mapped between the maps of the two.
    """
    h, w = plane.shape
    below = np.floor(plane).clip(0, LEVELS - 1).astype(np.uint8)
    maps = _maps(np.rint(plane).clip(0, LEVELS - 1).astype(np.uint8), clip_limit, tiles)
    tile_h, tile_w = _tile(h, w, tiles)
    found = _interpolated(maps, below, (tile_h, tile_w))
    between = (plane - below).clip(0, 1).astype(np.float32)
    if between.any():
        above = np.minimum(below, LEVELS - 2) + np.uint8(1)
        found += between * (_interpolated(maps, above, (tile_h, tile_w)) - found)
    return found


def _maps(
    plane: UInt8[np.ndarray, "h w"], clip_limit: float, tiles: tuple[int, int]
) -> Float32[np.ndarray, "rows columns 256"]:
    """Returns the map of each tile: its clipped, cumulated histogram, rounded."""
    (h, w), (rows, columns) = plane.shape, tiles
    tile_h, tile_w = _tile(h, w, tiles)
    around = [(0, rows * tile_h - h), (0, columns * tile_w - w)]
    plane = np.pad(plane, around, mode="reflect")
    number = np.arange(rows * columns).reshape(rows, 1, columns, 1) * LEVELS
    values = plane.reshape(rows, tile_h, columns, tile_w) + number
    counts = np.bincount(values.ravel(), minlength=rows * columns * LEVELS)
    counts = counts.reshape(rows * columns, LEVELS)
    area = tile_h * tile_w
    if clip_limit > 0:
        counts = _clipped(counts, max(1, int(clip_limit * area / LEVELS)))
    # float32, and in this order, as OpenCV: products that end in .5 would round otherwise.
    scaled = counts.cumsum(1).astype(np.float32) * np.float32((LEVELS - 1) / area)
    return np.rint(scaled).clip(0, LEVELS - 1).reshape(rows, columns, LEVELS)


def _tile(h: int, w: int, tiles: tuple[int, int]) -> tuple[int, int]:
    """Returns height and width of a tile; if one of them does not divide, both grow."""
    rows, columns = tiles
    if h % rows == w % columns == 0:
        return h // rows, w // columns
    return h // rows + 1, w // columns + 1  # As OpenCV does.


def _clipped(counts: Int64[np.ndarray, "n 256"], limit: int) -> Int64[np.ndarray, "n 256"]:
    """Returns histograms cut at `limit`, with what was cut spread over all levels."""
    excess = (counts - limit).clip(0).sum(1)
    counts = np.minimum(counts, limit) + (excess // LEVELS)[:, None]
    for histogram, left in zip(counts, excess % LEVELS, strict=True):
        if left:
            step = max(LEVELS // int(left), 1)
            histogram[: int(left) * step : step] += 1
    return counts


def _interpolated(
    maps: Float32[np.ndarray, "rows columns 256"],
    plane: UInt8[np.ndarray, "h w"],
    tile: tuple[int, int],
) -> Float32[np.ndarray, "h w"]:
    """Returns each value by the maps of the four nearest tiles, bilinearly."""
    (y0, y1, down), (x0, x1, right) = (
        _neighbours(size, side, count)
        for size, side, count in zip(plane.shape, tile, maps.shape[:2], strict=True)
    )
    flat, columns = maps.ravel(), maps.shape[1]
    row0, row1 = (y * (columns * LEVELS) for y in (y0[:, None], y1[:, None]))
    left, across = plane + x0 * LEVELS, plane + x1 * LEVELS
    upper = flat[row0 + left] * (1 - right) + flat[row0 + across] * right
    lower = flat[row1 + left] * (1 - right) + flat[row1 + across] * right
    down = down[:, None]
    return upper * (1 - down) + lower * down


def _neighbours(
    size: int, side: int, count: int
) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "n"], Float32[np.ndarray, "n"]]:
    """Returns the tiles before and after each pixel, and the weight of the latter."""
    position = np.arange(size, dtype=np.float32) * np.float32(1 / side) - np.float32(0.5)
    before = np.floor(position).astype(np.int64)
    weight = position - before.astype(np.float32)
    return before.clip(0), (before + 1).clip(max=count - 1), weight

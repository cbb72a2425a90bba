"""The kinds of entries that an example has, and how each follows the image when it moves.

Images, labels and maps of numbers are sampled; points and boxes are mapped. A transform says
once how it does either (`Motion`), so that a kind works with every transform, and a transform
with every kind.

Places are (x, y) in pixels from the image's upper left corner: the pixel in row i and column j
covers x from j to j + 1 and y from i to i + 1, and its centre is (j + 0.5, i + 0.5).

      0   1   2   x
    0 +---+---+       the left pixel's centre is (0.5, 0.5),
      |   |   |       its box is (0, 0, 1, 1); a flip takes
    1 +---+---+       x to 2 - x and the box to (1, 0, 2, 1)
    y
"""

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Shaped

from segjax.errors import InputError
from segjax.objects import border_slack
from segjax.transforms.averages import not_averaged
from segjax.transforms.fill import check_fill, fill_for, ignored_value

Planes = Shaped[np.ndarray, "h w ..."]

Places = Callable[[np.ndarray], np.ndarray]
"""(x, y), n 2 in float64 → where they go."""


@dataclass(frozen=True)
class Motion:
    """What a transform does to an example, after its random numbers have been drawn.

    Attributes:
      by: the transform's name, for messages.
      size: (h, w) of the result.
      bilinear: (h w c, value outside) → h2 w2 c, for what lies between two pixels' values.
      nearest: (h w or h w k, value outside) → h2 w2 or h2 w2 k, for values that do not mix.
      places: (x, y), n 2 in float64 → where they go; None where the transform cannot tell.
      fill: the value of images outside of the example; None: no pixel comes from there.
      repeats: whether parts of the example are seen twice.
    """

    by: str
    size: tuple[int, int]
    bilinear: Callable[[Planes, Any], Planes]
    nearest: Callable[[Planes, Any], Planes]
    places: Places | None
    fill: float | tuple[float, ...] | None = None
    repeats: bool = False


@runtime_checkable
class Kind(Protocol):
    """How an entry moves. A class of your own with these two methods is a kind too."""

    def fault(self, value: Any, size: tuple[int, int]) -> str | None:
        """Returns what keeps a value from being of this kind on an image of `size`, or None."""
        ...

    def move(self, value: Any, motion: Motion, *, what: str) -> Any:
        """Returns the moved value; `what` is its name in messages."""
        ...


@dataclass(frozen=True)
class Image:
    """h w c, sampled bilinearly, filled as the transform says; its colours may be changed."""

    def fault(self, value: Any, size: tuple[int, int]) -> str | None:
        """Returns the fault of anything but an array h w c."""
        return _plane_fault(value, size, ndims=(3,), shapes="h w c")

    def move(self, value: Any, motion: Motion, *, what: str) -> np.ndarray:
        """Returns the moved image."""
        fill = None if motion.fill is None else fill_for(value, motion.fill, name=motion.by)
        return motion.bilinear(value, fill)


@dataclass(frozen=True)
class Bilinear:
    """h w or h w k of numbers that may be averaged: weights, depth as an input.

    Outside of the example lies `fill`. Averages are taken in float32; integers and booleans
    are rounded, and integers beyond ±2²⁴ are refused. NaN spreads to its neighbours.
    Numbers that name a direction, such as optical flow or normals, would move but not turn.
    """

    fill: float = 0.0

    def __post_init__(self):
        _check_number("Bilinear", self.fill)

    def fault(self, value: Any, size: tuple[int, int]) -> str | None:
        """Returns the fault unless it is h w or h w k of real numbers of float32's range."""
        if fault := _plane_fault(value, size):
            return fault
        if (wide := not_averaged(value)) is not None:
            return (
                f"is {value.dtype} and holds {wide}, which float32 cannot hold, in which maps "
                "are averaged: give smaller numbers, or declare it Nearest()"
            )
        return None

    def move(self, value: Any, motion: Motion, *, what: str) -> np.ndarray:
        """Returns the moved map."""
        if motion.fill is not None:
            check_fill(what, value.dtype, self.fill)
        if value.ndim == 3:
            return motion.bilinear(value, self.fill)
        return motion.bilinear(value[..., None], self.fill)[..., 0]


@dataclass(frozen=True)
class Nearest:
    """h w or h w k of values that must not be averaged: class ids, masks, measured targets.

    No value appears that was not there, but for `fill` outside of the example. None stands for
    255 among integers, and for NaN among floats: a depth to be learned is unknown there, 0 or
    255 metres would be learned, and a loss that counts finite targets leaves NaN out.
    """

    fill: float | None = None

    def __post_init__(self):
        if self.fill is not None:
            _check_number("Nearest", self.fill)

    def fault(self, value: Any, size: tuple[int, int]) -> str | None:
        """Returns the fault of anything but an array h w or h w k of real numbers."""
        return _plane_fault(value, size)

    def move(self, value: Any, motion: Motion, *, what: str) -> np.ndarray:
        """Returns the moved labels."""
        fill = ignored_value(value.dtype) if self.fill is None else self.fill
        if motion.fill is not None:
            check_fill(what, value.dtype, fill)
        return motion.nearest(value, fill)


@dataclass(frozen=True)
class Points:
    """n 2 of floats: places (x, y), each of which stays or, outside of the result, is dropped.

    A point on the border, x = 0 or x = w, is inside.
    """

    def fault(self, value: Any, size: tuple[int, int]) -> str | None:
        """Returns the fault of anything but an array n 2 of finite floats."""
        hint = "a pixel's place is (column + 0.5, row + 0.5)"
        return _places_fault(value, 2, "(x, y)", hint)

    def move(self, value: Any, motion: Motion, *, what: str) -> Float[np.ndarray, "n 2"]:
        """Returns where the points go, inside of the result or not.

        Raises:
          InputError: the transform cannot tell where.
        """
        return _placed(motion, what)(value.astype(np.float64)).astype(value.dtype)

    def clipped(
        self, value: Float[np.ndarray, "n 2"], size: tuple[int, int]
    ) -> tuple[Float[np.ndarray, "m 2"], Bool[np.ndarray, "n"]]:
        """Returns the points inside, and which of the given ones they are."""
        (h, w), (x, y) = size, value.T
        kept = (x >= 0) & (x <= w) & (y >= 0) & (y <= h)
        return value[kept], kept


@dataclass(frozen=True)
class Boxes:
    """n 4 of floats: upright boxes (x0, y0, x1, y1), cut at the border, dropped where empty.

    Where the image turns by less than a quarter, a box becomes the smallest upright one around
    its turned corners, which may be larger than the smallest around the object.
    """

    def fault(self, value: Any, size: tuple[int, int]) -> str | None:
        """Returns the fault unless it is n 4 of finite floats with x0 ≤ x1 and y0 ≤ y1."""
        hint = "COCO's (x, y, width, height) is (x, y, x + width, y + height)"
        if fault := _places_fault(value, 4, "(x0, y0, x1, y1)", hint):
            return fault
        wrong = value[(value[:, 2:] < value[:, :2]).any(-1)]
        return (
            f"has the box {wrong[0].tolist()} of negative size; {hint}" if len(wrong) else None
        )

    def move(self, value: Any, motion: Motion, *, what: str) -> Float[np.ndarray, "n 4"]:
        """Returns where the boxes go, inside of the result or not.

        Raises:
          InputError: the transform cannot tell where, or shows parts of the example twice.
        """
        places = _placed(motion, what)
        if motion.repeats:
            raise InputError(
                f"{what}: {motion.by} repeats parts of the image, and objects there would have "
                f"no box: leave {motion.by} out, or pad with RandomCrop."
            )
        corners = corners_after(value, places)
        return np.concatenate([corners.min(1), corners.max(1)], -1).astype(value.dtype)

    def clipped(
        self, value: Float[np.ndarray, "n 4"], size: tuple[int, int]
    ) -> tuple[Float[np.ndarray, "m 4"], Bool[np.ndarray, "n"]]:
        """Returns the boxes' parts inside that are not empty, and which boxes they are of.

        A part that is no wider than rounding errors is empty: its box only touches the border.
        """
        h, w = size
        inside = value.clip(0, np.array([w, h, w, h], value.dtype))
        least = np.where((inside == value).all(-1), 0, border_slack(size))
        kept = np.all(inside[:, 2:] - inside[:, :2] > least[:, None], axis=-1)
        return inside[kept], kept


@dataclass(frozen=True)
class Follows:
    """n …: one item for each of the points or boxes in `of`, dropped where that is dropped."""

    of: str

    def fault(self, value: Any, size: tuple[int, int]) -> str | None:
        """Returns the fault of anything but an array of items."""
        if not isinstance(value, np.ndarray) or not value.ndim:
            return f"must be a NumPy array with one item for each of {self.of!r}"
        return None

    def move(self, value: Any, motion: Motion, *, what: str) -> np.ndarray:
        """Returns the items as they are."""
        return value


@dataclass(frozen=True)
class Fixed:
    """Anything that says nothing of places: it stays as it is."""

    def fault(self, value: Any, size: tuple[int, int]) -> str | None:
        """Returns None: anything may stay."""
        return None

    def move(self, value: Any, motion: Motion, *, what: str) -> Any:
        """Returns the value itself."""
        return value


def corners_after(
    boxes: Float[np.ndarray, "n 4"], places: Places
) -> Float[np.ndarray, "n 4 2"]:
    """Returns where the four corners of each box go, clockwise from the upper left one."""
    corners = boxes.astype(np.float64)[:, [0, 1, 2, 1, 2, 3, 0, 3]]
    return places(corners.reshape(-1, 2)).reshape(-1, 4, 2)


def _check_number(name: str, fill: Any) -> None:
    if not isinstance(fill, numbers.Real):
        raise InputError(f"{name} has fill={fill!r}, which must be one number.")


def _plane_fault(
    value: Any,
    size: tuple[int, int],
    *,
    ndims: tuple[int, ...] = (2, 3),
    shapes: str = "h w or h w k",
) -> str | None:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        found = getattr(value, "dtype", type(value).__name__)
        return f"must be a NumPy array {shapes} of real numbers, got {found}"
    if value.ndim not in ndims or value.shape[:2] != size or 0 in value.shape:
        return (
            f"has shape {value.shape}, but the image is {size[0]} x {size[1]}: it must be "
            f"{shapes} of the image's height and width"
        )
    return None


def _places_fault(value: Any, numbers: int, what: str, hint: str) -> str | None:
    shape = f"a NumPy array n {numbers} of finite floats {what}"
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        found = getattr(value, "dtype", type(value).__name__)
        return f"must be {shape}, got {found}; {hint}"
    if value.ndim != 2 or value.shape[1] != numbers:
        return f"must be {shape}, got shape {value.shape}"
    wrong = value[~np.isfinite(value).all(-1)]
    return f"must be {shape}, got {wrong[0].tolist()}" if len(wrong) else None


def _placed(motion: Motion, what: str) -> Places:
    if motion.places is None:
        raise InputError(
            f"{what}: {motion.by} does not know where places go: leave {motion.by} out, or "
            "draw masks, which every transform moves."
        )
    return motion.places

"""What an example holds where a transform has no pixel of it: around a crop, behind a turn."""

from typing import Any

import numpy as np
from jaxtyping import Shaped

from segjax.contracts import IGNORE, full_scale
from segjax.errors import InputError
from segjax.transforms.fields import is_number

MEAN_COLOUR = (124, 116, 104)
"""ImageNet's mean colour in 8-bit RGB: what fills the room around images by default."""

MEAN_GREY = 117
"""Its luma, for images of any other number of channels."""


def fill_for(
    image: Shaped[np.ndarray, "h w c"], fill: float | tuple[float, ...], *, name: str
) -> float | tuple[float, ...]:
    """Returns `fill`, or the default colour in the image's channels and units.

    Raises:
      InputError: `fill` has neither one number nor as many as the image has channels; the line
        calls the transform `name`.
    """
    channels = image.shape[-1]
    if fill == MEAN_COLOUR:
        scale = full_scale(image.dtype) / 255
        colour = MEAN_COLOUR if channels == 3 else (MEAN_GREY,) * channels
        return colour if scale == 1 else tuple(value * scale for value in colour)
    if np.size(fill) not in (1, channels):
        raise InputError(
            f"{name} fills with {np.size(fill)} numbers {fill}, but images have {channels} "
            "channel(s): give fill one number, or one a channel."
        )
    return fill


def filled(
    shape: tuple[int, ...], dtype: np.dtype, fill: float | tuple[float, ...]
) -> Shaped[np.ndarray, "h w ..."]:
    """Returns an array h w … of `fill`, one number or one a channel."""
    row = np.empty(shape[1:], dtype)
    row[...] = fill
    # Row by row: ten times as fast as a colour for each pixel.
    array = np.empty(shape, dtype)
    array[...] = row
    return array


def ignored_value(dtype: np.dtype) -> float:
    """Returns what marks a pixel without a label: 255 among integers, NaN among floats.

    >>> ignored_value(np.dtype(np.int32)), ignored_value(np.dtype(np.float32))
    (255, nan)
    """
    return float("nan") if dtype.kind == "f" else IGNORE


def check_number_or_colour(name: str, fill: Any) -> None:
    """Raises InputError unless `fill` is a finite number or a tuple of them.

    Raises:
      InputError: it is not; the line says that `name` has it.
    """
    values = fill if isinstance(fill, tuple) else (fill,)
    if not values or not all(map(is_number, values)):
        raise InputError(
            f"{name} has fill={fill!r}: give one finite number, or a tuple of one a channel."
        )


def check_fill(what: str, dtype: Any, fill: float) -> None:
    """Raises InputError unless arrays of the dtype can hold `fill`.

    Raises:
      InputError: they cannot; the line calls the array `what`.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "f" or (dtype.kind == "b" and fill in (0, 1)):
        return
    if dtype.kind in "iu" and float(fill).is_integer():
        limits = np.iinfo(dtype)
        if limits.min <= fill <= limits.max:
            return
    wider = np.min_scalar_type(int(fill)) if float(fill).is_integer() else "float32"
    raise InputError(
        f"{what} is {dtype}, which cannot hold {fill}, its value outside of the example: let "
        f"the dataset return it as {wider}."
    )

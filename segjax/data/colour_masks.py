"""Masks that are painted: a colour is a class, by a table of exact colours."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from segjax.contracts import IGNORE
from segjax.data.decode import Page
from segjax.data.images import turned
from segjax.errors import InputError

Colour = tuple[int, int, int]

MaskColours = tuple[tuple[Colour, int], ...]
"""Pairs ((red, green, blue), class id or 255), each colour once."""

_EXAMPLE = "mask_colours=(((128, 64, 128), 0), ((0, 0, 0), 255))"


def check_mask_colours(mask_colours: Any, num_classes: int) -> None:
    """Raises InputError unless each pair is a colour of 8 bits a channel and a class or 255.

    Raises:
      InputError: one is not, or a colour stands there twice.
    """
    if not isinstance(mask_colours, tuple):
        raise InputError(f"mask_colours={mask_colours!r} must be pairs: write {_EXAMPLE}.")
    for pair in mask_colours:
        if not (isinstance(pair, tuple) and len(pair) == 2 and _is_colour(pair[0])):
            raise InputError(
                f"mask_colours has {pair!r}, which is not a pair of a colour (three numbers 0 "
                f"to 255) and a class id: write {_EXAMPLE}."
            )
        target = pair[1]
        is_id = isinstance(target, int) and not isinstance(target, bool)
        if not is_id or not (0 <= target < num_classes or target == IGNORE):
            raise InputError(
                f"mask_colours leads to {target!r} in {pair}, but class ids are 0 to "
                f"{num_classes - 1} (and 255 = ignored)."
            )
    colours = [colour for colour, _ in mask_colours]
    if twice := [colour for colour in colours if colours.count(colour) > 1]:
        raise InputError(f"mask_colours names {twice[0]} twice: keep one of the pairs.")


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 3
        and all(
            isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255
            for part in value
        )
    )


def shown_colours(page: Page, name: pathlib.Path) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the colours that a viewer shows of a mask, turned as its EXIF data say.

    Raises:
      InputError: it has more than 8 bits a channel, or transparent pixels.
    """
    if page.bits > 8 or page.signed:
        raise InputError(
            f"{name} has samples of {page.bits} bits (mode {page.image.mode}), but "
            "mask_colours names colours of 8 bits a channel: save it as an RGB PNG."
        )
    image = turned(page.image)
    if image.mode in ("RGBA", "LA", "PA") and np.asarray(image.getchannel("A")).min() < 255:
        raise InputError(
            f"{name} has transparent pixels, whose class it does not say: paint them."
        )
    return np.asarray(image.convert("RGB"))


def classes_of_colours(
    colours: UInt8[np.ndarray, "h w 3"], mask_colours: MaskColours, name: pathlib.Path
) -> UInt8[np.ndarray, "h w"]:
    """Returns the class of each pixel's colour.

    Raises:
      InputError: a colour is not in the table. The line names the most frequent one, its number
        of pixels, and the nearest colour of the table.
    """
    codes = _codes(colours)
    present, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    table = {int(_codes(np.array(colour))): target for colour, target in mask_colours}
    strange = [i for i, code in enumerate(present.tolist()) if code not in table]
    if strange:
        _raise_unknown(name, present[strange], counts[strange], mask_colours)
    classes = np.array([table[code] for code in present.tolist()], np.uint8)
    return classes[places].reshape(codes.shape)


def _codes(colours: np.ndarray) -> Int[np.ndarray, "..."]:
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _raise_unknown(
    name: pathlib.Path, codes: np.ndarray, counts: np.ndarray, mask_colours: MaskColours
) -> None:
    code = int(codes[counts.argmax()])
    colour = (code >> 16, code >> 8 & 255, code & 255)
    near, target = nearest_colour(colour, mask_colours)
    others = f" ({len(codes)} such colours, {counts.sum()} pixels)" if len(codes) > 1 else ""
    raise InputError(
        f"{name} has {counts.max()} pixel(s) of the colour {colour}, which mask_colours does "
        f"not name{others}; the nearest is {near}, class {target}: add a pair such as "
        f"({colour}, {target}), or save the mask without loss and without smoothed edges."
    )


def nearest_colour(colour: Sequence[int], mask_colours: MaskColours) -> tuple[Colour, int]:
    """Returns the pair whose colour is nearest, by the squared distance in RGB."""
    distance = lambda pair: sum((a - b) ** 2 for a, b in zip(pair[0], colour, strict=True))
    return min(mask_colours, key=distance)

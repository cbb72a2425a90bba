"""Masks whose grey values or palette indices are classes, and tables of these values."""

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from segjax.convert.annotated import IGNORED
from segjax.data.decode import Page, decode
from segjax.data.images import turned
from segjax.data.masks import stored_samples
from segjax.errors import InputError, first_of

LOSSY = ("JPEG", "MPO", "WEBP")
EXAMPLE = '--values "0:background,128:membrane,*:ignore"'
IGNORE_WORDS = ("ignore", "ignored", "__ignore__", "255")


@dataclass(frozen=True)
class ValueTable:
    """Classes of grey values.

    Attributes:
      names: {value: class name or `IGNORED`}.
      others: the class of all other values; None: they are refused.
    """

    names: Mapping[int, str]
    others: str | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Each class once, in the order of the table."""
        found = [*self.names.values(), *([self.others] if self.others else [])]
        return tuple(name for name in dict.fromkeys(found) if name != IGNORED)

    def ids(self, path: pathlib.Path) -> Int[np.ndarray, "h w"]:
        """Returns the mask with its values; those beyond the table are -1 if it covers them.

        Raises:
          InputError: the mask cannot be read, or has a value that the table lacks.
        """
        values = read_values(path).astype(np.int64)
        unknown = ~np.isin(values, list(self.names))
        if unknown.any() and self.others is None:
            found = np.unique(values[unknown]).tolist()
            raise InputError(
                f"{path} has the value {found[0]} in {int((values == found[0]).sum())} pixels "
                f"({len(found)} unknown values in all), and known are "
                f"{first_of([*map(str, sorted(self.names))])}: name it in --values, or add "
                '"*:ignore" there.'
            )
        return np.where(unknown, -1, values)

    @property
    def id_names(self) -> dict[int, str]:
        """{what `ids` returns: class name or `IGNORED`}."""
        return {**self.names, **({-1: self.others} if self.others else {})}


def parse_values(text: str) -> ValueTable:
    """Returns the table that `--values` writes: VALUE:NAME, with commas between, * for others.

    >>> parse_values("0:background, 128:membrane, *:ignore").id_names
    {0: 'background', 128: 'membrane', -1: '__ignore__'}

    Raises:
      InputError: a part has another form, or a value stands twice.
    """
    names: dict[int, str] = {}
    others = None
    for part in filter(str.strip, text.split(",")):
        value, colon, name = (piece.strip() for piece in part.partition(":"))
        name = IGNORED if name.casefold() in IGNORE_WORDS else name
        if not colon or not name or not (value == "*" or value.isdecimal()):
            raise InputError(
                f"--values has {part.strip()!r}: write VALUE:NAME, as in {EXAMPLE}."
            )
        if value == "*" and others is not None or value != "*" and int(value) in names:
            raise InputError(f"--values says {value} twice: keep one class for it.")
        if value == "*":
            others = name
        else:
            names[int(value)] = name
    if not names:
        raise InputError(f"--values has no value: write VALUE:NAME, as in {EXAMPLE}.")
    return ValueTable(names, others)


def read_values(path: pathlib.Path) -> Int[np.ndarray, "h w"]:
    """Returns the grey values or palette indices of a mask without loss.

    Raises:
      InputError: it cannot be read, is lossy, or has colours.
    """
    return stored_samples(decode(path), path)


def is_lossy(path: pathlib.Path) -> bool:
    """Returns whether a mask is compressed with loss.

    Raises:
      InputError: it cannot be read.
    """
    return decode(path).image.format in LOSSY


def read_halves(path: pathlib.Path, *, half: int) -> Int[np.ndarray, "h w"]:
    """Returns 1 where a binary mask is at least `half`, else 0; it may be lossy.

    Raises:
      InputError: it cannot be read or has colours; or, if it is lossy, a tenth of its pixels
        are far from both black and white.
    """
    page = decode(path)
    if page.image.format not in LOSSY:
        return (stored_samples(page, path) >= half).astype(np.int64)
    grey = _grey(page, path)
    between = (np.abs(grey.astype(int) - 128) < 64).mean()
    if between > 0.1:
        raise InputError(
            f"{path} is compressed as {page.image.format}, and {between:.0%} of its pixels are "
            "neither dark nor bright: it is not a binary mask, and compression changes class "
            "ids; save masks as PNG."
        )
    return (grey >= 128).astype(np.int64)


def _grey(page: Page, path: pathlib.Path) -> np.ndarray:
    image = turned(page.image)
    array = np.asarray(image if image.mode == "L" else image.convert("RGB"), np.int16)
    if array.ndim == 3:
        if np.ptp(array, axis=-1).max() > 48:
            raise InputError(
                f"{path} has colours and is compressed as {page.image.format}, which changes "
                "them: make it again without loss, as PNG."
            )
        array = array.mean(-1)
    return array

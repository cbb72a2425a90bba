"""Tables of colours of classes, in the forms that tools write, and masks in such colours."""

import csv
import io
import pathlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from segjax.convert.annotated import IGNORED
from segjax.convert.documents import read_lines, read_text
from segjax.data.decode import decode
from segjax.data.images import turned
from segjax.errors import InputError

Colour = tuple[int, int, int]

IGNORED_NAMES = ("ignored", "ignore", "__ignore__", "ignore_label")
BACKGROUNDS = ("background", "_background_")

_RGB = r"(?P<red>\d{1,3})[\s,;]+(?P<green>\d{1,3})[\s,;]+(?P<blue>\d{1,3})"
_FORMS = (
    re.compile(
        rf"(?P<name>[^:]+):\s*{_RGB}\s*(:.*)?"
    ),  # labelmap.txt: name:r,g,b:parts:actions
    re.compile(rf"{_RGB}[\s,;:]+(?P<name>.*\S)"),  # label_colors.txt: r g b name
    re.compile(rf"(?P<name>.*?\S)[\s,;:=]+{_RGB}"),
    re.compile(r"(?P<name>.*?\S)[\s,;:=]+#(?P<hex>[0-9a-fA-F]{6})"),
    re.compile(r"#(?P<hex>[0-9a-fA-F]{6})[\s,;:]+(?P<name>.*\S)"),
)


@dataclass(frozen=True)
class ColourTable:
    """Colours of classes.

    Attributes:
      colours: {class name or `IGNORED`: its colour}, in the file's order.
      background: the name of the class that becomes 0, or `IGNORED`.
      file: where it was read.
    """

    colours: Mapping[str, Colour]
    background: str
    file: pathlib.Path

    @property
    def class_names(self) -> tuple[str, ...]:
        """All classes but the background."""
        return tuple(n for n in self.colours if n not in (self.background, IGNORED))

    @property
    def names(self) -> dict[int, str]:
        """{place in the table: class name}, as `ids_of_colours` numbers them."""
        return dict(enumerate(self.colours))


def read_table(path: pathlib.Path) -> ColourTable:
    """Returns the table of a text file with a class and its colour on each line.

    A line is `name r g b`, `r g b name`, `name #rrggbb`, or `name:r,g,b:parts:actions` as in
    CVAT's and VOC's `labelmap.txt`; a comma or semicolon may stand for a space. A `#` and a
    space begin a comment, and the first line may name the columns.

    Raises:
      InputError: a line has another form, or repeats a name or a colour.
    """
    entries = []
    for number, line in read_lines(path):
        if re.match(r"#(?![0-9a-fA-F]{6}\b)", line):
            continue
        match = next(filter(None, (form.fullmatch(line) for form in _FORMS)), None)
        if match is None:
            if number == 1 and not re.search(r"\d", line):
                continue
            raise InputError(
                f"{path}, line {number}, is {line!r}: write a class and its colour as "
                '"car 0 0 142" or "car #00008e".'
            )
        entries.append((match["name"].strip(" \t,;:\"'"), _colour(match, path, number)))
    return table_of(entries, path)


def table_of(
    entries: Sequence[tuple[str, Colour]], path: pathlib.Path, *, background: str | None = None
) -> ColourTable:
    """Returns a table of (name, colour); `background` is found by its name unless given.

    Raises:
      InputError: there are none, or a name or colour repeats.
    """
    colours: dict[str, Colour] = {}
    for name, colour in entries:
        name = IGNORED if name.casefold() in IGNORED_NAMES else name
        if name in colours:
            raise InputError(f"{path} has two colours for {name!r}: keep one line a class.")
        same = next((other for other, seen in colours.items() if seen == colour), None)
        if same is not None:
            raise InputError(
                f"{path} has the colour {colour} for {same!r} and for {name!r}: each class "
                "needs a colour of its own."
            )
        colours[name] = colour
    if not colours:
        raise InputError(f"{path} has no colours: write a class and its colour on each line.")
    found = (name for name in colours if name.casefold() in BACKGROUNDS)
    return ColourTable(colours, background or next(found, IGNORED), path)


def datumaro_table(data: Any, path: pathlib.Path) -> ColourTable | None:
    """Returns the table of Datumaro's `dataset_meta.json`; None if it has no colours.

    Raises:
      InputError: its names and colours do not fit.
    """
    names = data.get("label_map") if isinstance(data, dict) else None
    colours = data.get("segmentation_colors") if isinstance(data, dict) else None
    if not isinstance(names, dict) or not colours:
        return None
    if not isinstance(colours, list) or len(names) != len(colours):
        count = len(colours) if isinstance(colours, list) else "no list of"
        raise InputError(f"{path} has {len(names)} names and {count} colours: give each one.")
    for key, name in names.items():
        if not key.isdecimal() or not isinstance(name, str):
            raise InputError(
                f"{path} has the entry {key!r}: {name!r:.40} in its label_map: write the "
                "number of a class, and its name."
            )
    for colour in colours:
        if not _is_colour(colour):
            raise InputError(
                f"{path} has the colour {colour!r:.40}: write three whole numbers of 0 to 255."
            )
    ordered = [names[key] for key in sorted(names, key=int)]
    background = names.get(str(data.get("background_label")))
    entries = [
        (name, (red, green, blue))
        for name, (red, green, blue) in zip(ordered, colours, strict=True)
    ]
    return table_of(entries, path, background=background)


def _is_colour(colour: Any) -> bool:
    return (
        isinstance(colour, list)
        and len(colour) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in colour)
    )


def grey_table(path: pathlib.Path) -> dict[int, str] | None:
    """Returns {grey value: class} of Roboflow's `_classes.csv`; None if it is another file.

    Raises:
      InputError: a value is not a whole number.
    """
    rows = list(csv.reader(io.StringIO(read_text(path)), skipinitialspace=True))
    if not rows or [cell.strip().casefold() for cell in rows[0]] != ["pixel value", "class"]:
        return None
    try:
        return {int(row[0]): row[1].strip() for row in rows[1:] if row}
    except (ValueError, IndexError):
        raise InputError(
            f"{path} has a line that is not VALUE, CLASS: export the dataset again."
        ) from None


def read_colours(path: pathlib.Path) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the exact colours of a mask file.

    Raises:
      InputError: it cannot be read, is compressed with loss, or has transparent pixels.
    """
    page = decode(path)
    if page.image.format in ("JPEG", "MPO", "WEBP"):
        raise InputError(
            f"{path} is compressed as {page.image.format}, which changes colours: make it "
            "again without loss, as PNG."
        )
    image = turned(page.image)
    if "A" in image.getbands() and np.asarray(image.getchannel("A")).min() < 255:
        raise InputError(
            f"{path} has transparent pixels, whose class it does not say: save it without "
            "transparency."
        )
    return np.asarray(image.convert("RGB"))


def ids_of_colours(path: pathlib.Path, table: ColourTable) -> Int[np.ndarray, "h w"]:
    """Returns, for each pixel of a mask file, the place of its colour in the table.

    Raises:
      InputError: as `read_colours`, or a colour is not in the table; the line says how many
        pixels have it and which class is nearest.
    """
    colours = np.array(list(table.colours.values()))
    known = packed(colours)
    order = np.argsort(known)
    values = packed(read_colours(path))
    places = order[np.searchsorted(known, values, sorter=order).clip(max=len(known) - 1)]
    wrong = known[places] != values
    if wrong.any():
        unknown, counts = np.unique(values[wrong], return_counts=True)
        raise InputError(_unknown(path, table, colours, int(unknown[counts.argmax()]), counts))
    return places


def packed(colours: np.ndarray) -> Int[np.ndarray, "..."]:
    """Returns one number for each colour along the last axis."""
    return colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])


def _unknown(
    path: pathlib.Path,
    table: ColourTable,
    colours: np.ndarray,
    value: int,
    counts: np.ndarray,
) -> str:
    colour = (value >> 16, value >> 8 & 255, value & 255)
    nearest = int(np.square(colours - colour).sum(1).argmin())
    others = f" and {len(counts) - 1} more colours" if len(counts) > 1 else ""
    blurred = (
        ": it seems to be resized or compressed, so make it again from its source"
        if len(counts) > 20
        else f": add it to {table.file}"
    )
    return (
        f"{path} has the colour {colour} in {counts.max()} pixels{others}, which is not in "
        f"{table.file}; the nearest is {list(table.colours)[nearest]!r} "
        f"{tuple(colours[nearest].tolist())}{blurred}."
    )


def _colour(match: re.Match, path: pathlib.Path, number: int) -> Colour:
    groups = match.groupdict()
    if groups.get("hex"):
        red, green, blue = bytes.fromhex(groups["hex"])
    else:
        red, green, blue = (int(groups[name]) for name in ("red", "green", "blue"))
    if max(red, green, blue) > 255:
        raise InputError(
            f"{path}, line {number}, has the colour {(red, green, blue)}, and each part is 0 "
            "to 255: correct it."
        )
    return red, green, blue

"""Masks with a grey value, or palette index, for each class; also binary masks."""

import contextlib
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from segjax.convert.annotated import (
    IGNORED,
    Annotated,
    Annotations,
    ClassMap,
    Options,
    SourceFiles,
)
from segjax.convert.colour_tables import BACKGROUNDS, grey_table
from segjax.convert.documents import read_lines
from segjax.convert.grey_values import (
    ValueTable,
    is_lossy,
    parse_values,
    read_halves,
    read_values,
)
from segjax.convert.image_files import each_image, image_name
from segjax.convert.layouts import split_of_path
from segjax.convert.mask_pairs import Pair, find_pairs
from segjax.errors import InputError, first_of

IGNORE_ID = 255


@dataclass(frozen=True)
class GreyMasks:
    """The classes of values: `--values`, `--names`, or a list beside the masks.

    A list is `classes.txt` (one name an id) or Roboflow's `_classes.csv`. Masks without one
    that hold two values each are binary.
    """

    name: str = "grey-masks"
    title: str = "grey, index and binary masks"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns how many images have a mask, or None."""
        found = find_pairs(files)
        return f"{len(found.pairs)} images with masks" if found else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns each image that has a mask.

        Raises:
          InputError: a mask has no image or cannot be read; or nothing says what its values
            mean.
        """
        found = find_pairs(files)
        if found is None:
            raise InputError(
                f"{files.root} has no images with masks: put them into images/ and masks/, "
                "with the same names."
            )
        notes = []
        if found.alone:
            notes.append(f"images without a mask are left out: {len(found.alone)}")
        table = _table(files, options)
        kinds = (_is_lossy(pair.mask) for pair in found.pairs)
        first_is_lossy = next((kind for kind in kinds if kind is not None), False)
        if table is None or options.values is None and first_is_lossy:
            return found.with_problems(_binary(files, found.pairs, table, notes))
        maps = [
            ClassMap(partial(table.ids, pair.mask), table.id_names, where=str(pair.mask))
            for pair in found.pairs
        ]
        background, names = _background(table.class_names)
        images, problems = _images(files, found.pairs, maps)
        return found.with_problems(
            Annotations(
                images, names, background=background, notes=tuple(notes), problems=problems
            )
        )


def _images(
    files: SourceFiles, pairs: Sequence[Pair], maps: Sequence[ClassMap]
) -> tuple[list[Annotated], tuple[str, ...]]:
    def image(each: tuple[Pair, ClassMap]) -> Annotated:
        """Returns the annotated image of a pair."""
        pair, class_map = each
        return Annotated(
            image=pair.image,
            name=image_name(pair.image, files),
            class_map=class_map,
            split=split_of_path(pair.image, files.root),
            where=str(pair.mask),
        )

    return each_image(zip(pairs, maps, strict=True), image)


def _table(files: SourceFiles, options: Options) -> ValueTable | None:
    """Returns what the values mean, as far as the user or a file says it."""
    if options.values is not None:
        return parse_values(options.values)
    if options.names is not None:
        return _of_names(options.names)
    for path in files.find(".csv"):
        if names := grey_table(path):
            return ValueTable(names)
    for path in files.find(".txt"):
        if path.name.casefold() == "classes.txt":
            return _of_names([line for _, line in read_lines(path)])
    return None


def _of_names(names: Sequence[str]) -> ValueTable:
    by_id = dict(enumerate(names))
    return ValueTable({IGNORE_ID: IGNORED, **by_id} if len(names) <= IGNORE_ID else by_id)


def _background(names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Returns (background, the other classes); without one no pixel is left to be it."""
    found = next((name for name in names if name.casefold() in BACKGROUNDS), IGNORED)
    return found, tuple(name for name in names if name != found)


def _binary(
    files: SourceFiles,
    pairs: Sequence[Pair],
    table: ValueTable | None,
    notes: list[str],
) -> Annotations:
    """Returns masks of two values, each above or below half.

    Raises:
      InputError: masks hold more values, or a table has not two classes.
    """
    names = ("background", "foreground") if table is None else table.class_names
    if len(names) != 2:
        raise InputError(
            f"{pairs[0].mask} is compressed with loss, which changes class ids, and there are "
            f"{len(names)} classes: only masks of two classes can be split at half. Save the "
            "masks as PNG."
        )
    kinds = {pair.mask: _is_lossy(pair.mask) for pair in pairs}
    values: set[int] = set()
    for mask in (mask for mask, kind in kinds.items() if kind is False):
        with contextlib.suppress(InputError):  # Drawing this image says what is wrong with it.
            values |= set(np.unique(read_values(mask)).tolist())
        _check_binary(values, mask)
    if lossy := [*kinds.values()].count(True):
        notes.append(
            f"masks are compressed with loss ({lossy} of them): pixels of at least 128 are "
            f"{names[1]!r}"
        )
    if values:
        bright = max(values)
        listed = " and ".join(map(str, sorted(values)))
        notes.append(f"masks hold {listed}: {bright} is {names[bright > 0]!r}")
    half = max(1, (max(values, default=0) + min(values, default=0) + 1) // 2)
    by_id = dict(enumerate(names))
    maps = [
        ClassMap(partial(read_halves, pair.mask, half=half), by_id, where=str(pair.mask))
        for pair in pairs
    ]
    images, problems = _images(files, pairs, maps)
    return Annotations(
        images, names[1:], background=names[0], notes=tuple(notes), problems=problems
    )


def _is_lossy(mask: pathlib.Path) -> bool | None:
    """Returns whether a mask is compressed with loss; None if it cannot be read."""
    try:
        return is_lossy(mask)
    except InputError:
        return None


def _check_binary(values: set[int], mask: pathlib.Path) -> None:
    if len(values) > 2:
        listed = ",".join(f"{value}:NAME" for value in sorted(values)[:4])
        raise InputError(
            f"{mask} and masks before it hold {len(values)} values "
            f"({first_of([*map(str, sorted(values))])}), and nothing says which classes they "
            f'are: give --values "{listed},…", or --names "NAME,NAME,…" for the ids 0, 1, …. '
            "If colours of a palette say it, give --format colour-masks --colours FILE."
        )


GREY_MASKS = GreyMasks()

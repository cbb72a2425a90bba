"""Colour masks: each class has a colour, which a table beside the masks or `--colours` says."""

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from segjax.convert.annotated import (
    Annotated,
    Annotations,
    ClassMap,
    Options,
    SourceFiles,
)
from segjax.convert.colour_tables import (
    ColourTable,
    datumaro_table,
    ids_of_colours,
    packed,
    read_colours,
    read_table,
)
from segjax.convert.image_files import each_image, image_name
from segjax.convert.layouts import split_of_path
from segjax.convert.mask_pairs import Pair, find_pairs
from segjax.data.decode import decode
from segjax.errors import InputError

TABLES = (
    "labelmap.txt",
    "label_colors.txt",
    "label_colours.txt",
    "class_dict.csv",
    "colors.txt",
    "colours.txt",
)
META = "dataset_meta.json"


@dataclass(frozen=True)
class ColourMasks:
    """Colours are compared exactly; a colour that the table lacks is refused."""

    name: str = "colour-masks"
    title: str = "colour masks with a table of colours"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns how many masks there are, if there is a table or the first is coloured."""
        found = find_pairs(files)
        if found is None:
            return None
        count = f"{len(found.pairs)} colour masks"
        if table := find_table(files):
            return f"{count} with {table.file.name}"
        return count if _is_coloured(found.pairs[0].mask) else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns each image that has a mask; all pixels have a class, by colour.

        Raises:
          InputError: there is no table, or it cannot be used; or a mask has no image.
        """
        found = find_pairs(files)
        if found is None:
            raise InputError(
                f"{files.root} has no images with masks: put them into images/ and masks/, "
                "with the same names."
            )
        table = read_table(options.colours) if options.colours else find_table(files)
        if table is None:
            raise InputError(_without_table(files, found.pairs[0].mask))

        def image(pair: Pair) -> Annotated:
            return Annotated(
                image=pair.image,
                name=image_name(pair.image, files),
                class_map=colour_map(pair.mask, table),
                split=split_of_path(pair.image, files.root),
                where=str(pair.mask),
            )

        images, problems = each_image(found.pairs, image)
        alone = len(found.alone)
        annotations = Annotations(
            images,
            table.class_names,
            background=table.background,
            colours=table.colours,
            notes=(f"images without a mask are left out: {alone}",) if alone else (),
            problems=problems,
        )
        return found.with_problems(annotations)


def colour_map(mask: pathlib.Path, table: ColourTable) -> ClassMap:
    """Returns the map of a mask file whose colours are in the table."""
    return ClassMap(partial(ids_of_colours, mask, table), table.names, where=str(mask))


def find_table(files: SourceFiles) -> ColourTable | None:
    """Returns the table of colours that lies among the files, or None.

    Raises:
      InputError: there are two, or it cannot be used.
    """
    found = list(_tables(files))
    if len(found) > 1:
        raise InputError(
            f"{found[0].file} and {found[1].file} are both tables of colours: say which with "
            "--colours FILE."
        )
    return found[0] if found else None


def _tables(files: SourceFiles) -> Iterator[ColourTable]:
    for path in files.find(".txt", ".csv"):
        if path.name.casefold() in TABLES:
            yield read_table(path)
    for path in files.find(".json"):
        if path.name == META and (table := datumaro_table(files.json(path), path)):
            yield table


def _is_coloured(mask: pathlib.Path) -> bool:
    """Returns whether colours say the classes; those of a palette only show its indices."""
    try:
        if decode(mask).image.mode == "P":
            return False
        colours = read_colours(mask)
    except InputError:
        return False
    return bool((colours != colours[..., :1]).any())


def _without_table(files: SourceFiles, mask: pathlib.Path) -> str:
    values, counts = np.unique(packed(read_colours(mask)), return_counts=True)
    often = values[np.argsort(-counts)][:5]
    shown = ", ".join(f"#{value:06x}" for value in often.tolist())
    return (
        f"{files.root} has colour masks, and no table says which class each colour is "
        f"({mask} has {len(values)} colours, such as {shown}): write a text file with a line "
        'such as "car #00008e" for each class, and give --colours FILE.'
    )


COLOUR_MASKS = ColourMasks()

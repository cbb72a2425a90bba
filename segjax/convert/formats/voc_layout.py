"""PASCAL VOC's layout, which CVAT writes too: SegmentationClass, SegmentationObject, lists."""

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
from segjax.convert.colour_tables import (
    ColourTable,
    packed,
    read_colours,
    read_table,
)
from segjax.convert.documents import first_tag
from segjax.convert.formats.colour_masks import colour_map
from segjax.convert.grey_values import ValueTable, read_values
from segjax.convert.image_files import each_image
from segjax.convert.object_maps import Ids_HW, object_regions
from segjax.data.decode import open_image
from segjax.data.files import IMAGES
from segjax.data.files import MASKS as MASK_SUFFIXES
from segjax.data.lists import listed_stems
from segjax.data.names import composed
from segjax.data.palette import VOID, voc_palette
from segjax.data.voc import CLASSES
from segjax.errors import InputError, first_of

MASKS, OBJECTS, LISTS = "SegmentationClass", "SegmentationObject", "Segmentation"
SPLITS = ("train", "val", "test")

VOC_COLOURS = ColourTable(
    {**dict(zip(CLASSES, map(tuple, voc_palette().tolist()), strict=False)), IGNORED: VOID},
    CLASSES[0],
    pathlib.Path("labelmap.txt"),
)
"""The table of VOC's own classes, for masks in RGB without a table."""


@dataclass(frozen=True)
class VocLayout:
    """Palette masks have VOC's classes, and colours those of `labelmap.txt` if there is one.

    `--names` names the ids of palette masks. The border around objects (255, or its colour)
    is ignored.
    """

    name: str = "voc"
    title: str = "PASCAL VOC's layout; CVAT's segmentation masks"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns how many masks are in SegmentationClass, or that only boxes are there."""
        masks = _masks(files)
        if masks:
            return f"{len(masks)} masks in {MASKS}"
        boxes = _boxes(files)
        return f"{boxes} XML files of PASCAL VOC with boxes" if boxes else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns each image that has a mask.

        Raises:
          InputError: there are boxes only, a mask has no image, or a list or table cannot be
            used.
        """
        masks = _masks(files)
        if not masks:
            raise InputError(
                f"{files.root} has no masks in {MASKS}/, but boxes in {_boxes(files)} XML "
                "files: a box does not say which pixels are the object. Export the dataset for "
                "segmentation."
            )
        table = _table(files, options)
        values = _values(options.names or CLASSES)
        splits, listed = _splits(files)
        found, objects = _images(files), _object_masks(files)

        def image(mask: pathlib.Path) -> Annotated:
            """Returns the annotated image of a mask."""
            stem = composed(mask.stem)
            class_map = (
                ClassMap(partial(values.ids, mask), values.id_names, where=str(mask))
                if table is None and not _is_rgb(mask)
                else colour_map(mask, table or VOC_COLOURS)
            )
            drawn = objects.get((mask.parents[1], mask.name))
            return Annotated(
                image=_image(stem, found, mask),
                name=stem,
                regions=object_regions(partial(_object_ids, drawn), class_map) if drawn else (),
                class_map=class_map,
                split=splits.get(stem),
                where=str(mask),
            )

        images, problems = each_image(masks, image)
        unmasked = sorted(listed - {image.name for image in images})
        notes = ()
        if unmasked:
            notes = (f"listed images without a mask are left out: {first_of(unmasked)}",)
        if table:
            names, background, colours = table.class_names, table.background, table.colours
        else:
            background, *names = values.class_names
            palette = voc_palette().tolist()
            colours = {n: tuple(palette[i]) for i, n in values.names.items() if n != IGNORED}
        return Annotations(
            images, tuple(names), background, colours, notes=notes, problems=problems
        )


def _table(files: SourceFiles, options: Options) -> ColourTable | None:
    found = (path for path in files.find(".txt") if path.name.casefold() == "labelmap.txt")
    path = options.colours or next(found, None)
    return read_table(path) if path else None


def _masks(files: SourceFiles) -> list[pathlib.Path]:
    return [path for path in files.find(*IMAGES) if path.parent.name == MASKS]


def _boxes(files: SourceFiles) -> int:
    """Returns how many XML files are VOC's, with boxes and no outlines."""
    return sum(
        first_tag(path) == "annotation"
        and first_tag(path, "polygon", "segm", "bndbox") == "bndbox"
        for path in files.find(".xml")
    )


def _images(files: SourceFiles) -> dict[str, list[pathlib.Path]]:
    """Returns images by stem, in all folders but those of masks."""
    found: dict[str, list[pathlib.Path]] = {}
    for path in files.find(*IMAGES):
        if path.parent.name not in (MASKS, OBJECTS):
            found.setdefault(composed(path.stem), []).append(path)
    return found


def _image(stem: str, found: dict[str, list[pathlib.Path]], mask: pathlib.Path) -> pathlib.Path:
    same = found.get(stem, [])
    own = [path for path in same if path.is_relative_to(mask.parents[1])] or same
    if len(own) != 1:
        many = f"{len(own)} images" if own else "no image"
        raise InputError(
            f"The mask {mask} has {many} of its name: there should be one in "
            f"{mask.parents[1] / 'JPEGImages'}, or in --images DIR."
        )
    return own[0]


def _is_rgb(mask: pathlib.Path) -> bool:
    """Returns whether a file has colours of its own; a broken one is reported later."""
    with contextlib.suppress(Exception), open_image(mask) as image:
        return image.mode == "RGB"
    return False


def _values(names: Sequence[str]) -> ValueTable:
    return ValueTable({**dict(enumerate(names)), 255: IGNORED})


def _splits(files: SourceFiles) -> tuple[dict[str, str], set[str]]:
    """Returns ({stem: split}, all stems) of the lists in ImageSets/Segmentation."""
    splits, listed = {}, set()
    for path in files.find(".txt"):
        if path.parent.name == LISTS and path.parent.parent.name == "ImageSets":
            stems = listed_stems(path) if path.read_bytes().strip() else []
            listed |= set(stems)
            if path.stem in SPLITS:
                splits |= dict.fromkeys(stems, path.stem)
    return splits, listed


def _object_masks(files: SourceFiles) -> dict[tuple[pathlib.Path, str], pathlib.Path]:
    """Returns {(devkit's folder, file name): the mask of objects}."""
    return {
        (path.parents[1], path.name): path
        for path in files.find(*MASK_SUFFIXES)
        if path.parent.name == OBJECTS
    }


def _object_ids(path: pathlib.Path) -> Ids_HW:
    if _is_rgb(path):
        values = packed(read_colours(path))
        return np.where(values == packed(np.array(VOID)), 0, values)
    values = read_values(path).astype(np.int64)
    return np.where(values == 255, 0, values)


VOC_LAYOUT = VocLayout()

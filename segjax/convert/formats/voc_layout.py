"""PASCAL VOC's layout, which CVAT writes too: SegmentationClass, SegmentationObject, lists."""

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
    Region,
    SourceFiles,
)
from segjax.convert.colour_tables import (
    ColourTable,
    packed,
    read_colours,
    read_table,
    table_of,
)
from segjax.convert.documents import first_tag
from segjax.convert.formats.colour_masks import colour_map
from segjax.convert.grey_values import ValueTable
from segjax.convert.image_files import each_image
from segjax.convert.object_maps import Ids_HW, object_regions
from segjax.data.decode import decode
from segjax.data.files import IMAGES
from segjax.data.lists import listed_stems
from segjax.data.names import composed
from segjax.data.palette import VOID, voc_palette
from segjax.data.voc import CLASSES
from segjax.errors import InputError, first_of

MASKS, OBJECTS, LISTS = "SegmentationClass", "SegmentationObject", "Segmentation"
SPLITS = ("train", "val", "test")


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
                f"{files.root} has no masks in {MASKS}/, but {_boxes(files)} XML files with "
                "boxes: a box does not say which pixels are the object. Export the dataset for "
                "segmentation."
            )
        labelmap = next(
            (p for p in files.find(".txt") if p.name.casefold() == "labelmap.txt"), None
        )
        source = options.colours or labelmap
        table = read_table(source) if source else _voc_colours(masks[0])
        values = _values(options.names or CLASSES)
        splits, listed = _splits(files)
        found = _images(files)

        def image(mask: pathlib.Path) -> Annotated:
            stem = composed(mask.stem)
            class_map = (
                ClassMap(partial(values.ids, mask), values.id_names, where=str(mask))
                if source is None and decode(mask).image.mode != "RGB"
                else colour_map(mask, table)
            )
            return Annotated(
                image=_image(stem, found, mask),
                name=stem,
                regions=_objects(mask, class_map),
                class_map=class_map,
                split=splits.get(stem),
                where=str(mask),
            )

        images, problems = each_image(masks, image)
        unmasked = sorted(listed - {image.name for image in images})
        notes = ()
        if unmasked:
            notes = (f"listed images without a mask are left out: {first_of(unmasked)}",)
        if source:
            names, background, colours = table.class_names, table.background, table.colours
        else:
            names, background = values.class_names[1:], values.class_names[0]
            palette = voc_palette().tolist()
            colours = {n: tuple(palette[i]) for i, n in values.names.items() if n != IGNORED}
        return Annotations(images, names, background, colours, notes=notes, problems=problems)


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


def _voc_colours(mask: pathlib.Path) -> ColourTable:
    """Returns the table of VOC's own classes."""
    palette = voc_palette().tolist()
    entries = [(name, tuple(palette[place])) for place, name in enumerate(CLASSES)]
    return table_of([*entries, (IGNORED, VOID)], mask.parents[1] / "labelmap.txt")


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


def _objects(mask: pathlib.Path, class_map: ClassMap) -> Sequence[Region]:
    path = mask.parents[1] / OBJECTS / mask.name
    return object_regions(partial(_object_ids, path), class_map) if path.is_file() else ()


def _object_ids(path: pathlib.Path) -> Ids_HW:
    image = decode(path).image
    if image.mode != "RGB":
        objects = np.asarray(image).astype(np.int64)
        return np.where(objects == 255, 0, objects)
    values = packed(read_colours(path))
    return np.where(values == packed(np.array(VOID)), 0, values)


VOC_LAYOUT = VocLayout()

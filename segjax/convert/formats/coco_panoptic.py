"""COCO's panoptic segmentation: a PNG an image, and a JSON file with the class of each segment.

The colours of a PNG are the ids of segments.
"""

import functools
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from segjax.convert.annotated import (
    IGNORED,
    Annotated,
    Annotations,
    Mask_HW,
    Options,
    Region,
    Size,
    SourceFiles,
)
from segjax.convert.coco_annotations import (
    Gathered,
    annotated,
    opened,
    sign_of,
)
from segjax.convert.image_files import each_image
from segjax.data.coco_file import CocoFile, CocoImage, segments
from segjax.data.panoptic_png import check_segments, segment_ids
from segjax.drawing.annotations import PREDICTED
from segjax.errors import InputError


@dataclass(frozen=True)
class CocoPanoptic:
    """The reader of panoptic segmentation.

    Pixels of no segment (black) become 255. A segment of a thing is an object, one of stuff is
    not. Images that the JSON lists without an annotation are left out.
    """

    name: str = "coco-panoptic"
    title: str = "COCO panoptic: PNGs of segments, and JSON"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns which JSON file gives the format away, or None."""
        return sign_of(files, "panoptic", "COCO panoptic segments")

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns images and their segments.

        Raises:
          InputError: a file has not COCO's form.
        """
        gathered = Gathered()

        def entries() -> Iterator[tuple[CocoFile, CocoImage]]:
            for coco in opened(files, "panoptic"):
                gathered.add_categories(coco)
                yield from ((coco, image) for image in coco.images if image.annotations)

        def read(entry: tuple[CocoFile, CocoImage]) -> Annotated:
            return annotated(files, *entry, _regions(files, *entry, options))

        gathered.add_images(*each_image(entries(), read))
        return gathered.annotations(IGNORED)


COCO_PANOPTIC = CocoPanoptic()


def _regions(
    files: SourceFiles, coco: CocoFile, image: CocoImage, options: Options
) -> list[Region]:
    annotation, *others = image.annotations
    if others:
        raise InputError(
            f"{coco.path} has {1 + len(others)} annotations of the image {image.id}, where a "
            "panoptic file has one: keep one of them."
        )
    png = _png(files, coco, annotation)
    found = segments(coco.path, annotation)
    listed = frozenset(segment["id"] for segment in found)
    ids = functools.partial(_ids, png, listed)
    regions = []
    for segment in found:
        category = coco.categories[segment["category_id"]]
        is_crowd = bool(segment.get("iscrowd"))
        hidden = is_crowd and options.crowds == "ignore"
        region = Region(
            class_name=IGNORED if hidden else category.name,
            mask=functools.partial(_mask, ids, segment["id"]),
            instance=segment["id"] if category.is_thing and not is_crowd else None,
            is_crowd=is_crowd,
            where=f"segment {segment['id']}",
        )
        regions.append(region)
    return regions


def _png(files: SourceFiles, coco: CocoFile, annotation: Mapping[str, Any]) -> pathlib.Path:
    """Returns the PNG, which lies in the folder that is called as the JSON file.

    Those of `predict` lie beside the JSON file.
    """
    beside, name = coco.path, annotation.get("file_name")
    if not isinstance(name, str) or not name:
        raise InputError(
            f"{beside} has an annotation of the image {annotation['image_id']} without a "
            "`file_name`: add the name of its PNG."
        )
    if not name.lower().endswith(".png"):
        raise InputError(
            f"{beside} names {name!r} as the segments of the image {annotation['image_id']}: "
            "segments are in a PNG; name that."
        )
    folder = "" if coco.description == PREDICTED else f"{beside.stem}/"
    return files.inside(f"{folder}{name}", beside=beside)


def _mask(ids: Any, segment: int, size: Size) -> Mask_HW:
    del size  # The mask has the PNG's; another one than the image's is reported there.
    return ids() == segment


@functools.lru_cache(maxsize=8)
def _ids(png: pathlib.Path, listed: frozenset[int]) -> Int[np.ndarray, "h w"]:
    """Returns a PNG's ids: the segments of one image are painted one after the other."""
    ids = segment_ids(png, name=png)
    check_segments(ids, listed, name=png)
    return ids

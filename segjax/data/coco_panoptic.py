"""COCO's panoptic task: labels, and objects, of PNGs whose colours are ids of segments."""

import collections
import io
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.data.coco_classes import PANOPTIC, THINGS
from segjax.data.coco_file import CocoImage, annotation_name, segments
from segjax.data.coco_index import CocoIndex, Row
from segjax.data.coco_sources import listed_files, name_row, sources_of, stem_of
from segjax.data.drawn_objects import DrawnObject, MadeObjects, MakeObjects, objects_of_map
from segjax.data.made_masks import MadeMask, Make, Size
from segjax.data.panoptic_png import check_segments, segment_ids
from segjax.data.source import Source
from segjax.errors import InputError


def panoptic_sources(
    index: CocoIndex, images: pathlib.Path, *, objects: bool
) -> Sequence[Source]:
    """Returns the sources of images whose segments a PNG shows, with objects on demand.

    Raises:
      InputError: an image, or the PNG of one, is missing or not named.
    """

    def row(image: CocoImage) -> Row | None:
        """Returns the image's row with the name of its PNG."""
        if not image.annotations:
            return None
        annotation = image.annotations[0]
        if not isinstance(name := annotation.get("file_name"), str):
            raise InputError(
                f"{annotation_name(index.path, annotation)} has file_name={name!r}: write the "
                "name of its PNG."
            )
        return [*name_row(image), name]

    rows = index.rows("panoptic", row)
    pngs = [png for _, _, png in rows]
    there = listed_files(index, index.path.with_suffix(""), (".png",), pngs)
    places = [there[stem_of(png)] for png in pngs]
    masks, made = [], []
    for (number, *_), png in zip(rows, places, strict=True):
        about = {
            "key": f"panoptic {index.digest} {number}",
            "where": str(png),
            "files": (png,),
        }
        masks.append(MadeMask(make=_panoptic_label(index, number, png), **about))
        if objects:
            made.append(MadeObjects(make=_panoptic_objects(index, number, png), **about))
    return sources_of(index, images, [file for _, file, _ in rows], masks, objects=made)


def _panoptic_label(index: CocoIndex, number: str, png: pathlib.Path) -> Make:
    classes = {category: place for place, category in enumerate(PANOPTIC)}

    def make(contents: Sequence[bytes], size: Size) -> UInt8[np.ndarray, "h w"]:
        """Returns the class of each pixel."""
        del size  # The PNG's size is compared with the image's.
        ids = segment_ids(io.BytesIO(contents[0]), name=png)
        listed = segments(index.path, index.image(number).annotations[0])
        check_segments(ids, [segment["id"] for segment in listed], name=png)
        label = np.full(ids.shape, IGNORE, np.uint8)
        for segment in listed:
            label[ids == segment["id"]] = classes[segment["category_id"]]
        return label

    return make


def _panoptic_objects(index: CocoIndex, number: str, png: pathlib.Path) -> MakeObjects:
    classes = {category: place for place, category in enumerate(PANOPTIC)}

    def make(contents: Sequence[bytes], label: np.ndarray) -> Sequence[DrawnObject]:
        """Returns the things of the PNG."""
        del label
        listed = segments(index.path, index.image(number).annotations[0])
        counts = collections.Counter(segment["id"] for segment in listed)
        things = [segment for segment in listed if segment["category_id"] in THINGS]
        return objects_of_map(
            segment_ids(io.BytesIO(contents[0]), name=png),
            {segment["id"]: classes[segment["category_id"]] for segment in things},
            crowds=frozenset(segment["id"] for segment in things if segment.get("iscrowd")),
            faults={
                i: "is listed twice in `segments_info`" for i, n in counts.items() if n > 1
            },
            where=str(png),
        )

    return make

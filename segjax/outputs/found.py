"""`<stem>_objects.json`: what was found in an image, read back for lists of all images.

    {"width": 640, "height": 480, "objects": [
      {"id": 1, "category_id": 3, "class": "car", "is_thing": true, "score": 0.98,
       "bbox": [10.0, 20.0, 200.5, 80.0], "area": 14025,
       "segmentation": {"size": [480, 640], "counts": "…"}}, …]}

`id` is the object's number in the PNG beside it. `category_id` is its class id plus 1, as in
COCO's lists. `bbox` is x, y, width and height in pixels. `segmentation` is the mask as COCO's
run lengths; boxes alone have none.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from pycocotools import mask as coco_mask

from segjax.atomic import write_text
from segjax.errors import InputError
from segjax.objects import Objects, PanopticMap, Rle, encoded
from segjax.outputs.kinds import Prediction
from segjax.outputs.selection import ranked

SUFFIX = "_objects.json"


@dataclasses.dataclass(frozen=True)
class FoundObjects:
    """All objects of an image, by falling score, as JSON."""

    suffix: ClassVar[str] = SUFFIX
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        names = prediction.class_names
        _write(path, prediction, list(found_objects(prediction.objects, names)))


@dataclasses.dataclass(frozen=True)
class FoundSegments:
    """All segments of a panoptic map as JSON."""

    suffix: ClassVar[str] = SUFFIX
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction: Prediction, path: pathlib.Path) -> None:
        """Writes the file, whole or not at all."""
        names = prediction.class_names
        _write(path, prediction, list(found_segments(prediction.segments, names)))


def found_objects(objects: Objects, class_names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yields an entry for each object, numbered by falling score."""
    best = ranked(objects)
    for i, (index, score) in enumerate(
        zip(best.classes.tolist(), best.scores.tolist(), strict=True)
    ):
        left, top, right, bottom = best.boxes[i].tolist()
        box = [left, top, right - left, bottom - top]
        rle = None if best.masks is None else best.masks[i]
        yield _entry(i + 1, index, class_names, True, score, box, rle)


def found_segments(
    segments: PanopticMap, class_names: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Yields an entry for each segment."""
    for each in segments.segments:
        rle = encoded(segments.ids == each.id)
        box = coco_mask.toBbox(rle).tolist()  # pyright: ignore (its stub wants bytes)
        yield _entry(each.id, each.class_id, class_names, each.is_thing, each.score, box, rle)


def _entry(
    number: int,
    index: int,
    class_names: tuple[str, ...],
    is_thing: bool,
    score: float,
    box: list[float],
    rle: Rle | None,
) -> dict[str, Any]:
    entry = {
        "id": number,
        "category_id": index + 1,
        "class": class_names[index],
        "is_thing": is_thing,
        "score": float(np.float32(score)),
        "bbox": [round(value, 3) for value in box],
    }
    if rle is None:
        return {**entry, "area": round(box[2] * box[3], 3)}
    counts = rle["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    area = int(coco_mask.area(rle))  # pyright: ignore (its stub wants bytes)
    shape = {"size": list(rle["size"]), "counts": text}
    return {**entry, "area": area, "segmentation": shape}


def _write(path: pathlib.Path, prediction: Prediction, objects: list[dict[str, Any]]) -> None:
    height, width = prediction.image.shape[:2]
    contents = {"width": width, "height": height, "objects": objects}
    write_text(path, json.dumps(contents) + "\n")


def read_found(path: pathlib.Path) -> Mapping[str, Any]:
    """Returns the contents of a file of this form.

    Raises:
      InputError: it cannot be read, or somebody changed it.
    """
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        contents = None
    if not (isinstance(contents, dict) and {"width", "height", "objects"} <= contents.keys()):
        raise InputError(
            f"{path} is not as this command wrote it: remove it, and run the command again."
        )
    return contents

"""Objects and panoptic maps as NumPy arrays, and back: for files, and for other processes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segjax.objects import Objects, PanopticMap, Segment

Arrays = Mapping[str, np.ndarray]


def pack_objects(images: Sequence[Objects]) -> dict[str, np.ndarray]:
    """Returns the objects of images as arrays.

    Returns:
      `sizes` i 2, `counts` i and `with_masks` i of images; `boxes` n 4, `classes`, `scores` and
      `crowd` of all objects; `lengths` of their run lengths, where they have masks, and `runs`,
      which are these bytes one after the other.
    """
    runs = [each["counts"] for image in images for each in image.masks or ()]
    joined = lambda name, width: np.concatenate(
        [np.zeros((0, *width), np.float32 if width or name == "scores" else np.int32)]
        + [getattr(image, name) for image in images]
    )
    return {
        "sizes": np.array([image.size for image in images], np.int64).reshape(-1, 2),
        "counts": np.array([len(image) for image in images], np.int64),
        "with_masks": np.array([image.masks is not None for image in images], bool),
        "boxes": joined("boxes", (4,)),
        "classes": joined("classes", ()),
        "scores": joined("scores", ()),
        "crowd": joined("crowd", ()).astype(bool),
        "lengths": np.array([len(each) for each in runs], np.int64),
        "runs": np.frombuffer(b"".join(runs), np.uint8),
    }


def unpack_objects(arrays: Arrays) -> list[Objects]:
    """Returns the objects of images from the arrays of `pack_objects`."""
    ends = np.cumsum(arrays["lengths"])
    data = arrays["runs"].tobytes()
    found, first, first_run = [], 0, 0
    for size, count, with_masks in zip(
        arrays["sizes"].tolist(),
        arrays["counts"].tolist(),
        arrays["with_masks"].tolist(),
        strict=True,
    ):
        place = slice(first, first + count)
        masks = None
        if with_masks:
            spans = [
                (int(ends[i] - arrays["lengths"][i]), int(ends[i]))
                for i in range(first_run, first_run + count)
            ]
            masks = tuple({"size": size, "counts": data[low:high]} for low, high in spans)
            first_run += count
        columns = {
            name: arrays[name][place] for name in ("boxes", "classes", "scores", "crowd")
        }
        found.append(Objects(size=(size[0], size[1]), masks=masks, **columns))
        first += count
    return found


def pack_map(panoptic: PanopticMap) -> dict[str, np.ndarray]:
    """Returns a panoptic map as arrays.

    Returns:
      `ids` h w; `segments` n 4 of id, class, whether it is a thing, and a crowd; `scores` n.
    """
    rows = [(s.id, s.class_id, s.is_thing, s.is_crowd) for s in panoptic.segments]
    return {
        "ids": np.asarray(panoptic.ids),
        "segments": np.array(rows, np.int64).reshape(-1, 4),
        "scores": np.array([each.score for each in panoptic.segments], np.float64),
    }


def unpack_map(arrays: Arrays) -> PanopticMap:
    """Returns a panoptic map from the arrays of `pack_map`."""
    rows = zip(arrays["segments"].tolist(), arrays["scores"].tolist(), strict=True)
    segments = tuple(
        Segment(number, class_id, bool(thing), bool(crowd), score)
        for (number, class_id, thing, crowd), score in rows
    )
    return PanopticMap(arrays["ids"], segments)


def to_bytes(arrays: Arrays) -> bytes:
    """Returns arrays as the bytes of an .npz file."""
    buffer = io.BytesIO()
    named: Any = dict(arrays)
    np.savez(buffer, **named)
    return buffer.getvalue()


def from_bytes(data: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file's bytes."""
    with np.load(io.BytesIO(data)) as saved:
        return {name: saved[name] for name in saved.files}

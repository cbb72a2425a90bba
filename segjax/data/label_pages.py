"""Mask files → labels: class ids of one file, or the planes of one file a class or of one.

A plane holds 1 where a pixel belongs to its class, 0 where it does not, and 255 where it is
ignored, so that a pixel may belong to several classes, or to none.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from segjax.contracts import IGNORE
from segjax.data.faults import Fault, report
from segjax.data.label_map import classes_of, outside, remedy
from segjax.data.mask_files import LabelKind, Stored, stored_masks
from segjax.data.whites import Found
from segjax.errors import InputError


class Label(NamedTuple):
    """One image's label, h w or, of planes, h w k; its mask is one of `count` in its file."""

    classes: UInt8[np.ndarray, "..."]
    count: int
    masks: list[Found]


def label_pages(
    files: Sequence[pathlib.Path], data: Mapping[pathlib.Path, bytes], kind: LabelKind
) -> Iterator[Label]:
    """Returns the label of each image of a source, in order.

    Args:
      files: the mask; or, of planes, one file a class.
      data: the contents of each.
      kind: of label.

    Raises:
      InputError: a file cannot be read, or holds values that are not classes; or planes differ
        in size or number.
    """
    several = kind.planes and len(files) != kind.num_classes
    read = lambda path: stored_masks(path, data[path], kind, several=several)
    if not kind.planes:
        (path,) = files
        for mask in read(path):
            classes, found = _class_ids(mask.planes[0], mask, path, kind)
            yield Label(classes, mask.count, [found])
    elif not several:
        for same in zip_longest(*map(read, files)):
            _check_counts(files, same)
            planes = [
                _class_ids(mask.planes[0], mask, path, kind)
                for mask, path in zip(same, files, strict=True)
            ]
            yield _joined(planes, files, count=same[0].count)
    else:
        yield from _of_one_file(files[0], read(files[0]), kind)


def _of_one_file(
    path: pathlib.Path, found: Iterator[Stored], kind: LabelKind
) -> Iterator[Label]:
    """Yields one label a page of k channels, or one label of k pages."""
    k, gathered = kind.num_classes, []
    for mask in found:
        planes = [_class_ids(plane, mask, path, kind) for plane in mask.planes]
        if len(planes) == k:
            yield _joined(planes, [path] * k, count=mask.count)
            continue
        if len(planes) != 1 or mask.count != k:
            raise InputError(
                f"{path} holds {mask.count} image(s) of {len(planes)} channel(s), but there "
                f"are {k} classes: save one channel a class, or a TIFF of one page a class, or "
                'name one mask file a class, as in masks=("cup", "disc").'
            )
        gathered += planes
    if gathered:
        yield _joined(gathered, [path] * k, count=1)


def _check_counts(files: Sequence[pathlib.Path], same: Sequence[Stored | None]) -> None:
    """Raises InputError where the masks of one image do not all have this page."""
    for path, mask in zip(files, same, strict=True):
        there = next(other for other in same if other is not None)
        if mask is None or mask.count != there.count:
            other = files[next(i for i, p in enumerate(same) if p is there)]
            raise InputError(
                f"{path} and {other}, masks of one image, hold different numbers of images: "
                "save as many in each."
            )


def _joined(
    planes: Sequence[tuple[np.ndarray, Found]], files: Sequence[pathlib.Path], *, count: int
) -> Label:
    arrays, masks = zip(*planes, strict=True)
    for array, path in zip(arrays, files, strict=True):
        if array.shape != arrays[0].shape:
            (h, w), (height, width) = array.shape, arrays[0].shape
            raise InputError(
                f"{path} is {w}x{h} pixels and {files[0]} {width}x{height}, but they are "
                "planes of one label: mend them, or leave the image out."
            )
    return Label(np.stack(arrays, axis=-1), count, list(masks))


def _class_ids(
    samples: Int[np.ndarray, "h w"], mask: Stored, path: pathlib.Path, kind: LabelKind
) -> tuple[UInt8[np.ndarray, "h w"], Found]:
    """Returns class ids (of a plane 0 and 1) and 255, and what the file held."""
    num_classes = 2 if kind.planes else kind.num_classes
    present = _distinct(samples)
    ids = present.tolist()
    if kind.mask_colours:
        return samples.astype(np.uint8), Found.of(path, ids, ids, largest=mask.largest)
    if strange := outside(ids, kind.label_map, num_classes):
        listed = ", ".join(map(str, strange[:8])) + (", ..." if len(strange) > 8 else "")
        known = (
            f"the label id{'s' * (len(strange) > 1)} {listed}, but the {num_classes} "
            f"classes have ids 0 to {num_classes - 1} (and {IGNORE} = ignored)"
        )
        if kind.planes:
            known = (
                f"the values {listed}, but a class's plane holds 0 and 1 (and {IGNORE} = "
                "ignored)"
            )
        text = f"{path} has {known}: " + remedy(ids, num_classes, strange=strange)
        count = lambda i: int(np.count_nonzero(samples == i))
        report(
            [lambda: Fault("unknown_ids", text, path, pixels={i: count(i) for i in strange})]
        )
    made = zip(ids, classes_of(ids, kind.label_map), strict=True)
    classes = np.array([IGNORE if i in strange else c for i, c in made], np.uint8)
    found = Found.of(path, ids, classes.tolist(), largest=mask.largest, levels=mask.levels)
    if ids[0] >= 0 and ids[-1] <= 65535:  # A table takes less memory than places in `present`.
        table = np.zeros(ids[-1] + 1, np.uint8)
        table[present] = classes
        return table[samples], found
    return classes[np.searchsorted(present, samples)], found


def _distinct(samples: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "n"]:
    """Returns the samples that occur, in rising order; of 8 bits faster than by sorting."""
    if samples.dtype != np.uint8:
        return np.unique(samples)
    return np.flatnonzero(np.bincount(samples.ravel(), minlength=256))


def stacked(label: UInt8[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Returns the planes of a label, one below the other, as one picture of one channel."""
    return label if label.ndim == 2 else np.concatenate(list(np.moveaxis(label, -1, 0)))


def unstacked(
    picture: UInt8[np.ndarray, "..."], planes: int | None
) -> UInt8[np.ndarray, "..."]:
    """Returns the label that `stacked` made a picture of; None: it had no planes."""
    if planes is None:
        return picture
    height, width = picture.shape
    stack = picture.reshape(planes, height // planes, width)
    return np.ascontiguousarray(np.moveaxis(stack, 0, -1))

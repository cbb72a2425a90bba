"""The contact sheet of a prepared dataset, beside its files in the cache."""

import errno
import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from segjax.conformity import declares, has_planes
from segjax.contracts import IGNORE, LabelledDataset
from segjax.data.by_aspect import ungrouped
from segjax.data.prepare import FileDataset
from segjax.drawing.overlay import save_png
from segjax.report.contact_sheet import Tile, class_tile, contact_sheet, planes_tile

VERSION = 2
"""Raise it when anything is drawn differently."""

MOST = 24
"""Examples on a sheet."""


def write_data_sheet(data: Any) -> pathlib.Path | None:
    """Writes the sheet of a dataset unless it is there, and returns its path.

    It shows up to `MOST` examples, chosen evenly. Datasets that are not prepared from files, or
    whose labels are not classes, have none.

    Raises:
      OSError: the cache cannot be written; of one that is read-only, nothing is drawn before.
    """
    data = ungrouped(data)
    if not isinstance(data, FileDataset):
        return None
    folder = data.prepared_folder
    if not declares(data, LabelledDataset):
        return None
    about = [VERSION, list(data.class_names), data.palette.tolist(), has_planes(data)]
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:8]
    path = folder / f"images_and_masks-{key}.png"
    if not path.is_file():
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "the cache is read-only", str(folder))
        save_png(_drawn(data), path)
    return path


def _drawn(data: Any) -> Image.Image:
    count = len(data)
    indices = np.unique(np.linspace(0, count - 1, min(MOST, count)).round().astype(int))
    planes, present, tiles = has_planes(data), set(), []
    for index in indices.tolist():
        example = data[index]
        present |= _present(example["label"])
        tiles.append(_tile(example, data.palette, planes=planes))
    # Of planes no mask holds an id.
    named = (lambda i, name: name) if planes else (lambda i, name: f"{i} {name}")
    names = [(named(i, name), i) for i, name in enumerate(data.class_names)]
    names.append((f"{IGNORE} ignored", IGNORE))
    return contact_sheet(tiles, [(name, data.palette[i]) for name, i in names if i in present])


def _tile(example: Any, palette: np.ndarray, *, planes: bool) -> Tile:
    draw = planes_tile if planes else class_tile
    return draw(example["name"], example["image"], example["label"], palette)


def _present(label: np.ndarray) -> set[int]:
    """Returns the classes in a label, and 255 where pixels are ignored."""
    if label.ndim == 2:
        return set(np.unique(label).tolist())
    inside = np.flatnonzero((label == 1).any((0, 1))).tolist()
    return {*inside, *([IGNORE] if (label == IGNORE).any() else [])}

"""Small folders in Labelme's form, and the dataset that `convert` makes of them."""

import json
import pathlib

import numpy as np
from PIL import Image

from segjax.convert.conversion import convert
from segjax.convert.request import Request

SQUARE = [[2, 2], [9, 2], [9, 7], [2, 7]]
"""In an image of 16 x 12: pixels of columns 2 to 9 and rows 2 to 7."""


def shape(label="car", points=SQUARE, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **more}


def save_image(path: pathlib.Path, width=16, height=12, **options) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_labelme(root: pathlib.Path, stem="a", shapes=(), *, image=".jpg", **fields):
    """Writes `stem.json` and its image; returns the JSON file."""
    path = root / f"{stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": path.stem + (image or ".jpg"),
        "imageData": None,
        "imageHeight": 12,
        "imageWidth": 16,
    }
    if image:
        save_image(root / f"{stem}{image}")
    path.write_text(json.dumps({**contents, **fields}), encoding="utf-8")
    return path


def converted(source: pathlib.Path, **options):
    """The summary and the folder of a conversion."""
    out = options.pop("out", source.parent / "out")
    sources = options.pop("sources", (source,))
    return convert(Request(sources, out, **options)), out


def mask(out: pathlib.Path, name="a") -> np.ndarray:
    with Image.open(out / "masks" / f"{name}.png") as image:
        return np.asarray(image)


def contents(folder: pathlib.Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

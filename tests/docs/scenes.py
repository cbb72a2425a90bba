"""What a page's reader has in the folder: photographs, masks, a trained run, weights.

Everything is drawn or random. `runpy.run_path` reads this file.
"""

import json
import os
import pathlib
import runpy
import subprocess
import sys

import numpy as np
from PIL import Image, ImageDraw

TESTS = pathlib.Path(__file__).parents[1]
QUICK = (
    "steps=2",
    "optimizer.schedule.warmup_steps=1",
    "model.features=4",
    "checkpoint_every=2",
    "eval_data.count=4",
)
SIZES = ((96, 72), (72, 96), (112, 80))
"""Width and height, in turns: photographs seldom have one size."""


def my_data(folder: pathlib.Path) -> None:
    """Writes `my_data/images/*.jpg` and `my_data/masks/*.png`: ground, road, car as 0, 1, 2."""
    for i in range(20):
        photograph, mask = drawn(i)
        _save(photograph, folder / "my_data" / "images" / f"{i:03}.jpg")
        _save(mask, folder / "my_data" / "masks" / f"{i:03}.png")


def my_binary_data(folder: pathlib.Path) -> None:
    """Writes `my_data` with masks of 0 and 255: a car or none."""
    for i in range(20):
        photograph, mask = drawn(i)
        _save(photograph, folder / "my_data" / "images" / f"{i:03}.jpg")
        white = mask.point(lambda label: 255 if label == 2 else 0)
        _save(white, folder / "my_data" / "masks" / f"{i:03}.png")


def split_data(folder: pathlib.Path) -> None:
    """Writes `my_split_data/{images,masks}/{train,val}`, the classes of `my_data`."""
    for i in range(12):
        photograph, mask = drawn(i)
        split = "val" if i % 4 == 3 else "train"
        _save(photograph, folder / "my_split_data" / "images" / split / f"{i:03}.jpg")
        _save(mask, folder / "my_split_data" / "masks" / split / f"{i:03}.png")


def annotations(folder: pathlib.Path) -> None:
    """Writes `annotations/*.jpg` with Labelme's files: a road, and a car on it."""
    for i in range(12):
        photograph, mask = drawn(i)
        width, height = photograph.size
        _save(photograph, folder / "annotations" / f"{i:03}.jpg")
        shapes = [
            _rectangle(name, np.argwhere(np.asarray(mask) >= label))
            for label, name in ((1, "road"), (2, "car"))
        ]
        contents = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imageData": None}
        contents |= {"imagePath": f"{i:03}.jpg", "imageHeight": height, "imageWidth": width}
        text = json.dumps(contents)
        (folder / "annotations" / f"{i:03}.json").write_text(text, encoding="utf-8")


def photos(folder: pathlib.Path) -> None:
    """Writes `photo.jpg`, `photos/*.jpg`, one of them in a folder, and `beach.jpg`."""
    for i in range(3):
        _save(drawn(i)[0], folder / "photos" / f"street{i}.jpg")
    _save(drawn(3)[0], folder / "photos" / "holiday" / "beach.jpg")
    _save(drawn(4)[0], folder / "photo.jpg")
    _save(drawn(5)[0], folder / "beach.jpg")


def run(folder: pathlib.Path) -> None:
    """Trains `runs/quickstart` for a few steps: classes and files are those of a full run."""
    experiment = TESTS.parent / "experiments" / "quickstart.py"
    settings = [word for setting in QUICK for word in ("--set", setting)]
    workdir = ["--workdir", str(folder / "runs" / "quickstart")]
    command = [sys.executable, "-m", "segjax.launch", str(experiment), *workdir, *settings]
    variables = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr


def weights(folder: pathlib.Path) -> None:
    """Writes a random `deeplabv3_resnet50_coco-cd0a2569.pth` with torchvision's names."""
    dicts = runpy.run_path(str(TESTS / "weights" / "state_dicts.py"))
    rng = np.random.default_rng(0)
    arrays = {n: _random(rng, n, s) for n, s in dicts["names"]("deeplabv3_resnet50").items()}
    dicts["write"](folder / "deeplabv3_resnet50_coco-cd0a2569.pth", arrays)


SCENES = {
    made.__name__: made
    for made in (my_data, my_binary_data, split_data, annotations, photos, run, weights)
}


def drawn(seed: int) -> tuple[Image.Image, Image.Image]:
    """Returns a picture of a road with a car on it, and its mask."""
    rng = np.random.default_rng(seed)
    width, height = SIZES[seed % len(SIZES)]
    mask = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(mask)
    left, x = rng.integers(5, width // 3), rng.integers(width // 3, width // 2)
    draw.rectangle((left, height // 3, width - 8, height), fill=1)
    draw.rectangle((x, height // 2, x + 20, height // 2 + 12), fill=2)
    colours = np.array([[90, 150, 80], [120, 120, 125], [190, 40, 40]])[np.asarray(mask)]
    noisy = np.clip(colours + rng.normal(0, 12, colours.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(noisy), mask


def _rectangle(name: str, places: np.ndarray) -> dict:
    """Returns Labelme's rectangle around pixels, given as (row, column)."""
    points = [places.min(0)[::-1].tolist(), places.max(0)[::-1].tolist()]
    return {"label": name, "points": points, "shape_type": "rectangle", "group_id": None}


def _save(image: Image.Image, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _random(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.array(0)
    if len(shape) == 4:
        scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        return scale * rng.standard_normal(shape, dtype=np.float32)
    is_one = name.endswith(("weight", "running_var"))
    return np.full(shape, float(is_one), np.float32)

"""Draws the pictures of the tutorials: figures of `segjax.explain`, and masks of drawn images.

    python docs/pictures/make_pictures.py runs/quickstart

Without a run it draws those that need none.
"""

import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

from segjax.data.folder import Folder
from segjax.data.synthetic import Synthetic
from segjax.drawing.overlay import side_by_side
from segjax.report.data_sheet import write_data_sheet
from segjax.segmenter import Segmenter
from segjax.train.workdir import open_run

HERE = pathlib.Path(__file__).parent
SCENES = HERE.parents[1] / "tests" / "docs" / "scenes.py"
QUICKSTART = HERE.parents[1] / "experiments" / "quickstart.py"
TRANSFORMS = (
    "affine.RandomAffine(probability=1.0)",
    "rotate.RandomRotate(30.0, 1.0, border=reflect)",
    "clahe.RandomCLAHE(probability=1.0)",
    "cutout.Cutout(24, 2, True, 1.0)",
    "mix.CopyPaste((1, 2, 3, 4, 5), 1.0, 1.0)",
    "mix.Mosaic(probability=1.0)",
)
FIGURES = {
    "transforms.png": [
        *(
            "transforms",
            str(QUICKSTART),
            "--index",
            "3",
            "--set",
            "train_data.size=128",
            "--set",
        ),
        f"transforms={', '.join(f'segjax.transforms.{text}' for text in TRANSFORMS)}",
    ],
    "rates.png": ["rates", "1", "2", "5", "--versus", "2 2 2"],
    "transposed.png": [
        *("conv", "--transposed", "--input", "2 3; 1 3"),
        *("--kernel-values", "0 1 1; 0 1 0; 1 0 1"),
    ],
    "upsampling.png": ["upsampling"],
}
INDEX, KEEP = 900, "square"
"""The drawn image whose mask is shown, and what the cut-out keeps of it."""

ENLARGE, GAP = 3, 8


def main(*runs: str) -> None:
    for name, words in FIGURES.items():
        _segjax("explain", *words, "--out", str(HERE / name))
    _shrink(HERE / "transforms.png")
    _contact_sheet().save(HERE / "contact_sheet.png", optimize=True)
    for run in runs:
        _predicted(run).save(HERE / "predicted.png", optimize=True)
        _compared(run).save(HERE / "quickstart.png", optimize=True)


def _shrink(path: pathlib.Path) -> None:
    """Makes a picture of photographs two thirds as wide, with 256 colours."""
    picture = Image.open(path).convert("RGB")
    smaller = picture.resize((picture.width * 2 // 3, picture.height * 2 // 3))
    smaller.quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def _contact_sheet() -> Image.Image:
    """Returns the sheet of the drawn photographs with which the pages are tested."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SEGJAX_CACHE"] = folder
        runpy.run_path(str(SCENES))["SCENES"]["my_data"](pathlib.Path(folder))
        names = ("background", "road", "car")
        data = Folder("train", directory=f"{folder}/my_data", class_names=names, held_out=0.2)
        data.prepare()
        sheet = write_data_sheet(data)
        assert sheet is not None
        return Image.open(sheet).convert("RGB").quantize(64)


def _compared(run: str) -> Image.Image:
    """Returns image, truth, prediction and wrong pixels of two held-out images, enlarged."""
    data, segmenter = open_run(pathlib.Path(run)).eval_data, Segmenter.from_run(run)
    rows = []
    for index in (1, 5):
        image, label = data[index]["image"], data[index]["label"]
        planes = (image, label, segmenter(image))
        enlarged = (plane.repeat(ENLARGE, axis=0).repeat(ENLARGE, axis=1) for plane in planes)
        rows.append(side_by_side(*enlarged, data.palette, gap=GAP))
    gap = np.full((GAP, *rows[0].shape[1:]), 255, np.uint8)
    return Image.fromarray(np.concatenate([rows[0], gap, rows[1]]))


def _segjax(command: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", f"segjax.{command}", *words], check=True)


def _predicted(run: str) -> Image.Image:
    """Returns an image, its mask, its overlay and its cut-out side by side, enlarged."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder, "image.png"), pathlib.Path(folder, "out")
        drawn = Synthetic(split="val", size=64, count=INDEX + 1)
        Image.fromarray(drawn[INDEX]["image"]).save(source)
        options = ("--overlay", "--cut-out", "--keep", KEEP)
        _segjax("predict", run, str(source), "--out", str(out), *options)
        files = [source, *(out / f"image{end}.png" for end in ("", "_overlay", "_cutout"))]
        pictures = [_opaque(Image.open(file)) for file in files]
    side = 64 * ENLARGE
    strip = Image.new("RGB", (len(pictures) * (side + GAP) - GAP, side), "white")
    for i, picture in enumerate(pictures):
        small = picture.resize((side, side), Image.Resampling.NEAREST)
        strip.paste(small, (i * (side + GAP), 0))
    return strip


def _opaque(picture: Image.Image) -> Image.Image:
    """Returns a picture in RGB, what is transparent on a grey chequerboard."""
    rgba = picture.convert("RGBA")
    rows, columns = np.indices((rgba.height, rgba.width)) // 4
    grey = np.where((rows + columns) % 2, 225, 250).astype(np.uint8)
    ground = Image.fromarray(grey).convert("RGBA")
    return Image.alpha_composite(ground, rgba).convert("RGB")


if __name__ == "__main__":
    main(*sys.argv[1:])

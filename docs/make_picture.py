"""Draws the README's picture from a trained run: image, truth and prediction of one image.

python docs/make_picture.py RUN INDEX docs/camvid.jpg
"""

import pathlib
import sys

from PIL import Image

from segjax.drawing.overlay import overlay
from segjax.segmenter import Segmenter
from segjax.train.workdir import open_run

WIDTH, GAP = 360, 8


def main(workdir: str, index: str, target: str) -> None:
    data = open_run(pathlib.Path(workdir)).eval_data
    data.prepare()
    example = data[int(index)]
    image, truth = example["image"], example["label"]
    prediction = Segmenter.from_run(workdir)(image)
    labels, palette = (truth, prediction), data.palette
    tinted = (overlay(image, label, palette, opacity=0.65) for label in labels)
    panels = [Image.fromarray(panel) for panel in (image, *tinted)]
    height = round(WIDTH * image.shape[0] / image.shape[1])
    strip = Image.new("RGB", (len(panels) * (WIDTH + GAP) - GAP, height), "white")
    for place, panel in enumerate(panels):
        small = panel.resize((WIDTH, height), Image.Resampling.LANCZOS)
        strip.paste(small, (place * (WIDTH + GAP), 0))
    strip.save(target, quality=88)


if __name__ == "__main__":
    main(*sys.argv[1:])

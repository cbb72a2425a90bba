"""Draws the README's picture from a run of the quickstart.

python docs/make_picture.py runs/quickstart docs/quickstart.png
"""

import pathlib
import sys

import numpy as np
from PIL import Image

from segjax.drawing.overlay import save_png, side_by_side
from segjax.train.checkpoint import Checkpoints
from segjax.train.plan import scorer
from segjax.train.workdir import open_run

INDICES = (1, 5)
ENLARGE = 3


def main(workdir: str, target: str) -> None:
    experiment = open_run(pathlib.Path(workdir))
    with Checkpoints(pathlib.Path(workdir), read_only=True) as checkpoints:
        _, variables = checkpoints.restore_variables()
    score = scorer(experiment)
    rows = []
    for index in INDICES:
        example = experiment.eval_data[index]
        (prediction,) = score.predictions(variables, example["image"][None])
        palette = experiment.eval_data.palette
        enlarged = [
            np.repeat(np.repeat(plane, ENLARGE, axis=0), ENLARGE, axis=1)
            for plane in (example["image"], example["label"], prediction)
        ]
        rows.append(side_by_side(*enlarged, palette, gap=8))
    gap = np.full((8, *rows[0].shape[1:]), 255, np.uint8)
    save_png(Image.fromarray(np.concatenate([rows[0], gap, rows[1]])), target)


if __name__ == "__main__":
    main(*sys.argv[1:])

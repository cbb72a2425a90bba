"""A folder of inputs and one of outputs, and a stand-in for the network between them."""

import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from segjax.data.palette import voc_palette
from segjax.errors import RunError
from segjax.outputs.inputs import find_inputs
from segjax.outputs.kinds import Labelme, Mask
from segjax.outputs.record import Record
from segjax.outputs.writer import Writer


def _bright(images: np.ndarray) -> np.ndarray:
    """Two classes by brightness; a pixel of 13 is refused, as a wrapper might, 14 is NaN.

    15, 16 and 17 need too much memory.
    """
    if (images == 13).any():
        raise ValueError("13 is refused")
    if (images == 14).any():
        raise RunError("Probabilities are not numbers")
    if (images == 15).any():
        raise MemoryError
    if (images == 16).any():
        raise RuntimeError("RESOURCE_EXHAUSTED: failed to allocate 1099511627776 bytes.")
    if (images == 17).any():
        raise RuntimeError("INTERNAL: Error dispatching computation: Out of memory allocating")
    return (images[..., 0] > 99).astype(np.uint8)


class Job:
    """A folder of inputs, one of outputs, and how often the stand-in was asked."""

    names = ("background", "bright", "never")

    def __init__(self, folder: pathlib.Path):
        self.folder, self.out, self.asked = folder / "in", folder / "out", 0
        self.folder.mkdir()

    def add(self, name: str, value: int = 200, age: int = 60) -> pathlib.Path:
        pixels = np.zeros((6, 5, 3), np.uint8)
        pixels[1:3, 1:4] = value
        Image.fromarray(pixels).save(self.folder / name)
        return self.older(self.folder / name, age)

    @staticmethod
    def older(path: pathlib.Path, seconds: int) -> pathlib.Path:
        when = path.stat().st_mtime - seconds
        os.utime(path, (when, when))
        return path

    @staticmethod
    def made_by(step: int) -> dict:
        return {"run": "/runs/a", "step": step, "predictor": []}

    def run(self, *outputs, step=8, inputs=None):
        """(entries, what an older record says differently)."""
        self.record = Record(self.out)
        differs = self.record.begin(self.made_by(step), (Mask(), *outputs))

        def classes(images):
            self.asked += 1
            return _bright(images)

        def answer(image, soft):
            label = classes(image[None])[0]
            return label, np.eye(3, dtype=np.float32)[label] if soft else None

        work = Writer(
            answer=answer,
            channels=3,
            out=self.out,
            outputs=(Mask(), *outputs),
            frame_files=any(isinstance(kind, Labelme) for kind in outputs),
            record=self.record,
            class_names=self.names,
            palette=voc_palette(),
        )
        found = find_inputs([str(path) for path in inputs or [self.folder]], self.out)
        return [entry for source in found for entry in work.entries(source)], differs


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)

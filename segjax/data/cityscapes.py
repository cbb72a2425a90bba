"""Cityscapes: street scenes from a car, 19 classes (Cordts et al., 2016, arXiv:1604.01685)."""

import pathlib
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.data.faults import Fault, report
from segjax.data.files import by_stem, existing_folder
from segjax.data.names import composed
from segjax.data.palette import palette_of
from segjax.data.prepare import FileDataset
from segjax.data.source import Recipe, Source
from segjax.errors import InputError

CLASSES = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""(id in `labelIds` files, colour) of each class, in the order of the train ids."""

IDS = 34
"""Ids of the files: 0 … 33; the 15 without a class are not evaluated."""

ANNOTATIONS = {"train": "gtFine", "val": "gtFine", "train_extra": "gtCoarse"}


@dataclass(frozen=True)
class Cityscapes(FileDataset):
    """The split `train` (2975 frames of 2048 × 1024), `val` (500), or coarse `train_extra`.

    `directory` holds the frames, `leftImg8bit/<split>/<city>/*_leftImg8bit.png`, and in the
    same folders of `gtFine` (`gtCoarse` for `train_extra`) their labels. Read are
    `*_labelIds.png`, which every frame has; `*_labelTrainIds.png`, which Cityscapes' scripts
    make of them, are not needed. Ids without a class become 255. (The licence plates' id, −1,
    is in no file: their pixels have the id of the car behind them.)
    """

    split: str = "train"
    directory: str | None = None

    def __post_init__(self):
        if self.split not in ANNOTATIONS:
            raise InputError(
                f"Cityscapes has the splits {', '.join(ANNOTATIONS)}, got {self.split!r}."
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 19 classes in the order of the train ids."""
        return tuple(CLASSES)

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """Cityscapes' own colours."""
        return palette_of([colour for _, colour in CLASSES.values()])

    def _recipe(self) -> Recipe:
        classes = {label: train_id for train_id, (label, _) in enumerate(CLASSES.values())}
        label_map = tuple((label, classes.get(label, IGNORE)) for label in range(IDS))
        name = f"cityscapes-{self.split}"
        return Recipe(name, num_classes=len(CLASSES), label_map=label_map)

    def _sources(self) -> list[Source]:
        annotation = ANNOTATIONS[self.split]
        root = existing_folder(self.directory, "Cityscapes", f"leftImg8bit/ and {annotation}/")
        folders = [root / name / self.split for name in ("leftImg8bit", annotation)]
        endings = ("_leftImg8bit", f"_{annotation}_labelIds")
        images, labels = map(_by_frame, folders, endings)
        if not images:
            raise InputError(
                f"{folders[0]} has no frames */*{endings[0]}.png: unpack them there, or mend "
                "directory=... (--data)."
            )
        report(
            [
                partial(_lacking, kind, frame, f"{missing}/*/{frame}{ending}.png", other[frame])
                for kind, missing, ending, found, other in zip(
                    ("missing_image", "missing_mask"),
                    folders,
                    endings,
                    (images, labels),
                    (labels, images),
                    strict=True,
                )
                for frame in sorted((images.keys() | labels.keys()) - found.keys())
            ]
        )
        frames = sorted(images.keys() & labels.keys())
        return [Source(frame, images[frame], labels[frame]) for frame in frames]


def _lacking(kind: str, frame: str, wanted: str, other: pathlib.Path) -> Fault:
    text = f"The frame {frame} has no {wanted}: add it, or move the frame's other files away."
    return Fault(kind, text, other)


def _by_frame(folder: pathlib.Path, ending: str) -> dict[str, pathlib.Path]:
    """Returns the PNG files whose stems have the ending, by the part before it."""
    frames: dict[str, pathlib.Path] = {}
    twice = []
    for path in by_stem(folder, (".png",)).values():
        if not path.stem.endswith(ending):
            continue
        frame = composed(path.stem.removesuffix(ending))
        if frame in frames:
            text = (
                f"{path} and {frames[frame]} are one frame: move one of them out of {folder}."
            )
            twice.append(partial(Fault, "name_twice", text, path, frames[frame]))
        frames[frame] = path
    report(twice)
    return frames

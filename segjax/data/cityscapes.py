"""Cityscapes: street scenes from a car, 19 classes (Cordts et al., 2016, arXiv:1604.01685)."""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.data.drawn_objects import (
    DrawnObject,
    MadeObjects,
    MakeObjects,
    ObjectRule,
    check_broken_objects,
)
from segjax.data.faults import Fault, report
from segjax.data.files import by_stem, existing_folder
from segjax.data.id_maps import objects_of_ids, read_ids
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

THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
"""The classes whose objects are told apart."""

SETS = {"all": tuple(CLASSES), "instances": ("background", *THINGS)}
"""The names of the classes of each set, in the order of their ids."""

ANNOTATIONS = {"train": "gtFine", "val": "gtFine", "train_extra": "gtCoarse"}


@dataclass(frozen=True)
class Cityscapes(FileDataset):
    """The split `train` (2975 frames of 2048 × 1024), `val` (500), or coarse `train_extra`.

    `directory` holds the frames, `leftImg8bit/<split>/<city>/*_leftImg8bit.png`, and in the
    same folders of `gtFine` (`gtCoarse` for `train_extra`) their labels. Read are
    `*_labelIds.png`, which every frame has; `*_labelTrainIds.png`, which Cityscapes' scripts
    make of them, are not needed. Ids without a class become 255. (The licence plates' id, −1,
    is in no file: their pixels have the id of the car behind them.)

    With `objects=True`, examples have objects of the eight classes from person to bicycle
    (`segjax.objects`), which are read from `*_instanceIds.png`. Their values there are the
    `instance_ids`. Groups that are not told apart are crowds. `classes="instances"` is for
    networks that find these objects alone: eight classes behind a background, with objects. An
    object without pixels is an error; `broken_objects="drop"` leaves it out and says so.
    """

    split: str = "train"
    directory: str | None = None
    classes: str = "all"
    objects: bool = False
    broken_objects: str | None = None

    def __post_init__(self):
        if self.split not in ANNOTATIONS:
            raise InputError(
                f"Cityscapes has the splits {', '.join(ANNOTATIONS)}, got {self.split!r}."
            )
        if self.classes not in SETS:
            raise InputError(
                f"Cityscapes has the classes {', '.join(SETS)}, got classes={self.classes!r}."
            )
        check_broken_objects("Cityscapes", self.broken_objects, has_objects=bool(self.things))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The 19 classes in the order of the train ids, or the background and eight things."""
        return SETS[self.classes]

    @property
    def things(self) -> tuple[int, ...]:
        """The ids of the eight things where examples have objects, else ()."""
        has_objects = self.objects or self.classes == "instances"
        return tuple(map(self.class_names.index, THINGS)) if has_objects else ()

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """Cityscapes' own colours; black for the background."""
        colours = {name: colour for name, (_, colour) in CLASSES.items()}
        return palette_of([colours.get(name, (0, 0, 0)) for name in self.class_names])

    def _recipe(self) -> Recipe:
        ids = {name: number for number, name in enumerate(self.class_names)}
        # A class that is not in the set is background; ids without a class are ignored.
        classes = {label: ids.get(name, 0) for name, (label, _) in CLASSES.items()}
        label_map = tuple((label, classes.get(label, IGNORE)) for label in range(IDS))
        return Recipe(
            f"cityscapes-{self.split}",
            num_classes=len(self.class_names),
            label_map=label_map,
            objects=ObjectRule(self.things, self.broken_objects or "refuse")
            if self.things
            else None,
        )

    def _sources(self) -> list[Source]:
        annotation = ANNOTATIONS[self.split]
        root = existing_folder(self.directory, "Cityscapes", f"leftImg8bit/ and {annotation}/")
        names, kinds = ["leftImg8bit", annotation], ["missing_image", "missing_mask"]
        endings = ["_leftImg8bit", f"_{annotation}_labelIds"]
        if self.things:
            names, kinds = [*names, annotation], [*kinds, "missing_mask"]
            endings.append(f"_{annotation}_instanceIds")
        folders = [root / name / self.split for name in names]
        found = [*map(_by_frame, folders, endings)]
        images, labels, *objects = found
        if not images:
            raise InputError(
                f"{folders[0]} has no frames */*{endings[0]}.png: unpack them there, or mend "
                "directory=... (--data)."
            )
        report(
            [
                partial(_lacking, kind, frame, f"{missing}/*/{frame}{ending}.png", found)
                for kind, missing, ending, there in zip(
                    kinds, folders, endings, found, strict=True
                )
                for frame in sorted({*images, *labels}.union(*objects) - there.keys())
            ]
        )
        frames = sorted({*images}.intersection(*found))
        if not self.things:
            return [Source(frame, images[frame], labels[frame]) for frame in frames]
        made = [self._made(frame, objects[0][frame]) for frame in frames]
        return [
            Source(frame, images[frame], labels[frame], each)
            for frame, each in zip(frames, made, strict=True)
        ]

    def _made(self, frame: str, path: pathlib.Path) -> MadeObjects:
        names = dict(zip(THINGS, self.things, strict=True))
        classes = {CLASSES[name][0]: class_id for name, class_id in names.items()}
        return MadeObjects(
            make=_objects(path, classes), key=frame, where=str(path), files=(path,)
        )


def _objects(path: pathlib.Path, classes: Mapping[int, int]) -> MakeObjects:
    def make(contents: Sequence[bytes], label: np.ndarray) -> Sequence[DrawnObject]:
        """Returns the objects of a frame."""
        ids = read_ids(path, contents[0], (label.shape[0], label.shape[1]))
        return objects_of_ids(ids, classes, where=str(path))

    return make


def _lacking(
    kind: str, frame: str, wanted: str, found: Sequence[Mapping[str, pathlib.Path]]
) -> Fault:
    other = next(each[frame] for each in reversed(found) if frame in each)
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

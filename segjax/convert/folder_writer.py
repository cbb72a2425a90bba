"""The files of one image in the result: the image, its mask or masks, its objects."""

import pathlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from segjax.convert.annotated import Annotated
from segjax.convert.painting import Painted
from segjax.convert.pictures import put, suffix_of
from segjax.convert.record import write_if_new
from segjax.data.images import png
from segjax.data.palette import palette_of, voc_palette
from segjax.drawing.overlay import palette_png

IMAGES, MASKS, INSTANCES = "images", "masks", "instances"


@dataclass(frozen=True)
class FolderWriter:
    """The writer of what belongs to one image; a file that is equal already stays untouched.

    Attributes:
      out: the folder of the result.
      palette: 256 × 3 colours of class ids.
      mask_folders: of classes that overlap, one a class; else empty.
      link: whether images are hard links.
    """

    out: pathlib.Path
    palette: UInt8[np.ndarray, "256 3"]
    mask_folders: tuple[str, ...] = ()
    link: bool = False

    def files(self, image: Annotated) -> list[pathlib.Path]:
        """Returns the paths of an image's files: the image first, then masks, objects last."""
        masks = self.mask_folders or (MASKS,)
        return [
            self.out / IMAGES / f"{image.name}{suffix_of(image)}",
            *(self.out / folder / f"{image.name}.png" for folder in masks),
            self.out / INSTANCES / f"{image.name}.png",
        ]

    def write(self, image: Annotated, painted: Painted) -> bool:
        """Writes an image's files; returns whether any of them is new or changed.

        Raises:
          OSError: a file cannot be written.
        """
        picture, *masks, instances = self.files(image)
        changed = [put(image, picture, link=self.link)]
        for path, label in zip(masks, self._labels(painted), strict=True):
            changed.append(write_if_new(path, png(palette_png(label, self.palette))))
        changed.append(write_if_new(instances, png(Image.fromarray(painted.instances))))
        return any(changed)

    def _labels(self, painted: Painted) -> list[np.ndarray]:
        return list(np.moveaxis(painted.label, -1, 0)) if self.mask_folders else [painted.label]

    def left_over(self, images: Sequence[Annotated]) -> list[str]:
        """Returns the files of images that the source no longer has."""
        wanted = {path for image in images for path in self.files(image)}
        there = (
            path
            for folder in (IMAGES, MASKS, INSTANCES)
            for path in sorted((self.out / folder).rglob("*"))
        )
        return [
            path.relative_to(self.out).as_posix()
            for path in there
            if path.is_file() and path not in wanted and not path.name.startswith(".")
        ]


def mask_folders(class_names: Sequence[str]) -> tuple[str, ...]:
    """Returns a folder for the masks of each class.

    >>> mask_folders(["optic disc", "tv/monitor", "tv.monitor"])
    ('masks/optic_disc', 'masks/tv_monitor', 'masks/tv_monitor_2')
    """
    folders: list[str] = []
    for number, name in enumerate(class_names):
        folder = f"{MASKS}/" + re.sub(r"[^\w-]+", "_", name)
        folders.append(folder if folder not in folders else f"{folder}_{number}")
    return tuple(folders)


def palette_for(
    class_names: Sequence[str], colours: dict[str, tuple[int, int, int]]
) -> UInt8[np.ndarray, "256 3"]:
    """Returns the source's colours by class id, and PASCAL VOC's for classes without one."""
    table = voc_palette()
    chosen = [colours.get(name, tuple(table[i])) for i, name in enumerate(class_names)]
    return palette_of(chosen)

"""SBD, the Semantic Boundaries Dataset: VOC's classes for 11,355 images, in MATLAB files.

Hariharan et al. (2011), "Semantic contours from inverse detectors". The archive
`benchmark_RELEASE` holds in `dataset/` the images `img/`, the maps of classes `cls/` and of
objects `inst/`, and the lists `train.txt` and `val.txt`.
"""

import functools
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

from segjax.convert.annotated import Annotated, Annotations, ClassMap, Options, SourceFiles
from segjax.convert.id_regions import IdRegions
from segjax.convert.image_files import each_image
from segjax.data.lists import listed_stems
from segjax.data.sbd_mat import class_ids, objects
from segjax.data.voc import CLASSES
from segjax.errors import InputError

NAMES = dict(enumerate(CLASSES))


@dataclass(frozen=True)
class SBDFiles:
    """The reader of SBD's folders; objects are kept where `inst/` has the image too."""

    name: str = "sbd"
    title: str = "SBD .mat (cls/ and inst/)"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns the first MATLAB file of classes in words, or None."""
        found = next(_of_folder(files, "cls"), None)
        return f"SBD's cls/{found.name}" if found else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns the images that have a map of classes.

        Raises:
          InputError: there are none, or a list cannot be read.
        """
        del options
        maps = {path.stem: path for path in _of_folder(files, "cls")}
        if not maps:
            raise InputError(
                f"{files.root} has no cls/*.mat of SBD: name its folder benchmark_RELEASE."
            )
        insts = {path.stem: path for path in _of_folder(files, "inst")}
        splits = _splits(files)

        def image(stem: str) -> Annotated:
            return _image(files, maps[stem], insts.get(stem), splits.get(stem))

        images, problems = each_image(maps, image)
        return Annotations(images, CLASSES[1:], problems=problems)


SBD_FILES = SBDFiles()


def _of_folder(files: SourceFiles, folder: str):
    return (path for path in files.find(".mat") if path.parent.name == folder)


def _splits(files: SourceFiles) -> Mapping[str, str]:
    """Returns {image: split} by the lists beside `cls/`."""
    return {
        stem: path.stem
        for path in files.find(".txt")
        if path.stem in ("train", "val") and (path.parent / "cls").is_dir()
        for stem in listed_stems(path)
    }


def _image(
    files: SourceFiles, path: pathlib.Path, inst: pathlib.Path | None, split: str | None
) -> Annotated:
    image = files.inside(f"../img/{path.stem}.jpg", beside=path)
    return Annotated(
        image=image,
        name=files.stem_of(image),
        regions=IdRegions(functools.partial(_objects, inst)) if inst else (),
        class_map=ClassMap(functools.partial(_classes, path), NAMES, str(path)),
        split=split,
        where=str(path),
    )


def _classes(path: pathlib.Path) -> Integer[np.ndarray, "h w"]:
    return class_ids(path.read_bytes(), name=path)


@functools.lru_cache(maxsize=8)
def _objects(path: pathlib.Path) -> tuple[Integer[np.ndarray, "h w"], Mapping[int, str]]:
    ids, categories = objects(path.read_bytes(), name=path)
    if strange := sorted({*categories.values()} - NAMES.keys()):
        raise InputError(
            f"{path} has the category {strange[0]}, but VOC's are 1 to 20: get the file again."
        )
    return ids, {number: NAMES[category] for number, category in categories.items()}

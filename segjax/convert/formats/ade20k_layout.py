"""ADE20K: the 150 classes of SceneParsing, and the full datasets of 2017 and 2020."""

import csv
import io
import pathlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from segjax.convert.annotated import (
    IGNORED,
    Annotated,
    Annotations,
    ClassMap,
    Options,
    SourceFiles,
)
from segjax.convert.colour_tables import read_colours
from segjax.convert.documents import read_lines, read_text
from segjax.convert.grey_values import read_values
from segjax.convert.image_files import each_image, image_name
from segjax.convert.layouts import split_of_path
from segjax.convert.mask_pairs import Pair, find_pairs
from segjax.convert.object_maps import Ids_HW, object_regions
from segjax.data.ade20k import CLASSES
from segjax.data.files import IMAGES
from segjax.errors import InputError


@dataclass(frozen=True)
class SceneParse150:
    """Masks with the ids 1 to 150 of `objectInfo150`; 0 is ignored."""

    name: str = "ade20k-150"
    title: str = "ADE20K, 150 classes"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns that the list of the 150 classes is there, or None."""
        return "ADE20K's objectInfo150" if _info(files) else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns each image with its map.

        Raises:
          InputError: there are no masks, one has no image, or the list of classes cannot be
            read.
        """
        info, found = _info(files), find_pairs(files)
        if info is None or found is None:
            raise InputError(
                f"{files.root} lacks objectInfo150.csv, images/ or annotations/ of ADE20K: "
                "unpack all of it."
            )
        names = {0: IGNORED, **_info_names(info)}
        del options

        def image(pair: Pair) -> Annotated:
            return Annotated(
                image=pair.image,
                name=image_name(pair.image, files),
                class_map=ClassMap(partial(read_values, pair.mask), names, str(pair.mask)),
                split=split_of_path(pair.image, files.root),
                where=str(pair.mask),
            )

        images, problems = each_image(found.pairs, image)
        class_names = tuple(name for name in names.values() if name != IGNORED)
        return found.with_problems(Annotations(images, class_names, IGNORED, problems=problems))


def _info(files: SourceFiles) -> pathlib.Path | None:
    found = files.find(".csv", ".txt")
    return next((path for path in found if path.stem == "objectInfo150"), None)


def _info_names(path: pathlib.Path) -> dict[int, str]:
    text = read_text(path)
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True))
    try:
        named = {int(row["Idx"]): row["Name"] for row in rows}
        return {number: _info_name(number, name) for number, name in named.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"{path} lacks the columns Idx and Name: take the file that came with ADE20K."
        ) from None


def _info_name(number: int, text: str) -> str:
    """Returns a class's first synonym.

    The CSV file has semicolons between words too, so the name is cut where segjax's own list of
    the 150 classes ends it.
    """
    own = CLASSES[number - 1] if 1 <= number <= len(CLASSES) else ""
    if own and re.split("[;, ]+", text)[: len(own.split())] == own.split():
        return own
    return re.split("[;,]", text)[0].strip()


class _Frame(NamedTuple):
    image: pathlib.Path
    mask: pathlib.Path
    named: Mapping[int, str]  # Objects of 2017, class ids of 2020.
    is_2017: bool
    parts: int


@dataclass(frozen=True)
class ADE20KFull:
    """Objects of `*_seg.png`, with their classes in `*_atr.txt` (2017) or JSON (2020).

    Pixels without a class are ignored; parts of objects are left out.
    """

    name: str = "ade20k"
    title: str = "ADE20K, full annotations of 2017 or 2020"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns how many images have annotations, or None."""
        count = len(_masks(files))
        return f"{count} images of ADE20K's full annotations" if count else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns each image that has annotations.

        Raises:
          InputError: `dataset_meta.json` cannot be used.
        """
        del options
        frames, broken = _frames(files)
        whole = {name: None for frame in frames for name in frame.named.values()}
        short = short_names(_in_order(whole, files))
        images, problems = each_image(frames, lambda each: _annotated(each, short, files))
        parts = sum(frame.parts for frame in frames)
        notes = (f"parts of objects are left out: {parts}",) if parts else ()
        return Annotations(
            images,
            tuple(short.values()),
            IGNORED,
            notes=notes,
            problems=(*broken, *problems),
        )


def _masks(files: SourceFiles) -> list[pathlib.Path]:
    """Returns the `*_seg.png` that have a file of classes beside them."""
    there = set(files.find(".txt", ".json"))
    return [
        path
        for path in files.find(".png")
        if path.stem.endswith("_seg") and not there.isdisjoint(_class_files(path))
    ]


def _class_files(mask: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    stem = mask.stem.removesuffix("_seg")
    return mask.with_name(f"{stem}_atr.txt"), mask.with_name(f"{stem}.json")


def _frames(files: SourceFiles) -> tuple[list[_Frame], list[str]]:
    """Returns the images with what is said of them, and a line for each that cannot be used."""
    there = {path: None for path in files.find(*IMAGES, ".txt")}
    frames, problems = [], []
    for mask in _masks(files):
        try:
            frames.append(_frame(mask, there, files))
        except InputError as error:
            problems.append(str(error))
    return frames, problems


def _frame(mask: pathlib.Path, there: Collection[pathlib.Path], files: SourceFiles) -> _Frame:
    attributes, json_file = _class_files(mask)
    stem = mask.stem.removesuffix("_seg")
    image = next(
        (p for suffix in IMAGES if (p := mask.with_name(stem + suffix)) in there), None
    )
    if image is None:
        raise InputError(f"{mask} has no image {stem}.jpg beside it: unpack all of ADE20K.")
    is_2017 = attributes in there
    named, parts = _attributes(attributes) if is_2017 else _objects(files, json_file)
    return _Frame(image, mask, named, is_2017, parts)


def _attributes(path: pathlib.Path) -> tuple[dict[int, str], int]:
    """Returns ({object: its class}, count of parts) of lines like `001 # 0 # 0 # sky # …`."""
    objects, parts = {}, 0
    for number, line in read_lines(path):
        columns = [column.strip() for column in line.split("#")]
        if len(columns) < 4 or not (columns[0].isdecimal() and columns[1].isdecimal()):
            raise InputError(
                f"{path}, line {number}, is {line!r}, not NUMBER # LEVEL # OCCLUDED # CLASS: "
                "unpack the file again."
            )
        if columns[1] == "0":
            objects[int(columns[0])] = columns[3]
        parts += columns[1] != "0"
    return objects, parts


def _objects(files: SourceFiles, path: pathlib.Path) -> tuple[dict[int, str], int]:
    """Returns ({class id: class}, count of parts) of a JSON of 2020."""
    try:
        objects = files.json(path)["annotation"]["object"]
        whole = [each for each in objects if not each["parts"]["part_level"]]
        names = {int(each["name_ndx"]): str(each["name"]) for each in whole}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a file of ADE20K 2020 ({error!r} is missing or wrong): unpack it "
            "again."
        ) from None
    return names, len(objects) - len(whole)


def _annotated(frame: _Frame, short: Mapping[str, str], files: SourceFiles) -> Annotated:
    read = _ranks if frame.is_2017 else _class_ids
    objects = _ranks if frame.is_2017 else _blue
    names = {0: IGNORED, **{number: short[name] for number, name in frame.named.items()}}
    class_map = ClassMap(partial(read, frame.mask), names, where=str(frame.mask))
    return Annotated(
        image=frame.image,
        name=image_name(frame.image, files),
        regions=object_regions(partial(objects, frame.mask), class_map),
        class_map=class_map,
        split=split_of_path(frame.image, files.root),
        where=str(frame.mask),
    )


def _blue(mask: pathlib.Path) -> Ids_HW:
    return read_colours(mask)[..., 2].astype(np.int64)


def _ranks(mask: pathlib.Path) -> Ids_HW:
    """Returns the number of each pixel's object: the rank of its blue value, from 1 on."""
    blue = _blue(mask)
    return np.searchsorted(np.unique(np.append(blue, 0)), blue)


def _class_ids(mask: pathlib.Path) -> Ids_HW:
    """Returns ADE20K's index of each pixel's class, of red and green."""
    colours = read_colours(mask).astype(np.int64)
    return colours[..., 0] // 10 * 256 + colours[..., 1]


def _in_order(names: Mapping[str, None], files: SourceFiles) -> Sequence[str]:
    """Returns the names in the order of `dataset_meta.json`, or else by alphabet."""
    meta = next((p for p in files.find(".json") if p.name == "dataset_meta.json"), None)
    contents = files.json(meta) if meta else None
    label_map = contents.get("label_map") if isinstance(contents, dict) else None
    listed = list(label_map.values()) if isinstance(label_map, dict) else []
    first = {str(name): place for place, name in enumerate(listed)}
    return sorted(names, key=lambda name: (first.get(name.split(",")[0], len(first)), name))


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Returns {name: its first synonym}, and all its synonyms where others have the same first.

    >>> short_names(["person, individual", "bar", "bar, pub"])
    {'person, individual': 'person', 'bar': 'bar', 'bar, pub': 'bar; pub'}
    """
    listed = list(names)
    first = [name.split(",")[0].strip() for name in listed]
    return {
        name: short if first.count(short) == 1 else "; ".join(map(str.strip, name.split(",")))
        for name, short in zip(listed, first, strict=True)
    }


SCENE_PARSE_150, ADE20K_FULL = SceneParse150(), ADE20KFull()

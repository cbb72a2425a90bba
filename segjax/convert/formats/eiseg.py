"""EISeg's JSON: one list of polygons an image, and `autosave_label.txt` with the classes."""

import collections
import functools
import pathlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from segjax.convert.annotated import Annotated, Annotations, Options, Region, SourceFiles
from segjax.convert.formats.shapes import bounds_of, checked_points, drawn
from segjax.data.files import IMAGES
from segjax.data.lists import listed
from segjax.data.names import composed, nearest
from segjax.errors import InputError, first_of

CLASSES = "autosave_label.txt"
BACKGROUND = "background"
KEYS = {"name", "labelIdx", "points"}
MOST_TRIED = 50
"""JSON files that are looked into before a source counts as another format's."""

Colours = dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class _EISeg:
    """The reader of EISeg's own files; its polygons are drawn in their order.

    Classes are those of `autosave_label.txt`, in the order of their ids; without that file, the
    ones that occur, by their `labelIdx`.
    """

    name: str = "eiseg"
    title: str = "EISeg JSON, one file an image"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns the first EISeg file in words, or None."""
        for path, _ in zip(files.find(".json"), range(MOST_TRIED), strict=False):
            try:
                if _is_eiseg(files.json(path)):
                    return f"EISeg files, such as {path.name}"
            except InputError:
                continue
        return None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns the images that have an EISeg file.

        Raises:
          InputError: autosave_label.txt cannot be read, or two ids have one name.
        """
        listing = _listed_classes(files)
        images, problems, used = [], [], {}
        names = None if listing is None else listing[0]
        if options.names is not None:
            names = tuple(name for name in options.names if name != BACKGROUND)
        by_stem = collections.defaultdict(list)
        for image in files.find(*IMAGES):
            by_stem[composed(image.stem)].append(image)
        for path in files.find(".json"):
            try:
                contents = files.json(path)
                if contents == [] or _is_eiseg(contents):
                    picture = _picture(files, path, by_stem[composed(path.stem)])
                    images.append(_image(files, path, picture, contents, names))
                    used |= {each["name"]: each["labelIdx"] for each in contents}
            except InputError as error:
                problems.append(str(error))
        in_order = tuple(sorted(used, key=lambda name: (str(used[name]).zfill(9), name)))
        colours = {} if listing is None else listing[1]
        return Annotations(
            images,
            in_order if names is None else names,
            background=BACKGROUND,
            colours=colours,
            problems=tuple(problems),
        )


EISEG = _EISeg()


def _is_eiseg(contents: Any) -> bool:
    return (
        isinstance(contents, list)
        and bool(contents)
        and all(isinstance(each, dict) and each.keys() >= KEYS for each in contents)
    )


def _listed_classes(files: SourceFiles) -> tuple[tuple[str, ...], Colours] | None:
    """Returns the names in the order of their ids, and the colours, or None without a list."""
    found = [path for path in files.find(".txt") if path.name == CLASSES]
    if not found:
        return None
    rows: dict[int, tuple[str, tuple[int, int, int]]] = {}
    for line in listed(found[0], str, what="class"):
        number, _, rest = line.partition(" ")
        parts = rest.rsplit(maxsplit=3)
        try:
            name, *colour = parts
            red, green, blue = map(int, colour)
            rows[int(number)] = name, (red, green, blue)
        except ValueError:
            raise InputError(
                f"{found[0]} has the line {line!r}, not `id name red green blue`: correct it."
            ) from None
    names = [name for _, (name, _) in sorted(rows.items()) if name != BACKGROUND]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{found[0]} gives two ids the name {twice[0]!r}: rename one.")
    return tuple(names), dict(rows.values())


def _image(
    files: SourceFiles,
    path: pathlib.Path,
    picture: pathlib.Path,
    contents: list,
    names: Collection[str] | None,
) -> Annotated:
    return Annotated(
        image=picture,
        name=files.stem_of(picture),
        regions=tuple(
            _region(each, f"{path}, polygon {number}", number, names)
            for number, each in enumerate(contents, 1)
        ),
        where=str(path),
    )


def _picture(
    files: SourceFiles, path: pathlib.Path, named_so: list[pathlib.Path]
) -> pathlib.Path:
    """Returns the image of the file's name: in the folder above, its own, or elsewhere."""
    found = [image for image in named_so if not _is_sidecar(image, path)] or named_so
    for folder in (path.parent.parent, path.parent):
        near = [image for image in found if image.parent == folder]
        found = near or found
        if len(found) == 1:
            return found[0]
    if found:
        names = first_of([str(image) for image in found], most=3)
        raise InputError(
            f"{path} belongs to an image {path.stem}.*, and there are {names}: move the others "
            "away."
        )
    raise InputError(
        f"{path} belongs to an image {path.stem}.*, which is not in {files.root}: put it "
        "there, or name its folder with --images DIR."
    )


def _is_sidecar(image: pathlib.Path, path: pathlib.Path) -> bool:
    """Returns whether the file is the grey mask that EISeg writes beside its JSON file."""
    return image.parent == path.parent and image.suffix.lower() == ".png"


def _region(
    polygon: Mapping[str, Any], where: str, number: int, names: Collection[str] | None
) -> Region:
    name = polygon["name"]
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where} has the name {name!r}: give it the name of a class.")
    if names is not None and name not in (*names, BACKGROUND):
        close = nearest(name, {each: each for each in names})
        near = f" (near: {close[0]})" if close else ""
        raise InputError(
            f"{where} has the name {name!r}, which is not in the list of classes{near}: "
            f"correct the name, or add it to {CLASSES} or --names."
        )
    points = checked_points(polygon["points"], "polygon", f"{where} ({name!r})")
    return Region(
        name,
        functools.partial(drawn, kind="polygon", points=points),
        instance=number,
        where=where,
        bounds=bounds_of(points),
    )

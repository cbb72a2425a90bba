"""One or several sources → one set of annotated images, each with a name of its own."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from segjax.convert.annotated import Annotated, Annotations, Format, Options
from segjax.convert.formats.table import format_named, recognized
from segjax.convert.image_files import clash
from segjax.convert.source_files import FolderFiles
from segjax.data.names import composed, near_entry, printable, unlistable
from segjax.errors import InputError


class ReadSource(NamedTuple):
    """A source that was read.

    Attributes:
      path: as the user names it.
      format: its format.
      sign: what gave it away, or that it was forced.
      annotations: what it holds.
    """

    path: pathlib.Path
    format: Format
    sign: str
    annotations: Annotations


def read_source(
    path: pathlib.Path,
    *,
    format_name: str | None,
    options: Options,
    out: pathlib.Path | None = None,
) -> ReadSource:
    """Returns what a source holds; nothing below the result's folder `out` is read.

    Raises:
      InputError: it is not there, its format is not known, or it cannot be read.
    """
    _check_there(path, "There is no source")
    if options.images is not None:
        _check_there(options.images, "--images: there is no folder")
    files = FolderFiles(path, options.images, without=out)
    if format_name is None:
        format_, sign = recognized(files)
    else:
        format_ = format_named(format_name)
        sign = format_.recognize(files) or f"--format {format_name}"
    annotations = format_.read(files, options)
    if not annotations.images and not annotations.problems:
        raise InputError(
            f"{path} has no annotated image in the format {format_.name}: give another folder, "
            "or another --format."
        )
    return ReadSource(path, format_, sign, annotations)


def _check_there(path: pathlib.Path, what: str) -> None:
    if not os.path.exists(path):  # Also where its name is too long for a path.
        raise InputError(f"{what} {path}{near_entry(path.absolute())}: check the path.")


def joined(sources: Sequence[ReadSource]) -> Annotations:
    """Returns the annotations of all sources as one.

    Of several sources, the name of each image begins with its source's own folder name. Of two
    images of one name, the second one is a problem.

    Raises:
      InputError: two sources have folders of one name, different backgrounds or forms of
        masks.
    """
    first = sources[0].annotations
    names = [source.path.resolve().stem for source in sources]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"Two sources are called {twice[0]!r}, which would mix their images: give the "
            "folder that contains both, or rename one."
        )
    for source in sources[1:]:
        there = source.annotations
        if (there.background, there.has_planes) != (first.background, first.has_planes):
            raise InputError(
                f"{sources[0].path} and {source.path} differ in what pixels without a class "
                "mean: convert them into folders of their own."
            )
    named = (
        dataclasses.replace(image, name=_clean(f"{prefix}{image.name}"))
        for source, name in zip(sources, names, strict=True)
        for prefix in [f"{name}/" if len(sources) > 1 else ""]
        for image in source.annotations.images
    )
    images, twice = _named_once(named)
    each = [source.annotations for source in sources]
    return Annotations(
        images=images,
        class_names=tuple(dict.fromkeys(name for one in each for name in one.class_names)),
        background=first.background,
        colours={name: rgb for one in reversed(each) for name, rgb in one.colours.items()},
        has_planes=first.has_planes,
        notes=tuple(note for one in each for note in one.notes),
        problems=(*(problem for one in each for problem in one.problems), *twice),
    )


def _clean(name: str) -> str:
    """Returns a name that stays inside the result, and that lists and folders can hold.

    Hidden files do not count, "#" begins a comment in lists, lists lose spaces at the end, and
    a backslash separates folders in them.
    """
    text = composed(printable(name)).replace("\\", "_")
    for character in unlistable(text):
        text = text.replace(character, "_")
    parts = (part.strip() for part in text.split("/"))
    kept = (re.sub(r"^[.#]", "_", part) for part in parts if part not in ("", ".", ".."))
    return "/".join(kept)


def _named_once(images: Iterable[Annotated]) -> tuple[list[Annotated], list[str]]:
    """Returns the images whose names no other one has before, case aside, and the problems."""
    seen: dict[str, Annotated] = {}
    problems = []
    for image in images:
        other = seen.setdefault(image.name.casefold(), image)
        if other is not image:
            problems.append(clash(other, image))
    return list(seen.values()), problems

"""One or several sources → one set of annotated images, each with a name of its own."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from segjax.convert.annotated import Annotated, Annotations, Format, Options
from segjax.convert.formats.table import format_named, recognized
from segjax.convert.source_files import FolderFiles
from segjax.data.names import composed, near_entry, printable
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
    if not path.exists():
        raise InputError(f"{what} {path}{near_entry(path.absolute())}: check the path.")


def joined(sources: Sequence[ReadSource]) -> Annotations:
    """Returns the annotations of all sources as one.

    Of several sources, the name of each image begins with its source's own folder name.

    Raises:
      InputError: two sources have folders of one name, different backgrounds or forms of
        masks, or two images have one name.
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
    images = [
        dataclasses.replace(image, name=_clean(f"{prefix}{image.name}"))
        for source, name in zip(sources, names, strict=True)
        for prefix in [f"{name}/" if len(sources) > 1 else ""]
        for image in source.annotations.images
    ]
    _check_names(images)
    each = [source.annotations for source in sources]
    return Annotations(
        images=images,
        class_names=tuple(dict.fromkeys(name for one in each for name in one.class_names)),
        background=first.background,
        colours={name: rgb for one in reversed(each) for name, rgb in one.colours.items()},
        has_planes=first.has_planes,
        notes=tuple(note for one in each for note in one.notes),
        problems=tuple(problem for one in each for problem in one.problems),
    )


def _clean(name: str) -> str:
    """Returns a name that stays inside the result, and that lists and folders can hold.

    Hidden files do not count, "#" begins a comment in lists, and lists lose spaces at the end.
    """
    parts = (re.sub(r"[\x00-\x1f\x7f]", "_", part).strip() for part in name.split("/"))
    kept = (re.sub(r"^[.#]", "_", part) for part in parts if part not in ("", ".", ".."))
    return composed(printable("/".join(kept)))


def _check_names(images: Sequence[Annotated]) -> None:
    seen: dict[str, Annotated] = {}
    for image in images:
        other = seen.setdefault(image.name.casefold(), image)
        if other is not image:
            raise InputError(
                f"{' and '.join(_places([other, image]))} would both be named {image.name!r}: "
                "rename one of the images, and correct its annotations."
            )


def _places(images: Sequence[Annotated]) -> Iterator[str]:
    for image in images:
        yield str(image.image) if isinstance(image.image, pathlib.Path) else image.where

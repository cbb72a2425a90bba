"""Inputs that a user names, files, folders and patterns → one source a file, in order."""

import dataclasses
import glob
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from segjax.data.decode import page_count
from segjax.data.files import IMAGES, IMAGES_BY_NAME, check_links, of_kind, walk
from segjax.data.names import inside, near_entry
from segjax.errors import InputError
from segjax.outputs.kinds import Frame, Overlay
from segjax.outputs.patterns import matches, split_pattern

PICTURES = IMAGES
ARRAYS = IMAGES_BY_NAME
"""Read where they are named, or where a folder holds no pictures."""

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
FILM = "_overlay.mp4"
"""Ends the name of the overlays of a video as a video."""

SHOWN = 60
"""Characters of an input that a message shows where its name may be too long."""

FRAMED = (".gif", ".png", ".tif", ".tiff", ".webp")
"""Pictures that may hold several frames. A JPEG's second one is its preview: not these."""


@dataclasses.dataclass(frozen=True)
class Input:
    """A file to predict.

    Attributes:
      path: where it is.
      relative: its path below the input that named it, and so below the output folder.
      frames: how many it holds if they are numbered, 0 for a video, which does not know;
        None for an image of one frame.
    """

    path: pathlib.Path
    relative: pathlib.Path
    frames: int | None = None

    @property
    def is_video(self) -> bool:
        """Whether it is a video file."""
        return self.path.suffix.lower() in VIDEOS

    def base(self, frame: int | None) -> pathlib.Path:
        """Returns the path of its outputs below the output folder, without suffix."""
        base = self.relative.with_suffix("")
        return base if frame is None else base / f"{frame:06d}"

    def name(self, frame: int | None) -> str:
        """Returns what it is called in lists of images."""
        number = "" if frame is None else f"/{frame:06d}"
        return self.relative.as_posix() + number


def find_inputs(inputs: Sequence[str], out: pathlib.Path) -> list[Input]:
    """Returns all that the inputs name, in their order.

    In a folder, or what matches a pattern, a link to nothing is an input like any other: when
    it is read, it fails, and the others do not.

    Raises:
      InputError: `out` is a file or lies within an input, or an input is missing, is of no
        known kind, or holds nothing.
    """
    if os.path.lexists(out) and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder.")
    return [source for given in inputs for source in _readable(given, out)]


def _readable(given: str, out: pathlib.Path) -> list[Input]:
    try:
        return [*_sources(given, out)]
    except OSError as error:  # Such as a name that is too long, or a folder closed to us.
        shown = given if len(given) <= SHOWN else f"{given[:SHOWN]}…"
        raise InputError(
            f"{shown} cannot be read ({error.strerror}); check the path."
        ) from error


def _sources(given: str, out: pathlib.Path) -> Iterator[Input]:
    path = inside(pathlib.Path(), given)
    check_links([path])
    if path.is_file():
        _check_known(path)
        yield _source(path, pathlib.Path(path.name))
    elif path.is_dir():
        yield from _folder(path, out)
    elif glob.has_magic(given):
        yield from _matches(given, out)
    else:
        near = near_entry(path)
        raise InputError(f"There is no file or folder {given}{near}; check the path.")


def _check_known(path: pathlib.Path) -> None:
    if path.suffix.lower() not in (*PICTURES, *ARRAYS, *VIDEOS):
        known = " ".join((*PICTURES, *ARRAYS, *VIDEOS))
        raise InputError(f"{path} is not an image or a video; known suffixes are {known}.")


def _folder(folder: pathlib.Path, out: pathlib.Path) -> Iterator[Input]:
    walked = [*walk(folder)]
    if _lies_in(out, [below for below, _ in walked]):
        raise InputError(
            f"--out {out} lies inside {folder}, so its masks would become "
            "inputs; choose another folder."
        )
    found = of_kind(walked, PICTURES) or of_kind(walked, ARRAYS)
    if not found:
        raise InputError(
            f"The folder {folder} holds no image ({' '.join(PICTURES)}); name videos one by "
            "one, or with a pattern such as 'videos/*.mp4'."
        )
    yield from (_source(file, file.relative_to(folder)) for file in found)


def _lies_in(out: pathlib.Path, folders: Iterable[pathlib.Path]) -> bool:
    """Returns whether one of the folders holds `out`, which need not be there yet."""
    where = out.resolve()
    return any(where.is_relative_to(folder.resolve()) for folder in folders)


def _matches(pattern: str, out: pathlib.Path) -> Iterator[Input]:
    """Yields matching files, with their path below the last folder without wildcards."""
    root, parts = split_pattern(pattern)
    known = [p for p in matches(root, parts) if p.suffix.lower() in (*PICTURES, *VIDEOS)]
    if not known:
        bracket = " ([ ] stand for one of the characters; [[] is a bracket)" * ("[" in pattern)
        raise InputError(f"No image or video matches {pattern!r}{bracket}; check the pattern.")
    real = (pathlib.Path(os.path.realpath(path)) for path in known)  # Links may go in circles.
    reached = any(path.is_relative_to(out.resolve()) for path in real)
    if reached or ("**" in parts and _lies_in(out, (below for below, _ in walk(root)))):
        raise InputError(
            f"--out {out} lies within what {pattern!r} matches, so its masks would become "
            "inputs; choose another folder."
        )
    yield from (_source(path, path.relative_to(root)) for path in known)


def _source(path: pathlib.Path, relative: pathlib.Path) -> Input:
    if path.suffix.lower() in VIDEOS:
        return Input(path, relative, frames=0)
    count = page_count(path) if path.suffix.lower() in FRAMED else 1
    return Input(path, relative, frames=count if count > 1 else None)


def check_targets(
    sources: Sequence[Input],
    out: pathlib.Path,
    suffixes: Sequence[str],
    *,
    lists: Sequence[str],
    reserved: Sequence[str],
    ours: Callable[[pathlib.Path], bool],
) -> None:
    """Raises InputError unless each source can write its own files, one for each suffix.

    `reserved` are names of files in `out` that belong to all sources together, `lists` those of
    them that are asked for; `ours` tells the files that this command wrote before.

    Raises:
      InputError: two sources share a file, or an input or a file that is not ours would be
      overwritten.
    """
    _check_shared(sources, out, suffixes, reserved)
    inputs = {_inode(source.path) for source in sources}
    for path in (*(out / name for name in lists), *_written(sources, out, suffixes)):
        there = _inode(path)
        if there is None:
            continue
        if there in inputs:
            raise InputError(
                f"{path} is an input and would be overwritten; choose another --out."
            )
        if not ours(path):
            raise InputError(
                f"{path} exists already, and this command did not write it; choose another "
                "--out, or move it away."
            )


def _check_shared(
    sources: Sequence[Input],
    out: pathlib.Path,
    suffixes: Sequence[str],
    reserved: Sequence[str],
) -> None:
    taken = {out / name: f"the list {name}" for name in reserved}
    folders: set[pathlib.Path] = set()
    for source in sources:
        for path in _targets(source, out, suffixes):
            if path in taken:
                raise _shared(taken[path], source, path)
            taken[path] = str(source.path)
        if source.frames is not None:
            folders.add(out / source.base(None))
    for source in sources:
        for path in _targets(source, out, suffixes) if source.frames is None else ():
            if path.parent in folders and _is_numbered(path):
                raise _shared(taken[path.parent], source, path)


def _shared(other: str, source: Input, path: pathlib.Path) -> InputError:
    return InputError(
        f"{other} and {source.path} would both be written to {path}; rename one, or predict "
        "them into different folders."
    )


def _targets(
    source: Input, out: pathlib.Path, suffixes: Sequence[str]
) -> Iterator[pathlib.Path]:
    """Yields a source's files, or the folder of its frames and its video."""
    base = out / source.base(None)
    if source.frames is None:
        yield from (base.with_name(base.name + suffix) for suffix in suffixes)
    else:
        yield base
        yield base.with_name(base.name + FILM)


def _written(
    sources: Sequence[Input], out: pathlib.Path, suffixes: Sequence[str]
) -> Iterator[pathlib.Path]:
    """Yields the files that would be written; for numbered frames, those there now."""
    for source in sources:
        if source.frames is None:
            yield from _targets(source, out, suffixes)
            continue
        folder, film = _targets(source, out, suffixes)
        if source.is_video and Overlay.suffix in suffixes:
            yield film
        if folder.is_dir():
            each = (*suffixes, Frame.suffix)
            found = (path for path in folder.iterdir() if _is_numbered(path))
            yield from sorted(path for path in found if path.name.lstrip("0123456789") in each)


def _is_numbered(path: pathlib.Path) -> bool:
    return path.name[:6].isdigit()


def _inode(path: pathlib.Path) -> tuple[int, int] | None:
    """Returns what is the same for two paths to one file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino

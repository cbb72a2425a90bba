"""Where files lie: the user's folder, its images by stem, lists of stems, images with masks."""

import pathlib
from collections.abc import Iterable, Sequence

from segjax.data.prepare import Source, raise_first
from segjax.errors import InputError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
MASKS = (".png", ".bmp", ".tif", ".tiff", ".gif")
"""Without loss: a JPEG would change label ids."""


def existing_folder(directory: str | None, dataset: str, contents: str) -> pathlib.Path:
    """The user's folder as an absolute path.

    Raises:
      InputError: there is none; the line says which dataset needs one, and what it should hold.
    """
    remedy = f"give directory=... or --data DIR, the folder that holds {contents}."
    if directory is None:
        raise InputError(f"{dataset} does not know where its files are: {remedy}")
    folder = pathlib.Path(directory).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"{dataset} has directory={directory!r}, which is no folder: {remedy}")
    return folder


def by_stem(folder: pathlib.Path, suffixes: Sequence[str]) -> dict[str, pathlib.Path]:
    """Files below `folder` with one of `suffixes` (any case), by relative path without suffix.

    Raises:
      InputError: the folder is missing, or two files differ in nothing but their suffix.
    """
    if not folder.is_dir():
        raise InputError(
            f"The folder {folder} is missing: make it, or mend directory=... (--data)."
        )
    files: dict[str, pathlib.Path] = {}
    problems = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.suffix.lower() not in suffixes or not path.is_file():
            continue
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in files:
            problems.append(f"{path} and {files[stem].name} share a name: remove one of them.")
        files[stem] = path
    raise_first(problems)
    return files


def listed(path: pathlib.Path) -> list[str]:
    """The lines of a list that are not empty.

    Raises:
      InputError: the file is missing or has no such line.
    """
    if not path.is_file():
        raise InputError(f"The list {path} is missing: it names one image a line.")
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    if not any(lines):
        raise InputError(f"The list {path} is empty: it names one image a line.")
    return [line for line in lines if line]


def listed_stems(path: pathlib.Path) -> list[str]:
    """The stem of the first path of each line, as the lists of VOC, SBD and CamVid have it.

    Raises:
      InputError: the file is missing or has no such line.
    """
    return [pathlib.PurePosixPath(line.split()[0]).stem for line in listed(path)]


def paired(
    images: dict[str, pathlib.Path],
    masks: dict[str, pathlib.Path],
    stems: Iterable[str],
    *,
    image_folder: pathlib.Path,
    mask_folder: pathlib.Path,
) -> list[Source]:
    """One source a stem, in the order of `stems`.

    Raises:
      InputError: there are none, or one lacks its image or its mask.
    """
    sources, problems = [], []
    for stem in stems:
        if stem not in images:
            found = f"mask {masks[stem]}" if stem in masks else f"listed name {stem!r}"
            problems.append(
                f"The {found} has no image {image_folder / stem}.* "
                f"({' '.join(IMAGES)}): add it, or remove the entry."
            )
        elif stem not in masks:
            problems.append(
                f"The image {images[stem]} has no mask {mask_folder / stem}.* "
                f"({' '.join(MASKS)}): add it, or remove the image."
            )
        else:
            sources.append(Source(stem, images[stem], masks[stem]))
    raise_first(problems)
    if not sources:
        raise InputError(
            f"{image_folder} has no images ({' '.join(IMAGES)}): put some there, or mend "
            "directory=... (--data)."
        )
    return sources

"""Where files lie: what belongs to a folder, its files by stem, images with their masks."""

import collections
import os
import pathlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from segjax.data.faults import Fault, raise_first, report
from segjax.data.names import composed, inside, near_entry, nearest, printable
from segjax.data.source import Source
from segjax.errors import InputError, first_of

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
"""What datasets and `predict` read."""

MASKS = (".png", ".bmp", ".tif", ".tiff", ".gif")
"""Without loss: a JPEG would change label ids."""

IMAGES_BY_NAME = (".npy",)
MASKS_BY_NAME = (".npy", ".jpg", ".jpeg")
"""What a dataset reads too where a pattern or a list names these suffixes."""

LOSSY = (".jpg", ".jpeg", ".webp", ".heic", ".avif")

CLUTTER = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information")
"""Folders that systems put among the user's: resource forks, previews, what was deleted."""


def belongs(name: str) -> bool:
    """Returns whether a file or folder of this name counts, or is hidden or a system's own.

    Hidden ones do not count (`.DS_Store`; `._a.jpg`, which macOS writes beside `a.jpg`;
    `.ipynb_checkpoints`), nor do the folders that a system makes by itself.
    """
    return not name.startswith(".") and name.casefold() not in CLUTTER


def members(folder: pathlib.Path, suffixes: Sequence[str] | None) -> list[pathlib.Path]:
    """Returns the files in a folder and the folders below it, in alphabetical order.

    Datasets and `predict` share this rule: a file counts if it `belongs` and has one of
    `suffixes` (in any case; None: all). Symbolic links are followed. A folder counts once: of
    several ways to it, the one without links is taken, or else the first. Links that lead back
    to a folder above are left out.

    Raises:
      InputError: a folder cannot be read, or such a file is a link to nothing.
    """
    found = of_kind(walk(folder), suffixes)
    check_links(found)
    return found


def of_kind(
    walked: Iterable[tuple[pathlib.Path, Sequence[pathlib.Path]]],
    suffixes: Sequence[str] | None,
) -> list[pathlib.Path]:
    """Returns the `members` of a folder that was walked, and links to nothing."""
    return sorted(
        path
        for _, paths in walked
        for path in paths
        if suffixes is None or path.suffix.lower() in suffixes
    )


def check_links(paths: Iterable[pathlib.Path]) -> None:
    """Raises InputError if one of the paths is a symbolic link to nothing.

    Raises:
      InputError: one is; the line names the first.
    """
    raise_first(
        [
            f"{path} is a symbolic link to {os.readlink(path)}, which is not there: mend the "
            "link, or move it away."
            for path in paths
            if dangles(path)
        ]
    )


def walk(
    folder: pathlib.Path, *, through_links: bool = True
) -> Iterator[tuple[pathlib.Path, list[pathlib.Path]]]:
    """Yields (folder, its files and dangling links) for it and each folder below it, once each.

    Folders come before links to folders, so that what lies below is found without links first.
    Unless `through_links`, links to folders are left out.

    Raises:
      InputError: a folder cannot be read.
    """
    passed = folders_above(folder)
    links = collections.deque([folder])
    while links:
        stack = [links.popleft()]
        is_start = True
        while stack:  # Not by recursion: folders may be nested more deeply than calls.
            here = stack.pop()
            if not is_start and here.is_symlink():
                links.append(here)
                continue
            is_start = False
            paths = listed(here)
            if inode(here) in passed:
                continue
            passed.add(inode(here))
            yield here, [path for path in paths if path.is_file() or dangles(path)]
            below = [path for path in reversed(paths) if path.is_dir()]
            stack += [path for path in below if through_links or not path.is_symlink()]


def listed(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns what belongs to a folder, in alphabetical order.

    Raises:
      InputError: it cannot be read.
    """
    try:
        return [folder / name for name in sorted(filter(belongs, os.listdir(folder)))]
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be read ({error.strerror}): change its permissions, "
            "or move it away."
        ) from error


def folders_above(folder: pathlib.Path) -> set[tuple[int, int]]:
    """Returns the `inode` of each folder above: links that lead there are not followed."""
    return {inode(parent) for parent in folder.resolve().parents}


def inode(path: pathlib.Path) -> tuple[int, int]:
    """Returns what is the same for all paths to one file or folder."""
    status = path.stat()
    return status.st_dev, status.st_ino


def dangles(path: pathlib.Path) -> bool:
    """Returns whether it is a symbolic link to nothing."""
    return path.is_symlink() and not path.exists()


def existing_folder(directory: str | None, dataset: str, contents: str) -> pathlib.Path:
    """Returns the user's folder as an absolute path.

    Raises:
      InputError: there is none; the line says which dataset needs one, and what it should hold.
    """
    remedy = f"give directory=... or --data DIR, the folder that holds {contents}."
    if directory is None:
        raise InputError(f"{dataset} does not know where its files are: {remedy}")
    given = pathlib.Path(directory).expanduser().absolute()
    folder = inside(pathlib.Path(given.anchor), str(given)).resolve()
    if not folder.is_dir():
        near = near_entry(folder)
        raise InputError(
            f"{dataset} has directory={directory!r}, which is not a folder{near}: {remedy}"
        )
    return folder


def _beside(folder: pathlib.Path) -> str:
    """Returns which folders lie where one is missing, as a clause, or ""."""
    above = folder.parent
    if not above.is_dir():
        return ""
    names = sorted(f"{p.name}/" for p in above.iterdir() if belongs(p.name) and p.is_dir())
    if not names:
        return ""
    there = first_of(names, most=4)
    return f" ({above} holds {there}: if your files are there, change image=... and mask=...)"


def by_stem(
    folder: pathlib.Path, suffixes: Sequence[str], *, fits: Callable[[str], Any] = bool
) -> dict[str, pathlib.Path]:
    """Returns the `members` of a folder by relative path without suffix, in its composed form.

    Paths that do not fit are left out.

    Raises:
      InputError: the folder is missing, or two files differ in nothing but their suffix or the
        Unicode form of their names.
    """
    if not folder.is_dir():
        raise InputError(
            f"The folder {folder} is missing{near_entry(folder) or _beside(folder)}: make "
            "it, or mend directory=... (--data)."
        )
    files: dict[str, pathlib.Path] = {}
    twice = []
    for path in members(folder, suffixes):
        stem = relative_stem(path, folder)
        if not fits(stem):
            continue
        if stem in files:
            twice.append(partial(_of_one_name, files[stem], path, suffixes))
        files[stem] = path
    report(twice)
    return files


def relative_stem(path: pathlib.Path, folder: pathlib.Path) -> str:
    """Returns a file's path below a folder without suffix, in its composed form."""
    return composed(path.relative_to(folder).with_suffix("").as_posix())


def _of_one_name(one: pathlib.Path, other: pathlib.Path, suffixes: Sequence[str]) -> Fault:
    if one.suffix == other.suffix:
        text = (
            f"{other} is there twice, with accents as characters of their own and without, "
            "which look the same: rename one of them."
        )
        return Fault("name_twice", text, other, one)
    if suffixes is MASKS:
        remedy = "an image has one mask: move one of them out of this folder, or rename it"
    else:
        remedy = (
            "the folder of images has one a name: if one is the mask of the other, move it to "
            "the folder of masks; else rename one of them"
        )
    text = f"{other} and {one.name} share a name, and {remedy}."
    return Fault("name_twice", text, other, one)


@dataclass(frozen=True)
class Place:
    """Where the files of images, or their masks, are looked for.

    Attributes:
      folder: it and the folders below it.
      suffixes: those that count.
      name: a file's path below `folder`, without suffix, by the stem of its image.
    """

    folder: pathlib.Path
    suffixes: tuple[str, ...]
    name: Callable[[str], str] = str

    def wanted(self, stem: str) -> str:
        """Returns in words which file is looked for."""
        path = self.folder / self.name(stem)
        if len(self.suffixes) == 1:
            return f"{path}{self.suffixes[0]}"
        return f"{path}.* ({' '.join(self.suffixes)})"


def paired(
    images: Mapping[str, pathlib.Path],
    masks: Mapping[str, pathlib.Path],
    stems: Iterable[str],
    *,
    image_place: Place,
    mask_place: Place,
) -> list[Source]:
    """Returns one source a stem, in the order of `stems`; both mappings are by the image's.

    Raises:
      InputError: there are none, or one lacks its image or its mask. The line names a file
        there that nearly fits, and why it was not taken.
    """
    stems, complete = list(stems), images.keys() & masks.keys()
    lacking = [stem for stem in stems if stem not in complete]
    with_image = [stem for stem in lacking if stem in images]
    if len(lacking) == len(stems) > 1 and with_image and not complete:
        report([partial(_no_masks, with_image[0], images, mask_place)])
    else:
        places = {"image_place": image_place, "mask_place": mask_place}
        unpaired = partial(_unpaired, images=images, masks=masks, **places)
        report([partial(unpaired, stem, near=i < MOST_NEAR) for i, stem in enumerate(lacking)])
    if not stems:
        raise InputError(
            f"{image_place.folder} has no images ({' '.join(image_place.suffixes)}): put some "
            "there, or mend directory=... (--data)."
        )
    stems = [stem for stem in stems if stem in complete]
    return [Source(printable(stem), images[stem], masks[stem]) for stem in stems]


LOSSY_MASK = (
    "which changes class ids: save masks as PNG, or name .jpg in mask=... if they are black "
    "and white"
)
MOST_NEAR = 20
"""Faults for which a file that nearly fits is looked for: each time the folder is walked."""


def _no_masks(stem: str, images: Mapping[str, pathlib.Path], mask_place: Place) -> Fault:
    near = _instead(stem, mask_place, (), lossy=LOSSY_MASK)
    return Fault(
        "missing_mask",
        f"None of the {len(images)} images has a mask: {images[stem]} would have "
        f"{mask_place.wanted(stem)}{near}. Change the folder or pattern of the masks.",
        images[stem],
    )


def _unpaired(
    stem: str,
    *,
    images: Mapping[str, pathlib.Path],
    masks: Mapping[str, pathlib.Path],
    image_place: Place,
    mask_place: Place,
    near: bool,
) -> Fault:
    """Returns the fault of a stem that lacks its image or its mask; with what is `near`."""
    complete = images.keys() & masks.keys()
    if stem in images:
        there = near and _instead(stem, mask_place, complete, lossy=LOSSY_MASK) or ""
        text = (
            f"The image {images[stem]} has no mask {mask_place.wanted(stem)}{there}: add "
            "the mask, or leave the image out."
        )
        return Fault("missing_mask", text, images[stem])
    others = complete if stem in masks else ()
    there = _several(stem) or (near and _instead(stem, image_place, others)) or ""
    found = f"mask {masks[stem]}" if stem in masks else f"listed name {stem!r}"
    text = (
        f"The {found} has no image {image_place.wanted(stem)}{there}: add the image, or "
        f"leave the {'mask' if stem in masks else 'name'} out."
    )
    return Fault("missing_image", text, *([masks[stem]] if stem in masks else []))


def _several(name: str) -> str:
    """Returns a clause on a listed name that is more than one name, or ""."""
    first = pathlib.PurePath(re.split(r"[\s,]", name, maxsplit=1)[0])
    odd = name.startswith(('"', "'")) or (str(first) != name and first.suffix.lower() in IMAGES)
    rule = "a line is one name, or an image and its mask, without quotation marks"
    return f"; {rule}" if odd else ""


def _instead(stem: str, place: Place, complete: Collection[str], *, lossy: str = "") -> str:
    """Returns a clause about the file that nearly fits and why it was not taken, or "".

    Files of `complete` pairs are the files of other stems.
    """
    wanted, folder = place.name(stem), place.folder
    there = {path: relative_stem(path, folder) for path in members(folder, None)}
    for path, found in there.items():
        if found == wanted:
            return f"; there is {path.name}, {_not_taken(path, lossy)}"
    others = {place.name(each) for each in complete}
    free = {
        str(path): found
        for path, found in there.items()
        if path.suffix.lower() in place.suffixes and found not in others
    }
    near = nearest(wanted, free)
    if near is None:
        return ""
    rule = "but names must be equal" if wanted == stem else "but the pattern wants another name"
    return f"; there is {near[0]} ({near[1]}), {rule}"


def _not_taken(path: pathlib.Path, lossy: str) -> str:
    """Returns why a file of the right name is not taken; `lossy` is said of a lossy one."""
    suffix = path.suffix.lower()
    if lossy and suffix in LOSSY:
        return lossy
    if suffix in IMAGES_BY_NAME:
        field = "mask" if lossy else "image"
        example = f'{field}="{path.parent.name}/{{stem}}{suffix}"'
        return f"which is read only where a pattern names {suffix}, as {example} does"
    return "but the pattern wants another suffix" if suffix in IMAGES else "which is not read"

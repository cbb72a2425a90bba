"""What names of folders say: splits, and names of images in the result."""

import pathlib

from segjax.data.names import composed, nearest

SPLITS = {
    "train": "train",
    "training": "train",
    "train_extra": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Words for splits, in lower case, without a year behind them."""


def split_of(word: str) -> str | None:
    """Returns "train", "val" or "test" for a word that means it, else None.

    >>> split_of("Validation"), split_of("train2017"), split_of("default")
    ('val', 'train', None)
    """
    return SPLITS.get(word.strip().casefold().rstrip("0123456789"))


def split_of_path(path: pathlib.Path, root: pathlib.Path) -> str | None:
    """Returns the split that a folder between a root and a file names, or None."""
    for part in reversed(path.relative_to(root).parts[:-1]):
        if found := split_of(part):
            return found
    return None


def name_below(path: pathlib.Path, root: pathlib.Path, *, without: tuple[str, ...] = ()) -> str:
    """Returns a file's path below a root, without suffix and without some folders.

    `without` names these folders in lower case, such as "images".
    """
    *folders, _ = path.relative_to(root).parts
    kept = [part for part in folders if part.casefold() not in without]
    return composed("/".join([*kept, path.stem]))


def near_class(name: str, names: tuple[str, ...]) -> str:
    """Returns a clause about the class name nearest to an unknown one, or ""."""
    found = nearest(name, {other: other for other in names})
    return f"; near: {found[0]!r}" if found else ""

"""What names say: splits, and classes that are nearly meant."""

import pathlib

from segjax.data.names import nearest

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
    folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    for part in reversed(folders):
        if found := split_of(part):
            return found
    return None


def near_class(name: str, names: tuple[str, ...]) -> str:
    """Returns a clause about the class name nearest to an unknown one, or ""."""
    found = nearest(name, {other: other for other in names})
    return f"; near: {found[0]!r}" if found else ""

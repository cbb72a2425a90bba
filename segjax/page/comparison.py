"""Predictions of several runs for one image, compared by the names of their classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8


def agreement(
    labels: Sequence[UInt8[np.ndarray, "h w"]], class_names: Sequence[Sequence[str]]
) -> float | None:
    """Returns the share of pixels for which all runs predict a class of the same name.

    It is None for a single run, and for runs without a common class.

    >>> sky, road = np.uint8([[0, 0]]), np.uint8([[0, 1]])
    >>> agreement([sky, road], [("sky", "road"), ("sky", "road")])
    0.5
    >>> agreement([sky, road], [("road", "sky"), ("sky", "road")])
    0.5
    """
    if len(labels) < 2 or not set.intersection(*map(set, class_names)):
        return None
    ids: dict[str, int] = {}
    tables = [
        np.array([ids.setdefault(name, len(ids)) for name in names]) for names in class_names
    ]
    first, *others = (table[label] for table, label in zip(tables, labels, strict=True))
    agree = np.all([first == other for other in others], axis=0)
    return float(agree.mean())


def unshared(class_names: Sequence[Sequence[str]]) -> list[list[str]]:
    """Returns for each run its classes that another run does not have, in its own order.

    >>> unshared([("sky", "road", "car"), ("car", "sky")])
    [['road'], []]
    """
    common = set.intersection(*map(set, class_names)) if class_names else set()
    return [[name for name in names if name not in common] for names in class_names]


def comparison(
    labels: Sequence[UInt8[np.ndarray, "h w"]], class_names: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Returns `agreement`, and as `unshared` the classes that not all runs have."""
    return {"agreement": agreement(labels, class_names), "unshared": unshared(class_names)}

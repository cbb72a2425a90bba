"""Which kind each entry of an example is: a transform moves everything, or refuses by name.

`KINDS` is the table of the names that segjax knows. An entry of another name is text or a
number, which stays as it is, or has been declared:

    transforms=(Declare("depth", Nearest()), RandomScale(), RandomCrop(513), RandomFlip())

The example carries what was declared under "kinds", so that it reaches every later transform,
in threads and worker processes alike, and a dataset may return "kinds" itself. Anything else is
an `InputError`: a depth map that stayed behind at a flip would be learned without a word.
"""

import numbers
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.labels import check_image, check_map, example_name
from segjax.transforms.kinds import (
    Bilinear,
    Boxes,
    Fixed,
    Follows,
    Image,
    Kind,
    Motion,
    Nearest,
    Points,
)
from segjax.transforms.visible_objects import has_masks, visible_objects

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "image": Image(),
        "label": Nearest(),
        "weight": Bilinear(),
        "points": Points(),
        "boxes": Boxes(),
        "classes": Follows("boxes"),
        "instance_ids": Follows("boxes"),
        "crowd": Follows("boxes"),
        # As annotated: no transform changes them, and no transform's result is scored.
        "areas": Follows("boxes"),
        # Which pixel belongs to which instance; 0, unlike 255, is never the number of one.
        "instances": Nearest(fill=0),
        # Height and width of the image before it was padded.
        "size": Fixed(),
        "name": Fixed(),
        "kinds": Fixed(),
    }
)
"""The kind of each entry that segjax knows by its name."""

PLAIN = (str, bytes, numbers.Number, np.generic, os.PathLike, type(None))
"""What an entry of any name may be without a place in the image; arrays of shape () too."""


@dataclass(frozen=True)
class Declare:
    """Says of which kind the entry `key` is, to all transforms after it.

    It comes first. `kind` is one of `segjax.transforms.kinds`, or of your own: `Image()` for
    another photograph, `Nearest()` for another label or a measured target, `Bilinear()` for a
    map of numbers that the network reads, `Points()`, `Boxes()`, `Follows("boxes")` for one
    item a box, `Fixed()` for what has no place in the image. It may also give a known name
    another kind: `Declare("label", Bilinear())`.
    """

    key: str
    kind: Kind

    def __post_init__(self):
        if self.key in ("image", "kinds"):
            raise InputError(f"Declare cannot change what {self.key!r} is; name another key.")
        _check_kind(f"Declare({self.key!r}, …)", self.kind)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example that knows the entry's kind, whether it has the entry or not."""
        return {**example, "kinds": {**example.get("kinds", {}), self.key: self.kind}}


def kinds_of(example: Example, *, by: str) -> dict[str, Kind]:
    """Returns the kind of each entry of an example, in the order of the entries.

    Raises:
      InputError: an entry has none; names it, the transform `by` and the remedy.
    """
    declared = _declared(example)
    kinds = {}
    for key, value in example.items():
        if key in declared:
            kinds[key] = declared[key]
        elif isinstance(value, PLAIN) or getattr(value, "shape", None) == ():
            kinds[key] = Fixed()
        elif key == "objects" and "boxes" in example:
            raise InputError(
                f"{example_name(example)}: {by} comes after PackObjects, whose slots no "
                "transform moves: put PackObjects last."
            )
        else:
            shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
            raise InputError(
                f"{example_name(example)}: {by} does not know how to move the entry {key!r} "
                f"({type(value).__name__}{shape}): say it at the start of transforms, for "
                f"example with Declare({key!r}, Nearest()) of segjax.transforms.entries and "
                "segjax.transforms.kinds, or with Fixed() if it is to stay as it is."
            )
    return kinds


def checked_kinds(example: Example, *, by: str) -> dict[str, Kind]:
    """Returns `kinds_of` an example in which every entry is what its kind says.

    Raises:
      InputError: an entry has no kind or is not of it; names example, entry and remedy.
    """
    kinds = kinds_of(example, by=by)
    check_image(example)
    size = example["image"].shape[:2]
    for key, kind in kinds.items():
        if key == "image":
            continue
        if key in ("label", "weight") and isinstance(kind, Nearest | Bilinear):
            check_map(example, key, planes=True)
        if fault := kind.fault(example[key], size):
            # Points, boxes and what follows them are so by their names alone.
            other = f", or Declare({key!r}, Fixed()) if it is another thing"
            hint = other if isinstance(kind, Points | Boxes | Follows) else ""
            raise InputError(f"{example_name(example)}: {key!r} {fault}{hint}.")
        if isinstance(kind, Follows):
            _check_follows(example, key, kind.of, kinds)
    return kinds


def unmoved(
    example: Example,
    *,
    by: str,
    fill: float | tuple[float, ...] | None = None,
    knows_places: bool = True,
    repeats: bool = False,
) -> Example:
    """Returns a new example with the same pixels, where chance skips the transform `by`.

    It is refused where `move` would refuse it, and points and boxes outside are dropped as
    there: neither hangs on a random number.

    Args:
      example: what the transform was given.
      by: the transform's name, for messages.
      fill: what the transform fills images with, as in its `Motion`.
      knows_places: whether the transform can tell where points and boxes go.
      repeats: whether the transform shows parts of the example twice.

    Raises:
      InputError: the transform would not take the example.
    """
    same = lambda values, *_: values
    motion = Motion(
        by=by,
        size=size_of(example, by=by),
        bilinear=same,
        nearest=same,
        places=same if knows_places else None,
        fill=fill,
        repeats=repeats,
    )
    return move(example, motion)


def move(example: Example, motion: Motion) -> Example:
    """Returns a new example in which every entry has moved as its kind does.

    Objects whose masks are known go when their last pixel does (`visible_objects`).

    Raises:
      InputError: an entry has no kind, is not of it, or cannot be moved by this transform.
    """
    kinds = checked_kinds(example, by=motion.by)
    name = example_name(example)
    # What is seen twice has one box in the masks, and none that is right.
    by_masks = has_masks(kinds) and not motion.repeats
    moved, kept = {}, {}
    for key, kind in kinds.items():
        if by_masks and key == "boxes":
            continue
        moved[key] = kind.move(example[key], motion, what=f"{name}: {key!r}")
        if isinstance(kind, Points | Boxes):
            moved[key], kept[key] = kind.clipped(moved[key], motion.size)
    if by_masks:
        moved["boxes"], kept["boxes"] = visible_objects(example, moved["instances"], motion)
    for key, kind in kinds.items():
        if isinstance(kind, Follows):
            moved[key] = moved[key][kept[kind.of]]
    return {key: moved[key] for key in kinds}


def change_images(
    example: Example, change: Callable[[np.ndarray], np.ndarray], *, by: str
) -> Example:
    """Returns a new example with `image` and everything declared `Image()` recoloured.

    Raises:
      InputError: an entry has no kind, so that it might be an image, or is not of its kind.
    """
    kinds = checked_kinds(example, by=by)
    is_image = lambda key: isinstance(kinds[key], Image)
    return {key: change(value) if is_image(key) else value for key, value in example.items()}


def size_of(example: Example, *, by: str) -> tuple[int, int]:
    """Returns (height, width) of an example that `move` takes.

    Raises:
      InputError: `move` would not take it.
    """
    checked_kinds(example, by=by)
    h, w, _ = example["image"].shape
    return h, w


def _declared(example: Example) -> Mapping[str, Kind]:
    own = example.get("kinds", {})
    if not isinstance(own, Mapping):
        raise InputError(
            f"{example_name(example)}: 'kinds' must be a dictionary of kinds by key, got "
            f"{type(own).__name__}."
        )
    for key, kind in own.items():
        if key in ("image", "kinds"):
            raise InputError(
                f"{example_name(example)}: 'kinds' cannot change what {key!r} is; leave it out."
            )
        _check_kind(f"{example_name(example)}: the kind of {key!r}", kind)
    return {**KINDS, **own}


def _check_kind(what: str, kind: Any) -> None:
    if isinstance(kind, type) or not isinstance(kind, Kind):
        call = f"write {kind.__name__}()" if isinstance(kind, type) else "write Nearest()"
        raise InputError(
            f"{what} must be one of segjax.transforms.kinds, got {kind!r}: {call}, for example."
        )


def _check_follows(example: Example, key: str, of: str, kinds: Mapping[str, Kind]) -> None:
    if not isinstance(kinds.get(of), Points | Boxes):
        found = f"is {type(kinds[of]).__name__}" if of in kinds else "is not there"
        raise InputError(
            f"{example_name(example)}: {key!r} has one item for each of {of!r}, which {found}: "
            f"give {of!r} points or boxes, or Declare({key!r}, Fixed()) if it is another thing."
        )
    if len(example[key]) != len(example[of]):
        raise InputError(
            f"{example_name(example)}: {key!r} has {len(example[key])} items for "
            f"{len(example[of])} of {of!r}; give one for each."
        )

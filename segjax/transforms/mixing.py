"""Two examples in one: pixels of a partner are pasted onto an example, in all entries alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.labels import example_name
from segjax.objects import STATED
from segjax.transforms.entries import checked_kinds
from segjax.transforms.geometric import crop
from segjax.transforms.kinds import Bilinear, Fixed, Follows, Image, Kind, Nearest, Points
from segjax.transforms.mixed_objects import mixed_objects
from segjax.transforms.visible_objects import has_masks

COVERED = "covered by the partner"
"""The key of the map of pixels that a window has from its example."""

Mask = Bool[np.ndarray, "h w"]


def check_mixable(transform: Any, example: Example, partners: Sequence[Example]) -> None:
    """Raises InputError unless a transform can mix an example of these entries.

    Raises:
      InputError: the partners are too few, or the example has boxes without masks, is on a
        canvas, or has another entry whose mixture is not defined; the line names the entry.
    """
    by = type(transform).__name__
    if len(partners) < transform.partners:
        raise InputError(
            f"{by} mixes an example with {transform.partners} other(s), got {len(partners)}: "
            "put it into the experiment's transforms, for which the loader draws partners."
        )
    kinds = checked_kinds(example, by=by)
    if "boxes" in kinds and "size" in kinds:
        raise InputError(
            f"{example_name(example)}: {by} comes after Canvas, and objects of another example "
            f"may lie outside of this image: put {by} before Canvas."
        )
    for key, kind in kinds.items():
        if key == "boxes" and has_masks(kinds):
            continue
        if not isinstance(kind, Image | Nearest | Bilinear | Points | Follows | Fixed):
            why = (
                f"does not know which {key!r} stay visible: leave {by} out, or let the dataset "
                "give the masks of its boxes (segjax.objects)"
            )
            raise InputError(f"{example_name(example)}: {by} {why}.")


def fitted(
    partner: Example, top: int, left: int, size: tuple[int, int], *, by: str
) -> tuple[Example, Mask]:
    """Returns a window of a partner as `crop` does, and the mask of the partner's pixels."""
    if (top, left) == (0, 0) and partner["image"].shape[:2] == size:
        return partner, np.ones(size, bool)
    kinds = {**partner.get("kinds", {}), COVERED: Nearest(fill=0)}
    covered = np.ones(partner["image"].shape[:2], np.uint8)
    window = dict(crop({**partner, COVERED: covered, "kinds": kinds}, top, left, size, by=by))
    covered = window.pop(COVERED)
    if "kinds" in partner:
        return {**window, "kinds": partner["kinds"]}, covered == 1
    del window["kinds"]
    return window, covered == 1


def paste(example: Example, partner: Example, mask: Mask, *, by: str) -> Example:
    """Returns the example with the partner's pixels where `mask` is true.

    Images, labels and maps are the partner's there. Points, with what follows them, stay where
    they are visible. Objects with boxes stay as `mixed_objects` says; the areas that their
    annotations state hold no longer and are left out. Numbers of instances remain distinct.
    Entries without a place, such as the name, are the example's.

    Raises:
      InputError: the two have other entries, sizes or dtypes.
    """
    example, partner = _without_areas(example), _without_areas(partner)
    kinds, other = checked_kinds(example, by=by), checked_kinds(partner, by=by)
    if kinds.keys() != other.keys():
        raise InputError(
            f"{by} cannot mix {example_name(example)} of {', '.join(sorted(kinds))} and "
            f"{example_name(partner)} of {', '.join(sorted(other))}: let the dataset give all "
            "examples the same entries."
        )
    seen = {
        key: (_inside(example[key], ~mask), _inside(partner[key], mask))
        for key, kind in kinds.items()
        if isinstance(kind, Points)
    }
    objects: dict[str, Any] = {}
    if has_masks(kinds):
        objects = mixed_objects(example, partner, mask, followers(kinds))
    return {
        key: objects[key]
        if key in objects
        else _pasted(key, kind, example, partner, mask, seen, by=by)
        for key, kind in kinds.items()
    }


def followers(kinds: Mapping[str, Kind]) -> list[str]:
    """Returns the entries with one item a box, but for `instance_ids`."""
    follows = lambda kind: isinstance(kind, Follows) and kind.of == "boxes"
    return [key for key, kind in kinds.items() if follows(kind) and key != "instance_ids"]


def _without_areas(example: Example) -> Example:
    return {key: value for key, value in example.items() if key not in STATED}


def _pasted(
    key: str,
    kind: Kind,
    example: Example,
    partner: Example,
    mask: Mask,
    seen: dict[str, tuple[np.ndarray, np.ndarray]],
    *,
    by: str,
) -> Any:
    ours, theirs = example[key], partner[key]
    if isinstance(kind, Image | Nearest | Bilinear):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise InputError(
                f"{by} cannot mix {key!r} of {example_name(example)}, {ours.dtype} of shape "
                f"{ours.shape}, and of {example_name(partner)}, {theirs.dtype} of shape "
                f"{theirs.shape}: let the dataset give one type and one number of channels."
            )
        if key == "instances":
            theirs = _renumbered(theirs, ours, example)
        pasted = ours.copy()
        pasted[mask] = theirs[mask]
        return pasted
    if isinstance(kind, Points | Follows):
        own, others = seen[kind.of if isinstance(kind, Follows) else key]
        return np.concatenate([ours[own], theirs[others]])
    return ours


def _inside(points: Shaped[np.ndarray, "n 2"], mask: Mask) -> Bool[np.ndarray, "n"]:
    """Returns which points lie in a pixel of the mask."""
    h, w = mask.shape
    column, row = np.floor(points).astype(int).T
    return mask[row.clip(0, h - 1), column.clip(0, w - 1)]


def _renumbered(
    theirs: Shaped[np.ndarray, "h w ..."], ours: Shaped[np.ndarray, "h w ..."], example: Example
) -> Shaped[np.ndarray, "h w ..."]:
    """Returns the partner's instances with numbers that the example does not have."""
    start, most = int(ours.max()), int(theirs.max())
    if ours.dtype.kind in "iu" and start + most > np.iinfo(ours.dtype).max:
        raise InputError(
            f"{example_name(example)}: 'instances' is {ours.dtype}, which cannot hold "
            f"{start + most} numbers of two examples: let the dataset return it as int32."
        )
    return np.where(theirs > 0, theirs + start, 0).astype(ours.dtype)

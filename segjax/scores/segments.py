"""The class whose connected regions are the segments of an image of cells and membranes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int32

from segjax.errors import InputError
from segjax.scores.extra_metric import Plane, ScoredImage


def segment_class(
    segments: str | None, class_names: Sequence[str], *, overlapping: bool, who: str
) -> int:
    """Returns the index of the class `segments`; None: the last, if there is no choice.

    Raises:
      InputError: there is no such class, or None leaves a choice.
    """
    names = list(class_names)
    if segments is None:
        if len(names) == (1 if overlapping else 2):
            return len(names) - 1
        raise InputError(
            f"{who}() needs the class whose regions are the segments, such as "
            f"{who}(segments={names[-1]!r}); the classes are {', '.join(names)}."
        )
    if segments not in names:
        raise InputError(
            f"{who}(segments={segments!r}) is not one of the classes {', '.join(names)}."
        )
    return names.index(segments)


def segment_plane(segments: str | None, image: ScoredImage, *, who: str) -> Plane:
    """Returns the masks of the class `segments`."""
    overlapping = image.is_overlapping
    return image.plane(
        segment_class(segments, image.class_names, overlapping=overlapping, who=who)
    )


def regions(mask: Bool[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Returns the connected regions of a mask as 1, 2, …; pixels connect by their sides.

    >>> regions(np.array([[True, False], [False, True]])).tolist()
    [[1, 0], [0, 2]]
    """
    from scipy import ndimage

    labelled, _ = ndimage.label(mask)  # type: ignore[misc]
    return labelled.astype(np.int32)

"""What Panoptic-DeepLab learns of objects: centres, and the way to them from each pixel."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from segjax.contracts import IGNORE, Example
from segjax.errors import InputError
from segjax.objects import ENTRIES, STATED
from segjax.transforms.fields import check_count, check_number

ENOUGH = 3
"""Standard deviations from a centre beyond which the heat-map is 0."""


@dataclass(frozen=True)
class CenterTargets:
    """The last transform for Panoptic-DeepLab: maps take the place of the list of objects.

    The example loses `boxes`, `classes`, `instance_ids`, `crowd` and `instances`, and gains

        center          h w, float32     a Gaussian around each object's centre of mass, the
                                         largest where several meet; 1 at the nearest pixel
        center_weight   h w, float32     0 on crowds and where the label is 255, else 1
        offset          h w 2, float32   (down, right) in pixels to the centre of mass; else 0
        offset_weight   h w, float32     1 on objects, 0 elsewhere and on crowds
        weight          h w, float32     of the label: `small_weight` on small objects, else 1

    So batches have the same shapes whatever the number of objects, and the devices do not need
    to know it. An object is what the other transforms left of it: a crop moves its centre. An
    existing `weight` is multiplied. Where layers overlap, a pixel belongs to the largest id, as
    in `PanopticMap.of_example`.

    Attributes:
      sigma: standard deviation of the Gaussian in pixels; beyond 3 of them the heat-map is 0.
      small_area: pixels below which an object is small.
      small_weight: of the label of small objects.

    Source: Panoptic-DeepLab (Cheng et al., 2020), sections 3.2 and 3.4.
    """

    sigma: float = 8.0
    small_area: int = 64 * 64
    small_weight: float = 3.0

    def __post_init__(self):
        check_number(self, "sigma", 1e-3)
        check_count(self, "small_area", 0)
        check_number(self, "small_weight", 0)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example with maps in place of its objects.

        Raises:
          InputError: the example has no objects.
        """
        if missing := [
            key for key in ("instances", "instance_ids", "crowd") if key not in example
        ]:
            raise InputError(
                f"CenterTargets: example {example.get('name', '(without a name)')!r} has no "
                f"{missing[0]!r}: use a dataset with objects, such as one of panoptic labels."
            )
        kept = {key: value for key, value in example.items() if key not in (*ENTRIES, *STATED)}
        return {**kept, **self._maps(example)}

    def _maps(self, example: Example) -> dict[str, Any]:
        label, ids = example["label"], example["instances"].max(-1)
        size = label.shape
        center, weight = np.zeros(size, np.float32), np.ones(size, np.float32)
        offset, on_object = np.zeros((*size, 2), np.float32), np.zeros(size, np.float32)
        counts = (label != IGNORE).astype(np.float32)
        # One sort finds the pixels of all objects, whatever their number.
        flat = ids.ravel()
        place = np.flatnonzero(flat)
        place = place[np.argsort(flat[place], kind="stable")]
        numbers, first = np.unique(flat[place], return_index=True)
        is_crowd = dict(zip(example["instance_ids"].tolist(), example["crowd"], strict=True))
        for number, where in zip(numbers.tolist(), np.split(place, first[1:]), strict=False):
            y, x = np.unravel_index(where, size)
            if is_crowd.get(number, True):
                counts[y, x] = 0
                continue
            middle = np.array([y.mean(), x.mean()])
            self._add_peak(center, middle)
            offset[y, x] = middle - np.stack([y, x], -1)
            on_object[y, x] = 1
            if len(where) < self.small_area:
                weight[y, x] = self.small_weight
        if "weight" in example:
            weight = weight * example["weight"].astype(np.float32)
        return {
            "center": center,
            "center_weight": counts,
            "offset": offset,
            "offset_weight": on_object,
            "weight": weight,
        }

    def _add_peak(self, center: Float[np.ndarray, "h w"], middle: np.ndarray) -> None:
        """Raises the heat-map to the Gaussian around the pixel nearest to `middle`."""
        reach = int(np.ceil(ENOUGH * self.sigma))
        peak = np.floor(middle + 0.5).astype(int)
        rows, columns = (
            np.arange(max(0, at - reach), min(side, at + reach + 1)) - at
            for at, side in zip(peak.tolist(), center.shape, strict=True)
        )
        square = rows[:, None] ** 2 + columns[None, :] ** 2
        part = center[
            peak[0] + rows[0] : peak[0] + rows[-1] + 1,
            peak[1] + columns[0] : peak[1] + columns[-1] + 1,
        ]
        np.maximum(part, np.exp(square / (-2 * self.sigma**2)), out=part, casting="same_kind")

"""The metric of instance tasks: COCO's average precision over the whole set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segjax.contracts import Example, WithObjects
from segjax.objects import Objects
from segjax.parallel.sums import gather_by_index, gather_bytes
from segjax.report.score import Score
from segjax.scores.average_precision import SIZES, AveragePrecision, average_precision
from segjax.scores.object_matches import image_ap
from segjax.tasks.packing import from_bytes, pack_objects, to_bytes, unpack_objects
from segjax.tasks.task import Metric

TITLES = {"mask": "Mask AP", "box": "Box AP", "boundary": "Boundary AP"}


class InstanceMetric(Metric):
    """AP of masks and of boxes; images are ranked by the primary AP of each alone.

    True and predicted objects are kept as run lengths until all images are there. Their order
    is that of the images, so that neither batches nor processes change a score.

    Attributes:
      results: {kind: `AveragePrecision`}, after `scores`.
    """

    def __init__(
        self,
        data: WithObjects,
        *,
        masks: bool = True,
        boundary: bool = False,
        most: int = 100,
    ):
        """Builds a metric that has counted nothing.

        Args:
          data: names the classes and the things, whose objects are scored.
          masks: whether predictions have masks; the AP of masks is then the primary score.
          boundary: whether to score boundaries of masks too, which takes longer.
          most: detections of a class and image that count. COCO's are 100; images of cells may
            have more objects.
        """
        self._class_names, self._things = tuple(data.class_names), tuple(data.things)
        self._most = most
        self._images: dict[int, tuple[Objects, Objects, Sequence[float] | None]] = {}
        self._ranking: dict[int, float] = {}
        self.kinds = ("mask", "box") if masks else ("box",)
        if boundary and masks:
            self.kinds = (*self.kinds, "boundary")
        self.results: dict[str, AveragePrecision] = {}
        self.shown = {}
        for kind in self.kinds:
            title = TITLES[kind]
            self.shown[f"{kind}_ap"] = Score(title, is_logged=True)
            if kind != "boundary":
                first = kind == self.kinds[0]
                self.shown[f"{kind}_ap50"] = Score(f"{title} at IoU 0.5", is_logged=first)
                self.shown[f"{kind}_ap75"] = Score(f"{title} at IoU 0.75")
        self.convention = (
            "COCO's average precision over the whole set: the mean over ten thresholds of IoU "
            "from 0.5 to 0.95, and over the classes that have a true object. "
            f"{most} detections of a class and image count."
        )

    def __repr__(self) -> str:
        return f"InstanceMetric({len(self._class_names)} classes, {len(self._images)} images)"

    def add(self, index: int, example: Example, prediction: Objects) -> None:
        """Keeps the objects of one image.

        An example may have `areas`, n: those that annotations state, which decide whether an
        object is small; by default they are those of the masks.
        """
        truth, areas = Objects.of_example(example), example.get("areas")
        self._images[index] = truth, prediction, None if areas is None else [*map(float, areas)]
        self._ranking[index] = image_ap(truth, prediction, kind=self.kinds[0], most=self._most)

    def merge(self, total: int) -> None:
        """Gathers the objects of all processes, and the images' own scores."""
        self._ranking = gather_by_index(self._ranking, total)
        shares = gather_bytes(lambda: to_bytes(self._packed()))
        for share in shares:
            self._images |= _unpacked(from_bytes(share))

    def _packed(self) -> dict[str, np.ndarray]:
        rows = [*self._images.values()]
        areas = [[-1.0] * len(truth) if told is None else told for truth, _, told in rows]
        packed = {"index": np.array([*self._images], np.int64)}
        packed["areas"] = np.concatenate([np.zeros(0), *areas])
        both = {"truth": [row[0] for row in rows], "prediction": [row[1] for row in rows]}
        for who, images in both.items():
            arrays = pack_objects(images)
            packed |= {f"{who}/{name}": array for name, array in arrays.items()}
        return packed

    def scores(self) -> dict[str, Any]:
        """Returns the scores by name; None where no class has a true object.

        For each kind of `kinds`: COCO's twelve numbers, such as `mask_ap`, `mask_ap50`,
        `mask_ap_small` and `mask_ar100`; by class `mask_ap_by_class` and
        `mask_ap50_by_class`. `objects_by_class` counts true objects.
        """
        order = sorted(self._images)
        images = [self._images[i] for i in order]
        names = [self._class_names[i] for i in sorted(self._things)]
        found: dict[str, Any] = {}
        for kind in self.kinds:
            result = self.results[kind] = average_precision(
                [truth for truth, _, _ in images],
                [prediction for _, prediction, _ in images],
                classes=self._things,
                kind=kind,
                areas=[areas for _, _, areas in images],
                most=self._most,
            )
            found |= {f"{kind}_{name}": value for name, value in result.summary().items()}
            by_class = {"ap": result.ap_by_class(), "ap50": result.ap_by_class(iou=0.5)}
            for name, values in by_class.items():
                found[f"{kind}_{name}_by_class"] = dict(zip(names, values, strict=True))
        objects = self.results[self.kinds[0]].objects
        found["objects_by_class"] = dict(zip(names, objects.tolist(), strict=True))
        return found

    @property
    def entries(self) -> tuple[str, ...]:
        """The names of the scores, which do not depend on what was counted."""
        limits = sorted({1, 10, self._most})
        ends = ["ap", "ap50", "ap75", "ap_by_class", "ap50_by_class"]
        ends += [f"{what}_{size}" for what in ("ap", "ar") for size in SIZES[1:]]
        ends += [f"ar{limit}" for limit in limits]
        return (*(f"{kind}_{end}" for kind in self.kinds for end in ends), "objects_by_class")

    def ranking(self) -> Mapping[int, float]:
        """Returns {index: AP of that image alone}, NaN where it has no true object."""
        return self._ranking


def _unpacked(
    packed: Mapping[str, np.ndarray],
) -> dict[int, tuple[Objects, Objects, Sequence[float] | None]]:
    part = lambda who: unpack_objects(
        {
            name.removeprefix(f"{who}/"): array
            for name, array in packed.items()
            if name.startswith(f"{who}/")
        }
    )
    truths, first, found = part("truth"), 0, {}
    for index, truth, prediction in zip(
        packed["index"].tolist(), truths, part("prediction"), strict=True
    ):
        areas = packed["areas"][first : first + len(truth)].tolist()
        told = None if any(area < 0 for area in areas) else areas
        found[index] = truth, prediction, told
        first += len(truth)
    return found

"""Objects of an image on the host: what datasets know, and what networks find.

An example that has objects holds five entries beside `image`, `label` and `name`. They are one
item an object, but for `instances`, whose layers show objects that cover one another:

    boxes         n 4, float32      (x0, y0, x1, y1) in pixels, as `transforms.kinds` says
    classes       n, int32          class ids of the dataset's `class_names`
    instance_ids  n, int32          the values in `instances`, each at least 1
    crowd         n, bool           whether it is a region of many objects, which is not counted
    instances     h w l, uint16     in each layer the object of a pixel, or 0

    object 1 below object 2         layer 0   1 1 1 0      layer 1   0 2 2 2

A pixel belongs to an object if one of its layers says so. Objects that do not overlap need one
layer.

Where annotations state areas, as COCO's do, there is a sixth entry, which decides what is
small, medium and large in the scores:

    areas         n, float64        pixels of the image before any transform
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer
from pycocotools import mask as coco_mask

ENTRIES = ("boxes", "classes", "instance_ids", "crowd", "instances")
"""The entries of an example that has objects."""

STATED = ("areas",)
"""The entries that an example with objects may have too, one item an object."""

Rle = Mapping[str, Any]
"""A mask as COCO's run lengths: {"size": [height, width], "counts": bytes}."""


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """The n objects of an image, whose masks may overlap.

    Attributes:
      size: the image's height and width.
      boxes: n 4, (x0, y0, x1, y1) in pixels.
      classes: n, class ids of the dataset's `class_names`.
      scores: n, from 0 to 1; of true objects 1.
      crowd: n, whether it is a region of many objects; of found objects False.
      masks: n run-length encoded masks of the image's size; None for boxes alone.
    """

    size: tuple[int, int]
    boxes: Float[np.ndarray, "n 4"]
    classes: Integer[np.ndarray, "n"]
    scores: Float[np.ndarray, "n"]
    crowd: Bool[np.ndarray, "n"]
    masks: tuple[Rle, ...] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        height, width = self.size
        return f"Objects({len(self)} in {width} x {height} pixels)"

    def mask(self, index: int) -> Bool[np.ndarray, "h w"]:
        """Returns the mask of one object.

        Raises:
          ValueError: there are boxes alone.
        """
        if self.masks is None:
            raise ValueError("These objects have boxes alone, without masks.")
        return decoded(self.masks[index])

    def chosen(self, which: Any) -> "Objects":
        """Returns the objects that an index array or a boolean array chooses."""
        places = np.arange(len(self))[which]
        masks = None if self.masks is None else tuple(self.masks[i] for i in places)
        return Objects(
            self.size,
            self.boxes[places],
            self.classes[places],
            self.scores[places],
            self.crowd[places],
            masks,
        )

    @classmethod
    def of_example(cls, example: Mapping[str, Any]) -> "Objects":
        """Returns the true objects of an example."""
        height, width = example["image"].shape[:2]
        layers, ids = example["instances"], example["instance_ids"]
        return cls(
            (height, width),
            np.asarray(example["boxes"], np.float32),
            np.asarray(example["classes"], np.int32),
            np.ones(len(ids), np.float32),
            np.asarray(example["crowd"], bool),
            tuple(encoded((layers == each).any(-1)) for each in ids.tolist()),
        )


@dataclasses.dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map.

    Attributes:
      id: its value in the map, at least 1.
      class_id: its class in the dataset's `class_names`.
      is_thing: whether the class is counted, as cars are, and not a stuff, as the sky is.
      is_crowd: whether it is a true region of many objects.
      score: from 0 to 1; of true segments 1.
    """

    id: int
    class_id: int
    is_thing: bool
    is_crowd: bool = False
    score: float = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class PanopticMap:
    """The segments of an image: each pixel belongs to one of them, or to none.

    Attributes:
      ids: h w, the `id` of each pixel's segment, or 0.
      segments: those in the map.
    """

    ids: Integer[np.ndarray, "h w"]
    segments: tuple[Segment, ...]

    def __repr__(self) -> str:
        height, width = self.ids.shape
        return f"PanopticMap({len(self.segments)} segments, {width} x {height} pixels)"

    def class_map(self, *, none: int = -1) -> Integer[np.ndarray, "h w"]:
        """Returns the class of each pixel's segment; `none` where there is no segment."""
        classes = np.full(int(self.ids.max(initial=0)) + 1, none, np.int32)
        for segment in self.segments:
            if segment.id < len(classes):
                classes[segment.id] = segment.class_id
        return classes[self.ids]

    @classmethod
    def of_example(
        cls, example: Mapping[str, Any], things: Sequence[int], *, ignore: int = 255
    ) -> "PanopticMap":
        """Returns the true segments of an example whose objects do not overlap.

        Every object is a segment, and so is each other class of the label. Pixels of a thing
        class that belong to no object have no segment.
        """
        label, layers = example["label"], example["instances"]
        ids, segments = layers.max(-1).astype(np.int32), []
        for number, class_id, crowd in zip(
            *(example[key].tolist() for key in ("instance_ids", "classes", "crowd")),
            strict=True,
        ):
            if (ids == number).any():
                segments.append(Segment(number, class_id, class_id in things, crowd))
        following = max((each.id for each in segments), default=0)
        for class_id in np.unique(label).tolist():
            where = (label == class_id) & (ids == 0)
            if class_id != ignore and class_id not in things and where.any():
                following += 1
                ids[where] = following
                segments.append(Segment(following, class_id, False))
        return cls(ids, tuple(segments))


def border_slack(size: tuple[int, int]) -> float:
    """Returns by how many pixels a box may miss a border of its image that it touches.

    Boxes are float32, whose numbers lie 2⁻⁷ apart beyond 2¹⁶: a resize and a shift round a few
    times. In smaller images it is a thousandth of a pixel.

    >>> border_slack((480, 640)), border_slack((480, 70_000))
    (0.001, 0.03125)
    """
    return max(1e-3, 4 * float(np.spacing(np.float32(max(size)))))


def encoded(mask: Bool[np.ndarray, "h w"]) -> Rle:
    """Returns a mask as COCO's run lengths."""
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def decoded(rle: Rle) -> Bool[np.ndarray, "h w"]:
    """Returns the mask of COCO's run lengths."""
    return coco_mask.decode(rle).astype(bool)  # pyright: ignore (its stub wants bytes)


def layered(
    masks: Iterable[Bool[np.ndarray, "h w"]], ids: Sequence[int], size: tuple[int, int]
) -> Integer[np.ndarray, "h w l"]:
    """Returns the layers of masks: each goes to the first layer in which its pixels are free.

    Args:
      masks: one an object, each h w.
      ids: one an object, from 1 to 65535.
      size: h and w.
    """
    layers = [np.zeros(size, np.uint16)]
    for mask, number in zip(masks, ids, strict=True):
        free = next((layer for layer in layers if not layer[mask].any()), None)
        if free is None:
            free = np.zeros(size, np.uint16)
            layers.append(free)
        free[mask] = number
    return np.stack(layers, -1)

"""The last transforms of a detector: a canvas of one size, and a fixed number of objects.

    transforms=(RandomFlip(), ResizeSides(800, 1333), Canvas((800, 1344)), PackObjects(100))

Images of all sizes and any number of objects then have the same shapes, and one compiled
program serves them all.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.labels import example_name
from segjax.objects import STATED
from segjax.transforms.entries import checked_kinds, size_of, unmoved
from segjax.transforms.fields import check_count, check_flag, pair_of
from segjax.transforms.fill import MEAN_COLOUR, check_number_or_colour
from segjax.transforms.geometric import crop
from segjax.transforms.object_pixels import packed, pixels_of


@dataclass(frozen=True)
class Canvas:
    """The image at the upper left of a larger canvas, and its own height and width as `size`.

    The canvas is padded at the bottom and at the right. The image is `fill` there (its default,
    the mean colour, is about 0 after normalisation), labels are 255, weight maps 0, and no
    object is there. It comes last, as `size` is not changed by later transforms.

    `Canvas((800, 1344))` has this height and width, or for images that are higher than wide
    1344 × 800: group images by aspect (`segjax.data.by_aspect.ByAspect`), or one batch cannot
    hold both. `Canvas(multiple=32)` pads each side to the next multiple, so that images of
    different sizes still need a batch each.

    Attributes:
      size: of the canvas: (height, width), or one number for a square.
      multiple: of which each side is one, instead of `size`.
      fill: the colour outside of the image; see `RandomCrop`.
    """

    size: int | tuple[int, int] | None = None
    multiple: int | None = None
    fill: float | tuple[float, ...] = MEAN_COLOUR

    def __post_init__(self):
        if (self.size is None) == (self.multiple is None):
            raise InputError(
                "Canvas needs one of size and multiple, such as Canvas((800, 1344)) or "
                f"Canvas(multiple=32), got size={self.size!r} and multiple={self.multiple!r}."
            )
        if self.size is not None:
            pair_of(self.size, "Canvas")
        else:
            check_count(self, "multiple", 1)
        check_number_or_colour("Canvas", self.fill)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example on its canvas, with `size` int32 (height, width).

        Raises:
          InputError: the image is larger than the canvas, or `fill` has neither one number nor
            as many as the image has channels.
        """
        h, w = size_of(example, by="Canvas")
        # Of an image of `ByAspect` its group decides: resized, it may have become a square.
        canvas = self._canvas(h, w, is_portrait=bool(example.get("portrait", h > w)))
        if h > canvas[0] or w > canvas[1]:
            raise InputError(_too_large(example, (h, w), canvas))
        # Objects that lie outside of the image are gone before the canvas has room for them.
        inside = unmoved(example, by="Canvas", fill=self.fill)
        padded = crop(inside, 0, 0, canvas, fill=self.fill, by="Canvas")
        return {**padded, "size": np.array([h, w], np.int32)}

    def _canvas(self, h: int, w: int, *, is_portrait: bool) -> tuple[int, int]:
        if self.multiple is not None:
            padded = lambda side: -(-side // self.multiple) * self.multiple
            return padded(h), padded(w)
        sides = pair_of(self.size, "Canvas")
        return (max(sides), min(sides)) if is_portrait else (min(sides), max(sides))


def _too_large(example: Example, size: tuple[int, int], canvas: tuple[int, int]) -> str:
    """Returns the message about an image that its canvas cannot hold."""
    sides = lambda pair: f"{pair[0]} x {pair[1]}"
    image = f"{example_name(example)}: the image of {sides(size)} pixels (height x width)"
    if "portrait" in example and size[0] <= canvas[1] and size[1] <= canvas[0]:
        return (
            f"{image} is in a group of ByAspect for the canvas of {sides(canvas)}: leave out "
            "the transform that changes which side is longer, such as RandomRotate90 or a "
            f"crop, or use a square canvas, Canvas({max(canvas)})."
        )
    return (
        f"{image} is larger than the canvas of {sides(canvas)}: put "
        f"ResizeSides({min(canvas)}, {max(canvas)}) before Canvas, or make the canvas larger."
    )


@dataclass(frozen=True)
class PackObjects:
    """The objects of an example in `most` slots: the form in which a batch holds them.

    It comes last. Crowds are left out, as torchvision and detectron2 do. For N = `most`:

        boxes     N 4, float32       of the objects in their order; 0 in slots without one
        classes   N, int32           likewise
        objects   N, bool            whether the slot holds an object
        masks     N h ⌈w/8⌉, uint8   `np.packbits` of each mask along the width

    `instance_ids`, `crowd`, `instances` and `areas` are left out.

    Attributes:
      most: the number of slots.
      masks: whether masks are packed. False: boxes alone, and the masks are left out.
      excess: what to do with an example that has more objects. "refuse": raise an error, as a
        network learns that objects without a box are background. "largest": keep those whose
        boxes are the largest, without a message.
    """

    most: int = 100
    masks: bool = True
    excess: Literal["refuse", "largest"] = "refuse"

    def __post_init__(self):
        check_count(self, "most", 1)
        check_flag(self, "masks")
        if self.excess not in ("refuse", "largest"):
            raise InputError(
                f"PackObjects needs excess 'refuse' or 'largest', got {self.excess!r}."
            )

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example with its objects in slots; the generator is not used.

        Raises:
          InputError: an entry of the objects is missing, or there are more than `most`.
        """
        checked_kinds(example, by="PackObjects")
        needed = ("boxes", "classes", "instance_ids", "crowd", "instances")
        needed = needed if self.masks else needed[:2]
        if missing := [key for key in needed if key not in example]:
            remedy = "" if "boxes" in missing else ", or set PackObjects(masks=False)"
            raise InputError(
                f"{example_name(example)} has no {', '.join(map(repr, missing))}: PackObjects "
                f"needs a dataset that has objects, and comes once{remedy}."
            )
        left_out = ("instance_ids", "crowd", "instances", *STATED)
        rest = {key: value for key, value in example.items() if key not in left_out}
        return {**rest, **self._slots(example, self._kept(example))}

    def _kept(self, example: Example) -> np.ndarray:
        """Returns the indices of the objects that get a slot, ascending."""
        boxes = example["boxes"]
        counted = np.flatnonzero(~example.get("crowd", np.zeros(len(boxes), bool)))
        if len(counted) <= self.most:
            return counted
        if self.excess == "refuse":
            raise InputError(
                f"{example_name(example)} has {len(counted)} objects for the {self.most} slots "
                f"of PackObjects: set PackObjects(most={len(counted)}) or more, or "
                "PackObjects(excess='largest') to train on the largest of each image."
            )
        x0, y0, x1, y1 = boxes[counted].T
        by_area = np.argsort(-(x1 - x0) * (y1 - y0), kind="stable")
        return np.sort(counted[by_area[: self.most]])

    def _slots(self, example: Example, kept: np.ndarray) -> dict[str, Any]:
        count, size = len(kept), example["image"].shape[:2]
        slots: dict[str, Any] = {
            "boxes": np.zeros((self.most, 4), np.float32),
            "classes": np.zeros(self.most, np.int32),
            "objects": np.arange(self.most) < count,
        }
        slots["boxes"][:count] = example["boxes"][kept]
        slots["classes"][:count] = example["classes"][kept]
        if self.masks:
            slots["masks"] = np.zeros((self.most, size[0], -(-size[1] // 8)), np.uint8)
            found = pixels_of(example["instances"], example["instance_ids"][kept])
            for slot, pixels in enumerate(found):
                slots["masks"][slot] = packed(pixels, size)
        return slots

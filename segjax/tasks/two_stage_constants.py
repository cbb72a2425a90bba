"""The constants of two-stage detectors, with torchvision's values."""

import dataclasses

from segjax.errors import InputError
from segjax.transforms.fields import is_count
from segjax.transforms.resize_sides import sides_within

SHARES = (
    *("anchor_positive", "anchor_negative", "roi_positive", "proposal_iou", "score", "iou"),
)
"""Constants that are overlaps or scores, from 0 to 1."""


@dataclasses.dataclass(frozen=True)
class TwoStages:
    """The constants of a two-stage detector; the defaults are torchvision's.

    Attributes:
      shortest, longest: pixels of the sides of images that are predicted. An image is resized
        as far as neither is exceeded; `ResizeSides` does so while training. With shortest=None
        images keep their size.
      antialias: whether images that shrink are averaged, as in Pillow and detectron2; set that
        of `ResizeSides` alike. False is torchvision's.
      multiple: of which the sides of the padded image, its canvas, are multiples. A program is
        compiled for each canvas, so a larger multiple needs fewer.
      canvas: height and width of the canvas of every image; exchanged for images that are
        higher than wide. One number is a square. None: the sides of the resized image, rounded
        up to `multiple`.
      anchor_positive, anchor_negative: anchors show an object from the first overlap on, and
        none below the second.
      anchors_sampled, anchors_positive: of an image in a step, and how many show an object at
        most.
      roi_positive: proposals show an object from this overlap on.
      rois_sampled, rois_positive: of an image in a step, and how many show an object at most.
      box_weights: factors of the encoded boxes of the second stage.
      train_before, train_after: proposals before suppression of each level, and after it of all
        levels, while training.
      test_before, test_after: likewise while predicting.
      proposal_iou: proposals that overlap a better one by more are suppressed.
      proposal_side: the least side of proposals in pixels.
      score: objects have a higher score.
      side: the least side of objects in pixels.
      iou: objects that overlap a better one of their class by more are suppressed.
      candidates: the best so many boxes enter that suppression (`segjax.detection.inference`).
      most: objects of an image.
    """

    shortest: int | None = 800
    longest: int = 1333
    antialias: bool = False
    multiple: int = 32
    canvas: int | tuple[int, int] | None = None
    anchor_positive: float = 0.7
    anchor_negative: float = 0.3
    anchors_sampled: int = 256
    anchors_positive: int = 128
    roi_positive: float = 0.5
    rois_sampled: int = 512
    rois_positive: int = 128
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    train_before: int = 2000
    train_after: int = 2000
    test_before: int = 1000
    test_after: int = 1000
    proposal_iou: float = 0.7
    proposal_side: float = 1e-3
    score: float = 0.05
    side: float = 1e-2
    iou: float = 0.5
    candidates: int = 2000
    most: int = 100

    def check_constants(self) -> None:
        """Raises InputError unless the constants can be used.

        Raises:
          InputError: a number is too small, or two do not fit one another.
        """
        for field in dataclasses.fields(TwoStages):
            value = getattr(self, field.name)
            if field.type in (int, int | None) and value is not None and value < 1:
                raise InputError(f"task.{field.name}={value} must be at least 1.")
        for name, low, high in (
            *((each, 0.0, 1.0) for each in SHARES),
            *((each, 0.0, float("inf")) for each in ("proposal_side", "side")),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                limits = "from 0 to 1" if high == 1 else "at least 0"
                raise InputError(f"task.{name}={value} must be {limits}.")
        if len(self.box_weights) != 4 or not all(0 < each < 1e6 for each in self.box_weights):
            raise InputError(
                f"task.box_weights={self.box_weights} must be four numbers above 0, such as "
                "(10, 10, 5, 5)."
            )
        if not isinstance(self.antialias, bool):
            raise InputError(f"task.antialias={self.antialias!r} must be True or False.")
        self._check_canvas()
        for low, high in (
            ("shortest", "longest"),
            ("anchor_negative", "anchor_positive"),
            ("anchors_positive", "anchors_sampled"),
            ("rois_positive", "rois_sampled"),
            ("most", "candidates"),
        ):
            if (getattr(self, low) or 0) > getattr(self, high):
                raise InputError(
                    f"task.{low}={getattr(self, low)} must not be above "
                    f"task.{high}={getattr(self, high)}."
                )

    def sizes(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns height and width of a resized image of `size`, and of its canvas.

        >>> TwoStages().sizes((480, 640)), TwoStages(canvas=(800, 1344)).sizes((640, 480))
        (((800, 1066), (800, 1088)), ((1066, 800), (1344, 800)))

        Raises:
          InputError: the image is larger than `canvas`.
        """
        found = size
        if self.shortest is not None:
            found = sides_within(size, short=self.shortest, long=self.longest)
        height, width = found
        if self.canvas is None:
            rounded = lambda side: -(-side // self.multiple) * self.multiple
            return found, (rounded(height), rounded(width))
        low, high = self._canvas_sides()
        canvas = (high, low) if height > width else (low, high)
        if height > canvas[0] or width > canvas[1]:
            raise InputError(
                f"An image of {height} x {width} pixels (height x width) is larger than "
                f"task.canvas={self.canvas}: make the canvas larger, set task.shortest, or set "
                "task.canvas=None and a larger task.multiple."
            )
        return found, canvas

    def _canvas_sides(self) -> list[int]:
        """Returns the shorter and the longer side of `canvas`."""
        return sorted((self.canvas,) * 2 if isinstance(self.canvas, int) else self.canvas or ())

    def _check_canvas(self) -> None:
        """Raises InputError unless `canvas` is None or has room for resized images."""
        if self.canvas is None:
            return
        given = self.canvas if isinstance(self.canvas, tuple) else (self.canvas,) * 2
        if len(given) != 2 or not all(map(is_count, given)):
            raise InputError(
                f"task.canvas={self.canvas!r} must be None, a whole number or a pair of them, "
                "such as (800, 1344)."
            )
        sides = self._canvas_sides()
        if any(side < 1 or side % self.multiple for side in sides):
            raise InputError(
                f"task.canvas={self.canvas} must be multiples of task.multiple="
                f"{self.multiple}, such as (800, 1344)."
            )
        if self.shortest is None:
            return
        for side, name in zip(sides, ("shortest", "longest"), strict=True):
            if side < getattr(self, name):
                raise InputError(
                    f"task.canvas={self.canvas} has no room for images with sides up to "
                    f"task.{name}={getattr(self, name)}: make one larger or the other smaller."
                )

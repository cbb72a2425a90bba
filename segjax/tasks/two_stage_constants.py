"""The constants of two-stage detectors, with torchvision's values."""

import dataclasses

from segjax.errors import InputError

SHARES = (
    *("anchor_positive", "anchor_negative", "roi_positive", "proposal_iou", "score", "iou"),
)
"""Constants that are overlaps or scores, from 0 to 1."""


@dataclasses.dataclass(frozen=True)
class TwoStages:
    """The constants of a two-stage detector; the defaults are torchvision's.

    Attributes:
      shortest, longest: pixels of the sides of images that are predicted. An image is resized
        as far as neither is exceeded; `ResizeSides` does so while training, but averages the
        pixels of images that it shrinks. With shortest=None images keep their size.
      multiple: of which the sides of the padded image are multiples.
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
    multiple: int = 32
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

"""Cutout: squares of the image are hidden (DeVries and Taylor, 2017, arXiv:1708.04552)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from segjax.contracts import Example
from segjax.transforms.entries import change_images, move, size_of
from segjax.transforms.fields import check_count, check_flag, check_probability, pair_of
from segjax.transforms.fill import MEAN_COLOUR, check_number_or_colour, fill_for
from segjax.transforms.kinds import Motion


@dataclass(frozen=True)
class Cutout:
    """Rectangles of the image are filled, with `probability`.

    The centre of each is uniform over the image, so that a rectangle may lie partly outside.

    Attributes:
      size: of a rectangle in pixels: (height, width), or one number for a square.
      holes: number of rectangles.
      ignore: what the label holds there. False: the label is kept, and the network has to guess
        what is hidden. True: it is 255 (NaN if it holds floats), and weight maps are 0.
      probability: of a change.
      fill: the colour inside; see `RandomCrop`.
    """

    size: int | tuple[int, int]
    holes: int = 1
    ignore: bool = False
    probability: float = 0.5
    fill: float | tuple[float, ...] = MEAN_COLOUR

    def __post_init__(self):
        pair_of(self.size, "Cutout")
        check_count(self, "holes", 1)
        check_flag(self, "ignore")
        check_probability(self)
        check_number_or_colour("Cutout", self.fill)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example with its rectangles, or the example itself.

        Points and boxes stay: what is hidden is still there. With `ignore`, masks of objects
        lose their hidden pixels, and an object that is hidden completely is dropped.

        Raises:
          InputError: `fill` has neither one number nor as many as the image has channels.
        """
        h, w = size_of(example, by="Cutout")
        height, width = pair_of(self.size, "Cutout")
        centres = rng.integers((h, w), size=(self.holes, 2)).tolist()
        holes = [
            (slice(max(0, y), max(0, y + height)), slice(max(0, x), max(0, x + width)))
            for y, x in ((y - height // 2, x - width // 2) for y, x in centres)
        ]
        if rng.random() >= self.probability:
            holes = []

        def hide(plane: np.ndarray, fill: Any) -> np.ndarray:
            hidden = plane.copy()
            for hole in holes:
                hidden[hole] = fill
            return hidden

        if not self.ignore:
            coloured = lambda image: hide(image, fill_for(image, self.fill, name="Cutout"))
            return change_images(example, coloured, by="Cutout")
        motion = Motion(
            by="Cutout",
            size=(h, w),
            bilinear=hide,
            nearest=hide,
            places=lambda xy: xy,
            fill=self.fill,
        )
        return move(example, motion)

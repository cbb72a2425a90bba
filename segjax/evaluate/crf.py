"""The dense CRF as a wrapper: it comes last, on the probabilities of whole images."""

import dataclasses
from typing import Any

import jax
import numpy as np

from segjax.crf.dense import Appearance, Smoothness, dense_crf
from segjax.errors import InputError
from segjax.evaluate.compiled import Eager, HostPredictor, on_host
from segjax.evaluate.predictors import Predictor


@dataclasses.dataclass(frozen=True)
class CRF:
    """Probabilities after `iterations` rounds of the fully connected CRF on the image.

    The defaults are the released DeepLab v1's; see `segjax.crf.dense.dense_crf`. Images are
    uint8. It compiles once for each size of image, and for the room that its colours need.
    """

    iterations: int = 10
    smoothness: Smoothness | None = Smoothness()
    appearance: Appearance | None = Appearance()

    def __post_init__(self) -> None:
        if not isinstance(self.iterations, int) or self.iterations < 0:
            raise InputError(
                f"iterations={self.iterations!r} must be a whole number from 0 on."
            )

    def __call__(self, predict: Predictor | HostPredictor) -> HostPredictor:
        """The wrapped predictor."""
        inner = on_host(predict)

        def refined(variables, images):
            return dense_crf(
                np.asarray(inner(variables, images)),
                images,
                iterations=self.iterations,
                smoothness=self.smoothness,
                appearance=self.appearance,
            )

        return _Refined(refined, inner)


class _Refined(Eager):
    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        if images.dtype != np.uint8:
            raise ValueError(
                f"The CRF compares colours of 0 … 255, and the images are {images.dtype}; "
                "leave it out of evaluation.predictor."
            )
        return super().check(variables, images)

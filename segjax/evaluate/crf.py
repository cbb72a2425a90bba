"""The dense CRF as a wrapper: it comes last, after probabilities of whole images."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from segjax.crf.checks import checked_rounds
from segjax.crf.dense import Appearance, Smoothness, checked_kernels, dense_crf
from segjax.errors import InputError
from segjax.evaluate.compiled import Eager, HostPredictor, on_host
from segjax.evaluate.predictors import Predictor


@dataclasses.dataclass(frozen=True)
class CRF:
    """Probabilities after `iterations` of the fully connected CRF on the image.

    The defaults are those of the released DeepLab v1; see `segjax.crf.dense.dense_crf`. Images
    are uint8. On a CPU it compiles twice for each octave of pixels, whatever the images' sizes;
    on a GPU or TPU once for each image size and capacity of the lattice.

    Raises:
      InputError: `iterations` is not a whole number, or a kernel is not valid.
    """

    iterations: int = 10
    smoothness: Smoothness | None = Smoothness()
    appearance: Appearance | None = Appearance()

    def __post_init__(self) -> None:
        try:
            checked_rounds(self.iterations, "symmetric")
        except ValueError as error:
            raise InputError(f"CRF: {error}") from None
        for name, kind in (("smoothness", Smoothness), ("appearance", Appearance)):
            if not isinstance(kernel := getattr(self, name), kind | None):
                raise InputError(
                    f"CRF: {name}={kernel!r} must be {kind.__name__}(…), or None for no kernel."
                )

    def __call__(self, predict: Predictor | HostPredictor) -> HostPredictor:
        """Returns the wrapped predictor."""
        inner = on_host(predict)

        def refined(variables, images):
            return dense_crf(
                np.asarray(inner(variables, images)),
                images,
                iterations=self.iterations,
                smoothness=self.smoothness,
                appearance=self.appearance,
            )

        return _Refined(self, refined, inner)


class _Refined(Eager):
    def __init__(self, crf: CRF, refined: Callable, inner: HostPredictor):
        super().__init__(refined, inner)
        self._crf = crf

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        """Returns the number of classes of the inner predictor, if the kernels fit it.

        Raises:
          InputError: the images are not uint8, or a kernel does not fit images or classes.
        """
        if images.dtype != np.uint8:
            raise InputError(
                f"The CRF compares colours of 0 … 255, and the images are {images.dtype}; "
                "leave it out of evaluation.predictor."
            )
        classes = super().check(variables, images)
        try:
            kernels = self._crf.smoothness, self._crf.appearance
            checked_kernels(*kernels, images.shape[1:], classes, None)
        except ValueError as error:
            raise InputError(f"CRF: {error}") from None
        return classes

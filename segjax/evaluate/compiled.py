"""Compiled predictors: NumPy images in, probabilities or class ids out.

A predictor is compiled once for each image shape. A wrapper that chooses the shapes itself
(windows of one size, sides rounded up) runs on the host, outside the compiled program. Class
ids are always the argmax of the probabilities that the same program returns. So a mask alone,
as in evaluation, is bit-identical to a mask requested with its probabilities.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from segjax.announce import announced
from segjax.contracts import IGNORE, Array, Variables
from segjax.errors import RunError
from segjax.evaluate.predictors import Predictor, WholeImage, at_output_stride
from segjax.parallel.data import map_examples
from segjax.parallel.spatial import map_images

Images = Shaped[np.ndarray, "b h w c"]
Probabilities_BHWK = Float[np.ndarray, "b oh ow k"]
"""Probabilities b h w k; a network of valid convolutions returns fewer rows and columns."""
Labels = UInt8[np.ndarray, "b h w"]


@runtime_checkable
class HostPredictor(Protocol):
    """A predictor on the host, which calls compiled programs and cannot be traced itself."""

    def __call__(self, variables: Variables, images: Images, /) -> Probabilities_BHWK:
        """Returns probabilities of every pixel of images of one size."""
        ...

    def classes(self, variables: Variables, images: Images) -> Labels:
        """Returns the most likely class of every pixel, the first of several: `argmax_labels`.

        Raises:
          RunError: a probability is not a number.
        """
        ...

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        """Returns the number of classes, after checking that everything fits.

        It takes shapes and dtypes in place of variables and images, and computes nothing.

        Raises:
          ValueError: the network, the normalisation or a wrapper refuses such images.
        """
        ...


class Compiled:
    """A predictor on all devices of this process, compiled for each image shape.

    `split` is the rows × columns of devices that share an image; with (1, 1) each device has
    its own images.
    """

    def __init__(self, predict: Predictor, *, split: tuple[int, int] = (1, 1)):
        self._predict = predict
        whole = split == (1, 1)
        self._mapped = map_examples(predict) if whole else map_images(predict, split)
        self._compiled: set[tuple] = set()

    def __call__(self, variables: Variables, images: Images, /) -> Probabilities_BHWK:
        """Returns probabilities of every pixel of images of one size."""
        return self.run(variables, images)

    def classes(self, variables: Variables, images: Images) -> Labels:
        """Returns the most likely class of every pixel."""
        # On the device: k class maps of float32 would be a far larger transfer. In a separate
        # program, because together with the network XLA might compute other probabilities.
        return _numbers(self.run(variables, images, then=_ranked_on_device))

    def run(self, variables: Variables, images: Images, **then: Callable) -> Any:
        """Returns the program's result; prints a line if it must be compiled first."""
        key = (images.shape, str(images.dtype))
        if key in self._compiled:
            return self._mapped(variables, images, **then)
        count, height, width = images.shape[:3]
        # Small programs, or those in JAX's cache on disk, are ready before the line appears.
        several = "1 image" if count == 1 else f"{count} images"
        task = f"Compiling the network for {several} of {width} x {height} pixels"
        with announced(task, after=1):
            result = self._mapped(variables, images, **then)
        self._compiled.add(key)
        return result

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        """Returns the number of classes, by tracing alone."""
        return jax.eval_shape(self._predict, variables, images).shape[-1]


class Eager:
    """A wrapper's arithmetic in NumPy, around a predictor that works on the host."""

    def __init__(self, predict: Callable, inner: HostPredictor):
        self._predict, self._inner = predict, inner

    def __call__(self, variables: Variables, images: Images, /) -> Probabilities_BHWK:
        """Returns probabilities of every pixel of images of one size."""
        return np.asarray(self._predict(variables, images))

    def classes(self, variables: Variables, images: Images) -> Labels:
        """Returns the most likely class of every pixel."""
        return argmax_labels(self(variables, images))

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        """Returns the number of classes of the inner predictor."""
        return self._inner.check(variables, images)


def argmax_labels(scores: Float[np.ndarray, "*shape k"]) -> UInt8[np.ndarray, "*shape"]:
    """Returns the class of the highest score; of equal scores the first.

    Raises:
      ValueError: there is only one class, which would be the most likely everywhere.
      RunError: a score is not a number.
    """
    return _numbers(_ranked(scores, np))


def _ranked(scores: Any, xp: Any) -> Any:
    """Returns the argmax over classes; 255 where a score is NaN."""
    if scores.shape[-1] < 2:
        raise ValueError(
            f"Scores of shape {scores.shape} have one class, which would be the most likely "
            "everywhere; for a binary task give two: (1 − p, p), or num_classes=2."
        )
    broken = xp.isnan(scores).any(-1)
    return xp.where(broken, IGNORE, xp.argmax(scores, -1)).astype(xp.uint8)


_ranked_on_device = jax.jit(partial(_ranked, xp=jnp))


def _numbers(
    labels: UInt8[np.ndarray, "*shape"],
) -> UInt8[np.ndarray, "*shape"]:
    check_numbers(not (labels == IGNORE).any())
    return labels


def check_numbers(are_numbers: bool) -> None:
    """Raises RunError unless what a network predicts are numbers.

    Raises:
      RunError: they are not.
    """
    if not are_numbers:
        raise RunError(
            "Probabilities are not numbers (NaN): the checkpoint holds broken weights, or a "
            "wrapper such as the CRF overflowed; choose another --checkpoint or predictor."
        )


def on_host(predict: Predictor | HostPredictor) -> HostPredictor:
    """Returns the predictor itself if it works on the host; otherwise compiled."""
    return predict if isinstance(predict, HostPredictor) else Compiled(predict)


def predictor(
    model: nn.Module,
    normalize: Callable[[Array], Array],
    *,
    output_stride: int | None = None,
    wrappers: Sequence[Callable] = (),
    split: tuple[int, int] = (1, 1),
) -> HostPredictor:
    """Returns the network as a predictor in its wrappers; the first wrapper is the innermost.

    Wrappers before the first one that runs on the host are compiled together with the network.
    If `split` rows × columns of devices share each image, all wrappers run on the host.

    Raises:
      InputError: the network cannot have this output stride, a wrapper cannot be at its place,
        or the devices cannot be grouped by `split`.
    """
    network = WholeImage(at_output_stride(model, output_stride), normalize)
    return wrapped(network, wrappers, split=split)


def wrapped(
    network: Predictor, wrappers: Sequence[Callable], *, split: tuple[int, int] = (1, 1)
) -> HostPredictor:
    """Returns a network in its wrappers, the first one innermost; see `predictor`.

    Raises:
      InputError: a wrapper cannot be at its place, or the devices cannot be grouped by `split`.
    """
    found: Any = network
    if split != (1, 1):
        found = Compiled(found, split=split)
    for wrapper in wrappers:
        outer = wrapper(found)
        outside = isinstance(found, HostPredictor) and not isinstance(outer, HostPredictor)
        found = Eager(outer, found) if outside else outer
    return on_host(found)

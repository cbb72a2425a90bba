"""Predictors at work: NumPy images in, probabilities or class ids out, compiled as they need.

A predictor is traced as one program for each shape that it meets. A wrapper that chooses these
shapes itself (windows of one size, sides rounded up) works on the host, outside the program.
Class ids are always the argmax of the very probabilities that the same program returns: who
asks for a mask alone, as evaluation does, gets the bits of who asks for both.
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
"""Of the pixels that are answered for: but for a network of valid convolutions, h × w."""
Labels = UInt8[np.ndarray, "b h w"]


@runtime_checkable
class HostPredictor(Protocol):
    """A predictor on the host: it calls compiled programs and cannot itself be traced."""

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
        """Returns how many classes it tells apart, once all is known to fit; nothing is
        computed.

        Shapes and dtypes stand for variables and images.

        Raises:
          ValueError: the network, the normalisation or a wrapper refuses such images.
        """
        ...


class Compiled:
    """A predictor on all of this process's devices, compiled for each shape that it meets.

    `split`: rows × columns of devices that share each image; (1, 1): each has its own ones.
    """

    def __init__(self, predict: Predictor, *, split: tuple[int, int] = (1, 1)):
        self._predict = predict
        whole = split == (1, 1)
        self._mapped = map_examples(predict) if whole else map_images(predict, split)
        self._compiled: set[tuple] = set()

    def __call__(self, variables: Variables, images: Images, /) -> Probabilities_BHWK:
        """Returns probabilities of every pixel of images of one size."""
        return self._run(variables, images)

    def classes(self, variables: Variables, images: Images) -> Labels:
        """Returns the most likely class of every pixel."""
        # On the device: k class maps of float32 would be the larger transfer by far. A program
        # of its own, because in one with the network XLA might compute other probabilities.
        return _numbers(self._run(variables, images, then=_ranked_on_device))

    def _run(self, variables: Variables, images: Images, **then: Callable) -> Any:
        """Returns what the program gives; says so where it has to be compiled first."""
        key = (images.shape, str(images.dtype))
        if key in self._compiled:
            return self._mapped(variables, images, **then)
        count, height, width = images.shape[:3]
        # Small programs, or those in JAX's cache on the disk, are there before it is said.
        several = "1 image" if count == 1 else f"{count} images"
        task = f"Compiling the network for {several} of {width} x {height} pixels"
        with announced(task, after=1):
            result = self._mapped(variables, images, **then)
        self._compiled.add(key)
        return result

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        """Returns how many classes it tells apart; traced, never run."""
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
        """Returns how many classes the predictor inside tells apart."""
        return self._inner.check(variables, images)


def argmax_labels(scores: Float[np.ndarray, "*shape k"]) -> UInt8[np.ndarray, "*shape"]:
    """Returns the class of the highest score, the first of several.

    Raises:
      ValueError: there is one class only, which would be the most likely everywhere.
      RunError: a score is not a number.
    """
    return _numbers(_ranked(scores, np))


def _ranked(scores: Any, xp: Any) -> Any:
    """Returns the most likely class, and 255, which is none, where a score is not a number."""
    if scores.shape[-1] < 2:
        raise ValueError(
            f"Scores of shape {scores.shape} have one class, which would be the most likely "
            "everywhere; of a binary task give two: (1 − p, p), or num_classes=2."
        )
    broken = xp.isnan(scores).any(-1)
    return xp.where(broken, IGNORE, xp.argmax(scores, -1)).astype(xp.uint8)


_ranked_on_device = jax.jit(partial(_ranked, xp=jnp))


def _numbers(
    labels: UInt8[np.ndarray, "*shape"],
) -> UInt8[np.ndarray, "*shape"]:
    if (labels == IGNORE).any():
        raise RunError(
            "Probabilities are not numbers (NaN): the checkpoint holds broken weights, or a "
            "wrapper such as the CRF overflowed; choose another --checkpoint or predictor."
        )
    return labels


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
    """Returns the network on whole images, in its wrappers: the first is the nearest to the
    network.

    All wrappers before the first one that works on the host are one program with the network.
    Where rows × columns of devices share each image (`split`), all of them work on the host.

    Raises:
      InputError: the network has no such output stride, a wrapper cannot stand where it is, or
        the devices cannot be grouped so.
    """
    network = WholeImage(at_output_stride(model, output_stride), normalize)
    return wrapped(network, wrappers, split=split)


def wrapped(
    network: Predictor, wrappers: Sequence[Callable], *, split: tuple[int, int] = (1, 1)
) -> HostPredictor:
    """Returns a network in its wrappers, the first the nearest to it; see `predictor`.

    Raises:
      InputError: a wrapper cannot stand where it is, or the devices cannot be grouped so.
    """
    found: Any = network
    if split != (1, 1):
        found = Compiled(found, split=split)
    for wrapper in wrappers:
        outer = wrapper(found)
        outside = isinstance(found, HostPredictor) and not isinstance(outer, HostPredictor)
        found = Eager(outer, found) if outside else outer
    return on_host(found)

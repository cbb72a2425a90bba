"""Two-stage detectors on images: the traceable network, and the predictor on the host.

The host resizes an image, puts it at the upper left of a canvas, and asks a program that is
compiled once for each canvas. Boxes and masks come back at the image's size.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer, Shaped

from segjax.contracts import Array, Variables, full_scale
from segjax.errors import InputError
from segjax.evaluate.compiled import Compiled, check_numbers
from segjax.evaluate.wrappers import resized
from segjax.objects import Objects, encoded
from segjax.ops.paste_masks import paste_mask
from segjax.tasks.two_stage import Detections, TwoStages, inference_pass, on_canvas
from segjax.transforms.geometric import resize_with_pillow

Images = Shaped[np.ndarray, "b h w c"]


@dataclasses.dataclass(frozen=True)
class Detector:
    """A predictor `(variables, images as read) → Detections`, which can be traced.

    Sides of the images are multiples of what the network's coarsest level needs, 32. Boxes are
    in pixels of the images, and their slots are a static number.
    """

    model: nn.Module
    normalize: Callable[[Array], Array]
    constants: TwoStages

    def __call__(
        self,
        variables: Variables,
        image: Array,
        sizes: Integer[Array, "b 2"] | None = None,
    ) -> Detections:
        """Returns the objects; `sizes` are the images' own on their canvas."""
        count, height, width = image.shape[:3]
        if sizes is None:
            whole = jnp.asarray([[height, width]], jnp.int32)
            sizes = jnp.broadcast_to(whole, (count, 2))
        x = on_canvas(image, sizes, self.normalize)

        def found(module: Any) -> Detections:
            features = module.features(x, train=False)
            canvas = (height, width)
            return inference_pass(module, features, sizes, canvas, constants=self.constants)

        return self.model.apply(variables, method=found)  # pyright: ignore


class Sizes(NamedTuple):
    """Heights and widths: the image's `own`, that on its canvas (`inside`), the canvas's."""

    own: tuple[int, int]
    inside: tuple[int, int]
    canvas: tuple[int, int]

    @property
    def factors(self) -> Float[np.ndarray, "2"]:
        """Pixels of the image per pixel of the canvas, (y, x)."""
        return np.array(self.own, np.float32) / np.array(self.inside, np.float32)


def sizes_on_canvas(size: tuple[int, int], constants: TwoStages) -> Sizes:
    """Returns the sizes of an image of `size` pixels, as it is predicted.

    Raises:
      InputError: the image is larger than the constants' canvas.
    """
    return Sizes(size, *constants.sizes(size))


class CanvasPredictor:
    """A two-stage network on NumPy images of one size, which are resized to a canvas.

    `predict(variables, images, sizes)` is traceable and gives a tree of arrays of b images.
    """

    def __init__(self, predict: Callable, *, num_classes: int, constants: TwoStages):
        self._predict, self._num_classes = predict, num_classes
        self._constants = constants
        self._compiled = Compiled(self._of_one_size)

    def __call__(self, variables: Variables, images: Images, /) -> Any:
        """Returns (what the network gives, in NumPy; height and width on the canvas)."""
        x, size = self.on_canvas(images)
        packed = {"variables": variables, "size": np.array(size, np.int32)}
        return self._compiled.run(packed, x), size

    def on_canvas(self, images: Images) -> tuple[Images, tuple[int, int]]:
        """Returns float images, full brightness 1, on their canvas; and their size there."""
        scaled = lambda x: x.astype(np.float32) / np.float32(full_scale(images.dtype))
        _, size, canvas = self._sizes((images.shape[1], images.shape[2]))
        room = [(0, 0), *((0, c - s) for s, c in zip(size, canvas, strict=True)), (0, 0)]
        if self._constants.antialias:
            x = scaled(np.stack([resize_with_pillow(each, *size) for each in images]))
        else:
            x = resized(scaled(images), size)
        return np.pad(x, room), size

    def classes(self, variables: Variables, images: Images) -> Any:
        """Raises InputError: objects are no class of each pixel.

        Raises:
          InputError: always.
        """
        raise InputError("A detector finds objects, not a class for each pixel.")

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        """Returns the number of classes, after tracing the network on the images' canvas."""
        count, height, width, channels = images.shape
        canvas = self._sizes((height, width)).canvas
        x = jax.ShapeDtypeStruct((count, *canvas, channels), jnp.float32)
        packed = {"variables": variables, "size": jax.ShapeDtypeStruct((2,), jnp.int32)}
        jax.eval_shape(self._of_one_size, packed, x)
        return self._num_classes

    def _of_one_size(self, packed: Any, images: Array) -> Any:
        sizes = jnp.broadcast_to(packed["size"][None], (len(images), 2))
        return self._predict(packed["variables"], images, sizes)

    def _sizes(self, size: tuple[int, int]) -> Sizes:
        """Returns the sizes of an image of `size` pixels and of its canvas."""
        return sizes_on_canvas(size, self._constants)


def objects_of(
    found: Detections, index: int, *, on_canvas: tuple[int, int], size: tuple[int, int]
) -> Objects:
    """Returns the objects of one image at its own size, by falling score.

    Args:
      found: by the network, in NumPy.
      index: which of its images.
      on_canvas: height and width of the image on its canvas.
      size: the image's own.

    Raises:
      RunError: the network's outputs are not numbers.
    """
    check_numbers(not np.isnan(found.scores[index]).any())
    valid = found.valid[index]
    y, x = np.array(size, np.float32) / np.array(on_canvas, np.float32)
    boxes = found.boxes[index][valid] * np.array([x, y, x, y])
    masks = None
    if found.masks is not None:
        pasted = zip(found.masks[index][valid], boxes, strict=True)
        masks = tuple(encoded(paste_mask(mask, box, size)) for mask, box in pasted)
    count = len(boxes)
    return Objects(
        size,
        boxes,
        found.classes[index][valid],
        found.scores[index][valid],
        np.zeros(count, bool),
        masks,
    )

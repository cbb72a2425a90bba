"""From an image to a mask in Python, for notebooks and programs.

`Segmenter` gives the masks of `segjax.predict`; that command's options (`--flip`, `--scales`,
`--window`, `--side`, …) are its `wrappers`.
"""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from segjax.contracts import FULL_SCALE, Array, Variables
from segjax.data.arrays import NPY
from segjax.data.decode import DEFAULT_LIMIT, Limit
from segjax.data.image_files import ImageKind, image_pages
from segjax.data.images import MODES, pixels, read_image, turned
from segjax.data.palette import palette_of, voc_palette
from segjax.drawing.objects import draw_objects, drawn
from segjax.drawing.overlay import overlay, palette_png, planes_overlay
from segjax.drawing.panoptic import draw_panoptic
from segjax.errors import InputError
from segjax.normalize import CAFFE, IMAGENET, SIGNED, UNIT
from segjax.objects import Objects, PanopticMap
from segjax.outputs.planes import plane_png
from segjax.outputs.selection import Selection
from segjax.tasks.semantic import Semantic
from segjax.tasks.task import Task
from segjax.train.trained import Source, map_count

SEMANTIC = Semantic()
SCALED = (UNIT, SIGNED, IMAGENET, CAFFE)
"""Normalisations that take floats from 0 to 1."""

Picture = str | os.PathLike | Image.Image | Shaped[np.ndarray, "..."]
"""An image: the path of a file, a PIL image, or an array h w c, or h w for a grey one.

Arrays are uint8 (0 to 255), uint16 (0 to 65535) or float (0 to 1)."""


class Segmenter:
    """A trained network as a function from an image to a mask.

    The network is compiled at the first image of each size, which takes seconds; the wrappers
    `segjax.evaluate.windows.PadToMultiple(64)` or `SlidingWindow(513)` let images of many sizes
    share programs.

        model = DeepLabV3(ResNet50(output_stride=8), num_classes=21, rates=(12, 24, 36))
        segmenter = Segmenter(model, segjax.weights.load("deeplabv3_resnet50.pth", model))
        mask = segmenter("photo.jpg")  # uint8, height × width: class ids
        segmenter.overlay("photo.jpg").save("overlay.png")

    Args:
      model: a network of segjax, or any Linen module `(image b h w c, *, train) -> logits`.
      variables: the model's, as `segjax.weights.load` returns them.
      normalize: from pixels to the network's input; most published weights need `IMAGENET`.
      task: `Semantic()`, or `segjax.tasks.multilabel.Multilabel()` for classes that overlap.
      wrappers: of `segjax.evaluate`, the first the nearest to the network.
      output_stride: to predict at, in place of the model's own.
      channels: of the network's images: 3 for RGB, 1 for grey.
      class_names: one a class, or nothing.
      colours: red, green and blue of each class, k × 3; VOC's are the default.
      max_megapixels: larger image files are refused.
      image_dtype: of image files, "uint8", "uint16" or "float32".

    Raises:
      InputError: the network has no such output stride, a wrapper cannot stand where it is, or
        the variables are of another network.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Variables,
        *,
        normalize: Callable[[Array], Array] = IMAGENET,
        task: Task = SEMANTIC,
        wrappers: Sequence[Callable] = (),
        output_stride: int | None = None,
        channels: int = 3,
        class_names: Sequence[str] = (),
        colours: Any = None,
        max_megapixels: float = DEFAULT_LIMIT.megapixels,
        image_dtype: str = "uint8",
    ):
        self.model, self.variables, self.task = model, variables, task
        self.channels, self.class_names = channels, tuple(class_names)
        self.wrappers = tuple(wrappers)
        self.palette = voc_palette() if colours is None else palette_of(colours)
        self._image_dtype = image_dtype
        self._limit = Limit(max_megapixels, "Segmenter(max_megapixels={})")
        self._scaled = normalize in SCALED
        self._predict = task.predictor(
            model, normalize=normalize, output_stride=output_stride, wrappers=self.wrappers
        )
        map_count(self._predict, variables, channels=channels)

    @classmethod
    def from_run(
        cls,
        workdir: str | os.PathLike,
        *,
        checkpoint: str | int = "best",
        wrappers: Sequence[Callable] | None = None,
    ) -> "Segmenter":
        """Returns a run's trained network, which predicts as the run's evaluation does.

        Args:
          workdir: the run's folder, such as "runs/quickstart".
          checkpoint: "best", "last" or a step.
          wrappers: in place of the run's own.

        Raises:
          InputError: the folder is no run's, or has no such checkpoint.
        """
        return cls._of(Source(pathlib.Path(workdir), checkpoint=str(checkpoint)), wrappers)

    @classmethod
    def from_experiment(
        cls,
        path: str | os.PathLike,
        *,
        weights: str | os.PathLike,
        key: str | None = None,
        settings: Sequence[str] = (),
        wrappers: Sequence[Callable] | None = None,
    ) -> "Segmenter":
        """Returns the network of an experiment file with published or saved weights.

        Args:
          path: the experiment file, which names network, normalisation and classes.
          weights: of the whole network; a path or a name, as `segjax.weights.load` takes it.
          key: which state dict in the weights file; see `segjax.weights.load`.
          settings: changes to the experiment's fields, such as "model.num_classes=5".
          wrappers: in place of the experiment's own.

        Raises:
          InputError: the file, a setting or the weights are wrong, or the weights do not give
            every variable of the network.
          UserCodeError: the experiment file itself raised.
        """
        if isinstance(settings, str):
            raise InputError(f"settings={settings!r} must be a list: [{settings!r}].")
        source = Source(
            pathlib.Path(path), weights=os.fspath(weights), key=key, settings=tuple(settings)
        )
        return cls._of(source, wrappers)

    @classmethod
    def _of(cls, source: Source, wrappers: Sequence[Callable] | None) -> "Segmenter":
        experiment = source.experiment()
        trained = source.load(experiment)
        names, colours = experiment.task.legend(experiment.eval_data)
        evaluation = experiment.evaluation
        return cls(
            experiment.model,
            trained.variables,
            normalize=experiment.normalize,
            task=experiment.task,
            wrappers=evaluation.wrappers if wrappers is None else wrappers,
            output_stride=evaluation.output_stride,
            channels=trained.channels,
            image_dtype=trained.image_dtype,
            class_names=names,
            colours=colours,
        )

    def __call__(self, image: Picture) -> Any:
        """Returns the mask of one image, of its size: uint8 class ids h w.

        For classes that overlap it is planes h w k of 0 and 1. Tasks of objects return
        `segjax.objects.Objects`, panoptic tasks a `segjax.objects.PanopticMap`, others their
        maps.

        Raises:
          InputError: the file cannot be read, or the array is no image of this network.
          ValueError: the network or a wrapper does not take an image of this size.
        """
        answer, _ = self.task.answer(
            self._predict, self.variables, self._pixels(image), soft=False
        )
        return answer

    def probabilities(self, image: Picture) -> Float[np.ndarray, "h w k"]:
        """Returns the probability of each class at every pixel, float32.

        Raises:
          InputError, ValueError: as for a mask; or the task finds objects, not maps.
        """
        maps = self._predict(self.variables, self._pixels(image)[None])
        if not hasattr(maps, "shape"):
            raise InputError(
                f"task={type(self.task).__name__} has no probabilities of pixels: call the "
                "segmenter, and read the scores of what it returns."
            )
        return np.asarray(maps[0])

    def overlay(self, image: Picture, mask: Any = None, *, opacity: float = 0.5) -> Image.Image:
        """Returns the image tinted with the colours of its mask, by default the predicted one.

        Objects with a score of 0.5 or more are drawn with contours, names and scores.

        Raises:
          InputError, ValueError: as for a mask; or image and mask differ in size.
        """
        mask = self(image) if mask is None else mask
        shown = self._pixels(image)
        if isinstance(mask, Objects):
            seen = drawn(Selection().of(mask), self.class_names, self.palette)
            return Image.fromarray(draw_objects(shown, seen, opacity=opacity))
        if isinstance(mask, PanopticMap):
            seen = draw_panoptic(
                shown, mask, self.palette, opacity=opacity, class_names=self.class_names
            )
            return Image.fromarray(seen)
        mask = np.asarray(mask)
        if mask.ndim == 2:
            return Image.fromarray(overlay(shown, mask, self.palette, opacity=opacity))
        return Image.fromarray(planes_overlay(shown, mask, self.palette, opacity=opacity))

    def palette_image(self, mask: UInt8[np.ndarray, "..."]) -> Image.Image:
        """Returns a mask as a picture with a palette, to show or to save as a PNG of class ids.

        Of a task with one plane, h w 1, pixel values are 0 outside and 1 inside.

        Raises:
          ValueError: the mask has several planes; take one of them, h w.
        """
        if mask.ndim == 3 and mask.shape[2] == 1:
            red, green, blue = self.palette[0].tolist()
            return plane_png(mask[..., 0], (red, green, blue))
        return palette_png(mask, self.palette)

    def __repr__(self) -> str:
        count = sum(leaf.size for leaf in jax.tree.leaves(self.variables.get("params", {})))
        parts = [type(self.model).__name__, f"{count:,} parameters"]
        if self.class_names:
            parts.append(f"classes {', '.join(self.class_names)}")
        parts += [repr(wrapper) for wrapper in self.wrappers]
        return f"Segmenter({'; '.join(parts)})"

    def _read(self, path: pathlib.Path) -> Shaped[np.ndarray, "h w c"]:
        """Returns the image of a file, of the network's channels and depth."""
        kind = ImageKind(self.channels, self._image_dtype, self._limit)
        if kind.is_shown and path.suffix.lower() != NPY:
            return read_image(path, channels=self.channels, limit=self._limit)
        try:
            first, *others = image_pages(path, path.read_bytes(), kind)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}).") from None
        if others:
            raise InputError(f"{path} holds several images: save one by itself.")
        return first.pixels

    def _pixels(self, image: Picture) -> Shaped[np.ndarray, "h w c"]:
        """Returns the image h w c, upright, with the network's channels."""
        if isinstance(image, str | os.PathLike):
            return self._read(pathlib.Path(image))
        if isinstance(image, Image.Image):
            if self.channels not in MODES:
                raise InputError(
                    f"A PIL image does not have the network's {self.channels} channels: pass "
                    "an array, h w c."
                )
            if image.mode.startswith(("I", "F")):
                raise InputError(
                    f"A PIL image of mode {image.mode} has more than 8 bits a channel: "
                    "convert it to 8 bits, or pass an array, uint16 or float from 0 to 1."
                )
            return pixels(turned(image).convert(MODES[self.channels]))
        array = np.asarray(image)
        if array.dtype.name not in FULL_SCALE:
            raise InputError(
                f"The image is {array.dtype}; pass uint8 (0 to 255), uint16 (0 to 65535) or "
                "float (0 to 1)."
            )
        if self._scaled and array.dtype.kind == "f" and array.max(initial=0) > 2:
            raise InputError(
                f"The image is {array.dtype} with values up to {array.max():g}, but floats are "
                "from 0 to 1: divide by 255, or pass uint8."
            )
        array = array[..., None] if array.ndim == 2 else array
        if array.ndim != 3 or array.shape[2] != self.channels or not array.size:
            raise InputError(
                f"The image has shape {np.shape(image)}; this network takes one image, "
                f"height x width x {self.channels}."
            )
        return array

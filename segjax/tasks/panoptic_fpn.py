"""Panoptic segmentation from the top down: objects of a detector, then stuff around them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Integer

from segjax.contracts import (
    IGNORE,
    Array,
    Batch,
    Loss,
    Model,
    Traced,
    Variables,
    WithObjects,
)
from segjax.detection.panoptic_merge import merge_panoptic
from segjax.errors import InputError
from segjax.evaluate.compiled import check_numbers
from segjax.evaluate.predictors import at_output_stride
from segjax.losses import activations
from segjax.objects import Objects, PanopticMap
from segjax.ops.resize import interpolation_matrix, nearest_two, resize_bilinear
from segjax.tasks.detector import CanvasPredictor, Sizes, objects_of
from segjax.tasks.detector_program import object_outputs
from segjax.tasks.panoptic import Panoptic
from segjax.tasks.program import Program
from segjax.tasks.two_stage import (
    Detections,
    TwoStages,
    check_parts,
    inference_pass,
    on_canvas,
    sizes_of,
    training_pass,
)
from segjax.tasks.two_stage_task import TwoStageTask

_NO_CLASS = 254
"""In place of a label that is no class: the loss becomes NaN, and the step is refused."""

_STRIP = 1 << 22
"""Logits at an image's size that are held at a time, or four times the weights: 16 MiB."""

_COLUMNS = 4096
"""Columns of an image whose weights are held at a time."""


@dataclasses.dataclass(frozen=True)
class TopDown(TwoStageTask, Panoptic):
    """Objects by a two-stage detector and stuff by a semantic branch, then merged.

    It is for `models.panoptic_fpn` and `losses.PanopticFPN()`. The last transforms are `Canvas`
    and `PackObjects`. Images without objects are trained on too: they have stuff.

    Attributes:
      least_score: objects below are not merged.
      overlap: an object is skipped where better ones cover more than this share of its mask.
      stuff_area: pixels that a class of stuff needs in an image to be predicted.

    Source: Panoptic FPN (Kirillov et al., 2019, arXiv:1901.02446); the bounds are detectron2's.
    """

    least_score: float = 0.5
    overlap: float = 0.5
    stuff_area: int = 4096

    def training_pass(
        self,
        module: Any,
        *,
        batch: Batch,
        keys: Array,
        normalize: Callable[[Array], Array],
        train: bool,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Returns outputs and targets of the detector's samples and of every pixel."""
        image = on_canvas(batch["image"], sizes_of(batch), normalize)
        features = module.features(image, train=train)
        detector, branch = _tables(module.num_classes, things_of(module))
        classes = jnp.asarray(detector)[jnp.asarray(batch["classes"])]
        batch = {**batch, "classes": classes}
        outputs, targets = training_pass(
            module, features, batch, keys, constants=self, train=train
        )
        logits = module.semantic(features, train=train)
        outputs["semantic"] = resize_bilinear(logits, (image.shape[1], image.shape[2]))
        targets["semantic"] = jnp.asarray(branch)[jnp.asarray(batch["label"]).astype(jnp.int32)]
        return outputs, targets

    def network(
        self,
        model: nn.Module,
        *,
        normalize: Callable[[Array], Array],
        output_stride: int | None = None,
    ) -> Any:
        """Returns `(variables, images on their canvas) → Parts`, which can be traced.

        Raises:
          InputError: the network has no such output stride.
        """
        return ThingsAndStuff(at_output_stride(model, output_stride), normalize, self)

    def program(self, model: Any, **options: Any) -> Program:
        """Returns images of one size as read → objects and a semantic map, to be merged.

        Raises:
          InputError: it is for ONNX, or for images of any size.
        """
        program = super().program(model, **options)
        about = {
            "semantic_classes": stuff_ids(model.num_classes, things_of(model)),
            "merge": {
                "least_score": self.least_score,
                "overlap": self.overlap,
                "stuff_area": self.stuff_area,
            },
        }
        return dataclasses.replace(program, about=about)

    def exported(
        self, found: "Parts", model: Any, sizes: Sizes, *, output: str
    ) -> dict[str, Array]:
        """Returns objects as `object_outputs` does, with the data's class ids, and `semantic`.

        `semantic` b h w s are probabilities of "thing" and of each stuff. For classes it is
        b h w, uint8: ids of stuff, and 255 for "thing". Scores are NaN where the map is.
        """
        outputs = object_outputs(found.things, sizes)
        outputs["classes"] = jnp.asarray([0, *things_of(model)], jnp.int32)[outputs["classes"]]
        has_nan = jnp.isnan(found.semantic).any((1, 2, 3))
        outputs["scores"] = jnp.where(has_nan[:, None], jnp.nan, outputs["scores"])
        rows, columns = _to_image(found.semantic.shape[1:3], sizes)
        logits = jnp.einsum(
            "hi,wj,bijc->bhwc",
            *(rows.weights(), columns.weights(), found.semantic.astype(jnp.float32)),
            precision=lax.Precision.HIGHEST,
        )
        if output == "classes":
            ids = jnp.asarray(stuff_ids(model.num_classes, things_of(model)), jnp.uint8)
            return outputs | {"semantic": ids[logits.argmax(-1)]}
        return outputs | {"semantic": jax.nn.softmax(logits)}

    def on_host(self, network: "ThingsAndStuff", model: nn.Module) -> "MergingPredictor":
        """Returns the network on NumPy images, with the merge behind it."""
        count: Any = getattr(model, "num_classes")  # noqa: B009 (a field of Linen's)
        return MergingPredictor(network, num_classes=count, things=things_of(model), task=self)

    def predict(
        self, predictor: "MergingPredictor", variables: Variables, images: np.ndarray
    ) -> Sequence[PanopticMap]:
        """Returns the segments of each image of b h w c."""
        return predictor.segments(variables, images)

    def answer(
        self,
        predictor: "MergingPredictor",
        variables: Variables,
        image: np.ndarray,
        *,
        soft: bool,
    ) -> tuple[PanopticMap, None]:
        """Returns the segments of an image h w c; there are no maps of probabilities."""
        return predictor.segments(variables, image[None])[0], None

    def check_settings(
        self, model: Model, loss: Loss, datasets: Mapping[str, WithObjects]
    ) -> None:
        """Raises InputError where parts do not fit, or classes differ.

        Raises:
          InputError: they do not.
        """
        self.check_constants()
        check_parts(model, remedy="panoptic_fpn.PanopticFPN")
        things_of(model)
        has_masks: Any = getattr(model, "has_masks")  # noqa: B009 (a field of Linen's)
        if not has_masks:
            raise InputError(
                f"model.has_masks=False, but task={type(self).__name__} needs the mask of each "
                "object: set model.has_masks=True."
            )
        for name in ("least_score", "overlap"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise InputError(f"task.{name}={value} must be from 0 to 1.")
        if not self.stuff_area >= 0:
            raise InputError(f"task.stuff_area={self.stuff_area} must be at least 0.")
        if wrong := [name for name, kind in activations(loss) if kind]:
            raise InputError(
                f"loss={wrong[0]} is for one map of classes, but task={type(self).__name__} "
                "also trains a detector: use segjax.losses.PanopticFPN()."
            )
        super().check_settings(model, loss, datasets)

    def counts(self, model: nn.Module, batch: Batch, traced: Traced) -> bool:
        """Returns whether a pixel of a batch has a class, or a slot an object."""
        labelled = (np.asarray(batch["label"]) != IGNORE).any()
        return bool(labelled or np.asarray(batch["objects"]).any())


class Parts(NamedTuple):
    """What the network finds: `things` on the canvas, and `semantic` logits b h w k."""

    things: Detections
    semantic: Any


@dataclasses.dataclass(frozen=True)
class ThingsAndStuff:
    """`(variables, images as read, their sizes on the canvas) → Parts`, which can be traced."""

    model: nn.Module
    normalize: Callable[[Array], Array]
    constants: TwoStages

    def __call__(
        self,
        variables: Variables,
        image: Array,
        sizes: Integer[Array, "b 2"] | None = None,
    ) -> Parts:
        """Returns objects and logits; without sizes an image fills its canvas."""
        sizes = sizes_of({"image": image}) if sizes is None else sizes
        x = on_canvas(image, sizes, self.normalize)
        canvas = (image.shape[1], image.shape[2])

        def found(module: Any) -> Parts:
            features = module.features(x, train=False)
            things = inference_pass(module, features, sizes, canvas, constants=self.constants)
            return Parts(things, module.semantic(features, train=False))

        return self.model.apply(variables, method=found)  # pyright: ignore


class MergingPredictor(CanvasPredictor):
    """A predictor on NumPy images of one size, whose `segments` are merged on the host."""

    def __init__(
        self, network: Callable, *, num_classes: int, things: Sequence[int], task: TopDown
    ):
        super().__init__(network, num_classes=num_classes, constants=task)
        self._task, self._things = task, np.asarray(things, np.int32)
        self._stuff = np.asarray(stuff_ids(num_classes, things))

    def segments(self, variables: Variables, images: np.ndarray) -> list[PanopticMap]:
        """Returns the segments of each image of b h w c, at its own size.

        Raises:
          RunError: the network's outputs are not numbers.
        """
        found, on_canvas = self(variables, images)
        check_numbers(not np.isnan(found.semantic).any())
        size = (images.shape[1], images.shape[2])
        good = found.things.valid & (found.things.scores >= self._task.least_score)
        things = found.things._replace(valid=good)
        sizes = self._sizes(size)
        return [
            merge_panoptic(
                self._named(objects_of(things, i, on_canvas=on_canvas, size=size)),
                self._stuff[labels_at(found.semantic[i], sizes)],
                score=self._task.least_score,
                overlap=self._task.overlap,
                stuff_area=self._task.stuff_area,
            )
            for i in range(len(images))
        ]

    def _named(self, objects: Objects) -> Objects:
        """Returns objects with the data's class ids for the detector's."""
        return dataclasses.replace(objects, classes=self._things[objects.classes - 1])


def labels_at(logits: np.ndarray, sizes: Sizes) -> Integer[np.ndarray, "h w"]:
    """Returns the most likely class of each pixel of an image, from logits on its canvas.

    A strip of rows at a time has its logits at the image's size, so memory does not grow with
    classes × pixels.
    """
    rows, columns = _to_image(logits.shape[:2], sizes)
    labels = np.empty((rows.length, columns.length), np.int64)
    for left in range(0, columns.length, _COLUMNS):
        across = slice(left, left + _COLUMNS)
        _label_columns(labels[:, across], logits, rows, columns.weights(across))
    return labels


def _label_columns(
    labels: Integer[np.ndarray, "h n"],
    logits: np.ndarray,
    rows: "_Axis",
    columns: Float[np.ndarray, "n few"],
) -> None:
    """Writes the labels of n columns, whose weights these are."""
    strip = max(1, _STRIP // max(len(columns) * logits.shape[2], 4 * len(logits)))
    for top in range(0, rows.length, strip):
        weights = rows.weights(slice(top, top + strip))
        reads = np.flatnonzero(weights.any(0))
        near = slice(reads[0], reads[-1] + 1)
        wide = columns @ logits[near].astype(np.float32)
        fine = weights[:, near] @ wide.reshape(len(wide), -1)
        fine.reshape(-1, *wide.shape[1:]).argmax(-1, out=labels[top : top + strip])


class _Axis(NamedTuple):
    """The interpolation of a coarse axis to the canvas and from there to the image.

    `canvas` holds the weights of coarse samples in the canvas's pixels. Each pixel of the image
    lies between `low` and the next pixel of the canvas, whose weight is `part`.
    """

    canvas: Float[np.ndarray, "inside few"]
    low: Integer[np.ndarray, "own"]
    part: Float[np.ndarray, "own"]

    @property
    def length(self) -> int:
        """Pixels of the image."""
        return len(self.low)

    def weights(self, pixels: slice = slice(None)) -> Float[np.ndarray, "n few"]:
        """Returns the weights of the coarse samples in some pixels of the image."""
        low, part = self.low[pixels], self.part[pixels, None]
        above = self.canvas[np.minimum(low + 1, len(self.canvas) - 1)]
        return (self.canvas[low] * (1 - part) + above * part).astype(np.float32)


def _to_image(coarse: Sequence[int], sizes: Sizes) -> list[_Axis]:
    """Returns how rows and columns of a coarse map become those of an image.

    A map is interpolated to the canvas, cut to the image's size there, and interpolated to its
    own size.
    """
    return [
        _Axis(
            np.asarray(interpolation_matrix(few, whole, align_corners=False))[:inside],
            *nearest_two(inside, own, align_corners=False),
        )
        for few, own, inside, whole in zip(coarse, *sizes, strict=True)
    ]


def things_of(model: Any) -> tuple[int, ...]:
    """Returns the ids of a network's things.

    Raises:
      InputError: the network does not say them, or has no semantic branch.
    """
    lacks = [name for name in ("things", "semantic") if not hasattr(model, name)]
    if lacks:
        raise InputError(
            f"model: {type(model).__name__} has no {' and no '.join(lacks)}: use "
            "segjax.models.panoptic_fpn.PanopticFPN."
        )
    return tuple(model.things)


def stuff_ids(num_classes: int, things: Sequence[int]) -> list[int]:
    """Returns the class id of each channel of the semantic branch; 255 for "thing"."""
    return [IGNORE, *(i for i in range(num_classes) if i not in things)]


def _tables(num_classes: int, things: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns, for each class id, the detector's class, and the semantic branch's."""
    detector = np.zeros(num_classes, np.int32)
    detector[list(things)] = np.arange(1, len(things) + 1)
    branch = np.full(256, _NO_CLASS, np.int32)
    branch[IGNORE] = IGNORE
    branch[:num_classes][detector > 0] = 0
    branch[:num_classes][detector == 0] = np.arange(1, num_classes - len(things) + 1)
    return detector, branch

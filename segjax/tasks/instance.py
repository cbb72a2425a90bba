"""Instance segmentation and detection: the objects of an image, each with box and mask."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from segjax.conformity import check_model, declares, lacking
from segjax.contracts import (
    Array,
    Batch,
    Example,
    Loss,
    Model,
    Objective,
    Traced,
    Variables,
    WithObjects,
)
from segjax.data.checks import check_example
from segjax.data.object_checks import check_objects
from segjax.errors import InputError
from segjax.evaluate.predictors import at_output_stride
from segjax.losses import PanopticDeepLab, PanopticFPN, activations
from segjax.objects import Objects
from segjax.outputs.kinds import Output
from segjax.outputs.lists import ImageList
from segjax.outputs.object_options import asked_object_lists, asked_object_outputs
from segjax.report.examples import Panels
from segjax.report.run_page import Section
from segjax.tasks.class_coverage import known_early
from segjax.tasks.detector import CanvasPredictor, Detector, objects_of
from segjax.tasks.instance_metric import InstanceMetric
from segjax.tasks.instance_report import EXAMPLES_NOTE, instance_panels, instance_sections
from segjax.tasks.packing import pack_objects, unpack_objects
from segjax.tasks.shown import Shown, shown_objects
from segjax.tasks.task import Metric, Task
from segjax.tasks.two_stage import (
    TwoStages,
    check_parts,
    image_keys,
    on_canvas,
    sizes_of,
    training_pass,
)


@dataclasses.dataclass(frozen=True)
class Instance(TwoStages, Task):
    """Objects by a two-stage detector: Mask R-CNN, or Faster R-CNN for boxes alone.

    Datasets give objects (`segjax.objects`), and class 0 is the background. The last transforms
    are `Canvas` and `PackObjects`. The loss is `losses.TwoStage()`.

    Anchors and proposals are sampled by the seed, the step and the image's position in the
    batch. So neither a restart nor the number of devices changes a step.

    Attributes:
      masks: whether the network finds masks; False for Faster R-CNN.
      boundary: whether the boundaries of masks are scored too, which takes longer.
    """

    masks: bool = True
    boundary: bool = False

    examples_note = EXAMPLES_NOTE

    def metric(self, data: WithObjects) -> InstanceMetric:
        """Returns a metric that has counted nothing yet."""
        return InstanceMetric(data, masks=self.masks, boundary=self.boundary, most=self.most)

    def packed(self, prediction: Objects) -> Mapping[str, np.ndarray]:
        """Returns the objects of an image as named arrays."""
        return pack_objects([prediction])

    def unpacked(self, arrays: Mapping[str, np.ndarray]) -> Objects:
        """Returns the objects of these arrays."""
        (objects,) = unpack_objects(arrays)
        return objects

    def scored(self, data: WithObjects) -> str:
        """Returns the classes of objects, in their order."""
        return f"objects of the classes {', '.join(data.class_names[i] for i in data.things)}"

    def legend(self, data: WithObjects) -> tuple[tuple[str, ...], np.ndarray]:
        """Returns names and colours of the classes."""
        return tuple(data.class_names), data.palette[: len(data.class_names)]

    def objective(
        self, model: nn.Module, loss: Loss, *, normalize: Callable[[Array], Array]
    ) -> Objective:
        """Returns the forward pass of both stages with the terms of the loss."""

        def forward(variables: Variables, batch: Batch, key: Array):
            """Returns each loss term's total and weight on this device; new statistics."""
            keys = image_keys(key, len(batch["image"]))
            apply = partial(
                model.apply,
                variables,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.fold_in(key, 1)},
            )
            (outputs, targets), updated = apply(
                method=partial(
                    self._pass, batch=batch, keys=keys, normalize=normalize, train=True
                )
            )
            return dict(loss(outputs, targets)), dict(updated).get("batch_stats") or {}

        return forward

    def _pass(
        self,
        module: Any,
        *,
        batch: Batch,
        keys: Array,
        normalize: Callable[[Array], Array],
        train: bool,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Returns outputs and targets of the sampled anchors and proposals of a batch."""
        image = on_canvas(batch["image"], sizes_of(batch), normalize)
        features = module.features(image, train=train)
        return training_pass(module, features, batch, keys, constants=self, train=train)

    def trace(
        self,
        model: nn.Module,
        loss: Loss,
        batch: Mapping[str, np.ndarray],
        *,
        normalize: Callable[[Array], Array],
    ) -> Traced:
        """Returns the network's shapes, after network and loss were tried on an example.

        Raises:
          ValueError: one of them refuses it, or the batch has no objects in slots.
        """
        if missing := [key for key in ("boxes", "classes", "objects") if key not in batch]:
            raise ValueError(
                f"A batch has no {', '.join(map(repr, missing))}: end the transforms with "
                "segjax.transforms.objects.PackObjects()."
            )
        one = {key: jnp.asarray(value[:1]) for key, value in batch.items()}

        def trial():
            """Initialises the network and takes its loss; traced, never run."""
            image = normalize(one["image"])
            variables = model.init(jax.random.key(0), image, train=False)
            keys = jax.random.split(jax.random.key(0), 1)
            part = partial(self._pass, batch=one, keys=keys, normalize=normalize, train=False)
            outputs, targets = model.apply(variables, method=part)  # pyright: ignore
            loss(outputs, targets)  # pyright: ignore
            return variables

        height, width = one["image"].shape[1:3]
        return Traced(jax.eval_shape(trial), (height, width))

    def network(
        self,
        model: nn.Module,
        *,
        normalize: Callable[[Array], Array],
        output_stride: int | None = None,
    ) -> Any:
        """Returns `(variables, images on their canvas) → Detections`, which can be traced.

        Raises:
          InputError: the network has no such output stride.
        """
        return Detector(at_output_stride(model, output_stride), normalize, self)

    def predictor(
        self,
        model: nn.Module,
        *,
        normalize: Callable[[Array], Array],
        output_stride: int | None = None,
        wrappers: Sequence[Callable] = (),
        split: tuple[int, int] = (1, 1),
    ) -> Any:
        """Returns the network on NumPy images, which it resizes.

        Raises:
          InputError: there are wrappers, devices are to share an image, or the network has no
            such output stride.
        """
        for wrapper in wrappers:
            self.check_wrapper(wrapper)
        if split != (1, 1):
            raise InputError(
                f"split={split}: devices cannot share an image of task="
                f"{type(self).__name__}; set split=(1, 1)."
            )
        network = self.network(model, normalize=normalize, output_stride=output_stride)
        count: Any = getattr(model, "num_classes")  # noqa: B009 (a field of Linen's)
        return CanvasPredictor(network, num_classes=count, constants=self)

    def check_wrapper(self, wrapper: Callable) -> None:
        """Raises InputError: wrappers combine maps of classes.

        Raises:
          InputError: always.
        """
        raise InputError(
            f"evaluation.predictor: {wrapper!r} combines maps of classes, but "
            f"task={type(self).__name__} predicts objects; leave it out."
        )

    def predict(
        self, predictor: Any, variables: Variables, images: np.ndarray
    ) -> Sequence[Objects]:
        """Returns the objects of each image of b h w c, by falling score."""
        found, on_canvas = predictor(variables, images)
        size = (images.shape[1], images.shape[2])
        return [
            objects_of(found, i, on_canvas=on_canvas, size=size) for i in range(len(images))
        ]

    def answer(
        self, predictor: Any, variables: Variables, image: np.ndarray, *, soft: bool
    ) -> tuple[Objects, None]:
        """Returns the objects of an image h w c; there are no maps of probabilities."""
        return self.predict(predictor, variables, image[None])[0], None

    def check_settings(
        self, model: Model, loss: Loss, datasets: Mapping[str, WithObjects]
    ) -> None:
        """Raises InputError where parts do not fit a two-stage detector, or classes differ.

        Raises:
          InputError: they do not.
        """
        self.check_constants()
        check_model(model)
        check_parts(model)
        has_masks: Any = getattr(model, "has_masks")  # noqa: B009 (a field of Linen's)
        if has_masks != self.masks:
            raise InputError(
                f"task.masks={self.masks}, but the network has has_masks={has_masks}; set both "
                "alike."
            )
        if hasattr(model, "semantic"):
            raise InputError(
                f"model: {type(model).__name__} has a semantic branch, which "
                f"task={type(self).__name__} would not train: use "
                "task=segjax.tasks.panoptic_fpn.TopDown(), or "
                "segjax.models.mask_rcnn.MaskRCNN."
            )
        wrong = [name for name, kind in activations(loss) if kind]
        if isinstance(loss, PanopticFPN | PanopticDeepLab):
            wrong = [type(loss).__name__]
        if wrong:
            raise InputError(
                f"loss={wrong[0]} is for classes of pixels: with task={type(self).__name__}() "
                "use segjax.losses.TwoStage()."
            )
        for field, data in datasets.items():
            if not declares(data, WithObjects):
                raise InputError(f"{field}: {lacking(data, WithObjects)}.")
        for field in known_early(datasets):
            self.check_data(model, datasets, field=field)

    def check_data(
        self, model: Model, datasets: Mapping[str, WithObjects], *, field: str
    ) -> None:
        """Raises InputError unless a dataset has the classes of training data and network.

        Raises:
          InputError: they differ, or class 0 is not the background.
        """
        data, first = datasets[field], datasets["train_data"]
        for name in ("class_names", "things"):
            ours, theirs = tuple(getattr(data, name)), tuple(getattr(first, name))
            if ours != theirs:
                raise InputError(
                    f"{field} and train_data must have the same {name}, but one has {ours}, "
                    f"the other {theirs}."
                )
        if 0 in data.things:
            raise InputError(
                f"{field}: class 0, {data.class_names[0]!r}, is the background of a detector, "
                "but the dataset counts its objects; put a class 'background' before it."
            )
        count = len(data.class_names)
        if model.num_classes != count:
            raise InputError(
                f"model.num_classes={model.num_classes}, but {field} has {count} classes with "
                f"the background; set model.num_classes={count}."
            )

    def check_example(
        self, example: Example, data: WithObjects, *, transformed: bool = False
    ) -> None:
        """Raises InputError unless image, class ids and objects fit one another."""
        check_example(example, data.class_names, transformed=transformed)
        check_objects(example, data.class_names, data.things, transformed=transformed)

    def check_outputs(self, count: int, data: WithObjects, *, who: str) -> None:
        """Raises InputError unless the network tells as many classes apart as the data name."""
        if count != len(data.class_names):
            raise InputError(
                f"{who} predicts {count} classes with the background, but eval_data has "
                f"{len(data.class_names)}; the numbers must agree."
            )

    def stand_in(self, shape: tuple[int, int, int], data: WithObjects) -> Example:
        """Returns a black image of one object in its upper left quarter."""
        height, width = shape[0] // 2 + 1, shape[1] // 2 + 1
        class_id = data.things[0]
        label = np.zeros(shape[:2], np.uint8)
        label[:height, :width] = class_id
        return {
            "image": np.zeros(shape, np.uint8),
            "label": label,
            "name": "stand-in",
            "boxes": np.array([[0, 0, width, height]], np.float32),
            "classes": np.array([class_id], np.int32),
            "instance_ids": np.ones(1, np.int32),
            "crowd": np.zeros(1, bool),
            "instances": (label > 0).astype(np.uint16)[..., None],
        }

    def sections(
        self, metric: Metric, scores: Mapping[str, Any], data: WithObjects
    ) -> Sequence[Section]:
        """Returns AP by size and by class, and precision over recall."""
        assert isinstance(metric, InstanceMetric)
        return instance_sections(metric, scores, data)

    def panels(
        self, example: Example, prediction: Objects, data: WithObjects, *, longest: int
    ) -> Panels:
        """Returns image, truth, prediction and errors."""
        return instance_panels(example, prediction, data, longest=longest)

    def outputs(self, options: argparse.Namespace, data: WithObjects) -> list[Output]:
        """Returns a PNG of instance ids, a JSON of all objects, and what else is asked for."""
        return asked_object_outputs(options, tuple(data.class_names))

    def lists(self, options: argparse.Namespace, data: WithObjects) -> list[ImageList]:
        """Returns measurements, counts and COCO's annotations, as the options ask."""
        return asked_object_lists(options, tuple(data.class_names))

    def shown(self, data: WithObjects) -> Shown:
        """Returns the classes of objects, and the objects themselves."""
        return shown_objects(tuple(data.class_names), data.palette)

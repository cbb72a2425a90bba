"""Instance segmentation and detection: the objects of an image, each with box and mask."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np

from segjax.contracts import (
    Array,
    Batch,
    Example,
    Loss,
    Model,
    Variables,
    WithObjects,
)
from segjax.errors import InputError
from segjax.evaluate.predictors import at_output_stride
from segjax.losses import PanopticDeepLab, PanopticFPN, activations
from segjax.objects import Objects
from segjax.outputs.kinds import Output
from segjax.outputs.lists import ImageList
from segjax.outputs.object_options import asked_object_lists, asked_object_outputs
from segjax.report.examples import Panels
from segjax.report.run_page import Section
from segjax.tasks.detector import CanvasPredictor, Detector, Sizes, objects_of
from segjax.tasks.detector_program import object_outputs
from segjax.tasks.instance_metric import InstanceMetric
from segjax.tasks.instance_report import EXAMPLES_NOTE, instance_panels, instance_sections
from segjax.tasks.packing import pack_objects, unpack_objects
from segjax.tasks.program import Program
from segjax.tasks.shown import Shown, shown_objects
from segjax.tasks.task import Metric
from segjax.tasks.two_stage import (
    Detections,
    check_parts,
    on_canvas,
    sizes_of,
    training_pass,
)
from segjax.tasks.two_stage_task import TwoStageTask


@dataclasses.dataclass(frozen=True)
class Instance(TwoStageTask):
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

    def training_pass(
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

    def program(
        self, model: nn.Module, *, output: str = "probabilities", **options: Any
    ) -> Program:
        """Returns images of one size as read → objects (`object_outputs`).

        Raises:
          InputError: it is for ONNX, for images of any size, or for classes of pixels.
        """
        if output == "classes":
            raise InputError(
                f"--output classes: task={type(self).__name__} finds objects, not a class for "
                "each pixel; leave --output out."
            )
        return super().program(model, output=output, **options)

    def exported(
        self, found: Detections, model: nn.Module, sizes: Sizes, *, output: str
    ) -> dict[str, Array]:
        """Returns the objects as arrays by name."""
        return object_outputs(found, sizes)

    def on_host(self, network: Detector, model: nn.Module) -> CanvasPredictor:
        """Returns the network on NumPy images, which it resizes."""
        count: Any = getattr(model, "num_classes")  # noqa: B009 (a field of Linen's)
        return CanvasPredictor(network, num_classes=count, constants=self)

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
        super().check_settings(model, loss, datasets)

    def check_data(
        self, model: Model, datasets: Mapping[str, WithObjects], *, field: str
    ) -> None:
        """Raises InputError unless a dataset has the classes of training data and network.

        Raises:
          InputError: they differ, or class 0 is not the background.
        """
        super().check_data(model, datasets, field=field)
        data = datasets[field]
        if 0 in data.things:
            raise InputError(
                f"{field}: class 0, {data.class_names[0]!r}, is the background of a detector, "
                "but the dataset counts its objects; put a class 'background' before it."
            )

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
        """Returns the overlays' legend, and the lists that the options ask for."""
        names, colours = self.legend(data)
        rows = tuple((r, g, b) for r, g, b in colours.tolist())
        return asked_object_lists(options, names, rows)

    def shown(self, data: WithObjects) -> Shown:
        """Returns the classes of objects, and the objects themselves."""
        return shown_objects(tuple(data.class_names), data.palette)

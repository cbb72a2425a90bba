"""What the tasks of two-stage detectors share: training, tracing, and the predictor."""

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from segjax.contracts import Array, Batch, Loss, Objective, Traced, Variables
from segjax.errors import InputError
from segjax.evaluate.windows import PadToMultiple
from segjax.tasks.detector import Sizes, sizes_on_canvas
from segjax.tasks.detector_program import from_whole_images
from segjax.tasks.of_objects import OfObjects
from segjax.tasks.program import Program
from segjax.tasks.two_stage import image_keys
from segjax.tasks.two_stage_constants import TwoStages


@dataclasses.dataclass(frozen=True)
class TwoStageTask(TwoStages, OfObjects):
    """A task of a two-stage detector. Subclasses say what its passes are."""

    @abc.abstractmethod
    def training_pass(
        self,
        module: Any,
        *,
        batch: Batch,
        keys: Array,
        normalize: Callable[[Array], Array],
        train: bool,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Returns outputs and targets, as the loss takes them, of a network that is bound.

        Args:
          module: the network, bound to its variables.
          batch: what the last transforms leave, on the devices.
          keys: one an image; they decide which anchors and proposals are sampled.
          normalize: raw images → the network's input.
          train: whether norms use the batch's statistics.
        """

    @abc.abstractmethod
    def on_host(self, network: Any, model: nn.Module) -> Any:
        """Returns the traceable `network` as a predictor on NumPy images."""

    @abc.abstractmethod
    def exported(
        self, found: Any, model: nn.Module, sizes: Sizes, *, output: str
    ) -> dict[str, Array]:
        """Returns what `network` finds in images as arrays by name, at the images' own size.

        Args:
          found: by the network, on the canvas.
          model: the network itself.
          sizes: of the images and of their canvas.
          output: "probabilities" or "classes": the form of maps.
        """

    def objective(
        self, model: nn.Module, loss: Loss, *, normalize: Callable[[Array], Array]
    ) -> Objective:
        """Returns the forward pass of both stages with the terms of the loss."""

        def forward(variables: Variables, batch: Batch, key: Array):
            """Returns each loss term's total and weight on this device; new statistics."""
            sampling, dropout = jax.random.split(key)
            part = partial(
                self.training_pass,
                batch=batch,
                keys=image_keys(sampling, len(batch["image"])),
                normalize=normalize,
                train=True,
            )
            (outputs, targets), updated = model.apply(  # pyright: ignore
                variables, mutable=["batch_stats"], rngs={"dropout": dropout}, method=part
            )
            return dict(loss(outputs, targets)), dict(updated).get("batch_stats") or {}

        return forward

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
            part = partial(
                self.training_pass, batch=one, keys=keys, normalize=normalize, train=False
            )
            outputs, targets = model.apply(variables, method=part)  # pyright: ignore
            loss(outputs, targets)  # pyright: ignore
            return variables

        height, width = one["image"].shape[1:3]
        return Traced(jax.eval_shape(trial), (height, width))

    def program(
        self,
        model: nn.Module,
        *,
        normalize: Callable[[Array], Array],
        output_stride: int | None = None,
        size: tuple[int, int] | None,
        output: str = "probabilities",
        onnx: bool = False,
    ) -> Program:
        """Returns images of one size as read → objects, and what else the task finds.

        Raises:
          InputError: it is for ONNX, or for images of any size.
        """
        name = type(self).__name__
        if onnx:
            raise InputError(
                f"--out NAME.onnx: the selection of boxes of task={name} has no translation to "
                "ONNX; give NAME.stablehlo, which holds the whole detector."
            )
        if size is None:
            raise InputError(
                f"--size any: task={name} resizes images and places anchors for one size; give "
                "--size HEIGHTxWIDTH."
            )
        sizes = sizes_on_canvas(size, self)
        network = self.network(model, normalize=normalize, output_stride=output_stride)
        outputs = lambda found: self.exported(found, model, sizes, output=output)
        return Program(from_whole_images(network, outputs, sizes, antialias=self.antialias))

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

        `PadToMultiple(n)` makes the sides of canvases multiples of n, and replaces `canvas`.

        Raises:
          InputError: there are other wrappers, devices are to share an image, or the network
            has no such output stride.
        """
        self.check_whole_images(wrappers, split=split)
        task = self
        for wrapper in wrappers:
            multiple = math.lcm(task.multiple, wrapper.multiple)
            task = dataclasses.replace(task, multiple=multiple, canvas=None)
        network = task.network(model, normalize=normalize, output_stride=output_stride)
        return task.on_host(network, model)

    def check_wrapper(self, wrapper: Callable) -> None:
        """Raises InputError for wrappers that combine maps; padding is the canvas's.

        Raises:
          InputError: the wrapper is not `PadToMultiple`.
        """
        if not isinstance(wrapper, PadToMultiple):
            super().check_wrapper(wrapper)

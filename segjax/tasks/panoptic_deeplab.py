"""Panoptic segmentation from the bottom up: classes and centres of pixels, then grouping."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segjax.contracts import (
    IGNORE,
    Array,
    Batch,
    Loss,
    Model,
    Objective,
    Traced,
    Variables,
    WithObjects,
)
from segjax.detection.grouping import Grouped, group, panoptic_map
from segjax.errors import InputError
from segjax.evaluate.compiled import Compiled, argmax_labels, check_numbers
from segjax.evaluate.predictors import at_output_stride, softmax_probabilities
from segjax.losses import activations
from segjax.objects import PanopticMap
from segjax.tasks.panoptic import Panoptic
from segjax.tasks.program import Program


@dataclasses.dataclass(frozen=True)
class BottomUp(Panoptic):
    """Segments by grouping pixels around centres, for `models.panoptic_deeplab`.

    The network gives classes, a heat-map of centres and offsets. Each pixel of a thing joins
    the nearest centre, and the pixels of an object vote on its class.

    Attributes:
      threshold: heat above which a pixel can be a centre.
      kernel: odd side of the square in which a centre has the most heat: 7 or 13 for
        Cityscapes, 41 for COCO.
      most: objects of an image, those with the most heat.
      stuff_area: pixels that a class of stuff needs in an image to be predicted: 2048 for
        Cityscapes, 4096 for COCO.

    Raises:
      InputError: a field is out of range.

    Source: Panoptic-DeepLab (Cheng et al., 2020, arXiv:1911.10194), section 3.3.
    """

    threshold: float = 0.1
    kernel: int = 7
    most: int = 200
    stuff_area: int = 2048

    def __post_init__(self) -> None:
        if isinstance(self.threshold, (int, float)) and not 0 <= self.threshold < 1:
            raise InputError(
                f"task.threshold={self.threshold} must be at least 0 and below 1, as 0.1 is."
            )
        for name, least in (("kernel", 1), ("most", 1), ("stuff_area", 0)):
            value = getattr(self, name)
            if isinstance(value, int) and value < least:
                raise InputError(f"task.{name}={value} must be at least {least}.")
        if isinstance(self.kernel, int) and self.kernel % 2 == 0:
            raise InputError(
                f"task.kernel={self.kernel} must be odd, such as {self.kernel + 1}, so that "
                "the square has a middle."
            )

    def objective(
        self, model: nn.Module, loss: Loss, *, normalize: Callable[[Array], Array]
    ) -> Objective:
        """Returns the forward pass and the loss of the three maps."""

        def forward(variables, batch: Batch, key: Array):
            """Returns each loss term's total and weight on this device, and the statistics."""
            maps, updated = model.apply(
                variables,
                normalize(batch["image"]),
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            return dict(loss(maps, batch)), dict(updated).get("batch_stats") or {}

        return forward

    def trace(
        self,
        model: nn.Module,
        loss: Loss,
        batch: Mapping[str, np.ndarray],
        *,
        normalize: Callable[[Array], Array],
    ) -> Traced:
        """Returns the network's shapes, after network and loss were tried on an example."""

        def trial():
            """Initialises the network on one example and takes its loss; traced, never run."""
            one = {key: jnp.asarray(value[:1]) for key, value in batch.items()}
            image = normalize(one["image"])
            maps, variables = model.init_with_output(jax.random.key(0), image, train=False)
            loss(maps, one)
            return variables, maps["semantic"]

        variables, semantic = jax.eval_shape(trial)
        return Traced(variables, semantic.shape[1:3])

    def network(
        self,
        model: nn.Module,
        *,
        normalize: Callable[[Array], Array],
        output_stride: int | None = None,
    ) -> "CenterMaps":
        """Returns `(variables, images as read) → maps`; see `CenterMaps`."""
        return CenterMaps(at_output_stride(model, output_stride), normalize)

    def program(
        self, model: nn.Module, *, output: str = "probabilities", **options: Any
    ) -> Program:
        """Returns images as read → the three maps, to be grouped; or class ids alone."""
        program = super().program(model, output=output, **options)
        if output == "classes":
            return program
        names = ("threshold", "kernel", "most", "stuff_area")
        grouping = {name: getattr(self, name) for name in names}
        grouping["things"] = [*_things(model)]
        return dataclasses.replace(program, about={"grouping": grouping})

    def predictor(
        self,
        model: nn.Module,
        *,
        normalize: Callable[[Array], Array],
        output_stride: int | None = None,
        wrappers: Sequence[Callable] = (),
        split: tuple[int, int] = (1, 1),
    ) -> "GroupingPredictor":
        """Returns the network with the grouping behind it, on NumPy images.

        Raises:
          InputError: the network has no such output stride or no `things`, there is a wrapper,
            or devices share images.
        """
        self.check_whole_images(wrappers, split=split)
        network = self.network(model, normalize=normalize, output_stride=output_stride)
        things = _things(model)
        grouped = partial(
            group,
            things=things,
            threshold=self.threshold,
            kernel=self.kernel,
            most=self.most,
            stuff_area=self.stuff_area,
        )
        return GroupingPredictor(network, grouped, things)

    def classes(self, maps: Any) -> Array:
        """Returns class ids b h w, the most likely ones, for exports that ask for classes."""
        return jnp.argmax(maps["semantic"], -1).astype(jnp.uint8)

    def predict(
        self, predictor: "GroupingPredictor", variables: Variables, images: np.ndarray
    ) -> Sequence[PanopticMap]:
        """Returns the segments of each image."""
        return predictor.segments(variables, images)

    def answer(
        self,
        predictor: "GroupingPredictor",
        variables: Variables,
        image: np.ndarray,
        *,
        soft: bool,
    ) -> tuple[PanopticMap, np.ndarray | None]:
        """Returns the segments of an image and, if `soft`, probabilities of its classes."""
        (found,) = predictor.segments(variables, image[None])
        return found, predictor(variables, image[None])[0] if soft else None

    def check_settings(
        self, model: Model, loss: Loss, datasets: Mapping[str, WithObjects]
    ) -> None:
        """Raises InputError unless network and loss have the three maps, and classes agree."""
        _things(model)
        if wrong := [name for name, kind in activations(loss) if kind]:
            raise InputError(
                f"loss={wrong[0]} is for one map of classes, but task={type(self).__name__} "
                "also trains centres and offsets: use segjax.losses.PanopticDeepLab()."
            )
        super().check_settings(model, loss, datasets)

    def counts(self, model: nn.Module, batch: Batch, traced: Traced) -> bool:
        """Returns whether a pixel of a batch has a class, so that it adds to the loss."""
        return bool((np.asarray(batch["label"]) != IGNORE).any())


@dataclasses.dataclass(frozen=True)
class CenterMaps:
    """(variables, images as read) → maps of every pixel, for images of any one size.

    `semantic` b h w k are probabilities, `center` b h w 1 is the heat-map, and `offset` b h w 2
    is (down, right) in pixels to the centre. It can be traced.
    """

    model: nn.Module
    normalize: Callable[[Array], Array]

    def __call__(self, variables: Variables, image: Array) -> dict[str, Array]:
        """Returns the three maps."""
        maps = self.model.apply(variables, self.normalize(image), train=False)
        assert isinstance(maps, Mapping)
        return {**maps, "semantic": softmax_probabilities(maps["semantic"])}


class GroupingPredictor:
    """A host predictor whose `segments` are grouped on the devices, image by image."""

    def __init__(
        self, network: CenterMaps, grouped: Callable[..., Grouped], things: Sequence[int]
    ):
        self._network, self._things = network, tuple(things)
        self._semantic = Compiled(lambda v, images: network(v, images)["semantic"])
        # One image after another: each loop ends with the centres of its own image.
        self._segments = Compiled(
            lambda v, images: lax.map(
                lambda maps: (grouped(**maps), _has_nan(maps)), network(v, images)
            )
        )

    def __call__(self, variables: Variables, images: np.ndarray, /) -> np.ndarray:
        """Returns probabilities of the class of every pixel."""
        return self._semantic(variables, images)

    def segments(self, variables: Variables, images: np.ndarray) -> list[PanopticMap]:
        """Returns the segments of each image of b h w c.

        Raises:
          RunError: the network's maps are not numbers.
        """
        found, has_nan = self._segments.run(variables, images)
        check_numbers(not has_nan.any())
        return [panoptic_map(Grouped(*each), self._things) for each in zip(*found, strict=True)]

    def classes(self, variables: Variables, images: np.ndarray) -> np.ndarray:
        """Returns the most likely class of every pixel."""
        return argmax_labels(self(variables, images))

    def check(self, variables: Any, images: jax.ShapeDtypeStruct) -> int:
        """Returns the number of classes, by tracing alone."""
        return jax.eval_shape(self._network, variables, images)["semantic"].shape[-1]


def _has_nan(maps: Mapping[str, Array]) -> Array:
    """Returns whether a value of the maps is not a number."""
    return jnp.stack([jnp.isnan(each).any() for each in maps.values()]).any()


def _things(model: Any) -> tuple[int, ...]:
    """Returns the ids of a network's things.

    Raises:
      InputError: the network does not say them.
    """
    things = getattr(model, "things", None)
    if not isinstance(things, tuple | list):
        raise InputError(
            f"model: {type(model).__name__} has no things, the ids of the classes whose "
            "objects are counted: use segjax.models.panoptic_deeplab.PanopticDeepLab."
        )
    return tuple(things)

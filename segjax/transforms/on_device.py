"""Augmentation inside the training step, on the devices: `(example, key) → example` in JAX.

Use it where the loader is slower than the devices:

    transforms=(RandomCrop(600),),                       # on the host: one size for all
    device_transforms=(DeviceScaleCrop(513), DeviceFlip(), DeviceColorJitter(0.5, 0.5, 0.5)),

An example is one of the batch: `image` h w c in its own dtype, `label` h w or h w k, and
`weight` if there is one. Other arrays cannot be moved here and are refused. A transform is a
frozen dataclass. It keeps dtypes, and the size of its result does not depend on the key.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from segjax.contracts import Array, Batch, DeviceTransform, full_scale
from segjax.errors import InputError
from segjax.transforms.color import GREY
from segjax.transforms.fields import check_number, check_probability, check_scales, pair_of
from segjax.transforms.fill import (
    MEAN_COLOUR,
    check_fill,
    check_number_or_colour,
    fill_for,
    ignored_value,
)

MOVED = ("image", "label", "weight")
"""The arrays that are moved."""

_NAME = "DeviceScaleCrop"

STREAM = 0x5E67
"""Sets the keys of augmentation apart from those of dropout, which share the step's key."""


def augment(
    batch: Batch, transforms: Sequence[DeviceTransform], key: Array, *, places: Any = None
) -> Batch:
    """Returns the batch after the transforms, in order.

    What an example becomes depends on the key and its place in the global batch alone. A
    resumed run sees the same bits. Another number of devices sees the same examples; sums in
    another order may round a value of an image to its neighbour, about once in 5000.

    Args:
      batch: arrays with one item an example.
      transforms: functions of (example, key).
      key: of the step.
      places: those of the examples in the global batch; None: 0, 1, 2, …

    Raises:
      InputError: a transform does not take the examples.
    """
    examples = {name: batch[name] for name in batch if name != "step"}
    for name in examples:
        if name not in MOVED:
            raise InputError(
                f"device_transforms move image, label and weight, but the batch has {name!r}: "
                "use transforms, which run on the host, instead."
            )

    def one(example: Mapping[str, Array], place: Array) -> Mapping[str, Array]:
        own = jax.random.fold_in(jax.random.fold_in(key, STREAM), place)
        for number, transform in enumerate(transforms):
            example = transform(example, jax.random.fold_in(own, number))
        return example

    if places is None:
        places = jnp.arange(len(batch["image"]))
    return {**batch, **jax.vmap(one)(examples, places)}


@dataclasses.dataclass(frozen=True)
class DeviceFlip:
    """A mirror image, left and right exchanged, with a probability."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self)

    def __call__(self, example: Mapping[str, Array], key: Array) -> dict[str, Array]:
        """Returns the example or its mirror image."""
        flips = jax.random.bernoulli(key, self.probability)
        return {name: jnp.where(flips, x[:, ::-1], x) for name, x in example.items()}


@dataclasses.dataclass(frozen=True)
class DeviceScaleCrop:
    """A random scale, then a window of `size` at a random place, in one resampling.

    It does what `RandomScale(minimum, maximum)` and `RandomCrop(size)` do one after the other:
    both sides times a factor uniform in [minimum, maximum]; images and weights are bilinear,
    with a wider filter when they shrink, labels nearest; outside of the example the image is
    `fill`, the label 255 (NaN if it holds floats), the weight 0. Values are rounded once, where
    the two round twice.
    """

    size: int | tuple[int, int]
    minimum: float = 0.5
    maximum: float = 2.0
    fill: float | tuple[float, ...] = MEAN_COLOUR

    def __post_init__(self) -> None:
        pair_of(self.size, _NAME)
        check_scales(self)
        check_number_or_colour(_NAME, self.fill)

    def __call__(self, example: Mapping[str, Array], key: Array) -> dict[str, Array]:
        """Returns the window.

        Raises:
          InputError: `fill` has neither one number nor as many as the image has channels, or
            the label's dtype cannot hold 255.
        """
        size, keys = pair_of(self.size, _NAME), jax.random.split(key, 3)
        factor = jax.random.uniform(keys[0], (), minval=self.minimum, maxval=self.maximum)
        image = example["image"]
        axes = [
            _axis(old, new, factor, axis_key)
            for old, new, axis_key in zip(image.shape[:2], size, keys[1:], strict=True)
        ]
        fill = fill_for(np.empty((1, 1, image.shape[-1]), image.dtype), self.fill, name=_NAME)
        window = _bilinear(image, axes, jnp.asarray(fill, jnp.float32))
        moved = {"image": _to_dtype(window, image.dtype)}
        if "label" in example:
            moved["label"] = _nearest(example["label"], axes)
        if "weight" in example:
            weight = example["weight"]
            average = _bilinear(weight, axes, jnp.zeros(()))
            is_float = jnp.issubdtype(weight.dtype, jnp.floating)
            moved["weight"] = (average if is_float else jnp.rint(average)).astype(weight.dtype)
        return moved


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One axis of a window in a scaled example.

    Attributes:
      size: of the window.
      scale: pixels of the scaled example for one of the example.
      start: of the window in the scaled example; negative where it begins outside.
      source: for each pixel of the window, the pixel of the example under its centre.
      inside: whether each pixel of the window lies in the example.
    """

    size: int
    scale: Array
    start: Array
    source: Array
    inside: Array


def _axis(old: int, new: int, factor: Array, key: Array) -> _Axis:
    scaled = jnp.maximum(jnp.round(old * factor), 1).astype(jnp.int32)
    room = scaled - new
    start = jax.random.randint(key, (), jnp.minimum(room, 0), jnp.maximum(room, 0) + 1)
    place = start + jnp.arange(new)
    # In whole numbers, as the host's `resize_nearest`, so that no centre is rounded away.
    source = jnp.clip((2 * place + 1) * old // (2 * scaled), 0, old - 1)
    return _Axis(new, scaled / old, start, source, (place >= 0) & (place < scaled))


def _bilinear(plane: Array, axes: Sequence[_Axis], fill: Array) -> Array:
    """Returns the window of h w … in float32; bilinear, antialiased where it shrinks."""
    channels = plane.reshape(*plane.shape[:2], -1).astype(jnp.float32)
    window = jax.image.scale_and_translate(
        channels,
        (*(axis.size for axis in axes), channels.shape[-1]),
        (0, 1),
        jnp.stack([axis.scale for axis in axes]),
        -jnp.stack([axis.start for axis in axes]).astype(jnp.float32),
        "linear",
    )
    inside = axes[0].inside[:, None, None] & axes[1].inside[None, :, None]
    return jnp.where(inside, window, fill).reshape(*window.shape[:2], *plane.shape[2:])


def _nearest(label: Array, axes: Sequence[_Axis]) -> Array:
    rows, columns = axes
    window = label[rows.source[:, None], columns.source[None, :]]
    inside = rows.inside[:, None] & columns.inside[None, :]
    inside = inside.reshape(*inside.shape, *[1] * (label.ndim - 2))
    ignored = ignored_value(np.dtype(label.dtype))
    check_fill(f"{_NAME}: the label", label.dtype, ignored)
    return jnp.where(inside, window, jnp.asarray(ignored, label.dtype))


@dataclasses.dataclass(frozen=True)
class DeviceColorJitter:
    """A random brightness, contrast and saturation for each image, as `ColorJitter` does it.

    Factors are uniform in [max(0, 1 − value), 1 + value]: of the image, of its distance from
    its mean luma, of each pixel's distance from its own luma. Images that are not RGB change in
    brightness and contrast alone.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            check_number(self, name, 0)

    def __call__(self, example: Mapping[str, Array], key: Array) -> dict[str, Array]:
        """Returns the example with its image changed."""
        values = (self.brightness, self.contrast, self.saturation)
        brightness, contrast, saturation = (
            jax.random.uniform(k, (), minval=max(0.0, 1 - value), maxval=1 + value)
            for k, value in zip(jax.random.split(key, 3), values, strict=True)
        )
        image = example["image"]
        x = image.astype(jnp.float32)
        luma = jnp.asarray(GREY, jnp.float32)
        if image.shape[-1] != 3:
            luma, saturation = jnp.full(image.shape[-1], 1 / image.shape[-1]), 1.0
        mean = jnp.mean(x, (0, 1)) @ luma
        own = (x @ luma)[..., None]
        changed = saturation * x + (1 - saturation) * own
        changed = brightness * (contrast * changed + (1 - contrast) * mean)
        if jnp.issubdtype(image.dtype, jnp.floating):
            changed = changed.clip(0, 1)
        return {**example, "image": _to_dtype(changed, image.dtype)}


def _to_dtype(x: Array, dtype: Any) -> Array:
    """Returns values of an image in its dtype; whole numbers are rounded and clipped."""
    if jnp.issubdtype(dtype, jnp.floating):
        return x.astype(dtype)
    return jnp.rint(x).clip(0, full_scale(dtype)).astype(dtype)

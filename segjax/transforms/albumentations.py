"""A pipeline of the package albumentations as one transform."""

import importlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.labels import example_name
from segjax.transforms.entries import checked_kinds, move, size_of
from segjax.transforms.kinds import Image, Motion

BY = "Albumentations"

MOST_PIXELS = 2**24 - 1
"""Pixels that a float32 map can number, which every operation of albumentations takes."""

READS_MASK = ("CropNonEmptyMaskIfExists", "MaskDropout", "ConstrainedCoarseDropout")
"""Operations that read the classes in a mask, which are not given to albumentations."""

MIXES_MASK = ("Morphological",)
"""Operations that compute values of a mask from their neighbours, so that labels would mix."""

NEAREST = (None, 0, 6)
"""OpenCV's numbers of nearest-neighbour interpolation."""

# A pipeline holds its generator, so each thread has its own.
_OF_THREAD = threading.local()


@dataclass(frozen=True)
class Albumentations:
    """A pipeline of albumentations 2, applied to every entry of an example.

        Albumentations(A.Compose([A.HorizontalFlip(), A.ElasticTransform(p=0.3)]))

    Each example seeds the pipeline from its own generator, so that resuming a run and several
    loader threads change nothing. The image is what the pipeline makes of it. Labels, weight
    maps and declared maps follow by nearest neighbours: albumentations moves the numbers of the
    pixels. So no class id is mixed, and a pixel from outside of the example has label 255,
    weight 0. Boxes of objects become the smallest around their masks. Points, and boxes without
    masks, are refused, unless the pipeline only changes colours.

    Attributes:
      pipeline: a Compose, a transform or a list of transforms. The field then holds what
        `albumentations.to_dict` says of it, as JSON, so that a run is described by its
        numbers.
    """

    pipeline: Any

    def __post_init__(self):
        text = self.pipeline if isinstance(self.pipeline, str) else _as_text(self.pipeline)
        # The text is a literal: it can be printed, compared and sent to worker processes.
        object.__setattr__(self, "pipeline", text)
        _check(_parsed(text))
        _built(text)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example after the pipeline.

        Raises:
          InputError: the example has points, boxes or a second image, or the pipeline does
            not take it.
        """
        pipeline, seed = _pipeline(self.pipeline), int(rng.integers(2**32))
        h, w = size_of(example, by=BY)
        _check_example(example, h * w)
        numbers = np.arange(1, h * w + 1, dtype=np.float32).reshape(h, w)
        try:
            pipeline.set_random_seed(seed)
            result = pipeline(image=example["image"].copy(), mask=numbers)
        except Exception as error:
            raise InputError(
                f"{example_name(example)}: albumentations does not take the image, "
                f"{example['image'].dtype} of shape {example['image'].shape}: "
                f"{' '.join(str(error).split())}"
            ) from error
        image = _image(example, result["image"])
        came_from = np.rint(result["mask"]).astype(np.int64) - 1
        gathered = lambda plane, fill: _gathered(plane, came_from, fill)
        motion = Motion(
            by=BY,
            size=came_from.shape,
            bilinear=gathered,
            nearest=gathered,
            places=(lambda xy: xy) if _only_colours(pipeline) else None,
            fill=0,
        )
        return {**move(example, motion), "image": image}


def _gathered(
    plane: np.ndarray, came_from: Int64[np.ndarray, "h2 w2"], fill: Any
) -> np.ndarray:
    found = plane.reshape(-1, *plane.shape[2:])[came_from.clip(0)]
    outside = came_from < 0
    if outside.any():
        found[outside] = fill
    return found


def _check_example(example: Example, pixels: int) -> None:
    if pixels > MOST_PIXELS:
        raise InputError(
            f"{example_name(example)} has {pixels} pixels, and Albumentations takes up to "
            f"{MOST_PIXELS}: put RandomCrop in front."
        )
    kinds = checked_kinds(example, by=BY)
    others = [key for key, kind in kinds.items() if isinstance(kind, Image) and key != "image"]
    if others:
        raise InputError(
            f"{example_name(example)}: Albumentations changes the entry 'image' alone, and "
            f"{others[0]!r} is an Image() too: use segjax's own transforms."
        )


def _image(example: Example, image: Any) -> np.ndarray:
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        raise InputError(
            f"{example_name(example)}: albumentations made {type(image).__name__} of the "
            "image, not an array h w c: leave ToTensorV2 out of the pipeline."
        )
    if image.dtype != example["image"].dtype:
        raise InputError(
            f"{example_name(example)}: albumentations made {image.dtype} of the image, which "
            f"is {example['image'].dtype}: leave Normalize and ToFloat out of the pipeline. "
            "The experiment's normalize follows."
        )
    return np.ascontiguousarray(image[..., None] if image.ndim == 2 else image)


def _package() -> Any:
    """Returns the package.

    Raises:
      InputError: it is not installed.
    """
    # Without this, importing it asks a server for its newest version.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        return importlib.import_module("albumentations")
    except ModuleNotFoundError as error:
        raise InputError(
            "Albumentations needs the package albumentations: pip install "
            "'segjax[albumentations]'."
        ) from error


def _as_text(pipeline: Any) -> str:
    package = _package()
    if isinstance(pipeline, list | tuple):
        pipeline = package.Compose(list(pipeline))
    elif isinstance(pipeline, package.BasicTransform):
        pipeline = package.Compose([pipeline])
    if not isinstance(pipeline, package.BaseCompose):
        raise InputError(
            "Albumentations needs a pipeline such as A.Compose([A.HorizontalFlip()]), got "
            f"{type(pipeline).__name__}."
        )
    try:
        return json.dumps(package.to_dict(pipeline), sort_keys=True)
    except Exception as error:
        raise InputError(
            "Albumentations cannot describe the pipeline, so that a run with it could not be "
            f"repeated: {' '.join(str(error).split())}"
        ) from error


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(
            f"Albumentations needs a pipeline, or the JSON of one, got {text[:40]!r}."
        ) from error


def _parts(described: Any) -> Iterator[Mapping[str, Any]]:
    """Yields the description of each operation and group, at any depth."""
    children = described
    if isinstance(described, Mapping):
        yield described
        children = described.values()
    if isinstance(children, list) or isinstance(described, Mapping):
        for child in children:
            yield from _parts(child)


def _check(described: Any) -> None:
    """Raises InputError for settings with which labels would be wrong."""
    for part in _parts(described):
        name = str(part.get("__class_fullname__", "pipeline")).rpartition(".")[2]
        if name in READS_MASK:
            raise InputError(
                f"Albumentations cannot use {name}, which reads classes in a mask: use "
                "ForegroundCrop or BalancedCrop of segjax.transforms.crops."
            )
        if name in MIXES_MASK:
            raise InputError(
                f"Albumentations cannot use {name}, which computes a mask's values from their "
                "neighbours, so that labels would be wrong: leave it out."
            )
        for field in ("fill_mask", "mask_drop_value"):
            if part.get(field) not in (None, 0):
                raise InputError(
                    f"Albumentations: {name} has {field}={part[field]}: leave it out, or give "
                    "0. Labels of pixels that the pipeline fills are then 255."
                )
        if part.get("mask_interpolation") not in NEAREST:
            raise InputError(
                f"Albumentations: {name} has mask_interpolation={part['mask_interpolation']}, "
                "which would mix labels: leave it out for nearest neighbours (0)."
            )
        if part.get("bbox_params") or part.get("keypoint_params"):
            raise InputError(
                "Albumentations moves images and label maps: leave bbox_params and "
                "keypoint_params out of the pipeline."
            )


def _built(text: str) -> Any:
    try:
        return _package().from_dict(json.loads(text))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"Albumentations cannot make a pipeline of its description: {error!r}."
        ) from error


def _pipeline(text: str) -> Any:
    """Returns the pipeline of this thread."""
    pipelines = vars(_OF_THREAD).setdefault("pipelines", {})
    if text not in pipelines:
        pipelines[text] = _built(text)
    return pipelines[text]


def _only_colours(pipeline: Any) -> bool:
    """Returns whether no operation of a pipeline moves a pixel."""
    package = _package()
    if isinstance(pipeline, package.BaseCompose):
        return all(_only_colours(part) for part in pipeline.transforms)
    return isinstance(pipeline, package.ImageOnlyTransform | package.NoOp)

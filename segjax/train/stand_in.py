"""A batch like those that training will see, made from the experiment alone.

It lets network, loss, optimizer and transforms be held against one another before any file is
looked for. It is a guess: where the transforms do not fix a size, the size is not known, and a
dataset of the user's own may have any number of channels.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from segjax.data.prepare import FileDataset
from segjax.errors import InputError
from segjax.experiment import Experiment

SIZES = ((448, 600), (517, 389))
"""Heights and widths of two images; what comes of both alike does not depend on them."""

Batch = Mapping[str, np.ndarray]


def stand_in(experiment: Experiment) -> tuple[Batch, bool]:
    """(a batch of one example, whether training is certain to see one of its shape).

    Raises:
      InputError: a transform refuses the number of channels that the dataset has.
    """
    data = experiment.train_data
    channels = getattr(data, "channels", 3)
    is_known = isinstance(data, FileDataset) or hasattr(data, "channels")
    found = [_transformed(experiment, (*size, channels), strict=is_known) for size in SIZES]
    if found[0] is not None and signature(found[0]) == signature(found[1]):
        return found[0], is_known
    canvas = getattr(experiment.model, "canvas", lambda *size: size)(64, 64)
    return _batch(_example((*canvas, channels))), False


def _transformed(
    experiment: Experiment, shape: tuple[int, int, int], *, strict: bool
) -> Batch | None:
    """One example after all transforms; None where one fails, for which its size may be why."""
    example, rng = _example(shape), np.random.default_rng(0)
    try:
        for transform in experiment.transforms:
            example = transform(example, rng)
    except Exception as error:
        if strict and isinstance(error, InputError):
            raise
        return None
    return _batch(example)


def _example(shape: tuple[int, int, int]) -> Mapping[str, Any]:
    label = np.zeros(shape[:2], np.uint8)
    return {"image": np.zeros(shape, np.uint8), "label": label, "name": "stand-in"}


def _batch(example: Mapping[str, Any]) -> Batch:
    arrays = {key: value[None] for key, value in example.items() if hasattr(value, "shape")}
    return {**arrays, "step": np.zeros(1, np.int32)}


def signature(batch: Batch | None) -> dict[str, tuple] | None:
    """{key: (shape of one example, dtype)}: what decides how a batch is traced."""
    if batch is None:
        return None
    return {key: (value.shape[1:], str(value.dtype)) for key, value in batch.items()}

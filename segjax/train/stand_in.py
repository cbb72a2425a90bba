"""A batch like those that training will see, made from the experiment alone.

It lets network, loss, optimizer and transforms be held against one another before any file is
looked for. It is a guess: where the transforms do not fix a size, the size is not known, and a
dataset of the user's own may have entries beside image and label.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segjax.conformity import canvas
from segjax.data.by_aspect import ungrouped
from segjax.data.partners import transformed
from segjax.data.prepare import FileDataset
from segjax.errors import InputError
from segjax.experiment import Experiment

SIZES = ((448, 600), (517, 389))
"""Heights and widths of two images; what comes of both alike does not depend on them."""

CHANNELS = (1, 2, 3, 4)
"""Numbers of channels that a transform may have been made for."""

Arrays = Mapping[str, np.ndarray]


def stand_in(experiment: Experiment) -> tuple[Arrays, bool] | None:
    """Returns (a batch of one example, whether training is certain to see one of its shape).

    None where the experiment's task cannot make an example up.

    Raises:
      InputError: a transform refuses the number of channels that the dataset has.
    """
    data = experiment.train_data
    channels = data.channels
    example = experiment.task.stand_in((64, 64, channels), data)
    if example is None:
        return None
    found = [_transformed(experiment, (*size, channels)) for size in SIZES]
    if error := _about_channels(experiment, found, channels):
        raise error
    batches = [batch for batch in found if not isinstance(batch, Exception)]
    if len(batches) == len(SIZES) and _alike(*batches):
        # A dataset of one's own may have more entries, or images of another dtype.
        return batches[0], isinstance(ungrouped(data), FileDataset)
    if batches and "objects" in batches[0]:
        # Only the transforms put objects into the slots that a network takes.
        return batches[0], False
    size = canvas(experiment.model, 64, 64)
    example = experiment.task.stand_in((*size, channels), data)
    return _batch(example or {}), False


def _alike(first: Arrays, other: Arrays) -> bool:
    """Returns whether two batches have one shape, or that of a canvas that turns with them."""
    if signature(first) == signature(other):
        return True
    h, w = first["image"].shape[1:3]
    is_turned = other["image"].shape[1:3] == (w, h) and "size" in first
    same = lambda batch: {key: (value.ndim, str(value.dtype)) for key, value in batch.items()}
    return is_turned and same(first) == same(other)


def _about_channels(
    experiment: Experiment, found: Sequence[Arrays | Exception], channels: int
) -> InputError | None:
    """Returns the error of transforms that need another number of channels, or None.

    Whatever else they refuse, images without an object say, the data themselves may not have.
    """
    errors = [error for error in found if isinstance(error, InputError)]
    if len(errors) < len(found) or len(set(map(str, errors))) > 1:
        return None
    others = (_transformed(experiment, (*SIZES[0], n)) for n in CHANNELS if n != channels)
    return None if all(isinstance(other, Exception) for other in others) else errors[0]


def _transformed(experiment: Experiment, shape: tuple[int, int, int]) -> Arrays | Exception:
    """Returns one example after all transforms, or the error of the one that fails."""
    rng = np.random.default_rng(0)
    try:
        example = experiment.task.stand_in(shape, experiment.train_data) or {}
        # The example is its own partner, where a transform mixes several.
        moved = transformed(example, experiment.transforms, rng, dataset=[example])
        return _batch(moved)
    except Exception as error:
        return error


def _batch(example: Mapping[str, Any]) -> Arrays:
    arrays = {key: value[None] for key, value in example.items() if hasattr(value, "shape")}
    return {**arrays, "step": np.zeros(1, np.int32)}


def signature(batch: Arrays) -> dict[str, tuple]:
    """Returns {key: (shape of one example, dtype)}: what decides how a batch is traced."""
    return {key: (value.shape[1:], str(value.dtype)) for key, value in batch.items()}

"""What makes a batch fit that does not: micro-batches, recomputing, bfloat16, more devices."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from segjax.errors import InputError
from segjax.experiment import Experiment, override
from segjax.parallel.cluster import device_count, local_device_count
from segjax.planning.search import divisors
from segjax.planning.training import TrainingStep


class Remedy(NamedTuple):
    """A change of the experiment, as settings of `--set`, and the step's peak with it."""

    settings: tuple[str, ...]
    peak_bytes: float
    fits: bool


def accumulation(step: TrainingStep, limit: float, largest: int) -> Remedy | None:
    """Returns the smallest `accumulate` that makes the batch fit; None where none does.

    `largest` is the number of examples that a device takes at once.
    """
    for count in divisors(step.share):
        if step.share // count > largest:
            continue
        setting = f"accumulate={count}"
        remedy = _tried(step, (setting,), limit)
        if remedy is not None and remedy.fits:
            return remedy
    return None


def of_network(step: TrainingStep, limit: float) -> Iterator[Remedy]:
    """Yields what a spread state, recomputing activations, bfloat16 and both of these would do.

    A setting that the experiment does not have, or has already, is left out.
    """
    model = step.plan.experiment.model
    spread = ("shard_state=True",)
    if device_count() > 1 and not step.plan.experiment.shard_state:
        if (found := _tried(step, spread, limit)) is not None:
            yield found
    remat = tuple(f"{path}.remat=True" for path in _paths(model, "remat", (False,)))
    half = tuple(
        f"{path}.dtype=jax.numpy.bfloat16" for path in _paths(model, "dtype", (jnp.float32,))
    )
    for settings in (remat, half, remat + half):
        if settings and (settings != remat + half or (remat and half)):
            found = _tried(step, settings, limit)
            if found is not None:
                yield found


def of_split(step: TrainingStep, limit: float) -> Iterator[Remedy]:
    """Yields for each number of devices that can share an image what they would need.

    Rows are split; a split of columns too is as good where rows are few.
    """
    for parts in divisors(local_device_count()):
        if parts > 1:
            found = _tried(step, (f"split={parts},1",), limit, share=1)
            if found is not None:
                yield found


def _tried(
    step: TrainingStep, settings: Sequence[str], limit: float, *, share: int | None = None
) -> Remedy | None:
    """Returns what settings do; None where the experiment or the network refuses them."""
    try:
        experiment = _changed(step.plan.experiment, settings)
        peak = step.peak(share, experiment)
    except (InputError, ValueError, TypeError):
        return None
    return Remedy(tuple(settings), peak, peak <= limit)


def _changed(experiment: Experiment, settings: Sequence[str]) -> Experiment:
    for setting in settings:
        experiment = override(experiment, setting)
    return experiment


def _paths(part: Any, field: str, values: Sequence[Any], path: str = "model") -> list[str]:
    """Returns the paths of the modules of a network that have `field` at one of the values."""
    found = []
    has = {f.name for f in dataclasses.fields(part) if f.init}
    if field in has and any(getattr(part, field) is value for value in values):
        found.append(path)
    for name in sorted(has - {"parent", "name"}):
        value = getattr(part, name, None)
        if isinstance(value, nn.Module):
            found += _paths(value, field, values, f"{path}.{name}")
    return found

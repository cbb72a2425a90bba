"""What makes a batch fit that does not: micro-batches, recomputing, bfloat16, more devices."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from segjax.errors import InputError, is_out_of_memory
from segjax.experiment import Experiment, override
from segjax.parallel.cluster import device_count, local_device_count
from segjax.planning.evaluating import Images, evaluation_cost
from segjax.planning.search import divisors
from segjax.planning.training import TrainingStep
from segjax.train.plan import Plan

WINDOWS = (513, 257, 129)
"""Sides of the windows that are tried where not even one image can be evaluated at once."""


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


def of_evaluation(
    plan: Plan, images: Images, limit: float, *, beside: float
) -> Iterator[Remedy]:
    """Yields the first of smaller batches and then of windows with which an evaluation fits.

    Args:
      plan: of the experiment.
      images: of its evaluation data.
      limit: bytes that there are.
      beside: bytes that are held beside those of the evaluation's program.

    Yields:
      One that fits; else the last of the batches and the last of the windows, which do not.
    """
    evaluation = plan.experiment.evaluation
    sizes = [evaluation.batch_size >> n for n in range(1, evaluation.batch_size.bit_length())]
    batches = [f"evaluation.batch_size={size}" for size in sizes]
    window = "evaluation.predictor=segjax.evaluate.windows.SlidingWindow({}, batch_size=1)"
    sides = [side for side in WINDOWS if side < max(images.largest[:2])]
    windows = [] if any(evaluation.wrappers) else [window.format(side) for side in sides]
    for settings in (batches, windows):
        last = None
        for setting in settings:
            last = _evaluated(plan, images, setting, limit, beside) or last
            if last is not None and last.fits:
                yield last
                return
        if last is not None:
            yield last


def _evaluated(
    plan: Plan, images: Images, setting: str, limit: float, beside: float
) -> Remedy | None:
    """Returns what a setting does; None where the experiment or its task refuses it."""
    try:
        experiment = override(plan.experiment, setting)
        cost = evaluation_cost(dataclasses.replace(plan, experiment=experiment), images)
        peak = cost.peak_bytes + beside
    except (InputError, ValueError, TypeError):
        return None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        peak = float("inf")
    return Remedy((setting,), peak, peak <= limit)


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

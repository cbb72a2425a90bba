"""How long a training step takes: a few of them, with a batch at hand and with the loader."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import jax
import numpy as np

from segjax.announce import announced
from segjax.parallel.cluster import process_share
from segjax.parallel.sharing import on_devices
from segjax.parallel.sums import sum_over_processes
from segjax.planning.measured import PeakMemory
from segjax.planning.training import TrainingStep
from segjax.train.data_wait import DataWait
from segjax.train.plan import Plan
from segjax.train.step import TrainState

STEPS, LEAST = 10, 2
"""Steps that are timed, and the fewest where they are slow."""

SECONDS = 60.0
"""How long slow steps are timed."""


class StepTime(NamedTuple):
    """Seconds of a step.

    Attributes:
      device: with a batch that is there already.
      whole: with batches from the loader; None where the data cannot be read.
      waiting: the share of `whole` in which the devices wait for the loader.
      steps: how many were timed, the fewer of both.
      peak: bytes that a device held meanwhile, without the loader; None if not told.
    """

    device: float
    whole: float | None
    waiting: float | None
    steps: int
    peak: float | None

    @property
    def seconds(self) -> float:
        """What a step of the run is expected to take."""
        return self.device if self.whole is None else self.whole


def step_time(training: TrainingStep, *, with_loader: bool) -> tuple[StepTime, Any]:
    """Returns the time of a step, and the state after the steps that were taken.

    The state starts from random parameters and nothing of it is kept.

    Raises:
      RuntimeError: the devices have too little memory.
    """
    plan, batch, step = training.plan, training.batch, training.take
    experiment, memory = plan.experiment, PeakMemory()
    state = on_devices(
        made_up_state(plan), split=experiment.split, shard_state=experiment.shard_state
    )
    with announced("Probing the training step", after=1), memory.measuring():
        state, _ = _done(step(state, batch))
        began = time.monotonic()
        state, _ = _done(step(state, batch))
        count = _agreed_count(time.monotonic() - began)
        began = time.monotonic()
        for _ in range(count):
            state, measured = step(state, batch)
        jax.block_until_ready(state)
        device = (time.monotonic() - began) / count
    if not with_loader:
        return StepTime(device, None, None, count, memory.bytes), state
    with announced("Probing it with the loader", after=1):
        whole, waiting, state = _with_loader(plan, step, state, count)
    return StepTime(device, whole, waiting, count, memory.bytes), state


def made_up_state(plan: Plan) -> TrainState:
    """Returns a state with random parameters, which need not be a network's first ones."""
    rng, shapes = np.random.default_rng(0), plan.state_shapes()
    small = lambda like: (0.02 * rng.standard_normal(like.shape)).astype(like.dtype)
    state = jax.tree.map(lambda like: np.zeros(like.shape, like.dtype), shapes)
    ones = lambda like: np.ones(like.shape, like.dtype)
    statistics = jax.tree.map(ones, shapes.batch_stats)
    return state.replace(params=jax.tree.map(small, shapes.params), batch_stats=statistics)


def _agreed_count(seconds: float) -> int:
    """Returns how many steps of so many seconds are timed, the same in all processes."""
    slowest = float(sum_over_processes(np.array(seconds))) / process_share()[1]
    return int(min(max(SECONDS // max(slowest, 1e-9), LEAST), STEPS))


def _with_loader(
    plan: Plan, step: Callable, state: Any, count: int
) -> tuple[float, float, Any]:
    """Returns (seconds of a step, share of it spent waiting, state).

    The loader starts with nothing read ahead. Its threads end their first batches at about the
    same time, so the clock starts when those are used up.
    """
    first = min(max(plan.experiment.loader.threads, 1), count)
    with closing(plan.batches(0)) as batches, DataWait() as wait:  # type: ignore[type-var]
        state = _steps(step, state, batches, wait, first)
        wait.take()
        began = time.monotonic()
        state = _steps(step, state, batches, wait, count)
        seconds = time.monotonic() - began
        return seconds / count, min(wait.take() / seconds, 1.0), state


def _steps(step: Callable, state: Any, batches: Iterator, wait: DataWait, count: int) -> Any:
    """Returns the state after so many steps, taken as the training loop takes them."""
    for _ in range(count):
        with wait.fetching():
            batch = next(batches)
        wait.dispatching()
        state, measured = step(state, batch)
        wait.dispatched(measured)
    return _done(state)


def _done(results: Any) -> Any:
    jax.block_until_ready(results)
    return results

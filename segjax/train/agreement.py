"""On which step a run stops that was asked to: the same one in all of its processes."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jax import lax

from segjax.contracts import AXIS, Array, Batch
from segjax.parallel.cluster import is_alone, reached_preemption_point
from segjax.stopping import TRY_AGAIN, Cause, Stops
from segjax.train.checkpoint import last_step

ASKED = "asked"
"""The array of a batch, and the number of a step: the exit status asked for, or 0."""


def what_is_left(workdir: pathlib.Path, steps: int) -> str:
    """Returns what a run that stops has saved and what its command does next."""
    step = last_step(workdir)
    if step is None:
        return "nothing is saved yet; the same command starts again."
    if step >= steps:
        return f"all {step} steps are trained; the same command evaluates them."
    return f"step {step} is saved; the same command resumes from there."


def asking(step: Callable) -> Callable:
    """Returns the train step that also finds, over all devices, whether one was asked to stop.

    Where one process trains, nobody has to agree, and the step stays as it is.
    """
    if is_alone():
        return step

    def asked(state, batch: Batch) -> tuple[Any, dict[str, Array]]:
        """Takes the step; its numbers tell every process whether one was asked."""
        others = {name: value for name, value in batch.items() if name != ASKED}
        state, measured = step(state, others)
        return state, {**measured, ASKED: lax.pmax(batch[ASKED].max(), AXIS)}

    return asked


class Agreement:
    """Whether the run stops after the step that was taken last.

    A signal may reach one of several processes only, or each at another step. So each puts
    into its batch whether it was asked, and the step takes the maximum. All of them read it
    for the same step, one step late, like the other numbers of a step: no device waits for it.

    JAX's own agreement (`multihost_utils.reached_preemption_sync_point`) hears SIGTERM through
    a handler in C++, which replaces that of Python, and serves the steps alone. It is asked
    too, for notices of preemption that do not come as a signal.
    """

    def __init__(self, stops: Stops) -> None:
        self._stops, self._alone = stops, is_alone()
        self._pending: Any = None
        self._agreed = False

    @property
    def reached(self) -> bool:
        """Whether every process stops here."""
        return self._stops.came if self._alone else self._agreed

    def ask(self, batch: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Returns the batch, with this process's request where several must agree."""
        if self._alone:
            return batch
        status = self._stops.cause.status if self._stops.cause else 0
        return {**batch, ASKED: np.full(len(batch["step"]), status, np.int32)}

    def hear(self, step: int, measured: dict[str, Any]) -> dict[str, Any]:
        """Takes the request out of the numbers of a step; reads that of the step before."""
        if self._alone:
            return measured
        former, self._pending = self._pending, measured[ASKED]
        status = 0 if former is None else int(np.asarray(former))
        if reached_preemption_point(step):
            status = status or TRY_AGAIN
        if status:
            self._agreed = True
            self._stops.ask(Cause("stopped with the other processes", status))
        return {name: value for name, value in measured.items() if name != ASKED}

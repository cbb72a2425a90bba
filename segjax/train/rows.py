"""The rows of a run: what each step measured, written one step late, and the scores."""

import math
import time
from typing import Any

import numpy as np

from segjax.experiment import Experiment
from segjax.tasks.scorer import Scored
from segjax.train.data_wait import DataWait
from segjax.train.log import Progress, RunLog
from segjax.train.telemetry import Telemetry

MUCH = 0.1
"""The share of time that devices wait for data from which on a run says so."""


class Rows:
    """Reads a step's numbers one step late, so that no GPU or TPU waits for the host."""

    def __init__(
        self,
        experiment: Experiment,
        log: RunLog | None,
        progress: Progress,
        first: int,
        wait: DataWait,
        telemetry: Telemetry,
    ):
        self._experiment, self._log, self._progress = experiment, log, progress
        self.wait, self._telemetry = wait, telemetry
        self._pending: tuple[int, Any] | None = None
        self._clock = (time.monotonic(), first)
        self._seconds, self._idle = 0.0, 0.0
        schedule = getattr(experiment.optimizer, "schedule", None)
        self._rate = schedule.build(experiment.steps) if schedule else None
        self.failed_at: int | None = None

    def add(self, step: int, measured: Any) -> None:
        """Takes the numbers of `step`, and writes those of the step before."""
        self.wait.dispatched(measured)
        self.flush()
        self._pending = (step, measured)

    def flush(self) -> None:
        """Writes what is pending, once its step is done."""
        if self._pending is None or self.failed_at is not None:
            return
        (step, measured), self._pending = self._pending, None
        if not bool(np.asarray(measured["finite"])):
            self.failed_at = step
        elif step % self._experiment.log_every == 0 or step == self._experiment.steps:
            self._write(step, measured)
        else:
            self._progress.update(step)

    def _write(self, step: int, measured: Any) -> None:
        numbers: dict[str, Any] = {
            n: float(np.asarray(v)) for n, v in measured.items() if n != "finite"
        }
        if self._rate is not None:
            numbers["learning_rate"] = float(self._rate(step - 1))
        now, (then, last) = time.monotonic(), self._clock
        idle, seconds = self.wait.take(), max(now - then, 1e-9)
        numbers |= self._telemetry.columns(
            steps=step - last, seconds=seconds, held=self.wait.take_held()
        )
        numbers["waiting_for_data"] = round(min(idle / seconds, 1.0), 3)
        self._idle, self._seconds = self._idle + idle, self._seconds + seconds
        self._clock = (now, step)
        if self._log:
            self._log.write(step, numbers)
        self._progress.update(step, numbers)

    def line(self, text: str) -> None:
        """Says a line of its own, above the progress."""
        self._progress.line(text)

    def add_evaluation(self, step: int, scored: Scored) -> None:
        """Writes the scores of an evaluation."""
        metric, scores = scored.metric, scored.scores
        names = (*metric.logged, *scored.extra.columns)
        if self._log:
            self._log.write(step, {name: scores[name] for name in names})
        shown = " ".join(
            f"{name} {math.nan if scores[name] is None else scores[name]:.4f}"
            f"{metric.remark(name, scores)}"
            for name in names
        )
        images = len(self._experiment.eval_data)
        self._progress.line(
            f"step {step}/{self._experiment.steps} evaluated on {images} images: {shown}"
        )
        self.restart_clock(step)

    def restart_clock(self, step: int) -> None:
        """Leaves the time up to now out of the rows after `step`."""
        self._clock = (time.monotonic(), step)
        self.wait.take()
        self.wait.take_held()

    def close(self) -> None:
        """Ends the progress, with a line where the devices stood still for want of data."""
        self._progress.close()
        if (share := self._idle / max(self._seconds, 1e-9)) >= MUCH:
            self._progress.line(
                f"the devices waited for data during {share:.0%} of the training: raise "
                "loader.threads, use loader.workers, or move augmentation to the devices with "
                "device_transforms."
            )

"""A profile of some training steps: what the devices and the host did at which moment."""

import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from segjax.announce import announcing
from segjax.errors import InputError
from segjax.parallel.cluster import is_alone, process_share

FOLDER = "profile"


class Span(NamedTuple):
    """The steps after `start`, up to and with `stop`."""

    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.start}:{self.stop}"


def span(text: str) -> Span:
    """Returns the steps that `START:STOP` means.

    >>> span("100:110")
    Span(start=100, stop=110)

    Raises:
      InputError: it is no such text, or there are none.
    """
    start, colon, stop = text.partition(":")
    if not (colon and start.isdecimal() and stop.isdecimal()):
        raise InputError(f"--profile {text} is not START:STOP; write 100:110, for example.")
    if int(start) >= int(stop):
        raise InputError(f"--profile {text} has no steps: STOP must be above START.")
    return Span(int(start), int(stop))


def check_span(steps: Span | None, *, total: int, taken: int) -> None:
    """Raises InputError unless a run of `total` steps, of which so many are `taken`, has them.

    Raises:
      InputError: it has not, or no longer.
    """
    if steps is None:
        return
    if steps.stop > total:
        raise InputError(
            f"--profile {steps}: the run has {total} steps; let STOP be at most {total}."
        )
    if steps.start < taken:
        later = f"let START be {taken} or more, or " if taken < total else ""
        raise InputError(
            f"--profile {steps}: the run has taken {taken} of its {total} steps already; "
            f"{later}use another --workdir."
        )


class Profile:
    """A trace of some steps in `<workdir>/profile`, for a `with` block; of None, nothing.

    Where several processes train, each traces its own devices, in a folder of its own.
    """

    def __init__(self, steps: Span | None, workdir: pathlib.Path) -> None:
        self._steps, self._runs = steps, False
        self._folder = workdir / FOLDER
        if not is_alone():
            self._folder /= f"process{process_share()[0]}"

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_) -> None:
        if self._runs:
            self._stop()  # The run ends in the middle of the steps.

    def watched(self, step_fn: Callable) -> Callable:
        """Returns the step, which is traced where it is one of the steps asked for."""
        steps = self._steps
        if steps is None:
            return step_fn

        def call(state: Any, batch: Any) -> Any:
            """Takes the step; begins and ends the trace around those that are traced."""
            step = int(np.ravel(batch["step"])[0])
            if step == steps.start:
                jax.profiler.start_trace(str(self._folder), create_perfetto_trace=True)
                self._runs = True
            if not self._runs:
                return step_fn(state, batch)
            with jax.profiler.StepTraceAnnotation("train", step_num=step):
                result = step_fn(state, batch)
            if step + 1 == steps.stop:
                jax.block_until_ready(result)
                self._stop()
            return result

        return call

    def _stop(self) -> None:
        self._runs = False
        jax.profiler.stop_trace()
        if announcing():
            line = (
                f"profile of steps {self._steps}: {self._folder}. To look at it: pip install "
                f"xprof, then xprof --logdir {self._folder}; or open perfetto_trace.json.gz of "
                "that folder with https://ui.perfetto.dev."
            )
            tqdm.write(line, file=sys.stderr)

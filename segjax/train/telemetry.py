"""How fast a run is and how much memory it takes, as columns of its rows."""

import json
import socket
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax

from segjax.contracts import AXIS
from segjax.parallel.cluster import is_alone, is_main, process_share
from segjax.parallel.devices import device_count, device_kind
from segjax.parallel.notes import leave_note, read_notes
from segjax.train.flops import Flops, flops_of
from segjax.train.memory import memory
from segjax.train.peaks import peak_seconds

TIMING = frozenset(
    {
        *("steps_per_second", "images_per_second", "waiting_for_data"),
        *("model_flops_utilisation", "flops_per_second"),
        *("device_memory_bytes", "device_memory_peak_bytes"),
        *("process_memory_bytes", "process_memory_peak_bytes"),
        *("slowest_host", "slowest_host_ratio"),
    }
)
"""The columns of `metrics.jsonl` that measure time or memory: they differ from run to run."""

_TOPIC = "held"


class Telemetry:
    """What a step costs, for a `with` block; its FLOPs are counted in the background.

    `step` is the step of one device, `(state, batch) → (state, metrics)`, whose collectives run
    over `AXIS`.
    """

    def __init__(self, step: Callable, *, batch_size: int) -> None:
        self._step, self._batch_size = step, batch_size
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="count_flops")
        self._counted: Future[Flops] | None = None

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, *_) -> None:
        self._thread.shutdown(cancel_futures=True)

    def watched(self, step_fn: Callable) -> Callable:
        """Returns the compiled step, whose first call tells the shapes that are counted."""

        def call(state, batch):
            result = step_fn(state, batch)
            if self._counted is None:
                self._counted = self._thread.submit(self._count, *_shapes(state, batch))
            return result

        return call

    def _count(self, state: Any, batch: Any) -> Flops:
        return flops_of(self._step, state, batch, axis=AXIS)

    def columns(self, *, steps: int, seconds: float, held: float) -> dict[str, Any]:
        """Returns the columns of so many steps, which took so many seconds.

        `held`: seconds of these in which the devices waited for this process.
        """
        rate = steps / seconds
        found: dict[str, Any] = {
            "steps_per_second": _rounded(rate),
            "images_per_second": _rounded(rate * self._batch_size),
        }
        found |= self._speed(rate) | memory()
        if not is_alone():
            found |= slowest_host(seconds / steps, held / steps)
        return found

    def _speed(self, rate: float) -> dict[str, float]:
        """Returns the share of the devices' peak that the model uses, or its FLOPs a second."""
        counted = self._counted
        # A network that cannot be counted is trained all the same.
        if counted is None or not counted.done() or counted.exception() is not None:
            return {}
        if not (flops := counted.result()):
            return {}
        least = peak_seconds(flops, device_kind())
        if least is None:
            return {"flops_per_second": _rounded(rate * flops.total())}
        return {"model_flops_utilisation": _rounded(rate * least / device_count())}


def slowest_host(step_seconds: float, held: float) -> dict[str, Any]:
    """Returns which process holds the others up, and how much slower the steps are for that.

    All processes take their steps together, so the time of a step is the same in each. What
    tells them apart is the time in which the devices wait for the process itself, to read data
    above all. Each process leaves that as a note, which the main process reads; those of the
    others may be one row old.

    Args:
      step_seconds: the time of a step.
      held: the part of it in which the devices waited for this process.
    """
    try:
        leave_note(_TOPIC, json.dumps([socket.gethostname(), held]))
        if not is_main():
            return {}  # Its rows are not written, and a thousand readers are a load.
        notes = {index: json.loads(text) for index, text in read_notes(_TOPIC).items()}
    except Exception:
        return {}  # The coordinator is gone: the run ends by that, not by its telemetry.
    if not notes:
        return {}
    slowest = max(notes, key=lambda index: notes[index][1])
    usual = statistics.median_low([seconds for _, seconds in notes.values()])
    lost = min(notes[slowest][1] - usual, 0.99 * step_seconds)
    return {
        "slowest_host": f"{notes[slowest][0]} (process {slowest})",
        "slowest_host_ratio": _rounded(step_seconds / (step_seconds - lost)),
    }


def without_timing(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row without the columns of `TIMING`: what two equal runs have in common."""
    return {name: value for name, value in row.items() if name not in TIMING}


def _shapes(state: Any, batch: Any) -> tuple[Any, Any]:
    """Returns the shapes of the state, and those of the batch of all processes."""
    _, processes = process_share()
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    whole = lambda x: jax.ShapeDtypeStruct((processes * x.shape[0], *x.shape[1:]), x.dtype)
    return jax.tree.map(shape, state), jax.tree.map(whole, batch)


def _rounded(value: float) -> float:
    """Returns four significant digits.

    >>> _rounded(0.0123456), _rounded(1234.56)
    (0.01235, 1235.0)
    """
    return float(f"{value:.4g}")

"""Hands a run's rows to its trackers, which can neither stop nor delay the training."""

import contextlib
import json
import pathlib
import queue
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from segjax.atomic import write_text
from segjax.contracts import Tracked, Tracker
from segjax.description import written
from segjax.experiment import Experiment, describe
from segjax.train.telemetry import without_timing

IDS = "trackers.json"
"""The file of a workdir that holds {tracker: the run's name in its service}."""

PATIENCE, HASTE = 60.0, 5.0
"""Seconds that the end of a run waits for its trackers to take what is left; and those that it
waits if it was stopped or failed, since its process may be about to be killed."""

Row = Mapping[str, Any]


def check_trackers(experiment: Experiment) -> None:
    """Raises InputError unless the packages of the experiment's trackers are installed."""
    for tracker in experiment.trackers:
        if callable(check := getattr(tracker, "check", None)):
            check()


class Tracking:
    """The trackers of a run, each with a thread of its own. It begins with `start`.

    A run that a tracker knows goes on there under its own name, which is kept in the workdir.
    Its new rows replace those after its checkpoint; these are the same, except for times, and
    are not sent again. A tracker that does not know the run gets all rows from the first one.

    Attributes:
      may_go_on: whether the run was asked to stop before its end.
    """

    may_go_on = False

    def __init__(self, experiment: Experiment, workdir: pathlib.Path) -> None:
        self._experiment, self._workdir = experiment, workdir
        self._feeds: list[_Feed] = []

    def start(self, kept: Sequence[Row], dropped: Sequence[Row]) -> None:
        """Begins the run in each service.

        Args:
          kept: the rows up to the step that the run goes on from.
          dropped: those after it, from before the run was stopped.
        """
        if not self._experiment.trackers:
            return
        ids, lock = _read_ids(self._workdir), threading.Lock()
        described = describe(self._experiment).splitlines()
        description = dict(line.split(" = ", 1) for line in described if " = " in line)
        for tracker in self._experiment.trackers:
            key = written(tracker)

            def begin(tracker: Tracker = tracker, key: str = key) -> Tracked:
                """Begins the run in one service, and keeps its name there."""
                workdir = str(self._workdir.resolve())
                tracked = tracker.start(
                    self._experiment.name, description, workdir=workdir, run_id=ids.get(key)
                )
                with lock:
                    ids[key] = tracked.run_id
                    write_text(self._workdir / IDS, json.dumps(ids, indent=2) + "\n")
                return tracked

            is_known = key in ids
            sent = {_identity(row) for row in dropped} if is_known else set()
            self._feeds.append(_Feed(type(tracker).__name__, begin, sent))
            for row in () if is_known else kept:
                self._feeds[-1].log(row)

    def log(self, row: Row) -> None:
        """Sends one row, in the background."""
        for feed in self._feeds:
            feed.log(row)

    def finish(self, error: type[BaseException] | None) -> None:
        """Ends the run in each service; `error` is what the training ended by, if any.

        An error that is no `Exception`, such as KeyboardInterrupt, stops a run that may go on.
        """
        is_stopped = self.may_go_on or (error and not issubclass(error, Exception))
        status = "stopped" if is_stopped else "failed" if error else "done"
        for feed in self._feeds:
            feed.finish(status)
        for feed in self._feeds:
            feed.wait(PATIENCE if status == "done" else HASTE)


class _Feed:
    """The thread of one tracker: it begins the run, sends rows and ends it, in this order."""

    def __init__(self, name: str, begin: Callable[[], Tracked], sent: set[Any]) -> None:
        self._name, self._begin, self._sent = name, begin, sent
        self._tasks: queue.SimpleQueue[Callable[[Tracked], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def log(self, row: Row) -> None:
        """Sends the numbers of a row that has not been sent."""
        numbers = {
            name: float(value)
            for name, value in row.items()
            if name != "step" and isinstance(value, (int, float)) and abs(value) < float("inf")
        }
        if numbers and _identity(row) not in self._sent and self._thread.is_alive():
            self._tasks.put(lambda tracked: tracked.log(row["step"], numbers))

    def finish(self, status: str) -> None:
        """Ends the run once all rows are sent."""
        self._tasks.put(lambda tracked: tracked.finish(status))
        self._tasks.put(None)

    def wait(self, seconds: float) -> None:
        """Waits for the end, though not for ever."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            _say(f"{self._name}: no answer for {seconds:g} s; its last rows may be missing.")

    def _work(self) -> None:
        try:
            tracked = self._begin()
            while (task := self._tasks.get()) is not None:
                task(tracked)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            _say(f"{self._name}: tracking ended, and training goes on: {reason}.")


def _identity(row: Row) -> str:
    return json.dumps(without_timing(row), sort_keys=True)


def _read_ids(workdir: pathlib.Path) -> dict[str, str]:
    """Returns the names of the run by tracker; none where the file is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((workdir / IDS).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return {str(key): str(value) for key, value in found.items()}
    return {}


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)

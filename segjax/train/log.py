"""What a run says while it trains: `metrics.jsonl`, TensorBoard events, a bar or lines."""

import contextlib
import json
import pathlib
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tensorboardX.proto.event_pb2 import Event  # pyright: ignore (made at import)
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore (made at import)
from tensorboardX.record_writer import RecordWriter

from segjax.announce import say
from segjax.atomic import write_text
from segjax.errors import RunError
from segjax.train.metrics_rows import read_rows
from segjax.train.progress_bar import ProgressBar, measured
from segjax.train.tracking import Tracking

METRICS = "metrics.jsonl"
EVENTS = "tensorboard"


def read_metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the rows of `metrics.jsonl`; a last line that a kill cut short is left out.

    Damaged lines are left out too, and a line says which.

    Raises:
      RunError: the file cannot be read.
    """
    path = workdir / METRICS
    try:
        found = read_rows(path)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}. Make it readable.") from error
    if fault := found.fault():
        say(f"{path} is damaged: {fault} left out, {len(found.rows)} rows are whole.")
    return found.rows


class RunLog:
    """A writer of rows of numbers by step, for a `with` block.

    Rows beyond the step where a run goes on are dropped, from the events too: these are
    written anew from the rows. `trackers` get the rows too.
    """

    def __init__(
        self, workdir: pathlib.Path, *, first_step: int, trackers: Tracking | None = None
    ):
        found = read_metrics(workdir)
        rows = [row for row in found if row["step"] <= first_step]
        # A run that was killed after it wrote the scores of a step evaluates the step again.
        self._there = [row for row in rows if row["step"] == first_step]
        path = workdir / METRICS
        with _writing(path):
            write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
        with _writing(workdir / EVENTS):
            self._open_events(workdir / EVENTS, rows)
        with _writing(path):
            self._file = path.open("a", encoding="utf-8")
        self._trackers = trackers
        if trackers is not None:
            trackers.start(rows, [row for row in found if row["step"] > first_step])

    def _open_events(self, folder: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.mkdir()
        # tensorboardX's own writer would leave a thread that complains when the disk is full.
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        self._events = RecordWriter(str(folder / name))
        self._add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))
        for row in rows:
            self._add_event(_event(row))

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        for file in (self._file, self._events):
            # What the disk has no room for was said when it was written.
            with contextlib.suppress(OSError):
                file.close()
        if self._trackers is not None:
            self._trackers.finish(kind)

    def write(self, step: int, values: Mapping[str, float | str | None]) -> None:
        """Appends one row and flushes it, unless the run had written it before it was killed.

        Raises:
          RunError: there is no room for it.
        """
        row = {"step": step, **values}
        if row in self._there:
            return
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            self._add_event(_event(row))
            if self._trackers is not None:
                self._trackers.log(row)
        except OSError as error:
            raise RunError(
                f"Writing {self._file.name} failed: {error.strerror}. Make room there and run "
                "the same command again; it resumes from the last checkpoint."
            ) from error

    def _add_event(self, event: Event) -> None:
        self._events.write(event.SerializeToString())
        self._events.flush()


@contextlib.contextmanager
def _writing(path: pathlib.Path) -> Iterator[None]:
    """Turns an error of writing in the block into a RunError of one line."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror}. Make room, or make it writable, and "
            "run the same command again."
        ) from error


def _event(row: Mapping[str, Any]) -> Event:
    """Returns a TensorBoard event with the numbers of a row."""
    values = [
        Summary.Value(tag=name, simple_value=value)
        for name, value in row.items()
        if name != "step" and isinstance(value, (int, float))
    ]
    return Event(wall_time=time.time(), step=row["step"], summary=Summary(value=values))


class Progress:
    """Progress of a command: a bar on a terminal, a plain line every few seconds elsewhere.

    In a narrow terminal the line leaves out its least important parts and cuts no number.
    """

    def __init__(self, name: str, *, first: int, total: int, unit: str = "step", quiet=False):
        self._name, self._total, self._unit = name, total, unit
        self._bar = None
        self._quiet = quiet
        if sys.stderr.isatty() and not quiet:
            self._bar = ProgressBar(desc=name, initial=first, total=total, unit=unit)
        self._last_line = time.monotonic()

    def update(self, done: int, values: Mapping[str, Any] | None = None) -> None:
        """Shows that `done` of the total are done, and the latest values if given."""
        if self._bar is not None:
            if values:
                self._bar.values = measured(values)
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._last_line > 5 or (values and done == self._total):
            shown = ", ".join(measured(values or {}))
            self.line(f"{self._unit} {done}/{self._total} {shown}".rstrip())

    def line(self, text: str) -> None:
        """Prints a line, above the bar where there is one."""
        self._last_line = time.monotonic()
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(f"{self._name}: {text}", file=sys.stderr)
        else:
            print(f"{self._name}: {text}", file=sys.stderr, flush=True)

    def evaluating(self, done: int, total: int) -> None:
        """Prints every few seconds how far an evaluation is."""
        if time.monotonic() - self._last_line > 5:
            self.line(f"evaluated {done}/{total} images")

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

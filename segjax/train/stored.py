"""One checkpoint on disk: what it holds, read without trusting it."""

import dataclasses
import errno
import json
import pathlib
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from segjax.train.checksums import (
    Damaged,
    check_arrays,
    check_record,
    checked_score,
    named_arrays,
)

STATE, METRICS, CHECKSUMS = "state", "metrics", "checksums"
"""The items of a checkpoint, each of them a folder."""

SCORED = "scored"
"""A file that says that a score was added: Orbax lists what was saved at once."""

RECORD = "checksums.json"
_ITEMS = "_CHECKPOINT_METADATA"
"""Orbax's list of the items that were saved together."""

_INDEX = "manifest.ocdbt"
"""TensorStore's list of the files that hold the arrays."""

ECHOES = 0.2
"""Seconds after a failed read in which the other reads fail too."""

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)
"""Errors of this process, which say nothing of the files."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """A checkpoint's folder, whose name is its step.

    Its methods raise Damaged where the files are not what was saved, whichever library notices.
    """

    folder: pathlib.Path

    @property
    def step(self) -> int:
        """The number of steps after which it was saved."""
        return int(self.folder.name)

    @property
    def _state(self) -> Any:
        # Orbax names a path class of its own and takes any.
        return self.folder / STATE

    def check(self) -> None:
        """Raises Damaged unless every part is there; reads no array.

        Raises:
          Damaged: something is missing, cannot be read, or belongs to another step.
        """
        try:
            if not any(self.folder.iterdir()):
                raise Damaged("the folder is empty")
        except NotADirectoryError:
            raise Damaged("it is a file, not a folder") from None
        except OSError as error:
            raise _damage(error, self.folder) from error
        tree = self._json(f"{STATE}/_METADATA")
        if tree.get("use_ocdbt") and not self._size(f"{STATE}/{_INDEX}"):
            # TensorStore would look for it again and again, and print what it does not find.
            raise Damaged(f"{STATE}/{_INDEX} is empty")
        self.record()

    def record(self) -> dict[str, Any] | None:
        """Returns the checksums of its arrays; None if an older segjax saved it without any.

        Raises:
          Damaged: they are missing or cannot be read.
        """
        if not self._has(CHECKSUMS):
            return None
        record = self._json(f"{CHECKSUMS}/{RECORD}")
        check_record(record, step=self.step)
        return record

    def score(self) -> dict[str, float] | None:
        """Returns its evaluation's score, one number by its name; None if it has none.

        Raises:
          Damaged: the score is missing, cannot be read, or is not what was saved.
        """
        if not self._has(METRICS):
            return None
        return checked_score(self._json(f"{METRICS}/{METRICS}"))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns {path: shape} of its arrays.

        Raises:
          Damaged: they cannot be read.
        """
        self.check()
        try:
            with closing(ocp.StandardCheckpointHandler()) as handler:
                tree = handler.metadata(self._state).tree
        except Exception as error:
            raise _damage(error, self.folder) from error
        shapes = {path: tuple(leaf.shape) for path, leaf in named_arrays(tree).items()}
        if (record := self.record()) is not None:
            recorded = {path: (*entry["shape"],) for path, entry in record["arrays"].items()}
            if shapes != recorded:
                raise Damaged(f"{STATE}/_METADATA lists other arrays than were saved")
        return shapes

    def restore(self, template: Any = None) -> Any:
        """Returns the state, every array of it compared with its checksum.

        Args:
          template: arrays or their shapes in the structure of the state to return; without it
            the state is made of nested dictionaries and lists.

        Raises:
          Damaged: an array cannot be read or is not what was saved.
        """
        self.check()
        record = self.record()
        target = None if template is None else _target(template, record)
        try:
            with closing(ocp.StandardCheckpointHandler()) as handler, _without_echoes():
                # Orbax refuses a relative path.
                state = handler.restore(
                    self._state.absolute(), args=ocp.args.StandardRestore(target)
                )
        except Exception as error:
            raise _damage(error, self.folder) from error
        if record is not None:
            check_arrays(state, record)
        step = int(state["step"] if template is None else state.step)
        if step != self.step:
            raise Damaged(f"it holds step {step}")
        return state if template is None else jax.tree.map(_as, template, state)

    def _has(self, item: str) -> bool:
        """Returns whether an item was saved, be it still there or not."""
        try:
            if (self.folder / item).exists():
                return True
            if item == METRICS and (self.folder / SCORED).exists():
                return True
            listed = (self.folder / _ITEMS).exists()
        except OSError as error:
            raise _damage(error, self.folder) from error
        return listed and item in self._json(_ITEMS).get("item_handlers", {})

    def _size(self, name: str) -> int:
        try:
            return (self.folder / name).stat().st_size
        except OSError as error:
            raise _damage(error, self.folder) from error

    def _json(self, name: str) -> Any:
        """Returns the content of a JSON file; for these files it is a mapping."""
        try:
            content = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except ValueError:
            raise Damaged(f"{name} cannot be read") from None
        except OSError as error:
            raise _damage(error, self.folder) from error
        if not isinstance(content, dict):
            raise Damaged(f"{name} cannot be read")
        return content


def stored_in(folder: pathlib.Path) -> list[Stored]:
    """Returns the checkpoints in a folder, whole or not, by ascending step."""
    names = [path for path in folder.glob("*") if _is_step(path.name)]
    return [Stored(path) for path in sorted(names, key=lambda path: int(path.name))]


def _is_step(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name


@contextmanager
def _without_echoes() -> Iterator[None]:
    """Silences what TensorStore's threads print of a failed read, once for each array.

    They report to Orbax's event loop, which the first failure has closed.
    """
    report = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: (
        None if str(unraisable.exc_value) == "Event loop is closed" else report(unraisable)
    )
    try:
        yield
    except Exception:
        time.sleep(ECHOES)
        raise
    finally:
        sys.unraisablehook = report


def _target(template: Any, record: dict[str, Any] | None) -> Any:
    """Returns what Orbax is to restore: in the dtypes that were saved, as it would convert."""
    recorded = {} if record is None else record["arrays"]
    dtypes = {path: entry["dtype"] for path, entry in recorded.items()}
    paths = iter(named_arrays(template))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtypes.get(next(paths), leaf.dtype)),
        template,
    )


def _as(leaf: Any, restored: Any) -> Any:
    return restored if restored.dtype == leaf.dtype else np.asarray(restored, leaf.dtype)


def _damage(error: Exception, folder: pathlib.Path) -> Damaged:
    """Returns what an error of reading says of the files; raises what says nothing of them."""
    cause = root_cause(error)
    if isinstance(cause, MemoryError) or getattr(cause, "errno", None) in _SHORTAGES:
        raise error
    if isinstance(cause, FileNotFoundError) and cause.filename:
        name = str(cause.filename).removeprefix(str(folder)).lstrip("/")
        return Damaged(f"{name} is missing")
    if isinstance(cause, OSError) and cause.strerror:
        name = str(cause.filename or "a file").removeprefix(str(folder)).lstrip("/")
        return Damaged(f"{name} cannot be read ({cause.strerror})")
    return Damaged("its arrays cannot be read")


def root_cause(error: BaseException) -> BaseException:
    """Returns the first cause of an error, or the OS's own error on the way to it."""
    while not isinstance(error, OSError) and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return error

"""Checkpoints of a run: written atomically and in the background; the latest and best stay."""

import errno
import json
import pathlib
import shutil
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as keep_policy

from segjax.errors import RunError
from segjax.parallel.cluster import is_main, wait_for_all
from segjax.parallel.state import gathered
from segjax.train.checksums import Damaged, record_of, with_checksum
from segjax.train.chosen import check_latest, check_shapes, choose, restore_chosen, verified
from segjax.train.fallback import newest_undamaged
from segjax.train.step import TrainState
from segjax.train.stored import (
    CHECKSUMS,
    METRICS,
    RECORD,
    SCORED,
    STATE,
    Stored,
    root_cause,
    stored_in,
)

FOLDER = "checkpoints"
COMPLETE = "commit_success.txt"
"""Orbax's mark of a whole folder."""

TRASH = ".deleted"
"""The folder that a replaced checkpoint is moved to before its files are deleted one by one."""


class Checkpoints:
    """The checkpoints in a workdir; use it in a `with` block, which waits for the last save.

    What is unfinished when a process is killed has a temporary name and is swept away by the
    next one that saves to the folder. A state is saved together with checksums of its arrays,
    and compared with them whenever it is read.
    """

    def __init__(self, workdir: pathlib.Path, *, keep: int = 2, read_only: bool = False):
        self._folder = workdir.resolve() / FOLDER
        self._keep, self._read_only = keep, read_only

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if "_manager" not in self.__dict__:
            return
        failure = None
        # What a thread could not write is raised by each of them.
        for end in (self._manager.wait_until_finished, self._manager.close):
            try:
                end()
            except Exception as error:
                failure = failure or error
        self._empty_trash()
        if failure is not None and kind is None:
            raise self._failed(failure) from failure

    @cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """Orbax's writer, made at the first save: it trips over damaged checkpoints."""
        assert not self._read_only, "Checkpoints were opened to be read."
        # Each checkpoint has one score alone, whatever its name; its checksum comes after it.
        score = lambda metrics: next(iter(metrics.values()))
        best = keep_policy.BestN(
            get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False
        )
        self._empty_trash()
        return ocp.CheckpointManager(
            self._folder,
            # best_fn as well as BestN: otherwise no scores are written beside the state.
            options=ocp.CheckpointManagerOptions(
                preservation_policy=keep_policy.AnyPreservationPolicy(
                    [keep_policy.LatestN(self._keep), best]
                ),
                best_fn=score,
                best_mode="max",
                # One that someone reads disappears at once, not file by file.
                todelete_subdir=TRASH,
                # Orbax waits five minutes for a folder that its thread failed to make.
                async_options=ocp.AsyncOptions(
                    create_directories_asynchronously=False, barrier_sync_fn=_wait_unless_failed
                ),
            ),
            item_handlers={
                STATE: ocp.StandardCheckpointHandler(),
                CHECKSUMS: ocp.JsonCheckpointHandler(RECORD),
            },
        )

    def _empty_trash(self) -> None:
        if is_main():
            shutil.rmtree(self._folder / TRASH, ignore_errors=True)

    @property
    def steps(self) -> list[int]:
        """Steps with a complete checkpoint, ascending; also the one that is being saved."""
        if "_manager" in self.__dict__:
            return sorted(self._manager.all_steps())
        return [stored.step for stored in stored_in(self._folder)]

    def save(self, state: TrainState, *, score: Mapping[str, float] | None = None) -> None:
        """Begins to write the state under its step; returns before it is written.

        `score` is one number by its name, of which the best checkpoint has the most.

        Raises:
          RunError: this or the write before it failed; earlier checkpoints still restore.
        """
        # A copy in host memory: the next step donates the state's own buffers.
        state = gathered(state)
        step = int(state.step)
        items = {
            STATE: ocp.args.StandardSave(state),
            CHECKSUMS: ocp.args.JsonSave(record_of(state, step=step)),
        }
        try:
            self._manager.wait_until_finished()
            self._empty_trash()
            self._manager.save(
                step,
                args=ocp.args.Composite(**items),
                metrics=None if score is None else with_checksum(score),
                force=True,
            )
        except Exception as failure:
            raise self._failed(failure) from failure

    def is_saved(self, step: int) -> bool:
        """Returns whether the checkpoint of a step is complete; from any thread."""
        return (self._folder / str(step)).is_dir()

    def is_scored(self, step: int) -> bool:
        """Returns whether the checkpoint of a step has an evaluation's score, undamaged."""
        try:
            return Stored(self._folder / str(step)).score() is not None
        except Damaged:
            return False

    def add_score(self, state: TrainState, *, score: Mapping[str, float]) -> None:
        """Adds the score to the checkpoint of the state's step, which stays as it is.

        Its folder appears beside the state's whole or not at all: a process that is killed
        meanwhile loses the score alone.

        Raises:
          RunError: it cannot be written.
        """
        folder = self._folder / str(int(state.step))
        try:
            self._manager.wait_until_finished()
            if is_main():
                self._write_score(folder, score)
        except Exception as failure:
            raise self._failed(failure) from failure
        wait_for_all(f"scored {folder.name}")
        self._manager.reload()

    @staticmethod
    def _write_score(folder: pathlib.Path, score: Mapping[str, float]) -> None:
        with tempfile.TemporaryDirectory(".partial", "score-", folder.parent) as new:
            scores = pathlib.Path(new, METRICS)
            scores.mkdir()
            text = json.dumps(with_checksum(score))
            (scores / METRICS).write_text(text, encoding="utf-8")
            # Orbax marks each folder that is complete.
            if (mark := folder / STATE / COMPLETE).exists():
                shutil.copy(mark, scores)
            scores.rename(folder / METRICS)
        (folder / SCORED).touch()

    def _failed(self, failure: BaseException) -> RunError:
        reason = root_cause(failure)
        # The storage library says it in a line of its own length, without an errno.
        full = "No space left on device"
        what = full if full in str(reason) else reason
        lacks_room = what is full or getattr(reason, "errno", 0) in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Make room there" if lacks_room else "Make it a folder that you can write to"
        whole = ", ".join(map(str, self.steps)) or "none"
        return RunError(
            f"Saving to {self._folder} failed: {str(what).splitlines()[0]}. {remedy} "
            f"and run the same command again to resume. Complete checkpoints: {whole}."
        )

    def check(self, template: TrainState) -> None:
        """Raises InputError unless the latest state has the shapes of `template`.

        Raises:
          InputError: it has other parameters or shapes; the first is named. Or every checkpoint
            is damaged.
        """
        check_latest(self._folder, template)

    def restore(self, template: TrainState) -> TrainState | None:
        """Returns the latest undamaged state, in the shape of `template`, or None.

        Damaged checkpoints are set aside, with a line for each: see `newest_undamaged`.

        Raises:
          RunError: there are checkpoints, and all are damaged; or the folder cannot be written.
          InputError: the state has other parameters or shapes.
        """
        self._check_writable()

        def read(stored: Stored) -> TrainState:
            check_shapes(stored, template)
            return verified(stored, template=template)

        found = newest_undamaged(self._folder, read)
        return None if found is None else found[1]

    def _check_writable(self) -> None:
        """Raises RunError at once if nothing could be saved after the first steps."""
        if is_main():
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryDirectory(".partial", "try-", self._folder).cleanup()
            except OSError as failure:
                raise self._failed(failure) from failure

    def restore_variables(
        self, which: str = "best", *, sets_aside: bool = False
    ) -> tuple[int, dict[str, Any]]:
        """Returns (step, variables to evaluate) of `which`: "best", "last" or a step.

        The best is the one of the best score, or the last where none was evaluated. A training
        run may replace it meanwhile; then the one that is best or last by now is returned.
        `sets_aside`: the training run itself renames a damaged best and takes the next best.

        Raises:
          InputError: there is no such checkpoint, and the steps that there are get listed; or
            it is damaged, and an undamaged one is named.
          RunError: with `sets_aside`, none is undamaged.
        """
        stored, state = restore_chosen(self._folder, which, sets_aside=sets_aside)
        if averaged := state.get("averaged"):
            return stored.step, averaged
        names = ("params", "batch_stats")
        return stored.step, {name: state[name] for name in names if state.get(name)}

    def restore_tree(self, step: int) -> dict[str, Any]:
        """Returns the whole state of a step as nested dictionaries and lists, to look at.

        Raises:
          Damaged: it is not what was saved.
        """
        return Stored(self._folder / str(step)).restore()

    def step_of(self, which: str) -> int:
        """Returns the step of "best", "last" or a number.

        Raises:
          InputError: there is no such checkpoint, or none at all, or a damaged score hides
            which is the best.
        """
        return choose(self._folder, which).step


def _wait_unless_failed(*, key: str, timeout_ms: int) -> None:
    """Waits for the other processes, unless a thread of Orbax failed to save in this one.

    Orbax would wait then too, for processes that wait for this one at another place, and its 20
    minutes would pass before anybody heard of the failure.
    """
    is_main_thread = threading.current_thread() is threading.main_thread()
    if (failure := sys.exception()) is not None and not is_main_thread:
        raise failure
    ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)


def has_checkpoint(workdir: pathlib.Path) -> bool:
    """Returns whether a run can resume in this folder."""
    return last_step(workdir) is not None


def last_step(workdir: pathlib.Path) -> int | None:
    """Returns the step of the latest complete checkpoint in a run's folder, or None."""
    return max((stored.step for stored in stored_in(workdir / FOLDER)), default=None)

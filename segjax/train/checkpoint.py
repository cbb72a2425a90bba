"""Checkpoints of a run: written atomically and in the background; the latest and best stay."""

import contextlib
import json
import logging
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as keep_policy

from segjax.errors import InputError, RunError
from segjax.parallel.cluster import is_main, wait_for_all
from segjax.parallel.state import gathered
from segjax.train.step import TrainState

FOLDER = "checkpoints"
METRICS, COMPLETE = "metrics", "commit_success.txt"
"""Orbax's names in a step's folder: the scores' folder and file; the mark of a whole folder."""


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Silences Orbax while a manager is made: it warns of `read_only`, which was asked for."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class Checkpoints:
    """The checkpoints in a workdir; use it in a `with` block, which waits for the last save.

    What is unfinished when a process is killed has a temporary name and is swept away by the
    next one that opens the folder for writing.
    """

    def __init__(self, workdir: pathlib.Path, *, keep: int = 2, read_only: bool = False):
        # Each checkpoint has one score alone, whatever its name.
        score = lambda metrics: next(iter(metrics.values()))
        best = keep_policy.BestN(
            get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False
        )
        self._folder = workdir.resolve() / FOLDER
        with _without_warnings():
            self._manager = ocp.CheckpointManager(
                self._folder,
                # best_fn as well as BestN: otherwise no scores are written beside the state.
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=keep_policy.AnyPreservationPolicy(
                        [keep_policy.LatestN(keep), best]
                    ),
                    best_fn=score,
                    best_mode="max",
                    read_only=read_only,
                    create=not read_only,
                ),
                item_handlers={"state": ocp.StandardCheckpointHandler()},
            )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            self._manager.wait_until_finished()
        except Exception as failure:
            if kind is None:
                raise self._failed(failure) from failure
        finally:
            self._manager.close()

    @property
    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, *, score: Mapping[str, float] | None = None) -> None:
        """Begins to write the state under its step; returns before it is written.

        `score` is one number by its name, of which the best checkpoint has the most.

        Raises:
          RunError: this or the write before it failed; earlier checkpoints still restore.
        """
        # A copy in host memory: the next step donates the state's own buffers.
        state = gathered(state)
        try:
            self._manager.save(
                int(state.step),
                args=ocp.args.Composite(state=ocp.args.StandardSave(state)),
                metrics=None if score is None else dict(score),
                force=True,
            )
        except Exception as failure:
            raise self._failed(failure) from failure

    def is_scored(self, step: int) -> bool:
        """Returns whether the checkpoint of a step has an evaluation's score."""
        return self._manager.metrics(step) is not None

    def add_score(self, state: TrainState, *, score: Mapping[str, float]) -> None:
        """Adds the score to the checkpoint of the state's step, which stays as it is.

        Its folder appears beside the state's whole or not at all: a process that is killed
        meanwhile loses the score alone.

        Raises:
          RunError: it cannot be written.
        """
        self._manager.wait_until_finished()
        folder = self._folder / str(int(state.step))
        if is_main():
            try:
                with tempfile.TemporaryDirectory(".partial", "score-", folder.parent) as new:
                    scores = pathlib.Path(new, METRICS)
                    scores.mkdir()
                    (scores / METRICS).write_text(json.dumps(dict(score)), encoding="utf-8")
                    # Orbax marks each folder that is complete.
                    shutil.copy(folder / "state" / COMPLETE, scores)
                    scores.rename(folder / METRICS)
            except OSError as failure:
                raise self._failed(failure) from failure
        wait_for_all(f"scored {folder.name}")
        self._manager.reload()

    def _failed(self, failure: BaseException) -> RunError:
        reason = _root(failure)
        # The storage library says it in a line of its own length, without an errno.
        full = "No space left on device"
        what = full if full in str(reason) else reason
        whole = ", ".join(map(str, self.steps)) or "none"
        return RunError(
            f"Saving to {self._folder} failed: {str(what).splitlines()[0]}. Make room there "
            f"and run the same command again to resume. Complete checkpoints: {whole}."
        )

    def check(self, template: TrainState) -> None:
        """Raises InputError unless the latest state has the shapes of `template`.

        Raises:
          InputError: it has other parameters or shapes; the first is named.
        """
        if (step := self._manager.latest_step()) is not None:
            saved = shapes(self._manager.item_metadata(step)["state"].tree)
            check_same_shapes(saved, shapes(template), f"{self._folder}/{step}")

    def restore(self, template: TrainState) -> TrainState | None:
        """Returns the latest state, in the shape of `template`, or None."""
        step = self._manager.latest_step()
        if step is None:
            return None
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), template)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
        )
        return restored["state"]

    def restore_variables(self, which: str = "best") -> tuple[int, dict[str, Any]]:
        """Returns (step, variables to evaluate) of `which`: "best", "last" or a step.

        The best is the one of the best score, or the last where none was evaluated.

        Raises:
          InputError: there is no such checkpoint; the steps that there are get listed.
        """
        step = self.step_of(which)
        state = self.restore_tree(step)
        averaged = state.get("averaged")
        if averaged:
            return step, averaged
        names = ("params", "batch_stats")
        return step, {name: state[name] for name in names if state.get(name)}

    def restore_tree(self, step: int) -> dict[str, Any]:
        """Returns the whole state of a step as nested dictionaries and lists, to look at."""
        restore = ocp.args.Composite(state=ocp.args.StandardRestore())
        return self._manager.restore(step, args=restore)["state"]

    def step_of(self, which: str) -> int:
        """Returns the step of "best", "last" or a number.

        Raises:
          InputError: there is no such checkpoint, or none at all.
        """
        if not self.steps:
            raise InputError(f"{self._folder} holds no checkpoint; train the run first.")
        if which == "last":
            return self.steps[-1]
        if which == "best":
            best = self._manager.best_step()
            return self.steps[-1] if best is None else best
        if not which.isdigit() or int(which) not in self.steps:
            raise InputError(
                f"--checkpoint {which}: {self._folder} holds steps "
                f"{', '.join(map(str, self.steps))}; name one of them, best or last."
            )
        return int(which)


def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns {path: shape} of every array in a nested mapping or sequence."""
    flat = jax.tree_util.tree_leaves_with_path(tree)
    named = {"/".join(_key(k) for k in keys): leaf for keys, leaf in flat}
    return {path: tuple(leaf.shape) for path, leaf in named.items() if hasattr(leaf, "shape")}


def _key(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))))


def has_checkpoint(workdir: pathlib.Path) -> bool:
    """Returns whether a run can resume in this folder."""
    return last_step(workdir) is not None


def last_step(workdir: pathlib.Path) -> int | None:
    """Returns the step of the latest complete checkpoint in a run's folder, or None."""
    names = [path.name for path in (workdir / FOLDER).glob("*") if path.name.isdigit()]
    return max(map(int, names), default=None)


def check_same_shapes(
    saved: Mapping[str, tuple], wanted: Mapping[str, tuple], where: str
) -> None:
    """Raises InputError unless both have the same arrays.

    Raises:
      InputError: names the first array that is missing, unexpected or of another shape.
    """
    wrong = [
        f"{path} is {saved.get(path, 'missing')}, here it is {wanted.get(path, 'none')}"
        for path in sorted({*saved, *wanted}, key=lambda p: (not p.startswith("params"), p))
        if saved.get(path) != wanted.get(path)
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InputError(
            f"The checkpoint {where} belongs to another network: {wrong[0]}{more}. "
            "Use another --workdir, or the experiment that made it."
        )


def _root(error: BaseException) -> BaseException:
    """Returns the first cause of an error, or the OS's own error on the way to it."""
    while not isinstance(error, OSError) and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return error

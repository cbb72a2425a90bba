"""What a run that has been trained ends with."""

import pathlib

import jax
import numpy as np
import optax
import pytest

from segjax.errors import InputError, RunError
from segjax.train import evaluation
from segjax.train.checkpoint import Checkpoints
from segjax.train.evaluation import save_trained
from segjax.train.run import Run
from segjax.train.step import init_state


def test_what_is_wrong_after_training_is_a_failure_of_the_run(tmp_path, monkeypatch):
    """Status 2 says that nothing was begun."""
    monkeypatch.setattr(evaluation.Checkpoints, "restore_variables", lambda *_, **__: (5, {}))
    run = Run(None, tmp_path, pathlib.Path("e.py"), b"")  # type: ignore[arg-type]

    def refuse(*_, **__):
        raise InputError("eval_data has gone")

    monkeypatch.setattr(evaluation, "save_evaluation", refuse)
    with pytest.raises(RunError, match="^eval_data has gone$"):
        save_trained(run, "best", trained_on=None, note=print, last=None)
    monkeypatch.undo()
    with pytest.raises(RunError, match="holds no checkpoint"):
        save_trained(run, "best", trained_on=None, note=print, last=None)


def test_scores_of_the_last_step_are_not_those_of_the_one_that_takes_its_place(
    tmp_path, monkeypatch
):
    state = init_state({"params": {"w": np.zeros((9, 9), np.float32)}}, optax.sgd(0.1))
    with Checkpoints(tmp_path) as checkpoints:
        for step in (3, 6):
            saved = state.replace(step=np.array(step, np.int32))
            checkpoints.save(jax.device_get(saved), score={"mean_iou": step / 10})
    evaluated = []
    monkeypatch.setattr(
        evaluation,
        "save_evaluation",
        lambda run, step, variables, **options: evaluated.append((step, options["scored"])),
    )
    run = Run(None, tmp_path, pathlib.Path("e.py"), b"")  # type: ignore[arg-type]
    last = object()
    save_trained(run, "best", trained_on=None, note=print, last=last)  # type: ignore[arg-type]
    (tmp_path / "checkpoints/6/state/_METADATA").unlink()
    save_trained(run, "best", trained_on=None, note=print, last=last)  # type: ignore[arg-type]
    assert evaluated == [(6, last), (3, None)]

"""What a run that has been trained ends with."""

import pathlib

import pytest

from segjax.errors import InputError, RunError
from segjax.train import evaluation
from segjax.train.evaluation import save_trained
from segjax.train.run import Run


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

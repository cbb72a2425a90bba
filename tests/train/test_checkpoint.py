"""Checkpoints: a score that comes later costs no state."""

import os
import pathlib

import jax
import numpy as np
import optax
import pytest

from segjax.errors import RunError
from segjax.train.checkpoint import Checkpoints
from segjax.train.step import init_state

VARIABLES = {"params": {"w": np.arange(6.0, dtype=np.float32)}}


def state_at(step: int):
    state = init_state(VARIABLES, optax.sgd(0.1))
    return state.replace(step=np.array(step, np.int32))


@pytest.fixture
def unscored(tmp_path) -> pathlib.Path:
    """A workdir with step 3, scored 0.5, and step 6, whose evaluation was cut short."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_at(3), score={"mean_iou": 0.5})
        checkpoints.save(state_at(6))
    return tmp_path


def files_of(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


def test_a_score_that_comes_later_ranks_the_checkpoint_and_leaves_its_state_alone(unscored):
    state = unscored / "checkpoints/6/state"
    before = files_of(state)
    with Checkpoints(unscored, keep=1) as checkpoints:
        assert not checkpoints.is_scored(6) and checkpoints.step_of("best") == 3
        checkpoints.add_score(state_at(6), score={"mean_iou": 0.75})
        assert checkpoints.is_scored(6) and checkpoints.step_of("best") == 6
    with Checkpoints(unscored, keep=1) as checkpoints:
        assert checkpoints.is_scored(6) and checkpoints.step_of("best") == 6
        restored = checkpoints.restore(jax.eval_shape(lambda: state_at(6)))
        np.testing.assert_array_equal(restored.params["w"], VARIABLES["params"]["w"])
        # The next save keeps the latest and the best: this one is both no more.
        checkpoints.save(state_at(9), score={"mean_iou": 0.6})
        checkpoints._manager.wait_until_finished()
        assert checkpoints.steps == [6, 9]
    assert files_of(state) == before
    assert sorted(p.name for p in unscored.glob("checkpoints/*")) == ["6", "9"]


def test_a_score_that_cannot_be_written_leaves_a_checkpoint_that_restores(
    unscored, monkeypatch
):
    def full(self, target):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(pathlib.Path, "rename", full)
    with Checkpoints(unscored) as checkpoints:
        with pytest.raises(RunError, match="No space left on device.*checkpoints: 3, 6."):
            checkpoints.add_score(state_at(6), score={"mean_iou": 0.75})
        assert checkpoints.steps == [3, 6] and not checkpoints.is_scored(6)
        assert int(checkpoints.restore(jax.eval_shape(lambda: state_at(6))).step) == 6

"""Runs as the page loads them: what they predict, how they are named, what is refused."""

import pathlib
import runpy

import jax
import numpy as np
import pytest

from segjax import experiment as experiments
from segjax.errors import InputError
from segjax.evaluate.windows import PadToMultiple, SlidingWindow
from segjax.evaluate.wrappers import Flip
from segjax.page import runs
from segjax.train.trained import Source
from segjax.train.workdir import claim

RUN = runpy.run_path(str(pathlib.Path(__file__).with_name("untrained_run.py")))
TINY, untrained = RUN["TINY"], RUN["untrained"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("runs") / "first")


def load_runs(workdirs, *, checkpoint):
    sources = [Source(workdir, checkpoint=checkpoint) for workdir in workdirs]
    return runs.load_runs([(source, source.experiment()) for source in sources])


def test_a_run_predicts_what_its_network_says_of_the_image_alone(workdir):
    (run,) = load_runs([workdir], checkpoint="best")
    assert (run.name, run.weights, len(run.class_names)) == ("first", "step 0", 6)
    image = np.random.default_rng(0).integers(0, 256, (21, 50, 3), np.uint8)
    experiment = experiments.load(TINY)
    apply = jax.jit(
        lambda v, x: experiment.model.apply(v, experiment.normalize(x), train=False)
    )
    expected = jax.nn.softmax(apply(run.variables, image[None]))[0]
    np.testing.assert_allclose(run.probabilities(image), expected, atol=1e-5)


def test_a_run_that_evaluates_by_windows_predicts_by_them_and_says_so(tmp_path):
    windows = "evaluation.predictor=segjax.evaluate.windows.SlidingWindow(16)"
    (run,) = load_runs([untrained(tmp_path / "run", windows)], checkpoint="last")
    assert type(run.predict).__name__ == "Windowed"
    assert run.about()["way"][0].startswith("SlidingWindow(size=16")


@pytest.mark.parametrize(
    "wrappers, others",
    [((), 3), ((Flip(),), 3), ((SlidingWindow(9),), 1), ((Flip(), PadToMultiple(8)), 2)],
    ids=str,
)
def test_sizes_that_share_a_program_are_known(wrappers, others, workdir):
    (run,) = load_runs([workdir], checkpoint="best")
    object.__setattr__(run, "wrappers", wrappers)
    assert len({run.program(size) for size in [(9, 9), (9, 16), (17, 9)]}) == others


def test_runs_of_one_name_are_told_apart(workdir, tmp_path):
    (tmp_path / "first").symlink_to(workdir)
    names = [run.name for run in load_runs([workdir, tmp_path / "first"], checkpoint="0")]
    assert names == ["first (1)", "first (2)"]


def test_a_run_without_checkpoint_or_with_another_network_is_refused(workdir, tmp_path):
    with pytest.raises(InputError, match="--checkpoint 9: .* holds steps 0; name one"):
        load_runs([workdir], checkpoint="9")
    claim(tmp_path, experiments.load(TINY), TINY, TINY.read_bytes())
    with pytest.raises(InputError, match="holds no checkpoint; train the run first"):
        load_runs([tmp_path], checkpoint="best")


def test_a_network_that_does_not_fit_its_checkpoint_or_its_classes_is_refused(tmp_path):
    other = untrained(tmp_path / "other", "model.num_classes=7")
    with pytest.raises(InputError, match="UNet predicts 7 classes, but eval_data has 6"):
        load_runs([other], checkpoint="best")
    wider = untrained(tmp_path / "wider")
    text = (wider / "experiment.py").read_text()
    (wider / "experiment.py").write_text(text.replace("features=4", "features=8"))
    with pytest.raises(InputError, match="wider: these variables are of another network"):
        load_runs([wider], checkpoint="best")

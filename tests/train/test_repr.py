"""What a notebook prints of a run's parts is one line, without arrays."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from segjax.data.palette import voc_palette
from segjax.outputs.kinds import Prediction
from segjax.train.plan import Plan
from segjax.train.run import runs_of_file
from segjax.train.step import init_state

TINY = pathlib.Path(__file__).parents[1] / "commands" / "tiny.py"
PARAMETERS = {"params": {"a": jnp.zeros((2, 3)), "b": jnp.zeros(1000)}}


def test_a_run_and_its_plan_say_their_name():
    (run,) = runs_of_file(TINY, workdir=pathlib.Path("runs/t"))
    assert repr(run) == f"Run(tiny in {pathlib.Path('runs/t')})"
    plan = Plan(run.experiment, 3, jax.eval_shape(lambda: PARAMETERS), optax.sgd(0.1))
    assert repr(plan) == "Plan(tiny, 1,006 parameters)"


def test_a_state_says_its_step_and_how_many_parameters_it_has():
    state = init_state(PARAMETERS, optax.sgd(0.1))
    assert repr(state) == "TrainState(step 0, 1,006 parameters)"
    seen = []
    jax.eval_shape(lambda s: seen.append(repr(s)), state)
    assert seen[0].endswith("1,006 parameters)") and "\n" not in seen[0]


def test_a_prediction_says_its_file_and_size():
    image, label = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8)
    prediction = Prediction(
        image, label, None, pathlib.Path("in/a.jpg"), ("a", "b"), voc_palette()
    )
    assert repr(prediction) == "Prediction(a.jpg, 6 x 4 pixels)"

"""A run's folder in seconds: a network as it was initialised, saved as step 0."""

import pathlib

import jax
import jax.numpy as jnp

from segjax import experiment as experiments
from segjax.train.checkpoint import Checkpoints
from segjax.train.step import init_state
from segjax.train.workdir import claim

TINY = pathlib.Path(__file__).parents[1] / "commands" / "tiny.py"


def untrained(workdir: pathlib.Path, *settings: str) -> pathlib.Path:
    """A run's folder with a checkpoint of step 0."""
    experiment = experiments.load(TINY)
    for setting in settings:
        experiment = experiments.override(experiment, setting)
    claim(workdir, experiment, TINY, TINY.read_bytes(), settings=settings)
    initialize = jax.jit(
        lambda key: experiment.model.init(key, jnp.zeros((1, 32, 32, 3)), train=False)
    )
    variables = initialize(jax.random.key(experiment.seed))
    optimizer = experiment.optimizer.build(experiment.steps, variables["params"])
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(init_state(variables, optimizer, ema=experiment.ema))
    return workdir

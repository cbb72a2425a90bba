"""FLOPs and memory of a training step and of inference, as XLA counts them without a run."""

import jax
import jax.numpy as jnp

from segjax.contracts import Variables
from segjax.experiment import Experiment
from segjax.explain.trace import variable_shapes
from segjax.parallel.cluster import local_device_count
from segjax.parallel.data import data_parallel
from segjax.planning.cost import cost_of
from segjax.train.step import init_state, make_train_step

Size = tuple[int, int]
Cost = dict[str, float]
"""`flops`, `argument_bytes`, `output_bytes`, `temporary_bytes` and `peak_bytes` of one device,
and `seconds` of the compilation. The peak is the sum of the three, with shared memory counted
once: on a CPU, XLA's own number leaves out the temporaries."""


def training_step(
    experiment: Experiment, *, size: Size, channels: int, batch_size: int
) -> Cost:
    """Returns the cost on one device of a training step with its share of the batch.

    Raises:
      ValueError: the network or the loss does not take such a batch.
    """
    variables = _variables(experiment, size, channels)
    optimizer = experiment.optimizer.build(experiment.steps, variables["params"])
    state = jax.eval_shape(lambda v: init_state(v, optimizer, ema=experiment.ema), variables)
    objective = experiment.task.objective(
        experiment.model, experiment.loss, normalize=experiment.normalize
    )
    step = make_train_step(
        objective,
        optimizer,
        auxiliary_weight=experiment.auxiliary_weight,
        ema=experiment.ema,
        seed=experiment.seed,
        accumulate=experiment.accumulate,
    )
    devices = local_device_count()
    share = (devices, batch_size // devices)
    batch = {
        "image": jax.ShapeDtypeStruct((*share, *size, channels), jnp.uint8),
        "label": jax.ShapeDtypeStruct((*share, *size), jnp.uint8),
        "step": jax.ShapeDtypeStruct(share, jnp.int32),
    }
    return cost_of(data_parallel(step).lower(state, batch)).record()


def inference(experiment: Experiment, *, size: Size, channels: int) -> Cost:
    """Returns the cost of the probabilities of one image at the evaluation's output stride.

    Raises:
      ValueError: the network does not take such an image.
    """
    network = experiment.task.network(
        experiment.model,
        normalize=experiment.normalize,
        output_stride=experiment.evaluation.output_stride,
    )
    predict = jax.jit(network)
    image = jax.ShapeDtypeStruct((1, *size, channels), jnp.uint8)
    lowered = predict.lower(_variables(experiment, size, channels), image)
    return cost_of(lowered).record()


def _variables(experiment: Experiment, size: Size, channels: int) -> Variables:
    image = jax.ShapeDtypeStruct((1, *size, channels), jnp.float32)
    return variable_shapes(experiment.model, image)

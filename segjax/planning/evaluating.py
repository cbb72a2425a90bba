"""Memory and time of the evaluations of a run."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from segjax.announce import announced
from segjax.data.survey import survey
from segjax.experiment import Experiment
from segjax.parallel.dry_run import dry_run, zeros
from segjax.planning.cost import Cost, largest_cost
from segjax.planning.measured import PeakMemory
from segjax.train.plan import Plan

SECONDS = 5.0
"""How long sizes of images are looked at, where no earlier run has noted them."""

Shape = tuple[int, int, int]


class Images(NamedTuple):
    """The images of the evaluation data.

    Attributes:
      count: how many there are.
      largest: height, width and channels of the largest one that was looked at.
      sizes: how many different sizes were seen; the network is compiled once for each.
      dtype: of their values.
    """

    count: int
    largest: Shape
    sizes: int
    dtype: np.dtype


def evaluation_images(experiment: Experiment) -> Images:
    """Returns what is known of the images of the prepared evaluation data."""
    data = experiment.eval_data
    shapes = survey(data, title="eval_data", seconds=SECONDS).shapes
    largest = max(shapes, key=lambda shape: shape[0] * shape[1])
    return Images(len(data), largest, len(shapes), data[0]["image"].dtype)


def evaluation_cost(plan: Plan, images: Images) -> Cost:
    """Returns the cost of predicting a batch of the largest images; nothing is computed.

    Wrappers that run on the host run, on the zeros of a dry run; of several programs it is the
    one with the highest peak.

    Raises:
      RuntimeError: XLA cannot compile the network.
    """
    size = plan.experiment.evaluation.batch_size
    batch = zeros(jax.ShapeDtypeStruct((size, *images.largest), images.dtype))
    variables = jax.tree.map(zeros, plan.shapes)
    with announced("Compiling the evaluation"):
        with dry_run() as found:
            plan.scorer().predictions(variables, batch)
        return largest_cost(found)


class EvaluationTime(NamedTuple):
    """Seconds of an image, with reading and scoring, and of compiling for one size.

    `images` were timed. `peak`: bytes that a device held meanwhile; None if not told.
    """

    image_seconds: float
    compile_seconds: float
    images: int
    peak: float | None


def evaluation_time(plan: Plan, variables: Any) -> EvaluationTime:
    """Returns how long the evaluation of images takes, measured on a few of them, twice."""
    data = plan.experiment.eval_data
    total = len(data)
    stride = max(total // plan.experiment.evaluation.batch_size, 1)
    score, count = plan.scorer(), len(range(0, total, stride))
    seconds, memory = [], PeakMemory()
    for task in ("Evaluating a few images", "Evaluating them again"):
        with announced(task, after=1), memory.measuring():
            began = time.monotonic()
            score(variables, share=(0, stride))
            seconds.append(time.monotonic() - began)
    first, again = seconds
    sizes = {data[index]["image"].shape for index in range(0, total, stride)}
    compiling = max(first - again, 0.0) / len(sizes)
    return EvaluationTime(again / count, compiling, count, memory.bytes)

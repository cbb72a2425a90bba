"""An ablation of two runs of a task of one's own, on data without classes."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from segjax.experiment import UNIT, Experiment
from segjax.layers.conv import Conv
from segjax.outputs.kinds import Output
from segjax.report.score import Score
from segjax.tasks.sums import SumMetric
from segjax.tasks.task import Task
from segjax.train.optimizer import SGD, Constant


@dataclasses.dataclass(frozen=True)
class Noise:
    """Images of noise, each with the mean of its channels at every pixel."""

    count: int = 5
    channels: ClassVar[int] = 3

    def prepare(self):
        pass

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
        label = (image.mean(-1) / 255).astype(np.float32)
        return {"image": image, "label": label, "name": f"noise {index}"}


class Pixels(nn.Module):
    """As many planes as are asked for, of each pixel by itself."""

    num_classes: int = 1

    @nn.compact
    def __call__(self, image, *, train: bool):
        return Conv(self.num_classes, 1, name="head")(image)


def squared_error(output, batch):
    """The sum of squared errors of the first plane, and how many pixels there are."""
    error = (output[..., 0] - batch["label"]) ** 2
    return {"squared_error": (error.sum(), jnp.float32(error.size))}


@dataclasses.dataclass(frozen=True)
class Plane:
    """The first plane of a prediction, as NumPy saves it."""

    suffix: ClassVar[str] = ".npy"
    soft: ClassVar[bool] = False
    edited: ClassVar[bool] = False

    def save(self, prediction, path):
        with path.open("wb") as file:
            np.save(file, prediction.label)


@dataclasses.dataclass(frozen=True)
class Means(Task):
    """`fault` says what is wrong with its metric."""

    fault: str = ""

    def metric(self, data):
        def scores(sums) -> dict[str, Any]:
            error = sums[0] / sums[1]
            found = {"error": error, "rows": np.int64(3), "spread": np.array([error, np.inf])}
            if self.fault == "infinite":
                return {"error": float("inf")}
            if self.fault == "step":
                return {**found, "step": 99}
            return {"mistake": error} if self.fault == "missing" else found

        return SumMetric(
            {"error": Score("Error < all", is_share=False, higher_is_better=False)},
            count=lambda example, maps: np.array(
                [((maps[..., 0] - example["label"]) ** 2).sum(), example["label"].size]
            ),
            scores=scores,
        )

    def outputs(self, options, data) -> list[Output]:
        return [Plane()]


def experiment_of(seed: int, **changes) -> Experiment:
    base = Experiment(
        name="means",
        model=Pixels(),
        task=Means(),
        normalize=UNIT,
        train_data=Noise(),
        eval_data=Noise(),
        loss=squared_error,
        optimizer=SGD(Constant(0.1), momentum=0.0),
        batch_size=4,
        steps=4,
        checkpoint_every=2,
        seed=seed,
    )
    return dataclasses.replace(base, **changes)


experiments = [experiment_of(0), experiment_of(1)]

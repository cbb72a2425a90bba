"""An experiment whose step compiles in a second: two convolutions on drawn images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from segjax import losses
from segjax.data.synthetic import Synthetic
from segjax.experiment import Evaluation, Experiment
from segjax.layers.conv import Conv
from segjax.layers.remat import maybe_remat
from segjax.train.optimizer import SGD, Poly


class Small(nn.Module):
    """A hidden layer, recomputed with `remat`, and scores."""

    num_classes: int = 6
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, image, *, train: bool):
        hidden = Conv(8, 3, dtype=self.dtype, name="hidden")
        x = nn.relu(maybe_remat(hidden.__call__, image, remat=self.remat))
        return Conv(self.num_classes, 1, dtype=self.dtype, name="scores")(x)


experiment = Experiment(
    name="small",
    model=Small(),
    train_data=Synthetic(split="train", size=32, count=16),
    eval_data=Synthetic(split="val", size=32, count=5),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Poly(0.01), momentum=0.9),
    ema=0.9,
    batch_size=8,
    steps=100,
    evaluation=Evaluation(every=30, batch_size=4),
)

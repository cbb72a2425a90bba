"""A run on a dataset of one's own, of which single examples are wrong as is asked."""

from dataclasses import dataclass

import flax.linen as nn
import numpy as np

from segjax import losses
from segjax.experiment import Evaluation, Experiment, Normalize
from segjax.layers.conv import Conv
from segjax.train.optimizer import SGD, Poly


@dataclass(frozen=True)
class Drawn:
    """Float images; all of them have the `fault`, or number `at` alone."""

    fault: str = ""
    at: int | None = None
    count: int = 8
    class_names: tuple[str, ...] = ("ground", "road", "car")
    channels = 3

    @property
    def palette(self):
        return np.zeros((256, 3), np.uint8)

    def prepare(self):
        pass

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.random((8, 8, 3)).astype(np.float32)
        label = rng.integers(0, 3, (8, 8))
        fault = self.fault if self.at in (None, index) else ""
        if fault in ("nan", "inf", "3e38"):
            image[3, 4, 1] = float(fault)
        elif fault.lstrip("-").isdigit():
            label[0, 0] = int(fault)
        elif fault == "unreadable":
            raise OSError(f"the disk of scan {index} is gone")
        elif fault:
            label = {
                "h w 1": label[..., None],
                "1 h w": label[None],
                "one-hot": np.eye(3, dtype=int)[label],
                "floats": label / 2,
            }[fault]
        return {"image": image, "label": label, "name": f"scan {index}"}


@dataclass(frozen=True)
class Unchanged:
    """A transform; for all that is known before step 0, it may mend what is wrong."""

    def __call__(self, example, rng):
        return example


class Pixels(nn.Module):
    """One convolution, which may tell other classes apart than it says."""

    outputs: int = 3
    num_classes = 3

    @nn.compact
    def __call__(self, image, *, train: bool):
        return Conv(self.outputs, 1, name="classifier")(image)


experiment = Experiment(
    name="faulty",
    model=Pixels(),
    normalize=Normalize(std=(0.5,)),
    train_data=Drawn(),
    eval_data=Drawn(),
    transforms=(Unchanged(),),
    loss=losses.softmax_cross_entropy,
    optimizer=SGD(Poly(0.01)),
    batch_size=4,
    steps=4,
    checkpoint_every=4,
    evaluation=Evaluation(examples=1),
)

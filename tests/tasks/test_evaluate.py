"""A network is scored on a dataset in a few lines, without an experiment."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from segjax.data.synthetic import Synthetic
from segjax.errors import InputError
from segjax.evaluate.wrappers import Flip
from segjax.normalize import CAFFE, IMAGENET
from segjax.tasks.confusion import ConfusionMetric
from segjax.tasks.multilabel import Multilabel
from segjax.tasks.scorer import evaluate

DATA = Synthetic(split="val", size=32, count=3)


class PerPixel(nn.Module):
    """The smallest network there is: each pixel's logits are of its own colour."""

    num_classes: int = 6

    @nn.compact
    def __call__(self, image, *, train):
        logits = nn.Dense(self.num_classes, name="classifier")(image)
        return logits + 0.1 * logits[:, :, :1]  # Mirrored, an image has other classes.


class Shapes:
    """The same images; every shape is of one class."""

    channels, class_names, palette = 3, ("background", "shape"), DATA.palette

    def prepare(self):
        """Nothing has to be read."""

    def __len__(self):
        return len(DATA)

    def __getitem__(self, index):
        example = DATA[index]
        return {**example, "label": np.minimum(example["label"], 1)}


MODEL = PerPixel()
VARIABLES = MODEL.init(jax.random.key(0), np.zeros((1, 2, 2, 3), np.float32), train=False)


@pytest.mark.parametrize("normalize", [IMAGENET, CAFFE])
def test_the_scores_are_those_of_the_networks_own_classes(normalize):
    metric = ConfusionMetric(DATA.class_names)
    for i in range(len(DATA)):
        logits = MODEL.apply(VARIABLES, normalize(DATA[i]["image"][None]), train=False)
        metric.add(i, DATA[i], np.argmax(logits[0], -1))
    done = []
    scored = evaluate(
        MODEL,
        VARIABLES,
        DATA,
        normalize=normalize,
        batch_size=2,
        progress=lambda *counts: done.append(counts),
    )
    np.testing.assert_array_equal(scored.metric.confusion, metric.confusion)
    assert scored.scores == metric.scores() and done == [(2, 3), (3, 3)]
    assert repr(scored).startswith(f"Scored(mean_iou {scored.scores['mean_iou']:.4f}")
    assert repr(scored.metric) == "ConfusionMetric(6 classes, 3072 pixels counted)"


def test_wrappers_and_tasks_decide_the_score():
    plain = evaluate(MODEL, VARIABLES, DATA)
    flipped = evaluate(MODEL, VARIABLES, DATA, wrappers=(Flip(),))
    assert (plain.metric.confusion != flipped.metric.confusion).any()
    planes = evaluate(PerPixel(1), _for(PerPixel(1)), Shapes(), task=Multilabel())
    assert "mean_dice" in planes.scores and repr(planes).startswith("Scored(mean_dice ")
    assert repr(planes.metric) == "PlaneMetric(shape; 3072 pixels counted)"


def test_data_of_other_classes_or_without_examples_are_refused():
    with pytest.raises(InputError, match=r"model\.num_classes=4, but dataset has 6 classes"):
        evaluate(PerPixel(4), _for(PerPixel(4)), DATA)
    with pytest.raises(InputError, match="dataset: "):
        evaluate(MODEL, VARIABLES, [])


def _for(model):
    return model.init(jax.random.key(0), np.zeros((1, 2, 2, 3), np.float32), train=False)

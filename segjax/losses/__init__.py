"""Losses as sums: each returns {term: (total, weight)}, or {term: sums with a value}.

The train step adds sums over all devices and takes the loss once. A mean per device would be
wrong if devices hold different numbers of ignored pixels, and so would a ratio per device.

A label must be a class or 255. Outside `jit` any other value is an error. Inside `jit`, which
cannot raise errors, the total, the weight and the gradient become NaN, so that the train step
refuses the batch. The same is true of a pixel weight that is negative or not finite.

Unlike other rooms, this one has names of its own: `segjax.losses.Dice`. Descriptions of runs
print them, and a run resumes only if its description is the same, so a name must not change
when a loss moves to another file.
"""

from segjax.losses.binary_cross_entropy import (
    PositiveWeightedCrossEntropy,
    sigmoid_cross_entropy,
)
from segjax.losses.boundary import Boundary
from segjax.losses.cross_entropy import (
    ClassWeightedCrossEntropy,
    SmoothedCrossEntropy,
    softmax_cross_entropy,
)
from segjax.losses.detection import TwoStage
from segjax.losses.focal import SigmoidFocal, SoftmaxFocal
from segjax.losses.grid import on_logits_grid
from segjax.losses.hard_pixels import OHEMCrossEntropy, TopKCrossEntropy
from segjax.losses.lovasz import LovaszHinge, LovaszSoftmax
from segjax.losses.panoptic_deeplab import PanopticDeepLab
from segjax.losses.panoptic_fpn import PanopticFPN
from segjax.losses.regions import Dice, GeneralizedDice, Jaccard, Tversky
from segjax.losses.weighted_sum import Sum, activations

__all__ = (
    "Boundary",
    "ClassWeightedCrossEntropy",
    "Dice",
    "GeneralizedDice",
    "Jaccard",
    "LovaszHinge",
    "LovaszSoftmax",
    "OHEMCrossEntropy",
    "PanopticDeepLab",
    "PanopticFPN",
    "PositiveWeightedCrossEntropy",
    "SigmoidFocal",
    "SmoothedCrossEntropy",
    "SoftmaxFocal",
    "Sum",
    "TopKCrossEntropy",
    "Tversky",
    "TwoStage",
    "activations",
    "on_logits_grid",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
)

for _name in __all__:
    globals()[_name].__module__ = __name__

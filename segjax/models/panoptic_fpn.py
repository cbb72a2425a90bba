"""Panoptic FPN (Kirillov et al., 2019, arXiv:1901.02446), as in detectron2.

Mask R-CNN finds the things, and a branch on the same pyramid gives every pixel a class of stuff
or "thing".
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, ConvNormReLU, at_least_float32
from segjax.layers.head import head_dtype
from segjax.layers.norm import GroupNorm
from segjax.models.mask_rcnn import BoxPredictor, Levels, MaskRCNN, Outputs
from segjax.ops.resize import resize_bilinear


class PanopticOutputs(NamedTuple):
    """The outputs of all parts: `things` as of `MaskRCNN`, and `semantic` logits b h w k."""

    things: Outputs
    semantic: Array


class SemanticBranch(nn.Module):
    """The levels P2 … P5, each brought to P2's size in steps of two, and summed (figure 3).

    A step is a 3×3 convolution, a norm, ReLU and bilinear interpolation; P2 has one without the
    interpolation. A 1×1 convolution follows.
    """

    num_classes: int
    features: int = 128
    norm_layer: Callable[..., nn.Module] = GroupNorm
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, levels: Levels, *, train: bool) -> Float[Array, "b _ _ k"]:
        """Returns logits of P2's size."""
        layer = partial(
            ConvNormReLU, self.features, 3, norm_layer=self.norm_layer, dtype=self.dtype
        )
        total = jnp.zeros((), self.dtype)
        for i, x in enumerate(levels[:4]):
            for step in range(max(i, 1)):
                x = layer(name=f"p{i + 2}_{step}")(x, train=train)
                if i:
                    finer = levels[i - 1 - step]
                    x = resize_bilinear(x, (finer.shape[1], finer.shape[2]))
            total = x if i == 0 else total + x
        dtype = at_least_float32(self.dtype)
        return Conv(self.num_classes, 1, dtype=dtype, name="predictor")(total)


class ThingPredictor(BoxPredictor):
    """A score for each class and the background, and an encoded box for each class alone."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "r 1 1 o"]
    ) -> tuple[Float[Array, "r k"], Float[Array, "r k 4"]]:
        """Returns logits and encoded boxes; those of the background, class 0, are 0."""
        linear = partial(Conv, kernel_size=1, dtype=self.dtype)
        logits = linear(
            self.num_classes, kernel_init=nn.initializers.normal(0.01), name="cls_score"
        )(x)
        deltas = linear(
            4 * (self.num_classes - 1),
            kernel_init=nn.initializers.normal(0.001),
            name="bbox_pred",
        )(x)
        deltas = deltas.reshape(len(x), self.num_classes - 1, 4)
        return logits[:, 0, 0], jnp.pad(deltas, ((0, 0), (1, 0), (0, 0)))


class PanopticFPN(MaskRCNN):
    """Boxes, classes and masks of things, and a map of stuff.

    `num_classes` counts all classes of the data, which have no background. The detector's class
    0 is the background, and class i is `things[i − 1]`. The branch's class 0 is any thing, and
    class i is the i-th of the other classes.

    As in detectron2 the background has neither an encoded box nor a mask: both are 0, and no
    parameters belong to them. Its other differences are fields of `MaskRCNN`.

    Attributes:
      things: ids of the classes whose objects are counted.
      semantic_features: channels of the semantic branch.
      semantic_norm: its norm.
    """

    num_classes: int = 133
    things: tuple[int, ...] = tuple(range(80))
    semantic_features: int = 128
    semantic_norm: Callable[..., nn.Module] = GroupNorm

    box_predictor_type: ClassVar[type[BoxPredictor]] = ThingPredictor

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The layers whose shapes depend on `num_classes` and `things`."""
        return (*super().classifiers, "semantic_branch/predictor")

    @property
    def predicted(self) -> tuple[int, int]:
        """The numbers of classes of the box predictor, with background, and of the masks."""
        return len(self.things) + 1, len(self.things)

    def setup(self) -> None:
        """Makes the detector's parts and the semantic branch."""
        super().setup()
        self.semantic_branch = SemanticBranch(
            1 + self.num_classes - len(self.things),
            self.semantic_features,
            norm_layer=self.semantic_norm,
            dtype=head_dtype(self),
        )

    def masks(
        self, pooled: Float[Array, "r s s f"], *, train: bool = False
    ) -> Float[Array, "r 2*s 2*s k"]:
        """Returns mask logits of each class; those of the background, class 0, are 0."""
        planes = self.mask_predictor(self.mask_head(pooled, train=train))
        return jnp.pad(planes, ((0, 0), (0, 0), (0, 0), (1, 0)))

    def semantic(self, features: Levels, *, train: bool = False) -> Float[Array, "b _ _ k"]:
        """Returns logits of "thing" and of each stuff, a quarter of the image's size."""
        return self.semantic_branch(features, train=train)

    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> PanopticOutputs:
        """Returns what all parts return, of the detector's for one box."""
        features = self.features(image, train=train)
        return PanopticOutputs(
            self.of_first_image(features, image, train=train),
            self.semantic(features, train=train),
        )

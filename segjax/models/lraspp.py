"""Lite R-ASPP (Howard et al., 2019, arXiv:1905.02244, section 6.4 and figure 10)."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from segjax.backbones.output_stride import with_output_stride
from segjax.layers.conv import Conv, ConvNormReLU, at_least_float32
from segjax.layers.head import head_dtype
from segjax.layers.remat import maybe_remat
from segjax.ops.resize import resize_bilinear
from segjax.ops.skip import add_skip


class LRASPP(nn.Module):
    """Deep features gated by the mean over the image, classified with those of stride 8.

    The head and its names are torchvision's. It pools the entire map, so an image has one gate;
    the paper pools windows of 49×49 with large strides. On images larger than those of training
    the gate is a mean over more pixels than in training.

    `low` and `high` name the backbone's features; the paper's MobileNetV3 gives c3 (40
    channels, stride 8) and c5 at output stride 16. `dtype` is the head's; None takes the
    backbone's. The classifiers and the logits are at least float32. `remat` recomputes the
    first 1×1 in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
    features: int = 128
    low: str = "c3"
    high: str = "c5"
    dtype: Any = None
    remat: bool = False

    at_output_stride = with_output_stride
    classifiers = ("low_classifier", "high_classifier")

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size."""
        features = self.backbone(image, train=train)
        low, high = features[self.low], features[self.high]
        dtype = head_dtype(self)
        cbr = ConvNormReLU(self.features, 1, dtype=dtype, name="cbr")
        x = maybe_remat(cbr.__call__, high, remat=self.remat, train=train)
        scale = Conv(self.features, 1, use_bias=False, dtype=dtype, name="scale")
        x = x * nn.sigmoid(scale(high.mean((1, 2), keepdims=True)))
        x = resize_bilinear(x, (low.shape[1], low.shape[2]))
        x = self._classifier("high_classifier")(x)
        logits = add_skip(x, self._classifier("low_classifier")(low))
        return resize_bilinear(logits, (image.shape[1], image.shape[2]))

    def _classifier(self, name: str) -> Conv:
        dtype = at_least_float32(head_dtype(self))
        return Conv(self.num_classes, 1, dtype=dtype, name=name)

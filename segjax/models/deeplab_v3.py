"""DeepLab v3 (Chen et al., 2017, arXiv:1706.05587) and v3+ (2018, arXiv:1802.02611)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.backbones.output_stride import Network, with_output_stride
from segjax.layers.conv import Conv, ConvNormReLU, SeparableConv, at_least_float32
from segjax.layers.head import FCNHead, head_dtype, sow_auxiliary_head
from segjax.layers.pyramid import ASPP
from segjax.layers.remat import maybe_remat
from segjax.ops.resize import resize_bilinear


@nn.nowrap
def with_output_stride_and_rates(model: Network, output_stride: int) -> Network:
    """Returns the network at another output stride, with ASPP rates of the same reach.

    Trained variables fit both (v3, section 4.1: trained at 16, evaluated at 8). Multi-grid
    factors do not change.

    Raises:
      ValueError: a rate would not be an integer.

    >>> from segjax.backbones.resnet import ResNet18
    >>> model = DeepLabV3(ResNet18(output_stride=16), num_classes=21, rates=(6, 12, 18))
    >>> model.at_output_stride(8).rates
    (12, 24, 36)
    """
    rates = _rates_at(output_stride, model.rates, model.backbone.output_stride)
    return with_output_stride(model, output_stride).clone(rates=rates)


def _rates_at(output_stride: int, rates: tuple[int, ...], old: int) -> tuple[int, ...]:
    """Returns rates that cover as many pixels as `rates` at the output stride `old`."""
    if output_stride < 1 or any(rate * old % output_stride for rate in rates):
        raise ValueError(
            f"Rates {rates} at output stride {old} are not whole numbers at output "
            f"stride {output_stride}; choose a smaller output stride."
        )
    return tuple(rate * old // output_stride for rate in rates)


class DeepLabV3(nn.Module):
    """Backbone, atrous spatial pyramid pooling, classifier, bilinear upsampling to the image.

    `rates` are those for the backbone's output stride: the paper's (6, 12, 18) at 16, (12, 24,
    36) at 8. The default head is torchvision's, which its pretrained weights need. The paper's
    head goes directly from the ASPP to the logits (`extra_conv=False`); its TensorFlow code has
    `dropout=0.1` and `align_corners=True`. `auxiliary=True` adds torchvision's second head on
    `auxiliary_feature` (c3 for MobileNetV3): when training, its logits at the image's size are
    sown under that name into the collection "auxiliary". `dtype` is the head's; None takes the
    backbone's, so the backbone's field sets both. The classifiers and the logits are at least
    float32. `remat` recomputes the pyramid and the head in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
    rates: tuple[int, ...]
    auxiliary: bool = False
    features: int = 256
    dropout: float = 0.5
    extra_conv: bool = True
    align_corners: bool = False
    auxiliary_feature: str = "c4"
    dtype: Any = None
    remat: bool = False

    at_output_stride = with_output_stride_and_rates

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The layers with outputs for each class."""
        return ("classifier", *(["auxiliary_head/classifier"] if self.auxiliary else []))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size; with `train`, sows the auxiliary head's."""
        features = self.backbone(image, train=train)
        dtype, run = head_dtype(self), partial(maybe_remat, remat=self.remat, train=train)
        aspp = ASPP(
            self.rates, features=self.features, dropout=self.dropout, dtype=dtype, name="aspp"
        )
        x = run(aspp.__call__, features["c5"])
        if self.extra_conv:
            head = ConvNormReLU(self.features, 3, dtype=dtype, name="head")
            x = run(head.__call__, x)
        logits = Conv(self.num_classes, 1, dtype=at_least_float32(dtype), name="classifier")(x)

        def auxiliary() -> Array:
            head = FCNHead(self.num_classes, dtype=dtype, name="auxiliary_head")
            return self._upsample(head(features[self.auxiliary_feature], train=train), image)

        sow_auxiliary_head(self, self.auxiliary_feature, auxiliary, train=train)
        return self._upsample(logits, image)

    def _upsample(
        self, logits: Float[Array, "b oh ow k"], image: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w k"]:
        height, width = image.shape[1:3]
        return resize_bilinear(logits, (height, width), align_corners=self.align_corners)


class DeepLabV3Plus(nn.Module):
    """DeepLab v3's encoder, and a decoder with features of stride 4 (v3+, figure 2).

    The decoder concatenates both; two 3×3 convolutions, a classifier and bilinear upsampling
    follow.

    `separable` makes the 3×3 convolutions of pyramid and decoder atrous separable ones, as in
    the released Xception networks; the paper's ResNet-101 decoder has ordinary ones. `rates` as
    in DeepLabV3. `low` names the backbone's feature of stride 4.

    `dropout` and `align_corners` are those of the TensorFlow code, and the decoder's submodules
    have its names. That code differs in three ways. It puts the pooled image first in the
    pyramid; here it is last, as in torchvision (to convert weights, permute the inputs of
    `aspp/project`). It pools windows of the training crop's size; here the entire map is
    pooled. It decays the heads' statistics by 0.9997. `dtype` is the head's; None takes the
    backbone's. The classifier and the logits are at least float32. `remat` recomputes the
    pyramid and each convolution of the decoder in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
    rates: tuple[int, ...]
    separable: bool = True
    low: str = "c2"
    features: int = 256
    low_features: int = 48
    dropout: float = 0.1
    align_corners: bool = True
    dtype: Any = None
    remat: bool = False

    at_output_stride = with_output_stride_and_rates
    classifiers = ("classifier",)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size."""
        features = self.backbone(image, train=train)
        dtype, run = head_dtype(self), partial(maybe_remat, remat=self.remat, train=train)
        aspp = ASPP(
            self.rates,
            features=self.features,
            dropout=self.dropout,
            separable=self.separable,
            dtype=dtype,
            name="aspp",
        )
        projection = ConvNormReLU(self.low_features, 1, dtype=dtype, name="feature_projection0")
        low = projection(features[self.low], train=train)
        x = self._resize(run(aspp.__call__, features["c5"]), low)
        x = jnp.concatenate([x, low], axis=-1)
        conv3x3 = SeparableConv if self.separable else ConvNormReLU
        for name in ("decoder_conv0", "decoder_conv1"):
            conv = conv3x3(self.features, 3, dtype=dtype, name=name)
            x = run(conv.__call__, x)
        logits = Conv(self.num_classes, 1, dtype=at_least_float32(dtype), name="classifier")(x)
        return self._resize(logits, image)

    def _resize(
        self, x: Float[Array, "b h w c"], like: Float[Array, "b oh ow _"]
    ) -> Float[Array, "b oh ow c"]:
        size = (like.shape[1], like.shape[2])
        return resize_bilinear(x, size, align_corners=self.align_corners)

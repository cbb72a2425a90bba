"""DeepLab v3: rethinking atrous convolution (Chen et al., 2017, arXiv:1706.05587)."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, ConvNormReLU, at_least_float32
from segjax.layers.head import FCNHead
from segjax.layers.pyramid import ASPP
from segjax.ops.resize import resize_bilinear


class DeepLabV3(nn.Module):
    """Backbone, atrous spatial pyramid pooling, classifier, bilinear upsampling to the image.

    `rates` are those for the backbone's output stride: the paper's (6, 12, 18) at 16, (12, 24,
    36) at 8. The default head is torchvision's, which its published weights need; the paper's
    goes straight from the ASPP to the logits (`extra_conv=False`), and its TensorFlow code has
    `dropout=0.1`, `align_corners=True`. `auxiliary=True` adds torchvision's second head on c4:
    when training, its logits at the image's size are sown as "c4" into the collection
    "auxiliary". `dtype` is the head's; None takes the backbone's, so that one field there sets
    all. The classifiers and the logits are float32 at least.
    """

    backbone: nn.Module
    num_classes: int
    rates: tuple[int, ...]
    auxiliary: bool = False
    features: int = 256
    dropout: float = 0.5
    extra_conv: bool = True
    align_corners: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size; with `train`, sows the auxiliary head's."""
        features = self.backbone(image, train=train)
        dtype = self.backbone.dtype if self.dtype is None else self.dtype
        aspp = ASPP(
            self.rates, features=self.features, dropout=self.dropout, dtype=dtype, name="aspp"
        )
        x = aspp(features["c5"], train=train)
        if self.extra_conv:
            x = ConvNormReLU(self.features, 3, dtype=dtype, name="head")(x, train=train)
        logits = Conv(self.num_classes, 1, dtype=at_least_float32(dtype), name="classifier")(x)
        # The head's parameters must exist whatever `train` is at initialisation.
        if self.auxiliary and (train or self.is_initializing()):
            head = FCNHead(self.num_classes, dtype=dtype, name="auxiliary_head")
            self._hand_over("c4", self._upsample(head(features["c4"], train=train), image))
        return self._upsample(logits, image)

    def _upsample(
        self, logits: Float[Array, "b oh ow k"], image: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w k"]:
        height, width = image.shape[1:3]
        return resize_bilinear(logits, (height, width), align_corners=self.align_corners)

    def _hand_over(self, name: str, logits: Float[Array, "b h w k"]) -> None:
        if not self.is_initializing():
            newest = lambda _, new: new
            self.sow("auxiliary", name, logits, init_fn=lambda: logits, reduce_fn=newest)

    @nn.nowrap
    def at_output_stride(self, output_stride: int) -> "DeepLabV3":
        """Returns the network at another output stride, with rates that reach equally far.

        Trained variables fit both (section 4.1: trained at 16, evaluated at 8). Multi-grid
        factors stay.

        Raises:
          ValueError: a rate would not be a whole number.

        >>> from segjax.backbones.resnet import ResNet18
        >>> model = DeepLabV3(ResNet18(output_stride=16), num_classes=21, rates=(6, 12, 18))
        >>> model.at_output_stride(8).rates
        (12, 24, 36)
        """
        old = self.backbone.output_stride
        if output_stride < 1 or any(rate * old % output_stride for rate in self.rates):
            raise ValueError(
                f"Rates {self.rates} at output stride {old} are no whole numbers at output "
                f"stride {output_stride}; choose a finer one."
            )
        return self.clone(
            backbone=self.backbone.clone(output_stride=output_stride),
            rates=tuple(rate * old // output_stride for rate in self.rates),
        )

"""PSPNet: pyramid scene parsing network (Zhao et al., 2016, arXiv:1612.01105)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.backbones.output_stride import with_output_stride
from segjax.layers.conv import ConvNormReLU
from segjax.layers.head import FCNHead, head_dtype, sow_auxiliary_head
from segjax.layers.remat import maybe_remat
from segjax.ops.pool import adaptive_avg_pool
from segjax.ops.resize import resize_bilinear


class PyramidPooling(nn.Module):
    """The map, concatenated with its means over 1×1, 2×2, … bins (figure 3c).

    Each map of means passes a 1×1 to an equal part of the channels and is interpolated back. So
    the pyramid adds as many channels as the map has.
    """

    bins: tuple[int, ...] = (1, 2, 3, 6)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w twice_c"]:
        """Returns the channels of `x` and then those of the bins, in their order."""
        height, width, channels = x.shape[1:]
        levels = [x]
        for i, bins in enumerate(self.bins):
            level = ConvNormReLU(
                channels // len(self.bins), 1, dtype=self.dtype, name=f"features_{i}"
            )(adaptive_avg_pool(x, bins), train=train)
            levels.append(resize_bilinear(level, (height, width), align_corners=True))
        return jnp.concatenate(levels, axis=-1)


class PSPNet(nn.Module):
    """Backbone, pyramid pooling, head, bilinear upsampling to the image.

    The authors' PyTorch code uses `ResNet50(deep_stem=True, output_stride=8,
    uniform_dilation=True)` and images of 8n + 1 pixels a side; here other sizes work too.
    `auxiliary=True` adds a head on c4 (figure 4; the paper's weight is 0.4): when training, its
    logits at the image's size are sown as "c4" into the collection "auxiliary". `dtype` is the
    head's; None takes the backbone's. Classifiers and logits are at least float32. `remat`
    recomputes the pyramid and the heads in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
    bins: tuple[int, ...] = (1, 2, 3, 6)
    auxiliary: bool = False
    dropout: float = 0.1
    dtype: Any = None
    remat: bool = False

    at_output_stride = with_output_stride

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The layers with outputs for each class."""
        return ("head/classifier", *(["auxiliary_head/classifier"] if self.auxiliary else []))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size; with `train`, sows the auxiliary head's."""
        features = self.backbone(image, train=train)
        dtype = head_dtype(self)
        size = (image.shape[1], image.shape[2])

        def logits(x: Float[Array, "b oh ow c"], width: int, name: str) -> Array:
            head = FCNHead(self.num_classes, width, self.dropout, True, dtype=dtype, name=name)
            scores = maybe_remat(head.__call__, x, remat=self.remat, train=train)
            return resize_bilinear(scores, size, align_corners=True)

        c4, c5 = features["c4"], features["c5"]
        auxiliary = lambda: logits(c4, c4.shape[-1] // 4, "auxiliary_head")
        sow_auxiliary_head(self, "c4", auxiliary, train=train)
        ppm = PyramidPooling(self.bins, dtype=dtype, name="ppm")
        pyramid = maybe_remat(ppm.__call__, c5, remat=self.remat, train=train)
        return logits(pyramid, c5.shape[-1] // 4, "head")

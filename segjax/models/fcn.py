"""FCN: fully convolutional networks (Long, Shelhamer, Darrell, 2015, arXiv:1411.4038).

`FCN32s`, `FCN16s`, `FCN8s` and `FCN8sAtOnce` are the released Caffe networks on VGG16; `FCN` is
torchvision's head on a dilated ResNet.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.backbones.output_stride import with_output_stride
from segjax.backbones.vgg import CEIL
from segjax.layers.conv import Conv, at_least_float32
from segjax.layers.dropout import Dropout
from segjax.layers.head import FCNHead, head_dtype, sow_auxiliary_head
from segjax.layers.remat import maybe_remat
from segjax.ops.conv import conv_output_size
from segjax.ops.resize import resize_bilinear
from segjax.ops.skip import add_skip
from segjax.ops.transposed import bilinear_kernel, conv_transpose2d

BORDER = 99
"""Zeros around the image; with the 1 of conv1_1 these are the released networks' 100."""

CROPS = {32: 19, 16: 27, 8: 31}
"""Pixels before the image in the last upsampled map, by a network's stride."""

SKIPS = {"c4": 5, "c3": 9}
"""Pixels of pool4 and pool3 to crop before the map that they are added to."""


def sizes(side: int, *, stride: int) -> dict[str, int]:
    """Returns the side of each map of a network, before crops, for an image's side.

    `c1` … `c5` are the pooled maps, `fc6` the scores, `c4+` and `c3+` the upsampled scores to
    which those of pool4 and pool3 are added, and `image` the last upsampled map. The image
    begins at its pixel `CROPS[stride]`, for every side: the border of 100 ensures that.

    >>> sizes(500, stride=16)
    {'c1': 349, 'c2': 175, 'c3': 88, 'c4': 44, 'c5': 22, 'fc6': 16, 'c4+': 34, 'image': 560}
    """
    result, n = {}, side + 2 * BORDER
    for level in range(1, 6):
        result[f"c{level}"] = n = CEIL.size(n, stride=2)
    result["fc6"] = n = conv_output_size(n, 7)
    for level in _skips(stride):
        result[f"{level}+"] = n = _upsampled(n, 2)
    return result | {"image": _upsampled(n, stride)}


def _upsampled(size: int, factor: int) -> int:
    return (size - 1) * factor + 2 * factor


def _skips(stride: int) -> tuple[str, ...]:
    """Returns the maps that join the scores, the coarsest first.

    Raises:
      ValueError: the stride is not 32, 16 or 8.
    """
    if stride not in CROPS:
        raise ValueError(f"FCN's stride must be 32, 16 or 8, got {stride}.")
    return tuple(SKIPS)[: {32: 0, 16: 1, 8: 2}[stride]]


class SkipFCN(nn.Module):
    """VGG16, its classifier as convolutions, skips from pool4 and pool3, fixed upsampling.

    Every image size works. `stride` is that of the finest scores: 32, 16 or 8. Score layers
    start at zero, and the bilinear upsampling is constant, as in the released networks. The
    backbone is `VGG16(pool=CEIL)`. `skip_scales` multiply pool4 and pool3 before their score
    layers. `dtype` is the head's; None takes the backbone's. `remat` recomputes the
    classifier's layers in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
    stride: int = 32
    skip_scales: tuple[float, float] = (1.0, 1.0)
    features: int = 4096
    dropout: float = 0.5
    dtype: Any = None
    remat: bool = False

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The layers with outputs for each class."""
        return ("score_fr", *(f"score_pool{level[1]}" for level in _skips(self.stride)))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size.

        Raises:
          ValueError: the stride is not 32, 16 or 8, or the backbone's maps have other sides.
        """
        border = (BORDER, BORDER)
        maps = self.backbone(jnp.pad(image, ((0, 0), border, border, (0, 0))), train=train)
        self._check(maps, image.shape[1:3])
        scores = maybe_remat(self._classifier, maps["c5"], remat=self.remat, train=train)
        for level, scale in zip(_skips(self.stride), self.skip_scales, strict=False):
            scores = _upsample(scores, 2)
            skip = self._score(maps[level] * scale, f"score_pool{level[1]}")
            scores = add_skip(scores, _crop(skip, SKIPS[level], scores.shape[1:3]))
        return _crop(_upsample(scores, self.stride), CROPS[self.stride], image.shape[1:3])

    def _classifier(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b oh ow k"]:
        """Returns scores of VGG16's three fully connected layers, at every position of 7×7."""
        for name, kernel_size in (("fc6", 7), ("fc7", 1)):
            conv = Conv(
                self.features, kernel_size, padding=0, dtype=head_dtype(self), name=name
            )
            x = conv(x)
            x = Dropout(self.dropout, name=f"drop{name[2]}")(nn.relu(x), train=train)
        return self._score(x, "score_fr")

    def _score(self, x: Float[Array, "b h w c"], name: str) -> Float[Array, "b h w k"]:
        dtype, zeros = at_least_float32(head_dtype(self)), nn.initializers.zeros
        return Conv(self.num_classes, 1, dtype=dtype, kernel_init=zeros, name=name)(x)

    @nn.nowrap
    def _check(self, maps: Any, size: tuple[int, ...]) -> None:
        expected = tuple(sizes(side, stride=self.stride)["c5"] for side in size)
        if maps["c5"].shape[1:3] != expected:
            raise ValueError(
                f"The backbone's c5 is {maps['c5'].shape[1:3]} where FCN's crops expect "
                f"{expected}; give VGG16(pool=CEIL)."
            )


FCN32s = partial(SkipFCN, stride=32)
FCN16s = partial(SkipFCN, stride=16)
FCN8s = partial(SkipFCN, stride=8)
# Trained in one stage: the scales stand in for the falling learning rates of three.
FCN8sAtOnce = partial(SkipFCN, stride=8, skip_scales=(0.01, 0.0001))


def _upsample(x: Float[Array, "b h w k"], factor: int) -> Float[Array, "b oh ow k"]:
    """Returns each class's scores, interpolated by a transposed convolution of 2 · factor taps.

    Classes are separate: each becomes an image of one channel, so no k × k kernel is needed.
    """
    batch, height, width, classes = x.shape
    maps = jnp.moveaxis(x, -1, 1).reshape(batch * classes, height, width, 1)
    kernel = bilinear_kernel(2 * factor, 1).astype(x.dtype)
    maps = conv_transpose2d(maps, kernel, stride=factor)
    return jnp.moveaxis(maps.reshape(batch, classes, *maps.shape[1:3]), 1, -1)


def _crop(
    x: Float[Array, "b h w k"], before: int, size: tuple[int, ...]
) -> Float[Array, "b oh ow k"]:
    return x[:, before : before + size[0], before : before + size[1]]


class FCN(nn.Module):
    """torchvision's FCN: a dilated ResNet, 3×3 and 1×1, bilinear upsampling to the image.

    `auxiliary=True` adds a second head on c4: when training, its logits at the image's size are
    sown as "c4" into the collection "auxiliary". `dtype` is the heads'; None takes the
    backbone's. `remat` recomputes the heads in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
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

        def logits(x: Float[Array, "b oh ow c"], name: str) -> Array:
            head = FCNHead(self.num_classes, dropout=self.dropout, dtype=dtype, name=name)
            scores = maybe_remat(head.__call__, x, remat=self.remat, train=train)
            return resize_bilinear(scores, size)

        auxiliary = lambda: logits(features["c4"], "auxiliary_head")
        sow_auxiliary_head(self, "c4", auxiliary, train=train)
        return logits(features["c5"], "head")

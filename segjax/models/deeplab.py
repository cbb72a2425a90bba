"""DeepLab v1 (Chen et al., 2014, arXiv:1412.7062) and v2 (2016, arXiv:1606.00915).

Both return scores on the backbone's grid, score i at pixel 8 · i, and are trained there, with
the labels of every eighth pixel. `label_stride` tells the train step and the predictors so. (v3
is in `deeplab_v3`.) For Caffe's weights use `normalize=experiment.CAFFE`.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, at_least_float32
from segjax.layers.dropout import Dropout
from segjax.layers.head import head_dtype, sow_auxiliary
from segjax.layers.remat import maybe_remat
from segjax.ops.resize import resize_bilinear

# The property `label_stride` of both networks.
_pixels_between_scores = property(lambda model: model.backbone.output_stride)
gaussian_init = nn.initializers.normal(0.01)
"""The released networks' initialiser, for every layer without pretrained weights."""


class DeepLabV1(nn.Module):
    """VGG16 at output stride 8, its classifier as an atrous convolution, scores on its grid.

    The networks of table 2 differ in fc6: `kernel_size` taps at distance `rate`. fc6 and fc7
    have equally many filters. LargeFOV is the default; the others are `DeepLab7x7`,
    `DeepLab4x4` (field 128) and `DeepLab4x4Rate8` (field 224). The backbone is
    `VGG16(output_stride=8, pool=DEEPLAB)`. `multi_scale=True` is DeepLab-MSc (section 3.4): the
    image and the first four pooled maps each pass two layers and are concatenated with fc7.
    `average_pool` smooths before fc6, as several ports of the released network do; the paper
    does not. `dtype` is the head's; None takes the backbone's. `remat` recomputes fc6 and fc7
    in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
    kernel_size: int = 3
    rate: int = 12
    features: int = 1024
    multi_scale: bool = False
    average_pool: bool = False
    dropout: float = 0.5
    dtype: Any = None
    remat: bool = False

    label_stride = _pixels_between_scores

    classifiers = ("fc8",)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b oh ow k"]:
        """Returns the logits of every `label_stride`-th pixel."""
        maps, dtype = self.backbone(image, train=train), head_dtype(self)
        x = maps["c5"]
        if self.average_pool:
            x = nn.avg_pool(x, (3, 3), padding="SAME")  # Zeros outside count, as in Caffe.
        x = maybe_remat(self._classifier, x, remat=self.remat, train=train)
        if self.multi_scale:
            x = jnp.concatenate([x, *self._side_maps({"c0": image, **maps}, dtype)], axis=-1)
        dtype = at_least_float32(dtype)
        return Conv(self.num_classes, 1, dtype=dtype, kernel_init=gaussian_init, name="fc8")(x)

    def _classifier(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w f"]:
        """Returns the output of fc7, from c5."""
        conv = partial(Conv, self.features, dtype=head_dtype(self))
        for i, kernel_size, rate in ((6, self.kernel_size, self.rate), (7, 1, 1)):
            x = nn.relu(conv(kernel_size, dilation=rate, name=f"fc{i}")(x))
            x = Dropout(self.dropout, name=f"drop{i}")(x, train=train)
        return x

    def _side_maps(self, maps: dict[str, Array], dtype: Any) -> list[Array]:
        """Returns 128 channels of the image and of each of four pooled maps, on fc7's grid."""
        result = []
        for level in range(5):
            # The strides that the main path still takes: both see every eighth pixel.
            stride = max(self.backbone.output_stride // 2**level, 1)
            conv = partial(Conv, 128, dtype=dtype, kernel_init=gaussian_init)
            y = nn.relu(conv(3, stride=stride, name=f"msc{level}_1")(maps[f"c{level}"]))
            result.append(nn.relu(conv(1, name=f"msc{level}_2")(y)))
        return result


DeepLab7x7 = partial(DeepLabV1, kernel_size=7, rate=4, features=4096)
DeepLab4x4 = partial(DeepLabV1, kernel_size=4, rate=4, features=4096)
DeepLab4x4Rate8 = partial(DeepLabV1, kernel_size=4, rate=8, features=4096)


class AtrousScores(nn.Module):
    """v2's atrous spatial pyramid pooling (section 3.2): a classifier for each rate, summed.

    With `hidden` features each classifier is fc6, fc7 and fc8 (VGG16, figure 7); with None it
    is a single 3×3 (ResNet-101).
    """

    num_classes: int
    rates: tuple[int, ...]
    hidden: int | None
    dropout: float
    dtype: Any
    remat: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w k"]:
        """Returns scores of the same size."""
        branches = [
            maybe_remat(self._branch, x, i=i, remat=self.remat, train=train)
            for i in range(len(self.rates))
        ]
        return reduce(jnp.add, branches)

    def _branch(self, x: Float[Array, "b h w c"], *, i: int, train: bool) -> Array:
        conv = partial(Conv, dtype=self.dtype)
        classify = partial(
            Conv,
            self.num_classes,
            dtype=at_least_float32(self.dtype),
            kernel_init=gaussian_init,
        )
        if self.hidden is None:
            return classify(3, dilation=self.rates[i], name=f"c{i}")(x)
        for name, size, rate in ((f"fc6_{i + 1}", 3, self.rates[i]), (f"fc7_{i + 1}", 1, 1)):
            x = nn.relu(conv(self.hidden, size, dilation=rate, name=name)(x))
            x = Dropout(self.dropout, name=f"drop{name[2:]}")(x, train=train)
        return classify(1, name=f"fc8_{i + 1}")(x)


class DeepLabV2(nn.Module):
    """Backbone at output stride 8, `AtrousScores`, the maximum over scales of the image.

    VGG16: `hidden=1024` and `VGG16(output_stride=8, pool=DEEPLAB)`; `rates` are (6, 12, 18, 24)
    for ASPP-L and (2, 4, 8, 12) for ASPP-S. ResNet-101: `hidden=None`, `scales=(0.5, 0.75,
    1.0)`, and `ResNet101(output_stride=8, block=BottleneckV1)` for the released weights; the
    paper freezes its normalisation. With several scales, each scale's scores are resized to the
    grid of scale 1 and sown as "scale_0.5", … into the collection "auxiliary" when training.
    The paper adds their losses with weight 1 (`auxiliary_weight`). `dtype` is the head's; None
    takes the backbone's. `remat` recomputes each branch in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
    rates: tuple[int, ...] = (6, 12, 18, 24)
    hidden: int | None = None
    scales: tuple[float, ...] = (1.0,)
    dropout: float = 0.5
    dtype: Any = None
    remat: bool = False

    label_stride = _pixels_between_scores

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The layers with outputs for each class."""
        branches = range(len(self.rates))
        names = [f"c{i}" if self.hidden is None else f"fc8_{i + 1}" for i in branches]
        return tuple(f"aspp/{name}" for name in names)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b oh ow k"]:
        """Returns logits of every `label_stride`-th pixel; with `train`, sows each scale's.

        Raises:
          ValueError: there is no scale.
        """
        if not self.scales:
            raise ValueError("scales=() is empty; give at least one scale, such as (1.0,).")
        aspp = AtrousScores(
            self.num_classes,
            self.rates,
            self.hidden,
            self.dropout,
            head_dtype(self),
            self.remat,
            name="aspp",
        )
        scores = lambda x: aspp(self.backbone(x, train=train)["c5"], train=train)
        by_scale = [self._at_scale(scores, image, scale) for scale in self.scales]
        if train and len(self.scales) > 1:
            for scale, logits in zip(self.scales, by_scale, strict=True):
                sow_auxiliary(self, f"scale_{scale:g}", logits)
        return reduce(jnp.maximum, by_scale)

    def _at_scale(
        self, scores: Callable[[Array], Array], image: Float[Array, "b h w c"], scale: float
    ) -> Float[Array, "b oh ow k"]:
        """Returns the scores of a resized image, on the grid of the full-size image.

        Corners of image and scores are aligned, as in Caffe's Interp layer: 321 pixels become
        241 and 161, and their 31 and 21 scores become 41.
        """
        height, width = image.shape[1:3]
        resize = partial(resize_bilinear, align_corners=True)
        smaller = resize(image, (int((height - 1) * scale) + 1, int((width - 1) * scale) + 1))
        stride = self.label_stride
        return resize(scores(smaller), (-(-height // stride), -(-width // stride)))

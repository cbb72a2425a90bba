"""Mask R-CNN (He et al., 2017, arXiv:1703.06870) on a feature pyramid, as in torchvision.

`FasterRCNN` (Ren et al., 2015, arXiv:1506.01497) is the same without the mask head. `V2` are
torchvision's second versions (Li et al., 2021, arXiv:2111.11429). The functions between the
parts (proposals, sampling, suppression) are in `segjax.detection`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from segjax.layers.conv import Conv, ConvNormReLU, ConvTranspose, at_least_float32
from segjax.layers.fpn import FPN
from segjax.layers.head import head_dtype
from segjax.layers.norm import BatchNorm
from segjax.ops.anchors import anchors as level_anchors
from segjax.ops.roi_align import roi_align, roi_levels

_linear_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""PyTorch's default of a fully connected layer: uniform up to 1 / √inputs."""

Levels = Sequence[Float[Array, "b _ _ f"]]


class Outputs(NamedTuple):
    """The outputs of all parts.

    Attributes:
      rpn: (objectness, deltas) of each level, as `MaskRCNN.rpn` returns them.
      boxes: (logits, deltas) of one box, the whole first image.
      masks: mask logits of that box; None without a mask head.
    """

    rpn: tuple
    boxes: tuple[Array, Array]
    masks: Array | None


class RPNHead(nn.Module):
    """3×3 convolutions with ReLU, then two 1×1 (Ren et al., section 3.1), for each level."""

    shapes: int
    convs: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w f"]
    ) -> tuple[Float[Array, "b h w a"], Float[Array, "b h w a 4"]]:
        """Returns objectness logits and encoded boxes of the anchors of each position."""
        conv = partial(Conv, kernel_init=nn.initializers.normal(0.01))
        for i in range(self.convs):
            x = nn.relu(conv(x.shape[-1], 3, dtype=self.dtype, name=f"conv_{i}")(x))
        dtype = at_least_float32(self.dtype)
        objectness = conv(self.shapes, 1, dtype=dtype, name="cls_logits")(x)
        deltas = conv(4 * self.shapes, 1, dtype=dtype, name="bbox_pred")(x)
        return objectness, deltas.reshape(*objectness.shape, 4)


class BoxHead(nn.Module):
    """Convolutions, if there are any, then fully connected layers with ReLU, from `fc6` on.

    A fully connected layer is a 1×1 convolution; fc6 reads rows, columns, channels, in this
    order.
    """

    convs: int
    layers: int
    hidden: int
    norm_layer: Callable[..., nn.Module] | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "r s s f"], *, train: bool) -> Float[Array, "r 1 1 o"]:
        """Returns `hidden` numbers for each box."""
        x = _convs(self, x, train=train).reshape(len(x), 1, 1, -1)
        for i in range(self.layers):
            layer = Conv(
                self.hidden, 1, dtype=self.dtype, kernel_init=_linear_init, name=f"fc{6 + i}"
            )
            x = nn.relu(layer(x))
        return x


class BoxPredictor(nn.Module):
    """Two fully connected layers: a score and an encoded box for each class."""

    num_classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "r 1 1 o"]
    ) -> tuple[Float[Array, "r k"], Float[Array, "r k 4"]]:
        """Returns logits and encoded boxes."""
        linear = partial(Conv, kernel_size=1, dtype=self.dtype, kernel_init=_linear_init)
        logits = linear(self.num_classes, name="cls_score")(x)
        deltas = linear(4 * self.num_classes, name="bbox_pred")(x)
        return logits[:, 0, 0], deltas.reshape(len(x), self.num_classes, 4)


class MaskHead(nn.Module):
    """3×3 convolutions with ReLU (figure 4, right)."""

    convs: int = 4
    norm_layer: Callable[..., nn.Module] | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "r s s f"], *, train: bool) -> Float[Array, "r s s f"]:
        """Returns features of the same shape."""
        return _convs(self, x, train=train)


def _convs(
    head: BoxHead | MaskHead, x: Float[Array, "r s s f"], *, train: bool
) -> Float[Array, "r s s f"]:
    """Returns the output of a head's 3×3 convolutions, which belong to the head."""
    options, width = {"dtype": head.dtype}, x.shape[-1]
    for i in range(head.convs):
        if head.norm_layer is None:
            x = nn.relu(Conv(width, 3, **options, name=f"conv_{i}")(x))
        else:
            norm = {"norm_layer": head.norm_layer, "name": f"conv_{i}"}
            x = ConvNormReLU(width, 3, **options, **norm)(x, train=train)
    return x


class MaskPredictor(nn.Module):
    """2×2 transposed convolution with ReLU, then 1×1: a mask for each class (figure 4)."""

    num_classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "r s s f"]) -> Float[Array, "r 2*s 2*s k"]:
        """Returns mask logits at twice the size."""
        up = ConvTranspose(x.shape[-1], 2, stride=2, dtype=self.dtype, name="conv5_mask")
        dtype = at_least_float32(self.dtype)
        return Conv(self.num_classes, 1, dtype=dtype, name="mask_fcn_logits")(nn.relu(up(x)))


class MaskRCNN(nn.Module):
    """A box and a mask for each object: proposals, then a class, a box and a mask for each.

    `num_classes` counts the background, class 0. The methods are the parts between which
    `segjax.detection` stands; call them by `model.apply(variables, …, method=…)`. Layers have
    torchvision's names. All biases start at 0; in torchvision those of the fully connected
    layers and of the mask predictor are random.

    Two differences in training with a `head_norm`: torchvision's mask head sees only proposals
    that show an object, here it sees a fixed number of slots, and empty ones too.

    Attributes:
      backbone: has c2 … c5. `norm=FrozenBatchNorm` keeps its norms constant, as torchvision
        does when it starts from pretrained weights; its published first versions need
        `partial(FrozenBatchNorm, epsilon=0.0)`. `block=BottleneckV1` is detectron2's.
      num_classes: with the background.
      has_masks: False is Faster R-CNN.
      channels: of the pyramid and the heads' convolutions.
      hidden: channels of the fully connected layers.
      rpn_convs, box_convs, box_layers: layers of the RPN and the box head.
      head_norm: norm of the pyramid and both heads, or None.
      box_pool, mask_pool: bins of RoIAlign for the two heads.
      anchor_sizes: one for each level, P2 … P6, in pixels.
      anchor_ratios: heights over widths.
      rounded: whether anchors are rounded; False in detectron2.
      aligned, samples, most_samples: RoIAlign's convention; True, 0 and a bound in detectron2.
      inside_log: detectron2's rule for the level of a box.
      dtype: of pyramid and heads; None takes the backbone's. Scores are at least float32.
    """

    backbone: nn.Module
    num_classes: int
    has_masks: bool = True
    channels: int = 256
    hidden: int = 1024
    rpn_convs: int = 1
    box_convs: int = 0
    box_layers: int = 2
    head_norm: Callable[..., nn.Module] | None = None
    box_pool: int = 7
    mask_pool: int = 14
    anchor_sizes: tuple[int | float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    rounded: bool = True
    aligned: bool = False
    samples: int = 2
    most_samples: int | None = None
    inside_log: bool = False
    dtype: Any = None

    box_predictor_type: ClassVar[type[BoxPredictor]] = BoxPredictor

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The layers whose shapes depend on `num_classes`."""
        return ("box_predictor", *(("mask_predictor/mask_fcn_logits",) * self.has_masks))

    @property
    def predicted(self) -> tuple[int, int]:
        """The numbers of classes of the box predictor and of the mask predictor."""
        return self.num_classes, self.num_classes

    def setup(self) -> None:
        """Makes the parts."""
        dtype = head_dtype(self)
        normed = {"norm_layer": self.head_norm, "dtype": dtype}
        with_boxes, with_masks = self.predicted
        self.fpn = FPN(self.channels, **normed)
        self.rpn_head = RPNHead(len(self.anchor_ratios), self.rpn_convs, dtype=dtype)
        self.box_head = BoxHead(self.box_convs, self.box_layers, self.hidden, **normed)
        self.box_predictor = self.box_predictor_type(with_boxes, dtype=at_least_float32(dtype))
        if self.has_masks:
            self.mask_head = MaskHead(**normed)
            self.mask_predictor = MaskPredictor(with_masks, dtype=dtype)

    def features(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> tuple[Float[Array, "b _ _ f"], ...]:
        """Returns P2 … P6 of normalised images."""
        return self.fpn(self.backbone(image, train=train), train=train)

    def rpn(
        self, features: Levels
    ) -> tuple[tuple[Float[Array, "b _ _ a"], Float[Array, "b _ _ a 4"]], ...]:
        """Returns (objectness logits, encoded boxes) of the anchors of each level."""
        return tuple(self.rpn_head(level) for level in features)

    @nn.nowrap
    def anchors(
        self, features: Levels, canvas: tuple[int, int]
    ) -> tuple[Float[Array, "_ 4"], ...]:
        """Returns the anchors of each level of a canvas of (height, width), (h·w·a) 4."""
        result = []
        for level, size in zip(features, self.anchor_sizes, strict=True):
            grid = (level.shape[1], level.shape[2])
            stride = (canvas[0] // grid[0], canvas[1] // grid[1])
            options = {"ratios": self.anchor_ratios, "rounded": self.rounded}
            result.append(level_anchors(grid, stride=stride, sizes=(size,), **options))
        return tuple(result)

    @nn.nowrap
    def pool(
        self,
        features: Levels,
        boxes: Float[Array, "r 4"],
        images: Integer[Array, "r"],
        *,
        size: int,
    ) -> Float[Array, "r s s f"]:
        """Returns the features of each box of its image, from that of P2 … P5 that fits."""
        strides = [float(min(2**k, self.backbone.output_stride)) for k in range(2, 6)]
        return roi_align(
            features[:4],
            boxes,
            images,
            roi_levels(boxes, inside_log=self.inside_log),
            strides=strides,
            size=size,
            samples=self.samples,
            most_samples=self.most_samples,
            aligned=self.aligned,
        )

    def boxes(
        self, pooled: Float[Array, "r s s f"], *, train: bool = False
    ) -> tuple[Float[Array, "r k"], Float[Array, "r k 4"]]:
        """Returns logits and encoded boxes of each class, from boxes pooled to `box_pool`."""
        return self.box_predictor(self.box_head(pooled, train=train))

    def masks(
        self, pooled: Float[Array, "r s s f"], *, train: bool = False
    ) -> Float[Array, "r 2*s 2*s k"]:
        """Returns mask logits of each class, from boxes pooled to `mask_pool`."""
        return self.mask_predictor(self.mask_head(pooled, train=train))

    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Outputs:
        """Returns what all parts return, for one box: the whole first image."""
        features = self.features(image, train=train)
        return self.of_first_image(features, image, train=train)

    def of_first_image(
        self, features: Levels, image: Float[Array, "b h w c"], *, train: bool
    ) -> Outputs:
        """Returns the heads' outputs for one box, the whole first image."""
        _, height, width, _ = image.shape
        box = jnp.asarray([[0, 0, width, height]], jnp.float32)
        pooled = partial(self.pool, features, box, jnp.zeros(1, jnp.int32))
        boxes = self.boxes(pooled(size=self.box_pool), train=train)
        masks = None
        if self.has_masks:
            masks = self.masks(pooled(size=self.mask_pool), train=train)
        return Outputs(self.rpn(features), boxes, masks)


_V2 = {"head_norm": BatchNorm, "rpn_convs": 2, "box_convs": 4, "box_layers": 1}

FasterRCNN = partial(MaskRCNN, has_masks=False)
MaskRCNNV2 = partial(MaskRCNN, **_V2)
FasterRCNNV2 = partial(MaskRCNN, has_masks=False, **_V2)

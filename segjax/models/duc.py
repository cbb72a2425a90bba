"""DUC and HDC (Wang et al., 2018, Understanding Convolution for …, arXiv:1702.08502).

Hybrid dilated convolution (section 3.2): the units of layer3 and layer4 have rates without a
common factor, so that the stack skips no pixel (`segjax.explain rates`). The paper compares
four assignments for ResNet-101 at output stride 8, here as `ResNet101(rates=…)`:

    HDC_NONE      1 everywhere
    HDC_CONV      2, 1, 2, 1, …
    HDC_RF        1, 2, 3, …, the last two 2        3, 4, 5
    HDC_BIGGER    1, 2, 5, 9, …                     5, 9, 17

HDC_BIGGER is that of the authors' code, whose layer3 begins with 2 where the paper has 1. Their
code does not contain the other three, which are not verified. The paper gives receptive fields
of 54, 88, 116 and 256; 2 · Σ rates is 116 for HDC_RF too, but 52, 80 and 250 for the others.
"""

from functools import partial
from itertools import cycle, islice
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, at_least_float32
from segjax.layers.head import head_dtype
from segjax.layers.remat import maybe_remat
from segjax.ops.padding import pad_to_multiple
from segjax.ops.resize import resize_bilinear
from segjax.ops.shuffle import depth_to_space

_in_turn = lambda rates, count: tuple(islice(cycle(rates), count))

HDC_NONE = ((3, _in_turn((1,), 23)), (4, (1, 1, 1)))
HDC_CONV = ((3, _in_turn((2, 1), 23)), (4, (2, 1, 2)))
HDC_RF = ((3, (*_in_turn((1, 2, 3), 21), 2, 2)), (4, (3, 4, 5)))
HDC_BIGGER = ((3, (2, *_in_turn((2, 5, 9, 1), 22))), (4, (5, 9, 17)))


class DUC(nn.Module):
    """Backbone, atrous pyramid of summed scores, dense upsampling convolution (figure 1).

    Each 3×3 of the pyramid returns, for each pixel of the map, the scores of every label at
    (output stride / cell)² positions, label by label as in the authors' code. Their sum is
    rearranged to an image, which is `cell` times smaller than the input, and interpolated. The
    authors train that small image on labels subsampled by `cell`, and enlarge probabilities;
    here the logits are enlarged.

    The authors' network is `DUC(ResNet101(block=BottleneckV1, deep_stem=True, output_stride=8,
    rates=HDC_BIGGER), num_classes=19, cell=2)`, except that its max-pool pads nothing, so its
    windows lie a pixel further down and right. The image is mirror-padded inside to a multiple
    of the output stride, so every size works. Scores and logits are at least float32. `dtype`
    is the branches'; None takes the backbone's. `remat` recomputes the branches in the backward
    pass.
    """

    backbone: nn.Module
    num_classes: int
    cell: int = 1
    rates: tuple[int, ...] = (6, 12, 18, 24)
    dtype: Any = None
    remat: bool = False

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The layers with outputs for each class."""
        return tuple(f"branch_{i}" for i in range(len(self.rates)))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size.

        Raises:
          ValueError: the output stride is not a multiple of `cell`.
        """
        stride = self.backbone.output_stride
        if self.cell < 1 or stride % self.cell:
            raise ValueError(
                f"cell={self.cell} must divide the backbone's output stride, {stride}."
            )
        factor = stride // self.cell
        padded, crop = pad_to_multiple(image, stride)
        x = self.backbone(padded, train=train)["c5"]
        scores = maybe_remat(self._scores, x, factor=factor, remat=self.remat)
        return crop(resize_bilinear(scores, (padded.shape[1], padded.shape[2])))

    def _scores(self, x: Float[Array, "b h w c"], *, factor: int) -> Float[Array, "b oh ow k"]:
        """Returns factor × factor scores for each position and class."""
        conv = partial(
            Conv,
            self.num_classes * factor**2,
            3,
            dtype=at_least_float32(head_dtype(self)),
        )
        branches = [
            conv(dilation=rate, name=f"branch_{i}")(x) for i, rate in enumerate(self.rates)
        ]
        return depth_to_space(sum(branches[1:], branches[0]), factor)

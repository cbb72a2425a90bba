"""DeepLab v3's cascade, going deeper (Chen et al., 2017, arXiv:1706.05587, section 3.1)."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from segjax.backbones.output_stride import Stage, with_output_stride
from segjax.backbones.resnet import ResNet
from segjax.layers.conv import Conv, at_least_float32
from segjax.layers.head import head_dtype
from segjax.layers.remat import maybe_remat
from segjax.ops.resize import resize_bilinear


class DeepLabV3Cascade(nn.Module):
    """ResNet, its last stage copied as block5 … block7, classifier, upsampling (figure 3).

    Each copy halves the resolution, or doubles the dilation once `output_stride` is reached:
    rates 4, 8 and 16 at output stride 16. `output_stride` is that of the entire network, up to
    256 with three copies; None takes the backbone's, which is at most 32. The backbone's
    multi-grid applies to the copies too (section 3.2). A copy that halves the resolution does
    so before its first unit (the TensorFlow code: at the end of the block before), so
    parameters do not depend on the output stride. `remat`, here or in the backbone, recomputes
    the copies' units in the backward pass.
    """

    backbone: ResNet
    num_classes: int
    copies: int = 3
    output_stride: int | None = None
    align_corners: bool = True
    dtype: Any = None
    remat: bool = False

    classifiers = ("classifier",)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size.

        Raises:
          ValueError: the backbone and its copies cannot give this output stride.
        """
        steps = self._steps()
        dtype, remat = head_dtype(self), self.remat or self.backbone.remat
        x = self.backbone(image, train=train)["c5"]
        width = self.backbone.width * 2 ** (len(self.backbone.stages) - 1)
        for i, (step, dilation) in enumerate(steps, start=5):
            x = x[:, ::step, ::step]
            stage = Stage(1, dilation, dilation)
            units = stage.units(self.backbone.stages[-1], self.backbone.multi_grid)
            for j, unit in enumerate(units):
                block = self.backbone.block(
                    width, unit, dtype=dtype, norm=self.backbone.norm, name=f"block{i}_{j}"
                )
                x = maybe_remat(block.__call__, x, remat=remat, train=train)
        logits = Conv(self.num_classes, 1, dtype=at_least_float32(dtype), name="classifier")(x)
        size = (image.shape[1], image.shape[2])
        return resize_bilinear(logits, size, align_corners=self.align_corners)

    @nn.nowrap
    def _steps(self) -> list[tuple[int, int]]:
        """Returns each copy's stride, 1 or 2, and its dilation."""
        reached = self.backbone.output_stride
        wanted = reached if self.output_stride is None else self.output_stride
        strided = (wanted // reached).bit_length() - 1
        if wanted != reached << max(strided, 0) or (strided and reached != 32):
            raise ValueError(
                f"Output stride {wanted} does not fit a backbone of output stride {reached}: "
                "give the backbone's, or a larger power of two on a backbone of 32."
            )
        if strided > self.copies:
            raise ValueError(
                f"{self.copies} copies reach output stride {32 << self.copies} at most, got "
                f"{wanted}; give more copies or a smaller output stride."
            )
        first = 32 // reached
        return [(2, first)] * strided + [
            (1, first << i) for i in range(1, self.copies - strided + 1)
        ]

    @nn.nowrap
    def at_output_stride(self, output_stride: int) -> "DeepLabV3Cascade":
        """Returns the network at another output stride; the same variables fit both."""
        dense = with_output_stride(self, min(output_stride, 32))
        return dense.clone(output_stride=output_stride)

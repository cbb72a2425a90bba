"""RefineNet: multi-path refinement (Lin, Milan, Shen, Reid, 2016, arXiv:1611.06612)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, at_least_float32
from segjax.layers.dropout import Dropout
from segjax.layers.head import head_dtype
from segjax.layers.remat import maybe_remat
from segjax.ops.pool import max_pool
from segjax.ops.resize import resize_bilinear
from segjax.ops.skip import add_skip


class ResidualUnit(nn.Module):
    """Twice ReLU and 3×3, and a shortcut around them, without normalisation (figure 3b)."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Returns `x` plus the output of the convolutions."""
        y = Conv(x.shape[-1], 3, dtype=self.dtype, name="conv0")(nn.relu(x))
        y = Conv(x.shape[-1], 3, use_bias=False, dtype=self.dtype, name="conv1")(nn.relu(y))
        return add_skip(y, x)


class ChainedPooling(nn.Module):
    """A chain of 5×5 max-pool and 3×3, each result added to the sum (figure 3d)."""

    pools: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Returns `x` plus the result of each link of the chain."""
        total, top = x, x
        for i in range(self.pools):
            top = max_pool(top, window=5, stride=1, padding=2)
            top = Conv(x.shape[-1], 3, use_bias=False, dtype=self.dtype, name=f"conv{i}")(top)
            total = add_skip(total, top)
        return total


class Refine(nn.Module):
    """One path: adapt the backbone's map, fuse it with the deeper path, pool, refine."""

    features: int
    pools: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], deeper: Float[Array, "b dh dw f"] | None
    ) -> Float[Array, "b h w f"]:
        """Returns `features` channels of the size of `x`; `deeper` has as many channels."""
        y = self._conv("reduce")(x)
        for i in range(2):
            y = ResidualUnit(dtype=self.dtype, name=f"adapt{i}")(y)
        if deeper is not None:
            enlarged = resize_bilinear(deeper, (x.shape[1], x.shape[2]), align_corners=True)
            y = add_skip(self._conv("fuse")(y), enlarged)
        y = ChainedPooling(self.pools, dtype=self.dtype, name="pool")(nn.relu(y))
        for i in range(3):
            y = ResidualUnit(dtype=self.dtype, name=f"output{i}")(y)
        return y

    def _conv(self, name: str) -> Conv:
        return Conv(self.features, 3, use_bias=False, dtype=self.dtype, name=name)


class RefineNet(nn.Module):
    """Backbone, four paths from the deepest map to the finest, classifier, upsampling.

    It follows the released code (Matlab, and a PyTorch port): the deepest path has twice the
    features, two residual units adapt each map and three refine it, and the chain pools four
    times. Logits at a quarter of the image are interpolated with aligned corners, like the maps
    inside. Every size works. `dropout` is on c4 and c5 and before the classifier. `dtype` is
    the decoder's; None takes the backbone's. The classifier and the logits are at least
    float32. `remat` recomputes each path in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
    features: int = 256
    pools: int = 4
    dropout: float = 0.5
    dtype: Any = None
    remat: bool = False

    classifiers = ("classifier",)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size."""
        maps = dict(self.backbone(image, train=train))
        dtype = head_dtype(self)
        for name in ("c4", "c5"):
            dropout = Dropout(self.dropout, name=f"dropout_{name}")
            maps[name] = dropout(maps[name], train=train)
        x = None
        for name in ("c5", "c4", "c3", "c2"):
            width = 2 * self.features if x is None else self.features
            refine = Refine(width, self.pools, dtype=dtype, name=f"refine_{name}")
            x = maybe_remat(refine.__call__, maps[name], x, remat=self.remat)
            if name != "c2":
                x = self._project(x, dtype, name=f"project_{name}")
        x = Dropout(self.dropout, name="dropout")(x, train=train)
        classifier = Conv(self.num_classes, 3, dtype=at_least_float32(dtype), name="classifier")
        size = (image.shape[1], image.shape[2])
        return resize_bilinear(classifier(x), size, align_corners=True)

    def _project(
        self, x: Float[Array, "b h w c"], dtype: Any, *, name: str
    ) -> Float[Array, "b h w f"]:
        return Conv(self.features, 3, use_bias=False, dtype=dtype, name=name)(x)

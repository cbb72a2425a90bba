"""U²-Net: going deeper with nested U-structure (Qin et al., 2020, arXiv:2005.09007)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, at_least_float32
from segjax.layers.head import sow_auxiliary
from segjax.layers.norm import BatchNorm
from segjax.layers.remat import maybe_remat
from segjax.ops.pool import max_pool
from segjax.ops.resize import resize_bilinear


class REBNConv(nn.Module):
    """A 3×3 convolution with bias (as released), batch normalisation, ReLU."""

    features: int
    dilation: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w f"]:
        """Returns `features` channels, at least 0."""
        conv = Conv(self.features, 3, dilation=self.dilation, dtype=self.dtype, name="conv_s1")
        return nn.relu(BatchNorm(dtype=self.dtype, name="bn_s1")(conv(x), train=train))


class RSU(nn.Module):
    """Residual U-block RSU-L(c, `middle`, `features`), L = `depth` (section 3.1, figure 2d).

    A U-Net with L levels and L − 2 pools, whose last level has dilation 2; its output is added
    to that of its input convolution. `dilated` is the paper's RSU-4F: no pools, and level l
    dilates by 2ˡ⁻¹.
    """

    depth: int
    middle: int
    features: int
    dilated: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w f"]:
        """Returns `features` channels of the same size."""
        first = x = self._unit(self.features, 1, "rebnconvin")(x, train=train)
        levels = []
        for level in range(1, self.depth + 1):
            if not self.dilated and 1 < level < self.depth:
                x = _pool(x)
            dilation = self._dilation(level)
            x = self._unit(self.middle, dilation, f"rebnconv{level}")(x, train=train)
            levels.append(x)
        for level in range(self.depth - 1, 0, -1):
            joined = _join(x, levels[level - 1])
            features = self.middle if level > 1 else self.features
            # RSU-L dilates only at the bottom, which has no counterpart in the decoder.
            dilation = self._dilation(level)
            x = self._unit(features, dilation, f"rebnconv{level}d")(joined, train=train)
        return x + first

    def _dilation(self, level: int) -> int:
        if self.dilated:
            return 2 ** (level - 1)
        return 2 if level == self.depth else 1

    def _unit(self, features: int, dilation: int, name: str) -> REBNConv:
        return REBNConv(features, dilation, self.dtype, name=name)


class U2Net(nn.Module):
    """A U-Net of residual U-blocks, and the fusion of its six side outputs (figure 5).

    `encoder` and `decoder` hold each stage's (depth, middle, features), stage 1 first; stages
    of the last two resolutions are RSU-4F. The logits are the fusion d0. When training, the
    side outputs d1 … d6, also at the image's size, are sown into the collection "auxiliary";
    the paper's loss is the sum of all seven (section 3.3). Pools round up, and maps are resized
    to the maps they join, so every image size works. The paper has one class, salient or not.
    `remat` recomputes each stage in the backward pass.
    """

    num_classes: int
    encoder: tuple[tuple[int, int, int], ...] = (
        (7, 32, 64),
        (6, 32, 128),
        (5, 64, 256),
        (4, 128, 512),
        (4, 256, 512),
        (4, 256, 512),
    )
    decoder: tuple[tuple[int, int, int], ...] = (
        (7, 16, 64),
        (6, 32, 64),
        (5, 64, 128),
        (4, 128, 256),
        (4, 256, 512),
    )
    dtype: Any = jnp.float32
    remat: bool = False

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The fusion and the side outputs."""
        return ("outconv", *(f"side{i}" for i in range(1, len(self.encoder) + 1)))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size; with `train`, sows the side outputs.

        Raises:
          ValueError: the decoder does not have one stage fewer than the encoder.
        """
        if len(self.decoder) != len(self.encoder) - 1:
            raise ValueError(
                f"An encoder of {len(self.encoder)} stages needs a decoder of one stage fewer, "
                f"got {len(self.decoder)}."
            )
        x, stages = image, []
        run = partial(maybe_remat, remat=self.remat, train=train)
        for i, sizes in enumerate(self.encoder, start=1):
            stage = self._stage(i, sizes, f"stage{i}")
            x = run(stage.__call__, _pool(x) if i > 1 else x)
            stages.append(x)
        for i in range(len(self.decoder), 0, -1):
            joined = _join(stages[i], stages[i - 1])
            stage = self._stage(i, self.decoder[i - 1], f"stage{i}d")
            stages[i - 1] = run(stage.__call__, joined)
        sides = [self._side(x, i, image) for i, x in enumerate(stages, start=1)]
        if train:
            for i, side in enumerate(sides, start=1):
                sow_auxiliary(self, f"d{i}", side)
        dtype = at_least_float32(self.dtype)
        fusion = Conv(self.num_classes, 1, dtype=dtype, name="outconv")
        return fusion(jnp.concatenate(sides, axis=-1))

    def _stage(self, number: int, sizes: tuple[int, int, int], name: str) -> RSU:
        dilated = number > len(self.encoder) - 2
        return RSU(*sizes, dilated=dilated, dtype=self.dtype, name=name)

    def _side(
        self, x: Float[Array, "b sh sw c"], number: int, image: Float[Array, "b h w i"]
    ) -> Float[Array, "b h w k"]:
        """Returns the logits of one stage, at the image's size."""
        dtype = at_least_float32(self.dtype)
        side = Conv(self.num_classes, 3, dtype=dtype, name=f"side{number}")(x)
        return resize_bilinear(side, (image.shape[1], image.shape[2]))


def _pool(x: Float[Array, "b h w c"]) -> Float[Array, "b oh ow c"]:
    """Returns the maximum of 2×2 pixels; the last window of an odd side is half as large."""
    edges = [(0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)]
    return max_pool(jnp.pad(x, edges, mode="edge"), window=2, stride=2)


def _join(
    x: Float[Array, "b h w c"], skip: Float[Array, "b sh sw c2"]
) -> Float[Array, "b sh sw both"]:
    """Returns `x` at the size of `skip`, and then the channels of `skip`."""
    resized = resize_bilinear(x, (skip.shape[1], skip.shape[2]))
    return jnp.concatenate([resized, skip], axis=-1)


U2NetP = partial(
    U2Net,
    encoder=tuple((depth, 16, 64) for depth in (7, 6, 5, 4, 4, 4)),
    decoder=tuple((depth, 16, 64) for depth in (7, 6, 5, 4, 4)),
)

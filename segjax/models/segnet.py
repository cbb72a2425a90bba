"""SegNet (Badrinarayanan, Kendall, Cipolla, 2015, arXiv:1511.00561)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from segjax.layers.conv import Conv, at_least_float32, he_fan_in
from segjax.layers.norm import BatchNorm
from segjax.layers.remat import maybe_remat
from segjax.ops.pool import max_pool_with_indices, max_unpool


class SegNet(nn.Module):
    """VGG-16's convolutions, and their mirror image, which unpools by the pools' indices.

    `stages` holds the widths of the encoder's convolutions between its pools (figure 2). The
    decoder's convolution `conv4_1_D` returns as many channels as `conv4_1` reads, and
    `conv1_1_D` returns the logits. Every convolution has a bias and, except the last, batch
    normalisation and ReLU. Pools of odd sides round up, as in Caffe, and unpooling restores the
    size before the pool, so every image size works. `remat` recomputes the layers between two
    pools in the backward pass.
    """

    num_classes: int
    stages: tuple[tuple[int, ...], ...] = (
        (64, 64),
        (128, 128),
        (256, 256, 256),
        (512, 512, 512),
        (512, 512, 512),
    )
    dtype: Any = jnp.float32
    remat: bool = False

    classifiers = ("conv1_1_D",)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size."""
        x, pools, mirrors = image, [], []
        run = partial(maybe_remat, self._convs, remat=self.remat, train=train)
        for i, widths in enumerate(self.stages, start=1):
            names = [f"conv{i}_{j}" for j in range(1, len(widths) + 1)]
            taken = (x.shape[-1], *widths[:-1])
            mirrors.append([(f"{n}_D", k) for n, k in zip(names, taken, strict=True)][::-1])
            x = run(x, layers=list(zip(names, widths, strict=True)))
            size = x.shape[1:3]
            x, indices = _pool(x)
            pools.append((indices, size))
        mirrors[0].pop()  # conv1_1_D makes the logits.
        for pool, layers in zip(pools[::-1], mirrors[::-1], strict=True):
            x = run(_unpool(x, *pool), layers=layers)
        dtype = at_least_float32(self.dtype)
        return Conv(self.num_classes, 3, dtype=dtype, kernel_init=he_fan_in, name="conv1_1_D")(
            x
        )

    def _convs(
        self, x: Float[Array, "b h w c"], *, layers: list[tuple[str, int]], train: bool
    ) -> Float[Array, "b h w f"]:
        """Returns the output of a chain of convolutions with these names and channels."""
        for name, features in layers:
            x = Conv(features, 3, dtype=self.dtype, kernel_init=he_fan_in, name=name)(x)
            x = nn.relu(BatchNorm(dtype=self.dtype, name=f"{name}_bn")(x, train=train))
        return x


class SegNetBasic(nn.Module):
    """Section 3.2's smaller network: 7×7 convolutions of one width, no ReLU in the decoder.

    `response_norm` divides each pixel by a power of its brightness (see `local_response_norm`).
    That matters for the released network, which takes colours of 0 … 255; on normalised images
    it changes little. `remat` is as in `SegNet`.
    """

    num_classes: int
    depth: int = 4
    features: int = 64
    response_norm: bool = True
    dtype: Any = jnp.float32
    remat: bool = False

    classifiers = ("conv_classifier",)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size."""
        x, pools = local_response_norm(image) if self.response_norm else image, []
        run = partial(maybe_remat, self._conv_norm, remat=self.remat, train=train)
        for i in range(1, self.depth + 1):
            x = nn.relu(run(x, name=f"conv{i}"))
            size = x.shape[1:3]
            x, indices = _pool(x)
            pools.append((indices, size))
        for i in range(self.depth, 0, -1):
            x = _unpool(x, *pools[i - 1])
            x = run(x, name=f"conv_decode{i}")
        return Conv(
            self.num_classes,
            1,
            dtype=at_least_float32(self.dtype),
            kernel_init=he_fan_in,
            name="conv_classifier",
        )(x)

    def _conv_norm(
        self, x: Float[Array, "b h w c"], *, name: str, train: bool
    ) -> Float[Array, "b h w f"]:
        x = Conv(self.features, 7, dtype=self.dtype, kernel_init=he_fan_in, name=name)(x)
        return BatchNorm(dtype=self.dtype, name=f"{name}_bn")(x, train=train)


def local_response_norm(
    x: Float[Array, "b h w c"], *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75
) -> Float[Array, "b h w c"]:
    """Returns x / (1 + α · mean of the squares of `size` channels around)^β.

    Channels beyond the first and the last count as zeros. The defaults are Caffe's and
    SegNet-Basic's. Source: Krizhevsky et al., 2012, section 3.3.

    Raises:
      ValueError: the size is even or below 1, so the window has no centre.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"The size of the window must be odd, got {size}.")
    reach, channels = size // 2, x.shape[-1]
    squares = jnp.pad(x * x, ((0, 0), (0, 0), (0, 0), (reach, reach)))
    window = sum(squares[..., i : i + channels] for i in range(size))
    return x / (1 + alpha / size * window) ** beta


def _pool(
    x: Float[Array, "b h w c"],
) -> tuple[Float[Array, "b oh ow c"], Int[Array, "b oh ow c"]]:
    """Returns the pooled map, sides rounded up, and the positions of maxima in the even map."""
    # The copied border never wins: of equal values the first does.
    edges = [(0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)]
    return max_pool_with_indices(jnp.pad(x, edges, mode="edge"), window=2, stride=2)


def _unpool(
    x: Float[Array, "b h w c"], indices: Int[Array, "b h w c"], size: tuple[int, int]
) -> Float[Array, "b oh ow c"]:
    """Returns a map of `size`, the size before `_pool`, with the values at their positions."""
    height, width = size
    return max_unpool(x, indices, (height + height % 2, width + width % 2))[:, :height, :width]

"""FC-DenseNet, the Tiramisu (Jégou et al., 2016, arXiv:1611.09326)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, ConvTranspose, at_least_float32
from segjax.layers.dropout import Dropout
from segjax.layers.norm import BatchNorm
from segjax.layers.remat import maybe_remat
from segjax.ops.padding import pad_to_multiple
from segjax.ops.pool import max_pool
from segjax.ops.skip import concat_skip

he_uniform = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")
"""The paper's HeUniform (section 4.1); transposed kernels have as many inputs as outputs."""


class NormReLUConv(nn.Module):
    """Norm, ReLU, convolution, dropout (table 1), with the released epsilon."""

    features: int
    kernel_size: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w f"]:
        """Returns `features` channels."""
        x = BatchNorm(epsilon=1e-4, dtype=self.dtype, name="norm")(x, train=train)
        conv = Conv(
            self.features,
            self.kernel_size,
            dtype=self.dtype,
            kernel_init=he_uniform,
            name="conv",
        )
        return Dropout(self.dropout, name="dropout")(conv(nn.relu(x)), train=train)


class DenseBlock(nn.Module):
    """Layers that each read the block's input and all earlier layers' outputs (figure 2)."""

    layers: int
    growth: int
    dropout: float
    dtype: Any
    remat: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w n"]:
        """Returns only the layers · growth new channels."""
        new = []
        for i in range(self.layers):
            new.append(maybe_remat(self._layer, x, *new, i=i, remat=self.remat, train=train))
        return jnp.concatenate(new, axis=-1)

    def _layer(
        self, *stack: Float[Array, "b h w _"], i: int, train: bool
    ) -> Float[Array, "b h w g"]:
        """Returns the new channels of layer `i`."""
        layer = NormReLUConv(self.growth, 3, self.dropout, self.dtype, name=f"layer{i}")
        return layer(jnp.concatenate(stack, axis=-1), train=train)


class FCDenseNet(nn.Module):
    """Dense blocks down to the bottom and up again, with skips between them (figure 1).

    `layers` holds the number of layers of each block: the path down, the bottom, the path up.
    On the path up only a block's new channels are upsampled (section 3.2), by a transposed 3×3
    of stride 2. It makes 2n + 1 pixels from n, cropped at the bottom and at the right to the
    skip's 2n or 2n + 1, as in the released code. So the network takes every size. Only sides
    below 2 ** (transitions down), which pooling would reduce to nothing, are mirror-padded.

    The released evaluation normalises by the statistics of its test batches of 10 images. Here
    running averages are used, so published scores may not be met exactly.

    `remat` recomputes each layer in the backward pass instead of storing its input, which saves
    memory that grows with the square of a block's depth.
    """

    num_classes: int
    layers: tuple[int, ...]
    growth: int = 16
    features: int = 48
    dropout: float = 0.2
    dtype: Any = jnp.float32
    remat: bool = False

    classifiers = ("classifier",)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size.

        Raises:
          ValueError: `layers` has no middle, or a block has no layer.
        """
        if len(self.layers) % 2 == 0 or min(self.layers) < 1:
            raise ValueError(
                "layers must be an odd number of blocks' layer counts (down, bottom, up), each "
                f"at least 1, got {self.layers}."
            )
        step = 2 ** (len(self.layers) // 2)
        height, width = image.shape[1:3]
        x, crop = pad_to_multiple(
            image, (step if height < step else 1, step if width < step else 1)
        )
        return crop(self._network(x, train=train))

    def _network(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        depth, skips = len(self.layers) // 2, []
        x = Conv(self.features, 3, dtype=self.dtype, kernel_init=he_uniform, name="stem")(image)
        for level in range(depth):
            new = self._block(level, f"down{level}")(x, train=train)
            skips.append(concat_skip(new, x))
            x = self._transition_down(skips[-1], level, train=train)
        new = self._block(depth, "bottom")(x, train=train)
        for level in reversed(range(depth)):
            up = ConvTranspose(
                new.shape[-1],
                3,
                stride=2,
                dtype=self.dtype,
                kernel_init=he_uniform,
                name=f"transition_up{level}",
            )(new)
            # Here the upsampled map is the larger one; it comes first, as in the released code.
            x = concat_skip(skips[level], up)
            new = self._block(2 * depth - level, f"up{level}")(x, train=train)
        classifier = Conv(
            self.num_classes,
            1,
            dtype=at_least_float32(self.dtype),
            kernel_init=he_uniform,
            name="classifier",
        )
        return classifier(concat_skip(new, x))

    def _block(self, index: int, name: str) -> DenseBlock:
        return DenseBlock(
            self.layers[index], self.growth, self.dropout, self.dtype, self.remat, name=name
        )

    def _transition_down(
        self, x: Float[Array, "b h w c"], level: int, *, train: bool
    ) -> Float[Array, "b oh ow c"]:
        """Returns a map of half the size with as many channels."""
        conv = NormReLUConv(
            x.shape[-1], 1, self.dropout, self.dtype, name=f"transition_down{level}"
        )
        x = maybe_remat(conv.__call__, x, remat=self.remat, train=train)
        return max_pool(x, window=2, stride=2)


FCDenseNet56 = partial(FCDenseNet, layers=(4,) * 11, growth=12)
FCDenseNet67 = partial(FCDenseNet, layers=(5,) * 11)
FCDenseNet103 = partial(FCDenseNet, layers=(4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4))

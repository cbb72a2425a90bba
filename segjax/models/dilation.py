"""Dilated convolutions (Yu and Koltun, 2015, arXiv:1511.07122): front end and context module.

Submodules have the names of the published training code, `conv1_1` … `final`, `ctx_conv1_1` … .
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, at_least_float32
from segjax.layers.dropout import Dropout
from segjax.layers.remat import maybe_remat
from segjax.ops.padding import mirror_pad
from segjax.ops.pool import max_pool

MARGIN = 186
"""Mirrored pixels on each side, which the front end's unpadded convolutions consume."""

BASIC = (1, 1, 1, 1, 1, 1, 1)
LARGE = (2, 2, 4, 8, 16, 32, 32)
"""Channels of the context module's 3×3 layers, in multiples of the classes (table 1)."""

RATES = (1, 1, 2, 4, 8, 16, 1)
"""The dilations of these layers; their receptive fields are 3, 5, 9, 17, 33, 65, 67 scores."""


def identity_init(classes: int, *, noise: float = 0.01) -> Callable[..., Array]:
    """Returns an initialiser of layers that start as the identity (equations 4 and 5).

    `classes` divides the numbers of inputs and outputs, and each class has an equal part of
    both. The centre taps from a class's inputs to its outputs are classes / outputs, which
    keeps the sum over a class's channels. All other taps are Gaussian with standard deviation
    noise · classes / outputs, or zero if both numbers equal `classes`.
    """

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Returns a kernel h w i o."""
        height, width, inputs, outputs = shape
        of_input, of_output = (jnp.arange(n) * classes // n for n in (inputs, outputs))
        same = of_input[:, None] == of_output[None, :]
        share = classes / outputs
        deviation = 0.0 if inputs == outputs == classes else noise * share
        kernel = deviation * jax.random.normal(key, shape)
        centre = kernel[height // 2, width // 2]
        kernel = kernel.at[height // 2, width // 2].set(jnp.where(same, share, centre))
        return kernel.astype(dtype)

    return init


class Context(nn.Module):
    """3×3 layers of growing dilation and a 1×1, on score maps at full resolution.

    `channels` is `BASIC` or `LARGE`. The module starts as the identity for scores of at least
    zero (ReLU follows each 3×3). Each layer pads with zeros, as in the training code. The
    released VOC network pads the scores by 33 instead, so its scores near the border differ.
    """

    num_classes: int
    channels: tuple[int, ...] = BASIC
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w k"]) -> Float[Array, "b h w k"]:
        """Returns scores of the same size."""
        init = identity_init(self.num_classes)
        names = ("conv1_1", "conv1_2", "conv2_1", "conv3_1", "conv4_1", "conv5_1", "fc1")
        for name, multiple, rate in zip(names, self.channels, RATES, strict=True):
            conv = Conv(
                multiple * self.num_classes,
                3,
                dilation=rate,
                dtype=self.dtype,
                kernel_init=init,
                name=f"ctx_{name}",
            )
            x = nn.relu(conv(x))
        dtype = at_least_float32(self.dtype)
        return Conv(self.num_classes, 1, dtype=dtype, kernel_init=init, name="ctx_final")(x)


class Dilation(nn.Module):
    """VGG16 without its last two poolings, its classifier at rate 4, then a context module.

    The image is mirror-padded by 186 pixels, and no map is padded. Score i belongs to pixel
    8 · i of any image, in training and in prediction (`label_stride`). `context` is the
    channels of `Context`, or None for the front end alone, which the paper trains first.
    `remat` recomputes each stage, the classifier and the context in the backward pass.
    """

    num_classes: int
    context: tuple[int, ...] | None = None
    width: int = 64
    features: int = 4096
    dropout: float = 0.5
    dtype: Any = jnp.float32
    remat: bool = False

    # Not a field: the released network has no other value.
    label_stride = 8

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The front end's scores and the context module, which has channels for each class."""
        return ("final", *([] if self.context is None else ["context"]))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b oh ow k"]:
        """Returns the logits of every eighth pixel."""
        scores = self._front(_framed(image), train=train)
        if self.context is None:
            return scores
        context = Context(self.num_classes, self.context, dtype=self.dtype, name="context")
        return maybe_remat(context.__call__, scores, remat=self.remat)

    def _front(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow k"]:
        """Returns the front end's scores of an image that has its margin (section 4)."""
        for stage in range(1, 6):
            x = maybe_remat(self._stage, x, stage=stage, remat=self.remat)
            if stage <= 3:
                x = max_pool(x, window=2, stride=2)
        x = maybe_remat(self._classifier, x, remat=self.remat, train=train)
        init, dtype = nn.initializers.normal(0.001), at_least_float32(self.dtype)
        return Conv(self.num_classes, 1, dtype=dtype, kernel_init=init, name="final")(x)

    def _stage(self, x: Float[Array, "b h w c"], *, stage: int) -> Float[Array, "b oh ow f"]:
        """Returns the output of VGG16's convolutions between two poolings."""
        features = self.width * min(2 ** (stage - 1), 8)
        for j in range(1, (2, 2, 3, 3, 3)[stage - 1] + 1):
            x = self._conv(x, features, 3, 2 if stage == 5 else 1, f"conv{stage}_{j}")
        return x

    def _classifier(
        self, x: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b oh ow f"]:
        """Returns the output of fc7."""
        for i, kernel_size, rate in ((6, 7, 4), (7, 1, 1)):
            x = self._conv(x, self.features, kernel_size, rate, f"fc{i}")
            x = Dropout(self.dropout, name=f"drop{i}")(x, train=train)
        return x

    def _conv(
        self, x: Float[Array, "b h w c"], features: int, kernel_size: int, rate: int, name: str
    ) -> Float[Array, "b oh ow f"]:
        conv = Conv(
            features, kernel_size, dilation=rate, padding=0, dtype=self.dtype, name=name
        )
        return nn.relu(conv(x))


def _framed(image: Float[Array, "b h w c"]) -> Float[Array, "b oh ow c"]:
    """Returns the image with mirrored margins; the three poolings divide its sides evenly."""
    rows, columns = ((MARGIN, MARGIN + -side % 8) for side in image.shape[1:3])
    return mirror_pad(image, (rows, columns))

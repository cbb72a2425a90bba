"""U-Net (Ronneberger, Fischer, Brox, 2015, arXiv:1505.04597)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.layers.conv import Conv, at_least_float32, he_fan_in
from segjax.layers.dropout import Dropout
from segjax.layers.head import head_dtype
from segjax.layers.norm import BatchNorm
from segjax.layers.remat import maybe_remat
from segjax.layers.up import Up, transposed
from segjax.ops.padding import center_crop, pad_to_multiple
from segjax.ops.pool import max_pool
from segjax.ops.shuffle import upsample_nearest
from segjax.ops.skip import concat_skip


class ConvPair(nn.Module):
    """Twice a 3×3 convolution, (norm,) ReLU; `valid` cuts two pixels from each side."""

    features: int
    valid: bool
    batch_norm: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow f"]:
        """Returns `features` channels, at least 0."""
        for i in (0, 1):
            x = Conv(
                self.features,
                3,
                padding=0 if self.valid else "same",
                use_bias=not self.batch_norm,
                dtype=self.dtype,
                kernel_init=he_fan_in,
                name=f"conv{i}",
            )(x)
            if self.batch_norm:
                x = BatchNorm(dtype=self.dtype, name=f"norm{i}")(x, train=train)
            x = nn.relu(x)
        return x


class UNet(nn.Module):
    """A contracting path, an expanding path, and skips between them (figure 1).

    By default convolutions are padded: the image is mirror-padded inside to a multiple of
    2**depth and the logits are cropped back, so every size works. `valid=True` is the paper's
    network: unpadded convolutions, cropped skips, and logits of the image's centre only
    (572 → 388); see `canvas`. `up` upsamples by 2 (`segjax.layers.up`). `join` joins the skip
    and the upsampled map (`segjax.ops.skip`: concat_skip, add_skip, no_skip). `dropout` is at
    the end of the contracting path (the paper gives no rate; 0.5 is usual). `remat` recomputes
    each level in the backward pass.
    """

    num_classes: int
    depth: int = 4
    features: int = 64
    valid: bool = False
    up: Up = transposed
    join: Callable[[Array, Array], Array] = concat_skip
    batch_norm: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32
    remat: bool = False

    classifiers = ("classifier",)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b oh ow k"]:
        """Returns logits of the image, or with `valid` of its centre.

        Raises:
          ValueError: `valid`, and a side of the image does not fit.
        """
        if self.valid:
            self._check_size(*image.shape[1:3])
            return self._network(image, train=train)
        padded, crop = pad_to_multiple(image, 2**self.depth)
        return crop(self._network(padded, train=train))

    def _network(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b oh ow k"]:
        skips, run = [], partial(maybe_remat, remat=self.remat, train=train)
        for level in range(self.depth):
            x = run(self._convs, x, level=level, name=f"down{level}")
            skips.append(x)
            x = max_pool(x, window=2, stride=2)
        x = run(self._convs, x, level=self.depth, name="bottom")
        x = Dropout(self.dropout, name="dropout")(x, train=train)
        for level in reversed(range(self.depth)):
            x = run(self._expand, x, skips[level], level=level)
        return Conv(
            self.num_classes,
            1,
            dtype=at_least_float32(self.dtype),
            kernel_init=he_fan_in,
            name="classifier",
        )(x)

    def _convs(
        self, x: Float[Array, "b h w c"], *, level: int, name: str, train: bool
    ) -> Float[Array, "b oh ow f"]:
        features = self.features * 2**level
        convs = ConvPair(features, self.valid, self.batch_norm, self.dtype, name=name)
        return convs(x, train=train)

    def _expand(
        self,
        x: Float[Array, "b h w c"],
        skip: Float[Array, "b sh sw f"],
        *,
        level: int,
        train: bool,
    ) -> Float[Array, "b oh ow f"]:
        """Returns the map of a level, made from the level below and the skip."""
        x = self.up(x, self.features * 2**level, dtype=self.dtype, name=f"upconv{level}")
        x = self.join(x, center_crop(skip, (x.shape[1], x.shape[2])))
        return self._convs(x, level=level, name=f"up{level}", train=train)

    @nn.nowrap
    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Returns the smallest input size whose logits cover height × width.

        Without `valid` that is height × width. Predictors mirror-pad the image to this size and
        crop the result.

        Raises:
          ValueError: a side is below 1.

        >>> UNet(num_classes=2, valid=True).canvas(388, 300)
        (572, 492)
        """
        if height < 1 or width < 1:
            raise ValueError(f"Sides must be at least 1, got {height} and {width}.")
        return (self._side(height), self._side(width)) if self.valid else (height, width)

    @nn.nowrap
    def _side(self, covered: int) -> int:
        """Returns the smallest side that fits and whose logits cover `covered` pixels.

        With m pixels after the bottom's convolutions, the result has 2ᵈm − 4(2ᵈ − 1) pixels and
        the image 2ᵈ(m + 4) + 4(2ᵈ − 1), which is 12 · 2ᵈ − 8 more.
        """
        step = 2**self.depth
        bottom = -(-(covered + 4 * (step - 1)) // step)
        return step * (bottom + 4) + 4 * (step - 1)

    @nn.nowrap
    def _check_size(self, height: int, width: int) -> None:
        step, margin = 2**self.depth, 12 * 2**self.depth - 8
        smallest = self._side(1)
        for side in (height, width):
            fits = self._side(max(side - margin, 1))
            if fits == side:
                continue
            nearest = sorted({max(fits - step, smallest), fits})
            raise ValueError(
                f"Valid convolutions cannot take {height}×{width}: each side must be "
                f"{smallest} + {step}k; nearest to {side}: {' and '.join(map(str, nearest))}. "
                "Mirror-pad the image to canvas(height, width)."
            )


class EncoderUNet(nn.Module):
    """A U-Net whose contracting path is a backbone, with skips from c4, c3, c2 and c1.

    `features` are the widths of the expanding path, from the level of c4 to that of the image.
    The last level has a skip only if the backbone returns a c0 (VGG16 with `before_pool`). Each
    level repeats the pixels of the level below, appends the skip, and convolves twice with
    batch normalisation; the classifier is 3×3. Segmentation libraries call this a U-Net with an
    encoder; the paper's network is `UNet`. The image is mirror-padded inside to a multiple of
    32 and the logits are cropped back, so every size works. `dtype` is the decoder's; None
    takes the backbone's. `remat` recomputes the decoder's levels in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
    features: tuple[int, ...] = (256, 128, 64, 32, 16)
    dtype: Any = None
    remat: bool = False

    classifiers = ("classifier",)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size.

        Raises:
          ValueError: there are not five widths.
        """
        if len(self.features) != 5:
            raise ValueError(f"features must be five widths, got {self.features}.")
        padded, crop = pad_to_multiple(image, 32)
        encoded = self.backbone(padded, train=train)
        dtype = head_dtype(self)
        x = encoded["c5"]
        for level, width in zip((4, 3, 2, 1, 0), self.features, strict=True):
            skip = encoded[f"c{level}"] if level else encoded.get("c0")
            target = padded if skip is None else skip
            factor = (target.shape[1] // x.shape[1], target.shape[2] // x.shape[2])
            x = upsample_nearest(x, factor)
            if skip is not None:
                x = jnp.concatenate([x, skip], axis=-1)
            convs = ConvPair(width, False, True, dtype, name=f"up{level}")
            x = maybe_remat(convs.__call__, x, remat=self.remat, train=train)
        classifier = Conv(
            self.num_classes,
            3,
            dtype=at_least_float32(dtype),
            kernel_init=he_fan_in,
            name="classifier",
        )
        return crop(classifier(x))

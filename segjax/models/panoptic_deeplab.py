"""Panoptic-DeepLab (Cheng et al., 2020, arXiv:1911.10194): two decoders, no boxes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from segjax.contracts import Features
from segjax.layers.conv import Conv, ConvNormReLU, SeparableConv, at_least_float32
from segjax.layers.head import head_dtype
from segjax.layers.pyramid import ASPP
from segjax.layers.remat import maybe_remat
from segjax.models.deeplab_v3 import with_output_stride_and_rates
from segjax.ops.resize import resize_bilinear

STRIDE = 4
"""Pixels of the image per pixel of c2, on whose grid the heads predict."""


class PanopticDeepLab(nn.Module):
    """Backbone, semantic decoder and instance decoder, with three heads (figure 2).

    The semantic head gives logits. The centre head gives a heat-map that peaks at the centre of
    mass of each object, whatever its class. The offset head gives, at each pixel of an object,
    the way to that centre. Each decoder has its own ASPP, then joins c3 and c2 by a 5×5
    separable convolution each. `separable` makes the 3×3 of the ASPP separable too, as in
    DeepLab v3+.

    As in DeepLab v3+, `rates` are those for the backbone's output stride: the paper's (6, 12,
    18) at 16, and (3, 6, 9) at 32. `things` are the class ids whose objects are counted. The
    heads' last layers start with weights of standard deviation 0.001, as in the authors'
    PyTorch code. In that code the heads of centre and offset are as wide as their decoder; in
    deeplab2 they have 32 channels, as here. `dtype` is that of decoders and heads; None takes
    the backbone's. The outputs are at least float32. `remat` recomputes the pyramids and the
    fusions in the backward pass.
    """

    backbone: nn.Module
    num_classes: int
    things: tuple[int, ...]
    rates: tuple[int, ...]
    separable: bool = False
    semantic_features: int = 256
    semantic_low_features: tuple[int, int] = (64, 32)
    instance_features: int = 128
    instance_low_features: tuple[int, int] = (32, 16)
    head_features: int = 32
    aspp_features: int = 256
    dropout: float = 0.1
    align_corners: bool = True
    dtype: Any = None
    remat: bool = False

    at_output_stride = with_output_stride_and_rates
    classifiers = ("semantic_head/predictor",)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Mapping[str, Float[Array, "b h w _"]]:
        """Returns three maps of the image's size.

        `semantic` b h w k are logits, `center` b h w 1 is the heat-map, and `offset` b h w 2 is
        (down, right) in pixels.
        """
        features = self.backbone(image, train=train)
        dtype = head_dtype(self)
        decoder = partial(
            Decoder,
            self.rates,
            separable=self.separable,
            aspp_features=self.aspp_features,
            dropout=self.dropout,
            align_corners=self.align_corners,
            dtype=dtype,
            remat=self.remat,
        )
        semantic = decoder(
            self.semantic_features, self.semantic_low_features, name="semantic_decoder"
        )(features, train=train)
        instance = decoder(
            self.instance_features, self.instance_low_features, name="instance_decoder"
        )(features, train=train)

        def predicted(name: str, x: Array, width: int, channels: int) -> Array:
            head = Head(width, channels, dtype=dtype, name=f"{name}_head")
            size = (image.shape[1], image.shape[2])
            return resize_bilinear(head(x, train=train), size, align_corners=self.align_corners)

        width = self.head_features
        return {
            "semantic": predicted(
                "semantic", semantic, self.semantic_features, self.num_classes
            ),
            "center": predicted("center", instance, width, 1),
            # The head counts in pixels of its own grid.
            "offset": STRIDE * predicted("offset", instance, width, 2),
        }


class Decoder(nn.Module):
    """ASPP of c5, joined with c3 and then with c2: a map of stride 4."""

    rates: tuple[int, ...]
    features: int
    low_features: tuple[int, int]
    separable: bool = False
    aspp_features: int = 256
    dropout: float = 0.1
    align_corners: bool = True
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> Float[Array, "b h w f"]:
        """Returns `features` channels on the grid of c2."""
        run = partial(maybe_remat, remat=self.remat, train=train)
        aspp = ASPP(
            self.rates,
            features=self.aspp_features,
            dropout=self.dropout,
            separable=self.separable,
            dtype=self.dtype,
            name="aspp",
        )
        x = run(aspp.__call__, features["c5"])
        for key, width in zip(("c3", "c2"), self.low_features, strict=True):
            project = ConvNormReLU(width, 1, dtype=self.dtype, name=f"project_{key}")
            low = project(features[key], train=train)
            size = (low.shape[1], low.shape[2])
            x = resize_bilinear(x, size, align_corners=self.align_corners)
            fuse = SeparableConv(self.features, 5, dtype=self.dtype, name=f"fuse_{key}")
            x = run(fuse.__call__, jnp.concatenate([x, low], axis=-1))
        return x


class Head(nn.Module):
    """A 5×5 separable convolution, then a 1×1 to the predicted channels."""

    features: int
    channels: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w k"]:
        """Returns `channels` channels of the same size, at least float32."""
        x = SeparableConv(self.features, 5, dtype=self.dtype, name="conv")(x, train=train)
        predictor = Conv(
            self.channels,
            1,
            dtype=at_least_float32(self.dtype),
            kernel_init=nn.initializers.normal(0.001),
            name="predictor",
        )
        return predictor(x)

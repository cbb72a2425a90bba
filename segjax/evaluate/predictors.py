"""Predictors: images as they were read → probabilities, at the images' own size."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from segjax.errors import InputError
from segjax.ops.frame import center_crop, mirror_pad
from segjax.types import Array, Variables

Predictor = Callable[[Variables, Array], Array]


def whole_image(model: nn.Module, normalize: Callable[[Array], Array]) -> Predictor:
    """`predict(variables, image b h w c) → probabilities b h w k`, any h and w.

    The whole image goes through the network at once. One whose answer is smaller than its
    input, the valid-convolution U-Net, sees the image with mirrored borders.
    """

    def predict(variables: Variables, image: Array) -> Float[Array, "b h w k"]:
        size = (image.shape[1], image.shape[2])
        height, width = getattr(model, "canvas", lambda *same: same)(*size)
        x = mirror_pad(image, (_halves(height - size[0]), _halves(width - size[1])))
        logits = model.apply(variables, normalize(x), train=False)
        assert isinstance(logits, jax.Array)
        return jax.nn.softmax(center_crop(logits, size).astype(jnp.float32))

    return predict


def _halves(total: int) -> tuple[int, int]:
    return total // 2, total - total // 2


def at_output_stride(model: nn.Module, output_stride: int | None) -> nn.Module:
    """The network at another output stride, with the same variables; itself for None.

    Raises:
      InputError: the network has no output stride to change, or cannot have this one.
    """
    if output_stride is None:
        return model
    if not hasattr(model, "at_output_stride"):
        raise InputError(
            f"evaluation.output_stride={output_stride}: {type(model).__name__} has no output "
            "stride; set it to None."
        )
    try:
        return model.at_output_stride(output_stride)  # type: ignore[attr-defined]
    except ValueError as error:
        raise InputError(f"evaluation.output_stride={output_stride}: {error}") from error

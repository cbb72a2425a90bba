"""Predictors: functions from images as they were read to probabilities of the same size."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from segjax.conformity import canvas, label_stride
from segjax.contracts import Array, Variables
from segjax.errors import InputError
from segjax.ops.padding import center_crop, mirror_pad
from segjax.ops.resize import resize_bilinear

Predictor = Callable[[Variables, Array], Array]
"""(variables, images b h w c as read) -> probabilities b h w k, any h and w; traceable."""


def softmax_probabilities(logits: Float[Array, "b h w k"]) -> Float[Array, "b h w k"]:
    """Returns probabilities of k ≥ 2 classes that exclude one another.

    Raises:
      InputError: there is only one class.
    """
    if logits.shape[-1] < 2:
        raise InputError(
            "The network has one class, whose softmax is 1 at every pixel; give a binary task "
            "two, background and object (num_classes=2), or train one output plane with "
            "task=segjax.tasks.multilabel.Multilabel()."
        )
    return jax.nn.softmax(logits)


@dataclasses.dataclass(frozen=True)
class WholeImage:
    """A predictor that sends the entire image through the network at once.

    A network whose output is smaller than its input, such as the valid-convolution U-Net,
    receives the image with mirrored borders. Scores that lie `label_stride` pixels apart, such
    as those of DeepLab v1 and v2, are interpolated. `activation` turns float32 scores into
    probabilities.
    """

    model: nn.Module
    normalize: Callable[[Array], Array]
    activation: Callable[[Array], Array] = softmax_probabilities

    def __call__(self, variables: Variables, image: Array) -> Float[Array, "b h w k"]:
        """Returns probabilities of every pixel of images of one size."""
        size = (image.shape[1], image.shape[2])
        height, width = self.canvas(*size)
        x = mirror_pad(image, (_halves(height - size[0]), _halves(width - size[1])))
        return self.centre(variables, x, size)

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Returns the size of the input that the network needs for height × width pixels."""
        return canvas(self.model, height, width)

    def centre(
        self, variables: Variables, image: Array, size: tuple[int, int]
    ) -> Float[Array, "b oh ow k"]:
        """Returns probabilities of the central `size` of images that have the canvas's size.

        Raises:
          InputError: the activation refuses the network's scores.
        """
        logits = self.model.apply(variables, self.normalize(image), train=False)
        assert isinstance(logits, jax.Array)
        logits = _at_every_pixel(logits, size, label_stride(self.model))
        return self.activation(center_crop(logits, size).astype(jnp.float32))


def _halves(total: int) -> tuple[int, int]:
    return total // 2, total - total // 2


def _at_every_pixel(
    logits: Float[Array, "b h w k"], size: tuple[int, int], stride: int
) -> Float[Array, "b oh ow k"]:
    """Returns scores of every pixel, from those of pixels 0, stride, … by interpolation."""
    if stride == 1:
        return logits
    height, width = ((n - 1) * stride + 1 for n in logits.shape[1:3])
    between = resize_bilinear(logits, (height, width), align_corners=True)
    rows, columns = max(size[0] - height, 0), max(size[1] - width, 0)
    whole = jnp.pad(between, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")
    return whole[:, : size[0], : size[1]]


def at_output_stride(model: nn.Module, output_stride: int | None) -> nn.Module:
    """Returns the network at another output stride, for the same variables; itself for None.

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

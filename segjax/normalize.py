"""Normalisation of images, as one frozen dataclass.

Experiments import these names from `segjax.experiment`.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Float

from segjax.contracts import Array, full_scale
from segjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Normalize:
    """Raw images → the network's input: (x / full scale · scale − mean) / std.

    The full scale is 255 for uint8, 65535 for uint16, and 1 for floats, whose values are not
    rescaled (`segjax.contracts.FULL_SCALE`). Other dtypes are an error. `mean` and `std` have
    one number for each channel, or one for all, in units after `scale`.

    Raises:
      InputError: a standard deviation is 0.
    """

    # The name of the class in descriptions of runs, and where experiments import it from.
    __module__ = "segjax.experiment"

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0
    reverse_channels: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.std, tuple) and 0 in self.std:
            raise InputError(f"normalize.std={self.std} must not be 0, because it divides.")

    def __call__(self, image: Array) -> Float[Array, "b h w c"]:
        """Returns float32 images, normalised.

        Raises:
          ValueError: the image has another number of channels than the mean.
          InputError: the image's dtype has no full scale.
        """
        x = image.astype(jnp.float32) * (self.scale / full_scale(image.dtype))
        x = x[..., ::-1] if self.reverse_channels else x
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, x.shape[-1]):
                raise ValueError(
                    f"normalize.{name} has {len(values)} numbers, the image {x.shape[-1]} "
                    "channel(s): give it one number, or one a channel, as in "
                    "normalize=segjax.experiment.UNIT."
                )
        return (x - self._row(self.mean)) / self._row(self.std)

    @staticmethod
    def _row(values: tuple[float, ...]) -> Array:
        return jnp.asarray(values, jnp.float32).reshape(1, 1, 1, -1)


UNIT = Normalize()
"""Scales to [0, 1]."""

SIGNED = Normalize(mean=(0.5,), std=(0.5,))
"""Scales to [−1, 1], as TensorFlow's DeepLab models."""

IMAGENET = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Normalises RGB by ImageNet's mean and standard deviation, as torchvision and timm."""

CAFFE = Normalize(mean=(104.00699, 116.66877, 122.67892), scale=255.0, reverse_channels=True)
"""Subtracts ImageNet's mean from BGR, unscaled, as the released FCN and DeepLab v1 and v2."""

"""Turning by any angle, about the centre."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped
from PIL import Image

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.transforms.averages import as_dtype
from segjax.transforms.entries import move, size_of, unmoved
from segjax.transforms.fill import MEAN_COLOUR, check_number_or_colour
from segjax.transforms.kinds import Motion


@dataclass(frozen=True)
class RandomRotate:
    """Turned about its centre by an angle uniform in ± `degrees`, with `probability`.

    PSPNet's: 10 degrees, and in its code half of the examples. The size stays; what comes from
    outside is `fill` in the image (one number or one a channel, in its own units; the default
    fits any image, as `RandomCrop`'s), 255 in the label (NaN if it holds floats) and 0 in a
    weight map. The same pixels come from outside in all three. Images and weight maps are
    bilinear, labels nearest.
    """

    degrees: float = 10.0
    probability: float = 0.5
    fill: float | tuple[float, ...] = MEAN_COLOUR

    def __post_init__(self):
        if not 0 <= self.degrees <= 180 or not 0 <= self.probability <= 1:
            raise InputError(
                "RandomRotate needs degrees in 0 ... 180 and probability in 0 ... 1, got "
                f"{self.degrees} and {self.probability}."
            )
        check_number_or_colour("RandomRotate", self.fill)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the turned example, or the example itself.

        Raises:
          InputError: `fill` has neither one number nor as many as the image has channels.
        """
        if rng.random() >= self.probability:
            return unmoved(example, by="RandomRotate", fill=self.fill)
        return rotate(example, rng.uniform(-self.degrees, self.degrees), fill=self.fill)


def rotate(example: Example, degrees: float, *, fill: float | tuple[float, ...] = 0) -> Example:
    """Returns the example turned counter-clockwise about its centre; see `RandomRotate`."""
    h, w = size_of(example, by="RandomRotate")
    motion = Motion(
        by="RandomRotate",
        size=(h, w),
        bilinear=lambda planes, fill: _rotated_image(planes, degrees, fill),
        nearest=lambda label, fill: _rotated_label(label, degrees, fill),
        places=lambda xy: _rotated_places(xy, degrees, centre=(w / 2, h / 2)),
        fill=fill,
    )
    return move(example, motion)


def _rotated_places(
    xy: Float64[np.ndarray, "n 2"], degrees: float, *, centre: tuple[float, float]
) -> Float64[np.ndarray, "n 2"]:
    """Returns places after a counter-clockwise turn about `centre`; y points down."""
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    return (xy - centre) @ np.array([[cosine, -sine], [sine, cosine]]) + centre


def _rotated_label(
    label: Shaped[np.ndarray, "h w ..."], degrees: float, fill: float
) -> Shaped[np.ndarray, "h w ..."]:
    """Returns nearest neighbours of any dtype: what Pillow turns are the pixels' numbers."""
    h, w = label.shape[:2]
    numbers = Image.fromarray(np.arange(h * w, dtype=np.int32).reshape(h, w))
    came_from = np.asarray(numbers.rotate(degrees, Image.Resampling.NEAREST, fillcolor=-1))
    turned = label.reshape(h * w, *label.shape[2:])[came_from.clip(0)]
    turned[came_from < 0] = fill
    return turned


def _rotated_image(
    image: Shaped[np.ndarray, "h w c"], degrees: float, fill: float | tuple[float, ...]
) -> Shaped[np.ndarray, "h w c"]:
    channels = image.shape[-1]
    fills = np.broadcast_to(fill, channels).tolist()
    if image.dtype == np.uint8 and channels == 3:
        return _rotated(image, degrees, fill=tuple(map(round, fills)))
    # Channel by channel: Pillow would take two or four channels for colours with transparency.
    planes = [_rotated(image[..., c], degrees, fill=fills[c]) for c in range(channels)]
    return np.stack(planes, axis=-1)


def _rotated(
    plane: Shaped[np.ndarray, "h w ..."], degrees: float, *, fill: float | tuple[int, ...]
) -> Shaped[np.ndarray, "h w ..."]:
    """Returns what Pillow turns, in its own dtype; 16 bits go through float32."""
    method = Image.Resampling.BILINEAR
    if plane.dtype == np.uint8:
        fill = round(fill) if isinstance(fill, float) else fill
        return np.array(Image.fromarray(plane).rotate(degrees, method, fillcolor=fill))
    turned = Image.fromarray(plane.astype(np.float32)).rotate(degrees, method, fillcolor=fill)
    return as_dtype(np.asarray(turned), plane.dtype)

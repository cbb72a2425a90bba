"""Turning by any angle, about the centre."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from segjax.contracts import IGNORE, Example
from segjax.errors import InputError
from segjax.labels import check_planes
from segjax.transforms.geometric import MEAN_COLOUR, fill_for


@dataclass(frozen=True)
class RandomRotate:
    """Turned about its centre by an angle uniform in ± `degrees`, with `probability`.

    PSPNet's: 10 degrees, and in its code half of the examples. The size stays; what comes from
    outside is `fill` in the image (one number or one a channel, in its own units; the default
    fits any image, as `RandomCrop`'s), 255 in the label and 0 in a weight map. The same pixels
    come from outside in all three. Images and weight maps are bilinear, labels nearest.
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

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """The turned example, or the example itself.

        Raises:
          InputError: `fill` has neither one number nor as many as the image has channels.
        """
        fill = fill_for(example["image"], self.fill, name="RandomRotate")
        if rng.random() >= self.probability:
            return dict(example)
        return rotate(example, rng.uniform(-self.degrees, self.degrees), fill=fill)


def rotate(example: Example, degrees: float, *, fill: float | tuple[float, ...] = 0) -> Example:
    """The example turned counter-clockwise about its centre; see `RandomRotate`."""
    check_planes(example)
    label = _rotated(example["label"], degrees, fill=IGNORE, method=Image.Resampling.NEAREST)
    turned = {
        **example,
        "image": _rotated_image(example["image"], degrees, fill),
        "label": label,
    }
    if "weight" in example:
        turned["weight"] = _rotated(example["weight"], degrees, fill=0)
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
    plane: Shaped[np.ndarray, "h w ..."],
    degrees: float,
    *,
    fill: float | tuple[int, ...],
    method: Image.Resampling = Image.Resampling.BILINEAR,
) -> Shaped[np.ndarray, "h w ..."]:
    """What Pillow turns, in its own dtype; 16 bits go through float32, which holds them."""
    if plane.dtype == np.uint8:
        fill = round(fill) if isinstance(fill, float) else fill
        return np.array(Image.fromarray(plane).rotate(degrees, method, fillcolor=fill))
    turned = Image.fromarray(plane.astype(np.float32)).rotate(degrees, method, fillcolor=fill)
    exact = np.asarray(turned)
    return (np.rint(exact) if np.issubdtype(plane.dtype, np.integer) else exact).astype(
        plane.dtype
    )

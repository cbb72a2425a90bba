"""Images that draw themselves: textured shapes on a textured ground, with exact labels.

Ground and shapes take colour and texture from one distribution, so a pixel by itself says
nothing about its class: only the outline does, and a network has to look at a neighbourhood.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from segjax.contracts import Example
from segjax.data.palette import voc_palette
from segjax.errors import InputError

CLASSES = ("background", "disk", "square", "triangle", "ring", "cross")
STREAMS = {"train": 0, "val": 1}
COUNTS = {"train": 2**20, "val": 64}


@dataclass(frozen=True)
class Synthetic:
    """Examples of `size` × `size` pixels; example i depends on seed, split, size and i alone.

    Each image holds three to five shapes of five kinds, turned by any angle, later ones over
    earlier ones. `count` examples: by default 2**20 to train on, without end for any practical
    run, and 64 held out, from another stream of random numbers.
    """

    split: str = "train"
    size: int = 96
    count: int | None = None
    seed: int = 0

    def __post_init__(self):
        if self.split not in STREAMS:
            raise InputError(f"Synthetic has the splits train and val, got {self.split!r}.")
        if self.size < 16:
            raise InputError(f"Synthetic images need size >= 16 pixels, got {self.size}.")
        if self.count is not None and self.count < 1:
            raise InputError(f"Synthetic needs count >= 1 or None, got {self.count}.")
        if self.seed < 0:
            raise InputError(f"Synthetic needs seed >= 0, got {self.seed}.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ground, then the five shapes."""
        return CLASSES

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """PASCAL VOC's colours."""
        return voc_palette()

    @property
    def channels(self) -> int:
        """The images are RGB."""
        return 3

    def prepare(self) -> None:
        """Does nothing: images are drawn when they are asked for."""

    def __len__(self) -> int:
        return COUNTS[self.split] if self.count is None else self.count

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"Example {index} of {len(self)}.")
        rng = np.random.default_rng((self.seed, STREAMS[self.split], index))
        image, label = _draw(rng, self.size)
        return {"image": image, "label": label, "name": f"{self.split}_{index:07d}"}


def _draw(
    rng: np.random.Generator, size: int
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    shapes = int(rng.integers(3, 6))
    colours = _distinct_colours(rng, shapes + 1)
    label = np.zeros((size, size), np.uint8)
    image = _texture(rng, colours[0], size, size)
    circles = np.empty((0, 3))
    for colour in colours[1:]:
        kind = int(rng.integers(1, len(CLASSES)))
        circles = np.vstack([circles, _free_circle(rng, circles, size)])
        center, radius = circles[-1, :2], circles[-1, 2]
        box = tuple(
            slice(max(0, int(c - 1.25 * radius)), min(size, int(c + 1.25 * radius) + 2))
            for c in center
        )
        inside = _inside(CLASSES[kind], box, center, radius, rng.uniform(0, 2 * np.pi))
        image[box] = np.where(
            inside[..., None], _texture(rng, colour, *inside.shape), image[box]
        )
        label[box][inside] = kind
    image += 8 * rng.standard_normal(image.shape, np.float32)
    return image.clip(0, 255).astype(np.uint8), label


def _free_circle(
    rng: np.random.Generator, circles: Float64[np.ndarray, "n 3"], size: int
) -> Float64[np.ndarray, "3"]:
    """Returns (y, x, radius) of a shape that overlaps others a little and rarely hides them."""
    radius = size * rng.uniform(0.14, 0.23)
    centers = rng.uniform(0.8 * radius, size - 0.8 * radius, size=(8, 2))
    distances = np.linalg.norm(centers[:, None] - circles[:, :2], axis=-1)
    free = (distances > 0.75 * (radius + circles[:, 2])).all(-1)
    return np.append(centers[free.argmax()], radius)


def _distinct_colours(rng: np.random.Generator, count: int) -> Float32[np.ndarray, "n 3"]:
    """Returns any two differ by 40 or more in a channel, and any order of them is as likely."""
    cells = np.stack(np.unravel_index(rng.permutation(27)[:count], (3, 3, 3)), axis=-1)
    return (47 + 80 * cells + rng.uniform(-20, 20, (count, 3))).astype(np.float32)


def _texture(
    rng: np.random.Generator, colour: Float32[np.ndarray, "3"], h: int, w: int
) -> Float32[np.ndarray, "h w 3"]:
    """Returns stripes of a random direction, width and strength around `colour`."""
    angle, frequency = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.2)
    y = np.arange(h, dtype=np.float32)[:, None] * np.float32(frequency * np.sin(angle))
    x = np.arange(w, dtype=np.float32) * np.float32(frequency * np.cos(angle))
    strength = rng.uniform(-25, 25, 3).astype(np.float32)
    return colour + np.sin(y + x)[..., None] * strength


def _inside(kind: str, box, center, radius: float, angle: float) -> Bool[np.ndarray, "h w"]:
    """Returns True at the pixels of `box` inside the shape, turned by `angle` radians."""
    y = ((np.arange(box[0].start, box[0].stop) - center[0]) / radius)[:, None]
    x = ((np.arange(box[1].start, box[1].stop) - center[1]) / radius)[None, :]
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    if kind == "disk":
        return u**2 + v**2 < 1
    if kind == "square":
        return np.maximum(abs(u), abs(v)) < 0.87
    if kind == "triangle":
        return np.maximum(v, 0.866 * abs(u) - 0.5 * v) < 0.62
    if kind == "ring":
        return abs(np.hypot(u, v) - 0.82) < 0.28
    return (np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 1.12)

"""Images of discs and rectangles that draw themselves, with the exact mask of each object.

An image has any number of objects, from none to `most`, and later ones lie over earlier ones.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from segjax.contracts import Example
from segjax.data.drawn_objects import DrawnObject, cropped
from segjax.data.object_records import object_entries
from segjax.data.palette import voc_palette
from segjax.data.synthetic import COUNTS, STREAMS
from segjax.errors import InputError

COLOURS = ((200, 70, 60), (70, 110, 210))
"""Of discs and of rectangles; each object's colour differs a little."""

GROUNDS = ((60, 110, 60), (170, 150, 110))
"""Of the lower and the upper part of the ground, in panoptic images."""

CROWDED = 40
"""Objects that an image may have by default."""

TRIES = 12
"""Places that are tried for an object."""


@dataclass(frozen=True)
class SyntheticObjects:
    """Examples of `size` × `size` pixels; example i depends on the other fields and i alone.

    Each image draws a number of objects from `least` to `most`. It has fewer where there is no
    room, because at least half of each object stays visible. The masks of objects overlap: that
    of the lower one has its hidden part too. Classes are the background, disc and rectangle.

    With `panoptic=True` masks are what is visible, and there is no background: classes are
    grass and sand, which are stuff, disc and rectangle. `count` examples: by default 2**20 to
    train on, and 64 held out, from another stream of random numbers.
    """

    split: str = "train"
    size: int = 96
    count: int | None = None
    seed: int = 0
    least: int = 0
    most: int = CROWDED
    panoptic: bool = False

    def __post_init__(self):
        if self.split not in STREAMS:
            raise InputError(
                f"SyntheticObjects has the splits train and val, got {self.split!r}."
            )
        if self.size < 16:
            raise InputError(
                f"SyntheticObjects images need size >= 16 pixels, got {self.size}."
            )
        if self.count is not None and self.count < 1:
            raise InputError(f"SyntheticObjects needs count >= 1 or None, got {self.count}.")
        if self.seed < 0:
            raise InputError(f"SyntheticObjects needs seed >= 0, got {self.seed}.")
        if not 0 <= self.least <= self.most <= 1000:
            raise InputError(
                "SyntheticObjects needs 0 <= least <= most <= 1000, got "
                f"least={self.least} and most={self.most}."
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The background, or grass and sand, then disc and rectangle."""
        below = ("grass", "sand") if self.panoptic else ("background",)
        return (*below, "disc", "rectangle")

    @property
    def things(self) -> tuple[int, ...]:
        """The ids of disc and rectangle."""
        first = len(self.class_names) - 2
        return first, first + 1

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
        image, label = self._ground(rng)
        drawn = _shapes(rng, self.size, int(rng.integers(self.least, self.most + 1)))
        hidden = np.zeros(label.shape, bool)
        visible = []
        for kind, mask in reversed(drawn):  # The last one lies above all.
            visible.insert(0, (kind, mask & ~hidden))
            hidden |= mask
        for kind, mask in drawn:
            colour = COLOURS[kind] + rng.uniform(-40, 40, 3)
            image[mask], label[mask] = colour, self.things[kind]
        image += 6 * rng.standard_normal(image.shape)
        objects = [
            DrawnObject(number, number, self.things[kind], *cropped(mask), where="")
            for number, (kind, mask) in enumerate(visible if self.panoptic else drawn, 1)
        ]
        return {
            "image": image.clip(0, 255).astype(np.uint8),
            "label": label,
            "name": f"{self.split}_{index:07d}",
            **object_entries(objects, label.shape),
        }

    def _ground(
        self, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
        """Returns the image and the label below all objects."""
        label = np.zeros((self.size, self.size), np.uint8)
        if not self.panoptic:
            return np.full((*label.shape, 3), rng.uniform(90, 140), np.float64), label
        label[: int(self.size * rng.uniform(0.2, 0.8))] = 1
        return np.array(GROUNDS, np.float64)[label], label


def _shapes(
    rng: np.random.Generator, size: int, count: int
) -> list[tuple[int, Bool[np.ndarray, "h w"]]]:
    """Returns up to `count` pairs (0 disc or 1 rectangle, mask), the lowest first.

    More of them are smaller. Half of each at least stays visible below the later ones.
    """
    drawn: list[tuple[int, Bool[np.ndarray, "h w"]]] = []
    owners = np.zeros((size, size), int)
    areas = [0]
    for _ in range(count):
        kind = int(rng.integers(2))
        for _ in range(TRIES):
            mask = _shape(rng, size, kind, 0.5 / max(count, 4) ** 0.5)
            hidden = owners[mask]
            left = np.bincount(owners[~mask], minlength=len(areas))[1:]
            there = np.unique(hidden[hidden > 0])
            if mask.any() and all(2 * left[each - 1] >= areas[each] for each in there):
                drawn.append((kind, mask))
                areas.append(int(mask.sum()))
                owners[mask] = len(drawn)
                break
    return drawn


def _shape(
    rng: np.random.Generator, size: int, kind: int, share: float
) -> Bool[np.ndarray, "h w"]:
    """Returns the mask of a disc (0) or rectangle (1) of about `share` of the image's side."""
    half = np.maximum(size * share * rng.uniform(0.5, 1.0, 2), 2.0)
    half = half[:1].repeat(2) if kind == 0 else half
    y, x = (
        (np.arange(size) + 0.5 - rng.uniform(0.7 * each, size - 0.7 * each)) / each
        for each in half
    )
    if kind == 0:
        return y[:, None] ** 2 + x[None, :] ** 2 < 1
    return np.maximum(abs(y)[:, None], abs(x)[None, :]) < 1

"""Elastic deformation, as U-Net uses it (Ronneberger et al., 2015, section 3.1)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int, Shaped

from segjax.contracts import Example
from segjax.transforms.averages import as_dtype
from segjax.transforms.entries import move, size_of, unmoved
from segjax.transforms.fields import check_count, check_number, check_probability
from segjax.transforms.kinds import Motion


@dataclass(frozen=True)
class RandomElastic:
    """The image pulled smoothly in random directions, with `probability`.

    Displacement vectors on a coarse `grid` × `grid` that spans the image are Gaussian with a
    standard deviation of `sigma` pixels (the paper: 3 × 3, 10 pixels), and bicubic in between.
    Images and weight maps are sampled bilinearly, labels by nearest neighbours; beyond its
    border the example is mirrored. Boxes of objects become the smallest around their masks.
    Points, and boxes without masks, are refused: where one goes is the inverse of where a pixel
    comes from, which has no formula, and pixels may go to several places.
    """

    sigma: float = 10.0
    grid: int = 3
    probability: float = 1.0

    def __post_init__(self):
        check_number(self, "sigma", 0)
        check_count(self, "grid", 2)
        check_probability(self)

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the deformed example; its size does not change."""
        if rng.random() >= self.probability:
            return unmoved(example, by="RandomElastic", knows_places=False)
        vectors = rng.normal(scale=self.sigma, size=(2, self.grid, self.grid))
        return deform(example, vectors)


def deform(example: Example, vectors: Float64[np.ndarray, "2 g g"]) -> Example:
    """Returns the example whose pixel (y, x) is the old one's at (y, x) + the vector there.

    `vectors` are (dy, dx) in pixels at nodes spread evenly from corner to corner.
    """
    h, w = size_of(example, by="RandomElastic")
    rows, columns = cubic_weights(vectors.shape[1], h), cubic_weights(vectors.shape[2], w)
    dy, dx = rows @ vectors @ columns.T
    y, x = dy + np.arange(h)[:, None], dx + np.arange(w)
    nearest = _mirrored(np.rint(y), h), _mirrored(np.rint(x), w)
    motion = Motion(
        by="RandomElastic",
        size=(h, w),
        bilinear=lambda planes, _: _bilinear(planes, y, x),
        nearest=lambda label, _: label[nearest],
        places=None,
    )
    return move(example, motion)


def cubic_weights(nodes: int, size: int) -> Float64[np.ndarray, "size nodes"]:
    """Returns the weights of `nodes`, spread over 0 … size − 1, at each pixel; rows sum to 1.

    Keys' cubic convolution with a = −1/2: it meets the nodes and has a continuous slope. Beyond
    the first and the last node their values go on.
    """
    position = np.linspace(0, nodes - 1, size)
    weights = np.zeros((size, nodes))
    first = np.floor(position).astype(int)
    for offset in (-1, 0, 1, 2):
        node = first + offset
        distance = abs(position - node)
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        kernel = np.where(distance < 1, near, np.where(distance < 2, far, 0))
        np.add.at(weights, (np.arange(size), node.clip(0, nodes - 1)), kernel)
    return weights


def _mirrored(position: np.ndarray, size: int) -> Int[np.ndarray, "h w"]:
    """Returns whole positions folded into 0 … size − 1, without repeating the border."""
    period = max(1, 2 * (size - 1))
    folded = position.astype(np.intp) % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros_like(folded)


def _bilinear(
    plane: Shaped[np.ndarray, "h w c"],
    y: Float64[np.ndarray, "h w"],
    x: Float64[np.ndarray, "h w"],
) -> Shaped[np.ndarray, "h w c"]:
    h, w = plane.shape[:2]
    top, left = np.floor(y), np.floor(x)
    down: Float32[np.ndarray, "h w 1"] = (y - top).astype(np.float32)[..., None]
    right: Float32[np.ndarray, "h w 1"] = (x - left).astype(np.float32)[..., None]
    y0, y1 = _mirrored(top, h), _mirrored(top + 1, h)
    x0, x1 = _mirrored(left, w), _mirrored(left + 1, w)
    upper = plane[y0, x0] * (1 - right) + plane[y0, x1] * right
    lower = plane[y1, x0] * (1 - right) + plane[y1, x1] * right
    sampled = upper * (1 - down) + lower * down
    return as_dtype(sampled, plane.dtype)

"""Small images as extra metrics read them."""

import numpy as np

from segjax.contracts import IGNORE
from segjax.scores.extra_metric import ScoredImage

NAMES = ("ground", "road", "car", "sky")


def blobs(rng: np.random.Generator, shape=(24, 31), k: int = 3) -> np.ndarray:
    """Smooth random class ids."""
    coarse = rng.normal(size=(k, shape[0] // 6 + 2, shape[1] // 6 + 2))
    fine = coarse.repeat(6, 1).repeat(6, 2)[:, : shape[0], : shape[1]]
    return np.argmax(fine + 0.7 * rng.normal(size=(k, *shape)), 0)


def image(seed: int, *, k: int = 3, shape=(24, 31), ignored: bool = True) -> ScoredImage:
    """Classes that exclude one another; the last of the names never occurs."""
    rng = np.random.default_rng(seed)
    label, prediction = blobs(rng, shape, k), blobs(rng, shape, k)
    prediction = np.where(rng.random(shape) < 0.7, label, prediction)
    if ignored:
        label = np.where(rng.random(shape) < 0.1, IGNORE, label)
    return ScoredImage(label, prediction, label != IGNORE, NAMES[: k + 1])


def planes(seed: int, *, k: int = 2, shape=(24, 31)) -> ScoredImage:
    """Classes that may overlap, with probabilities."""
    rng = np.random.default_rng(seed)
    label = np.stack([blobs(rng, shape, 2) for _ in range(k)], -1)
    p = (0.4 * label + 0.6 * rng.random(label.shape)).astype(np.float32)
    label = np.where(rng.random(label.shape) < 0.1, IGNORE, label)
    return ScoredImage(label, (p >= 0.5).astype(int), label != IGNORE, NAMES[:k], p)


def total(metric, images) -> dict:
    """The metric's scores of some images."""
    counts = [metric.count(each) for each in images]
    names = images[0].class_names
    return metric.scores(np.stack(counts) if metric.per_image else sum(counts), names)


def probabilities(seed: int, *, k: int = 4, shape=(24, 31)) -> ScoredImage:
    """Classes that exclude one another, with probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(*shape, k)) * 2
    p = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)
    prediction = p.argmax(-1)
    label = np.where(rng.random(shape) < 0.6, prediction, rng.integers(0, k, shape))
    label = np.where(rng.random(shape) < 0.1, IGNORE, label)
    return ScoredImage(label, prediction, label != IGNORE, NAMES[:k], p)

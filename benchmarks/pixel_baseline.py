"""What a pixel's own colour and place tell of its class: the score that a network has to beat.

    python benchmarks/pixel_baseline.py synthetic
    python benchmarks/pixel_baseline.py camvid --data /data/camvid

Trains classifiers that see one pixel at a time, without any neighbour, and prints their mIoU
and pixel accuracy over the whole held-out set, void dropped: a linear softmax of (R, G, B), one
of all products of two of (1, R, G, B, y, x), and a histogram of classes over bins of colour and
place. Each also with classes weighted as if all were equally frequent. A few minutes.
"""

import argparse
import sys
from collections.abc import Callable, Iterator

import numpy as np

from segjax import metrics
from segjax.contracts import IGNORE, Dataset
from segjax.data.camvid import CamVid
from segjax.data.synthetic import Synthetic
from segjax.errors import run_command

Predict = Callable[[np.ndarray], np.ndarray]
"""Pixels n × 5, (R, G, B, y, x) in 0 … 1 -> scores n × k; the largest is the prediction."""


def pixels(example) -> np.ndarray:
    """(R, G, B, y, x), each in 0 … 1, of every pixel: (h · w) × 5, float32."""
    h, w, _ = example["image"].shape
    place = np.stack(np.meshgrid(np.arange(h) / h, np.arange(w) / w, indexing="ij"), axis=-1)
    both = np.concatenate([example["image"] / np.float32(255), place], axis=-1)
    return both.reshape(-1, 5).astype(np.float32)


def sample(dataset: Dataset, images: int, per_image: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels n × 5 and their classes n, from random places of the first images."""
    rng = np.random.default_rng(0)
    features, labels = [], []
    for example in first(dataset, images):
        label = example["label"].ravel()
        chosen = rng.permutation(np.flatnonzero(label != IGNORE))[:per_image]
        features.append(pixels(example)[chosen])
        labels.append(label[chosen])
    return np.concatenate(features), np.concatenate(labels)


def first(dataset: Dataset, images: int) -> Iterator:
    return (dataset[i] for i in range(min(images, len(dataset))))


def linear(x: np.ndarray) -> np.ndarray:
    """(1, R, G, B)."""
    return np.concatenate([np.ones_like(x[:, :1]), x[:, :3]], axis=1)


def quadratic(x: np.ndarray) -> np.ndarray:
    """All products of two of (1, R, G, B, y, x): 21."""
    terms = np.concatenate([np.ones_like(x[:, :1]), x], axis=1)
    first, second = np.triu_indices(terms.shape[1])
    return terms[:, first] * terms[:, second]


def softmax_classifier(
    dataset: Dataset,
    expand: Callable[[np.ndarray], np.ndarray],
    *,
    images: int,
    balanced: bool = False,
    per_image: int = 100,
    steps: int = 300,
) -> Predict:
    """Softmax regression on expanded features, by accelerated gradient descent to the end."""
    x, label = sample(dataset, images, per_image)
    k = len(dataset.class_names)
    raw = expand(x)
    mean, spread = raw.mean(0), raw.std(0) + 1e-6
    mean[0], spread[0] = 0, 1
    scaled = lambda x: (expand(x) - mean) / spread
    features, truth = scaled(x), np.eye(k, dtype=np.float32)[label]
    frequency = truth.mean(0)
    weight = (1 / (k * np.maximum(frequency, 1e-6)) if balanced else np.ones(k))[label]
    weight = (weight / weight.sum()).astype(np.float32)
    # Softmax's curvature is at most half the largest eigenvalue of the features' second moment.
    rate = 2 / np.linalg.eigvalsh((features * weight[:, None]).T @ features)[-1]
    coefficients = ahead = np.zeros((features.shape[1], k), np.float32)
    for step in range(steps):
        logits = features @ ahead
        probability = np.exp(logits - logits.max(1, keepdims=True))
        probability /= probability.sum(1, keepdims=True)
        gradient = features.T @ ((probability - truth) * weight[:, None])
        following = ahead - rate * gradient
        ahead = following + step / (step + 3) * (following - coefficients)
        coefficients = following
    return lambda x: scaled(x) @ coefficients


def histogram_classifier(
    dataset: Dataset,
    *,
    images: int,
    balanced: bool = False,
    colours: int = 16,
    rows: int = 12,
    columns: int = 8,
) -> Predict:
    """Frequencies of classes by bin of colour and place; coarser bins help where few fell."""
    k = len(dataset.class_names)
    levels = [(colours, rows, columns), (colours, 1, 1), (colours // 4, rows, 1), (1, 1, 1)]
    counts = [np.zeros((c**3 * r * s, k)) for c, r, s in levels]
    for example in first(dataset, images):
        label = example["label"].ravel()
        x, label = pixels(example)[label != IGNORE], label[label != IGNORE]
        for level, table in zip(levels, counts, strict=True):
            cells = _bin(x, *level) * k + label
            table += np.bincount(cells, minlength=table.size).reshape(table.shape)
    prior = counts[-1][0] / counts[-1][0].sum() if balanced else np.ones(k)

    def predict(x: np.ndarray) -> np.ndarray:
        probability = np.full((len(x), k), 1 / k)
        for level, table in zip(levels[::-1], counts[::-1], strict=True):
            found = table[_bin(x, *level)]
            # As if the coarser bins had been seen 20 times here.
            probability = (found + 20 * probability) / (found.sum(1, keepdims=True) + 20)
        return probability / prior

    return predict


def _bin(x: np.ndarray, colours: int, rows: int, columns: int) -> np.ndarray:
    sides = np.array([colours] * 3 + [rows, columns])
    cells = np.minimum((x * sides).astype(np.int32), sides - 1)
    return np.asarray(np.ravel_multi_index(tuple(cells.T), tuple(sides)))


def score(predict: Predict, dataset: Dataset) -> tuple[float, float]:
    """(mIoU, pixel accuracy) of one confusion matrix over the whole dataset."""
    k = len(dataset.class_names)
    confusion = np.zeros((k, k), np.int64)
    for example in first(dataset, len(dataset)):
        prediction = predict(pixels(example)).argmax(1)
        confusion += metrics.confusion_matrix(example["label"].ravel(), prediction, k)
    return metrics.mean_iou(confusion), metrics.pixel_accuracy(confusion)


def main() -> None:
    parser = argparse.ArgumentParser(description="Score classifiers that see single pixels.")
    parser.add_argument("dataset", choices=("synthetic", "camvid"))
    parser.add_argument("--data", metavar="DIR", help="CamVid's folder")
    parser.add_argument("--split", default="val", help="held-out split (default: val)")
    parser.add_argument("--images", type=int, default=500, help="to train on (default: 500)")
    arguments = parser.parse_args()
    if arguments.dataset == "camvid":
        train, held_out = (
            CamVid("train", arguments.data),
            CamVid(arguments.split, arguments.data),
        )
    else:
        train, held_out = Synthetic("train", size=64), Synthetic(arguments.split, size=64)
    train.prepare()
    held_out.prepare()
    for balanced in (False, True):
        for name, expand in (
            ("linear in R, G, B", linear),
            ("quadratic with place", quadratic),
        ):
            predict = softmax_classifier(
                train, expand, images=arguments.images, balanced=balanced
            )
            report(name, balanced, score(predict, held_out))
        predict = histogram_classifier(train, images=arguments.images, balanced=balanced)
        report("histogram of colour and place", balanced, score(predict, held_out))


def report(name: str, balanced: bool, scores: tuple[float, float]) -> None:
    name += ", balanced" if balanced else ""
    print(f"{name:42} mIoU {scores[0]:.4f}  pixel accuracy {scores[1]:.4f}", flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main))

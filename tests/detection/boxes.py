"""Boxes for tests, and a plain greedy suppression."""

import numpy as np


def random_boxes(rng, count, *, size=(40, 50), least=2.0):
    """Returns boxes inside an image of `size`, float32."""
    low = rng.uniform(0, np.array(size[::-1]) - least, (count, 2))
    high = low + rng.uniform(least, 0.6 * np.array(size[::-1]), (count, 2))
    boxes = np.concatenate([low, np.minimum(high, np.array(size[::-1]))], -1)
    return boxes.astype(np.float32)


def overlap(a, b):
    """Returns the intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    inner = np.prod(np.maximum(sides, 0))
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return inner / (area(a) + area(b) - inner)


def greedy(boxes, scores, iou, groups):
    """Returns the indices that suppression keeps, by falling score."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        rivals = (j for j in kept if groups[j] == groups[i])
        if all(overlap(boxes[i], boxes[j]) <= iou for j in rivals):
            kept.append(int(i))
    return kept


def decoded(deltas, reference, weights=(1, 1, 1, 1)):
    """Returns the box of one encoded box."""
    dx, dy, dw, dh = deltas / np.array(weights)
    x0, y0, x1, y1 = reference
    w, h = x1 - x0, y1 - y0
    x, y = x0 + w / 2 + dx * w, y0 + h / 2 + dy * h
    w, h = w * np.exp(min(dw, np.log(1000 / 16))), h * np.exp(min(dh, np.log(1000 / 16)))
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def clipped(box, size):
    """Returns the part of a box inside an image of `size`."""
    return np.clip(box, 0, [size[1], size[0], size[1], size[0]])

"""Made-up examples with objects: ellipses that overlap, a crowd, and objects of one pixel."""

import numpy as np

from segjax.objects import layered

NAMES = ("background", "cell", "nucleus", "wall")
THINGS = (1, 2)


def example(count=6, *, size=(40, 50), seed=0, crowds=0, name=None):
    """Returns an example with `count` objects, the last `crowds` of which are crowds."""
    rng = np.random.default_rng([seed, count])
    masks = [mask(rng, size) for _ in range(count)]
    classes = rng.choice(THINGS, count).astype(np.int32)
    # Not in order and with gaps, as in a file.
    ids = rng.permutation(np.arange(3, 3 + 2 * count, 2)).astype(np.int32)
    label = np.zeros(size, np.uint8)
    label[:, : size[1] // 8] = 3
    for each, class_id in zip(masks, classes, strict=True):
        label[each] = class_id
    return {
        "image": rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        "label": label,
        "boxes": np.array([box(each) for each in masks], np.float32).reshape(-1, 4),
        "classes": classes,
        "instance_ids": ids,
        "crowd": np.arange(count) >= count - crowds,
        "instances": layered(masks, ids.tolist(), size),
        "name": name or f"made {seed}",
    }


def mask(rng, size):
    """Returns an ellipse, or one time in four a single pixel."""
    h, w = size
    y, x = rng.integers(h), rng.integers(w)
    if rng.random() < 0.25:
        found = np.zeros(size, bool)
        found[y, x] = True
        return found
    height, width = rng.uniform(1, h / 3), rng.uniform(1, w / 3)
    rows, columns = np.mgrid[:h, :w]
    return ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 <= 1


def box(mask):
    """Returns the smallest box around a mask."""
    y, x = np.nonzero(mask)
    return x.min(), y.min(), x.max() + 1, y.max() + 1


def masks_of(found):
    """Returns {id: mask} of an example's layers."""
    layers = found["instances"].reshape(*found["image"].shape[:2], -1)
    return {int(i): (layers == i).any(-1) for i in np.unique(layers) if i}

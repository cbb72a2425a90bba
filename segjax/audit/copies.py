"""Images that are there twice: equal pixel for pixel, or nearly so.

Two images are near-copies if their shapes and their details agree:

* reduced to 8 × 8 grey cells, they correlate by at least `COARSE`;
* what 32 × 32 cells show beyond the 8 × 8 ones correlates by at least `DETAIL`.

Neither changes with brightness and contrast, and both change only a little if an image is
compressed or resized. The second keeps apart images that share nothing but a gradient of light.
An image whose details are weaker than `FLAT` grey levels, such as an empty one, has only exact
copies. An image that is mirrored, turned, or cropped by more than a few per cent is not found.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

COARSE, DETAIL, FLAT = 0.95, 0.9, 1.0

CELLS = 8
ROWS = 2048
"""Images that are compared with all others at a time: what bounds memory."""


def near_copies(grey: UInt8[np.ndarray, "n s s"]) -> list[list[int]]:
    """Returns groups of images, by index, in which each is a near-copy of another one."""
    coarse, details, textured = _parts(grey)
    indices = np.flatnonzero(textured)
    coarse, details = coarse[indices], details[indices]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(indices), ROWS):
        alike = coarse[start : start + ROWS] @ coarse[start:].T >= COARSE
        one, other = np.nonzero(np.triu(alike, 1))
        one, other = one + start, other + start
        same = np.einsum("nd,nd->n", details[one], details[other]) >= DETAIL
        pairs += zip(indices[one[same]].tolist(), indices[other[same]].tolist(), strict=True)
    return joined(pairs)


def _parts(grey: np.ndarray) -> tuple[Float32[np.ndarray, "n c"], np.ndarray, np.ndarray]:
    """Returns cells and details, each of mean 0 and norm 1, and which images have details."""
    n, side, _ = grey.shape
    block = side // CELLS
    blocks = grey.astype(np.float32).reshape(n, CELLS, block, CELLS, block)
    cells = blocks.mean((2, 4), keepdims=True)
    details = (blocks - cells).reshape(n, -1)
    return _unit(cells.reshape(n, -1)), _unit(details), details.std(1) >= FLAT


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def joined(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Returns groups of indices that pairs connect, each sorted, by their first index.

    >>> joined([(4, 7), (1, 2), (2, 5)])
    [[1, 2, 5], [4, 7]]
    """
    parent: dict[int, int] = {}

    def root(i: int) -> int:
        parent.setdefault(i, i)
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for i in sorted(parent):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())

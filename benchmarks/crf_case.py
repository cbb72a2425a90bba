"""One image for the CRF, the same for every side."""

import numpy as np


def crf_case(size: tuple[int, int], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a noisy image of coloured blocks, h w 3, and unsure probabilities, h w k."""
    rng = np.random.default_rng(0)
    rows, columns = -(-size[0] // 50), -(-size[1] // 50)
    whole = lambda blocks: blocks.repeat(50, 0).repeat(50, 1)[: size[0], : size[1]]
    blocks = rng.integers(0, classes, (rows, columns))
    colours = rng.integers(20, 236, (classes, 3))
    image = colours[whole(blocks)] + rng.integers(-20, 20, (*size, 3))
    scores = np.exp(2 * np.eye(classes)[whole(blocks)] + rng.normal(size=(*size, classes)))
    probabilities = scores / scores.sum(-1, keepdims=True)
    return image.astype(np.uint8), probabilities.astype(np.float32)

"""Labels and weights on a network's own grid of scores."""

import numpy as np

from segjax.contracts import Array, Batch
from segjax.labels import as_array, check_same_shape


def on_logits_grid(batch: Batch, size: tuple[int, int], *, stride: int = 1) -> Batch:
    """Returns the batch with `label` and `weight` on a network's grid of scores.

    It serves papers whose loss is not on the image's grid. It takes every `stride`-th pixel
    from the first (DeepLab v1 and v2 train on their stride-8 map), then the centre (the
    valid-convolution U-Net returns scores of the centre of its input).

    Args:
      batch: `label` b H W, or b H W k of k planes, and if present `weight`, in either shape;
        other entries do not change.
      size: (h, w) of the logits.
      stride: pixels of the image from one score to the next.

    Raises:
      ValueError: the logits are larger than the labels, a map is neither b H W nor b H W k, or
        two maps differ in b, H, W or, where both have planes, in k.

    >>> import jax.numpy as jnp
    >>> label = jnp.arange(25).reshape(1, 5, 5)
    >>> on_logits_grid({"label": label}, (3, 3))["label"].tolist()
    [[[6, 7, 8], [11, 12, 13], [16, 17, 18]]]
    >>> on_logits_grid({"label": label}, (3, 3), stride=2)["label"].tolist()
    [[[0, 2, 4], [10, 12, 14], [20, 22, 24]]]
    """
    maps = {key: as_array(batch[key]) for key in ("label", "weight") if key in batch}
    # A map without planes applies to each plane of the other.
    shared = min((np.ndim(value) for value in maps.values()), default=0)
    if len({np.shape(value)[:shared] for value in maps.values()}) > 1:
        check_same_shape(**maps)
    for key, value in maps.items():
        if np.ndim(value) not in (3, 4):
            raise ValueError(
                f"The {key} has shape {np.shape(value)}; it must be b h w, one number a pixel, "
                "or b h w k, one a pixel and plane."
            )
    moved = {key: _centre(value[:, ::stride, ::stride], size) for key, value in maps.items()}
    return {**batch, **moved}


def _centre(x: Array, size: tuple[int, int]) -> Array:
    (height, width), (h, w) = x.shape[1:3], size
    if h > height or w > width:
        raise ValueError(f"Logits of {h}x{w} are larger than their labels of {height}x{width}.")
    top, left = (height - h) // 2, (width - w) // 2
    return x[:, top : top + h, left : left + w]

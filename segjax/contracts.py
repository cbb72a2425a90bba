"""Names of the arrays and callables that cross modules."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from segjax.errors import InputError

AXIS = "devices"
"""The one name of the axis that devices split: the batch."""

IGNORE = 255
"""The label of pixels that no loss and no metric counts."""

FULL_SCALE: Mapping[str, float] = {
    "uint8": 255.0,
    "uint16": 65535.0,
    **dict.fromkeys(("float16", "bfloat16", "float32", "float64"), 1.0),
}
"""The value of full brightness in images of each dtype; there are no others."""


def full_scale(dtype: Any) -> float:
    """The value of full brightness in images of this dtype.

    >>> full_scale(np.uint8), full_scale(np.float32)
    (255.0, 1.0)

    Raises:
      InputError: images of this dtype have none.
    """
    name = np.dtype(dtype).name
    if name not in FULL_SCALE:
        raise InputError(
            f"An image is {name}, whose full brightness is not known: let the dataset give "
            "uint8 (0 to 255), uint16 (0 to 65535) or float32 (as the network is to see it)."
        )
    return FULL_SCALE[name]


Array = jax.Array
Variables = Mapping[str, Any]
"""A Flax tree of collections: `params`, and `batch_stats` where there is BatchNorm."""

Features = Mapping[str, Array]
"""`c1` … `c5`, each b h w c; `c_k` has stride min(2**k, output_stride)."""

Batch = Mapping[str, Array]
"""`image` b h w c, `label` b h w, `step` b, and what transforms add (`weight` b h w)."""

Loss = Callable[[Array, Batch], Mapping[str, tuple[Array, Array]]]
"""(logits b h w k, batch on their grid) -> {term: (total, weight)}, sums over valid pixels."""

Example = Mapping[str, Any]
"""`image` h w c (uint8, uint16 or float32), `label` h w (integers), `name`; NumPy."""

Transform = Callable[[Example, np.random.Generator], Example]


@runtime_checkable
class Dataset(Protocol):
    """Examples by index, with what their labels mean."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class, in the order of the label ids 0 … k − 1."""
        ...

    @property
    def palette(self) -> np.ndarray:
        """Colours by label id, 256 × 3, uint8; row 255 is the colour of ignored pixels."""
        ...

    def prepare(self) -> None:
        """Finds, checks and caches every file; afterwards `len` and indexing do not fail.

        Raises:
          InputError: a folder or file is missing, unreadable or does not fit; all in one line.
        """
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

"""Names of the arrays and callables that cross modules."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

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

Terms = Mapping[str, tuple[Array, Array]]
"""{term: (total, weight)}, sums over what counts: the loss adds up total / weight of each term,
both summed over all devices first. A term `auxiliary/…` counts `auxiliary_weight` times."""

Loss = Callable[[Array, Batch], Terms]
"""(logits b h w k, batch on their grid) -> terms, sums over valid pixels."""

Objective = Callable[[Variables, Batch, Array], tuple[Terms, Mapping[str, Any]]]
"""(variables, batch, key) -> (terms, new batch statistics): forward pass and loss of a device's
share of a batch. Weights do not depend on parameters; no collectives but BatchNorm's own."""


class Traced(NamedTuple):
    """What a network is on examples of one shape: its variables' shapes, its output's h × w."""

    variables: Any
    grid: tuple[int, int]


PredictFn = Callable[[Array], Array]
"""image b h w c, any h and w -> probabilities b h w k."""

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

"""Averages of neighbouring pixels, in the dtype that the pixels have."""

import numpy as np
from jaxtyping import Shaped

EXACT = 2**24
"""Up to here float32, in which averages are taken, holds every integer."""


def as_dtype(averages: Shaped[np.ndarray, "..."], dtype: np.dtype) -> Shaped[np.ndarray, "..."]:
    """Returns the averages in a dtype: rounded for integers and booleans.

    >>> as_dtype(np.array([0.3, 0.7]), np.dtype(bool)).tolist()
    [False, True]
    """
    return (np.rint(averages) if dtype.kind in "iub" else averages).astype(dtype)


def not_averaged(values: Shaped[np.ndarray, "..."]) -> int | float | None:
    """Returns a value that would not survive an average taken in float32; None where all do.

    >>> not_averaged(np.array([7, 2**24 + 1], np.int32)), not_averaged(np.array([7.0, 1e40]))
    (16777217, 1e+40)
    """
    if values.dtype.kind == "b" or values.dtype.itemsize <= 2 or values.dtype == np.float32:
        return None
    is_float = values.dtype.kind == "f"
    most = float(np.finfo(np.float32).max) if is_float else EXACT
    high = values[(values > most) | (values < -most)]
    high = high[np.isfinite(high)] if is_float else high
    return high[0].item() if high.size else None

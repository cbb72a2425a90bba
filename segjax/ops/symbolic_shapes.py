"""Sizes that may be symbols: an export for any height and width computes with `h`, not with 65.

A symbol adds, multiplies and divides like an integer, but NumPy cannot count up to it and a
comparison that holds for some sizes only raises. Elsewhere sizes are integers and what is made
of them is NumPy's, a constant of the program.
"""

import jax
import jax.numpy as jnp
import numpy as np


def positions(start: int, stop: int) -> np.ndarray | jax.Array:
    """Returns start … stop − 1; where one of them is a symbol, as a traced array.

    >>> positions(-1, 2).tolist()
    [-1, 0, 1]
    """
    known = all(isinstance(n, (int, np.integer)) for n in (start, stop))
    return np.arange(start, stop) if known else jnp.arange(start, stop)

"""Sizes that may be symbols: an export for any height and width computes with `h`, not 65.

A symbol adds, multiplies and divides like an integer. But NumPy cannot count up to it, and a
comparison that is true for some sizes only raises an error. Outside such exports sizes are
integers, and NumPy turns them into constants of the program.
"""

import jax
import jax.numpy as jnp
import numpy as np


def positions(start: int, stop: int) -> np.ndarray | jax.Array:
    """Returns start … stop − 1, as a traced array where one of them is a symbol.

    >>> positions(-1, 2).tolist()
    [-1, 0, 1]
    """
    known = all(isinstance(n, (int, np.integer)) for n in (start, stop))
    return np.arange(start, stop) if known else jnp.arange(start, stop)

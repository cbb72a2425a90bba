"""SBD's `.mat` files: the class of each pixel, and the objects."""

import io
import pathlib
from typing import Any

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.errors import InputError


def class_ids(data: bytes, *, name: pathlib.Path) -> UInt8[np.ndarray, "h w"]:
    """Returns the classes of a file of `cls/`: 0 … 20, in VOC's order.

    Raises:
      InputError: the contents are not such a file; the line calls it `name`.
    """
    return _map(_fields(data, "GTcls", name), "GTcls", name)


def objects(
    data: bytes, *, name: pathlib.Path
) -> tuple[UInt8[np.ndarray, "h w"], dict[int, int]]:
    """Returns the map of objects of a file of `inst/`, and {object: class}; 0 is none.

    Raises:
      InputError: the contents are not such a file; the line calls it `name`.
    """
    fields = _fields(data, "GTinst", name)
    ids = _map(fields, "GTinst", name)
    categories = np.asarray(_value(fields, "Categories", "GTinst", name)).ravel().tolist()
    shown = {*np.unique(ids).tolist()} - {0}
    if strange := sorted(shown - {*range(1, len(categories) + 1)}):
        raise InputError(
            f"{name} shows the object {strange[0]}, but its Categories has {len(categories)} "
            "objects: get the file again."
        )
    return ids, {number: int(categories[number - 1]) for number in sorted(shown)}


def _fields(data: bytes, variable: str, name: pathlib.Path) -> Any:
    from scipy.io import loadmat  # Lazily: SciPy's readers are slow to import.

    try:
        return loadmat(io.BytesIO(data), variable_names=[variable])[variable].reshape(-1)[0]
    except MemoryError:
        raise
    except Exception as error:  # A broken file leads the reader to anything.
        raise InputError(
            f"{name} is not a MATLAB file of SBD with {variable} ({type(error).__name__}): get "
            "it again, or leave it out."
        ) from None


def _map(fields: Any, variable: str, name: pathlib.Path) -> UInt8[np.ndarray, "h w"]:
    ids = np.asarray(_value(fields, "Segmentation", variable, name))
    if ids.ndim != 2 or ids.dtype.kind not in "ui" or ids.size == 0:
        raise InputError(
            f"{name} has a {variable}.Segmentation of {ids.dtype} and shape {ids.shape}, not a "
            "map of integers: get the file again, or leave it out."
        )
    if not 0 <= ids.min() <= ids.max() <= IGNORE:
        strange = int(ids.min() if ids.min() < 0 else ids.max())
        raise InputError(
            f"{name} has {strange} in {variable}.Segmentation, which holds 0 to {IGNORE}: get "
            "the file again, or leave it out."
        )
    return ids.astype(np.uint8)


def _value(fields: Any, key: str, variable: str, name: pathlib.Path) -> Any:
    if fields.dtype.names is None or key not in fields.dtype.names:
        raise InputError(
            f"{name} has no {variable}.{key}: get the file again, or leave it out."
        )
    return fields[key]

"""`.npy` files, whose contents are NumPy arrays: images and masks of any depth."""

import io
import pathlib

import numpy as np

from segjax.data.decode import Limit
from segjax.errors import InputError

NPY = ".npy"

_MAGIC = b"\x93NUMPY"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def is_array(data: bytes) -> bool:
    """Returns whether the contents of a file are those of a `.npy` file."""
    return data.startswith(_MAGIC)


def array_bytes(array: np.ndarray) -> bytes:
    """Returns the contents of the `.npy` file of an array."""
    data = io.BytesIO()
    np.save(data, np.ascontiguousarray(array), allow_pickle=False)
    return data.getvalue()


def read_array(data: bytes, name: pathlib.Path, limit: Limit) -> np.ndarray:
    """Returns the array h w or h w c of a `.npy` file; the limit counts h times w.

    Raises:
      InputError: the file is cut short or holds Python objects, or the array has no pixels,
        other than two or three axes, or more than `limit`.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = _HEADERS.get(version, _HEADERS[2, 0])(file)
        if len(shape) not in (2, 3) or 0 in shape:
            raise InputError(
                f"{name} is an array of shape {shape}: save one image or mask, h w or h w c."
            )
        try:
            limit.check((shape[1], shape[0]))
        except InputError as error:
            raise InputError(f"{name} {error}") from None
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        return np.load(io.BytesIO(data), allow_pickle=False)
    except InputError:
        raise
    except Exception as error:  # NumPy raises whatever a broken header leads it to.
        reason = str(error).splitlines()[0] if str(error) else "broken"
        raise InputError(
            f"{name} cannot be read as an array ({reason}): replace it, or leave it out."
        ) from None

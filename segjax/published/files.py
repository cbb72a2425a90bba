"""Weights files of any kind → {name: array}."""

import pathlib
import zipfile

import jax.numpy as jnp
import numpy as np
from safetensors import deserialize

from segjax.errors import InputError
from segjax.published.torch_file import read_torch

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All arrays of a weights file, by the names that it gives them; nothing in it is run.

    Raises:
      InputError: the file is truncated, damaged, of another kind, or names code.
    """
    read = READERS[path.suffix]
    try:
        return read(path)
    # What a damaged file raises depends on where it is damaged.
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"{path} is no readable {path.suffix} file: {reason}.") from error


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    # The library's own NumPy reader knows no bfloat16.
    return {
        name: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in deserialize(path.read_bytes())
    }


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise InputError("it is no complete zip archive.")
    with np.load(path, allow_pickle=False) as file:
        return {name: _from_npz(file[name]) for name in file.files}


def _from_npz(array: np.ndarray) -> np.ndarray:
    # NumPy writes bfloat16 as two bytes of nothing in particular.
    return array.view(jnp.bfloat16) if array.dtype == np.dtype("V2") else array


READERS = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".pth": read_torch,
    ".pt": read_torch,
    ".bin": read_torch,
}
"""The reader of each kind of file, by its suffix."""

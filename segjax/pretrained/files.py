"""Reading weights files of any kind to {name: array}."""

import math
import pathlib
import zipfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from safetensors import deserialize

from segjax.errors import InputError
from segjax.pretrained.bounds import open_archive
from segjax.pretrained.containers import Opened, choose
from segjax.pretrained.file_checksum import check_file
from segjax.pretrained.file_kind import kind_of
from segjax.pretrained.torch_file import open_torch_legacy, open_torch_zip

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(jnp.bfloat16),
    "F8_E4M3": np.dtype(jnp.float8_e4m3fn),
    "F8_E5M2": np.dtype(jnp.float8_e5m2),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


class Arrays(NamedTuple):
    """One state dict of a file, by the names that the file gives its arrays.

    Attributes:
      arrays: arrays by name, without the chosen prefix.
      notes: lines for the user about where the arrays were found.
    """

    arrays: dict[str, np.ndarray]
    notes: tuple[str, ...]


def read_arrays(
    path: pathlib.Path,
    *,
    key: str | None = None,
    is_known: Callable[[Sequence[str]], bool] = lambda names: False,
) -> Arrays:
    """Returns the arrays of a weights file, recognised by its bytes; never runs its content.

    Args:
      path: the file.
      key: which of the state dicts in it to read; see `choose`.
      is_known: returns whether names have a known layout.

    Raises:
      InputError: the file is truncated, damaged or of another kind, or has nothing under `key`.
    """
    try:
        opened = OPENERS[kind_of(path)](path)
    # The exception depends on where the file is damaged.
    except Exception as error:
        raise _unreadable(path, error) from error
    try:
        chosen = choose(opened.names, key=key, is_known=is_known)
    except InputError as error:
        raise InputError(f"{path} {error}.") from None
    try:
        found = opened.read(chosen.key)
    except Exception as error:
        raise _unreadable(path, error) from error
    prefix = chosen.prefix
    taken = {n.removeprefix(prefix): a for n, a in found.items() if n.startswith(prefix)}
    return Arrays(taken, chosen.notes)


def _unreadable(path: pathlib.Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif not isinstance(error, InputError):
        reason = f"it is cut off or damaged ({reason}); copy or download it again"
    return InputError(f"{path} cannot be read as weights: {reason}.")


def _open_safetensors(path: pathlib.Path) -> Opened:
    # The library's own NumPy reader knows no bfloat16.
    content = path.read_bytes()
    entries = dict(deserialize(content))
    check_file(content)
    if others := sorted({str(entry["dtype"]) for entry in entries.values()} - {*_DTYPES}):
        raise InputError(f"it has arrays of {', '.join(others)}, which segjax does not read")

    def read(key: str) -> dict[str, np.ndarray]:
        """Returns all arrays."""
        return {
            name: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in entries.items()
        }

    return Opened({"": tuple(entries)}, read)


def _open_npz(path: pathlib.Path) -> Opened:
    def read(key: str) -> dict[str, np.ndarray]:
        """Returns all arrays."""
        with open_archive(path) as archive:
            return {
                each.filename.removesuffix(".npy"): _from_npz(archive, each)
                for each in archive.infolist()
            }

    with open_archive(path) as archive:
        names = tuple(name.removesuffix(".npy") for name in archive.namelist())
    return Opened({"": names}, read)


def _from_npz(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Returns the array of a member, whose bytes are counted before they are read."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = _HEADERS.get(version, _HEADERS[2, 0])(file)
        there = member.file_size - file.tell()
    if dtype.hasobject:
        raise InputError("it has arrays of Python objects; save plain numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != there:
        raise InputError(
            f"its array {member.filename[:100]!r} claims the shape {shape} of {dtype}, but "
            f"has {there:,} bytes; copy or download the file again"
        )
    with archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    # NumPy writes bfloat16 as an untyped pair of bytes.
    return array.view(jnp.bfloat16) if array.dtype == np.dtype("V2") else array


_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


OPENERS = {
    "safetensors": _open_safetensors,
    "npz": _open_npz,
    "torch zip": open_torch_zip,
    "torch legacy": open_torch_legacy,
}
"""The function that opens each kind of file."""

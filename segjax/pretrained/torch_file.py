"""Reading PyTorch's files to {name: array}, without PyTorch and without running their content.

There are two formats: a zip archive (PyTorch 1.6 and later), and the older one, a series of
pickles followed by the storages' bytes. The pickles are read as inert descriptions
(`inert_pickle`), so other content (arguments, optimizers, objects of any class) is skipped.
"""

import functools
import io
import pathlib
import re
import struct
from typing import BinaryIO

import numpy as np

from segjax.errors import InputError
from segjax.pretrained.bounds import check_unfolded, open_archive
from segjax.pretrained.containers import Opened
from segjax.pretrained.inert_pickle import Referenced, read_pickle
from segjax.pretrained.state_dicts import StateDict, state_dicts
from segjax.pretrained.torch_tensors import array_of, storage_of, unfolded_bytes

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def open_torch_zip(path: pathlib.Path) -> Opened:
    """Returns the state dicts in a zip archive that `torch.save` wrote.

    Raises:
      InputError: it is another kind of archive, or holds no state dict.
      Exception: of any kind, if the file is damaged.
    """
    with open_archive(path) as archive:
        names = archive.namelist()
        root = _root(names)
        order = f"{root}byteorder"
        if order in names and archive.read(order) != b"little":
            raise InputError("it was written on a big-endian machine; save it on another")
        pickle = archive.read(f"{root}data.pkl")
        found = state_dicts(read_pickle(io.BytesIO(pickle)), size=len(pickle))

    def read(key: str) -> dict[str, np.ndarray]:
        """Returns the arrays of one state dict."""
        _check_views(found[key], path)
        with open_archive(path) as archive:
            # Views share their storage, so its bytes are read once.
            data = functools.cache(lambda storage: archive.read(f"{root}data/{storage}"))
            return {name: array_of(name, tensor, data) for name, tensor in found[key].items()}

    return Opened({key: tuple(tensors) for key, tensors in found.items()}, read)


def _root(names: list[str]) -> str:
    """Returns the archive's top folder."""
    pickles = [name for name in names if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
    if any(re.fullmatch(r"([^/]+/)?constants\.pkl", name) for name in names):
        raise InputError(
            "it is a TorchScript program (torch.jit.save), not a state dict; in PyTorch, "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth') makes one"
        )
    if len(pickles) != 1:
        raise InputError(
            "it is a zip archive that torch.save did not write; it begins with "
            f"{', '.join(names[:3]) or 'nothing'}"
        )
    return pickles[0].removesuffix("data.pkl")


def open_torch_legacy(path: pathlib.Path) -> Opened:
    """Returns the state dicts in a file of PyTorch before 1.6, or in a pickle of NumPy arrays.

    Raises:
      InputError: it holds no state dict.
      Exception: of any kind, if the file is truncated or damaged.
    """
    with path.open("rb") as file:
        first, places = read_pickle(file), {}
        if first == MAGIC:
            if read_pickle(file) != PROTOCOL or not read_pickle(file)["little_endian"]:
                raise InputError("it was written on a big-endian machine; save it on another")
            references: list[Referenced] = []
            first = read_pickle(file, references=references)
            places = _places(file, keys=read_pickle(file), references=references)
    found = state_dicts(first, size=path.stat().st_size)

    def read(key: str) -> dict[str, np.ndarray]:
        """Returns the arrays of one state dict."""
        _check_views(found[key], path)
        with path.open("rb") as file:

            @functools.cache
            def data(storage: str) -> bytes:
                """Returns a storage's bytes."""
                start, length = places[storage]
                file.seek(start)
                return file.read(length)

            return {name: array_of(name, tensor, data) for name, tensor in found[key].items()}

    return Opened({key: tuple(tensors) for key, tensors in found.items()}, read)


def _check_views(state_dict: StateDict, path: pathlib.Path) -> None:
    """Raises InputError if tensors that repeat their storages have too many elements."""
    total = sum(unfolded_bytes(tensor) for tensor in state_dict.values())
    check_unfolded(total, path.stat().st_size)


def _places(
    file: BinaryIO, *, keys: list[str], references: list[Referenced]
) -> dict[str, tuple[int, int]]:
    """Returns {storage: (first byte, bytes)} of consecutive storages in a file."""
    storages = [storage for r in references if (storage := storage_of(r))]
    itemsizes = {storage.key: storage.itemsize for storage in storages}
    places = {}
    for key in keys:
        counted = file.read(8)
        if len(counted) < 8:
            raise InputError(
                f"it is cut off: {len(places)} of {len(keys)} storages are there; copy or "
                "download it again"
            )
        (count,) = struct.unpack("<q", counted)
        length = max(count, 0) * itemsizes[key]
        places[key] = (file.tell(), length)
        file.seek(length, io.SEEK_CUR)
    end, size = file.tell(), file.seek(0, io.SEEK_END)
    if size < end:
        raise InputError(f"it is cut off: {size:,} of {end:,} bytes; copy or download it again")
    return places

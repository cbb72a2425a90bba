"""PyTorch's `.pth` files → {name: array}, without PyTorch and without running what they hold.

A pickle may name any function to be called while it is read. Here names are looked up in a list
of six and nowhere else; tensors become descriptions, and those of the state dict become arrays.
Two formats: a zip archive (PyTorch 1.6 and later), and before it pickles one after another with
the storages' bytes behind them.
"""

import pathlib
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from segjax.errors import InputError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STATE_DICTS = ("state_dict", "model", "model_state_dict", "model_state")
"""Where training scripts keep the state dict in what they save."""

_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    count: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of the state dict in a file that `torch.save` wrote, by name.

    Raises:
      InputError: the pickle names what is not on the list, or holds no state dict.
      Exception: of any kind, where the file is truncated or damaged.
    """
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\3\4"
        file.seek(0)
        return _read_zip(file) if is_zip else _read_legacy(file)


def _read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        (pickled,) = [n for n in names if n == "data.pkl" or n.endswith("/data.pkl")]
        root = pickled.removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in names and archive.read(order) != b"little":
            raise InputError("it was written on a big-endian machine; save it on another.")
        with archive.open(pickled) as stream:
            found = _Unpickler(stream, encoding="utf-8").load()

        def data(storage: _Storage) -> bytes:
            """The storage's bytes."""
            return archive.read(f"{root}data/{storage.key}")

        return _arrays(found, data)


def _read_legacy(file: BinaryIO) -> dict[str, np.ndarray]:
    load = lambda: _Unpickler(file, encoding="utf-8").load()
    if load() != MAGIC or load() != PROTOCOL or not load()["little_endian"]:
        raise InputError("it is a pickle, but none that torch.save wrote.")
    unpickler = _Unpickler(file, encoding="utf-8")
    found = unpickler.load()
    data = {}
    for key in load():
        (count,) = struct.unpack("<q", file.read(8))
        dtype = unpickler.storages[key].dtype
        data[key] = file.read(max(count, 0) * dtype.itemsize)
    return _arrays(found, lambda storage: data[storage.key])


class _Unpickler(pickle.Unpickler):
    """Builds descriptions of tensors; whatever else a pickle names is refused."""

    def __init__(self, file: Any, **options: Any):
        super().__init__(file, **options)
        self.storages: dict[str, _Storage] = {}
        # Bound methods: a pickle cannot set attributes on them.
        self._known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch", "Size"): tuple,
            **{("torch", name): dtype for name, dtype in _DTYPES.items()},
        }

    def find_class(self, module: str, name: str) -> Any:
        """What the list has under a global's name.

        Raises:
          InputError: nothing.
        """
        if (module, name) not in self._known:
            raise InputError(
                f"it names {module}.{name}, which is no part of a state dict, and nothing of "
                "it was run; save torch.save(model.state_dict(), ...) or .safetensors."
            )
        return self._known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """The description of the storage that an identifier stands for."""
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or any(view):
            raise InputError(f"it holds a {kind} that is no plain storage.")
        self.storages[key] = _Storage(key, dtype, count)
        return self.storages[key]

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
        return _Tensor(storage, offset, shape, strides)

    def _parameter(self, tensor: Any, *_: Any) -> Any:
        return tensor


def _arrays(found: Any, data: Callable[[_Storage], bytes]) -> dict[str, np.ndarray]:
    """The tensors of the state dict in what was unpickled, as arrays."""
    if isinstance(found, Mapping):
        inner = [found[key] for key in STATE_DICTS if isinstance(found.get(key), Mapping)]
        found = inner[0] if inner else found
        tensors = {str(n): t for n, t in found.items() if isinstance(t, _Tensor)}
        if tensors:
            return {name: _array(tensor, data) for name, tensor in tensors.items()}
    raise InputError(f"it holds no state dict, but a {type(found).__name__}.")


def _array(tensor: _Tensor, data: Callable[[_Storage], bytes]) -> np.ndarray:
    """A tensor's elements, once shape and strides are known to stay within its storage."""
    storage, offset, shape, strides = tensor
    flat = np.frombuffer(data(storage), storage.dtype)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    inside = min((offset, *shape, *strides)) >= 0 and (0 in shape or last < flat.size)
    if flat.size != storage.count or not inside:
        raise InputError(
            f"storage {storage.key} has not the {storage.count} elements of its tensor."
        )
    bytes_apart = [s * storage.dtype.itemsize for s in strides]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, bytes_apart, writeable=False)

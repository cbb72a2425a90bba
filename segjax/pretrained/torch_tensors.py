"""Arrays from a pickle's descriptions of PyTorch tensors and NumPy arrays."""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from segjax.errors import InputError
from segjax.pretrained.inert_pickle import Made, Named, Referenced

_DTYPES = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype(jnp.bfloat16),
    "float8_e4m3fn": np.dtype(jnp.float8_e4m3fn),
    "float8_e5m2": np.dtype(jnp.float8_e5m2),
    "complex64": np.dtype("<c8"),
    "complex128": np.dtype("<c16"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
    "uint16": np.dtype("<u2"),
    "uint32": np.dtype("<u4"),
    "uint64": np.dtype("<u8"),
    "bool": np.dtype("?"),
}
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
    # Quantised types: their bytes are counted, their values are not read.
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
}


_MOST_AXES = 64

_LAYERS = 8
"""The number of makers around a plain tensor, such as that of a parameter."""


class Storage(NamedTuple):
    """A block of elements; one or more tensors are views of it."""

    key: str
    dtype: str
    count: int

    @property
    def itemsize(self) -> int:
        """The number of bytes of an element."""
        return _DTYPES[self.dtype].itemsize


class Tensor(NamedTuple):
    """A view of a storage; offset and strides are in elements of `dtype`."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Unread(NamedTuple):
    """A tensor of a kind that segjax does not read."""

    reason: str


def storage_of(reference: Referenced) -> Storage | None:
    """Returns the storage of an external reference of PyTorch; None for other references."""
    match reference.identifier:
        case ("storage", Named(_, kind), str(key), _, int(count), *view) if kind in _STORAGES:
            return None if any(view) else Storage(key, _STORAGES[kind], count)
    return None


def tensor_of(value: Any, *, layers: int = _LAYERS) -> Tensor | np.ndarray | Unread | None:
    """Returns a pickle's value as a tensor, with up to `layers` makers around it; or None."""
    if not isinstance(value, Made) or not layers:
        return None
    match value.maker, value.arguments:
        case Named("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"), (
            inner,
            *_,
        ):
            return tensor_of(inner, layers=layers - 1)
        case Named("torch._tensor", "_rebuild_from_type_v2"), (Named() as maker, _, args, *_):
            return tensor_of(Made(maker, args), layers=layers - 1)
        case Named("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2"), (
            Referenced() as reference,
            int(offset),
            tuple(shape),
            tuple(strides),
            *_,
        ):
            storage = storage_of(reference)
            if storage is None:
                return Unread("is a view in a form that segjax does not read")
            return Tensor(storage, storage.dtype, offset, shape, strides)
        case Named("torch._utils", "_rebuild_tensor_v3"), (
            Referenced() as reference,
            int(offset),
            tuple(shape),
            tuple(strides),
            _,
            _,
            Named("torch", dtype),
            *_,
        ):
            storage = storage_of(reference)
            if storage is None or dtype not in _DTYPES:
                return Unread(f"is of torch.{dtype}, which segjax does not read")
            return Tensor(storage, dtype, offset, shape, strides)
        case Named("torch._utils", name), _ if name.startswith("_rebuild_"):
            kind = name.removeprefix("_rebuild_")
            return Unread(f"is a special tensor ({kind}), not a plain one")
        case Named(_, "_reconstruct"), (Named("numpy", "ndarray"), *_):
            return _numpy_array(value.state)
        # Protocol 5; "K" is C order followed by a permutation of axes.
        case Named(_, "_frombuffer"), (data, dtype, shape, "C" | "F" as order, *_):
            return _numpy_array((1, shape, dtype, order == "F", data))
        case Named(_, "_frombuffer"), (data, dtype, shape, "K", tuple(axes)):
            array = _numpy_array((1, shape, dtype, False, data))
            return array if isinstance(array, Unread) else array.transpose(axes)
    return None


def _numpy_array(state: Any) -> np.ndarray | Unread:
    match state:
        case (
            _,
            tuple(shape),
            Made(Named(_, "dtype"), (str(code), *_), state=(_, str(order), *_)),
            fortran,
            data,
        ):
            raw = _bytes_of(data)
            if raw is not None and re.fullmatch(r"[fiu][1248]|b1", code):
                order = order if order in "<>" else "|"
                flat = np.frombuffer(raw, np.dtype(f"{order}{code}"))
                return flat.reshape(shape, order="F" if fortran else "C")
    return Unread("is an array of NumPy's that is not of plain numbers")


def _bytes_of(data: Any) -> bytes | None:
    match data:
        case bytes() | bytearray():
            return bytes(data)
        # The form in which Python 3 pickles bytes for Python 2.
        case Made(Named("_codecs", "encode"), (str(text), *_)):
            return text.encode("latin-1")
    return None


def unfolded_bytes(tensor: Tensor | np.ndarray | Unread) -> int:
    """Returns the bytes of a tensor's elements, each counted as often as the view has it."""
    if isinstance(tensor, np.ndarray):
        return tensor.nbytes
    if isinstance(tensor, Unread):
        return 0
    if len(tensor.shape) > _MOST_AXES or not all(isinstance(n, int) for n in tensor.shape):
        raise InputError("it has a tensor of a shape that none has; it is damaged")
    return math.prod(tensor.shape) * _DTYPES[tensor.dtype].itemsize


def array_of(
    name: str, tensor: Tensor | np.ndarray | Unread, data: Callable[[str], bytes]
) -> np.ndarray:
    """Returns a tensor's elements, after checking that its view lies within its storage.

    Args:
      name: the tensor's name, for messages.
      tensor: the result of `tensor_of`.
      data: returns the bytes of a storage.

    Raises:
      InputError: the storage is too short, or segjax does not read this kind of tensor.
    """
    if isinstance(tensor, np.ndarray):
        return tensor
    if isinstance(tensor, Unread):
        raise InputError(f"{name} {tensor.reason}; save it as a plain tensor")
    storage, _, offset, shape, strides = tensor
    raw = data(storage.key)
    dtype = _DTYPES[tensor.dtype]
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    count = len(raw) // dtype.itemsize
    inside = min((offset, *shape, *strides)) >= 0 and (0 in shape or last < count)
    if len(raw) != storage.count * storage.itemsize or not inside:
        raise InputError(
            f"storage {storage.key} does not have the {storage.count} elements of {name}; the "
            "file is damaged or incomplete: copy or download it again"
        )
    flat = np.frombuffer(raw, dtype, count)
    bytes_apart = [s * dtype.itemsize for s in strides]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, bytes_apart, writeable=False)

"""State dicts as torchvision names them, with small shapes, and the files that hold them."""

import gzip
import io
import json
import pathlib
import runpy
import struct
import zipfile

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent
fill = runpy.run_path(str(FOLDER.parent / "fill.py"))["eighths"]
STORAGES = {"float32": "Float", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long"}


def names(network: str) -> dict[str, tuple[int, ...]]:
    """Returns {tensor: shape} of a network of torchvision."""
    text = gzip.decompress((FOLDER / "torchvision_names.json.gz").read_bytes())
    return {name: tuple(shape) for name, shape in json.loads(text)[network].items()}


def small(network: str, *, classes: int = 21) -> dict[str, np.ndarray]:
    """Returns the first unit of each stage of a ResNet and what is around, 8 times narrower."""
    kept = {
        name: tuple(n // 8 if n >= 32 and n != 1000 else n for n in shape)
        for name, shape in names(network).items()
        if not any(f"layer{i}.{j}." in name for i in range(5) for j in range(1, 6))
    }
    shapes = {n: tuple(classes if k in (21, 1000) else k for k in s) for n, s in kept.items()}
    return {name: fill(name, shape) for name, shape in shapes.items()}


def write(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> str:
    """Writes a state dict as its file's suffix says; returns the path."""
    if path.suffix == ".safetensors":
        save_file(arrays, path)
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(torch_zip(pickled(arrays), list(arrays.values())))
    return str(path)


def torch_zip(pickle: bytes, storages: list[np.ndarray]) -> bytes:
    """Returns PyTorch's archive: the pickle, and a file for each storage."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/byteorder", "little")
        for i, array in enumerate(storages):
            archive.writestr(f"archive/data/{i}", array.tobytes())
    return buffer.getvalue()


def pickled(arrays: dict[str, np.ndarray], *, offset: int = 0) -> bytes:
    """Returns the pickle of a dict of tensors, each with a storage of its own."""
    entries = [_text(n) + _tensor(str(i), a, offset) for i, (n, a) in enumerate(arrays.items())]
    return b"\x80\x02}(" + b"".join(entries) + b"u."


def _tensor(key: str, array: np.ndarray, offset: int) -> bytes:
    storage = f"{STORAGES[str(array.dtype)]}Storage"
    pid = _tuple(
        _text("storage"), _global("torch", storage), _text(key), _text("cpu"), _int(array.size)
    )
    strides = [s // array.itemsize for s in array.strides]
    hooks = _global("collections", "OrderedDict") + b")R"
    arguments = _tuple(
        pid + b"Q",
        _int(offset),
        _tuple(*map(_int, array.shape)),
        _tuple(*map(_int, strides)),
        b"\x89",
        hooks,
    )
    return _global("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _int(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def as_dtype(arrays: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a state dict in another floating dtype."""
    return {n: a.astype(jnp.dtype(dtype)) if a.ndim else a for n, a in arrays.items()}

"""Writes files as `torch.save` does, of any objects, without PyTorch."""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile
from unittest import mock

import numpy as np

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


class Tensor:
    """Pickled as a tensor of PyTorch; tensors of one `base` are views of one storage."""

    def __init__(self, array, base=None, *, maker="_rebuild_tensor_v2"):
        self.array = np.asarray(array)
        self.base = np.ascontiguousarray(self.array) if base is None else base
        self.maker = maker


def tensors(arrays):
    """Returns a state dict of arrays as one of tensors."""
    return collections.OrderedDict((name, Tensor(array)) for name, array in arrays.items())


def module(arrays):
    """Returns what is pickled as a whole network, of a class that nobody else has."""
    made = _stub("models.mine", "Net")()
    vars(made).update(training=True, _modules={}, _buffers={}, _parameters={})
    made._non_persistent_buffers_set = {"scratch"}
    made._buffers["scratch"] = Tensor(np.zeros(1, np.float32))
    inner = collections.defaultdict(dict)
    for name, array in arrays.items():
        first, _, rest = name.partition(".")
        if rest:
            inner[first][rest] = array
        else:
            kind = made._buffers if "running" in name else made._parameters
            kind[name] = Tensor(array)
    made._modules.update({name: module(part) for name, part in inner.items()})
    return made


def saved(value, *, legacy=False, protocol=2) -> bytes:
    """Returns the file that `torch.save` writes of a value."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, protocol)
    with mock.patch.dict(sys.modules, _MODULES):
        pickler.dump(value)
    found = [array.tobytes() for array in pickler.storages.values()]
    if not legacy:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("a/data.pkl", buffer.getvalue())
            for i, data in enumerate(found):
                file.writestr(f"a/data/{i}", data)
        return archive.getvalue()
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    keys = pickle.dumps([str(i) for i in range(len(found))], protocol=2)
    counts = [struct.pack("<q", array.size) for array in pickler.storages.values()]
    return b"".join(
        [
            *(pickle.dumps(item, protocol=2) for item in head),
            *(buffer.getvalue(), keys),
            *(count + data for count, data in zip(counts, found, strict=True)),
        ]
    )


class _Storage:
    def __init__(self, identifier):
        self.identifier = identifier


class _Pickler(pickle.Pickler):
    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self.storages = {}

    def persistent_id(self, obj):
        """Returns the identifier of a storage."""
        return obj.identifier if isinstance(obj, _Storage) else None

    def reducer_override(self, obj):
        """Returns how PyTorch has a tensor made."""
        if not isinstance(obj, Tensor):
            return NotImplemented
        base = self.storages.setdefault(id(obj.base), obj.base)
        key = str([*self.storages].index(id(base)))
        kind = _stub("torch", STORAGES[str(base.dtype)])
        storage = _Storage(("storage", kind, key, "cpu", base.size))
        start = obj.array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        offset = start // base.itemsize if np.shares_memory(obj.array, base) else 0
        strides = tuple(s // base.itemsize for s in obj.array.strides)
        hooks = collections.OrderedDict()
        made = (storage, offset, obj.array.shape, strides, False, hooks)
        return _stub("torch._utils", obj.maker), made


_MODULES: dict[str, types.ModuleType] = {}


def _stub(module: str, name: str):
    """Returns a class that pickles as `module.name`."""
    parts = module.split(".")
    for i in range(len(parts)):
        path = ".".join(parts[: i + 1])
        _MODULES.setdefault(path, types.ModuleType(path))
    made = _MODULES[module]
    if not hasattr(made, name):
        setattr(made, name, type(name, (), {"__module__": module}))
    return getattr(made, name)


# While something is pickled they must be importable.
for _name in STORAGES.values():
    _stub("torch", _name)
for _name in ("_rebuild_tensor_v2", "_rebuild_qtensor"):
    _stub("torch._utils", _name)


def foreign(name: str, **state):
    """Returns an object of a class that no reader has: `elsewhere.NAME`."""
    made = _stub("elsewhere", name)()
    vars(made).update(state)
    return made

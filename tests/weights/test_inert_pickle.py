"""Nothing that a pickle names is imported or called, and plain values are what they are."""

import copyreg
import io
import os
import pickle
import sys

import pytest

from segjax.errors import InputError
from segjax.pretrained.inert_pickle import Made, Named, Referenced, read_pickle

MKDIR = f"c{os.mkdir.__module__}\nmkdir\n".encode()


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def read(data: bytes):
    return read_pickle(io.BytesIO(data))


class SetState:
    """Restored the usual way it makes the folder that it was told."""

    def __setstate__(self, folder):
        os.mkdir(folder)


class New:
    """Made the usual way it makes the folder that it was told."""

    def __new__(cls, folder, **_):
        os.mkdir(folder)
        return super().__new__(cls)


def mine(cls: type) -> bytes:
    return f"c{__name__}\n{cls.__name__}\n".encode()


CALLS = {
    "REDUCE": lambda folder: MKDIR + b"(" + text(folder) + b"tR.",
    "STACK_GLOBAL": lambda folder: (
        text(os.mkdir.__module__) + text("mkdir") + b"\x93" + text(folder) + b"\x85R."
    ),
    "OBJ": lambda folder: b"(" + mine(New) + text(folder) + b"o.",
    "INST": lambda folder: b"(" + text(folder) + b"i" + mine(New)[1:] + b".",
    "NEWOBJ": lambda folder: mine(New) + text(folder) + b"\x85\x81.",
    "NEWOBJ_EX": lambda folder: mine(New) + text(folder) + b"\x85}\x92.",
    "BUILD": lambda folder: mine(SetState) + b")R" + text(folder) + b"b.",
    "a call put aside": lambda folder: (
        MKDIR + b"p0\n0" + b"g0\n" + text(folder) + b"\x85Rp1\n0g1\n."
    ),
}


@pytest.mark.parametrize("how", CALLS)
def test_a_call_is_described_and_not_made(how, tmp_path):
    folder = tmp_path / "made"
    data = b"\x80\x04" + CALLS[how](str(folder))
    found = read(data)
    assert isinstance(found, Made) and isinstance(found.maker, Named)
    assert not folder.exists()
    pickle.loads(data)
    assert folder.exists()


def test_a_registered_extension_is_not_looked_up(tmp_path, monkeypatch):
    monkeypatch.setitem(copyreg._extension_cache, 7, os.mkdir)
    folder = tmp_path / "made"
    data = b"\x80\x02\x82\x07" + text(str(folder)) + b"\x85R."
    assert str(read(data).maker) == "copyreg.extension 7"
    assert not folder.exists()
    pickle.loads(data)
    assert folder.exists()


def test_a_module_that_is_named_is_not_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "loud_module.py").write_text("import nowhere\n")
    data = b"\x80\x02cloud_module\nThing\n)R."
    assert str(read(data).maker) == "loud_module.Thing"
    assert "loud_module" not in sys.modules
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        pickle.loads(data)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_what_pickle_says(protocol):
    shared = ["ü", b"\xff\0", 2**80, -3, 300, 70_000]
    value = {
        "list": [1, [2, []], shared, shared],
        "tuple": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        3: {None: True, "no": False, 2.5: float("inf")},
        "long": "x" * 300,
        "bytes": b"y" * 300,
        "array": bytearray(b"z"),
    }
    if protocol < 3:  # Bytes are a call there.
        value = {k: v for k, v in value.items() if k not in ("bytes", "array", "list")}
    if protocol in (3, 4):
        del value["array"]
    assert read(pickle.dumps(value, protocol=protocol)) == value


def test_sets_are_lists_and_references_are_handed_on():
    assert sorted(read(pickle.dumps({1, 2}, protocol=4))) == [1, 2]
    assert read(pickle.dumps(frozenset([3]), protocol=4)) == [3]
    references = []
    found = read_pickle(io.BytesIO(b"\x80\x02K\x07QPmine\n\x86."), references=references)
    assert all(isinstance(one, Referenced) for one in found)
    assert [one.identifier for one in references] == [7, "mine"]


def test_objects_keep_state_entries_and_elements():
    data = (
        b"\x80\x02cmine\nThing\n)\x81}"
        + text("a")
        + b"K\x01sb("
        + text("b")
        + b"K\x02u(K\x03e."
    )
    found = read(data)
    assert (found.state, found.items, found.elements) == ({"a": 1}, {"b": 2}, [3])


def test_a_key_that_would_take_for_ever_to_hash_is_not_hashed():
    # Forty pairs of the pair before: a tree of 2^40 leaves to whoever hashes it.
    data = b"\x80\x02})" + b"2\x86" * 40 + b"K\x01s."
    ((key, value),) = read(data).items()
    assert isinstance(key, Made) and value == 1


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x80\x02", b"\x80\x02)", b"\x80\x02."),  # It ends, or has nothing to return.
        *(b"\x80\x02\x86.", b"\x80\x02(u.", b"\x80\x02K\x01K\x02a."),
        b"\x80\x02h\x07.",  # Nothing was put aside there.
        b"\x80\x05\x97.",  # Memory from outside.
        b"\x80\x02\xfe.",
    ],
)
def test_damage_raises(data):
    with pytest.raises((InputError, ValueError, IndexError, KeyError, AttributeError)):
        read(data)

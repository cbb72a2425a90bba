"""Damaged and hostile weights files end in a line, within bounds of memory and time."""

import io
import pickle
import random
import runpy
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from segjax.errors import InputError
from segjax.pretrained import bounds, file_kind
from segjax.pretrained.files import read_arrays

TORCH = runpy.run_path(str(Path(__file__).parent / "torch_like.py"))
RNG = np.random.default_rng(0)
ARRAYS = {
    "conv1.weight": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "bn1.running_mean": RNG.normal(size=4).astype(np.float32),
}
LEGACY = b"".join(
    pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
)
HEAD, EMPTY, OBJECT = b"\x80\x02", b")", b"cm\nNet\n)R"


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def module(inner: bytes) -> bytes:
    return OBJECT + b"}(" + text("_parameters") + b"}" + text("_modules") + inner + b"ub"


def shared(part: bytes, times: int, begin: bytes = b"}") -> bytes:
    """A value put aside and taken twice, and so on: `part` says @ where it takes it."""
    return HEAD + begin + (b"q\0" + part.replace(b"@", b"h\0")) * times + b"."


TWICE = b"}(" + text("a") + b"@" + text("b") + b"@u"

PICKLES = {
    "tuples in tuples": HEAD + EMPTY + b"\x85" * 300_000 + b".",
    "lists in lists": HEAD + b"]" * 100_000 + b"a" * 99_999 + b".",
    "calls of calls": HEAD + b"cm\nf\n" + b")R" * 100_000 + b".",
    "parameters of parameters": HEAD
    + b"ctorch._utils\n_rebuild_parameter\n" * 20_000
    + EMPTY
    + b"R\x85" * 19_999
    + b"R.",
    "doubled tuples": HEAD + EMPTY + b"2\x86" * 200 + b".",
    "doubled tuples as a key": HEAD + b"}" + EMPTY + b"2\x86" * 200 + b"Ns.",
    "doubled tuples as a name": HEAD + EMPTY + b"2\x86" * 200 + b"2\x93.",
    "doubled lists": shared(b"](@@e", 200, b"]"),
    "doubled dicts": shared(TWICE, 200),
    "doubled objects": shared(OBJECT + TWICE + b"b", 200),
    "doubled modules": shared(module(TWICE), 60),
    "a list of itself": HEAD + b"]q\0h\0a.",
    "too many instructions": HEAD + b"N" * 1_100_000 + b".",
    "an integer of a megabyte": HEAD
    + b"\x8b"
    + (10**6).to_bytes(4, "little")
    + b"\x7f" * 10**6
    + b".",
    "text longer than the file": HEAD + b"X" + b"\xff" * 4 + b"abc",
    "bytes longer than memory": HEAD + b"\x8e" + (2**62).to_bytes(8, "little") + b"abc",
    "a line without end": HEAD + b"L" + b"9" * 10**6,
}


def refused(path) -> str:
    """Returns the line about a file that is refused with little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()
    line = str(error.value)
    assert path.name in line and len(line.splitlines()) == 1 and len(line) < 500
    return line


LONG = (
    *("tuples in tuples", "lists in lists", "calls of calls", "parameters of parameters"),
    *("too many instructions", "doubled modules"),
)


@pytest.mark.slow_but(*(how for how in PICKLES if how not in LONG))
@pytest.mark.parametrize("how", PICKLES)
def test_a_hostile_pickle_is_refused_in_a_line(how, tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(PICKLES[how])
    refused(path)


def repeated(count: int) -> dict:
    """A tensor of so many elements, all of them the same one of its storage."""
    one = np.zeros(1, np.float32)
    return {"conv1.weight": TORCH["Tensor"](np.broadcast_to(one, count), one)}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_view_that_repeats_one_number_for_gigabytes_is_refused(legacy, tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(TORCH["saved"](repeated(2**30), legacy=legacy))
    assert "would unfold to 4,294,967,296" in refused(path)
    path.write_bytes(TORCH["saved"](repeated(2**20), legacy=legacy))
    assert read_arrays(path).arrays["conv1.weight"].shape == (2**20,)


@pytest.mark.parametrize("name", ["conv1.weight.npy", "a/data.pkl"])
def test_a_zip_archive_that_unfolds_to_far_more_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "ROOM", 2**16)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(2**22))
    assert "would unfold to 4,194,304" in refused(path)


def test_a_compressed_archive_of_arrays_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **ARRAYS, zeros=np.zeros(2**20, np.float32))
    arrays = read_arrays(tmp_path / "a.npz").arrays
    assert arrays["zeros"].nbytes == 2**22
    np.testing.assert_array_equal(arrays["conv1.weight"], ARRAYS["conv1.weight"])


@pytest.mark.parametrize("shape", [(2**40,), (-1,), (2**30, 2**30)], ids=str)
def test_an_array_that_claims_more_than_its_member_has_is_refused(shape, tmp_path):
    member = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, header)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conv1.weight.npy", member.getvalue())
    assert "claims the shape" in refused(path)


def test_a_list_of_members_or_arrays_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "LARGEST_DIRECTORY", 100)
    monkeypatch.setattr(file_kind, "LARGEST_DIRECTORY", 100)
    np.savez(tmp_path / "a.npz", **ARRAYS)
    assert "its list of members has" in refused(tmp_path / "a.npz")
    header = b"{" + b" " * 200
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "its list of arrays has" in refused(tmp_path / "a.safetensors")


def test_an_array_may_be_larger_than_a_list_of_members(tmp_path):
    large = np.arange(2**21 + 1024, dtype=np.float32)
    assert large.nbytes > bounds.LARGEST_DIRECTORY
    np.savez(tmp_path / "a.npz", large=large)
    saved = TORCH["saved"]({"state_dict": TORCH["tensors"]({"large": large})})
    (tmp_path / "a.pth").write_bytes(saved)
    for name in ("a.npz", "a.pth"):
        np.testing.assert_array_equal(read_arrays(tmp_path / name).arrays["large"], large)


def files() -> dict[str, bytes]:
    """A sound file of each kind."""
    arrays = io.BytesIO()
    np.savez(arrays, **ARRAYS)
    tensors = TORCH["tensors"](ARRAYS)
    return {
        "npz": arrays.getvalue(),
        "safetensors": save(ARRAYS),
        "zip": TORCH["saved"]({"state_dict": tensors}),
        "legacy": TORCH["saved"](tensors, legacy=True),
    }


def changed(data: bytes, random: random.Random) -> bytes:
    """Returns a file with some bytes changed, removed, repeated or put in."""
    new = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(new))
        piece = random.randbytes(random.choice((1, 1, 1, 4, 8)))
        match random.randrange(5):
            case 0 | 1:
                new[at : at + len(piece)] = piece
            case 2:
                new[at:at] = bytes(new[at : at + random.randint(1, 64)])
            case 3 if len(new) > 100:
                del new[at : at + random.randint(1, 32)]
            case _:
                new[at : at + 4] = b"\xff\xff\xff\x7f"
    return bytes(new)


@pytest.mark.parametrize("kind", files())
def test_a_changed_file_is_read_or_refused_in_a_line(kind, tmp_path):
    data, path, generator = files()[kind], tmp_path / "weights", random.Random(0)
    outcomes = set()
    for _ in range(300):
        path.write_bytes(changed(data, generator))
        try:
            found = read_arrays(path)
            outcomes.add("read")
            assert sum(array.nbytes for array in found.arrays.values()) < 2**26
        except InputError as error:
            outcomes.add("refused")
            assert len(str(error).splitlines()) == 1
    # The checksums of zip archives find nearly every change.
    assert outcomes == {"read", "refused"} or kind in ("npz", "zip")

"""What is not a weights file is called what it is, in one line with the remedy."""

import collections
import errno
import gzip
import io
import os
import pathlib
import pickle
import runpy
import tarfile
import zipfile

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.pretrained.files import read_arrays

STATE = runpy.run_path(str(pathlib.Path(__file__).with_name("state_dicts.py")))


def zipped(*names) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.pth"), io.BytesIO())
    return buffer.getvalue()


def single_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(2))
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 102530333\n"
KINDS = {
    "nothing": (b"", "it is empty (0 bytes)"),
    "a page": (b"<!DOCTYPE html><html>", "it is a web page, not the file itself"),
    "a page in capitals": (b"\xef\xbb\xbf\n <HTML lang=en>", "it is a web page"),
    "an error of a bucket": (b"<?xml version='1.0'?><Error>", "it is a web page"),
    "an LFS pointer": (POINTER, "a Git LFS pointer (to 102,530,333 bytes)"),
    "an annex pointer": (b"/annex/objects/MD5-s1--0", "it is a git-annex pointer"),
    "an index of shards": (b'{"metadata": {}, "weight_map": {}}', "it is a JSON text"),
    "Keras": (b"\x89HDF\r\n\x1a\n" + bytes(99), "it is an HDF5 file"),
    "MatConvNet": (b"MATLAB 5.0 MAT-file" + bytes(99), "it is a MATLAB file"),
    "one array": (single_array(), "it is a single array of NumPy (.npy)"),
    "ONNX": (b"\x08\x07\x12\x07pytorch" + bytes(99), "it is an ONNX or TensorFlow graph"),
    "Flax": (b"\x82\xa6params\x83\xa5conv1", "it is a msgpack file (Flax)"),
    "GGUF": (b"GGUF\x03\0\0\0", "it is a GGUF file"),
    "gzip": (gzip.compress(b"weights"), "it is a compressed file; unpack it"),
    "tar": (tarred(), "it is a tar archive; unpack it"),
    "TensorFlow": (
        b"\0\x05\x01" + bytes.fromhex("57fb808b247547db"),
        "a TensorFlow checkpoint",
    ),
    "TorchScript": (
        zipped("a/data.pkl", "a/constants.pkl", "a/code/__torch__/Net.py"),
        "it is a TorchScript program (torch.jit.save), not a state dict",
    ),
    "documents": (zipped("a/b.docx"), "it is a zip archive that torch.save did not write"),
    "a Keras archive": (zipped("config.json", "model.weights.h5"), "begins with config.json"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "it is an image"),
    "a part of zeros": (bytes(2048), "its first bytes are all zero"),
    "a part of a zip": (zipped("a/data.pkl")[:60], "it is cut off: a zip archive of 60 bytes"),
    "a part of safetensors": (
        (9000).to_bytes(8, "little") + b'{"a":',
        "it is cut off: 13 bytes, and its list of arrays alone has 9,000",
    ),
    "a pickle of protocol 0": (pickle.dumps({"a": 1}, 0), "it is an old text pickle"),
    "a pickle of protocol 1": (pickle.dumps({"a": 1}, 1), "it is an old text pickle"),
    "an ordered one": (pickle.dumps(collections.OrderedDict(a=1), 0), "an old text pickle"),
    "a list in it": (pickle.dumps([1, 2], 0), "an old text pickle"),
    "a text": (b"conv1 0.3 0.2", "its content is not of safetensors"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".NPZ"])
@pytest.mark.parametrize("kind", KINDS)
def test_another_file_is_called_what_it_is_under_any_suffix(kind, suffix, tmp_path):
    data, expected = KINDS[kind]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        read_arrays(path)
    assert str(error.value).startswith(f"{path} cannot be read as weights: it")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("segjax.pretrained.files.kind_of", denied)
    with pytest.raises(
        InputError, match=r"a.pth cannot be read as weights: Permission denied\.$"
    ):
        read_arrays(tmp_path / "a.pth")


def test_each_kind_of_weights_is_known_by_its_bytes(tmp_path):
    arrays = {"a": np.ones((2, 3), np.float32)}
    for kind in (".safetensors", ".npz", ".pth"):
        written = pathlib.Path(STATE["write"](tmp_path / f"a{kind}", arrays))
        path = written.rename(tmp_path / "anything")
        np.testing.assert_array_equal(read_arrays(path).arrays["a"], arrays["a"])


def test_small_and_unsigned_numbers_are_read_and_others_named(tmp_path):
    path = tmp_path / "a.safetensors"
    for dtype, expected in (("F8_E4M3", 1.0), ("U16", 0x3838)):
        shape = [2] if dtype == "F8_E4M3" else [1]
        path.write_bytes(one_array(dtype, shape, b"\x38\x38"))
        np.testing.assert_array_equal(read_arrays(path).arrays["a"].astype(float), expected)
    path.write_bytes(one_array("F4", [4], b"\x38\x38"))
    with pytest.raises(
        InputError, match="cannot be read as weights: it has arrays of F4, which"
    ):
        read_arrays(path)


def one_array(dtype: str, shape: list[int], data: bytes) -> bytes:
    """A safetensors file of one array, a."""
    shown = str(shape)
    header = f'{{"a":{{"dtype":"{dtype}","shape":{shown},"data_offsets":[0,{len(data)}]}}}}'
    return len(header).to_bytes(8, "little") + header.encode() + data

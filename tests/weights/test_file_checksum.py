"""The checksum of the files that segjax writes."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as serialize

from segjax.errors import InputError
from segjax.pretrained.file_checksum import file_checksum
from segjax.pretrained.files import read_arrays
from segjax.weights import save

VARIABLES = {"params": {"b": np.arange(4.0), "a": np.ones((2, 3), np.float16)}}


@pytest.fixture
def file(tmp_path):
    save(tmp_path / "model.safetensors", VARIABLES, description="tiny")
    return tmp_path / "model.safetensors"


def test_every_flipped_bit_of_the_arrays_is_found(file):
    content = file.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    for place in range(begin, len(content)):
        changed = bytearray(content)
        changed[place] ^= 16
        file.write_bytes(changed)
        with pytest.raises(InputError, match="its arrays are not those that were saved"):
            read_arrays(file)
    file.write_bytes(content)
    np.testing.assert_array_equal(read_arrays(file).arrays["params/b"], np.arange(4.0))


def test_arrays_that_changed_names_or_shapes_are_found(file):
    content = file.read_bytes()
    for old, new in ((b'"params/b"', b'"params/c"'), (b"[2,3]", b"[3,2]")):
        assert content.count(old) == 1
        file.write_bytes(content.replace(old, new))
        with pytest.raises(InputError, match="its arrays are not those"):
            read_arrays(file)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "pt", "crc32": "0"}])
def test_files_of_others_have_no_checksum_and_are_read_as_they_are(metadata, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(
        serialize({"a": np.ones(3, np.float32)}, metadata=metadata)
    )
    assert read_arrays(tmp_path / "a.safetensors").arrays["a"].shape == (3,)


def test_the_checksum_does_not_depend_on_the_description(tmp_path):
    contents = []
    for description in ("one", "another"):
        save(tmp_path / "a.safetensors", VARIABLES, description=description)
        contents.append((tmp_path / "a.safetensors").read_bytes())
    assert contents[0] != contents[1]
    assert file_checksum(contents[0]) == file_checksum(contents[1])
    header = json.loads(contents[0][8 : 8 + int.from_bytes(contents[0][:8], "little")])
    assert header["__metadata__"]["crc32"] == file_checksum(contents[0])


def test_equal_variables_give_equal_bytes_that_the_library_reads(file):
    first = file.read_bytes()
    for _ in range(8):  # The library's own order of metadata changes from call to call.
        save(file, VARIABLES, description="tiny")
        assert file.read_bytes() == first
    with safe_open(file, "numpy") as opened:
        assert opened.metadata()["description"] == "tiny"
        assert opened.get_tensor("params/a").dtype == np.float16

"""The checksum of a `.safetensors` file that segjax wrote, in the metadata of its header."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from segjax.errors import InputError

CRC = "crc32"
METADATA = "__metadata__"
"""The name that safetensors gives the metadata among the arrays of the header."""


def file_checksum(content: bytes) -> str:
    """Returns the CRC-32 of a file's arrays: their names, dtypes, shapes and bytes."""
    header, data = _parts(content)
    arrays = {name: entry for name, entry in header.items() if name != METADATA}
    named = json.dumps(arrays, sort_keys=True).encode()
    return f"{zlib.crc32(data, zlib.crc32(named)):08x}"


def with_checksum(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """Returns a file's bytes with this metadata and the checksum, in a fixed order.

    The library writes metadata in an order that changes from call to call.
    """
    header, data = _parts(content)
    named = {METADATA: {**metadata, CRC: file_checksum(content)}, **header}
    text = json.dumps(named, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # The library aligns the arrays.
    return b"".join((len(text).to_bytes(8, "little"), text, data))


def check_file(content: bytes) -> None:
    """Raises InputError if a file has a checksum and its arrays are not those that it is of.

    Raises:
      InputError: the arrays were changed after they were saved.
    """
    if has_checksum(content) and _metadata(content)[CRC] != file_checksum(content):
        raise InputError("its arrays are not those that were saved; copy or write it again")


def has_checksum(content: bytes) -> bool:
    """Returns whether segjax wrote a file, with a checksum: older ones have none."""
    metadata = _metadata(content)
    return metadata.get("format") == "segjax" and CRC in metadata


def _metadata(content: bytes) -> dict[str, str]:
    return _parts(content)[0].get(METADATA, {})


def _parts(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """Returns the header and the bytes of all arrays; the library has checked their sizes."""
    begin = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:begin]), memoryview(content)[begin:]

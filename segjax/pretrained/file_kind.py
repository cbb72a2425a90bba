"""The kind of a file, recognised by its bytes, not by its name."""

import pathlib
import re
import zipfile

from segjax.errors import InputError
from segjax.pretrained.bounds import LARGEST_DIRECTORY, open_archive

HEAD = 1024
"""The number of leading bytes that are examined."""

MAGICS = (
    (
        rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)",
        "it is a web page, not the file itself: the address that it came from leads to a page; "
        "download the file that the page links to",
    ),
    (
        rb"version https://git-lfs",
        "it is a Git LFS pointer{size}, not the file itself: run `git lfs pull` in its "
        "repository",
    ),
    (
        rb"(\S*/)?annex/objects/",
        "it is a git-annex pointer, not the file itself: run `git annex get`",
    ),
    (
        rb"\s*[{\[]",
        "it is a JSON text, not weights; of a checkpoint in several files, segjax needs one "
        "file that holds all of it",
    ),
    (
        rb"\x89HDF\r\n",
        "it is an HDF5 file (Keras, MATLAB), which segjax does not read; save it as .npz or "
        ".safetensors",
    ),
    (rb"MATLAB 5\.0", "it is a MATLAB file, which segjax does not read; save it as .npz"),
    (
        rb"\x93NUMPY",
        "it is a single array of NumPy (.npy); save an .npz, in which each array has its name",
    ),
    (
        rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]",
        "it is an ONNX or TensorFlow graph, which segjax does not read; save its weights as "
        ".npz or .safetensors",
    ),
    (
        rb"[\x81-\x8f][\xa3-\xbf][a-z_]{3,}",
        "it is a msgpack file (Flax), which segjax does not read; save it with "
        "segjax.weights.save or as .npz",
    ),
    (
        rb"\((dp|lp|i[\w.]+\s)|c[\w.]+\r?\n[\w.]+\r?\n|[}\]]q",
        "it is an old text pickle (protocol 0 or 1), which segjax does not read; load it in "
        "Python and save it anew with pickle's protocol=2 or later, or as .npz",
    ),
    (rb"GGUF", "it is a GGUF file, which segjax does not read; save it as .safetensors"),
    (
        rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!",
        "it is a compressed file; unpack it and give the file inside",
    ),
    (rb"(?s).{257}ustar", "it is a tar archive; unpack it and give the file inside"),
    (rb"%PDF", "it is a PDF, not weights"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|II\*\0|MM\0\*", "it is an image, not weights"),
)
"""(regular expression of the first bytes, a message: what the file is and what to do)."""

TENSORFLOW_END = bytes.fromhex("57fb808b247547db")
"""The last bytes of TensorFlow's checkpoint tables."""


def kind_of(path: pathlib.Path) -> str:
    """Returns the kind of a weights file: "safetensors", "npz", "torch zip" or "torch legacy".

    Raises:
      InputError: the file is empty, cut off, or of another kind, which the message names.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, size - len(TENSORFLOW_END)))
        end = file.read()
    if not size:
        raise InputError("it is empty (0 bytes); copy or download it again")
    if head.startswith(b"PK\3\4"):
        return _kind_of_zip(path)
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header < 2**32:
        if size < 8 + header:
            raise InputError(
                f"it is cut off: {size:,} bytes, and its list of arrays alone has {header:,}; "
                "copy or download it again"
            )
        if header > LARGEST_DIRECTORY:
            raise InputError(f"its list of arrays has {header:,} bytes; it is damaged")
        return "safetensors"
    if end == TENSORFLOW_END:
        raise InputError(
            "it is a TensorFlow checkpoint, which segjax does not read; save its arrays as .npz"
        )
    if re.match(rb"\x80[\x00-\x05]", head):
        return "torch legacy"
    for pattern, what in MAGICS:
        if re.match(pattern, head, re.IGNORECASE):
            raise InputError(what.format(size=_size_of_pointer(head)))
    if not any(head):
        raise InputError(
            "its first bytes are all zero, as a broken download's; download it again"
        )
    raise InputError(
        "its content is not of safetensors, NumPy (.npz) or PyTorch (.pth, .pt, .bin, .ckpt); "
        f"it begins with {head[:16]!r}"
    )


def _kind_of_zip(path: pathlib.Path) -> str:
    try:
        with open_archive(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        raise InputError(
            f"it is cut off: a zip archive of {path.stat().st_size:,} bytes without its end; "
            "copy or download it again"
        ) from None
    return "npz" if names and all(name.endswith(".npy") for name in names) else "torch zip"


def _size_of_pointer(head: bytes) -> str:
    found = re.search(rb"\nsize (\d+)", head)
    return f" (to {int(found[1]):,} bytes)" if found else ""

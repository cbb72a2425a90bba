"""How much a weights file may unfold to: by its own size, whatever it claims.

A damaged or hostile file of some bytes can ask for any amount of memory and time: by
compression, by views that repeat one number, by claims in headers, by a pickle whose parts
contain one another. Each reader of weights files checks against these bounds before it
allocates. Files that PyTorch, NumPy, timm or segjax write stay far below.
"""

import contextlib
import io
import pathlib
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from segjax.errors import InputError

ROOM, TIMES = 2**25, 32
"""A file may unfold to 32 MiB, and to so many times its own size more."""

MOST_STEPS = 1_000_000
"""Instructions of a pickle beyond one for each 256 bytes of the file. A checkpoint with
optimizer has about 100 for each array."""

MOST_VALUES = 200_000
"""Values that are looked at in a pickle, beyond one for each 4 bytes of it."""

LONGEST_LINE = 2**16
"""Bytes of a line in a pickle, such as the name of a class."""

LARGEST_DIRECTORY = 2**23
"""Bytes of a zip archive's list of members: more than 50 000."""

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def check_unfolded(unfolded: int, size: int) -> None:
    """Raises InputError if a file of `size` bytes unfolds to too many.

    Raises:
      InputError: it does.
    """
    if unfolded > ROOM + TIMES * size:
        raise InputError(
            f"its {size:,} bytes would unfold to {unfolded:,}, which no sound weights file "
            "does; get it from its source again"
        )


class Steps:
    """A count of steps that ends at `most`; `what` names the steps in the message."""

    def __init__(self, most: int, what: str):
        self._most = self._left = most
        self._what = what

    def take(self, count: int = 1) -> None:
        """Counts steps.

        Raises:
          InputError: there were too many.
        """
        self._left -= count
        if self._left < 0:
            raise InputError(
                f"its pickle has more than {self._most:,} {self._what}; save the state dict "
                "by itself"
            )


class Within:
    """The rest of a stream, which never reads more bytes than there are."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        place = stream.tell()
        self.size = stream.seek(0, io.SEEK_END)
        stream.seek(place)

    def read(self, count: int) -> bytes:
        """Returns the next bytes.

        Raises:
          InputError: there are not so many.
        """
        if count > self.size - self._stream.tell():
            raise InputError("it is cut off or damaged; copy or download it again")
        return self._stream.read(count)

    def readline(self) -> bytes:
        """Returns the next line, or the beginning of one that is too long."""
        return self._stream.readline(LONGEST_LINE)


@contextlib.contextmanager
def open_archive(path: pathlib.Path) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive whose members unfold to a bounded number of bytes in all.

    Raises:
      InputError: they do not, the list of members is too long, or one is compressed in another
        way than NumPy does it.
    """
    size = path.stat().st_size
    with path.open("rb") as file, zipfile.ZipFile(source := _Source(file, size)) as archive:  # type: ignore
        source.is_opening = False
        members = archive.infolist()
        check_unfolded(sum(each.file_size for each in members), size)
        for each in members:
            if each.compress_type not in _COMPRESSIONS:
                raise InputError(
                    f"its member {each.filename[:100]!r} is compressed in a way that weights "
                    "files are not; save it again"
                )
        yield archive


class _Source:
    """A file for `zipfile`, which reads the whole list of members at once when it opens it."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size
        self.is_opening = True
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        """Returns the next bytes, at most as many as the file has: a member may claim more.

        Raises:
          InputError: they are more than any list of members has, while the file is opened.
        """
        if self.is_opening and count > LARGEST_DIRECTORY:
            raise InputError(f"its list of members has {count:,} bytes; it is damaged")
        return self._file.read(min(count, self._size))

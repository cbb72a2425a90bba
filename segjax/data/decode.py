"""Image files → decoded pages: a broken one is named, and one that is too large is refused."""

import contextlib
import dataclasses
import math
import pathlib
import threading
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, ImageFile

from segjax.errors import InputError

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "TIFF", "GIF", "WEBP")
"""The only decoders that see a file, whatever its suffix says."""

NOT_A_PAGE = 0b101
"""TIFF's subfile types 1 (a smaller copy of another page) and 4 (a transparency mask)."""

_NEW_SUBFILE_TYPE, _BITS_PER_SAMPLE, _SAMPLE_FORMAT = 254, 258, 339
_PACKED = {"BGR;15": 5, "BGR;16": 6}
"""Bits of a sample, at most, where three share 16 bits."""


@dataclasses.dataclass(frozen=True)
class Limit:
    """The largest image that is decoded: a damaged header could ask for any amount of memory.

    Attributes:
      megapixels: of one page.
      option: what raises it, as a user writes it, "--max-megapixels {}"; empty: nothing does.
    """

    megapixels: float = 180.0
    option: str = ""

    def check(self, size: tuple[int, int]) -> None:
        """Raises InputError unless (width, height) is within the limit.

        Raises:
          InputError: it is not. The line has no file name: `pages` adds it.
        """
        width, height = size
        if width * height > self.megapixels * 1e6:
            needed = math.ceil(width * height / 1e6)
            remedy = (
                "allow it with " + self.option.format(needed) if self.option else "shrink it"
            )
            raise InputError(
                f"has {needed} megapixels ({width} x {height}), and the limit is "
                f"{self.megapixels:g}: if the file is sound, {remedy}."
            )


DEFAULT_LIMIT = Limit()

UNLIMITED = Limit(math.inf)
"""For files that segjax itself wrote."""


@dataclasses.dataclass(frozen=True)
class Page:
    """One decoded image of a file.

    Attributes:
      image: what Pillow makes of it, not yet turned as EXIF data say (a TIFF is).
      number, count: this is page 1, 2, … of so many.
      raw: Pillow's name for how the file stores its samples, such as "L;4" or "RGB;16B".
      bits: of a stored sample.
      signed: whether samples are signed integers.
    """

    image: Image.Image
    number: int
    count: int
    raw: str
    bits: int
    signed: bool


def open_image(
    file: pathlib.Path | BinaryIO, *, formats: tuple[str, ...] = FORMATS
) -> ImageFile.ImageFile:
    """Returns the image whose header Pillow has read, with no limit of pixels: check its size.

    Raises:
      Exception: whatever Pillow raises for a file that is not an image.
    """
    with _WITHOUT_PILLOWS_LIMIT:
        return Image.open(file, formats=formats)


class _WithoutPillowsLimit:
    """Turns off Pillow's limit, and its warning at half of it, while anyone is within.

    The limit is one for the process, and Pillow asks for it while it opens, seeks and decodes.
    Threads are within at the same time: the first to enter puts the limit aside, the last to
    leave puts it back.
    """

    def __init__(self):
        self._lock, self._within, self._limit = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self._lock:
            self._within += 1
            if self._within == 1:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                Image.MAX_IMAGE_PIXELS = self._limit


_WITHOUT_PILLOWS_LIMIT = _WithoutPillowsLimit()


def page_numbers(image: Image.Image) -> list[int]:
    """Returns the numbers, from 0 on, by which `seek` finds the pages of an opened file.

    Frames of a GIF, WebP or APNG are pages. Not counted: the preview inside a JPEG, and a
    TIFF's smaller copies and transparency masks, unless it holds nothing else. The image is at
    its first page afterwards.
    """
    with _WITHOUT_PILLOWS_LIMIT:
        return _page_numbers(image)


def _page_numbers(image: Image.Image) -> list[int]:
    count = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
    if count == 1:
        return [0]
    if image.format != "TIFF":
        return list(range(count))
    found = [n for n in range(count) if not _subfile_type(image, n) & NOT_A_PAGE]
    found = found or list(range(count))
    with contextlib.suppress(Exception):  # As below.
        image.seek(found[0])
    return found


def _subfile_type(image: Image.Image, number: int) -> int:
    with contextlib.suppress(Exception):  # Reading an odd page says what is wrong with it.
        image.seek(number)
    return getattr(image, "tag_v2", {}).get(_NEW_SUBFILE_TYPE, 0)


def page_count(file: pathlib.Path) -> int:
    """Returns how many images a file holds; 1 if it cannot be read, which `pages` reports."""
    with contextlib.suppress(Exception), open_image(file) as image:
        return len(page_numbers(image))
    return 1


def pages(
    file: pathlib.Path | BinaryIO,
    *,
    name: pathlib.Path | str,
    limit: Limit = DEFAULT_LIMIT,
) -> Iterator[Page]:
    """Yields each page in order; use one before you ask for the next.

    Raises:
      InputError: the file is missing, no image, truncated, or a page is above the limit; the
        line calls it `name`.
    """
    with _named(name, 1):
        image = open_image(file)
    with image:
        with _named(name, 1):
            numbers = page_numbers(image)
        for place, number in enumerate(numbers, 1):
            with _named(name, place), _WITHOUT_PILLOWS_LIMIT:
                if image.tell() != number:
                    image.seek(number)
                limit.check(image.size)
                page = Page(image, place, len(numbers), *stored(image))
                _check_bmp(image, page.raw)
                image.load()
            yield page


def decode(path: pathlib.Path, *, limit: Limit = DEFAULT_LIMIT) -> Page:
    """Returns the one page of a file.

    Raises:
      InputError: as `pages`, or the file holds more than one.
    """
    page = next(pages(path, name=path, limit=limit))
    if page.count > 1:
        raise InputError(
            f"{path} holds {page.count} images where one is wanted: save that one by itself."
        )
    return page


def stored(image: ImageFile.ImageFile) -> tuple[str, int, bool]:
    """Returns (raw mode, bits of a sample, whether signed) of an image not yet loaded."""
    arguments = image.tile[0][3] if image.tile else None
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    raw = first if isinstance(first, str) else image.mode  # A GIF says nothing, or its bits.
    tags = getattr(image, "tag_v2", {})
    if _BITS_PER_SAMPLE in tags:
        bits = max(tags[_BITS_PER_SAMPLE])
    elif raw in _PACKED:
        bits = _PACKED[raw]
    elif ";16" in raw:
        bits = 16
    else:
        bits = {"I": 32, "F": 32, "I;16": 16, "I;16B": 16}.get(image.mode, 8)
    return raw, bits, 2 in tags.get(_SAMPLE_FORMAT, ())


def _check_bmp(image: ImageFile.ImageFile, raw: str) -> None:
    """Raises ValueError for a BMP whose grey palette makes Pillow take it for another depth.

    8 bits and the two colours black and white, as some programs save masks, would be read as
    rows of single bits.
    """
    if image.format not in ("BMP", "DIB") or raw not in ("1", "L") or image.fp is None:
        return
    place = image.fp.tell()
    image.fp.seek(14 if image.format == "BMP" else 0)
    header = image.fp.read(16)
    image.fp.seek(place)
    at = 10 if header[0] == 12 else 14
    bits = int.from_bytes(header[at : at + 2], "little")
    coded = image.tile[0][0] == "bmp_rle"
    if coded and raw == "1" or not coded and bits != {"1": 1, "L": 8}[raw]:
        raise ValueError(f"a BMP of {bits} bits with a grey palette; a PNG would do")


@contextlib.contextmanager
def _named(name: pathlib.Path | str, place: int) -> Iterator[None]:
    """Makes an `InputError` that names the file of whatever a decoder raises."""
    try:
        yield
    except InputError as error:
        at = f"{name}, image {place}," if place > 1 else name
        raise InputError(f"{at} {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # Decoders raise whatever a broken file leads them to.
        reason = str(error).splitlines()[0] if str(error) else "broken"
        if isinstance(error, Image.UnidentifiedImageError):
            reason = "no known image format, or a rare kind of one"
        where = f" from frame {place} on" if place > 1 else " as an image"
        raise InputError(
            f"{name} cannot be read{where} ({reason}): replace it, or leave it out."
        ) from None

"""Image files → encoded images for the cache, and back: 1 … n channels of any depth.

Images of 8 bits in RGB or grey are what a screen shows, as `images` reads them. Others are
measurements: their samples are kept as they are, and are never converted.
"""

import io
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from segjax.data.arrays import NPY, array_bytes, is_array, read_array
from segjax.data.bands import read_bands
from segjax.data.decode import DEFAULT_LIMIT, Limit, Page, open_image, pages
from segjax.data.images import MODES, encode_image, pixels, turned, upright
from segjax.errors import InputError

DTYPES = ("uint8", "uint16", "float32")
"""Of images; `contracts.full_scale` says what is full brightness in each."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class ImageKind(NamedTuple):
    """What images a dataset has.

    Attributes:
      channels: of each image; 3 are RGB and 1 is grey, as far as they have 8 bits.
      dtype: one of `DTYPES`.
      limit: the largest image that is decoded.
    """

    channels: int = 3
    dtype: str = "uint8"
    limit: Limit = DEFAULT_LIMIT

    @property
    def is_shown(self) -> bool:
        """Whether images are converted to what a screen shows."""
        return self.dtype == "uint8" and self.channels in MODES


class EncodedImage(NamedTuple):
    """One image of a file: number `number` of `count`; `size` is (width, height)."""

    data: bytes
    size: tuple[int, int]
    number: int
    count: int


class ImagePage(NamedTuple):
    """Pixels h w c of one image of a file: number `number` of `count`."""

    pixels: np.ndarray
    number: int
    count: int


def encoded_images(path: pathlib.Path, data: bytes, kind: ImageKind) -> Iterator[EncodedImage]:
    """Yields each image of a file, turned as its EXIF data say, in a form that `decoded` reads.

    Raises:
      InputError: as `image_pages`.
    """
    if kind.is_shown and not is_array(data):
        for page in pages(io.BytesIO(data), name=path, limit=kind.limit):
            _check_shown(page, path)
            encoded, size = encode_image(page, data, path, channels=kind.channels)
            yield EncodedImage(encoded, size, page.number, page.count)
        return
    for array, number, count in image_pages(path, data, kind):
        height, width = array.shape[:2]
        yield EncodedImage(array_bytes(array), (width, height), number, count)


def image_pages(path: pathlib.Path, data: bytes, kind: ImageKind) -> Iterator[ImagePage]:
    """Yields the pixels of each image of a file, turned as its EXIF data say.

    Raises:
      InputError: the file cannot be read, or has other channels or another depth than `kind`.
    """
    if is_array(data):
        array = read_array(data, path, kind.limit)
        yield ImagePage(_of_kind(array, path, kind), 1, 1)
    elif data.startswith(_TIFF) and not kind.is_shown and kind.channels != 1:
        bands = read_bands(data, path, kind.limit)
        for number, array in enumerate(bands, 1):
            yield ImagePage(_of_kind(array, path, kind), number, len(bands))
    else:
        for page in pages(io.BytesIO(data), name=path, limit=kind.limit):
            if kind.is_shown:
                _check_shown(page, path)
                array = pixels(upright(page, path, channels=kind.channels))
            else:
                array = _of_kind(_samples(page, path), path, kind)
            yield ImagePage(array, page.number, page.count)


def _check_shown(page: Page, path: pathlib.Path) -> None:
    """Raises InputError for more bits than a screen shows."""
    if page.bits > 8:
        dtype = {"F": "float32"}.get(page.image.mode, "uint16")
        where = f"{path}, image {page.number}," if page.count > 1 else str(path)
        raise InputError(
            f"{where} has more than 8 bits a channel ({page.bits}, mode {page.image.mode}): if "
            f'all images are such, set image_dtype="{dtype}"; or convert them to 8 bits, with '
            "a range of values that suits them."
        )


def decoded(data: bytes) -> np.ndarray:
    """Returns the pixels h w c of what `encoded_images` made."""
    if is_array(data):
        return np.load(io.BytesIO(data), allow_pickle=False)
    return pixels(open_image(io.BytesIO(data)))


def _samples(page: Page, path: pathlib.Path) -> np.ndarray:
    """Returns the samples of a page without conversion.

    Raises:
      InputError: Pillow would convert them, or their kind has no known meaning.
    """
    image = turned(page.image)
    # Pillow cuts colours of 16 bits to 8, and makes others of palettes.
    if page.bits > 8 and image.mode not in ("F", "I") and not image.mode.startswith("I;16"):
        raise InputError(
            f"{path} has several channels of {page.bits} bits, which are read from {NPY} and "
            "TIFF files only: convert it."
        )
    if page.signed or image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "F", "I", *_DEEP):
        raise InputError(
            f"{path} has samples of the kind {image.mode}{' (signed)' * page.signed}, which "
            f"have no known meaning as measurements: save them as {NPY} or TIFF."
        )
    array = np.asarray(image)
    return array.astype(array.dtype.newbyteorder("="))


_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")


def _of_kind(array: np.ndarray, path: pathlib.Path, kind: ImageKind) -> np.ndarray:
    """Returns an array h w c of the kind's dtype; floats of any width become float32.

    Raises:
      InputError: it has another dtype or number of channels, or a value is not finite.
    """
    found = array[..., None] if array.ndim == 2 else array
    is_float = found.dtype.kind == "f" and kind.dtype == "float32"
    if found.dtype.name != kind.dtype and not is_float:
        raise InputError(
            f"{path} has samples of {found.dtype.name}: {_depth_remedy(found, kind)}"
        )
    if found.shape[-1] != kind.channels:
        axes = found.shape[0] == kind.channels and array.ndim == 3
        order = "; if it is c h w, save np.moveaxis(array, 0, -1)" if axes else ""
        raise InputError(
            f"{path} has {found.shape[-1]} channel(s), but the dataset has channels="
            f"{kind.channels}: change channels, or leave the file out{order}."
        )
    with np.errstate(over="ignore"):  # What does not fit becomes infinite, and is named.
        made = found.astype(kind.dtype, copy=False)
    if made.dtype.kind == "f" and not np.isfinite(made).all():
        row, column, channel = np.argwhere(~np.isfinite(made))[0].tolist()
        raise InputError(
            f"{path} has the value {found[row, column, channel]} at row {row}, column "
            f"{column}, channel {channel}, which is not a finite {kind.dtype}: mend the file, "
            "or leave it out."
        )
    return made


def _depth_remedy(found: np.ndarray, kind: ImageKind) -> str:
    name = "float32" if found.dtype.kind == "f" else found.dtype.name
    if name in DTYPES:
        return f'set image_dtype="{name}" if all images are such; it is "{kind.dtype}".'
    return f'save them as {" or ".join(DTYPES)}; image_dtype is "{kind.dtype}".'

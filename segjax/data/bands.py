"""TIFF files of any number of bands and any depth, which Pillow does not read: by tifffile."""

import importlib
import io
import pathlib
from typing import Any

import numpy as np

from segjax.data.decode import NOT_A_PAGE, Limit
from segjax.errors import InputError

_ORIENTATION = 274


def read_bands(data: bytes, name: pathlib.Path, limit: Limit) -> list[np.ndarray]:
    """Returns the pages of a TIFF, each h w or h w c; smaller copies of a page do not count.

    Raises:
      InputError: tifffile is not installed; or the file cannot be read, a page is above the
        limit, or it is stored turned.
    """
    tifffile = _library(name)
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            if not len(file.pages):
                raise ValueError("no pages")
            found = [page for page in file.pages if not int(page.subfiletype) & NOT_A_PAGE]
            return [_page(page, limit) for page in found or list(file.pages)]
    except InputError as error:
        raise InputError(f"{name} {error}") from None
    except Exception as error:  # As decoders do, it raises whatever a broken file leads it to.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{name} cannot be read as a TIFF of several bands ({reason}): replace it, or save "
            "it as .npy."
        ) from None


def _library(name: pathlib.Path) -> Any:
    try:
        return importlib.import_module("tifffile")
    except ImportError:
        raise InputError(
            f"{name} is a TIFF whose bands are read by tifffile, which is not installed: pip "
            "install 'segjax[tiff]', or save the images as .npy, h w c."
        ) from None


def _page(page: Any, limit: Limit) -> np.ndarray:
    limit.check((page.imagewidth, page.imagelength))
    if (tag := page.tags.get(_ORIENTATION)) is not None and int(tag.value) != 1:
        raise InputError(f"is stored turned (orientation {int(tag.value)}): save it upright.")
    array = page.asarray()
    if page.axes.startswith("S"):  # Bands one after the other: s y x.
        array = np.moveaxis(array, 0, -1)
    return array.astype(array.dtype.newbyteorder("="), copy=False)

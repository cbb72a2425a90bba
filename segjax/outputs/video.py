"""Overlays of a video's frames as a video again, read back from their files one by one."""

import pathlib
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from segjax.atomic import atomic_path
from segjax.data.images import read_image
from segjax.outputs.frames import av_library

CODECS = ("libx264", "mpeg4")
"""The first that PyAV was built with; every one has the second."""


def write_video(
    path: pathlib.Path, pictures: Sequence[pathlib.Path], *, rate: Fraction
) -> None:
    """Writes an mp4 file of the pictures, all of one size, `rate` a second.

    Raises:
      InputError: PyAV is not installed, or a picture cannot be read.
    """
    av = av_library()
    codec = next(name for name in CODECS if name in av.codecs_available)
    with atomic_path(path) as partial, av.open(str(partial), "w", format="mp4") as film:
        stream = film.add_stream(codec, rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = _even(read_image(pictures[0], channels=3)).shape[:2]
        for picture in pictures:
            image = _even(read_image(picture, channels=3))
            film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        film.mux(stream.encode())


def _even(image: np.ndarray) -> np.ndarray:
    """Repeats the last row or column where a side is odd: codecs want even sides."""
    height, width = image.shape[:2]
    return np.pad(image, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")

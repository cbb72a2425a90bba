"""A source → its pixels: one image, the frames of a picture, or those of a video, streamed."""

import importlib
import pathlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Shaped

from segjax.data.arrays import NPY
from segjax.data.decode import DEFAULT_LIMIT, Limit, pages
from segjax.data.files import check_links
from segjax.data.image_files import ImageKind, image_pages
from segjax.data.images import pixels, read_image, upright
from segjax.errors import InputError
from segjax.outputs.inputs import Input

Image_HWC = Shaped[np.ndarray, "h w c"]


def frames(
    source: Input, *, channels: int, dtype: str = "uint8", limit: Limit = DEFAULT_LIMIT
) -> Iterator[Image_HWC]:
    """Yields the source's images in order, one in memory at a time; 3 channels are RGB.

    Raises:
      InputError: the file cannot be read, from here on, an image is above the limit, or images
        of other channels or another depth than those of a picture on a screen do not have them.
    """
    check_links([source.path])
    kind = ImageKind(channels, dtype, limit)
    if not kind.is_shown or source.path.suffix.lower() == NPY:
        yield from _measured(source, kind)
    elif source.is_video:
        yield from _video_frames(source.path, channels)
    elif source.frames is None:
        yield read_image(source.path, channels=channels, limit=limit)
    else:
        for page in pages(source.path, name=source.path, limit=limit):
            yield pixels(upright(page, source.path, channels=channels))


def _measured(source: Input, kind: ImageKind) -> Iterator[Image_HWC]:
    if source.is_video:
        raise InputError(
            f"{source.path} is a video, but the network's images have {kind.channels} "
            f"channel(s) of {kind.dtype}: give images."
        )
    try:
        data = source.path.read_bytes()
    except OSError as error:
        raise InputError(f"{source.path} cannot be read ({error.strerror}).") from None
    for image in image_pages(source.path, data, kind):
        yield image.pixels


def av_library() -> Any:
    """Returns PyAV, which reads and writes videos.

    Raises:
      InputError: it is not installed.
    """
    try:
        return importlib.import_module("av")
    except ImportError:
        raise InputError(
            "Videos are read by PyAV, which is not installed: pip install 'segjax[video]'."
        ) from None


def _video_frames(path: pathlib.Path, channels: int) -> Iterator[np.ndarray]:
    av, count = av_library(), 0
    try:
        with av.open(str(path)) as video:
            if not video.streams.video:
                raise InputError(f"{path} has no pictures, only sound: leave it out.")
            if video.streams.video[0].codec_context is None:
                # Decoding would end the process: PyAV before 18 does not look.
                raise InputError(f"{path} is cut short or broken: replace or remove it.")
            video.streams.video[0].thread_type = "AUTO"
            for frame in video.decode(video=0):
                shown = frame.to_ndarray(format="rgb24" if channels == 3 else "gray")
                # The file says by how much a player turns it to the left.
                turned = np.rot90(shown, round(frame.rotation / 90))
                yield np.ascontiguousarray(turned.reshape(*turned.shape[:2], channels))
                count += 1
    except av.FFmpegError as error:
        raise InputError(
            f"{path} cannot be read as a video from frame {count + 1} on ({error.strerror}): "
            "replace or remove it."
        ) from None
    if count == 0:
        raise InputError(f"{path} has no frames: replace or remove it.")


def expected_frames(source: Input) -> int:
    """Returns how many images a source probably has; a video's header may be wrong."""
    if not source.is_video:
        return source.frames or 1
    av = av_library()
    try:
        with av.open(str(source.path)) as video:
            stream = video.streams.video[0]
            seconds = (video.duration or 0) / av.time_base
            return max(stream.frames, round(seconds * (stream.average_rate or 25)), 1)
    except (av.FFmpegError, IndexError):
        return 1


def video_rate(path: pathlib.Path) -> Fraction:
    """Returns frames a second of a video; 25 where it does not say.

    Raises:
      InputError: PyAV is not installed.
    """
    with av_library().open(str(path)) as video:
        return Fraction(video.streams.video[0].average_rate or 25)

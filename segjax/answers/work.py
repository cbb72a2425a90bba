"""One source after another: pixels → prediction → files, and what became of each image."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from segjax.answers.film import write_film
from segjax.answers.frames import frames, video_rate
from segjax.answers.outputs import Answer, Frame, Labelme, Output, Overlay
from segjax.answers.record import Record
from segjax.answers.sources import FILM, Source
from segjax.errors import InputError
from segjax.evaluate.compiled import likeliest


@dataclasses.dataclass(frozen=True)
class Entry:
    """What became of one image.

    Attributes:
      source: its file.
      frame: its number in the file, from 1 on, where that holds several.
      files: what was written, the mask first; empty where it failed.
      skipped: whether the files were there already.
      error: why there are none.
    """

    source: Source
    frame: int | None
    files: tuple[pathlib.Path, ...] = ()
    skipped: bool = False
    error: str | None = None

    @property
    def name(self) -> str:
        """What the image is called in lists."""
        return self.source.name(self.frame)


@dataclasses.dataclass(frozen=True)
class Work:
    """What is done with every image.

    Attributes:
      classes: image b h w c → class ids b h w.
      probabilities: image b h w c → b h w k.
      channels: of the network's images.
      out: the folder for all files.
      outputs: kinds of files, the mask first.
      record: tells which files are finished.
      class_names, palette: what class ids mean.
    """

    classes: Callable[[np.ndarray], np.ndarray]
    probabilities: Callable[[np.ndarray], np.ndarray]
    channels: int
    out: pathlib.Path
    outputs: Sequence[Output]
    record: Record
    class_names: tuple[str, ...]
    palette: np.ndarray

    def entries(self, source: Source) -> Iterator[Entry]:
        """One entry an image of the source, once its files are written."""
        if source.frames is None and (done := self._finished(source, None)):
            yield done
            return
        images = frames(source, channels=self.channels)
        frame = None if source.frames is None else 1
        while True:
            try:
                image = next(images, None)
            except InputError as error:
                yield Entry(source, frame, error=str(error))
                return
            if image is None:
                return
            yield self._finished(source, frame) or self._made(source, frame, image)
            frame = None if frame is None else frame + 1

    def _finished(self, source: Source, frame: int | None) -> Entry | None:
        files = self._files(source, frame)
        if not self.record.finished(source.path, files):
            return None
        return Entry(source, frame, files, skipped=True)

    def _files(self, source: Source, frame: int | None) -> tuple[pathlib.Path, ...]:
        base = self.out / source.base(frame)
        kinds = outputs_of(self.outputs, is_frame=frame is not None)
        return tuple(base.with_name(base.name + kind.suffix) for kind in kinds)

    def _made(self, source: Source, frame: int | None, image: np.ndarray) -> Entry:
        try:
            answer = self._answer(source, frame, image)
        except ValueError as error:
            # A wrapper's own limits, such as the CRF's 8 bits.
            return Entry(source, frame, error=f"{source.path}: {error}")
        files = self._files(source, frame)
        files[0].parent.mkdir(parents=True, exist_ok=True)
        kinds = outputs_of(self.outputs, is_frame=frame is not None)
        for kind, path in zip(kinds, files, strict=True):
            kind.save(answer, path)
        return Entry(source, frame, files)

    def _answer(self, source: Source, frame: int | None, image: np.ndarray) -> Answer:
        probabilities = None
        if any(kind.soft for kind in self.outputs):
            probabilities = self.probabilities(image[None])[0]
            label = likeliest(probabilities)
        else:
            label = self.classes(image[None])[0]
        return Answer(
            image=image,
            label=label,
            probabilities=probabilities,
            source=source.path,
            is_frame=frame is not None,
            class_names=self.class_names,
            palette=self.palette,
        )


def write_films(entries: Sequence[Entry], out: pathlib.Path) -> list[pathlib.Path]:
    """Writes `<stem>_overlay.mp4` for each video that has an overlay of every frame read.

    One that is newer than all of its overlays stays. Returns those that are there.
    """
    by_video: dict[Source, list[pathlib.Path]] = {}
    for entry in entries:
        if entry.source.is_video:
            overlays = [path for path in entry.files if path.name.endswith(Overlay.suffix)]
            by_video.setdefault(entry.source, []).extend(overlays)
    films = {source: pictures for source, pictures in by_video.items() if pictures}
    paths = []
    for source, pictures in films.items():
        base = out / source.base(None)
        path = base.with_name(base.name + FILM)
        newest = max(picture.stat().st_mtime_ns for picture in pictures)
        if not path.exists() or path.stat().st_mtime_ns <= newest:
            write_film(path, pictures, rate=video_rate(source.path))
        paths.append(path)
    return paths


def outputs_of(outputs: Sequence[Output], *, is_frame: bool) -> tuple[Output, ...]:
    """The kinds that one image gets: Labelme needs a frame of several as a file of its own."""
    needs_file = is_frame and any(isinstance(kind, Labelme) for kind in outputs)
    return (*outputs, Frame()) if needs_file else tuple(outputs)

"""One source after another: pixels → prediction → files, and what became of each image."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

from segjax.atomic import atomic_path
from segjax.data.decode import DEFAULT_LIMIT, Limit
from segjax.errors import InputError, RunError, is_out_of_memory
from segjax.outputs.frames import frames, video_rate
from segjax.outputs.inputs import FILM, Input
from segjax.outputs.kinds import Frame, Output, Overlay, Prediction
from segjax.outputs.record import Origin, Record, origin
from segjax.outputs.video import write_video
from segjax.parallel.kept_memory import forget_programs


@dataclasses.dataclass(frozen=True)
class Entry:
    """What became of one image.

    Attributes:
      source: its file.
      frame: its number in the file, from 1 on, where that holds several.
      files: what is there of it, the mask first; empty where it failed.
      skipped: whether nothing of it had to be made.
      kept: those of the files that would be made again, had nobody changed them by hand.
      error: why there are none.
    """

    source: Input
    frame: int | None
    files: tuple[pathlib.Path, ...] = ()
    skipped: bool = False
    kept: tuple[pathlib.Path, ...] = ()
    error: str | None = None

    @property
    def name(self) -> str:
        """What the image is called in lists."""
        return self.source.name(self.frame)

    @property
    def file_name(self) -> str:
        """The image's own file: its source below the inputs, or its `Frame` below `out`."""
        if self.frame is None:
            return self.name
        return self.source.base(self.frame).as_posix() + Frame.suffix


@dataclasses.dataclass(frozen=True)
class Writer:
    """What is done with every image.

    Attributes:
      answer: (image h w c, whether probabilities are needed) → (the answer of a `Prediction`,
        such as class ids h w; probabilities or None).
      channels, image_dtype: of the network's images.
      out: the folder for all files.
      outputs: kinds of files, the mask first.
      frame_files: whether one image of several in a file becomes a file of its own too.
      record: tells which files are finished.
      class_names, palette: what class ids mean.
      limit: on the size of images.
    """

    answer: Callable[[np.ndarray, bool], tuple[Any, np.ndarray | None]]
    channels: int
    out: pathlib.Path
    outputs: Sequence[Output]
    frame_files: bool
    record: Record
    class_names: tuple[str, ...]
    palette: np.ndarray
    limit: Limit = DEFAULT_LIMIT
    image_dtype: str = "uint8"

    def entries(self, source: Input) -> Iterator[Entry]:
        """Returns one entry an image of the source, once its files are written."""
        read_from = origin(source.path)
        if source.frames is None and not self._missing(source, None, read_from):
            yield self._entry(source, None, read_from, skipped=True)
            return
        images = frames(
            source, channels=self.channels, dtype=self.image_dtype, limit=self.limit
        )
        frame = None if source.frames is None else 1
        while True:
            try:
                image = next(images, None)
            except (InputError, MemoryError) as error:
                yield Entry(source, frame, error=_reason(error, source))
                return
            if image is None:
                return
            yield self._made(source, frame, read_from, image)
            frame = None if frame is None else frame + 1

    def _files(self, source: Input, frame: int | None) -> dict[pathlib.Path, Output]:
        """Returns the kind of each of an image's files, the mask first."""
        base = self.out / source.base(frame)
        own = frame is not None and self.frame_files
        kinds = (*self.outputs, Frame()) if own else self.outputs
        return {base.with_name(base.name + kind.suffix): kind for kind in kinds}

    def _missing(
        self, source: Input, frame: int | None, read_from: Origin
    ) -> dict[pathlib.Path, Output]:
        """Returns files that have to be made; those changed by hand are not among them."""
        return {
            path: kind
            for path, kind in self._files(source, frame).items()
            if not self.record.finished(path, kind, read_from) and not self._edited(path, kind)
        }

    def _edited(self, path: pathlib.Path, kind: Output) -> bool:
        return kind.edited and self.record.changed(path)

    def _entry(
        self, source: Input, frame: int | None, read_from: Origin, *, skipped: bool
    ) -> Entry:
        files = self._files(source, frame)
        kept = (
            path
            for path, kind in files.items()
            if self._edited(path, kind) and not self.record.finished(path, kind, read_from)
        )
        return Entry(source, frame, tuple(files), skipped=skipped, kept=tuple(kept))

    def _made(
        self, source: Input, frame: int | None, read_from: Origin, image: np.ndarray
    ) -> Entry:
        missing = self._missing(source, frame, read_from)
        if missing:
            try:
                prediction = self._predict(source, frame, missing.values(), image)
                self._write(prediction, missing, read_from)
            # A wrapper's own limit (the CRF's 8 bits), scores that are not finite, or memory.
            except (ValueError, RuntimeError, MemoryError) as error:
                if not (isinstance(error, ValueError | RunError) or is_out_of_memory(error)):
                    raise
                return Entry(source, frame, error=_reason(error, source, image))
        return self._entry(source, frame, read_from, skipped=not missing)

    def _write(
        self, prediction: Prediction, missing: Mapping[pathlib.Path, Output], read_from: Origin
    ) -> None:
        """Adds the files to the record, then writes them."""
        next(iter(missing)).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            partials = {path: stack.enter_context(atomic_path(path)) for path in missing}
            for path, kind in missing.items():
                kind.save(prediction, partials[path])
            written = ((path, kind, partials[path]) for path, kind in missing.items())
            self.record.add(read_from, written)

    def _predict(
        self, source: Input, frame: int | None, kinds: Iterable[Output], image: np.ndarray
    ) -> Prediction:
        answer, probabilities = self.answer(image, any(kind.soft for kind in kinds))
        base = self.out / source.base(frame)
        return Prediction(
            image=image,
            answer=answer,
            probabilities=probabilities,
            file=source.path if frame is None else base.with_name(base.name + Frame.suffix),
            class_names=self.class_names,
            palette=self.palette,
        )


def _reason(
    error: Exception, source: Input, image: Shaped[np.ndarray, "h w c"] | None = None
) -> str:
    """Returns why an image has no files, as a line; frees memory where that ran out."""
    if not is_out_of_memory(error):
        return str(error) if image is None else f"{source.path}: {error}"
    # Compiled programs for other sizes hold memory too.
    forget_programs()
    size = "" if image is None else f" for {image.shape[1]} x {image.shape[0]} pixels"
    return (
        f"{source.path}: there is not enough memory{size}: give the image smaller, or try "
        "--side or --window."
    )


def write_videos(
    entries: Sequence[Entry], out: pathlib.Path, *, record: Record
) -> list[pathlib.Path]:
    """Writes `<stem>_overlay.mp4` for each video that has an overlay of every frame read.

    One that is newer than all of its overlays stays. Returns those that are there.
    """
    by_video: dict[Input, list[pathlib.Path]] = {}
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
            record.claim(path)
            write_video(path, pictures, rate=video_rate(source.path))
        paths.append(path)
    return paths

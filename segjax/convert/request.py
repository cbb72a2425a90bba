"""What a user asks of `convert`."""

import os
import pathlib
from dataclasses import dataclass, field
from typing import Any

from segjax.convert.annotated import Options
from segjax.convert.classes import Choice
from segjax.errors import InputError

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


@dataclass(frozen=True)
class Request:
    """Sources, where the result goes, and all options.

    Attributes:
      sources: folders, or annotation files.
      out: the folder of the result.
      format: the name of the sources' format; None: it is recognised.
      options: what readers need.
      choice: of classes.
      overlap: a key of `painting.OVERLAPS`.
      shares: of train, val and test; None: the source's own, or a fifth for validation.
      link: whether images are hard links.
      skip_errors: whether images with an error are left out.
    """

    sources: tuple[pathlib.Path, ...]
    out: pathlib.Path
    format: str | None = None
    options: Options = field(default_factory=Options)
    choice: Choice = field(default_factory=Choice)
    overlap: str = "order"
    shares: tuple[float, float, float] | None = None
    link: bool = False
    skip_errors: bool = False

    def made_by(self) -> dict[str, Any]:
        """Returns what decides the result, as JSON: runs of one folder must agree in it."""
        options, choice = self.options, self.choice
        return {
            "sources": [str(path.resolve()) for path in self.sources],
            "--format": self.format,
            "--images": None if options.images is None else str(options.images.resolve()),
            "--names": _list(options.names),
            "--values": options.values,
            "--attribute": options.attribute,
            "--colours": None if options.colours is None else str(options.colours.resolve()),
            "--classes": _list(choice.classes),
            "--merge": dict(choice.merged or {}) or None,
            "--ignore": list(choice.ignored) or None,
            "--overlap": self.overlap,
            "--crowds": options.crowds,
            "--split": _list(self.shares),
        }

    def check_places(self) -> None:
        """Raises InputError unless sources can be read and the result lies apart from them.

        Beside a source that is one file there may be a folder for the result.

        Raises:
          InputError: a source is an archive, `out` is a file, or one lies in the other.
        """
        for path in self.sources:
            if path.suffix.lower() in ARCHIVES and os.path.isfile(path):
                raise InputError(f"{path} is an archive: unpack it, and give the folder.")
        out = self.out.resolve()
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out {self.out} is a file: name a folder.")
        images = [] if self.options.images is None else [self.options.images]
        for path in (*self.sources, *images):
            is_file = os.path.isfile(path)
            folder = path.resolve().parent if is_file else path.resolve()
            if out.is_relative_to(folder) and not is_file:
                raise InputError(
                    f"--out {self.out} lies inside {path}, which is only read: choose a folder "
                    "outside of it."
                )
            if folder.is_relative_to(out):
                raise InputError(
                    f"--out {self.out} contains {path}, which is only read: choose another "
                    "folder."
                )


def _list(values: tuple | None) -> list | None:
    return None if values is None else list(values)

"""A COCO JSON file that is parsed only if it must be: COCO's own has 450 MB.

Which images a dataset takes from it is remembered in the cache by the file's contents, so that
a run on prepared data reads a short list instead.
"""

import contextlib
import json
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence

from segjax.atomic import write_text
from segjax.data.cache import cache_root
from segjax.data.coco_file import CocoFile, CocoImage, Id, coco_file
from segjax.data.contents import digest, digests, remember, remembered, stamps
from segjax.errors import InputError

VERSION = 1
"""Part of each list's name: raise it when the same file is to be listed differently."""

Row = Sequence[str]
"""What a dataset remembers of an image."""


class CocoIndex:
    """The images of a COCO file: `rows` lists them, `image` returns one with its annotations.

    Args:
      path: of the file.
      categories: {id: name} of those that it may have; None for any.

    Raises:
      InputError: the file is missing.
    """

    def __init__(self, path: pathlib.Path, *, categories: Mapping[int, str] | None):
        if not path.is_file():
            raise InputError(
                f"The file {path} is missing: unpack COCO's annotations there, or mend "
                "directory=... (--data)."
            )
        self.path, self._categories = path, categories
        self.digest = _digest(path)
        self._lock = threading.Lock()
        self._file: CocoFile | None = None
        self._images: dict[str, CocoImage] = {}

    @property
    def file(self) -> CocoFile:
        """The parsed file.

        Raises:
          InputError: it is not a COCO file, or has other categories.
        """
        with self._lock:  # Many threads ask for their first image at once.
            if self._file is None:
                self._file = self._checked(coco_file(self.path, _json(self.path)))
                self._images = {str(image.id): image for image in self._file.images}
            return self._file

    def _checked(self, found: CocoFile) -> CocoFile:
        if self._categories is None:
            return found
        known: dict[Id, str] = {**self._categories}
        for number, category in found.categories.items():
            if known.get(number) != category.name:
                raise InputError(
                    f"{self.path} has the category {number} {category.name!r}, which is not "
                    "one of COCO's: make a folder of it with python -m segjax.convert."
                )
        return found

    def image(self, number: str) -> CocoImage:
        """Returns the image of an id."""
        _ = self.file
        return self._images[number]

    def rows(self, about: str, row: Callable[[CocoImage], Row | None]) -> list[Row]:
        """Returns what `row` makes of each image in order of their ids, but for None.

        Args:
          about: names what `row` does, in the name of the remembered list.
          row: what is to be remembered of an image; None leaves it out.

        Raises:
          InputError: the file is not a COCO file.
        """
        name = digest(json.dumps([VERSION, about, self.digest]).encode())[:20]
        memo = cache_root() / "known" / f"coco-{name}.json"
        with contextlib.suppress(OSError, ValueError):
            return json.loads(memo.read_text(encoding="utf-8"))
        in_order = sorted(self.file.images, key=lambda image: (str(type(image.id)), image.id))
        found = [made for image in in_order if (made := row(image)) is not None]
        with contextlib.suppress(OSError):
            memo.parent.mkdir(parents=True, exist_ok=True)
            write_text(memo, json.dumps(found))
        return found


def _digest(path: pathlib.Path) -> str:
    """Returns the digest of a file, which is read if it may have changed."""
    memo = cache_root() / "known" / f"{digest(str(path).encode())[:20]}.json"
    before = stamps([path])
    known = remembered(memo, before)
    if not known:
        known = digests([path])
        remember(memo, before, known)
    return known[path]


def _json(path: pathlib.Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read as JSON ({str(error).splitlines()[0]}): get it again."
        ) from None

"""Where the masks of one class lie: a folder, or a pattern of names in a folder."""

import pathlib
from dataclasses import dataclass

from segjax.errors import InputError


@dataclass(frozen=True)
class MaskPattern:
    """The name of an image's mask: in `folder`, between `head` and `tail`.

    >>> MaskPattern.of("masks/*_cup").mask("left/01")
    'left/01_cup'
    >>> MaskPattern.of("cup").mask("left/01")
    'left/01'
    """

    folder: str
    head: str = ""
    tail: str = ""

    @classmethod
    def of(cls, text: str) -> "MaskPattern":
        """From "cup", a folder, or "masks/*_cup", where * is the image's own name.

        Raises:
          InputError: there are several stars, or one in a folder's name.
        """
        folder, _, name = text.rpartition("/")
        if "*" not in text:
            return cls(text)
        if text.count("*") > 1 or "*" not in name:
            raise InputError(
                f"Folder has masks={text!r}: write one * and behind the last /, where the "
                'image\'s name stands, as in "masks/*_cup", or a folder.'
            )
        # A name's suffix is not written: every kind of mask will do.
        name = pathlib.PurePath(name).stem if _is_suffix(name) else name
        head, _, tail = name.partition("*")
        return cls(folder, head, tail)

    def mask(self, stem: str) -> str:
        """Returns the mask's relative name without suffix, of an image's."""
        folder, slash, name = stem.rpartition("/")
        return f"{folder}{slash}{self.head}{name}{self.tail}"

    def image(self, stem: str) -> str | None:
        """Returns the image's relative name without suffix, of a mask's; None: of another
        class.
        """
        folder, slash, name = stem.rpartition("/")
        if len(name) <= len(self.head) + len(self.tail):
            return None
        if not (name.startswith(self.head) and name.endswith(self.tail)):
            return None
        return f"{folder}{slash}{name[len(self.head) : len(name) - len(self.tail)]}"


def _is_suffix(name: str) -> bool:
    return pathlib.PurePath(name).suffix.lower() in (".png", ".bmp", ".tif", ".tiff", ".gif")

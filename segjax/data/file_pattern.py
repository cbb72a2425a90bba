"""Names of files that follow from an image's stem: "labels/{stem:0>8}_mask.png"."""

import pathlib
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from segjax.data.names import composed
from segjax.errors import InputError

EXAMPLE = '"labels/{stem}_mask.png" or "labels/{stem:0>8}.png"'

_FILL = re.compile(r"(.?)([<>])(\d+)", re.DOTALL)
"""What may follow {stem: a character to fill with (else a space), a side, a width."""


WIDEST = 255
"""Characters of a filled stem: what file systems allow a name."""


@dataclass(frozen=True)
class FilePattern:
    """How files are named after their images.

    `folder` holds the files. `template` is a file's path below it, without suffix, and says
    {stem} at least once. Sub-folders may lie between the two; they belong to the stem.

    >>> pattern = FilePattern.of("labels/{stem:0>4}_mask.png", (".png", ".tif"), field="mask")
    >>> pattern.name("street/7")
    'street/0007_mask'
    >>> pattern.stem("street/0007_mask"), pattern.suffixes
    ('street/7', ('.png',))
    """

    folder: str
    template: str = "{stem}"
    suffixes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, text: Any, suffixes: Sequence[str], *, field: str, named: Sequence[str] = ()
    ) -> "FilePattern":
        """Returns the pattern that a user wrote as `field`; files have one of `suffixes`.

        Those of `named` count only where the pattern ends in one of them.

        Raises:
          InputError: it has no {stem}, another field, a format that does not only fill, or a
            suffix that is not read; or no file can have such a name.
        """
        _check_fields(text, field)
        parts = composed(text).split("/")
        first = next(i for i, part in enumerate(parts) if _has_field(part))
        template = "/".join(parts[first:])
        stem, suffix = _without_suffix(template, (*suffixes, *named), text, field)
        folder = "/".join(parts[:first]).replace("{{", "{").replace("}}", "}")
        _check_parts(folder, stem, text, field)
        return cls(_normal(folder), stem, (suffix,) if suffix else tuple(suffixes))

    @classmethod
    def of_folder(cls, text: str, suffixes: Sequence[str]) -> "FilePattern":
        """Returns the pattern of files in a folder that have the image's own name.

        Where the last part of `text` has a star, as in "masks/*_cup", the image's name stands
        there. A suffix after it does not count.

        Raises:
          InputError: there are several stars, or one in a folder's name.
        """
        if "*" not in text:
            return cls(_normal(composed(text)), suffixes=tuple(suffixes))
        folder, _, name = composed(text).rpartition("/")
        if text.count("*") > 1 or "*" not in name:
            raise InputError(
                f"Folder has masks={text!r}: write one * behind the last /, where the image's "
                'name stands, as in "masks/*_cup", or the name of a folder.'
            )
        path = pathlib.PurePath(name)
        name = path.stem if path.suffix.lower() in suffixes else name
        escaped = name.replace("{", "{{").replace("}", "}}")
        return cls(_normal(folder), escaped.replace("*", "{stem}"), tuple(suffixes))

    @property
    def is_plain(self) -> bool:
        """Whether a file has its image's own name."""
        return self.template == "{stem}"

    @property
    def text(self) -> str:
        """The pattern as a user reads it, below its folder."""
        return self.template + (self.suffixes[0] if len(self.suffixes) == 1 else ".*")

    def overlaps(self, other: "FilePattern") -> bool:
        """Returns whether both give the same files to the same stems."""
        same = (self.folder, self.template) == (other.folder, other.template)
        return same and not set(self.suffixes).isdisjoint(other.suffixes)

    def name(self, stem: str) -> str:
        """Returns the path of an image's file below `folder`, without suffix."""
        folder, slash, last = stem.rpartition("/")
        return f"{folder}{slash}{self.template.format(stem=last)}"

    def stem(self, name: str) -> str | None:
        """Returns the stem that gives a path without suffix; None where no stem does.

        Of several, as "7" and "07" for {stem:0>8}, it is the shortest.
        """
        # A stem has no "/", so as many last parts as the template has are the template's.
        parts = name.split("/")
        depth = self.template.count("/") + 1
        folder, last = "/".join(parts[:-depth]), "/".join(parts[-depth:])
        stem = min(self._last_parts(last), key=len, default=None)
        return stem if stem is None or not folder else f"{folder}/{stem}"

    def _last_parts(self, name: str) -> Iterator[str]:
        """Yields the stems without folder that give this name.

        Each place where its first field may end is tried.
        """
        before, spec, after, is_only = self._first_field
        ends = range(len(before) + 1, len(name) + 1)
        for end in (len(name) - len(after),) if is_only else ends:
            if not name.startswith(after, end):
                continue
            for stem in _unfilled(name[len(before) : end], spec):
                if self.template.format(stem=stem) == name:
                    yield stem

    @cached_property
    def _first_field(self) -> tuple[str, str, str, bool]:
        """(text before it, its format, text up to the next field, whether it is alone)."""
        parsed = _parsed(self.template)
        first, *more = (i for i, (_, spec) in enumerate(parsed) if spec is not None)
        stop = (more[0] if more else len(parsed)) + 1
        before, after = (
            "".join(literal for literal, _ in part)
            for part in (parsed[: first + 1], parsed[first + 1 : stop])
        )
        return before, parsed[first][1] or "", after, not more


def _check_fields(text: Any, field: str) -> None:
    """Raises InputError unless a text has stems, filled or not, and no other field."""
    remedy = f"write {{stem}} where the image's own name stands, as in {EXAMPLE}."
    try:
        parsed = list(string.Formatter().parse(text))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Folder has {field}={text!r}, which is not a pattern ({error}): {remedy}"
        ) from None
    named = [(name, conversion) for _, name, _, conversion in parsed if name is not None]
    if not named or set(named) != {("stem", None)}:
        raise InputError(f"Folder has {field}={text!r}: {remedy}")
    for _, _, spec, _ in parsed:
        found = _FILL.fullmatch(spec or "")
        # Read as a number only where it is short: Python refuses thousands of digits.
        wide = found and (len(found[3]) > len(f"{WIDEST}") or int(found[3]) > WIDEST)
        if spec and (not found or spec[0] in "/{}" or wide):
            raise InputError(
                f"Folder has {field}={text!r}: behind the colon stand a character, > or <, and "
                f"a width up to {WIDEST}, as in {{stem:0>8}}, which puts zeros in front up to "
                "8 characters."
            )


def _check_parts(folder: str, template: str, text: str, field: str) -> None:
    """Raises InputError unless a file can lie in this folder and have such a name."""
    if "*" in folder or "*" in template:
        raise InputError(
            f"Folder has {field}={text!r}, but * stands for any suffix alone, as in "
            f'"{field}s/{{stem}}.*": leave it out. Sub-folders of a folder are read by '
            "themselves."
        )
    if text.startswith("/") and not folder.strip("/"):
        raise InputError(
            f"Folder has {field}={text!r}: leave the first / out, for files in the directory "
            "itself."
        )
    if any(part.startswith(".") or not part for part in template.split("/")):
        raise InputError(
            f"Folder has {field}={text!r}, but files and folders whose names begin with a dot "
            "are left out, and a name is not empty: write other names from {stem} on."
        )


def _has_field(part: str) -> bool:
    return any(name for _, name, _, _ in string.Formatter().parse(part))


def _parsed(template: str) -> list[tuple[str, str | None]]:
    """Returns pairs (text before a field, its format); the last text has no field, so None."""
    parsed = string.Formatter().parse(template)
    return [(literal, spec if name else None) for literal, name, spec, _ in parsed]


def _unfilled(text: str, spec: str) -> Iterator[str]:
    """Yields what a field may have been filled to `text` from, the shortest first."""
    match = _FILL.fullmatch(spec)
    if match is not None and len(text) == int(match[3]):
        fill, side = match[1] or " ", match[2]
        bare = text.lstrip(fill) if side == ">" else text.rstrip(fill)
        for length in range(max(len(bare), 1), len(text)):
            yield text[-length:] if side == ">" else text[:length]
    if text:
        yield text


def _without_suffix(
    template: str, suffixes: tuple[str, ...], text: str, field: str
) -> tuple[str, str]:
    """Returns (template, suffix in lower case); the suffix of "a.*" and of "a" is empty."""
    tail = template.rpartition("}")[2]
    head, dot, ending = tail.rpartition(".")
    if not dot:
        return template, ""
    suffix = f".{ending.lower()}"
    if suffix not in (".*", *suffixes):
        raise InputError(
            f"Folder has {field}={text!r}, but files that end in .{ending} are not read as "
            f"{field}s: end it in one of {' '.join(suffixes)}, or in .* for any of them."
        )
    without = template[: len(template) - len(dot + ending)]
    return without, "" if suffix == ".*" else suffix


def _normal(folder: str) -> str:
    """Returns a folder's path in one way of writing: "disc/" and "./disc" are "disc"."""
    return str(pathlib.PurePosixPath(folder))

"""Names of files that follow from an image's stem: "labels/{stem:0>8}_mask.png"."""

import pathlib
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from segjax.data.names import composed
from segjax.errors import InputError

EXAMPLE = '"labels/{stem}_mask.png" or "labels/{stem:0>8}.png"'

_FILL = re.compile(r"(.?)([<>])(\d+)", re.DOTALL)
"""What may follow {stem: a character to fill with (else a space), a side, a width."""


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
    def of(cls, text: Any, suffixes: Sequence[str], *, field: str) -> "FilePattern":
        """Returns the pattern that a user wrote as `field`; files have one of `suffixes`.

        Raises:
          InputError: it has no {stem}, another field, a format that does not only fill, or a
            suffix that is not read.
        """
        _check_fields(text, field)
        parts = composed(text).split("/")
        first = next(i for i, part in enumerate(parts) if _has_field(part))
        template = "/".join(parts[first:])
        stem, suffix = _without_suffix(template, tuple(suffixes), text, field)
        folder = "/".join(parts[:first]).replace("{{", "{").replace("}}", "}")
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
        match = self._regex.fullmatch(name)
        if match is None:
            return None
        folder, *found = match.groups()
        specs = [spec for _, spec in _parsed(self.template) if spec is not None]
        # A field without fills holds the stem itself.
        spec, text = min(zip(specs, found, strict=True))
        last = _unfilled(text, spec)
        stem = last if folder is None else f"{folder}/{last}"
        return stem if self.name(stem) == name else None

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        parts = (
            re.escape(literal) + ("" if spec is None else "([^/]+)")
            for literal, spec in _parsed(self.template)
        )
        return re.compile(f"(?:(.+)/)?{''.join(parts)}", re.DOTALL)


def _check_fields(text: Any, field: str) -> None:
    """Raises InputError unless a text has stems, filled or not, and no other field."""
    remedy = f"write {{stem}} where the image's own name stands, as in {EXAMPLE}."
    try:
        parsed = list(string.Formatter().parse(text))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Folder has {field}={text!r}, which is not a pattern ({error}): {remedy}"
        ) from None
    found = [(name, conversion) for _, name, _, conversion in parsed if name is not None]
    if not found or set(found) != {("stem", None)}:
        raise InputError(f"Folder has {field}={text!r}: {remedy}")
    for _, _, spec, _ in parsed:
        if spec and (not _FILL.fullmatch(spec) or spec[0] in "/{}"):
            raise InputError(
                f"Folder has {field}={text!r}: behind the colon stand a character, > or <, and "
                "a width, as in {stem:0>8}, which puts zeros in front up to 8 characters."
            )


def _has_field(part: str) -> bool:
    return any(name for _, name, _, _ in string.Formatter().parse(part))


def _parsed(template: str) -> list[tuple[str, str | None]]:
    """Returns pairs (text before a field, its format); the last text has no field, so None."""
    parsed = string.Formatter().parse(template)
    return [(literal, spec if name else None) for literal, name, spec, _ in parsed]


def _unfilled(text: str, spec: str) -> str:
    match = _FILL.fullmatch(spec)
    if match is None or len(text) > int(match[3]):
        return text
    fill, side = match[1] or " ", match[2]
    bare = text.lstrip(fill) if side == ">" else text.rstrip(fill)
    return bare or fill


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

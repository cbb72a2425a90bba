"""Which class id a name of the source gets: choice, order, merging, and what is ignored."""

import difflib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from segjax.contracts import IGNORE
from segjax.convert.annotated import IGNORED
from segjax.data.lists import listed
from segjax.data.names import composed, unlistable
from segjax.errors import InputError, first_of

MOST_CLASSES = 255
"""Ids are 0 to 254; 255 is ignored."""


@dataclass(frozen=True)
class Choice:
    """What a user says about classes.

    Attributes:
      classes: the names to keep, in the order of their ids; None: all.
      merged: {name in the source: name of its class}.
      ignored: names whose pixels become 255.
    """

    classes: tuple[str, ...] | None = None
    merged: Mapping[str, str] | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Classes:
    """The classes of the result.

    Attributes:
      names: by id.
      ids: class id of each name of the source: a class, 255, or None for what is not drawn.
      uncovered: id of the pixels that nothing covers: 0, or 255 without a background.
      left_out: names of the source that are not drawn.
    """

    names: tuple[str, ...]
    ids: Mapping[str, int | None]
    uncovered: int
    left_out: tuple[str, ...] = ()


def parsed_names(text: str, option: str) -> tuple[str, ...]:
    """Returns the names of "a,b,c", or those of a file, one a line.

    Raises:
      InputError: there are none, or one stands there twice.
    """
    if os.path.isfile(text):  # False for a text that is too long for a path, too.
        return tuple(listed(pathlib.Path(text), str, what="class"))
    names = tuple(tidy(name) for name in text.split(",") if name.strip())
    if not names:
        raise InputError(f"{option} {text!r} has no name: write names, such as car,person.")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{option} {text} has {twice[0]!r} twice: keep one.")
    return names


def parsed_merges(texts: Iterable[str]) -> dict[str, str]:
    """Returns {name: new name} of texts such as "car,truck=vehicle".

    Raises:
      InputError: a text is not of this form, or a name is merged twice.
    """
    merged: dict[str, str] = {}
    for text in texts:
        left, equals, target = text.rpartition("=")
        names = [tidy(name) for name in left.split(",") if name.strip()]
        if not equals or not names or not target.strip():
            raise InputError(
                f"--merge {text}: write the old names, = and the new name, such as "
                '"car,truck=vehicle".'
            )
        for name in names:
            if merged.setdefault(name, tidy(target)) != tidy(target):
                raise InputError(
                    f"--merge gives {name!r} to {merged[name]!r} and to {target.strip()!r}: "
                    "keep one of them."
                )
    return merged


def chosen(
    names: Sequence[str],
    *,
    background: str,
    choice: Choice,
    earlier: Sequence[str] = (),
    planes: bool = False,
) -> Classes:
    """Returns the classes of the result.

    Without a choice they are the names of the source, behind the background; a merged class
    takes the place of the first of its names. Merging gives the background another name, and
    it stays class 0. Classes of an `earlier` result keep their ids, also those that the source
    no longer has; new ones follow. With `planes` the background is not a class, nor is one
    that is ignored.

    Raises:
      InputError: an option names what the source does not have (near names are listed), the
        background is not the first class, or there are no classes, or more than 255, or a
        list cannot hold the name of one.
    """
    has_background = background != IGNORED
    given, ignored = dict(choice.merged or {}), choice.ignored
    sources = (*names, background) if has_background else tuple(names)
    mergeable = names if planes else sources
    _check_known(given, [*mergeable, *map(tidy, mergeable)], "--merge")
    # Names that look alike, such as "car" and "car ", are one class.
    merged = {name: given.get(name, given.get(tidy(name), tidy(name))) for name in sources}
    below = merged.get(background, background)
    results = [*dict.fromkeys([*earlier, *(merged.get(name, name) for name in sources)])]
    _check_known(ignored, [*results, *sources], "--ignore")
    kept = [name for name in results if name not in (below, IGNORED, *ignored)]
    if choice.classes is not None:
        _check_known(choice.classes, [*results, *sources], "--classes")
        kept = _selected(choice.classes, kept, below)
    has_class = has_background and not planes and not {background, below} & {IGNORED, *ignored}
    final = (below, *kept) if has_class else tuple(kept)
    if not kept:
        what = f"{below!r}" if has_background else "ignored pixels"
        raise InputError(
            f"No class is left besides {what}: annotate objects first, or --ignore fewer names."
        )
    _check_listable(final)
    if len(final) > MOST_CLASSES:
        raise InputError(
            f"The result would have {len(final)} classes, and a mask holds {MOST_CLASSES}: "
            "choose among them with --classes, or --merge some."
        )
    place = {name: number for number, name in enumerate(final)}
    ids: dict[str, int | None] = {IGNORED: IGNORE}
    for name in sources:
        result = merged.get(name, name)
        is_ignored = name in ignored or result in (*ignored, IGNORED)
        ids[name] = IGNORE if is_ignored else place.get(result)
    uncovered = ids.get(background)
    left_out = tuple(
        name for name in sources if ids[name] is None and merged.get(name, name) != below
    )
    return Classes(final, ids, IGNORE if uncovered is None else uncovered, left_out)


def tidy(name: str) -> str:
    """Returns a class name in Unicode's composed form, without spaces around it."""
    return composed(name).strip()


def _check_listable(names: Iterable[str]) -> None:
    for name in names:
        if wrong := unlistable(name):
            reason = f"has the character {wrong[0]!a}, which a line of text cannot hold"
        elif name.startswith("#"):
            reason = "begins with #, as comments do in classes.txt"
        elif not name:
            reason = "has no name"
        else:
            continue
        raise InputError(
            f"The class {name!r} {reason}: correct its name in the annotations, or give it "
            "another one with --merge."
        )


def _selected(classes: Sequence[str], kept: Sequence[str], background: str) -> list[str]:
    if background in classes[1:]:
        raise InputError(
            f"--classes has {background!r} at place {classes.index(background)}: the "
            "background is class 0. Name it first, or leave it out."
        )
    lost = [name for name in classes if name not in (*kept, background)]
    if lost:
        raise InputError(
            f"--classes has {lost[0]!r}, which --merge or --ignore takes away: take it out of "
            "one of the options."
        )
    return [name for name in classes if name != background]


def _check_known(given: Iterable[str], known: Sequence[str], option: str) -> None:
    for name in given:
        if name not in (*known, IGNORED):
            close = difflib.get_close_matches(name.casefold(), _folded(known), n=3, cutoff=0.5)
            near = (
                f"near names are {', '.join(_folded(known)[each] for each in close)}."
                if close
                else f"its classes are {first_of([*known], most=12)}."
            )
            raise InputError(f"{option} names {name!r}, which the source does not have; {near}")


def _folded(names: Sequence[str]) -> dict[str, str]:
    return {name.casefold(): name for name in names}

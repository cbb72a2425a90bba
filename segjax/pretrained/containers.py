"""The choice of one state dict among those in a weights file."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from segjax.errors import InputError

USUAL = (
    *("", "state_dict", "model", "model_state_dict", "model_state", "net", "network"),
    *("module", "weights"),
)
"""Keys under which training scripts save the state dict, the most likely first."""

SHOWN = 6
"""The number of keys that a message lists."""


class Opened(NamedTuple):
    """The content of a weights file.

    Attributes:
      names: {key: names of its arrays} for each state dict; "" is the file's top level.
      read: a function from a key to the arrays of its state dict.
    """

    names: Mapping[str, Sequence[str]]
    read: Callable[[str], dict[str, np.ndarray]]


class Chosen(NamedTuple):
    """One state dict of a file.

    Attributes:
      key: the key of the state dict.
      prefix: only names that begin with this prefix are taken.
      notes: lines for the user about the choice.
    """

    key: str
    prefix: str = ""
    notes: tuple[str, ...] = ()


def choose(
    names: Mapping[str, Sequence[str]],
    *,
    key: str | None = None,
    is_known: Callable[[Sequence[str]], bool],
) -> Chosen:
    """Returns the state dict under `key`, or without a key the one with a known layout.

    Of several, it takes the one under a usual key, and the notes name the others.

    Args:
      names: the names of the arrays in each state dict of a file.
      key: the key of the state dict, such as "model_ema" or "checkpoint.state_dict"; or the
        first part of the names to take, such as "teacher".
      is_known: returns whether these names have a known layout.

    Raises:
      InputError: the file has nothing under `key`; or several state dicts have a known layout
        and none is under a usual key.
    """
    if key:
        return _under(names, key, is_known)
    known = [place for place in names if is_known(names[place])]
    ranks = {place: _rank(place) for place in known or names}
    first = min(ranks.values())
    best = [place for place, rank in ranks.items() if rank == first]
    if known and len(best) > 1:
        raise InputError(
            f"holds {len(known)} networks, under {_listed(known)}; choose one with "
            f"key={best[0]!r}"
        )
    # If no layout is known, messages should show the largest.
    chosen = max(best, key=lambda place: len(names[place]))
    return Chosen(chosen, notes=tuple(_notes(chosen, known)))


def _rank(place: str) -> int:
    last = place.rpartition(".")[2]
    return USUAL.index(last) if last in USUAL else len(USUAL)


def _notes(chosen: str, known: Sequence[str]):
    others = [place for place in known if place != chosen]
    if others:
        yield (
            f"state dict taken from {chosen or 'the file itself'!r}; the file has others under "
            f"{_listed(others)}: to choose one, set key={others[0]!r}"
        )
    elif chosen:
        yield f"state dict taken from {chosen!r}"


def _under(
    names: Mapping[str, Sequence[str]], key: str, is_known: Callable[[Sequence[str]], bool]
) -> Chosen:
    """Returns the state dict whose key equals or ends with `key`, or the only one below it.

    Without such a state dict it takes the names that begin with `key`.
    """
    exact = [key] if key in names else [place for place in names if place.endswith(f".{key}")]
    below = [place for place in names if f".{key}." in f".{place}"]
    networks = [place for place in below if is_known(names[place])]
    # A container may look like a state dict because it has a tensor beside the real one.
    if networks and not any(is_known(names[place]) for place in exact):
        return _from(_only(networks, key))
    if exact:
        return _from(_only(exact, key))
    return _with_prefix(names, key, below)


def _from(place: str) -> Chosen:
    return Chosen(place, notes=(f"state dict taken from {place!r}",))


def _with_prefix(names: Mapping[str, Sequence[str]], key: str, below: Sequence[str]) -> Chosen:
    """Returns the names that begin with `key` in a state dict, or the only state dict below."""
    pattern = re.compile(rf"((?:.+?\.)??{re.escape(key)}\.).+")
    prefixes = {
        (place, match[1])
        for place, inside in names.items()
        for match in map(pattern.fullmatch, inside)
        if match
    }
    if not prefixes and below:
        return _from(_only(below, key))
    if not prefixes:
        tops = [place for place in names if place] or sorted(
            {name.partition(".")[0] for inside in names.values() for name in inside}
        )
        raise InputError(f"holds nothing under key={key!r}; it has {_listed(tops)}")
    shortest = min(len(prefix) for _, prefix in prefixes)
    found = [pair for pair in sorted(prefixes) if len(pair[1]) == shortest]
    place, prefix = found[0]
    if len(found) > 1:
        _only([f"{place}.{prefix}".strip(".") for place, prefix in found], key)
    taken = sum(name.startswith(prefix) for name in names[place])
    left = len(names[place]) - taken
    where = f" in {place!r}" if place else ""
    return Chosen(
        place,
        prefix,
        (f"{taken} arrays taken from under {prefix!r}{where}; {left} others ignored",),
    )


def _only(places: Sequence[str], key: str) -> str:
    if len(places) > 1:
        raise InputError(
            f"has {len(places)} state dicts under key={key!r}: choose one of {_listed(places)}"
        )
    return places[0]


def _listed(places: Sequence[str]) -> str:
    shown = [repr(place) for place in places[:SHOWN]]
    more = [f"{len(places) - SHOWN} more"] if len(places) > SHOWN else []
    return ", ".join([*shown, *more])

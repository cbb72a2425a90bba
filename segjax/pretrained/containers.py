"""Which of the state dicts in a weights file is meant."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from segjax.errors import InputError

USUAL = (
    *("", "state_dict", "model", "model_state_dict", "model_state", "net", "network"),
    *("module", "weights"),
)
"""Where training scripts keep the state dict in what they save, the most likely first."""

SHOWN = 6
"""Keys that a message lists."""


class Opened(NamedTuple):
    """What a weights file holds.

    Attributes:
      names: {key: names of its arrays} for each state dict, "" for that of the file itself.
      read: the arrays of the state dict under a key.
    """

    names: Mapping[str, Sequence[str]]
    read: Callable[[str], dict[str, np.ndarray]]


class Chosen(NamedTuple):
    """One state dict of a file.

    Attributes:
      key: of the state dict.
      prefix: the part of it that is taken: names that begin so.
      notes: what a user should know of the choice, one line each.
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
    """Returns the state dict under `key`, or else the one that a network's layout fits.

    Of several, the one under the usual key is taken, and the others are named.

    Args:
      names: of the arrays in each state dict of a file.
      key: where the state dict lies, such as "model_ema" or "checkpoint.state_dict"; or the
        first part of the names to take, such as "teacher".
      is_known: whether a network's layout fits these names.

    Raises:
      InputError: nothing lies under `key`; or several fit, and none has a usual key.
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
    # Of what no layout fits, the largest is what a message should show.
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
            f"{_listed(others)}: choose one with key={others[0]!r}"
        )
    elif chosen:
        yield f"state dict taken from {chosen!r}"


def _under(
    names: Mapping[str, Sequence[str]], key: str, is_known: Callable[[Sequence[str]], bool]
) -> Chosen:
    """Returns the state dict whose key is or ends with `key`, or the only one below such a key.

    Else the names that begin with it.
    """
    exact = [key] if key in names else [place for place in names if place.endswith(f".{key}")]
    below = [place for place in names if f".{key}." in f".{place}"]
    networks = [place for place in below if is_known(names[place])]
    # A container may count as a state dict by a tensor that it has beside the real one.
    if networks and not any(is_known(names[place]) for place in exact):
        return _from(_only(networks, key))
    if exact:
        return _from(_only(exact, key))
    return _with_prefix(names, key, below)


def _from(place: str) -> Chosen:
    return Chosen(place, notes=(f"state dict taken from {place!r}",))


def _with_prefix(names: Mapping[str, Sequence[str]], key: str, below: Sequence[str]) -> Chosen:
    """Returns the names that begin with `key`, in any state dict; else the only place `below`
    it.
    """
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
        (f"{taken} arrays taken from under {prefix!r}{where}; {left} others left out",),
    )


def _only(places: Sequence[str], key: str) -> str:
    if len(places) > 1:
        raise InputError(
            f"holds {len(places)} state dicts under key={key!r}: choose among {_listed(places)}"
        )
    return places[0]


def _listed(places: Sequence[str]) -> str:
    shown = [repr(place) for place in places[:SHOWN]]
    more = [f"{len(places) - SHOWN} more"] if len(places) > SHOWN else []
    return ", ".join([*shown, *more])

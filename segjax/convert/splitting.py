"""Which image is for training, validation or test: as the source says, or by a hash."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from segjax.data.hold_out import position
from segjax.errors import InputError

SPLITS = ("train", "val", "test")
DEFAULT = (0.8, 0.2, 0.0)


class Splits(NamedTuple):
    """The names of each split, in the order of the images, and what to tell the user."""

    names: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


def parsed_shares(text: str) -> tuple[float, float, float]:
    """Returns the shares of train, val and test of "0.8,0.1,0.1" or "0.8,0.2".

    Raises:
      InputError: these are not two or three numbers from 0 to 1 whose sum is 1.
    """
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if (
        len(shares) not in (2, 3)
        or not all(0 <= share <= 1 for share in shares)
        or abs(sum(shares) - 1) > 1e-6
    ):
        raise InputError(
            f"--split {text}: write the shares of train, val and test, whose sum is 1, such as "
            "0.8,0.1,0.1."
        )
    train, val, test = (*shares, 0.0)[:3]
    return train, val, test


def split(
    own: Mapping[str, str | None], *, shares: tuple[float, float, float] | None = None
) -> Splits:
    """Returns the splits of images, given by name with the source's own split or None.

    With `shares` a hash of each name decides, so images that are added later move none of the
    others. Without, the source's own split is kept; if it has none, or none for training or for
    validation, a fifth of the images is for validation.

    A split that would be empty although its share is not gets the image whose hash is nearest.
    """
    if shares is not None:
        said = [f"the source's own splits are replaced by --split {_text(shares)}"]
        divided, more = _by_hash(list(own), shares)
        return Splits(divided, (*(said if any(own.values()) else ()), *more))
    names: dict[str, tuple[str, ...]] = {
        side: tuple(n for n in own if own[n] == side) for side in SPLITS
    }
    unsplit = [name for name, side in own.items() if side not in SPLITS]
    if not any(own.values()):
        return Splits(*_by_hash(unsplit, DEFAULT))
    notes: list[str] = []
    if unsplit:
        notes.append(
            f"{len(unsplit)} images are in none of the source's splits: they are for training"
        )
        names["train"] = (*names["train"], *unsplit)
    for empty, other in (("val", "train"), ("train", "val")):
        if not names[empty] and len(names[other]) > 1:
            divided, more = _by_hash(names[other], DEFAULT)
            names = {**divided, "test": names["test"]}
            notes += [f"the source has no images for {empty}: some of {other} are taken", *more]
    return Splits(names, tuple(notes))


def _by_hash(
    names: Sequence[str], shares: tuple[float, float, float]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Returns the splits by hash, and a note on each that would have been empty.

    Validation has the lowest hashes, as in `Folder(held_out=...)`; test has the next ones.
    """
    _, val, test = shares
    places = {name: position(name) for name in names}
    side = {
        name: "val" if place < val else "test" if place < val + test else "train"
        for name, place in places.items()
    }
    if len(names) == 1:
        side = dict.fromkeys(names, "train")
    notes = []
    starts = {"val": 0.0, "test": val, "train": val + test}
    for each, share in zip(SPLITS, shares, strict=True):
        counts = {other: list(side.values()).count(other) for other in SPLITS}
        able = [name for name in names if counts[side[name]] > 1]
        if share > 0 and not counts[each] and able:
            nearest = min(able, key=lambda name: abs(places[name] - starts[each]))
            side[nearest] = each
            notes.append(
                f"by its hash no image would be in {each}: {nearest} is moved there from the "
                "nearest split. Add images for a fair share"
            )
    return {each: tuple(n for n in names if side[n] == each) for each in SPLITS}, tuple(notes)


def _text(shares: Sequence[float]) -> str:
    return ",".join(f"{share:g}" for share in shares)

"""Training and validation images of one folder, told apart by a hash of their names."""

import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from segjax.data.names import composed
from segjax.errors import InputError

SIDES = ("train", "val")

T = TypeVar("T")


def position(name: str) -> float:
    """Returns a number from 0 up to 1 that depends on the name alone: SHA-256's first 53 bits.

    >>> round(position("street/a"), 6)
    0.015865
    """
    return (int.from_bytes(hashlib.sha256(composed(name).encode()).digest()[:8]) >> 11) / 2**53


def held_out_side(
    items: Sequence[T], side: str, share: float, *, name: Callable[[T], str], what: str
) -> list[T]:
    """Returns the items of one side: "val" has about `share` of them, "train" has the others.

    An item's side depends on its name and on `share` alone, so further items move none, and a
    larger share only adds to "val". `what` names the items' place for the error.

    Raises:
      InputError: the side would be empty.
    """
    share = float(share)
    places = {item_name: position(item_name) for item_name in map(name, items)}
    chosen = [i for i in items if (places[name(i)] < share) == (side == "val")]
    if chosen or not items:
        return chosen
    other = _working_share(places.values(), side)
    remedy = (
        "add images"
        if other is None
        else f"set held_out={other} in both train_data and eval_data"
    )
    raise InputError(
        f"held_out={share} leaves no image to the split {side!r} of the {len(items)} in "
        f"{what}: {remedy}, or list the names of each split in train.txt and val.txt."
    )


def _working_share(places: Collection[float], empty: str) -> float | None:
    """Returns the share that gives the empty side least; None where a side would be empty.

    It is a number of hundredths. A single image has none.
    """
    least, most = min(places), max(places)
    hundredths = math.floor(100 * least) + 1 if empty == "val" else math.floor(100 * most)
    share = hundredths / 100
    return share if least < share <= most else None

"""The checkpoint that a user names, "best", "last" or a step: found, verified or refused."""

import contextlib
import math
import pathlib
from typing import Any

from segjax.announce import say
from segjax.errors import InputError
from segjax.train.checksums import Damaged, named_arrays
from segjax.train.fallback import best_undamaged, none_undamaged, set_aside
from segjax.train.stored import Stored, stored_in


def restore_chosen(
    folder: pathlib.Path, which: str, *, sets_aside: bool = False
) -> tuple[Stored, dict[str, Any]]:
    """Returns a checkpoint and its whole state, compared with its checksums.

    Training may replace a checkpoint while it is read; then the one that is best or last by now
    is read.

    Args:
      folder: of the checkpoints.
      which: "best", "last" or a step.
      sets_aside: whether the next best takes the place of a damaged best, which is renamed;
        only for the run that writes to the folder.

    Raises:
      InputError: there is no such checkpoint, and the steps that there are get listed; or it is
        damaged, and an undamaged one is named.
      RunError: with `sets_aside`, none is undamaged.
    """
    if sets_aside and which == "best":
        return best_undamaged(folder, lambda: choose(folder, which), verified)
    while True:
        stored = choose(folder, which)
        try:
            return stored, verified(stored)
        except Damaged as fault:
            if stored.folder.exists():
                raise _refused(stored, which, fault) from fault


def verified(stored: Stored, *, template: Any = None) -> Any:
    """Returns a checkpoint's state; says so if it has no checksums to compare it with.

    Raises:
      Damaged: it is not what was saved.
    """
    state = stored.restore(template)
    if stored.record() is None:
        say(f"{stored.folder} has no checksums (an older segjax saved it): not verified.")
    return state


def choose(folder: pathlib.Path, which: str) -> Stored:
    """Returns the checkpoint "best", "last" or of a step; reads no array.

    The best is the one of the best score, or the last where none was evaluated.

    Raises:
      InputError: there is no such checkpoint, or none at all, or a damaged score hides which is
        the best.
    """
    listed = {stored.step: stored for stored in stored_in(folder)}
    if not listed:
        raise InputError(f"{folder} holds no checkpoint; train the run first.")
    if which == "last":
        return listed[max(listed)]
    if which == "best":
        return _best(list(listed.values()))
    if not which.isdecimal() or int(which) not in listed:
        raise InputError(
            f"--checkpoint {which}: {folder} holds steps "
            f"{', '.join(map(str, listed))}; name one of them, best or last."
        )
    return listed[int(which)]


def _best(listed: list[Stored]) -> Stored:
    """Returns the checkpoint with the best score; of equal ones the latest."""
    scores: dict[Stored, float] = {}
    for stored in listed:
        try:
            score = stored.score()
            if score is None:
                stored.check()  # Otherwise its score may be lost with the rest.
        except Damaged as fault:
            if stored.folder.exists():
                raise _refused(stored, "best", fault) from fault
            continue  # Training has just replaced it.
        if score is not None:
            value = next(iter(score.values()))
            scores[stored] = -math.inf if math.isnan(value) else value
    return max(scores, key=lambda s: (scores[s], s.step)) if scores else listed[-1]


def _refused(stored: Stored, which: str, fault: Damaged) -> InputError:
    """Returns the error about a damaged checkpoint, which names an undamaged one."""
    remedy = "No checkpoint there is undamaged: train the run again."
    for other in reversed(stored_in(stored.folder.parent)):
        with contextlib.suppress(Damaged):
            other.restore()
            remedy = f"Undamaged: --checkpoint {other.step}."
            break
    return InputError(f"--checkpoint {which}: {stored.folder} is damaged: {fault}. {remedy}")


def check_latest(folder: pathlib.Path, template: Any) -> None:
    """Raises InputError unless the latest undamaged checkpoint has the shapes of `template`.

    Reads no array. A folder without checkpoints passes.

    Raises:
      InputError: it has other parameters or shapes; the first is named. Or every checkpoint is
        damaged.
    """
    damaged: dict[Stored, str] = {}
    for stored in reversed(stored_in(folder)):
        try:
            return check_shapes(stored, template)
        except Damaged as fault:
            damaged[stored] = f"{fault}"
    if damaged or set_aside(folder):
        raise InputError(none_undamaged(folder, damaged))


def check_shapes(stored: Stored, template: Any) -> None:
    """Raises InputError unless a checkpoint has the arrays of `template`.

    Raises:
      InputError: names the first array that is missing, unexpected or of another shape.
      Damaged: the checkpoint does not say which arrays it has.
    """
    saved = stored.shapes()
    wanted = {path: tuple(leaf.shape) for path, leaf in named_arrays(template).items()}
    wrong = [
        f"{path} is {saved.get(path, 'missing')}, here it is {wanted.get(path, 'none')}"
        for path in sorted({*saved, *wanted}, key=lambda p: (not p.startswith("params"), p))
        if saved.get(path) != wanted.get(path)
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InputError(
            f"The checkpoint {stored.folder} belongs to another network: {wrong[0]}{more}. "
            "Use another --workdir, or the experiment that made it."
        )

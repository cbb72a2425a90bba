"""A run's folder: which experiment it belongs to, and its text files, written atomically."""

import json
import os
import pathlib
import sys
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from segjax import experiment as experiments
from segjax.announce import say
from segjax.atomic import write_bytes, write_text
from segjax.class_weights import WeightRule
from segjax.data.names import printable
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.settings import short_hash
from segjax.train.checkpoint import has_checkpoint
from segjax.train.computed_weights import rule_lines, with_recorded_weights
from segjax.trajectory import trajectory

SOURCE = "experiment.py"
DESCRIPTION = "experiment.txt"
EVALUATION = "evaluation.json"
LONGEST = 200
"""Characters of two values that are shown where they differ."""

_FILE, _SETTINGS, _PLACE = "# file: ", "# settings: ", "# place in the list: "
_CHECKSUM = "# crc32: "
"""What begins the last line of a description; those of an older segjax have none."""


def default_workdir(name: str, settings: Sequence[str]) -> pathlib.Path:
    """Returns `runs/<name>`, with overrides `runs/<name>-<their short hash>`."""
    suffix = f"-{short_hash(settings)}" if settings else ""
    return pathlib.Path("runs") / f"{name}{suffix}"


def check_owner(workdir: pathlib.Path, experiment: Experiment) -> None:
    """Raises InputError unless the folder is new, has no results or is this experiment's.

    Raises:
      InputError: it belongs to another experiment (the fields that differ are named), or its
        path is a file or not valid UTF-8.
    """
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir {workdir} is a file; name a folder.")
    if (shown := printable(str(workdir.absolute()))) != str(workdir.absolute()):
        # The storage library would say so only when it saves the first checkpoint.
        raise InputError(f"--workdir {shown} is not valid UTF-8; choose another name.")
    recorded = workdir / DESCRIPTION
    # A run that found its data wrong leaves no results; mended, it may be another experiment.
    results = has_checkpoint(workdir) or (workdir / EVALUATION).is_file()
    if not recorded.is_file() or not results:
        return
    theirs = trajectory(text := _recorded(workdir))
    # Rules for weights are numbers in the record; those of today's data are compared later. A
    # rule that did not give these numbers stays, and differs from them.
    experiment = with_recorded_weights(experiment, text)
    ours = trajectory(experiments.describe(experiment))
    differ = [
        _difference(path, theirs.get(path, "unset"), ours.get(path, "unset"))
        for path in {**ours, **theirs}
        if theirs.get(path) != ours.get(path)
    ]
    if differ:
        raise InputError(
            f"{workdir} belongs to another experiment: {'; '.join(differ)}. "
            "Choose another --workdir, or undo the change."
        )


def _difference(path: str, theirs: str, ours: str) -> str:
    if len(theirs) + len(ours) > LONGEST:
        return f"{path} differs"
    return f"{path} was {theirs} and is now {ours}"


def claim(
    workdir: pathlib.Path,
    experiment: Experiment,
    source: pathlib.Path,
    contents: bytes,
    *,
    settings: Sequence[str] = (),
    place: int | None = None,
    rules: Mapping[str, WeightRule] | None = None,
) -> None:
    """Writes what the run is made of: the experiment's file and its whole description.

    `contents` are the file's as it was loaded, in the encoding that it declares; `settings` are
    the overrides that were applied to it, `directory` ones included, and `place` is the
    experiment's in the file's list, so that `open_run` comes to the same one. `rules` are those
    that gave the class weights of the experiment, by path.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if has_checkpoint(workdir) and not (workdir / DESCRIPTION).is_file():
        say(
            f"{workdir} has checkpoints and no {DESCRIPTION}: nothing says which settings they "
            "were trained with. It is written again, with today's."
        )
    head = f"{_FILE}{json.dumps(str(source.resolve()))}\n{_SETTINGS}{json.dumps([*settings])}\n"
    head += "" if place is None else f"{_PLACE}{place}\n"
    head += rule_lines(rules or {})
    if source.resolve() != (workdir / SOURCE).resolve():
        write_bytes(workdir / SOURCE, contents)
        text = head + experiments.describe(experiment)
        write_text(workdir / DESCRIPTION, f"{text}{_CHECKSUM}{_checksum(text)}\n")


def open_run(workdir: pathlib.Path) -> Experiment:
    """Returns the experiment of a run, as it was started.

    Raises:
      InputError: the folder is no run's.
    """
    recorded = workdir / DESCRIPTION
    if not recorded.is_file():
        raise InputError(f"{workdir} is not the folder of a run: it has no {DESCRIPTION}.")
    lines = _recorded(workdir).splitlines()
    try:
        origin = json.loads(_after(lines, _FILE, '""'))
        place = int(_after(lines, _PLACE, "0"))
        settings = json.loads(_after(lines, _SETTINGS, "[]"))
    except ValueError:
        raise _damaged(recorded) from None
    # The file may import its neighbours, which the copy left behind.
    if (folder := os.path.dirname(origin)) not in sys.path:
        sys.path.append(folder)
    listed, _ = experiments.load_all(workdir / SOURCE)
    if place >= len(listed):
        raise InputError(
            f"{workdir / SOURCE} no longer defines the experiment that {recorded} describes."
        )
    experiment = listed[place]
    for setting in settings:
        experiment = experiments.override(experiment, setting)
    return with_recorded_weights(experiment, "\n".join(lines))


def _after(lines: Sequence[str], head: str, default: str) -> str:
    return next((line[len(head) :] for line in lines if line.startswith(head)), default)


def recorded(run_experiment: Experiment, workdir: pathlib.Path) -> Experiment:
    """Returns an experiment with the computed weights of the run in this folder, if any."""
    if not (workdir / DESCRIPTION).is_file():
        return run_experiment
    return with_recorded_weights(run_experiment, _recorded(workdir))


def _recorded(workdir: pathlib.Path) -> str:
    """Returns the run's description, also where another locale's encoding was once written.

    Raises:
      InputError: it cannot be read, or it is not what was written.
    """
    path = workdir / DESCRIPTION
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    body, mark, checksum = text.rpartition(_CHECKSUM)
    if " = " not in text or any(ord(letter) < 32 and letter not in "\t\r\n" for letter in text):
        raise _damaged(path)
    if mark and checksum.strip() != _checksum(body):
        raise _damaged(path)
    return text


def check_recorded(workdir: pathlib.Path) -> str:
    """Returns whether a run's description is verified, in words.

    Raises:
      InputError: it cannot be read, or it is not what was written.
    """
    return "verified" if _CHECKSUM in _recorded(workdir) else "readable, no checksum"


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', errors='backslashreplace')):08x}"


def _damaged(path: pathlib.Path) -> InputError:
    return InputError(
        f"{path} is damaged: it is not the description that was written. Delete it and run the "
        "command that started the run, which writes it again."
    )


def read_evaluation(workdir: pathlib.Path) -> dict[str, Any]:
    """Returns the scores of a run.

    Raises:
      InputError: they cannot be read.
    """
    path = workdir / EVALUATION
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}. Evaluate the run: --evaluate."
        ) from error
    except (ValueError, RecursionError):
        scores = None
    if not isinstance(scores, dict) or not {"step", "images"} <= {*scores}:
        raise InputError(
            f"{path} is damaged: it holds no scores. Evaluate the run again: --evaluate."
        )
    return scores

"""`--verify`: reads what a run has left behind, and says of each file whether it is whole."""

import json
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from segjax.errors import InputError, RunError
from segjax.pretrained.file_checksum import has_checksum
from segjax.pretrained.files import read_arrays
from segjax.train.checkpoint import FOLDER
from segjax.train.checksums import Damaged
from segjax.train.fallback import set_aside
from segjax.train.form_table import FILE as FORMS
from segjax.train.form_table import OtherForms, read_table
from segjax.train.log import METRICS
from segjax.train.metrics_rows import read_rows
from segjax.train.predictions import PREDICTIONS
from segjax.train.results import WEIGHTS
from segjax.train.run import Run
from segjax.train.stored import Stored, stored_in
from segjax.train.table import EVALUATIONS
from segjax.train.workdir import (
    DESCRIPTION,
    EVALUATION,
    SOURCE,
    check_recorded,
    read_evaluation,
)

_READABLE = "readable, no checksum"


class Finding(NamedTuple):
    """What is known of a file of a run.

    Attributes:
      name: of the file or folder, within the workdir.
      words: what it holds, or what is wrong with it.
      is_damaged: whether it cannot be used.
    """

    name: str
    words: str
    is_damaged: bool = False

    def line(self) -> str:
        """Returns the finding in a line."""
        return f"{self.name}: {'DAMAGED: ' if self.is_damaged else ''}{self.words}"


def verify_runs(runs: Sequence[Run], *, note: Callable[[str], None] = print) -> None:
    """Verifies everything in the workdirs of runs; changes nothing and takes no lock.

    Args:
      runs: the runs.
      note: takes a line for each file.

    Raises:
      InputError: no workdir holds a run.
      RunError: something is damaged; `note` has been told what.
    """
    if not any(run.workdir.is_dir() for run in runs):
        raise InputError(f"There is no {runs[0].workdir} to verify; train the run first.")
    count = damaged = 0
    for run in runs:
        note(f"{run.workdir}:")
        findings = [*verified_files(run.workdir)]
        for finding in findings:
            note(f"  {finding.line()}")
        if not findings:
            note("  no run here")
        count += len(findings)
        damaged += sum(finding.is_damaged for finding in findings)
    if not count:
        raise InputError(f"{runs[0].workdir} holds no run; check --workdir, or train it first.")
    if damaged:
        raise RunError(f"{damaged} of {count} files are damaged, see above.")


def verified_files(workdir: pathlib.Path) -> Iterator[Finding]:
    """Yields a finding for each file of a run that is there or should be; of no run, none."""
    yield from _checkpoints(workdir)
    for name, check, is_needed in (
        (SOURCE, _source, True),
        (DESCRIPTION, _description, True),
        (FORMS, _forms, False),
        (METRICS, _metrics, False),
        (EVALUATION, _evaluation, False),
        (EVALUATIONS, _json, False),
        (WEIGHTS, _weights, False),
        (PREDICTIONS, _predictions, False),
    ):
        path = workdir / name
        try:
            if path.exists():
                yield Finding(name, check(path))
            elif is_needed and (workdir / FOLDER).exists():
                yield Finding(name, "it is missing", is_damaged=True)
        except (Damaged, InputError) as fault:
            words = f"{fault}".removeprefix(f"{path} ").removeprefix("is damaged: ")
            yield Finding(name, words, is_damaged=True)
        except OSError as error:
            yield Finding(name, f"cannot be read ({error.strerror})", is_damaged=True)


def _checkpoints(workdir: pathlib.Path) -> Iterator[Finding]:
    folder = workdir / FOLDER
    if folder.exists() and not folder.is_dir():
        yield Finding(FOLDER, "it is a file, not a folder", is_damaged=True)
    listed = stored_in(folder)
    for stored in listed:
        name = f"{FOLDER}/{stored.step}"
        try:
            yield Finding(name, _contents(stored))
        except Damaged as fault:
            if stored.folder.exists():  # Otherwise training has just replaced it.
                yield Finding(name, f"{fault}", is_damaged=True)
    for path in set_aside(folder):
        words = "damaged; a run has gone on without it, and you can delete it"
        yield Finding(f"{FOLDER}/{path.name}", words, is_damaged=not listed)


def _contents(stored: Stored) -> str:
    """Returns what a checkpoint holds, once all of it is compared with its checksums."""
    record, score = stored.record(), stored.score()
    stored.restore()
    scored = "".join(f", {name} {value:.4f}" for name, value in (score or {}).items())
    if record is None:
        return f"readable{scored}; not verified: an older segjax saved it without checksums"
    return f"{len(record['arrays'])} arrays verified{scored}"


def _source(path: pathlib.Path) -> str:
    try:
        compile(path.read_bytes(), str(path), "exec")
    except (SyntaxError, ValueError) as error:
        raise Damaged(f"it is not Python ({error})") from None
    return _READABLE


def _description(path: pathlib.Path) -> str:
    return check_recorded(path.parent)


def _forms(path: pathlib.Path) -> str:
    try:
        table = read_table(path.parent)
    except OtherForms:
        return "forms of convolutions of another version of segjax, verified"
    return f"{len(table.names) if table else 0} forms of convolutions, verified"


def _metrics(path: pathlib.Path) -> str:
    found = read_rows(path)
    if not path.is_file():
        raise Damaged("it is a folder, not a file")
    if fault := found.fault():
        raise Damaged(f"{fault}; {len(found.rows)} rows are whole")
    torn = "; the last line was cut short, as by a kill" if found.torn else ""
    return f"{len(found.rows)} rows, {_READABLE}{torn}"


def _evaluation(path: pathlib.Path) -> str:
    scores = read_evaluation(path.parent)
    return f"step {scores['step']}, {scores['images']} images, {_READABLE}"


def _json(path: pathlib.Path) -> str:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise Damaged("it is not JSON") from None
    return _READABLE


def _weights(path: pathlib.Path) -> str:
    count = len(read_arrays(path).arrays)
    if not has_checksum(path.read_bytes()):
        return f"{count} arrays; not verified: an older segjax saved it without a checksum"
    return f"{count} arrays verified"


def _predictions(path: pathlib.Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise Damaged(f"it cannot be read ({error})") from None
    if broken:
        raise Damaged(f"{broken} is not what was saved")
    return "verified"

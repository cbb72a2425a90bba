"""Audits the datasets of experiments, prints what was found, and writes it to files."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from segjax.announce import announced
from segjax.atomic import write_text
from segjax.audit.audit import Audit, audit
from segjax.audit.page import audit_page
from segjax.audit.record import audit_json
from segjax.errors import InputError, RunError
from segjax.train.parts import check_datasets

FOLDER = "audit"
"""In the workdir of the run."""

RECORD, PAGE = "audit.json", "audit.html"


def audit_runs(
    runs: Sequence[tuple[Any, pathlib.Path]], *, note: Callable[[str], None] = print
) -> None:
    """Audits the datasets of (experiment, workdir) pairs; experiments with the same share one.

    Raises:
      InputError: a dataset is not one, or none can be read.
      RunError: an audit found errors.
    """
    done: list[Any] = []
    errors = 0
    for experiment, workdir in runs:
        datasets = experiment.train_data, experiment.eval_data
        if datasets in done:
            continue
        done.append(datasets)
        check_datasets(experiment)
        found = audit(experiment)
        if not found.datasets:
            raise InputError(" ".join(each.text for each in found.findings))
        note(str(found))
        folder = workdir / FOLDER
        write_audit(found, folder)
        note(f"audit: {found.summary}; {folder / PAGE}")
        errors += found.errors
    if errors:
        raise RunError(
            "the audit found 1 error: mend it first."
            if errors == 1
            else f"the audit found {errors:,} errors: mend them first."
        )


def write_audit(found: Audit, folder: pathlib.Path) -> None:
    """Writes `audit.json` and `audit.html` into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RECORD, audit_json(found))
    with announced("Drawing the page", after=1):
        write_text(folder / PAGE, audit_page(found))

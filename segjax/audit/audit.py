"""`audit`: all that is wrong with the datasets of an experiment, and what their classes weigh.

from segjax.audit.audit import audit_datasets

found = audit_datasets({"train": Folder("train", ...), "val": Folder("val", ...)})
print(found)
found.errors, found.findings, found.weights
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from segjax.audit import text
from segjax.audit.examples import Examples, Seen, examples_of
from segjax.audit.findings import ERROR, KINDS, Finding, merged
from segjax.audit.holdings import Holdings, holdings
from segjax.audit.judge import of_classes, of_copies, of_faults, of_masks
from segjax.audit.look import Look
from segjax.class_weights import EXCLUSIVE, NegativesPerPositive, WeightRule
from segjax.conformity import declares, has_planes
from segjax.contracts import Dataset, LabelledDataset
from segjax.data.by_aspect import ungrouped
from segjax.data.checks import CheckExample, check_example, check_plane_example
from segjax.data.prepare import FileDataset
from segjax.errors import InputError


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found in datasets. `print` shows it as text.

    Attributes:
      name: of the experiment, or another title.
      datasets: {field: what it holds}, of those that could be read.
      findings: what is wrong, the most serious first.
      weights: {rule: a weight for each class}, from the first dataset.
      looks: {field: its examples}, for pictures.
      examples: {field: what reads them}.
    """

    name: str
    datasets: Mapping[str, Holdings]
    findings: tuple[Finding, ...]
    weights: Mapping[str, tuple[float, ...]]
    looks: Mapping[str, tuple[Look, ...]] = field(repr=False)
    examples: Mapping[str, Examples] = field(repr=False)
    palette: Any = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"Audit({', '.join(self.datasets)}: {self.summary})"

    @property
    def summary(self) -> str:
        """The numbers of errors and warnings, in words."""
        count = lambda n, what: f"{n:,} {what}{'s' * (n != 1)}"
        return f"{count(self.errors, 'error')} and {count(self.warnings, 'warning')}"

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity == ERROR for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return len(self.findings) - self.errors

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes of the first dataset."""
        return next((held.class_names for held in self.datasets.values()), ())

    @property
    def brief(self) -> str:
        """The text without the tables of classes and weights."""
        return text.brief_text(self.datasets, self.findings)

    def __str__(self) -> str:
        return text.audit_text(self.datasets, self.findings, self.weights)


def audit(experiment: Any) -> Audit:
    """Returns the audit of an experiment's training and evaluation data.

    Examples of datasets that are not files are checked by the experiment's task.
    """
    datasets = {name: getattr(experiment, name) for name in ("train_data", "eval_data")}
    checks = {
        name: partial(experiment.task.check_example, data=data)
        for name, data in datasets.items()
    }
    return audit_datasets(datasets, name=experiment.name, checks=checks)


def audit_datasets(
    datasets: Mapping[str, Dataset],
    *,
    name: str = "",
    checks: Mapping[str, CheckExample] | None = None,
) -> Audit:
    """Returns what is wrong with datasets and between them; no fault ends it.

    Args:
      datasets: by their names in the findings, the one for training first.
      name: a title.
      checks: what refuses examples of datasets that are not files; by default they must fit
        the dataset's class names.
    """
    seen: dict[str, Seen] = {}
    examples: dict[str, Examples] = {}
    findings: list[Finding] = []
    for which, data in datasets.items():
        try:
            examples[which] = examples_of(data, check=(checks or {}).get(which) or _check(data))
            seen[which] = examples[which].seen(which)
        except InputError as error:
            findings.append(Finding("dataset", (which,), f"{which}: {error}"))
    _leave_out_shared(seen.values())
    held = {which: _holdings(datasets[which], found) for which, found in seen.items()}
    for which, found in seen.items():
        findings += of_faults(which, found.faults)
        findings += of_classes(which, held[which])
        findings += of_masks(which, found.looks, held[which])
    findings += of_copies({which: found.looks for which, found in seen.items()})
    order = list(KINDS)
    first = next(iter(held.values()), None)
    palettes = [d.palette for d in datasets.values() if declares(d, LabelledDataset)]
    return Audit(
        name,
        held,
        tuple(sorted(merged(findings), key=lambda finding: order.index(finding.kind))),
        {} if first is None else suggested_weights(first),
        {which: tuple(found.looks) for which, found in seen.items()},
        examples,
        palettes[0] if palettes else None,
    )


def _leave_out_shared(seen: Collection[Seen]) -> None:
    """Takes missing files that several datasets list out of their numbers of examples.

    Where a dataset holds examples of its folder out for another, both list the whole folder.
    """
    missing = [{str(fault) for fault in found.missing} for found in seen]
    counts = Counter(text for texts in missing for text in texts)
    for found in seen:
        found.total -= sum(counts[str(fault)] > 1 for fault in found.missing)


def suggested_weights(held: Holdings) -> dict[str, tuple[float, ...]]:
    """Returns {rule: a weight for each class}; {} where no pixel has a class."""
    counts = held.counts
    if not held.class_names or len(counts.absent) == len(counts.pixels):
        return {}
    rules: tuple[WeightRule, ...] = (NegativesPerPositive(),) if counts.planes else EXCLUSIVE
    return {repr(rule): rule.computed(counts) for rule in rules}


def _check(data: Any) -> Callable | None:
    if not declares(data, LabelledDataset):
        return None
    if has_planes(data):
        return partial(check_plane_example, names=data.class_names)
    return partial(check_example, class_names=data.class_names)


def _holdings(data: Any, seen: Seen) -> Holdings:
    data = ungrouped(data)
    labelled = declares(data, LabelledDataset)
    is_of_files = isinstance(data, FileDataset)
    label_map = data._recipe().label_map if is_of_files else ()
    faulty = {place for _, place in seen.faults if place is not None}
    return holdings(
        seen.looks,
        dataset=type(data).__name__,
        total=seen.total,
        complete=is_of_files or len(seen.looks) + len(faulty) >= seen.total,
        class_names=data.class_names if labelled else (),
        planes=has_planes(data),
        label_map=tuple(label_map),
    )

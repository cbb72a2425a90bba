"""Findings of an audit: what is wrong, where, and what to do about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

ERROR, WARNING = "error", "warning"


class Kind(NamedTuple):
    """A sort of finding: how serious it is, and its heading."""

    severity: str
    title: str


KINDS: Mapping[str, Kind] = {
    "dataset": Kind(ERROR, "A dataset cannot be read"),
    "missing_mask": Kind(ERROR, "Images without a mask"),
    "missing_image": Kind(ERROR, "Masks or listed names without an image"),
    "name_twice": Kind(ERROR, "Two files with one name"),
    "mask_shared": Kind(ERROR, "Images that share a mask"),
    "unreadable": Kind(ERROR, "Files that cannot be used"),
    "pages_differ": Kind(ERROR, "Image and mask with different numbers of pages"),
    "sizes_differ": Kind(ERROR, "Image and mask of different sizes"),
    "broken_object": Kind(ERROR, "Objects that cannot be used"),
    "unknown_ids": Kind(ERROR, "Label ids that are not classes"),
    "mixed_whites": Kind(ERROR, "Masks that store white in different ways"),
    "wrong_example": Kind(ERROR, "Examples that cannot be used"),
    "nothing_counts": Kind(ERROR, "Datasets in which every pixel is ignored"),
    "copy_across": Kind(ERROR, "Images that are in two splits"),
    "near_copy_across": Kind(WARNING, "Near-copies in two splits"),
    "copy_labels_differ": Kind(WARNING, "Copies with different masks"),
    "copy_inside": Kind(WARNING, "Images that are twice in one split"),
    "near_copy_inside": Kind(WARNING, "Near-copies in one split"),
    "dropped_object": Kind(WARNING, "Objects that are left out"),
    "absent_class": Kind(WARNING, "Classes without a pixel"),
    "all_ignored": Kind(WARNING, "Masks in which every pixel is ignored"),
    "one_class": Kind(WARNING, "Masks of one class"),
    "no_class": Kind(WARNING, "Planes without a pixel in any class"),
}
"""Every sort of finding, the most serious first. Keys are those of `audit.json`.

An error stops training, or makes its scores wrong; a warning may be as it should.
"""


class Shown(NamedTuple):
    """An example that a finding is about: its dataset, its name, and where it is read."""

    dataset: str
    name: str
    place: Any


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
      kind: a key of `KINDS`.
      datasets: those it is about.
      text: one line that names file or example, value and remedy.
      files: paths, where it is about files.
      shown: the examples that it is about, as far as they can be read.
      values: what was found, such as {"ids": {"7": 1204}}.
    """

    kind: str
    datasets: tuple[str, ...]
    text: str
    files: tuple[str, ...] = ()
    shown: tuple[Shown, ...] = field(default=(), repr=False)
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> str:
        """ "error" or "warning"."""
        return KINDS[self.kind].severity

    @property
    def examples(self) -> tuple[str, ...]:
        """The names of the examples."""
        return tuple(shown.name for shown in self.shown)


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Returns the findings, with one in place of those that several datasets have of one file.

    Findings about examples without files stay: two datasets may have examples of one name.
    """
    found: dict[Any, Finding] = {}
    for number, finding in enumerate(findings):
        of_files = finding.files or not finding.shown
        key = (finding.kind, finding.text, finding.files) if of_files else number
        if key in found:
            both = dict.fromkeys((*found[key].datasets, *finding.datasets))
            finding = replace(found[key], datasets=tuple(both))
        found[key] = finding
    return list(found.values())

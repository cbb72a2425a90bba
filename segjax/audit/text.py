"""An audit as text: a table of the datasets and their classes, and the findings."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

from segjax.audit.findings import KINDS, Finding
from segjax.audit.holdings import Holdings
from segjax.audit.objects import object_rows
from segjax.console import one_line
from segjax.data.label_map import LabelMap
from segjax.errors import first_of

MOST = 3
"""Findings of a kind that are printed; `audit.json` and the page have more."""

LONGEST_MAP = 8
"""Pairs of a label map that are printed."""

Row = tuple[str, ...]


def audit_text(
    datasets: Mapping[str, Holdings],
    findings: Sequence[Finding],
    weights: Mapping[str, Sequence[float]],
    *,
    most: int = MOST,
) -> str:
    """Returns lines for people: tables of what there is, then what is wrong with it."""
    parts = [
        _aligned(dataset_rows(datasets)),
        "\n".join(label_map_lines(datasets)),
        _aligned(class_rows(datasets)),
        "\n".join([_aligned(weight_rows(datasets, weights)), *how_to_use(weights)]).strip(),
        _findings(findings, most),
    ]
    return "\n\n".join(part for part in parts if part)


def brief_text(
    datasets: Mapping[str, Holdings], findings: Sequence[Finding], *, most: int = MOST
) -> str:
    """Returns lines for people who have seen a table of the classes already."""
    parts = [_aligned(dataset_rows(datasets)), _findings(findings, most)]
    return "\n\n".join(part for part in parts if part)


def dataset_rows(datasets: Mapping[str, Holdings]) -> list[Row]:
    """Returns a row for each fact about images and files, a column a dataset."""
    if not datasets:
        return []
    held = list(datasets.values())
    rows = [
        ("", *datasets),
        ("images", *(_images(each) for each in held)),
        ("size", *(_sizes(each) for each in held)),
        ("width / height", *(_aspects(each) for each in held)),
        ("channels", *(_joined(each.channels) for each in held)),
        ("image files", *(_joined(each.image_files) for each in held)),
        ("mask files", *(_joined(each.mask_files) for each in held)),
        ("ignored", *(percent(each.ignored, each.pixels) for each in held)),
    ]
    rows += object_rows([each.objects for each in held])
    if any(each.unknown for each in held):
        unknown = (percent(sum(each.unknown.values()), each.pixels) for each in held)
        rows.append(("unknown ids", *unknown))
    return rows


def class_rows(datasets: Mapping[str, Holdings]) -> list[Row]:
    """Returns a row for each class: its share of the pixels that count, and its images."""
    held = [each for each in datasets.values() if each.class_names]
    if not held:
        return []
    fields = [name for name, each in datasets.items() if each.class_names]
    columns = lambda name, each: (name, "images", *(["objects"] if each.objects else []))
    head: Row = ("class", *itertools.chain(*map(columns, fields, held)))
    names = max((each.class_names for each in held), key=len)
    rows: list[Row] = [head]
    for i, name in enumerate(names):
        cells: list[str] = []
        for each in held:
            if i >= len(each.class_names):
                cells += ["–"] * len(columns("", each))
                continue
            counts = each.counts
            cells += [percent(counts.pixels[i], counts.counted[i]), f"{counts.images[i]:,}"]
            cells += [f"{each.objects.classes[i]:,}"] if each.objects else []
        rows.append((f"{i} {name}", *cells))
    return rows


def weight_rows(
    datasets: Mapping[str, Holdings], weights: Mapping[str, Sequence[float]]
) -> list[Row]:
    """Returns a row for each class with the weight that each rule gives it."""
    if not weights:
        return []
    field, held = next(iter(datasets.items()))
    head = (f"weights from {field}", *(rule.partition("(")[0] for rule in weights))
    columns = list(weights.values())
    rows = [(f"{i} {n}", *(f"{c[i]:.4g}" for c in columns)) for i, n in _named(held, columns)]
    return [head, *rows]


def how_to_use(weights: Mapping[str, Sequence[float]]) -> list[str]:
    """Returns a line on what an experiment writes to train with such weights."""
    if not weights:
        return []
    planes = "NegativesPerPositive" in next(iter(weights))
    loss = "PositiveWeightedCrossEntropy" if planes else "ClassWeightedCrossEntropy"
    first = next(iter(weights))
    return [
        f"RULE is one of {', '.join(weights)}. To train with its weights, for example:",
        f'  --set "loss=segjax.losses.{loss}(weights=segjax.class_weights.{first})"',
    ]


def _named(held: Holdings, columns: Sequence[Sequence[float]]) -> list[tuple[int, str]]:
    return list(enumerate(held.class_names))[: len(columns[0])]


def percent(part: float, whole: float) -> str:
    """Returns a share: "12.3 %", "< 0.01 %", "none"."""
    if not part:
        return "none"
    share = 100 * part / whole
    return f"{share:.2f} %" if share >= 0.005 else "< 0.01 %"


def _images(held: Holdings) -> str:
    return f"{held.read:,}" if held.read == held.total else f"{held.read:,} of {held.total:,}"


def _sizes(held: Holdings) -> str:
    sizes = sorted(held.sizes, key=lambda size: size[0] * size[1])
    ends = [f"{w}x{h}" for w, h in (sizes[:1] + sizes[-1:] if len(sizes) > 1 else sizes)]
    many = f" ({len(sizes)} sizes)" if len(sizes) > 1 else ""
    return " to ".join(ends) + many if ends else "–"


def _aspects(held: Holdings) -> str:
    if held.aspects is None:
        return "–"
    low, high = (f"{value:.2f}" for value in held.aspects)
    return low if low == high else f"{low} to {high}"


def _joined(counts: Mapping) -> str:
    """Returns the keys, with how often each occurs where there are several."""
    if len(counts) < 2:
        return "".join(map(str, counts)) or "–"
    return first_of([f"{key} ({count:,})" for key, count in counts.items()], most=3)


def label_map_lines(datasets: Mapping[str, Holdings]) -> list[str]:
    """Returns a line for each label map; datasets with the same one share it."""
    names: dict[LabelMap, list[str]] = defaultdict(list)
    for name, held in datasets.items():
        if held.label_map:
            names[held.label_map].append(name)
    return [
        f"label_map of {', '.join(those)}: "
        + first_of([f"{key} → {target}" for key, target in pairs], most=LONGEST_MAP)
        for pairs, those in names.items()
    ]


def _aligned(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _findings(findings: Sequence[Finding], most: int) -> str:
    if not findings:
        return "Nothing is wrong with these datasets."
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[finding.kind].append(finding)
    lines = []
    for kind, group in groups.items():
        severity, title = KINDS[kind]
        lines.append(f"{severity}: {title} ({len(group):,})")
        lines += [one_line(f"  {finding.text}") for finding in group[:most]]
        if len(group) > most:
            lines.append(f"  and {len(group) - most:,} more")
    return "\n".join(lines)

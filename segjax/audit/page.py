"""An audit as one self-contained HTML page: findings and classes, with pictures."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import Any

import numpy as np

from segjax.audit.audit import Audit
from segjax.audit.findings import KINDS, Finding, Shown
from segjax.audit.pictures import class_picture, example_pictures
from segjax.audit.text import (
    class_rows,
    dataset_rows,
    how_to_use,
    label_map_lines,
    weight_rows,
)
from segjax.data.palette import voc_palette
from segjax.report.examples import panel
from segjax.report.legend import legend, legend_item, swatch
from segjax.report.run_page import page, section
from segjax.report.scroll import scrolling

MOST = 12
"""Findings of a kind that are shown with pictures; the others are listed."""

MOST_LISTED = 200
MOST_COPIES = 4
"""Images of one group of copies that are shown."""

CLASS_EXAMPLES = 3
MANY_CLASSES = 40
"""From so many classes on, a class has one picture."""

NOTE = (
    "Errors stop training or make its scores wrong. Warnings may be as they should be; look at "
    "each once."
)


def audit_page(audit: Audit) -> str:
    """Returns the page."""
    palette = voc_palette() if audit.palette is None else audit.palette
    title = f"Audit of {audit.name}" if audit.name else "Audit"
    parts = [section("Findings", NOTE, _findings(audit, palette))]
    if audit.datasets:
        parts.append(section("Datasets", "", _datasets(audit)))
    if audit.classes:
        parts.append(section("Classes", "", _classes(audit, palette)))
        examples = _examples(audit, palette)
        parts.append(section("Examples of each class", _examples_note(audit), examples))
    return page(title, _headline(audit, title), "".join(parts))


def _headline(audit: Audit, title: str) -> str:
    figures = [("Errors", audit.errors), ("Warnings", audit.warnings)]
    figures += [(f"Images of {name}", held.total) for name, held in audit.datasets.items()]
    items = "".join(
        f"<div{' class=main' if i == 0 else ''}><dt>{escape(name)}</dt><dd>{count:,}</dd></div>"
        for i, (name, count) in enumerate(figures)
    )
    return (
        f'<p class="kicker">Datasets</p><h1>{escape(title)}</h1>'
        f'<dl class="headline">{items}</dl>'
    )


def _findings(audit: Audit, palette: np.ndarray) -> str:
    if not audit.findings:
        return "<p>Nothing is wrong with these datasets.</p>"
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in audit.findings:
        groups[finding.kind].append(finding)
    shown = {
        s for group in groups.values() for f in group[:MOST] for s in f.shown[:MOST_COPIES]
    }
    read = _read_all(audit, shown)
    names = [*audit.classes, "ignored"]
    colours = [*palette[: len(audit.classes)], palette[255]]
    key = legend(legend_item(*pair) for pair in zip(names, colours, strict=True))
    parts = "".join(_group(kind, group, read, palette) for kind, group in groups.items())
    return parts + (key if read else "")


def _group(
    kind: str,
    group: Sequence[Finding],
    read: Mapping[Shown, Any],
    palette: np.ndarray,
) -> str:
    severity, title = KINDS[kind]
    articles = "".join(_article(finding, read, palette) for finding in group[:MOST])
    rest = group[MOST:]
    more = ""
    if rest:
        items = "".join(f"<li>{escape(finding.text)}</li>" for finding in rest[:MOST_LISTED])
        left = len(rest) - MOST_LISTED
        items += f"<li>and {left:,} more, in audit.json</li>" if left > 0 else ""
        more = (
            f"<details><summary>{len(rest):,} more</summary>"
            f"<ul class=findings>{items}</ul></details>"
        )
    heading = f"{severity.capitalize()}: {escape(title)} ({len(group):,})"
    return f'<h3 class="{severity}">{heading}</h3>{articles}{more}'


def _article(finding: Finding, read: Mapping[Shown, Any], palette: np.ndarray) -> str:
    shown = [s for s in finding.shown[:MOST_COPIES] if s in read]
    several = len(finding.shown) > 1
    panels = ""
    for each in shown:
        name = escape(each.name)
        for caption, pixels in example_pictures(read[each], palette):
            where = f"{each.dataset}: {each.name}, {caption.lower()}" if several else caption
            panels += panel(pixels, escape(where), name)
    pictures = f'<div class="panels">{panels}</div>' if panels else ""
    return f'<article class="example"><p>{escape(finding.text)}</p>{pictures}</article>'


def _read_all(audit: Audit, shown: Iterable[Shown]) -> dict[Shown, Any]:
    """Returns the examples that could be read again, by all cores."""

    def read(each: Shown) -> Any:
        try:
            return audit.examples[each.dataset].read(each.place)
        except Exception:  # Whatever a dataset of one's own raises; the finding says it.
            return None

    return {each: found for each, found in _mapped(read, shown) if found is not None}


def _mapped(function: Callable, items: Iterable) -> list[tuple[Any, Any]]:
    items = list(items)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(zip(items, pool.map(function, items), strict=True))


def _datasets(audit: Audit) -> str:
    lines = "".join(f'<p class="note">{escape(s)}</p>' for s in label_map_lines(audit.datasets))
    return scrolling(_table(dataset_rows(audit.datasets)), name="Datasets") + lines


def _classes(audit: Audit, palette: np.ndarray) -> str:
    colours = [swatch(colour) for colour in palette[: len(audit.classes)]]
    weights = weight_rows(audit.datasets, audit.weights)
    parts = [scrolling(_table(class_rows(audit.datasets), colours), name="Classes")]
    if weights:
        lines = how_to_use(audit.weights)
        use = "".join(f'<p class="note">{escape(line)}</p>' for line in lines)
        note = (
            '<h3 class="part">Weights</h3><p class="note">What a loss may count a pixel of '
            "each class, so that rare classes are learned. A class without a pixel gets 0.</p>"
        )
        parts += [note, scrolling(_table(weights, colours), name="Weights"), use]
    return "".join(parts)


def _table(rows: Sequence[Sequence[str]], marks: Sequence[str] = ()) -> str:
    head, *body = rows
    cells = lambda row: "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
    mark = lambda i: marks[i] if i < len(marks) else ""
    columns = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{mark(i)}{escape(row[0])}</th>{cells(row)}</tr>'
        for i, row in enumerate(body)
    )
    return f"<table><thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table>"


def _examples_note(audit: Audit) -> str:
    field = next(iter(audit.looks), "")
    return f"The images of {escape(field)} in which the class covers most; the class is tinted."


def _examples(audit: Audit, palette: np.ndarray) -> str:
    field, looks = next(iter(audit.looks.items()), ("", ()))
    names = audit.classes
    count = 1 if len(names) > MANY_CLASSES else CLASS_EXAMPLES
    chosen: dict[int, list[Shown]] = {}
    for k in range(len(names)):
        having = [look for look in looks if look.counts.pixels[k]]
        having.sort(key=lambda look: -look.counts.pixels[k] / max(look.counts.area, 1))
        chosen[k] = [Shown(field, look.name, look.place) for look in having[:count]]
    read = _read_all(audit, {shown for those in chosen.values() for shown in those})
    parts = []
    for k, those in chosen.items():
        panels = "".join(
            panel(class_picture(read[s], k, palette), escape(s.name), escape(names[k]))
            for s in those
            if s in read
        )
        inner = f'<div class="panels">{panels}</div>' if panels else "<p>No image has it.</p>"
        heading = f"<h3>{swatch(palette[k])}{k} {escape(names[k])}</h3>"
        parts.append(f'<article class="example">{heading}{inner}</article>')
    return "".join(parts)

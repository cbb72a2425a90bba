"""An audit as JSON: keys that stay, for programs."""

import json
from typing import Any

from segjax.audit.audit import Audit
from segjax.audit.findings import Finding
from segjax.audit.holdings import Holdings
from segjax.audit.objects import ObjectCounts

FORMAT = 1
"""Raised when a key of `audit.json` is removed or changes its meaning."""


def audit_json(audit: Audit) -> str:
    """Returns the audit as the text of `audit.json`; the same datasets give the same text."""
    return json.dumps(record(audit), indent=1, ensure_ascii=False) + "\n"


def record(audit: Audit) -> dict[str, Any]:
    """Returns the audit as numbers, texts, lists and dictionaries."""
    return {
        "format": FORMAT,
        "name": audit.name,
        "errors": audit.errors,
        "warnings": audit.warnings,
        "datasets": {name: _dataset(held) for name, held in audit.datasets.items()},
        "weights": {rule: list(weights) for rule, weights in audit.weights.items()},
        "findings": [_finding(finding) for finding in audit.findings],
    }


def _dataset(held: Holdings) -> dict[str, Any]:
    counts = held.counts
    return {
        "dataset": held.dataset,
        "examples": held.total,
        "read": held.read,
        "complete": held.complete,
        "planes": counts.planes,
        "sizes": [{"width": w, "height": h, "images": n} for (w, h), n in held.sizes.items()],
        "aspect_ratios": None if held.aspects is None else [round(a, 4) for a in held.aspects],
        "channels": {str(key): n for key, n in held.channels.items()},
        "image_files": dict(held.image_files),
        "mask_files": dict(held.mask_files),
        "label_map": [list(pair) for pair in held.label_map],
        "pixels": held.pixels,
        "ignored": held.ignored,
        "unknown_ids": {str(i): n for i, n in held.unknown.items()},
        "objects": None if held.objects is None else _objects(held.objects),
        "classes": [
            {
                "id": i,
                "name": name,
                "pixels": counts.pixels[i],
                "counted": counts.counted[i],
                "images": counts.images[i],
                "pixels_of_images": counts.pixels_of_images[i],
            }
            for i, name in enumerate(held.class_names)
        ],
    }


def _objects(counts: ObjectCounts) -> dict[str, Any]:
    return {
        "objects": counts.total,
        "crowds": counts.crowds,
        "images": counts.images,
        "most_of_an_image": counts.most,
        "sizes": dict(counts.sizes),
        "of_class": list(counts.classes),
        "images_of_class": list(counts.images_of_class),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "datasets": list(finding.datasets),
        "text": finding.text,
        "files": list(finding.files),
        "examples": list(finding.examples),
        "values": dict(finding.values),
    }

"""The audit of a converted folder: wrong labels are found before anything is trained."""

import pathlib
from collections.abc import Mapping
from typing import Any

from segjax.audit.audit import Audit, audit_datasets
from segjax.convert.folder_writer import MASKS
from segjax.data.folder import Folder


def audit_folder(out: pathlib.Path, summary: Mapping[str, Any]) -> Audit:
    """Returns the audit of each split that has images.

    Args:
      out: the converted folder.
      summary: as `convert` returns it.
    """
    folders = tuple(summary["mask_folders"])
    datasets = {
        side: Folder(
            split=f"splits/{side}",
            directory=str(out),
            class_names=tuple(summary["classes"]),
            masks=folders or MASKS,
        )
        for side, count in summary["splits"].items()
        if count
    }
    return audit_datasets(datasets, name=out.name)

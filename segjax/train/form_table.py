"""The table of forms of a run: which form each of its convolutions takes, in its workdir."""

import dataclasses
import importlib.metadata
import json
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

from segjax.atomic import write_text
from segjax.errors import InputError
from segjax.ops import forms
from segjax.parallel.machine import machine_digest, machine_words

FILE = "forms.json"
_CHECKSUM = "crc32"


class OtherForms(InputError):
    """A sound table names forms of another version of segjax."""


@dataclasses.dataclass(frozen=True)
class FormTable:
    """The forms that were fastest for a run's shapes, and where they were timed.

    Attributes:
      names: {`str(case)`: name of its form}; see `segjax.ops.forms`.
      milliseconds: {`str(case)`: {form: milliseconds of a call}}, for a reader.
      machine: processor and cores, in words.
      digest: of the machine, which tells it from others.
      jaxlib: its version.
    """

    names: Mapping[str, str]
    milliseconds: Mapping[str, Mapping[str, float]]
    machine: str
    digest: str
    jaxlib: str

    def foreign(self) -> str:
        """Returns what is different here from where it was timed, in words; "" if nothing."""
        other_machine = self.digest != machine_digest(with_user=False)
        other_version = self.jaxlib != importlib.metadata.version("jaxlib")
        machine = f"on another machine ({self.machine})" if other_machine else ""
        version = f"with jaxlib {self.jaxlib}" if other_version else ""
        return " ".join(filter(None, (machine, version)))


def table_from_here(
    names: Mapping[str, str], milliseconds: Mapping[str, Mapping[str, float]]
) -> FormTable:
    """Returns a table that was timed by this process."""
    version = importlib.metadata.version("jaxlib")
    return FormTable(
        names, milliseconds, machine_words(), machine_digest(with_user=False), version
    )


def write_table(table: FormTable, workdir: pathlib.Path) -> None:
    """Writes the table of a run into its folder, whole or not at all."""
    record = {
        "about": "Forms of convolutions, timed by launch --tune. The run keeps them.",
        "version": forms.VERSION,
        "machine": table.machine,
        "machine_digest": table.digest,
        "jaxlib": table.jaxlib,
        "forms": {**table.names},
        "milliseconds": {case: {**times} for case, times in table.milliseconds.items()},
    }
    record[_CHECKSUM] = _checksum(record)
    write_text(workdir / FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read_table(workdir: pathlib.Path) -> FormTable | None:
    """Returns the table of the run in a folder; None if it has none.

    Raises:
      InputError: it cannot be read or is not what was written.
      OtherForms: it names the forms of another version of segjax.
    """
    path = workdir / FILE
    remedy = (
        "The run needs it to go on with the same bits: restore it, or delete it, and the run "
        "goes on with the default forms, which give the same up to rounding for finite numbers."
    )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. {remedy}") from error
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.pop(_CHECKSUM, None) != _checksum(record):
        raise InputError(f"{path} is damaged: it does not match its checksum. {remedy}")
    if record["version"] != forms.VERSION:
        raise OtherForms(
            f"{path} names forms of another segjax (version {record['version']} of the forms; "
            f"this one has {forms.VERSION}). Go on with that segjax, or delete it, and the run "
            "goes on with the default forms, which give the same up to rounding for finite "
            "numbers."
        )
    return FormTable(
        record["forms"],
        record["milliseconds"],
        record["machine"],
        record["machine_digest"],
        record["jaxlib"],
    )


def _checksum(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"

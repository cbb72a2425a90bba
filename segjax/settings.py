"""An experiment as text, and changed by text: descriptions and overrides.

Scripts import `override` and `describe` from `segjax.experiment`.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

from segjax.description import describe_lines, replace_at
from segjax.errors import InputError

T = TypeVar("T")


def override(experiment: T, setting: str) -> T:
    """Returns the experiment with one field changed, by text such as "model.rates=1,2,5".

    Raises:
      InputError: no `=`, an unknown field (near names are listed) or a wrong type.
    """
    path, equals, text = setting.partition("=")
    if not equals:
        raise InputError(f"--set {setting}: write it as FIELD=VALUE, for example steps=200.")
    return replace_at(experiment, path.strip(), text)


def directory_settings(experiment: Any, directory: str) -> list[str]:
    """Returns the overrides that point every dataset of the experiment to `directory`.

    Raises:
      InputError: no dataset of the experiment has a directory.
    """
    datasets = ("train_data", "eval_data")
    found = [name for name in datasets if hasattr(getattr(experiment, name), "directory")]
    if not found:
        raise InputError(
            f"--data {directory}: no dataset of {experiment.name} has a directory."
        )
    paths = [_directory_path(getattr(experiment, name), name) for name in found]
    return [f"{path}={directory}" for path in paths]


def _directory_path(data: Any, path: str) -> str:
    """Returns the path of a dataset's directory, which may be that of the one it wraps."""
    fields = dataclasses.fields(data) if dataclasses.is_dataclass(data) else ()
    values = {field.name: getattr(data, field.name) for field in fields}
    if "directory" in values or "data" not in values:
        return f"{path}.directory"
    return _directory_path(values["data"], f"{path}.data")


def describe(experiment: Any, *, short: bool = False) -> str:
    """Returns the whole experiment as `path = value` lines; each is one that `override` takes.

    With `short`, long tuples are shortened and folded, for people.
    """
    return "\n".join(describe_lines(experiment, short=short)) + "\n"


def short_hash(settings: Sequence[str]) -> str:
    """Returns six hexadecimal digits that stand for a list of overrides."""
    return hashlib.sha256("\n".join(settings).encode()).hexdigest()[:6]

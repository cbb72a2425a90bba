"""`Program`: what an export holds of a task's network."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from segjax.contracts import Array, Variables


@dataclasses.dataclass(frozen=True)
class Program:
    """A network from images as read to outputs, for software without segjax.

    Attributes:
      run: `(variables, images b h w c)` → an array, or {name: array}, whose first axis is b. It
        can be traced.
      about: entries of the description beside the file: what a reader of the outputs needs.
    """

    run: Callable[[Variables, Array], Any]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

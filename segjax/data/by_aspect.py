"""Batches of images that are all wide, or all high: less padding for detectors."""

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from segjax.atomic import write_text
from segjax.contracts import Example
from segjax.data.cache import cache_root
from segjax.data.decode import open_image
from segjax.data.image_files import is_array
from segjax.data.prepare import FileDataset


@dataclass(frozen=True)
class ByAspect:
    """The examples of `data`, in two groups: images that are higher than wide, and others.

    A batch holds images of one group, so that with `Canvas((800, 1344))` images of both kinds
    need little padding, and a network is compiled twice. Each group has a share of the batches
    that is its share of the images. detectron2 and torchvision group images likewise.

    Everything else is as in `data`, such as its class names. An example also has `portrait`,
    whether it is of the first kind, which `Canvas` reads.
    """

    data: Any

    def prepare(self) -> None:
        """Prepares `data` and finds the group of each image.

        Raises:
          InputError: as `data` raises it.
        """
        self.data.prepare()
        _ = self._is_portrait

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """The indices of the images that are higher than wide, and of the others."""
        places = range(len(self))
        return (
            [index for index in places if self._is_portrait[index]],
            [index for index in places if not self._is_portrait[index]],
        )

    @cached_property
    def _is_portrait(self) -> Sequence[bool]:
        if not isinstance(ungrouped(self.data), FileDataset):
            return [_is_portrait(self.data[index]) for index in range(len(self.data))]
        note = cache_root() / "aspects" / f"{self.data.prepared_folder.name}.json"
        with suppress(OSError, ValueError):
            return json.loads(note.read_text(encoding="utf-8"))
        found = [self._read_header(index) for index in range(len(self.data))]
        with suppress(OSError):  # A read-only cache costs another look at the headers.
            note.parent.mkdir(parents=True, exist_ok=True)
            write_text(note, json.dumps(found))
        return found

    def _read_header(self, index: int) -> bool:
        """Returns whether a prepared image is higher than wide; it is not decoded."""
        encoded = self.data.encoded_image(index)
        if is_array(encoded):
            return _is_portrait(self.data[index])
        width, height = open_image(io.BytesIO(encoded)).size
        return height > width

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Example:
        return {**self.data[index], "portrait": self._is_portrait[index]}

    def __getattr__(self, name: str) -> Any:
        # Copies and pickles ask before there is any field.
        if name.startswith("__") or name == "data":
            raise AttributeError(name)
        return getattr(self.data, name)


def ungrouped(data: Any) -> Any:
    """Returns the dataset whose examples `ByAspect` groups; any other dataset itself."""
    while isinstance(data, ByAspect):
        data = data.data
    return data


def _is_portrait(example: Example) -> bool:
    height, width = example["image"].shape[:2]
    return height > width

"""How TensorFlow Datasets writes the examples of the cache; slow to import."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from segjax.data.cache import VERSION


class RecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A writer of encoded examples in their order."""

    VERSION = tfds.core.Version(VERSION)
    name = "prepared"
    # Or TFDS looks for checksums beside this file, through a package that it does not require.
    code_path = None

    def __init__(
        self, examples: Iterator[Mapping[str, Any]], data_dir: pathlib.Path, *, objects: bool
    ):
        self._examples, self._has_objects = examples, objects
        super().__init__(data_dir=data_dir, file_format="array_record")
        tfds.disable_progress_bar()

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(shape=(None, None, None))
        features = {"image": image, "label": image, "name": tfds.features.Text()}
        if self._has_objects:
            features["objects"] = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"examples": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield from enumerate(self._examples)

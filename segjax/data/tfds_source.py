"""Datasets of TensorFlow Datasets with an image and a mask, read without TensorFlow."""

import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow_datasets as tfds

from segjax.data.contents import digest
from segjax.data.label_map import LabelMap
from segjax.data.names import near_entry
from segjax.data.record_dataset import Record, RecordDataset, nested
from segjax.errors import InputError

HOME = "~/tensorflow_datasets"
"""Where TFDS itself puts datasets, unless TFDS_DATA_DIR says otherwise."""

_FILE_NAMES = ("file_name", "filename", "image_id")
"""Features that name an example."""


@dataclass(frozen=True)
class TFDS(RecordDataset):
    """A dataset of TensorFlow Datasets by its name, with the features `image` and `mask`.

    ::

        TFDS("oxford_iiit_pet", "train[:80%]", class_names=("pet", "background", "border"),
             label_map=((1, 0), (2, 1), (3, 2)))

    `directory` is TFDS's folder of datasets, which holds `oxford_iiit_pet/4.0.0/`, or that
    folder itself; without it, TFDS_DATA_DIR or `~/tensorflow_datasets`. A name may have a
    config and a version, as in "cityscapes/semantic_segmentation:1.0.0"; without a version, the
    newest is read. A feature of a feature is written "objects/mask".

    The dataset must be prepared as `array_record`, which needs no TensorFlow to read. To make
    it, run once where TensorFlow is installed::

        tfds.builder("oxford_iiit_pet", file_format="array_record").download_and_prepare()

    Masks are class ids, in the order of `class_names`; `label_map` renames others, as in
    `Folder`, and 255 is ignored. Images become RGB (`channels=3`) or grey (`channels=1`).
    """

    name: str
    split: str = "train"
    directory: str | None = None
    image: str = "image"
    mask: str = "segmentation_mask"
    class_names: tuple[str, ...] = ()
    label_map: LabelMap = ()
    channels: int = 3
    colours: tuple[tuple[int, int, int], ...] | None = None

    def __post_init__(self):
        self._check_fields()

    def _open(self) -> "_Opened":
        folder = _version_folder(_root(self.directory), self.name)
        builder = _builder(folder)
        if (format := builder.info.file_format.value) != "array_record":
            raise InputError(
                f"{folder} is stored as {format}, which only TensorFlow reads: run once where "
                f"it is installed: tfds.builder({self.name!r}, data_dir=..., "
                "file_format='array_record').download_and_prepare()."
            )
        for feature in (self.image, self.mask):
            _check_feature(builder.info.features, feature, folder)
        decoders = _skipping(builder.info.features)
        try:
            source = builder.as_data_source(self.split, decoders=decoders)
        except Exception:  # TFDS raises several kinds for a split that is not there.
            known = ", ".join(sorted(builder.info.splits))
            raise InputError(
                f"TFDS {self.name!r} has no split {self.split!r}: it has {known}; a part of "
                "one is written 'train[:80%]'."
            ) from None
        title = f"{self.name}, {self.split}"
        return _Opened(title, _key(folder, self), source, (self.image, self.mask))


@dataclass(frozen=True)
class _Opened:
    title: str
    key: str
    source: Any
    features: tuple[str, str]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Record:
        record = self.source[index]
        image, mask = (nested(record, feature) for feature in self.features)
        names = (record[each] for each in _FILE_NAMES if each in record)
        found = next((each for each in names if isinstance(each, bytes)), b"")
        stem = pathlib.PurePosixPath(found.decode("utf-8", errors="backslashreplace")).stem
        return Record(f"{index:06d}" + (f"_{stem}" if stem else ""), image, mask)


def _builder(folder: pathlib.Path) -> Any:
    try:
        return tfds.builder_from_directory(builder_dir=folder)
    except Exception as error:  # A broken file leads TFDS to anything.
        raise InputError(
            f"{folder} cannot be read as a dataset of TFDS ({type(error).__name__}): its "
            "dataset_info.json or features.json is broken; prepare it again."
        ) from None


def _root(directory: str | None) -> pathlib.Path:
    given = directory or os.environ.get("TFDS_DATA_DIR") or HOME
    folder = pathlib.Path(given).expanduser().absolute()
    if not folder.is_dir():
        raise InputError(
            f"TFDS has no folder {folder}{near_entry(folder)}: give directory=... or --data "
            "DIR, the folder in which TFDS has prepared datasets."
        )
    return folder


def _version_folder(root: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the folder of a dataset's version, the newest unless the name says which."""
    below, _, version = name.partition(":")
    versions = _below(root / below, ("*/", "*/*/")) or _of_name(root, below)
    found = [folder for folder in versions if version in ("", folder.name)]
    if versions and not found:
        there = ", ".join(sorted({folder.name for folder in versions}))
        raise InputError(
            f"TFDS {below!r} has no version {version!r} in {root}: it has {there}."
        )
    configs = {folder.parent for folder in found}
    if len(configs) > 1:
        names = ", ".join(sorted(f"{below}/{folder.name}" for folder in configs))
        raise InputError(f"TFDS {name!r} has several configs: name one of {names}.")
    if not found:
        raise InputError(
            f"TFDS {name!r} is not prepared in {root}{near_entry(root / below)}: give "
            "directory=... or --data DIR; or make it once where TensorFlow is installed: "
            f"tfds.builder({name!r}, file_format='array_record').download_and_prepare()."
        )
    return max(found, key=lambda folder: [_number(part) for part in folder.name.split(".")])


def _below(folder: pathlib.Path, patterns: Sequence[str]) -> list[pathlib.Path]:
    """Returns the folders of versions that fit the first pattern that any fits."""
    for pattern in patterns:
        if found := sorted(folder.glob(f"{pattern}dataset_info.json")):
            return [path.parent for path in found]
    return []


def _of_name(root: pathlib.Path, below: str) -> list[pathlib.Path]:
    """Returns the versions in `root`, the folder of the dataset itself, that have its name."""
    dataset, _, config = below.partition("/")
    return [
        folder
        for folder in _below(root, ("", "*/", "*/*/"))
        if _written_name(folder)[0] == dataset
        and config in ("", _written_name(folder)[1] or folder.parent.name)
    ]


def _written_name(version: pathlib.Path) -> tuple[str, str]:
    """Returns the names of dataset and config as TFDS has written them; "" for none."""
    try:
        about = json.loads((version / "dataset_info.json").read_bytes())
        return str(about.get("name", "")), str(about.get("configName", ""))
    except (OSError, ValueError, AttributeError, RecursionError):  # It is not a file of TFDS.
        return "", ""


def _number(text: str) -> int:
    return int(text) if text.isdigit() else -1


def _images(features: Any, above: str = "") -> Iterator[str]:
    """Yields the paths of all features that are images."""
    for name, feature in features.items():
        if isinstance(feature, tfds.features.Image):
            yield above + name
        elif isinstance(feature, tfds.features.FeaturesDict):
            yield from _images(feature, f"{above}{name}/")


def _check_feature(features: Any, wanted: str, folder: pathlib.Path) -> None:
    images = sorted(_images(features))
    if wanted not in images:
        raise InputError(
            f"{folder} has no image feature {wanted!r}: it has "
            f"{', '.join(images) or 'none'}; name them with image=... and mask=...."
        )


def _skipping(features: Any) -> dict[str, Any]:
    """Returns decoders that leave every image encoded, those of other features too."""
    decoders: dict[str, Any] = {}
    for path in _images(features):
        *above, last = path.split("/")
        place = decoders
        for part in above:
            place = place.setdefault(part, {})
        place[last] = tfds.decode.SkipDecoding()
    return decoders


def _key(folder: pathlib.Path, dataset: TFDS) -> str:
    """Returns a digest of what is read: the files' names, sizes and times, and the fields."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    about: Sequence[Any] = [
        str(folder),
        [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files],
        [dataset.split, dataset.image, dataset.mask],
    ]
    return digest(json.dumps(about).encode())

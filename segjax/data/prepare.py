"""The one cache of images and labels that lie in files: checked once, then read fast.

Examples are written by TensorFlow Datasets as ArrayRecord files, a path that needs no
TensorFlow, into `SEGJAX_CACHE`, else the user's cache folder. The user's own folder is only
read. A prepared folder appears under its name when it is complete: a killed preparation leaves
a `*.partial` folder that nothing reads.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from jaxtyping import UInt8
from PIL import Image

from segjax.data.cache import cache_root, move_into_place, partial_folder
from segjax.data.images import decode, encode_image, pixels, png
from segjax.errors import InputError
from segjax.types import IGNORE, Example

VERSION = "1.0.0"
"""Part of every key: raise it when the same files are to be written differently."""

CHUNK = 64
"""Examples decoded at a time, over all cores: what bounds memory."""


@dataclass(frozen=True)
class Source:
    """One example before preparation."""

    name: str
    image: pathlib.Path
    label: pathlib.Path


@dataclass(frozen=True)
class Recipe:
    """What becomes of the sources: all that decides the contents of the prepared folder.

    `channels` is 3 (RGB) or 1 (grey). `label_map` holds pairs (id in the file, class id or
    255); ids that it does not name stay as they are.
    """

    name: str
    num_classes: int
    channels: int = 3
    label_map: tuple[tuple[int, int], ...] = ()


class FileDataset:
    """`prepare`, `len` and indexing for a dataset that can say where its files lie.

    The datasets of files share it; each is a frozen dataclass with `_sources` and
    `_recipe`.
    """

    def _sources(self) -> Sequence[Source]:
        """All examples, in order, or `InputError`."""
        raise NotImplementedError

    def _recipe(self) -> Recipe:
        raise NotImplementedError

    @cached_property
    def _records(self) -> Any:
        return prepared(self._sources(), self._recipe())

    def prepare(self) -> None:
        """Finds, decodes, checks and caches every file, unless a former run has.

        Raises:
          InputError: a folder or file is missing, unreadable or does not fit; all in one line.
        """
        _ = self._records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"Example {index} of {len(self)}.")
        record = self._records[index]
        image, label = (Image.open(io.BytesIO(record[key])) for key in ("image", "label"))
        name = record["name"].decode()
        return {"image": pixels(image), "label": np.array(label), "name": name}


def raise_first(problems: Sequence[str]) -> None:
    """Nothing where there are no problems.

    Raises:
      InputError: the first problem, and how many more there are.
    """
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)


def prepared(sources: Sequence[Source], recipe: Recipe) -> Any:
    """Records by index, from the cache, which is filled first where it has to be.

    A record has the encoded `image` and `label` and the `name`, all bytes. Its folder's key are
    VERSION, the recipe, and the files' paths, sizes and times.

    Raises:
      InputError: a file is unreadable or does not fit, or the cache cannot be written.
    """
    folder = cache_root() / f"{recipe.name}-{_key(sources, recipe)}"
    if not folder.is_dir():
        with partial_folder(folder.parent) as partial:
            _write(sources, recipe, partial, folder)
    skip = tfds.decode.SkipDecoding()
    builder: Any = tfds.builder_from_directory(builder_dir=folder)
    return builder.as_data_source("examples", decoders={"image": skip, "label": skip})


def _key(sources: Sequence[Source], recipe: Recipe) -> str:
    files = [
        (str(path), status.st_size, status.st_mtime_ns)
        for source in sources
        for path in (source.image, source.label)
        for status in (path.stat(),)
    ]
    names = [source.name for source in sources]
    text = json.dumps([VERSION, asdict(recipe), names, files])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes encoded examples in their order."""

    VERSION = tfds.core.Version(VERSION)
    name = "prepared"
    # Or TFDS looks for checksums beside this file, through a package that it does not require.
    code_path = None

    def __init__(self, examples: Iterator[Mapping[str, Any]], data_dir: pathlib.Path):
        self._examples = examples
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(shape=(None, None, None))
        features = {"image": image, "label": image, "name": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"examples": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield from enumerate(self._examples)


def _write(
    sources: Sequence[Source], recipe: Recipe, partial: pathlib.Path, folder: pathlib.Path
) -> None:
    """`folder`, complete; or an `InputError` and no folder."""
    problems: list[str] = []
    builder = _Builder(_encoded(sources, recipe, problems), partial)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces each preparation.
            builder.download_and_prepare(download_dir=partial / "downloads")
    except Exception:
        if not problems:  # Otherwise this is TFDS complaining that there are no examples.
            raise
    raise_first(problems)
    move_into_place(pathlib.Path(builder.data_path), folder)


def _encoded(
    sources: Sequence[Source], recipe: Recipe, problems: list[str]
) -> Iterator[Mapping[str, Any]]:
    """Encoded examples up to the first problem; all files are decoded in any case."""

    def attempt(source: Source) -> Mapping[str, Any] | InputError:
        try:
            return _encode(source, recipe)
        except InputError as error:
            return error

    title = f"Preparing {recipe.name}"
    if not sys.stderr.isatty():
        print(f"{title}: {len(sources)} examples.", file=sys.stderr)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm.tqdm(total=len(sources), desc=title, disable=None, leave=False) as bar,
    ):
        for start in range(0, len(sources), CHUNK):
            for example in pool.map(attempt, sources[start : start + CHUNK]):
                bar.update()
                if isinstance(example, InputError):
                    problems.append(str(example))
                elif not problems:
                    yield example


def _encode(source: Source, recipe: Recipe) -> Mapping[str, Any]:
    image, size = encode_image(source.image, channels=recipe.channels)
    label = _decode_label(source.label, recipe)
    if label.shape[::-1] != size:
        raise InputError(
            f"{source.label} is {label.shape[1]}x{label.shape[0]} pixels, but its image "
            f"{source.image} is {size[0]}x{size[1]} (width x height, turned as its EXIF says): "
            "mend or remove the pair."
        )
    return {"image": image, "label": png(Image.fromarray(label)), "name": source.name}


def _decode_label(path: pathlib.Path, recipe: Recipe) -> UInt8[np.ndarray, "h w"]:
    """Class ids and 255; of a palette image the indices, whatever their colours."""
    mask = decode(path)
    if mask.mode not in ("1", "L", "P", "I") and not mask.mode.startswith("I;16"):
        raise InputError(
            f"{path} holds colours (mode {mask.mode}), not class ids: convert each colour to "
            "its class id and save one channel, or a palette image."
        )
    ids = np.asarray(mask).astype(np.int32)
    present = np.unique(ids)
    renamed = dict(recipe.label_map)
    classes = np.array([renamed.get(i, i) for i in present.tolist()])
    outside = present[((classes < 0) | (classes >= recipe.num_classes)) & (classes != IGNORE)]
    if outside.size:
        listed = ", ".join(map(str, outside[:8])) + (", ..." if outside.size > 8 else "")
        raise InputError(
            f"{path} has the label ids {listed}, but the {recipe.num_classes} classes have ids "
            f"0 to {recipe.num_classes - 1} (and 255 = ignored): name all classes, or map the "
            "ids with label_map."
        )
    return classes.astype(np.uint8)[np.searchsorted(present, ids)]

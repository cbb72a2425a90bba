"""The one cache of images and labels that lie in files: checked once, then read fast.

Examples are written by TensorFlow Datasets as ArrayRecord files, a path that needs no
TensorFlow, into `SEGJAX_CACHE`, else the user's cache folder. The user's own folder is only
read. A prepared folder appears under its name when it is complete: a killed preparation leaves
a `*.partial` folder that nothing reads.

A prepared folder is named by the contents of the files, so a file that is written anew is seen
whatever its size and time, and one that is only copied or touched is not decoded again.
`contents` says when a file is not even read.
"""

import contextlib
import io
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import tqdm

from segjax.contracts import Example
from segjax.data.cache import VERSION, cache_root, move_into_place, partial_folder
from segjax.data.contents import digest, digests, remember, remembered, stamps
from segjax.data.decode import open_image
from segjax.data.encode import Encoded, encode, problem_of_all_masks, say_dropped
from segjax.data.faults import raise_first
from segjax.data.image_files import decoded
from segjax.data.label_map import ids_of_files
from segjax.data.label_pages import unstacked
from segjax.data.made_masks import MadeMask
from segjax.data.object_records import decode_objects
from segjax.data.source import Recipe, Source
from segjax.data.whites import Found
from segjax.errors import InputError

CHUNK = 64
"""Examples decoded at a time, over all cores: what bounds memory."""


class FileDataset:
    """`prepare`, `len` and indexing for a dataset that can say where its files lie.

    The datasets of files share it; each is a frozen dataclass with `_sources` and
    `_recipe`.
    """

    @property
    def channels(self) -> int:
        """RGB, but for a dataset that says otherwise."""
        return 3

    @property
    def file_ids(self) -> tuple[int, ...]:
        """The id in the dataset's own files of each class, and last that of ignored pixels.

        The label map says them. A dataset whose labels are made of other ids says its own.

        Raises:
          InputError: masks are painted or have planes, or a class has no single id.
        """
        recipe = self._recipe()
        if recipe.mask_colours or recipe.planes:
            kind = "colours" if recipe.mask_colours else "planes"
            raise InputError(f"The dataset's masks hold {kind}, not ids: leave --file-ids out.")
        return ids_of_files(recipe.label_map, getattr(self, "class_names", ()))

    def _sources(self) -> Sequence[Source]:
        """Returns all examples, in order, or `InputError`."""
        raise NotImplementedError

    def _recipe(self) -> Recipe:
        raise NotImplementedError

    @cached_property
    def _planes(self) -> int | None:
        recipe = self._recipe()
        return recipe.num_classes if recipe.planes else None

    @cached_property
    def _has_objects(self) -> bool:
        return self._recipe().objects is not None

    @cached_property
    def _records(self) -> Any:
        return prepared(self._sources(), self._recipe())

    def prepare(self) -> None:
        """Finds, decodes, checks and caches every file, unless a former run has.

        Raises:
          InputError: a folder or file is missing, unreadable or does not fit; all in one line.
        """
        _ = self._records

    @property
    def prepared_folder(self) -> pathlib.Path:
        """The dataset's own folder in the cache."""
        return pathlib.Path(self._records.dataset_info.data_dir)

    def encoded_image(self, index: int) -> bytes:
        """Returns an image as it lies in the cache: a file of its own, upright."""
        return self._records[index]["image"]

    def check_directory(self) -> None:
        """Raises InputError if a directory is needed and not given; no file is read.

        Raises:
          InputError: as `prepare` would say it.
        """
        downloads = getattr(self, "download", False)
        if getattr(self, "directory", "") is None and not downloads:
            self._sources()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"Example {index} of {len(self)}.")
        record = self._records[index]
        label = unstacked(np.array(open_image(io.BytesIO(record["label"]))), self._planes)
        name = record["name"].decode()
        example = {"image": decoded(record["image"]), "label": label, "name": name}
        return (
            {**example, **decode_objects(record["objects"])} if self._has_objects else example
        )


def prepared(sources: Sequence[Source], recipe: Recipe) -> Any:
    """Returns records by index from the cache, which is filled first if need be.

    A record has the encoded `image` and `label` and the `name`, all bytes, and `objects` where
    the recipe has some. Its folder's key are VERSION, the recipe, and the files' order, names
    and contents.

    Raises:
      InputError: a file is unreadable or does not fit, or the cache cannot be written.
    """
    root = cache_root()
    files = [path for source in sources for path in source.files]
    before = stamps(files)
    memo = root / "known" / f"{_hash(_about(sources, recipe), [*map(str, files)])}.json"
    trusted = remembered(memo, before)
    found = None if trusted is None else _all_digests(before, trusted)
    folder = None if found is None else root / _folder_name(sources, recipe, found)
    if found is None or folder is None or not folder.is_dir():
        with partial_folder(root) as partial:
            folder, found = _write(sources, recipe, partial, root)
    if trusted is None or len(trusted) < len(before):
        remember(memo, before, found)
    import tensorflow_datasets as tfds  # Slow, and drawn or downloaded data do without it.

    skip = tfds.decode.SkipDecoding()
    builder: Any = tfds.builder_from_directory(builder_dir=folder)
    return builder.as_data_source("examples", decoders={"image": skip, "label": skip})


Digests = Mapping[pathlib.Path, str]


def _all_digests(files: Iterable[pathlib.Path], trusted: Digests) -> Digests | None:
    """Returns the trusted digests and those read now; None if a file cannot be read."""
    try:
        return {**trusted, **digests(path for path in files if path not in trusted)}
    except OSError:
        return None


def _folder_name(sources: Sequence[Source], recipe: Recipe, found: Digests) -> str:
    contents = [found[path] for source in sources for path in source.files]
    return f"{recipe.name}-{_hash(_about(sources, recipe), contents)}"


def _about(sources: Sequence[Source], recipe: Recipe) -> list[Any]:
    """Returns what decides the examples, beside the contents of files."""
    options = [recipe.name, recipe.num_classes, recipe.channels, recipe.label_map]
    options += ["planes"] if recipe.planes else []
    options += [recipe.image_dtype] if recipe.image_dtype != "uint8" else []
    options += [recipe.mask_colours] if recipe.mask_colours else []
    options += [[recipe.objects.things, recipe.objects.broken]] if recipe.objects else []
    made = [source.label.key for source in sources if isinstance(source.label, MadeMask)]
    made += [f"objects {source.objects.key}" for source in sources if source.objects]
    return [VERSION, options, [source.name for source in sources], *([made] if made else [])]


def _hash(*parts: Any) -> str:
    return digest(json.dumps(parts).encode())[:20]


@dataclass
class _Preparation:
    """What is noted while sources are encoded."""

    digests: dict[pathlib.Path, str] = field(default_factory=dict)
    masks: list[Found] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _write(
    sources: Sequence[Source], recipe: Recipe, partial: pathlib.Path, root: pathlib.Path
) -> tuple[pathlib.Path, Digests]:
    """Returns the complete prepared folder in `root`, and the files' digests."""
    from segjax.data.record_builder import RecordBuilder  # Slow, as above.

    noted = _Preparation()
    examples = _encoded(sources, recipe, noted)
    builder = RecordBuilder(examples, partial, objects=recipe.objects is not None)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces each preparation.
            builder.download_and_prepare(download_dir=partial / "downloads")
    except Exception:
        if not noted.problems:  # Otherwise this is TFDS complaining that there are no examples.
            raise
    raise_first(noted.problems)
    say_dropped(recipe.name, noted.dropped)
    folder = root / _folder_name(sources, recipe, noted.digests)
    move_into_place(pathlib.Path(builder.data_path), folder)
    return folder, noted.digests


def _encoded(
    sources: Sequence[Source], recipe: Recipe, noted: _Preparation
) -> Iterator[Mapping[str, Any]]:
    """Yields encoded examples up to the first problem; decodes all files in any case."""

    def attempt(source: Source) -> Encoded | InputError:
        """Returns a source's examples, or what is wrong with it."""
        try:
            return encode(source, recipe)
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
            for encoded in pool.map(attempt, sources[start : start + CHUNK]):
                bar.update()
                if isinstance(encoded, InputError):
                    noted.problems.append(str(encoded))
                    continue
                noted.digests.update(encoded.digests)
                noted.masks += encoded.masks
                noted.dropped += encoded.dropped
                yield from () if noted.problems else encoded.examples
    if not noted.problems and (problem := problem_of_all_masks(noted.masks, recipe)):
        noted.problems.append(problem)

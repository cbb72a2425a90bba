"""Annotations → a `Folder` dataset, one image after another."""

import collections
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from segjax.contracts import IGNORE
from segjax.convert import record
from segjax.convert.annotated import Annotated, Annotations, Size
from segjax.convert.classes import Classes, chosen, tidy
from segjax.convert.experiment_text import experiment_text
from segjax.convert.folder_writer import FolderWriter, mask_folders, palette_for
from segjax.convert.instances import document, image_entries
from segjax.convert.painting import OVERLAPS, PLANES_OVERLAP, Painted, paint
from segjax.convert.pictures import picture
from segjax.convert.request import Request
from segjax.convert.sources import ReadSource, joined, read_source
from segjax.convert.splitting import Splits, split
from segjax.data.faults import raise_first
from segjax.data.images import png
from segjax.errors import InputError
from segjax.report.contact_sheet import Tile, class_tile, contact_sheet, planes_tile

EXPERIMENT, PREVIEW, CLASSES, OBJECTS = (
    "experiment.py",
    "preview.png",
    "classes.txt",
    "instances.json",
)
MOST_TILES = 24
"""Images on the preview."""


@dataclass
class _Counts:
    """What all images hold together."""

    images: collections.Counter = field(default_factory=collections.Counter)
    regions: collections.Counter = field(default_factory=collections.Counter)
    pixels: collections.Counter = field(default_factory=collections.Counter)
    objects: int = 0
    empty: int = 0
    clipped: int = 0
    shared: int = 0

    def add(self, painted: Painted) -> None:
        """Adds an image: its classes, regions and objects."""
        pixels = _pixels(painted.label)
        self.pixels.update(pixels)
        self.images.update(pixels.keys())
        self.regions.update(painted.regions)
        self.objects += len(painted.objects)
        self.empty += painted.empty
        self.clipped += painted.clipped
        self.shared += painted.shared


@dataclass
class _Gathered:
    """What is kept of the images until the last one is written."""

    counts: _Counts = field(default_factory=_Counts)
    done: list[Annotated] = field(default_factory=list)
    images: list[dict] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    tiles: list[Tile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    changed: int = 0


def read_sources(request: Request) -> tuple[list[ReadSource], Annotations]:
    """Returns each source, and the annotations of all of them.

    Raises:
      InputError: a source cannot be read, sources do not fit together, an option does not fit
        them, or an annotation file is wrong and errors are not skipped.
    """
    request.check_places()
    sources = [
        read_source(path, format_name=request.format, options=request.options, out=request.out)
        for path in request.sources
    ]
    together = joined(sources)
    if together.has_planes and request.overlap != "order":
        raise InputError(
            f"--overlap {request.overlap}: the source has a mask for each class, and the "
            "result keeps what they share. Leave --overlap out."
        )
    if not request.skip_errors:
        raise_first(together.problems)
    return sources, together


def convert(
    request: Request, *, update: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Writes the dataset and returns its summary, with `changed`: how many images are new.

    Args:
      request: sources, result and options.
      update: is called with how many images are done, of how many.

    Raises:
      InputError: the sources, the options or an image cannot be used.
      OSError: the result cannot be written.
    """
    sources, annotations = read_sources(request)
    made_by = {**request.made_by(), "formats": [source.format.name for source in sources]}
    earlier = record.earlier(request.out, made_by)
    classes = chosen(
        annotations.class_names,
        background=annotations.background,
        choice=request.choice,
        earlier=[*earlier.get("classes", ())],
        planes=annotations.has_planes,
    )
    colours = {tidy(name): rgb for name, rgb in annotations.colours.items()}
    record.begin(request.out, made_by, earlier)
    writer = FolderWriter(
        request.out,
        palette_for(classes.names, colours),
        mask_folders(classes.names) if annotations.has_planes else (),
        request.link,
    )
    gathered = _write_images(request, annotations, classes, writer, update)
    splits = split({image.name: image.split for image in gathered.done}, shares=request.shares)
    _write_lists(request.out, classes, splits, gathered, writer)
    experiment, kept = _write_experiment(request.out, classes, colours, writer, earlier)
    notes = [
        *annotations.notes,
        *splits.notes,
        *kept,
        *_notes(classes, gathered.counts, splits),
    ]
    summary = {
        "finished": True,
        "made_by": made_by,
        "images": len(gathered.done),
        "splits": {name: len(names) for name, names in splits.names.items()},
        "mask_folders": list(writer.mask_folders),
        "classes": _by_class(classes.names, gathered.counts),
        "ignored_pixels": gathered.counts.pixels[IGNORE],
        "objects": gathered.counts.objects,
        "overlaps": PLANES_OVERLAP if annotations.has_planes else OVERLAPS[request.overlap],
        "overlapping_pixels": gathered.counts.shared,
        "notes": notes,
        "skipped": gathered.problems,
        "left_over": writer.left_over(gathered.done),
        "experiment": experiment,
    }
    record.write_if_new(request.out / record.SUMMARY, record.text(summary))
    return {**summary, "changed": gathered.changed}


def _write_images(
    request: Request,
    annotations: Annotations,
    classes: Classes,
    writer: FolderWriter,
    update: Callable[[int, int], None],
) -> _Gathered:
    gathered = _Gathered(problems=list(annotations.problems))
    images = sorted(annotations.images, key=lambda image: image.name)
    shown = set(np.linspace(0, len(images) - 1, min(MOST_TILES, len(images))).round().tolist())
    for number, image in enumerate(images):
        try:
            seen = picture(image)
            painted = paint(
                image,
                Size(seen.height, seen.width),
                classes,
                overlap=request.overlap,
                planes=annotations.has_planes,
            )
            changed = writer.write(image, painted)
        except InputError as error:
            gathered.problems.append(str(error))
            continue
        gathered.changed += changed
        _gather(gathered, image, seen, painted, writer)
        if number in shown:
            draw = planes_tile if annotations.has_planes else class_tile
            tile = draw(image.name, np.asarray(seen), painted.label, writer.palette)
            gathered.tiles.append(tile)
        update(number + 1, len(images))
    if not request.skip_errors:
        _raise_with_remedy(gathered.problems)
    if not gathered.done:
        _raise_with_remedy([*gathered.problems, "No image is left."])
    return gathered


def _raise_with_remedy(problems: Sequence[str]) -> None:
    if len(problems) > 1:
        more = f" ({len(problems) - 1} more images have errors; --skip-errors leaves them out)"
        raise InputError(problems[0] + more)
    raise_first(problems)


def _gather(
    gathered: _Gathered,
    image: Annotated,
    seen: Image.Image,
    painted: Painted,
    writer: FolderWriter,
) -> None:
    gathered.counts.add(painted)
    gathered.done.append(image)
    size, image_id = Size(seen.height, seen.width), len(gathered.done)
    file_name = writer.files(image)[0].relative_to(writer.out).as_posix()
    entry = {"id": image_id, "file_name": file_name, "height": size[0], "width": size[1]}
    gathered.images.append(entry)
    gathered.objects += image_entries(
        painted, size, image_id=image_id, first_id=len(gathered.objects) + 1
    )


def _write_lists(
    out: pathlib.Path,
    classes: Classes,
    splits: Splits,
    gathered: _Gathered,
    writer: FolderWriter,
) -> None:
    """Writes the class names, splits, objects and preview."""
    record.write_if_new(out / CLASSES, "".join(f"{name}\n" for name in classes.names))
    # With their suffix: without one, "a.b.png" and "a.b" would be one name.
    files = {image.name: image.name + writer.files(image)[0].suffix for image in gathered.done}
    for side, names in splits.names.items():
        lines = "".join(f"{files[name]}\n" for name in names)
        if lines or (out / "splits" / f"{side}.txt").exists():
            record.write_if_new(out / "splits" / f"{side}.txt", lines)
    contents = document(gathered.images, gathered.objects, classes.names)
    record.write_if_new(out / OBJECTS, contents)
    record.write_if_new(out / PREVIEW, _preview(gathered, classes, writer))


def _preview(gathered: _Gathered, classes: Classes, writer: FolderWriter) -> bytes:
    present = gathered.counts.pixels
    plain = bool(writer.mask_folders)
    legend = [
        (name if plain else f"{number} {name}", writer.palette[number])
        for number, name in enumerate(classes.names)
        if present[number]
    ]
    if present[IGNORE]:
        legend.append((f"{IGNORE} ignored", writer.palette[IGNORE]))
    return png(contact_sheet(gathered.tiles, legend))


def _write_experiment(
    out: pathlib.Path,
    classes: Classes,
    colours: dict[str, tuple[int, int, int]],
    writer: FolderWriter,
    earlier: dict[str, Any],
) -> tuple[str, list[str]]:
    """Writes the experiment unless the user changed it; returns our text's digest, notes."""
    contents = experiment_text(
        out,
        classes.names,
        colours=writer.palette[: len(classes.names)].tolist() if colours else None,
        mask_folders=writer.mask_folders,
    )
    path = out / EXPERIMENT
    ours = earlier.get("experiment")
    # Whatever the user saved there stays, also in another encoding.
    there = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    if there is not None and there != contents and record.digest(there) != ours:
        names = ", ".join(map(repr, classes.names))
        return ours or "", [
            f"{EXPERIMENT} is not as this command wrote it, and stays: its CLASSES must be "
            + names
        ]
    record.write_if_new(path, contents)
    return record.digest(contents), []


def _by_class(names: Sequence[str], counts: _Counts) -> dict[str, dict[str, int]]:
    return {
        name: {
            "id": number,
            "images": counts.images[number],
            "regions": counts.regions[number],
            "pixels": counts.pixels[number],
        }
        for number, name in enumerate(names)
    }


def _notes(classes: Classes, counts: _Counts, splits: Splits) -> list[str]:
    notes = [
        f"no image is for {side}, so {EXPERIMENT} cannot run yet: add images, or divide these "
        "with --split 0.8,0.2,0"
        for side in ("train", "val")
        if not splits.names[side]
    ]
    if classes.left_out:
        names = ", ".join(classes.left_out)
        notes.append(f"not among --classes, so not drawn: {names}")
    if counts.clipped:
        notes.append(
            f"{counts.clipped} regions leave their image and are cut off at its border"
        )
    if counts.empty:
        notes.append(f"{counts.empty} regions have no pixel in their image")
    unused = [name for i, name in enumerate(classes.names) if not counts.images[i]]
    if unused:
        notes.append(f"classes without a pixel: {', '.join(unused)}")
    return notes


def _pixels(label: np.ndarray) -> dict[int, int]:
    """Returns the pixels of each class that occurs; of planes, those inside."""
    if label.ndim == 2:
        counts = np.bincount(label.ravel(), minlength=256)
        return {i: int(n) for i, n in enumerate(counts) if n}
    found = {i: int(n) for i, n in enumerate((label == 1).sum((0, 1))) if n}
    ignored = int((label == IGNORE).any(-1).sum())
    return {**found, **({IGNORE: ignored} if ignored else {})}

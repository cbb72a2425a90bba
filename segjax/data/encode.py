"""A source's files → encoded examples, with everything about them checked on the way."""

import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from segjax.data.contents import digest
from segjax.data.faults import Fault, report
from segjax.data.image_files import EncodedImage, encoded_images
from segjax.data.images import png
from segjax.data.label_pages import label_pages, stacked
from segjax.data.lossy_masks import statement
from segjax.data.made_masks import MadeMask, made_classes
from segjax.data.object_records import encode_objects, object_entries
from segjax.data.source import Recipe, Source
from segjax.data.usable_objects import usable_objects
from segjax.data.whites import Found, mixed_whites
from segjax.errors import InputError


@dataclass(frozen=True)
class Encoded:
    """A source's examples, one a page, and what is noted of its files.

    `dropped` has a line for each object that is left out.
    """

    examples: list[Mapping[str, Any]]
    digests: Mapping[pathlib.Path, str]
    masks: list[Found]
    dropped: list[str] = field(default_factory=list)


def encode(source: Source, recipe: Recipe) -> Encoded:
    """Returns the examples of a source, each decoded, checked and encoded for the cache.

    Raises:
      InputError: a file cannot be read, or image and label do not fit.
    """
    data = {path: contents(path) for path in source.files}
    images = encoded_images(source.image, data[source.image], recipe.image_kind)
    if isinstance(source.label, MadeMask):
        return _encode_made(source, source.label, images, data, recipe)
    labels = label_pages(source.masks, data, recipe.label_kind)
    examples, masks, dropped = [], [], []
    for image, label in zip(images, labels, strict=False):
        check_counts(source, label.count, image.count)
        check_one_page(source, image.count)
        name = page_name(source, image.number, image.count)
        check_sizes(source, label.classes.shape[1::-1], image.size)
        label_png = png(Image.fromarray(stacked(label.classes)))
        example = {"image": image.data, "label": label_png, "name": name}
        examples.append(
            example | _encoded_objects(source, data, label.classes, recipe, dropped)
        )
        masks += label.masks
    found = {path: digest(read) for path, read in data.items()}
    return Encoded(examples, found, masks, dropped)


def _encode_made(
    source: Source,
    mask: MadeMask,
    images: Iterator[EncodedImage],
    data: Mapping[pathlib.Path, bytes],
    recipe: Recipe,
) -> Encoded:
    image = next(images)
    if image.count > 1:
        raise InputError(
            f"{source.image} holds {image.count} images, but {mask.where} is the label of one: "
            "save single images."
        )
    classes = made_classes(
        mask,
        [data[path] for path in mask.files],
        (image.size[1], image.size[0]),
        num_classes=recipe.num_classes,
        label_map=recipe.label_map,
    )
    check_sizes(source, classes.shape[1::-1], image.size)
    label_png = png(Image.fromarray(classes))
    example, dropped = {"image": image.data, "label": label_png, "name": source.name}, []
    example |= _encoded_objects(source, data, classes, recipe, dropped)
    return Encoded([example], {path: digest(read) for path, read in data.items()}, [], dropped)


def _encoded_objects(
    source: Source,
    data: Mapping[pathlib.Path, bytes],
    label: np.ndarray,
    recipe: Recipe,
    dropped: list[str],
) -> dict[str, Any]:
    """Returns the encoded objects of an example, if it has any; adds to `dropped`."""
    if source.objects is None or recipe.objects is None:
        return {}
    made, size = source.objects, (label.shape[0], label.shape[1])
    drawn = made.make([data[path] for path in made.files], label)
    file = (*made.files, source.image)[0]
    usable, lines = usable_objects(drawn, size, recipe.objects, file=file)
    dropped += lines
    return {"objects": encode_objects(object_entries(usable, size))}


def contents(path: pathlib.Path) -> bytes:
    """Returns the bytes of a file.

    Raises:
      InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): make it readable, or leave it out."
        ) from None


def page_name(source: Source, number: int, count: int) -> str:
    """Returns the name of an example: that of its files, with its page where there are more."""
    return f"{source.name}/{number:06d}" if count > 1 else source.name


def check_counts(source: Source, label: int, image: int) -> None:
    """Reports a fault unless image and mask have equally many pages.

    Raises:
      InputError: they have not, unless faults are collected.
    """
    if label != image:
        text = (
            f"{source.image} holds {image} image(s) and its mask {source.mask_name} "
            f"{label}: give each image its mask, or save single images."
        )
        report([lambda: Fault("pages_differ", text, *source.masks[:1], source.image)])


def check_one_page(source: Source, count: int) -> None:
    """Raises InputError where an image file with objects holds several images.

    Raises:
      InputError: it does.
    """
    if source.objects is not None and count > 1:
        raise InputError(
            f"{source.image} holds {count} images, but {source.objects.where} has the objects "
            "of one: save single images."
        )


def check_sizes(source: Source, label: tuple[int, ...], image: tuple[int, ...]) -> None:
    """Reports a fault unless image and mask, as (width, height), have the same size.

    Raises:
      InputError: they have not, unless faults are collected.
    """
    if label != image:
        text = (
            f"{source.mask_name} is {label[0]}x{label[1]} pixels, but its image {source.image} "
            f"is {image[0]}x{image[1]} (width x height, each turned as its own EXIF says): "
            "mend the pair, or leave it out."
        )
        report([lambda: Fault("sizes_differ", text, *source.masks[:1], source.image)])


def say_dropped(name: str, dropped: Sequence[str]) -> None:
    """Prints how many objects are left out, and why the first one is."""
    if dropped:
        count = "1 object is" if len(dropped) == 1 else f"{len(dropped):,} objects are"
        print(f"{name}: {count} left out, the first because {dropped[0]}.", file=sys.stderr)


def problem_of_all_masks(masks: Sequence[Found], recipe: Recipe) -> str | None:
    """Returns what is wrong with all masks together; says which were read with loss."""
    lossy = [mask.levels for mask in masks if mask.levels is not None]
    if (said := statement(lossy)) is not None:
        print(f"{recipe.name}: {said}", file=sys.stderr)
    return None if recipe.mask_colours else mixed_whites(masks, recipe.label_map)

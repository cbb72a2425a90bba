"""Paints what a reader returns, by the contract's words alone: tests of readers share it."""

import numpy as np
from PIL import Image

from segjax.convert.annotated import IGNORED, Annotations, Options, Size
from segjax.convert.source_files import FolderFiles


def read(reader, folder, **options) -> Annotations:
    return reader.read(FolderFiles(folder), Options(**options))


def size_of(image) -> Size:
    with Image.open(image.image) as opened:
        return Size(opened.height, opened.width)


def painted(annotations: Annotations, image) -> np.ndarray:
    """Class ids of an image: 0 is the background if there is one, 255 is ignored."""
    names = list(annotations.class_names)
    if annotations.background != IGNORED:
        names.insert(0, annotations.background)
    number = {name: place for place, name in enumerate(names)} | {IGNORED: 255}
    size = size_of(image)
    label = np.full(size, number[annotations.background], np.uint8)
    if image.class_map is not None:
        for value, name in image.class_map.names.items():
            label[image.class_map.ids() == value] = number[name]
    for region in image.regions:
        label[region.mask(size)] = number[region.class_name]
    return label


def all_painted(annotations: Annotations) -> dict[str, np.ndarray]:
    return {image.name: painted(annotations, image) for image in annotations.images}

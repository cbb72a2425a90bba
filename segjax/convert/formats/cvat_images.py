"""CVAT's XML for images: shapes by image, with labels and colours in `<meta>`."""

import pathlib
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from segjax.convert.annotated import Annotated, Annotations, Options, Size, SourceFiles
from segjax.convert.cvat import MOST_TRIED, Labels, add_labels, documents, regions
from segjax.convert.documents import read_xml
from segjax.convert.image_files import each_image, image_name
from segjax.convert.layouts import split_of
from segjax.convert.outlines import numbers
from segjax.errors import InputError


@dataclass(frozen=True)
class CvatImages:
    """`<image>` elements, by name and subset; masks as CVAT's own export draws them."""

    name: str = "cvat"
    title: str = "CVAT XML for images"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns the name of the first of CVAT's files for images, or None."""
        found = list(documents(files, "image", most=MOST_TRIED))
        return f"CVAT XML for images ({found[0].name})" if found else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns every image of the files, with its polygons, boxes, ellipses and masks.

        Raises:
          InputError: a file is not complete.
        """
        del options
        labels, elements = Labels(), []
        for path in documents(files, "image"):
            root = read_xml(path)
            add_labels(root, labels)
            elements += [(element, path) for element in root.iterfind("image")]
        images, problems = each_image(
            elements, lambda each: _image(each[0], each[1], labels, files)
        )
        return Annotations(
            images,
            labels.class_names,
            colours=labels.known_colours,
            notes=labels.notes(),
            problems=problems,
        )


def _image(
    element: Element, path: pathlib.Path, labels: Labels, files: SourceFiles
) -> Annotated:
    written, subset = element.get("name", ""), element.get("subset", "")
    where = f"{path}, image {written!r}"
    if not written:
        raise InputError(f"{path} has an <image> without a name: export it again.")
    folder = f"images/{subset}" if subset else "images"
    file = files.inside(f"{folder}/{written}", beside=path)
    sides = numbers([element.get("height", ""), element.get("width", "")], where=where)
    return Annotated(
        image=file,
        name=image_name(file, files),
        regions=regions(list(element), labels, where=where),
        size=Size(*map(int, sides)),
        split=split_of(subset),
        where=where,
    )


CVAT_IMAGES = CvatImages()

"""MIT LabelMe's XML: polygons and segments by image, in free words."""

import collections
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from segjax.convert import outlines
from segjax.convert.annotated import (
    IGNORED,
    Annotated,
    Annotations,
    Mask_HW,
    Options,
    Region,
    Size,
    SourceFiles,
)
from segjax.convert.documents import child_text, first_tag, read_xml
from segjax.convert.image_files import check_unique, image_name
from segjax.convert.layouts import split_of
from segjax.convert.outlines import Draw, numbers
from segjax.data.decode import decode
from segjax.errors import InputError


@dataclass(frozen=True)
class LabelmeXml:
    """Objects in the file's order, a part above the object that it belongs to.

    Polygons are drawn by COCO's rule. A segment covers the pixels of its mask file that are
    not zero in all channels. Deleted objects are left out.
    """

    name: str = "labelme-xml"
    title: str = "MIT LabelMe XML"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns how many LabelMe files there are, or None."""
        count = len(list(_files(files)))
        return f"{count} XML files of MIT LabelMe" if count else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns the image of every file.

        Raises:
          InputError: a file is not complete, an image or mask is missing, or a polygon cannot
            be used.
        """
        counts: collections.Counter = collections.Counter()
        names: set[str] = set()
        images = [_image(path, files, options, counts, names) for path in _files(files)]
        if not images:
            raise InputError(
                f"{files.root} has no XML of MIT LabelMe with an object: give the folder that "
                "holds Annotations/ and Images/."
            )
        check_unique(images)
        notes = tuple(text.format(n) for text, n in sorted(counts.items()) if n)
        return Annotations(images, tuple(sorted(names - {"background"})), notes=notes)


DELETED = "{} deleted objects are left out."
UNNAMED = "{} objects have no name: their pixels are ignored."


def _files(files: SourceFiles) -> Iterator[pathlib.Path]:
    for path in files.find(".xml"):
        if first_tag(path) == "annotation" and first_tag(path, "polygon", "segm", "bndbox") in (
            "polygon",
            "segm",
        ):
            yield path


def _image(
    path: pathlib.Path,
    files: SourceFiles,
    options: Options,
    counts: collections.Counter,
    names: set[str],
) -> Annotated:
    root = read_xml(path)
    folder, filename = child_text(root, "folder"), child_text(root, "filename")
    if not filename:
        raise InputError(f"{path} has no <filename>: write the name of its image there.")
    image = files.inside(f"Images/{folder}/{filename}" if folder else filename, beside=path)
    regions = []
    for place, element in enumerate(_wholes_first(root.findall("object"))):
        number = child_text(element, "id", str(place))
        where = f"{path}, object {number}"
        if child_text(element, "deleted") == "1":
            counts[DELETED] += 1
            continue
        name = child_text(element, "name", IGNORED)
        counts[UNNAMED] += name == IGNORED
        names |= {name} - {IGNORED}
        draw = _drawing(element, files, path, folder, where)
        regions.append(Region(name, draw, instance=number, where=f"object {number}"))
    return Annotated(
        image=image,
        name=image_name(image, files, options),
        regions=regions,
        size=_size(root, path),
        split=split_of(folder.rpartition("/")[2]),
        where=str(path),
    )


def _wholes_first(elements: list[Element]) -> list[Element]:
    """Returns the objects in their order, but each part behind the object it belongs to."""
    by_id = {child_text(e, "id", str(place)): e for place, e in enumerate(elements)}

    def depth(element: Element) -> int:
        passed = set()
        while (whole := child_text(element, "parts/ispartof")) in by_id and whole not in passed:
            passed.add(whole)
            element = by_id[whole]
        return len(passed)

    return sorted(elements, key=depth)


def _drawing(
    element: Element, files: SourceFiles, path: pathlib.Path, folder: str, where: str
) -> Draw:
    polygon = element.find("polygon")
    if polygon is not None:
        texts = [child_text(pt, axis, "?") for pt in polygon.iterfind("pt") for axis in "xy"]
        return outlines.polygon(numbers(texts, where=where), where=where)
    written = child_text(element, "segm/mask")
    if not written:
        raise InputError(
            f"{where} has neither a polygon nor a mask: draw it, or delete the object."
        )
    return _segment(files.inside(f"Masks/{folder}/{written}", beside=path), where)


def _segment(mask: pathlib.Path, where: str) -> Draw:
    def draw(size: Size) -> Mask_HW:
        covered = _covered(mask)
        if covered.shape != tuple(size):
            height, width = covered.shape
            raise InputError(
                f"{where}: its mask {mask} has {width} x {height} pixels, and the image "
                f"{size.width} x {size.height}: export the mask again."
            )
        return covered

    return draw


def _covered(mask: pathlib.Path) -> Mask_HW:
    array = np.asarray(decode(mask).image)
    return array.any(-1) if array.ndim == 3 else array > 0


def _size(root: Element, path: pathlib.Path) -> Size | None:
    sides = [child_text(root, f"imagesize/{name}") for name in ("nrows", "ncols")]
    if not all(sides):
        return None
    height, width = numbers(sides, where=f"{path}, imagesize,")
    return Size(int(height), int(width)) if height and width else None


LABELME_XML = LabelmeXml()

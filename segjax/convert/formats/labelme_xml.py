"""MIT LabelMe's XML: polygons and segments by image, in free words."""

import collections
import itertools
import pathlib
from collections.abc import Callable, Iterator
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
from segjax.convert.image_files import each_image, image_name
from segjax.convert.layouts import split_of
from segjax.convert.outlines import Bounds, numbers
from segjax.data.decode import decode
from segjax.data.images import turned
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
        """Returns the first of LabelMe's files in words, or None."""
        found = next(_files(files, most=MOST_TRIED), None)
        return f"XML files of MIT LabelMe, such as {found.name}" if found else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns the image of every file."""
        del options
        counts: collections.Counter = collections.Counter()
        names: set[str] = set()
        images, problems = each_image(
            _files(files), lambda path: _image(path, files, counts, names)
        )
        notes = tuple(text.format(n) for text, n in sorted(counts.items()) if n)
        return Annotations(
            images, tuple(sorted(names - {"background"})), notes=notes, problems=problems
        )


Draw = Callable[[Size], Mask_HW]

MOST_TRIED = 50
"""XML files that are looked into before a source counts as another format's."""

DELETED = "deleted objects are left out: {}"
UNNAMED = "pixels of objects without a name are ignored: {}"


def _files(files: SourceFiles, *, most: int | None = None) -> Iterator[pathlib.Path]:
    for path in itertools.islice(files.find(".xml"), most):
        if first_tag(path) == "annotation" and first_tag(path, "polygon", "segm", "bndbox") in (
            "polygon",
            "segm",
        ):
            yield path


def _image(
    path: pathlib.Path,
    files: SourceFiles,
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
        number = child_text(element, "id", default=str(place))
        where = f"{path}, object {number}"
        if child_text(element, "deleted") == "1":
            counts[DELETED] += 1
            continue
        name = child_text(element, "name", default=IGNORED)
        counts[UNNAMED] += name == IGNORED
        names |= {name} - {IGNORED}
        draw, bounds = _drawing(element, files, path, folder, where)
        regions.append(Region(name, draw, instance=number, where=where, bounds=bounds))
    return Annotated(
        image=image,
        name=image_name(image, files),
        regions=regions,
        size=_size(root, path),
        split=split_of(folder.rpartition("/")[2]),
        where=str(path),
    )


def _wholes_first(elements: list[Element]) -> list[Element]:
    """Returns the objects in their order, but each part behind the object it belongs to."""
    by_id = {child_text(e, "id", default=str(place)): e for place, e in enumerate(elements)}

    def depth(element: Element) -> int:
        passed = set()
        while (whole := child_text(element, "parts/ispartof")) in by_id and whole not in passed:
            passed.add(whole)
            element = by_id[whole]
        return len(passed)

    return sorted(elements, key=depth)


def _drawing(
    element: Element, files: SourceFiles, path: pathlib.Path, folder: str, where: str
) -> tuple[Draw, Bounds | None]:
    polygon = element.find("polygon")
    if polygon is not None:
        texts = [
            child_text(pt, axis, default="?") for pt in polygon.iterfind("pt") for axis in "xy"
        ]
        outline = outlines.polygon(numbers(texts, where=where), where=where)
        return outline.draw, outline.bounds
    written = child_text(element, "segm/mask")
    if not written:
        raise InputError(
            f"{where} has neither a polygon nor a mask: draw it, or delete the object."
        )
    mask = files.inside(f"Masks/{folder}/{written}", beside=path)
    return lambda _: _covered(mask), None


def _covered(mask: pathlib.Path) -> Mask_HW:
    array = np.atleast_3d(np.asarray(turned(decode(mask).image)))
    return np.any(array != 0, axis=-1)


def _size(root: Element, path: pathlib.Path) -> Size | None:
    sides = [child_text(root, f"imagesize/{name}") for name in ("nrows", "ncols")]
    if not all(sides):
        return None
    height, width = numbers(sides, where=f"{path}, imagesize,")
    return Size(int(height), int(width)) if height and width else None


LABELME_XML = LabelmeXml()

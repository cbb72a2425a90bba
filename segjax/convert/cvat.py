"""What CVAT's XML files for images and for videos share: labels and shapes."""

import collections
import itertools
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

import numpy as np

from segjax.convert import outlines
from segjax.convert.annotated import IGNORED, Region, SourceFiles
from segjax.convert.documents import child_text, first_tag
from segjax.convert.layouts import near_class
from segjax.convert.outlines import Outline, numbers
from segjax.errors import InputError

AREAS = ("polygon", "box", "ellipse", "mask")
WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")

BACKGROUND = "background"

MOST_TRIED = 50
"""XML files that are looked into before a source counts as another format's."""

_LENGTH = re.compile(r"[0-9]{1,15}")


@dataclass
class Labels:
    """The labels of a source's files, and what its notes count.

    Attributes:
      colours: {label: its colour or None}, in the order of the files.
      left_out: {kind of shape without an area: how many}.
      unlabelled: how many shapes have no label.
    """

    colours: dict[str, tuple[int, int, int] | None] = field(default_factory=dict)
    left_out: collections.Counter = field(default_factory=collections.Counter)
    unlabelled: int = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """All labels but the background, which is class 0 by itself."""
        return tuple(name for name in self.colours if name != BACKGROUND)

    @property
    def known_colours(self) -> dict[str, tuple[int, int, int]]:
        """The colours of labels that have one."""
        return {name: colour for name, colour in self.colours.items() if colour is not None}

    def notes(self) -> tuple[str, ...]:
        """Returns a line each about shapes that were left out or have no label."""
        lines = []
        if self.left_out:
            kinds = [f"{count} {kind}" for kind, count in sorted(self.left_out.items())]
            lines.append(f"shapes without an area are left out: {', '.join(kinds)}")
        if self.unlabelled:
            lines.append(f"pixels of shapes without a label are ignored: {self.unlabelled}")
        return tuple(lines)


def documents(
    files: SourceFiles, first: str, *, most: int | None = None
) -> Iterator[pathlib.Path]:
    """Yields CVAT's files whose first image or track is a `first`, among the `most` first."""
    for path in itertools.islice(files.find(".xml"), most):
        if first_tag(path) == "annotations" and first_tag(path, "image", "track") == first:
            yield path


def add_labels(root: Element, labels: Labels) -> None:
    """Adds the labels that a file's `meta` declares, in their order, to those of others."""
    for element in root.iterfind("meta/*/labels/label"):
        name, colour = child_text(element, "name"), child_text(element, "color")
        if name and labels.colours.get(name) is None:
            labels.colours[name] = _colour(colour)


def regions(shapes: Iterable[Element], labels: Labels, *, where: str) -> list[Region]:
    """Returns the shapes that have an area, those of the lowest `z_order` first.

    Shapes of one label and one `track_id` or `group_id` are one object.

    Raises:
      InputError: a shape has coordinates or a label that cannot be used.
    """
    found = []
    for number, shape in enumerate(shapes, 1):
        if shape.tag in WITHOUT_AREA:
            labels.left_out[shape.tag] += 1
        if shape.tag not in AREAS:
            continue
        place = f"{where}, {shape.tag} {number}"
        name = _class_name(shape.get("label", ""), labels, place)
        order = _whole(shape.attrib, "z_order", place, default=0)
        instance = _instance(shape, number)
        drawn = outline(shape, place)
        region = Region(name, drawn.draw, instance=instance, where=place, bounds=drawn.bounds)
        found.append((order, region))
    return [region for _, region in sorted(found, key=lambda pair: pair[0])]


def _instance(shape: Element, number: int) -> str:
    for key in ("track_id", "group_id"):
        if (value := shape.get(key, "0")) not in ("", "0"):
            return f"{key} {value} {shape.get('label', '')}"
    return f"shape {number}"


def _class_name(name: str, labels: Labels, where: str) -> str:
    if not name.strip():
        labels.unlabelled += 1
        return IGNORED
    if name not in labels.colours:
        near = near_class(name, tuple(labels.colours))
        raise InputError(
            f"{where} has the label {name!r}, which is not among the labels of the file's "
            f"<meta>{near}: correct it, or add the label there."
        )
    return name


def outline(shape: Element, where: str) -> Outline:
    """Returns the outline of a shape, as CVAT's own export of masks draws it: by COCO's rule.

    Raises:
      InputError: a coordinate is missing or cannot be used.
    """
    if shape.tag == "polygon":
        return outlines.polygon(points(shape, where), where=where)
    if shape.tag == "mask":
        return run_lengths(shape, where)
    degrees = numbers([shape.get("rotation", "0")], where=where)[0]
    if shape.tag == "box":
        sides = _attributes(shape, ("xtl", "ytl", "xbr", "ybr"), where)
        return outlines.box(*sides, degrees=degrees, where=where)
    axes = _attributes(shape, ("cx", "cy", "rx", "ry"), where)
    return outlines.ellipse(*axes, degrees=degrees, where=where)


def points(shape: Element, where: str) -> list[float]:
    """Returns x1, y1, x2, y2, … of a shape's `points`, written "x1,y1;x2,y2".

    Raises:
      InputError: one is not a finite number.
    """
    return numbers(shape.get("points", "").replace(";", ",").strip(",").split(","), where=where)


def run_lengths(shape: Element, where: str) -> Outline:
    """Returns the mask of an `rle`: lengths of runs outside and inside by turns, by rows.

    Raises:
      InputError: lengths do not fill the mask's width and height.
    """
    left, top, width, height = (
        _whole(shape.attrib, name, where) for name in ("left", "top", "width", "height")
    )
    lengths = [_length(text, where) for text in shape.get("rle", "").split(",")]
    if width < 1 or height < 1 or sum(lengths) != width * height or min(lengths) < 0:
        raise InputError(
            f"{where} has runs of {sum(lengths)} pixels for {width} x {height}: export it "
            "again."
        )
    inside = np.arange(len(lengths)) % 2 == 1
    mask = np.repeat(inside, lengths).reshape(height, width)
    return outlines.pasted(mask, left=left, top=top)


def _length(text: str, where: str) -> int:
    """Returns the length of a run, which may be longer than any coordinate."""
    if not _LENGTH.fullmatch(text.strip()):
        raise InputError(
            f"{where} has the run {text!r}, not a number of pixels: export it again."
        )
    return int(text)


def _attributes(shape: Element, names: tuple[str, ...], where: str) -> list[float]:
    return numbers([_required(shape.attrib, name, where) for name in names], where=where)


def _whole(
    attributes: Mapping[str, str], name: str, where: str, *, default: int | None = None
) -> int:
    if default is not None and name not in attributes:
        return default
    return int(numbers([_required(attributes, name, where)], where=where)[0])


def _required(attributes: Mapping[str, str], name: str, where: str) -> str:
    if name not in attributes:
        raise InputError(f"{where} has no attribute {name!r}: export it again.")
    return attributes[name]


def _colour(text: str) -> tuple[int, int, int] | None:
    try:
        value = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        return None
    return (value[0], value[1], value[2]) if len(value) == 3 else None

"""VGG Image Annotator (VIA) 1 and 2: CSV, JSON, and saved projects."""

import csv
import io
import json
import math
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from segjax.convert import outlines
from segjax.convert.annotated import (
    IGNORED,
    Annotated,
    Annotations,
    Options,
    Region,
    SourceFiles,
)
from segjax.convert.documents import read_text
from segjax.convert.image_files import each_image, image_name
from segjax.convert.outlines import Outline, is_number, numbers
from segjax.data.names import nearest
from segjax.errors import InputError, first_of

COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
WITHOUT_AREA = ("polyline", "point")
ONE_CLASS = "object"
"""The class of all regions where regions have no attributes."""


class _Drawn(NamedTuple):
    shape: Mapping[str, Any]
    attributes: Mapping[str, Any]
    where: str


class _Image(NamedTuple):
    filename: str
    regions: list[_Drawn]
    where: str
    file: pathlib.Path


@dataclass(frozen=True)
class Via:
    """One attribute of the regions is their class: the only one, or that of `--attribute`.

    VIA's own export to COCO writes polygons, which COCO's rule draws; so it is used here.
    Polylines and points have no area and are left out.
    """

    name: str = "via"
    title: str = "VGG Image Annotator: CSV, JSON or project"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns the name of the first of VIA's files, or None."""
        found = next(_files(files), None)
        return f"VGG Image Annotator ({found.name})" if found else None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns every image of VIA's files.

        Raises:
          InputError: a file cannot be read, or regions have several attributes and none is
            chosen.
        """
        found: list[_Image] = []
        broken: list[str] = []
        for path in _files(files):
            if path.suffix.lower() == ".csv":
                found += _csv_images(path)
                continue
            for entry in (_entries(files.json(path)) or {}).values():
                try:
                    found.append(_image(entry, path))
                except InputError as error:
                    broken.append(str(error))
        if not found and not broken:
            raise InputError(
                f"{files.root} has no CSV or JSON of VGG Image Annotator 1 or 2 with an image: "
                "export the annotations again."
            )
        attribute = _attribute(found, options)
        labels = _Labels(attribute, _option_names(files, attribute))

        def image(entry: _Image) -> Annotated:
            file = files.inside(entry.filename, beside=entry.file)
            regions = list(labels.regions(entry))
            return Annotated(file, image_name(file, files), regions, where=entry.where)

        images, problems = each_image(found, image)
        return Annotations(
            images,
            tuple(sorted(labels.used)),
            notes=labels.notes(),
            problems=(*broken, *problems),
        )


def _files(files: SourceFiles) -> Iterator[pathlib.Path]:
    """Yields VIA's files: those with its columns, or with entries such as it writes."""
    for path in files.find(".csv"):
        with path.open("rb") as file:
            first = file.readline(1000).decode("utf-8-sig", errors="replace")
        if {*COLUMNS} <= {*first.strip().lstrip("#").split(",")}:
            yield path
    for path in files.find(".json"):
        try:
            entries = _entries(files.json(path))
        except InputError:
            continue
        if entries and all(
            isinstance(entry, dict) and {"filename", "regions"} <= entry.keys()
            for entry in entries.values()
        ):
            yield path


def _entries(data: Any) -> dict[str, Any] | None:
    if not isinstance(data, dict):
        return None
    entries = data.get("_via_img_metadata", data)
    return entries if isinstance(entries, dict) else None


def _image(entry: Mapping[str, Any], path: pathlib.Path) -> _Image:
    """Returns an entry of a JSON file.

    Raises:
      InputError: its regions are not as VIA writes them.
    """
    where = f"{path}, image {entry['filename']!r:.80}"
    regions = entry["regions"]
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(regions, list):
        raise InputError(f"{where} has no list of regions: export the annotations again.")
    drawn = []
    for number, region in enumerate(regions, 1):
        place = f"{where}, region {number}"
        found = region if isinstance(region, dict) else {}
        shape, attributes = (found.get(f"{of}_attributes") for of in ("shape", "region"))
        if not isinstance(shape, dict) or not isinstance(attributes, dict):
            raise InputError(
                f"{place} has no shape_attributes and region_attributes: export the "
                "annotations again."
            )
        drawn.append(_Drawn(shape, attributes, place))
    return _Image(str(entry["filename"]), drawn, where, path)


def _csv_images(path: pathlib.Path) -> list[_Image]:
    rows = csv.DictReader(io.StringIO(read_text(path).lstrip("#")))
    images: dict[str, _Image] = {}
    for row in _read(rows, path):
        where = f"{path}, line {rows.line_num}"
        name = row["filename"]
        image = images.setdefault(name, _Image(name, [], f"{path}, image {name!r}", path))
        shape = _object(row["region_shape_attributes"], where)
        if shape:
            image.regions.append(_Drawn(shape, _object(row["region_attributes"], where), where))
    return list(images.values())


def _read(rows: csv.DictReader, path: pathlib.Path) -> Iterator[Mapping[str, Any]]:
    try:
        yield from rows
    except csv.Error as error:  # Such as a field of more than 131072 characters.
        raise InputError(
            f"{path}, after line {rows.line_num}, cannot be read ({error}): export "
            "JSON instead."
        ) from None


def _object(text: str | None, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{where} has {text!r} where VIA writes JSON: export the CSV again.")
    return value


def _attribute(images: list[_Image], options: Options) -> str | None:
    """Returns the attribute that is the class: the chosen one or the only one.

    Raises:
      InputError: the chosen one is in no region, or there are several.
    """
    found = {
        name: None for image in images for drawn in image.regions for name in drawn.attributes
    }
    names, chosen = list(found), options.attribute
    if chosen is not None and chosen not in found:
        close = nearest(chosen, {name: name for name in names})
        near = f"; near: {close[0]!r}" if close else ""
        raise InputError(
            f"--attribute {chosen}: no region has this attribute{near}. Attributes are: "
            f"{first_of(names) or 'none'}."
        )
    if chosen is None and len(names) > 1:
        raise InputError(
            f"{images[0].file} has regions with {len(names)} attributes ({first_of(names)}): "
            "say which is the class with --attribute NAME."
        )
    return chosen or next(iter(names), None)


def _option_names(files: SourceFiles, attribute: str | None) -> Mapping[str, str]:
    """Returns what a project calls the options of an attribute, by what regions hold."""
    for path in files.find(".json"):
        data = files.json(path)
        if isinstance(data, dict) and attribute and "_via_attributes" in data:
            options = data
            for key in ("_via_attributes", "region", attribute, "options"):
                options = options.get(key) if isinstance(options, dict) else None
            named = options.items() if isinstance(options, dict) else ()
            return {key: str(text) for key, text in named if str(text).strip()}
    return {}


@dataclass
class _Labels:
    attribute: str | None
    option_names: Mapping[str, str]

    def __post_init__(self):
        self.used: set[str] = set()
        self.left_out = {kind: 0 for kind in WITHOUT_AREA}
        self.unlabelled = 0

    def regions(self, image: _Image) -> Iterator[Region]:
        """Yields an image's regions that have an area, and counts the others."""
        for number, drawn in enumerate(image.regions, 1):
            kind = drawn.shape.get("name")
            if isinstance(kind, str) and kind in WITHOUT_AREA:
                self.left_out[kind] += 1
                continue
            outline = _outline(drawn.shape, drawn.where)
            yield Region(
                self._class_name(drawn),
                outline.draw,
                instance=number,
                where=drawn.where,
                bounds=outline.bounds,
            )

    def _class_name(self, drawn: _Drawn) -> str:
        value: Any = ONE_CLASS
        if self.attribute is not None:
            value = drawn.attributes.get(self.attribute, "")
            if isinstance(value, dict):  # Boxes that are ticked.
                ticked = [name for name, is_ticked in value.items() if is_ticked]
                if len(ticked) > 1:
                    raise InputError(
                        f"{drawn.where} has {len(ticked)} values of {self.attribute!r} "
                        f"({first_of(ticked)}), and a region has one class: keep one of them."
                    )
                value = ticked[0] if ticked else ""
        name = self.option_names.get(str(value), str(value)).strip()
        if not name:
            self.unlabelled += 1
            return IGNORED
        self.used.add(name)
        return name

    def notes(self) -> tuple[str, ...]:
        """Returns a line each about the class and what was left out."""
        said = f"the class is the attribute {self.attribute!r}"
        if self.attribute is None:
            said = f"regions have no attributes: all are the class {ONE_CLASS!r}"
        lines, kinds = [said], [f"{n} {kind}" for kind, n in self.left_out.items() if n]
        if kinds:
            lines.append(f"regions without an area are left out: {', '.join(kinds)}")
        if self.unlabelled:
            lines.append(f"pixels of regions without a class are ignored: {self.unlabelled}")
        return tuple(lines)


def _outline(shape: Mapping[str, Any], where: str) -> Outline:
    kind = shape.get("name")
    if kind == "polygon":
        xs, ys = (_list(shape, f"all_points_{axis}", where) for axis in "xy")
        if len(xs) != len(ys):
            raise InputError(
                f"{where} has {len(xs)} x and {len(ys)} y coordinates: correct it, or "
                "delete it."
            )
        return outlines.polygon(
            [v for pair in zip(xs, ys, strict=True) for v in pair], where=where
        )
    if kind == "rect":
        x, y, width, height = _values(shape, ("x", "y", "width", "height"), where)
        return outlines.box(x, y, x + width, y + height, where=where)
    if kind == "circle":
        x, y, radius = _values(shape, ("cx", "cy", "r"), where)
        return outlines.ellipse(x, y, radius, radius, where=where)
    if kind == "ellipse":
        x, y, radius_x, radius_y = _values(shape, ("cx", "cy", "rx", "ry"), where)
        theta = _values(shape, ("theta",), where)[0] if "theta" in shape else 0.0
        return outlines.ellipse(
            x, y, radius_x, radius_y, degrees=math.degrees(theta), where=where
        )
    raise InputError(
        f"{where} has the shape {kind!r}, which VIA does not draw: correct it, or delete it."
    )


def _list(shape: Mapping[str, Any], name: str, where: str) -> list[float]:
    values = shape.get(name)
    if not isinstance(values, list):
        raise InputError(f"{where} has no list {name!r}: correct it, or delete it.")
    return _numbers(values, where)


def _values(shape: Mapping[str, Any], names: tuple[str, ...], where: str) -> list[float]:
    missing = [name for name in names if name not in shape]
    if missing:
        raise InputError(f"{where} has no {missing[0]!r}: correct it, or delete it.")
    return _numbers([shape[name] for name in names], where)


def _numbers(values: list, where: str) -> list[float]:
    for value in values:
        if not is_number(value):
            raise InputError(
                f"{where} has the coordinate {value!r:.40}, which is not a number: correct it, "
                "or delete the region."
            )
    return numbers(values, where=where)


VIA = Via()

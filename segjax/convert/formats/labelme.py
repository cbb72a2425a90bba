"""Labelme's JSON: one file an image, with shapes in the order in which they are painted."""

import base64
import binascii
import functools
import io
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from segjax.convert.annotated import (
    IGNORED,
    Annotated,
    Annotations,
    EmbeddedImage,
    Mask_HW,
    Options,
    Region,
    Size,
    SourceFiles,
)
from segjax.convert.formats.shapes import bounds_of, checked_points, drawn
from segjax.data.files import IMAGES
from segjax.data.lists import listed
from segjax.data.names import nearest
from segjax.errors import InputError, first_of

BACKGROUND = "background"
SPECIAL = {"__ignore__": IGNORED, "_background_": BACKGROUND}
"""Labels with a meaning of their own, in files and in labels.txt."""

SUFFIXES = {
    "/9j/": ".jpg",
    "iVBOR": ".png",
    "Qk": ".bmp",
    "R0lG": ".gif",
    "UklG": ".webp",
    "SUkq": ".tif",
    "TU0A": ".tif",
}
"""How the Base64 text of an image file begins, by its kind."""

MOST_TRIED = 50
"""JSON files that are looked into before a source counts as another format's."""


@dataclass(frozen=True)
class _Labelme:
    """The reader of Labelme's files.

    Classes are those of `--names`, or of `labels.txt` if the source has one, in that order;
    else the labels that occur, in alphabetical order. Shapes of one label and one `group_id`
    are one object.
    """

    name: str = "labelme"
    title: str = "Labelme JSON, one file an image"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns the first Labelme file in words, or None."""
        for path, _ in zip(files.find(".json"), range(MOST_TRIED), strict=False):
            if _looks_like_labelme(files, path):
                return f"Labelme files, such as {path.name}"
        return None

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns the images that have a Labelme file.

        Raises:
          InputError: labels.txt cannot be read.
        """
        names = _label_list(files, options)
        images, problems, others = [], [], []
        annotated_by: dict[pathlib.Path, pathlib.Path] = {}
        for path in files.find(".json"):
            try:
                contents = files.json(path)
                if not _is_labelme(contents):
                    others.append(path.name)
                    continue
                image = _image(files, path, contents, names)
                _check_once(image, path, annotated_by)
                images.append(image)
            except InputError as error:
                problems.append(str(error))
        found = {region.class_name for image in images for region in image.regions}
        return Annotations(
            images,
            names or tuple(sorted(found - {IGNORED, BACKGROUND})),
            background=BACKGROUND,
            notes=tuple(_notes(files, others, annotated_by)),
            problems=tuple(problems),
        )


LABELME = _Labelme()


def _looks_like_labelme(files: SourceFiles, path: pathlib.Path) -> bool:
    try:
        return _is_labelme(files.json(path))
    except InputError:  # Half of a file counts: reading it says what is wrong.
        head = path.read_bytes()
        return b'"shapes"' in head and (b'"version"' in head or b'"imagePath"' in head)


def _is_labelme(contents: Any) -> bool:
    return (
        isinstance(contents, dict)
        and isinstance(contents.get("shapes"), list)
        and ("imagePath" in contents or "imageData" in contents)
    )


def _label_list(files: SourceFiles, options: Options) -> tuple[str, ...] | None:
    """Returns the names of `--names`, or those of the one `labels.txt`, or None."""
    names = options.names
    found = [path for path in files.find(".txt") if path.name == "labels.txt"]
    if names is None and len(found) == 1:
        names = tuple(listed(found[0], str, what="label"))
    if names is None:
        return None
    return tuple(name for name in names if name not in (*SPECIAL, BACKGROUND))


def _image(
    files: SourceFiles,
    path: pathlib.Path,
    contents: Mapping[str, Any],
    names: Collection[str] | None,
) -> Annotated:
    picture = _picture(files, path, contents)
    return Annotated(
        image=picture,
        name=files.stem_of(picture if isinstance(picture, pathlib.Path) else path),
        regions=tuple(
            _region(shape, f"{path}, shape {number}", number, names)
            for number, shape in enumerate(contents["shapes"], 1)
        ),
        size=_size(contents),
        where=str(path),
    )


def _picture(
    files: SourceFiles, path: pathlib.Path, contents: Mapping[str, Any]
) -> pathlib.Path | EmbeddedImage:
    """Returns the image on disk, or the one in the file if there is no other."""
    data, named = contents.get("imageData"), contents.get("imagePath")
    try:
        if not isinstance(named, str) or not named:
            raise InputError(
                f"{path} has imagePath {named!r}: write the path of its image, relative to "
                "this file."
            )
        return files.inside(named, beside=path)
    except InputError:
        if not isinstance(data, str) or not data:
            raise
    kind = (suffix for start, suffix in SUFFIXES.items() if data.startswith(start))
    read = functools.partial(_embedded, files, path)
    return EmbeddedImage(read, next(kind, ".png"), f"{path} (its imageData)")


def _embedded(files: SourceFiles, path: pathlib.Path) -> bytes:
    # Parsed anew if need be, so that not all images stay in memory.
    try:
        return base64.b64decode(files.json(path)["imageData"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(
            f"{path} has an imageData that is not Base64 ({error}): put the image beside it."
        ) from None


def _size(contents: Mapping[str, Any]) -> Size | None:
    height, width = contents.get("imageHeight"), contents.get("imageWidth")
    if isinstance(height, int) and isinstance(width, int):
        return Size(height, width)
    return None


def _region(shape: Any, where: str, number: int, names: Collection[str] | None) -> Region:
    if not isinstance(shape, dict):
        raise InputError(f"{where} is {shape!r:.40}, not an object: write the file again.")
    label, kind = shape.get("label"), shape.get("shape_type") or "polygon"
    class_name = _class_name(label, where, names)
    group = shape.get("group_id")
    if kind == "mask":
        mask, bounds = _bitmap(shape, where)
    else:
        points = checked_points(shape.get("points"), kind, f"{where} ({label!r})")
        mask = functools.partial(drawn, kind=kind, points=points)
        bounds = bounds_of(points)
    # Numbers of shapes and of groups may be equal.
    instance = ("shape", number) if group is None else ("group", label, str(group))
    return Region(
        class_name,
        mask,
        instance=None if class_name in SPECIAL.values() else instance,
        where=where,
        bounds=bounds,
    )


def _class_name(label: Any, where: str, names: Collection[str] | None) -> str:
    if not isinstance(label, str) or not label.strip():
        raise InputError(f"{where} has the label {label!r}: give it the name of a class.")
    label = SPECIAL.get(label, label)
    if names is not None and label not in (*names, *SPECIAL.values()):
        close = nearest(label, {name: name for name in names})
        near = f" (near: {close[0]})" if close else ""
        raise InputError(
            f"{where} has the label {label!r}, which is not in the list of labels{near}: "
            "correct the label, or add it to labels.txt or --names."
        )
    return label


def _bitmap(
    shape: Mapping[str, Any], where: str
) -> tuple[Callable[[Size], Mask_HW], tuple[float, float, float, float]]:
    """Returns what draws a shape of the kind "mask": a small picture within its box."""
    corners = checked_points(shape.get("points"), "rectangle", where)
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in corners)
    data = shape.get("mask")
    try:
        if not isinstance(data, str):
            raise ValueError(f"it is {data!r:.40}")
        with Image.open(io.BytesIO(base64.b64decode(data)), formats=["PNG"]) as picture:
            pixels = np.asarray(picture) != 0
    except Exception as error:  # Decoders raise whatever broken data lead them to.
        reason = str(error).splitlines()[0] if str(error) else "broken"
        raise InputError(
            f"{where} has a mask that is not a PNG in Base64 ({reason}): draw it anew."
        ) from None
    if pixels.shape != (bottom - top + 1, right - left + 1):
        raise InputError(
            f"{where} has a mask of {pixels.shape[-1]}x{pixels.shape[0]} pixels in a box of "
            f"{right - left + 1}x{bottom - top + 1}: draw it anew."
        )
    paste = functools.partial(pasted, crop=pixels, left=left, top=top)
    return paste, (left, top, right, bottom)


def pasted(size: Size, *, crop: Mask_HW, left: int, top: int) -> Mask_HW:
    """Returns a mask with a small one at a place, cut off at the image's borders."""
    mask = np.zeros(size, bool)
    y, x = max(top, 0), max(left, 0)
    inside = crop[y - top : size.height - top, x - left : size.width - left]
    if inside.size and y < size.height and x < size.width:
        mask[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return mask


def _check_once(
    image: Annotated, path: pathlib.Path, annotated_by: dict[pathlib.Path, pathlib.Path]
) -> None:
    if not isinstance(image.image, pathlib.Path):
        return
    other = annotated_by.setdefault(image.image, path)
    if other != path:
        raise InputError(
            f"{path} annotates the image {image.image}, as {other} does: keep one of the two."
        )


def _notes(
    files: SourceFiles, others: list[str], annotated_by: Collection[pathlib.Path]
) -> Iterator[str]:
    if others:
        yield f"{len(others)} JSON files are not Labelme's and are left out: {first_of(others)}"
    left = [path.name for path in files.find(*IMAGES) if path not in annotated_by]
    if left:
        yield f"{len(left)} image files have no annotations and are left out: " + first_of(
            left, most=4
        )

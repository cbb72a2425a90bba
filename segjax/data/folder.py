"""Your own images and masks in a folder."""

import numbers
import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.data.colour_masks import MaskColours, check_mask_colours
from segjax.data.decode import DEFAULT_LIMIT, Limit
from segjax.data.drawn_objects import ObjectRule, check_broken_objects
from segjax.data.file_pattern import FilePattern
from segjax.data.files import IMAGES, IMAGES_BY_NAME, MASKS, MASKS_BY_NAME, existing_folder
from segjax.data.folder_files import Layout, check_no_splits, find_sources
from segjax.data.folder_objects import FolderObjects, check_object_fields, with_objects
from segjax.data.hold_out import SIDES, held_out_side
from segjax.data.image_files import DTYPES
from segjax.data.label_map import LabelMap, check_label_map
from segjax.data.lossy_masks import EXAMPLE, cuts_levels
from segjax.data.palette import check_colours, palette_of, voc_palette, voc_planes
from segjax.data.prepare import FileDataset
from segjax.data.source import Recipe, Source
from segjax.errors import InputError


@dataclass(frozen=True)
class Folder(FileDataset):
    """Images and masks in `directory`, which find each other by their names.

    Without further fields, the mask of `images/street/a.jpg` is `masks/street/a.png`. Other
    names are patterns, in which {stem} is the image's own name::

        Folder(image="raw/{stem}.tif", mask="labels/{stem}_mask.png", ...)
        Folder(image="{stem}.jpg", mask="{stem}.png", ...)                 in one folder
        Folder(image="{stem}/image.png", mask="{stem}/mask.png", ...)      a folder an image
        Folder(image="raw/{stem}.tif", mask="labels/m{stem:0>8}.png", ...)

    The last one reads `raw/7.tif` with `labels/m00000007.png`: behind the colon stand the
    character that fills, > for the front or < for the end, and the width. Sub-folders are part
    of the stem and come before the first part of the path that has {stem}: `raw/street/7.tif`
    has the mask `labels/street/m00000007.png`. A suffix counts in any case (`.tif`, `.TIF`);
    `.*` or none stands for any suffix that is read. `images` and `masks` are the names of
    folders whose files have equal names; `images="raw"` means `image="raw/{stem}.*"`.

    Without a split, every image counts. There are three ways to split a folder:

    * `split="train"` with a list of names, one a line, in `directory/train.txt` or
      `directory/splits/train.txt`. Lines that begin with # do not count. A name may have its
      suffix and folder. Lines of two columns, `images/a.jpg masks/a.png`, name the image and
      its mask, whatever the patterns say;
    * `split="train"` with the folders `images/train` and `masks/train`;
    * `held_out=0.2` with `split="train"` or `split="val"`: a hash of each image's name decides,
      so the folder stays as it is, and images added later move none of the others. About a
      fifth of the images are in "val": of 100 images usually 12 to 28. Give both splits the
      same share.
      All pages of one file are on one side. Frames of one video are not kept together: list
      them in `train.txt` and `val.txt` instead.

    A mask is an image of one channel, of equal channels, or with a palette (PNG, TIFF, BMP),
    or a grey GIF. Its stored samples, at any depth, are class ids in the order of
    `class_names`; 255 is ignored. `label_map` renames other ids, as pairs (id in the file,
    class id or 255). The first pair that fits decides; ids that no pair fits stay. Masks of
    0 and 255 are read with `label_map=((255, 1),)`, and ADE20K's with
    `((0, 255), (1, 0), (2, 1), …)`. A pair may also name a range: `((">127", 1), ("else", 0))`,
    `(("nonzero", 1),)`; others are ">=128", "<10", "<=9" and "10-20". Masks that store one
    white as 1 and another as 255 are refused unless the label map gives both the same class.

    Masks that are painted need `mask_colours`, pairs ((red, green, blue), class id or 255).
    Colours must be exact: an unknown one is refused. Black-and-white masks in JPEG files need
    a pattern that ends in .jpg and a threshold: `mask="masks/{stem}.jpg"` with
    `label_map=((">127", 1), ("else", 0))`.

    Images and masks are each turned as their own EXIF data say. Images become RGB
    (`channels=3`) or grey (`channels=1`) of 8 bits. Each page of a file (TIFF; moving pictures)
    is one example; image and mask must have equally many. Images above `max_megapixels` are
    refused. `colours` are for drawing: one (red, green, blue) a class; VOC's are the default.

    Other images are read as they are, without any conversion: `channels` may be any number of
    bands, and `image_dtype` "uint16" or "float32". All images must have this number and depth.
    A pattern that ends in .npy reads NumPy arrays, h w or h w c; masks too, h w or, with
    `planes=True`, h w k. TIFF files of several bands need tifffile (`segjax[tiff]`). A network
    sees 8 and 16 bits divided by 255 and 65535, and floats as they are.

    For classes that overlap (`tasks.multilabel`), a label has one plane a class, h w k, without
    background: 1 inside, 0 outside, 255 ignored. `label_map` renames ids to these three. Give
    one folder or one pattern a class::

        Folder(class_names=("disc", "cup"), masks=("disc", "cup"), label_map=((255, 1),))
        Folder(class_names=("disc", "cup"), mask=("masks/{stem}_disc.*", "masks/{stem}_cup.*"))

    or set `planes=True` where one file holds all planes: a channel a class (two to four of 8
    bits, alpha too), or a TIFF with a page a class. `masks=("masks/*_disc", "masks/*_cup")` is
    an older way to write the second line.

    With `objects`, examples have objects too (`segjax.objects`). It names a folder or a pattern
    of maps of ids, in which 0 is no object; an object has the class of its pixels in the mask.
    Or it names a COCO file, whose objects may overlap; its categories are `class_names`.
    `segjax.convert` writes both::

        Folder(objects="instances", ...)
        Folder(objects="instances.json", ...)
        Folder(masks="instances", label_map=(("nonzero", 1),), objects="instances", ...)

    The last one is for folders without masks, in which all objects are of class 1. The first
    class is the background, and objects of all others count. Where another class has no
    objects, such as the sky, name those that count: `thing_classes=("car", "person")`. An
    object without pixels, with several classes or with a box without area is an error;
    `broken_objects="drop"` leaves it out and says so.
    """

    split: str | None = None
    directory: str | None = None
    images: str = "images"
    masks: str | tuple[str, ...] = "masks"
    class_names: tuple[str, ...] = ()
    label_map: LabelMap = ()
    channels: int = 3
    colours: tuple[tuple[int, int, int], ...] | None = None
    max_megapixels: float = DEFAULT_LIMIT.megapixels
    planes: bool | None = None
    image: str | None = None
    mask: str | tuple[str, ...] | None = None
    held_out: float | None = None
    image_dtype: str = "uint8"
    mask_colours: MaskColours = ()
    objects: str | None = None
    thing_classes: tuple[str, ...] | None = None
    broken_objects: str | None = None

    def __post_init__(self):
        self._check_types()
        count = len(self.class_names)
        if not 1 <= count <= IGNORE:
            raise InputError(
                f"Folder needs class_names=('background', ...), 1 to 255 names, got {count}."
            )
        self._check_images()
        self._check_names()
        self._check_held_out()
        check_label_map(self.label_map, 2 if self.has_planes else count)
        self._check_mask_colours()
        self._check_lossy()
        self._check_objects()
        if not self.max_megapixels > 0:
            raise InputError(f"Folder needs max_megapixels > 0, got {self.max_megapixels}.")
        check_colours("Folder", self.colours, count)

    def _check_types(self) -> None:
        texts = lambda value: (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and all(isinstance(each, str) for each in value)
        )
        for field, is_right, example in (
            ("class_names", texts, "('background', 'object')"),
            ("split", lambda value: isinstance(value, str | None), "'train'"),
            (
                "directory",
                lambda value: isinstance(value, str | os.PathLike | None),
                "'my_data'",
            ),
            (
                "objects",
                lambda value: isinstance(value, str | None) and value != "",
                "'instances'",
            ),
            (
                "thing_classes",
                lambda value: value is None or texts(value) and len(value),
                "('car',)",
            ),
            ("images", lambda value: isinstance(value, str), "'images', the name of a folder"),
            ("max_megapixels", _is_number, "100"),
        ):
            if not is_right(value := getattr(self, field)):
                raise InputError(f"Folder has {field}={value!r}: write {field}={example}.")

    def _check_images(self) -> None:
        is_count = isinstance(self.channels, int) and not isinstance(self.channels, bool)
        if not is_count or self.channels < 1:
            raise InputError(
                f"Folder has channels={self.channels!r}: write channels=3 for RGB, 1 for grey, "
                "or the number of bands."
            )
        if self.image_dtype not in DTYPES:
            raise InputError(
                f"Folder has image_dtype={self.image_dtype!r}: write one of "
                f"{', '.join(map(repr, DTYPES))}."
            )

    def _check_mask_colours(self) -> None:
        check_mask_colours(self.mask_colours, len(self.class_names))
        other = "label_map" if self.label_map else "planes" if self.has_planes else None
        if self.mask_colours and other:
            raise InputError(
                f"Folder has mask_colours and {other}: colours lead to class ids directly, so "
                "keep one of the two."
            )

    def _check_names(self) -> None:
        for new, old, default in (("image", "images", "images"), ("mask", "masks", "masks")):
            pattern, folder = getattr(self, new), getattr(self, old)
            if pattern is not None and folder != default:
                raise InputError(
                    f"Folder has {new}={pattern!r} and {old}={folder!r}: keep one of the two."
                )
        if "*" in self.images:
            raise InputError(
                f"Folder has images={self.images!r}: {{stem}} stands for the image's name, as "
                'in image="images/{stem}_q.*". Sub-folders of a folder are read by themselves.'
            )
        if not isinstance(self.planes, bool | None):
            raise InputError(
                f"Folder has planes={self.planes!r}: write planes=True where one file holds "
                "all planes, or leave it out."
            )
        if self.mask is None and isinstance(self.masks, str):
            if "*" in self.masks and not self.planes:
                raise InputError(
                    f"Folder has masks={self.masks!r}: for masks of class ids write "
                    f'mask="{self.masks.replace("*", "{stem}")}"; for the plane of one class, '
                    f'masks=("{self.masks}",).'
                )
        elif self.mask is None or not isinstance(self.mask, str):
            self._check_pattern_a_class()
        if any(self._image.overlaps(mask) for mask in self._masks):
            raise InputError(
                f"Folder has the same names for images and masks, {_shown(self._image)}: name "
                'other files for one of them, as image="{stem}.jpg" and mask="{stem}.png" do.'
            )

    def _check_lossy(self) -> None:
        lossy = {".jpg", ".jpeg"}
        named = [mask.text for mask in self._masks if lossy.intersection(mask.suffixes)]
        if named and not cuts_levels(self.label_map):
            raise InputError(
                f"Folder has masks {named[0]}, but JPEG changes class ids: if they are black "
                f"and white, set {EXAMPLE}; if not, make them again without loss, as PNG."
            )

    def _check_objects(self) -> None:
        check_broken_objects("Folder", self.broken_objects, has_objects=bool(self.objects))
        check_object_fields(
            self.objects, self.thing_classes, self.class_names, planes=self.has_planes
        )

    def _check_pattern_a_class(self) -> None:
        field, masks = ("masks", self.masks) if self.mask is None else ("mask", self.mask)
        if not isinstance(masks, Sequence) or not all(isinstance(each, str) for each in masks):
            raise InputError(
                f'Folder has {field}={masks!r}: write masks="masks", the name of a folder, '
                'mask="labels/{stem}_mask.png", a pattern, or a tuple with one a class.'
            )
        if self.planes is not None:
            raise InputError(
                f"Folder has one folder or pattern a class, {field}={masks!r}, and "
                f"planes={self.planes}: leave planes out, or name one folder or pattern alone."
            )
        if len(masks) != len(self.class_names):
            raise InputError(
                f"Folder has {len(masks)} {field} for {len(self.class_names)} class(es): name "
                "one folder or pattern a class."
            )
        if len(set(self._masks)) < len(masks):
            raise InputError(
                f"Folder has {field}={masks!r}, which gives two classes the same masks: name "
                "another folder or pattern for one of them."
            )

    def _check_held_out(self) -> None:
        if self.held_out is None:
            return
        if not _is_number(self.held_out) or not 0 < self.held_out < 1:
            raise InputError(
                f"Folder has held_out={self.held_out!r}: give the share of the images that "
                "split='val' takes, between 0 and 1, such as 0.2."
            )
        if self.split not in SIDES:
            raise InputError(
                f"Folder has held_out={self.held_out} and split={self.split!r}: set "
                "split='train' for the images to train on, split='val' for those held out."
            )

    @property
    def _image(self) -> FilePattern:
        if self.image is None:
            return FilePattern.of_folder(self.images, IMAGES)
        return FilePattern.of(self.image, IMAGES, field="image", named=IMAGES_BY_NAME)

    @property
    def _masks(self) -> tuple[FilePattern, ...]:
        """One pattern, or one a class."""
        given = self.masks if self.mask is None else self.mask
        given = (given,) if isinstance(given, str) else given
        if self.mask is None:
            return tuple(FilePattern.of_folder(each, MASKS) for each in given)
        return tuple(
            FilePattern.of(each, MASKS, field="mask", named=MASKS_BY_NAME) for each in given
        )

    @property
    def has_planes(self) -> bool:
        """Whether a label has a plane a class, h w k."""
        masks = self.masks if self.mask is None else self.mask
        return bool(self.planes) or not isinstance(masks, str)

    @property
    def things(self) -> tuple[int, ...]:
        """The ids of `thing_classes`, by default all but 0; () without `objects`."""
        if self.objects is None:
            return ()
        if self.thing_classes is None:
            return tuple(range(1, len(self.class_names)))
        return tuple(sorted({*map(self.class_names.index, self.thing_classes)}))

    @property
    def _object_files(self) -> FolderObjects:
        assert self.objects is not None
        only = None if self.thing_classes is None else self.things
        return FolderObjects(self.objects, tuple(self.class_names), only, self._limit)

    @property
    def _limit(self) -> Limit:
        return Limit(self.max_megapixels, "Folder(max_megapixels={})")

    @property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """`colours`, or VOC's."""
        if self.colours is not None:
            return palette_of(self.colours)
        return voc_planes(len(self.class_names)) if self.has_planes else voc_palette()

    def shares_images_with(self, other: "Folder") -> bool:
        """Returns whether `held_out` may put images of one folder into both.

        That is so where "val" has a larger share than "train": the images between the two
        shares are in both. No file is read.
        """
        if self.held_out is None or other.held_out is None or self.split == other.split:
            return False
        val, train = (self, other) if self.split == "val" else (other, self)
        assert val.held_out is not None and train.held_out is not None
        return (
            float(val.held_out) > float(train.held_out)
            and self._image.overlaps(other._image)
            and _place_of(self.directory) == _place_of(other.directory)
        )

    def _recipe(self) -> Recipe:
        return Recipe(
            "folder" if self.split is None else f"folder-{pathlib.PurePath(self.split).name}",
            num_classes=len(self.class_names),
            channels=self.channels,
            label_map=self.label_map,
            limit=self._limit,
            planes=self.has_planes,
            image_dtype=self.image_dtype,
            mask_colours=self.mask_colours,
            objects=ObjectRule(self.things, self.broken_objects or "refuse")
            if self.objects
            else None,
        )

    def _sources(self) -> list[Source]:
        sources = self._pairs()
        if self.objects is None:
            return sources
        root = existing_folder(self.directory, "Folder", self.objects)
        return with_objects(sources, self._object_files, root=root, split=self.split)

    def _pairs(self) -> list[Source]:
        places = [_shown(pattern) for pattern in (self._image, *self._masks)]
        root = existing_folder(self.directory, "Folder", " and ".join(places))
        of_objects = self.objects and self._object_files.pattern
        others = (of_objects,) if of_objects else ()
        layout = Layout(root, self._image, self._masks, self.split, others)
        if self.held_out is None:
            return find_sources(layout)
        check_no_splits(layout)
        assert self.split is not None
        return held_out_side(
            find_sources(layout._replace(split=None)),
            self.split,
            self.held_out,
            name=lambda source: source.name,
            what=str(root),
        )


def _shown(pattern: FilePattern) -> str:
    """Returns what a folder must hold, in words."""
    return f"{pattern.folder}/" if pattern.is_plain else f"{pattern.folder}/{pattern.text}"


def _place_of(directory: str | None) -> pathlib.Path | None:
    return None if directory is None else pathlib.Path(directory).expanduser().resolve()


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)

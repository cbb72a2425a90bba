"""What a reader of an annotation format returns: images with named regions."""

import pathlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Integer

Mask_HW = Bool[np.ndarray, "h w"]

IGNORED = "__ignore__"
"""The class name of regions whose pixels become 255."""


class Size(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int


@dataclass(frozen=True)
class EmbeddedImage:
    """An image that an annotation file itself holds.

    Attributes:
      contents: returns the bytes of the image file.
      suffix: of the file that is written, such as ".png".
      where: the annotation file.
    """

    contents: Callable[[], bytes]
    suffix: str
    where: str = ""


@dataclass(frozen=True)
class Region:
    """Pixels of one class: a drawn object, or one part of it.

    Attributes:
      class_name: as the source writes it, or `IGNORED`.
      mask: draws the region for an image of this size; it is called once, when it is painted.
        It may raise an InputError, which counts for this image alone.
      instance: regions of an image that share it are one object; None: no object of its own,
        such as sky.
      is_crowd: whether it covers several objects that are not told apart.
      where: what names the region in messages, such as "annotation 17".
      bounds: left, top, right and bottom of its coordinates, if it has any. What lies outside
        the image is cut off and counted in the summary.
    """

    class_name: str
    mask: Callable[[Size], Mask_HW]
    instance: Hashable | None = None
    is_crowd: bool = False
    where: str = ""
    bounds: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class ClassMap:
    """A map of ids, as mask files hold it, and the class of each id.

    Attributes:
      ids: reads the map, h w.
      names: {id: class name or `IGNORED`}.
      where: the file.
    """

    ids: Callable[[], Integer[np.ndarray, "h w"]]
    names: Mapping[int, str]
    where: str = ""


@dataclass(frozen=True)
class Annotated:
    """One image and what its annotations say.

    Attributes:
      image: the file, which lies inside the source's folder or the folder of `--images`; or
        the image itself.
      name: path of the image within the result, without suffix, such as "street/0001"; no two
        images of a source have the same (`SourceFiles.stem_of` makes it).
      regions: in the order of painting; a later one covers those before it.
      class_map: painted below all regions, if there is one.
      size: of the image, if the annotations say it; it is compared with the file's (turned
        as its EXIF data say).
      split: where the source itself puts the image: "train", "val", "test", or None.
      where: what names the annotations in messages: the file, and the place in it.
    """

    image: pathlib.Path | EmbeddedImage
    name: str
    regions: Sequence[Region] = ()
    class_map: ClassMap | None = None
    size: Size | None = None
    split: str | None = None
    where: str = ""


@dataclass(frozen=True)
class Annotations:
    """All that one source holds.

    Attributes:
      images: every image that counts as annotated, also those without any region.
      class_names: in the order of their ids, without background and `IGNORED`; all names that
        regions use are among them.
      background: the name of the class of pixels that nothing covers, which becomes class 0;
        `IGNORED`: they become 255, where a source says the class of every pixel it knows.
      colours: {class name: (r, g, b)}, as far as the source has any.
      has_planes: whether classes may overlap: each gets a mask of its own.
      notes: one line each about what a user should know, such as objects without an outline.
      problems: one line each about an image that cannot be used (file, value, remedy). The
        first one is an error; with `--skip-errors` these images are left out.
    """

    images: Sequence[Annotated]
    class_names: tuple[str, ...]
    background: str = "background"
    colours: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    has_planes: bool = False
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """What a user says about a source, as far as readers need it.

    Attributes:
      images: a folder with the images, if they do not lie where the annotations say;
        `SourceFiles` looks for files there too.
      names: class names by id, for masks that do not name their classes.
      values: the text of a table of grey values, "0:background,128:membrane,*:ignore".
      colours: a file with a table of colours.
      crowds: what a region becomes that covers several objects at once: "ignore" (255) or
        "class" (the class of these objects).
      attribute: the attribute of regions that is their class, where they have several.
    """

    images: pathlib.Path | None = None
    names: tuple[str, ...] | None = None
    values: str | None = None
    colours: pathlib.Path | None = None
    crowds: str = "ignore"
    attribute: str | None = None


class SourceFiles(Protocol):
    """The files below a source's folder and below that of `--images`; no others are opened."""

    @property
    def root(self) -> pathlib.Path:
        """The source's folder, as an absolute path."""
        ...

    def find(self, *suffixes: str) -> Iterator[pathlib.Path]:
        """Returns the files with these suffixes (lower case, with dot), sorted by path.

        Those of the source come first, then those below the folder of `--images`.
        """
        ...

    def inside(self, path: str, *, beside: pathlib.Path) -> pathlib.Path:
        """Returns the file that a path written in the file `beside` means.

        Backslashes separate folders too. A path that leads elsewhere (absolute, of another
        machine, or out of the root) is looked up by its longest tail that lies inside.

        Raises:
          InputError: no such file inside the root, or several; names both and the remedy.
        """
        ...

    def stem_of(self, path: pathlib.Path) -> str:
        """Returns a file's path below the source's folder, "/" between, without suffix."""
        ...

    def json(self, path: pathlib.Path) -> Any:
        """Returns the contents of a JSON file; small files are parsed once.

        Raises:
          InputError: the file is not JSON; names file, line and column.
        """
        ...


class Format(Protocol):
    """A reader: a module-level object in `formats/`, listed in `formats/table.py`."""

    @property
    def name(self) -> str:
        """The value of `--format`, such as "labelme"."""
        ...

    @property
    def title(self) -> str:
        """The format in words, such as "Labelme JSON, one file an image"."""
        ...

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns what gives the format away, such as "3 Labelme files", or None."""
        ...

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns what the source holds. Masks are drawn later, one image at a time.

        Raises:
          InputError: something in it cannot be used; names file, value and remedy.
        """
        ...

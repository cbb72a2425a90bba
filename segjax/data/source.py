"""Where an example's files lie, and how all of a dataset are prepared."""

import pathlib
from dataclasses import dataclass

from segjax.data.colour_masks import MaskColours
from segjax.data.decode import DEFAULT_LIMIT, Limit
from segjax.data.drawn_objects import MadeObjects, ObjectRule
from segjax.data.image_files import ImageKind
from segjax.data.label_map import LabelMap
from segjax.data.made_masks import MadeMask
from segjax.data.mask_files import LabelKind


@dataclass(frozen=True)
class Source:
    """An image file and its mask before preparation: one example, or one a page.

    `label` is one file, or several, one for each class's plane, or says how it is made.
    `objects` says how its objects are made, if the dataset has objects.
    """

    name: str
    image: pathlib.Path
    label: pathlib.Path | tuple[pathlib.Path, ...] | MadeMask
    objects: MadeObjects | None = None

    @property
    def masks(self) -> tuple[pathlib.Path, ...]:
        """The file or files of the label; none if it is made from what has no file a label."""
        if isinstance(self.label, MadeMask):
            return self.label.files
        return self.label if isinstance(self.label, tuple) else (self.label,)

    @property
    def mask_name(self) -> str:
        """What names the label in messages."""
        return self.label.where if isinstance(self.label, MadeMask) else str(self.masks[0])

    @property
    def files(self) -> tuple[pathlib.Path, ...]:
        """All of them once, the image's first."""
        objects = () if self.objects is None else self.objects.files
        return (self.image, *dict.fromkeys((*self.masks, *objects)))


@dataclass(frozen=True)
class Recipe:
    """How sources are prepared: everything that decides the contents of the prepared folder.

    `name` is the dataset and its split, such as "camvid-train". The name of the cache's folder
    begins with it, so it has only letters, digits and hyphens. `channels` and `image_dtype` are
    those of images. With `planes`, a label has one plane a class. `mask_colours` says what
    colours mean where masks are painted. `limit` decides which images are refused; it does not
    change the contents. `objects` says which objects examples have, if they have any.
    """

    name: str
    num_classes: int
    channels: int = 3
    label_map: LabelMap = ()
    limit: Limit = DEFAULT_LIMIT
    planes: bool = False
    image_dtype: str = "uint8"
    mask_colours: MaskColours = ()
    objects: ObjectRule | None = None

    @property
    def image_kind(self) -> ImageKind:
        """What the images are."""
        return ImageKind(self.channels, self.image_dtype, self.limit)

    @property
    def label_kind(self) -> LabelKind:
        """What the masks hold."""
        return LabelKind(
            self.num_classes, self.label_map, self.planes, self.mask_colours, self.limit
        )

"""COCO's object instances: polygons and run lengths in one JSON file for many images.

Also what others write in this form: Roboflow (`train/_annotations.coco.json` beside the
images), mmdetection, CVAT, EISeg, and `predict --coco`.
"""

from dataclasses import dataclass

from segjax.convert.annotated import Annotations, Options, SourceFiles
from segjax.convert.coco_annotations import read_objects, sign_of


@dataclass(frozen=True)
class CocoInstances:
    """The reader of objects."""

    name: str = "coco"
    title: str = "COCO JSON with outlines of objects (polygons, RLE)"

    def recognize(self, files: SourceFiles) -> str | None:
        """Returns which JSON file gives the format away, or None."""
        return sign_of(files, "instances", "COCO objects")

    def read(self, files: SourceFiles, options: Options) -> Annotations:
        """Returns images and their objects; what no object covers is background.

        Raises:
          InputError: a file or an image cannot be used.
        """
        return read_objects(files, options, "instances", background="background")


COCO_INSTANCES = CocoInstances()

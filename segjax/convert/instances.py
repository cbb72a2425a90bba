"""`instances.json`: the objects of all images in COCO's form, with the mask of each as RLE."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
from pycocotools import mask as coco_mask

from segjax.convert.annotated import Size
from segjax.convert.painting import Painted


def image_entries(
    painted: Painted, size: Size, *, image_id: int, first_id: int
) -> Iterator[str]:
    """Yields a COCO annotation, as JSON, for each object of an image.

    `category_id` is the class id, `instance_id` the value in `instances/<name>.png`. The mask
    is the whole object, also where another one covers it.
    """
    for place, each in enumerate(painted.objects):
        rle = coco_mask.encode(np.asfortranarray(each.mask(size), np.uint8))
        yield json.dumps(
            {
                "id": first_id + place,
                "image_id": image_id,
                "category_id": each.class_id,
                "instance_id": each.id,
                "segmentation": {
                    "size": [size.height, size.width],
                    "counts": str(rle["counts"], "ascii"),  # pyright: ignore (bytes)
                },
                "area": int(coco_mask.area(rle)),
                "bbox": [float(side) for side in coco_mask.toBbox(rle)],
                "iscrowd": int(each.is_crowd),
            }
        )


def document(
    images: Sequence[dict], annotations: Sequence[str], class_names: Sequence[str]
) -> str:
    """Returns the text of `instances.json`, an image and an annotation a line."""
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names)]
    lists = {
        "images": [json.dumps(each) for each in images],
        "annotations": annotations,
        "categories": [json.dumps(each) for each in categories],
    }
    parts = (f'"{name}": [\n' + ",\n".join(lines) + "\n]" for name, lines in lists.items())
    return "{" + ",\n".join(parts) + "}\n"

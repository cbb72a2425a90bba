"""True objects with crowds, and predictions made of them: shifted, dropped, misnamed."""

import json

import numpy as np
from pycocotools import mask as coco_mask

from segjax.objects import Objects, encoded


def truth(seed: int, *, count: int = 8, size=(60, 80), classes: int = 4) -> Objects:
    """Ellipses of classes 1, 2, …; one in eight is a crowd."""
    rng = np.random.default_rng([seed, count])
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks, boxes = [], []
    for _ in range(count):
        y, x = rng.uniform(5, size[0] - 5), rng.uniform(5, size[1] - 5)
        a, b = rng.uniform(2, 25, 2)
        mask = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1
        there_y, there_x = np.nonzero(mask)
        boxes.append([there_x.min(), there_y.min(), there_x.max() + 1, there_y.max() + 1])
        masks.append(encoded(mask))
    return Objects(
        size,
        np.array(boxes, np.float32).reshape(-1, 4),
        rng.integers(1, classes + 1, count).astype(np.int32),
        np.ones(count, np.float32),
        rng.random(count) < 1 / 8,
        tuple(masks),
    )


def prediction(true: Objects, rng, *, classes: int = 4) -> Objects:
    """Of a few objects none, of others two; scores have two decimals, so there are ties."""
    places = [i for i in range(len(true)) if rng.random() < 0.85]
    places += [i for i in places if rng.random() < 0.3]
    masks, boxes, found = [], [], []
    for i in places:
        dy, dx = rng.integers(-3, 4, 2)
        masks.append(encoded(np.roll(true.mask(i), (dy, dx), (0, 1))))
        # Not whole numbers, whose IoU may be a threshold: there the last bit would decide.
        noise = rng.uniform(-0.4, 0.4, 4) + [dx, dy, dx, dy]
        boxes.append(true.boxes[i] + noise.astype(np.float32))
        kept = rng.random() < 0.85
        found.append(int(true.classes[i]) if kept else int(rng.integers(1, classes + 1)))
    scores = np.round(rng.random(len(places)), 2).astype(np.float32)
    return Objects(
        true.size,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(found, np.int32),
        scores,
        np.zeros(len(places), bool),
        tuple(masks),
    )


def as_results(images, *, image_ids, category_ids, boxes: bool) -> list[dict]:
    """Predictions as COCO's results in a file; without boxes, masks decide the area."""
    rows = []
    for image_id, objects in zip(image_ids, images, strict=True):
        for i, (x0, y0, x1, y1) in enumerate(objects.boxes.astype(float).tolist()):
            rle = objects.masks[i]
            shape = {"bbox": [x0, y0, x1 - x0, y1 - y0]}
            if not boxes:
                shape = {"segmentation": {**rle, "counts": rle["counts"].decode()}}
            rows.append(
                {
                    "image_id": image_id,
                    "category_id": category_ids[int(objects.classes[i])],
                    "score": float(objects.scores[i]),
                    **shape,
                }
            )
    return rows


def as_annotations(images, *, image_ids, category_ids) -> dict:
    """True objects as the content of COCO's file of instances."""
    rows = []
    for image_id, objects in zip(image_ids, images, strict=True):
        for i, (x0, y0, x1, y1) in enumerate(objects.boxes.astype(float).tolist()):
            rle = objects.masks[i]
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image_id,
                    "category_id": category_ids[int(objects.classes[i])],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": float(coco_mask.area(rle)),
                    "iscrowd": int(objects.crowd[i]),
                    "segmentation": {**rle, "counts": rle["counts"].decode()},
                }
            )
    sizes = zip(image_ids, images, strict=True)
    return {
        "images": [{"id": i, "height": o.size[0], "width": o.size[1]} for i, o in sizes],
        "categories": [{"id": i, "name": str(i)} for i in category_ids.values()],
        "annotations": rows,
    }


def pycocotools_run(truth_file, rows, tmp_path, kind: str, image_ids):
    """COCO's own program on files: its arrays of precision and recall, and twelve numbers."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    (tmp_path / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    true = COCO(str(truth_file))
    found = COCOeval(true, true.loadRes(str(tmp_path / "results.json")), kind)
    found.params.imgIds = list(image_ids)
    found.evaluate()
    found.accumulate()
    found.summarize()
    return found

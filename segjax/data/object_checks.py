"""What the objects of an example must be to be trained on or scored."""

from collections.abc import Collection, Sequence

import numpy as np

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.objects import ENTRIES, border_slack

PACKED = ("boxes", "classes", "objects")
"""The entries of an example whose objects are in slots (`transforms.objects.PackObjects`)."""


def check_objects(
    example: Example,
    class_names: Sequence[str],
    things: Collection[int],
    *,
    transformed: bool = False,
) -> None:
    """Raises InputError unless the objects of an example can be trained on and scored.

    Args:
      example: has the entries of `segjax.objects`, or those that `PackObjects` makes of them.
      class_names: one a class.
      things: ids of the classes that objects may have.
      transformed: whether transforms have been applied, for the message.

    Raises:
      InputError: names the example, the object and what is wrong: shapes and dtypes that do not
        fit, a box that is not finite, has no area or lies outside of the image, an object
        without a pixel, a pixel of an object that is not listed, or a class without objects.
    """
    after = " after its transforms" if transformed else ""
    who = f"Example {example.get('name', '(without a name)')!r}{after}"
    if "objects" in example:
        kept = _check_packed(who, example)
        label = [f"the object in slot {slot}" for slot in np.flatnonzero(kept)]
        boxes, classes = example["boxes"][kept], example["classes"][kept]
    else:
        _check_entries(who, example)
        label = [f"object {number}" for number in example["instance_ids"].tolist()]
        boxes, classes = example["boxes"], example["classes"]
    # The slots' image is `size` at the upper left of its canvas.
    h, w = example.get("size", example["image"].shape[:2])
    _check_boxes(who, label, boxes, (int(h), int(w)))
    for what, class_id in zip(label, classes.tolist(), strict=True):
        if class_id not in things:
            named = 0 <= class_id < len(class_names)
            name = f" ({class_names[class_id]})" if named else ""
            raise InputError(
                f"{who}: {what} has the class {class_id}{name}, which is not one of the "
                f"dataset's {len(things)} classes of objects (things): give it one of these, "
                "or leave it out in the dataset."
            )


def _check_entries(who: str, example: Example) -> None:
    """Raises InputError unless the entries of objects belong together."""
    if missing := [key for key in ENTRIES if not isinstance(example.get(key), np.ndarray)]:
        raise InputError(
            f"{who} has no {', '.join(map(repr, missing))}: let the dataset give the NumPy "
            f"arrays {', '.join(ENTRIES)} (segjax.objects)."
        )
    count, size = len(example["boxes"]), example["image"].shape[:2]
    _check_array(who, example, "boxes", (count, 4), "float32")
    _check_array(who, example, "classes", (count,), "int32")
    _check_array(who, example, "instance_ids", (count,), "int32")
    _check_array(who, example, "crowd", (count,), "bool")
    if "areas" in example:
        _check_array(who, example, "areas", (count,), "float64")
    layers, ids = example["instances"], example["instance_ids"]
    depth = layers.shape[2] if layers.ndim == 3 else 1
    _check_array(who, example, "instances", (*size, depth), "uint16")
    listed, times = np.unique(ids, return_counts=True)
    if (wrong := listed[(listed < 1) | (times > 1)]).size:
        raise InputError(
            f"{who} lists the object {wrong[0]} {times[listed == wrong[0]][0]} time(s): number "
            "its objects from 1 on, each with a number of its own."
        )
    pixels = np.bincount(layers.reshape(-1), minlength=1)
    pixels[0] = 0
    found = np.flatnonzero(pixels)
    if (absent := np.setdiff1d(ids, found)).size:
        raise InputError(
            f"{who}: object {absent[0]} has no pixel in 'instances': leave it out in the "
            "dataset, with its box, class and crowd."
        )
    if (unlisted := np.setdiff1d(found, ids)).size:
        raise InputError(
            f"{who}: 'instances' has {pixels[unlisted[0]]} pixel(s) of the object "
            f"{unlisted[0]}, which 'instance_ids' does not list: list it, or set them to 0."
        )


def _check_packed(who: str, example: Example) -> np.ndarray:
    """Returns which slots hold an object; raises InputError unless the slots fit."""
    slots, size = len(example["objects"]), example["image"].shape[:2]
    _check_array(who, example, "objects", (slots,), "bool")
    _check_array(who, example, "boxes", (slots, 4), "float32")
    _check_array(who, example, "classes", (slots,), "int32")
    if "masks" in example:
        _check_array(who, example, "masks", (slots, size[0], -(-size[1] // 8)), "uint8")
    return example["objects"]


def _check_array(
    who: str, example: Example, key: str, shape: tuple[int, ...], dtype: str
) -> None:
    value = example.get(key)
    if isinstance(value, np.ndarray) and value.shape == shape and value.dtype == dtype:
        return
    found = (
        f"{value.dtype} of shape {value.shape}"
        if isinstance(value, np.ndarray)
        else type(value).__name__
    )
    raise InputError(f"{who}: {key!r} must be {dtype} of shape {shape}, got {found}.")


def _check_boxes(
    who: str, label: Sequence[str], boxes: np.ndarray, size: tuple[int, int]
) -> None:
    """Raises InputError unless all boxes are finite, have an area and lie in the image.

    Boxes of datasets of one's own may miss the border by rounding errors.
    """
    x0, y0, x1, y1 = boxes.T
    h, w = size
    slack = border_slack(size)
    for wrong, fault, remedy in (
        (~np.isfinite(boxes).all(-1), "is not finite", "mend it"),
        (~((x0 < x1) & (y0 < y1)), "has no area", "mend it"),
        (
            ~(_within(x0, x1, w, slack) & _within(y0, y1, h, slack)),
            f"is not inside of the image of {h} x {w} pixels (height x width)",
            "cut it at the border",
        ),
    ):
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"{who}: the box {boxes[first].tolist()} of {label[first]} {fault}: {remedy}, "
                "as (x0, y0, x1, y1), or leave the object out in the dataset."
            )


def _within(low: np.ndarray, high: np.ndarray, extent: int, slack: float) -> np.ndarray:
    """Returns whether intervals lie in 0 … extent, up to `slack`, and have a part there."""
    return (low >= -slack) & (high - extent <= slack) & (low < extent) & (high > 0)

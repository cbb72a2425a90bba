"""The Python that runs an exported file, which the command prints; it imports no segjax."""

import pathlib
from collections.abc import Mapping
from typing import Any

STABLEHLO = """\
import jax, numpy
from jax import export
from PIL import Image, ImageOps

with open({out!r}, "rb") as file:
    run = jax.jit(export.deserialize(bytearray(file.read())).call)
photo = ImageOps.exif_transpose(Image.open("photo.jpg"))
image = numpy.array(photo.convert({mode!r}){resized})
{name} = run(image.reshape(1, *image.shape[:2], {channels}))  # {shape}
"""
"""Needs jax and flatbuffers; Pillow only to read an image."""

ONNX = """\
import numpy, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession({out!r})
photo = ImageOps.exif_transpose(Image.open("photo.jpg"))
image = numpy.array(photo.convert({mode!r}){resized})
image = image.reshape(1, *image.shape[:2], {channels})
"""

ONE_OUTPUT = """\
({name},) = session.run(None, {{"image": image}})  # {shape}
"""

SEVERAL_OUTPUTS = """\
names = [each.name for each in session.get_outputs()]
{name} = dict(zip(names, session.run(None, {{"image": image}})))  # {shape}
"""

ON_HOST = """\
outputs = jax.device_get(outputs)
"""

PASTE = '''\
def paste(mask, box, height, width):
    """Returns the mask of one object at the image's size: True where the object is."""
    m, middle = len(mask), (box[2:] + box[:2]) * 0.5
    reach = (box[2:] - box[:2]) * 0.5 * ((m + 2) / m)
    x0, y0, x1, y1 = numpy.concatenate([middle - reach, middle + reach]).astype(int)

    def weights(first, last, side):
        pixel, length = numpy.arange(side)[:, None] - first, max(last - first + 1, 1)
        source = ((pixel + 0.5) * (m + 2) / length - 0.5).clip(0, m + 1)
        near = (1 - abs(source - numpy.arange(m + 2))).clip(0)
        return near * ((pixel >= 0) & (pixel < length))

    rows, columns = weights(y0, y1, height), weights(x0, x1, width)
    return rows @ numpy.pad(mask, 1) @ columns.T > 0.5
'''
"""Masks m × m at an image's size, as `segjax.ops.paste_masks` has them."""

OBJECTS = """\
for i in range(outputs["count"][0]):
    box, mask = outputs["boxes"][0, i], outputs["masks"][0, i]
    mask = paste(mask, box, {height}, {width})
    print(outputs["classes"][0, i], outputs["scores"][0, i], box, mask.sum(), "pixels")
"""

BOXES = """\
for i in range(outputs["count"][0]):
    print(*(outputs[name][0, i] for name in ("classes", "scores", "boxes")))
"""

MERGE = '''\
def merge(outputs, i):
    """Returns the segments of image i: ids h w, and {{id: class id}}; 0 is no segment."""
    stuff = outputs["semantic"][i]{labels}
    ids, segments = numpy.zeros(stuff.shape, int), {{}}
    for slot in range(outputs["count"][i]):  # Objects, by falling score.
        mask = paste(outputs["masks"][i, slot], outputs["boxes"][i, slot], *ids.shape)
        free = mask & (ids == 0)
        taken = mask.sum() - free.sum()
        enough = outputs["scores"][i, slot] >= {least_score}
        if enough and mask.any() and taken <= {overlap} * mask.sum():
            segments[len(segments) + 1] = int(outputs["classes"][i, slot])
            ids[free] = len(segments)
    for class_id in numpy.unique(stuff):
        region = (ids == 0) & (stuff == class_id)
        if class_id != 255 and region.sum() >= max({stuff_area}, 1):
            segments[len(segments) + 1] = int(class_id)
            ids[region] = len(segments)
    return ids, segments


ids, segments = merge(outputs, 0)
'''
"""Objects and stuff as one panoptic map, as `segjax.detection.panoptic_merge` has them."""

GROUP = '''\
def group(outputs, i):
    """Returns the segments of image i: ids h w, and {{id: class id}}; 0 is no segment."""
    heat, classes = outputs["center"][i, ..., 0], outputs["semantic"][i].argmax(-1)
    padded = numpy.pad(heat, {kernel} // 2, constant_values=-1)
    around = numpy.lib.stride_tricks.sliding_window_view(padded, ({kernel}, {kernel}))
    peaks = numpy.where((heat == around.max((2, 3))) & (heat > {threshold}), heat, 0)
    best = numpy.argsort(-peaks, axis=None, kind="stable")[:{most}]
    offset = numpy.moveaxis(outputs["offset"][i], -1, 0)
    y, x = numpy.indices(heat.shape).astype(offset.dtype) + offset
    owner, least = numpy.zeros(heat.shape, int), numpy.full(heat.shape, numpy.inf)
    for number, place in enumerate(best[peaks.flat[best] > 0], 1):
        row, column = divmod(int(place), heat.shape[1])
        distance = (y - row) ** 2 + (x - column) ** 2
        owner[distance < least] = number
        least = numpy.minimum(least, distance)
    is_thing = numpy.isin(classes, {things})
    ids, segments = numpy.zeros(heat.shape, int), {{}}
    for number in numpy.unique(owner[is_thing & (owner > 0)]):
        region = is_thing & (owner == number)
        segments[len(segments) + 1] = int(numpy.bincount(classes[region]).argmax())
        ids[region] = len(segments)
    for class_id in numpy.unique(classes[~is_thing]):
        region = classes == class_id
        if region.sum() >= {stuff_area}:
            segments[len(segments) + 1] = int(class_id)
            ids[region] = len(segments)
    return ids, segments


ids, segments = group(outputs, 0)
'''
"""Pixels grouped around centres, as `segjax.detection.grouping` has them."""


def loader(out: pathlib.Path, about: Mapping[str, Any]) -> str:
    """Returns the program that runs the file `out`, which `about` describes."""
    _, height, width, channels = about["input"]["shape"]
    fixed, shape = height != "h", about["output"]["shape"]
    several = isinstance(shape, Mapping)
    onnx = ONNX + (SEVERAL_OUTPUTS if several else ONE_OUTPUT)
    text = (onnx if out.suffix == ".onnx" else STABLEHLO).format(
        out=str(out),
        mode="RGB" if channels == 3 else "L",
        resized=f".resize(({width}, {height}), Image.Resampling.BILINEAR)" if fixed else "",
        name=about["output"]["name"],
        channels=channels,
        shape=_shape_text(shape)
        + ("" if fixed else f", h and w at least {about['smallest_side']}"),
    )
    then = after_outputs(about)
    on_host = "" if not then or out.suffix == ".onnx" else ON_HOST
    return text + on_host + then


def after_outputs(about: Mapping[str, Any]) -> str:
    """Returns what makes objects or segments of the outputs, where there are some."""
    names = about["output"]["shape"]
    if "grouping" in about:
        return f"\n\n{GROUP.format(**about['grouping'])}"
    if "count" not in names:
        return ""
    if "masks" not in names:
        return BOXES
    if "merge" not in about:
        _, height, width, _ = about["input"]["shape"]
        return f"\n\n{PASTE}\n\n{OBJECTS.format(height=height, width=width)}"
    labels = ""
    if len(names["semantic"]) == 4:
        labels = f".argmax(-1)\n    stuff = numpy.array({about['semantic_classes']})[stuff]"
    return f"\n\n{PASTE}\n\n{MERGE.format(labels=labels, **about['merge'])}"


def _shape_text(shape: Any) -> str:
    """Returns a shape such as "b h w 21", or those of several arrays by their names."""
    if isinstance(shape, Mapping):
        arrays = (f"{name}: {_shape_text(each)}" for name, each in shape.items())
        return f"a dict of {', '.join(arrays)}"
    return " ".join(map(str, shape))

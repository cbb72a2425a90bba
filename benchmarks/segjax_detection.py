"""segjax's side of the detectors: both passes of Mask R-CNN on a canvas, without pasting.

Every image has the same number of objects, whole rectangles at random places. Detection keeps
the best boxes whatever their score, so that 100 masks an image are computed, as of a trained
network that finds much.
"""

import jax.numpy as jnp
import numpy as np

from segjax import losses
from segjax.backbones.resnet import ResNet50
from segjax.layers.norm import FrozenBatchNorm
from segjax.models.mask_rcnn import MaskRCNN
from segjax.ops.roi_align import roi_align
from segjax.tasks.instance import Instance

OBJECTS = 20
NETWORKS = {"mask_rcnn": lambda classes: MaskRCNN(ResNet50(norm=FrozenBatchNorm), classes)}
TASK = Instance(score=0.0)


def objective(model):
    """Returns both stages' pass in training with their five losses; images are normalised."""
    return TASK.objective(model, losses.TwoStage(), normalize=lambda image: image)


def detect(model):
    """Returns `(variables, images on their canvas) → Detections`."""
    return TASK.network(model, normalize=lambda image: image)


def pooled(case):
    """Returns RoIAlign of a case's boxes, in the form that it names, of a map of stride 4."""
    batch, height, width, _ = case["x"]
    rng, count = np.random.default_rng(0), case["boxes"] // batch
    boxes = rectangles(rng, batch, 4 * height, 4 * width, count=count)
    boxes = jnp.asarray(boxes.reshape(-1, 4))
    images = jnp.repeat(jnp.arange(batch, dtype=jnp.int32), count)
    options = {"strides": [4], "size": case["size"], "form": case.get("form")}
    return lambda x: roi_align([x], boxes, images, jnp.zeros_like(images), **options)


def batch(shape, classes):
    """Returns images of that shape with their objects, as `PackObjects` leaves them."""
    rng = np.random.default_rng(0)
    count, height, width, _ = shape
    boxes = rectangles(rng, count, height, width)
    rows, columns = np.arange(height), np.arange(width)
    x0, y0, x1, y1 = (boxes[..., i, None] for i in range(4))
    inside = ((rows >= y0) & (rows < y1))[..., None] & ((columns >= x0) & (columns < x1))[
        :, :, None
    ]
    return {
        "image": rng.standard_normal(shape, dtype=np.float32),
        "boxes": boxes,
        "classes": rng.integers(1, classes, boxes.shape[:2]).astype(np.int32),
        "objects": np.ones(boxes.shape[:2], bool),
        "masks": np.packbits(inside, axis=-1),
    }


def rectangles(rng, images, height, width, *, count=OBJECTS):
    """Returns boxes b n 4 whose sides are between a twentieth and a third of the image's."""
    size = np.array([width, height])
    sides = (rng.uniform(0.05, 0.33, (images, count, 2)) * size).round()
    corner = (rng.uniform(0, 1, sides.shape) * (size - sides)).round()
    return np.concatenate([corner, corner + sides], -1).astype(np.float32)

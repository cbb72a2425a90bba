"""Two-stage detectors: their constants, their forward pass in training, and what they find.

A network gives the parts (`segjax.models.mask_rcnn`), `segjax.detection` what lies between
them. Both passes run inside `model.apply`, on all images of a device's share of the batch.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float, Integer

from segjax.contracts import AXIS, Array, Batch
from segjax.detection.inference import find
from segjax.detection.proposals import Proposals, propose
from segjax.detection.sampling import sample
from segjax.detection.targets import (
    RoiTargets,
    Truth,
    anchor_targets,
    match_anchors,
    match_rois,
    roi_targets,
    with_truth,
)
from segjax.errors import InputError
from segjax.ops.crop_masks import crop_masks

PARTS = ("features", "rpn", "anchors", "pool", "boxes", "masks", "box_pool", "mask_pool")
"""Members that a two-stage network must have."""

SHARES = (
    *("anchor_positive", "anchor_negative", "roi_positive", "proposal_iou", "score", "iou"),
)
"""Constants that are overlaps or scores, from 0 to 1."""


@dataclasses.dataclass(frozen=True)
class TwoStages:
    """The constants of a two-stage detector; the defaults are torchvision's.

    Attributes:
      shortest, longest: pixels of the sides of images that are predicted. An image is resized
        as far as neither is exceeded; `ResizeSides` does so while training, but averages the
        pixels of images that it shrinks. With shortest=None images keep their size.
      multiple: of which the sides of the padded image are multiples.
      anchor_positive, anchor_negative: anchors show an object from the first overlap on, and
        none below the second.
      anchors_sampled, anchors_positive: of an image in a step, and how many show an object at
        most.
      roi_positive: proposals show an object from this overlap on.
      rois_sampled, rois_positive: of an image in a step, and how many show an object at most.
      box_weights: factors of the encoded boxes of the second stage.
      train_before, train_after: proposals before suppression of each level, and after it of all
        levels, while training.
      test_before, test_after: likewise while predicting.
      proposal_iou: proposals that overlap a better one by more are suppressed.
      proposal_side: the least side of proposals in pixels.
      score: objects have a higher score.
      side: the least side of objects in pixels.
      iou: objects that overlap a better one of their class by more are suppressed.
      candidates: the best so many boxes enter that suppression (`segjax.detection.inference`).
      most: objects of an image.
    """

    shortest: int | None = 800
    longest: int = 1333
    multiple: int = 32
    anchor_positive: float = 0.7
    anchor_negative: float = 0.3
    anchors_sampled: int = 256
    anchors_positive: int = 128
    roi_positive: float = 0.5
    rois_sampled: int = 512
    rois_positive: int = 128
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    train_before: int = 2000
    train_after: int = 2000
    test_before: int = 1000
    test_after: int = 1000
    proposal_iou: float = 0.7
    proposal_side: float = 1e-3
    score: float = 0.05
    side: float = 1e-2
    iou: float = 0.5
    candidates: int = 2000
    most: int = 100

    def check_constants(self) -> None:
        """Raises InputError unless the constants can be used.

        Raises:
          InputError: a number is too small, or two do not fit one another.
        """
        for field in dataclasses.fields(TwoStages):
            value = getattr(self, field.name)
            if field.type in (int, int | None) and value is not None and value < 1:
                raise InputError(f"task.{field.name}={value} must be at least 1.")
        for name, low, high in (
            *((each, 0.0, 1.0) for each in SHARES),
            *((each, 0.0, float("inf")) for each in ("proposal_side", "side")),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                limits = "from 0 to 1" if high == 1 else "at least 0"
                raise InputError(f"task.{name}={value} must be {limits}.")
        if len(self.box_weights) != 4 or not all(0 < each < 1e6 for each in self.box_weights):
            raise InputError(
                f"task.box_weights={self.box_weights} must be four numbers above 0, such as "
                "(10, 10, 5, 5)."
            )
        for low, high in (
            ("shortest", "longest"),
            ("anchor_negative", "anchor_positive"),
            ("anchors_positive", "anchors_sampled"),
            ("rois_positive", "rois_sampled"),
            ("most", "candidates"),
        ):
            if (getattr(self, low) or 0) > getattr(self, high):
                raise InputError(
                    f"task.{low}={getattr(self, low)} must not be above "
                    f"task.{high}={getattr(self, high)}."
                )


class Detections(NamedTuple):
    """The objects of b images in d slots, on the canvas of the network.

    `boxes` b d 4, in pixels; `classes` b d int32; `scores` b d, from 0 to 1; `valid` b d bool,
    the slots that hold an object; `masks` b d m m, probabilities inside each box, or None.
    """

    boxes: Any
    classes: Any
    scores: Any
    valid: Any
    masks: Any = None


def image_keys(key: Array, count: int) -> Array:
    """Returns a key for each of a device's images, by their positions in the global batch."""
    first = lax.axis_index(AXIS) * count
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(count))


def sizes_of(batch: Batch) -> Integer[Array, "b 2"]:
    """Returns height and width of each image on its canvas: the whole one by default."""
    count, height, width = batch["image"].shape[:3]
    whole = jnp.broadcast_to(jnp.asarray([[height, width]], jnp.int32), (count, 2))
    return jnp.asarray(batch.get("size", whole), jnp.int32)


def on_canvas(
    image: Array, sizes: Integer[Array, "b 2"], normalize: Callable[[Array], Array]
) -> Float[Array, "b h w c"]:
    """Returns normalised images that are 0 outside of their sizes."""
    x = normalize(image)
    inside = [
        jnp.arange(extent)[None] < sizes[:, axis, None]
        for axis, extent in enumerate(x.shape[1:3])
    ]
    return jnp.where((inside[0][:, :, None] & inside[1][:, None])[..., None], x, 0)


def training_pass(
    module: Any,
    features: Sequence[Array],
    batch: Batch,
    keys: Array,
    *,
    constants: TwoStages,
    train: bool = True,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns (outputs, targets) as `segjax.losses.TwoStage` takes them.

    Args:
      module: the network, bound to its variables.
      features: its own of the images.
      batch: what `PackObjects` leaves, on the devices.
      keys: one an image; they decide which anchors and proposals are sampled.
      constants: the task's.
      train: whether batch norms of the heads use the batch's statistics.

    Raises:
      ValueError: the batch has no masks, and the network has.
    """
    truth = Truth(*(jnp.asarray(batch[key]) for key in ("boxes", "classes", "objects")))
    canvas = (batch["image"].shape[1], batch["image"].shape[2])
    keys = jax.vmap(jax.random.split)(keys)
    levels = _first_stage(module, features, canvas)
    outputs, targets = _anchors(*levels, truth, keys[:, 0], constants)
    proposals = _proposals(*levels, sizes_of(batch), constants, train=True)
    rois = _rois(proposals, truth, keys[:, 1], constants)
    logits, deltas = _of_boxes(module, features, rois.boxes, train=train)
    outputs |= {"logits": logits, "deltas": deltas}
    targets |= {name: getattr(rois, name) for name in ("drawn", "classes", "deltas")}
    if module.has_masks:
        if "masks" not in batch:
            raise ValueError(
                f"{type(module).__name__} predicts masks, but the batch has none: end the "
                "transforms with PackObjects(masks=True)."
            )
        # Samples begin with those that show an object.
        some = slice(min(constants.rois_positive, rois.boxes.shape[1]))
        outputs["masks"] = _of_masks(module, features, rois.boxes[:, some], train=train)
        cropped = partial(crop_masks, size=outputs["masks"].shape[2], width=canvas[1])
        packed = jnp.asarray(batch["masks"])
        targets["masks"] = jax.vmap(cropped)(packed, rois.boxes[:, some], rois.truth[:, some])
    return outputs, targets


def inference_pass(
    module: Any,
    features: Sequence[Array],
    sizes: Integer[Array, "b 2"],
    canvas: tuple[int, int],
    *,
    constants: TwoStages,
) -> Detections:
    """Returns the objects that a network finds in images of these sizes on their canvas."""
    levels = _first_stage(module, features, canvas)
    proposals = _proposals(*levels, sizes, constants, train=False)
    logits, deltas = _of_boxes(module, features, proposals.boxes, train=False)
    found = jax.vmap(
        partial(
            find,
            weights=constants.box_weights,
            score=constants.score,
            iou=constants.iou,
            least_side=constants.side,
            candidates=constants.candidates,
            most=constants.most,
        )
    )(logits, deltas, proposals.boxes, proposals.valid, sizes)
    if not module.has_masks:
        return Detections(*found)
    masks = _of_masks(module, features, found.boxes, train=False).astype(jnp.float32)
    planes = jnp.take_along_axis(masks, found.classes[:, :, None, None, None], axis=-1)
    return Detections(*found, jax.nn.sigmoid(planes[..., 0]))


def _first_stage(
    module: Any, features: Sequence[Array], canvas: tuple[int, int]
) -> tuple[list[Array], list[Array], list[Array]]:
    """Returns objectness b n, encoded boxes b n 4 and anchors n 4 of each level."""
    levels = module.rpn(features)
    objectness = [score.reshape(score.shape[0], -1) for score, _ in levels]
    deltas = [delta.reshape(delta.shape[0], -1, 4) for _, delta in levels]
    return objectness, deltas, list(module.anchors(features, canvas))


def _anchors(
    objectness: Sequence[Array],
    deltas: Sequence[Array],
    anchors: Sequence[Array],
    truth: Truth,
    keys: Array,
    constants: TwoStages,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns outputs and targets of the sampled anchors."""
    every = jnp.concatenate(anchors)

    def of_image(truth: Truth, key: Array):
        matches = match_anchors(
            every,
            truth,
            positive=constants.anchor_positive,
            negative=constants.anchor_negative,
        )
        drawn = sample(
            key,
            matches.label,
            count=constants.anchors_sampled,
            positives=constants.anchors_positive,
        )
        return anchor_targets(every, matches, drawn, truth)

    wanted = jax.vmap(of_image)(truth, keys)
    taken = jax.vmap(lambda values, index: values[index])
    outputs = {
        "objectness": taken(jnp.concatenate(objectness, 1), wanted.index),
        "anchor_deltas": taken(jnp.concatenate(deltas, 1), wanted.index),
    }
    return outputs, {
        "anchor_drawn": wanted.drawn,
        "anchor_is_object": wanted.is_object,
        "anchor_deltas": wanted.deltas,
    }


def _proposals(
    objectness: Sequence[Array],
    deltas: Sequence[Array],
    anchors: Sequence[Array],
    sizes: Integer[Array, "b 2"],
    constants: TwoStages,
    *,
    train: bool,
) -> Proposals:
    """Returns the proposals of each image."""
    of_image = partial(
        propose,
        anchors=anchors,
        before=constants.train_before if train else constants.test_before,
        after=constants.train_after if train else constants.test_after,
        iou=constants.proposal_iou,
        least_side=constants.proposal_side,
    )
    return jax.vmap(lambda o, d, size: of_image(o, d, size=size))(objectness, deltas, sizes)


def _rois(proposals: Proposals, truth: Truth, keys: Array, constants: TwoStages) -> RoiTargets:
    """Returns the sampled proposals of each image with their targets."""

    def of_image(boxes: Array, valid: Bool[Array, "p"], truth: Truth, key: Array):
        boxes, valid = with_truth(boxes, valid, truth)
        matches = match_rois(boxes, valid, truth, positive=constants.roi_positive)
        drawn = sample(
            key,
            matches.label,
            count=constants.rois_sampled,
            positives=constants.rois_positive,
        )
        return roi_targets(boxes, matches, drawn, truth, weights=constants.box_weights)

    return jax.vmap(of_image)(proposals.boxes, proposals.valid, truth, keys)


def _of_boxes(
    module: Any, features: Sequence[Array], boxes: Float[Array, "b r 4"], *, train: bool
) -> tuple[Float[Array, "b r k"], Float[Array, "b r k 4"]]:
    """Returns logits and encoded boxes of the second stage."""
    logits, deltas = module.boxes(
        _pooled(module, features, boxes, module.box_pool), train=train
    )
    shape = boxes.shape[:2]
    return logits.reshape(*shape, -1), deltas.reshape(*shape, -1, 4)


def _of_masks(
    module: Any, features: Sequence[Array], boxes: Float[Array, "b r 4"], *, train: bool
) -> Float[Array, "b r m m k"]:
    """Returns the logits of masks."""
    logits = module.masks(_pooled(module, features, boxes, module.mask_pool), train=train)
    return logits.reshape(*boxes.shape[:2], *logits.shape[1:])


def _pooled(
    module: Any, features: Sequence[Array], boxes: Float[Array, "b r 4"], size: int
) -> Float[Array, "b_r size size c"]:
    count, most = boxes.shape[:2]
    images = jnp.repeat(jnp.arange(count, dtype=jnp.int32), most)
    return module.pool(features, boxes.reshape(-1, 4), images, size=size)


def check_parts(model: object, *, remedy: str = "mask_rcnn.MaskRCNN") -> None:
    """Raises InputError unless a network has the parts of a two-stage detector.

    Args:
      model: the network.
      remedy: a network of `segjax.models` that has them.

    Raises:
      InputError: it lacks some; names them.
    """
    if lacks := [name for name in (*PARTS, "has_masks") if not hasattr(model, name)]:
        raise InputError(
            f"model: {type(model).__name__} has no {', '.join(lacks)}, which a two-stage "
            f"detector needs; use segjax.models.{remedy}."
        )

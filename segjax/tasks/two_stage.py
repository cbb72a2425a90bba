"""Two-stage detectors: their forward pass in training, and what they find.

A network gives the parts (`segjax.models.mask_rcnn`), `segjax.detection` what lies between
them. Both passes run inside `model.apply`, on all images of a device's share of the batch.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Integer

from segjax.contracts import Array, Batch
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
from segjax.parallel.micro_batches import positions
from segjax.tasks.two_stage_constants import TwoStages

PARTS = ("features", "rpn", "anchors", "pool", "boxes", "masks", "box_pool", "mask_pool")
"""Members that a two-stage network must have."""


class Detections(NamedTuple):
    """The objects of b images in d slots, on the canvas of the network.

    `boxes` b d 4, in pixels; `classes` b d int32; `scores` b d, from 0 to 1, or NaN where the
    network's outputs are; `valid` b d bool, the slots that hold an object; `masks` b d m m,
    probabilities inside each box, or None.
    """

    boxes: Any
    classes: Any
    scores: Any
    valid: Any
    masks: Any = None


def image_keys(key: Array, count: int) -> Array:
    """Returns a key for each of a device's images, by their positions in the global batch."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(positions(count))


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
    found = Detections(*found)
    broken = [
        jnp.isnan(each).any(tuple(range(1, each.ndim))) for each in (*levels[0], logits, deltas)
    ]
    scores = jnp.where(jnp.stack(broken).any(0)[:, None], jnp.nan, found.scores)
    found = found._replace(scores=scores)
    if not module.has_masks:
        return found
    masks = _of_masks(module, features, found.boxes, train=False).astype(jnp.float32)
    planes = jnp.take_along_axis(masks, found.classes[:, :, None, None, None], axis=-1)
    return found._replace(masks=jax.nn.sigmoid(planes[..., 0]))


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
        """Returns the sampled anchors of an image with their targets."""
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
        """Returns the sampled proposals of an image with their targets."""
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

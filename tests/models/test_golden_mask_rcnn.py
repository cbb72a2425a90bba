"""Mask R-CNN against torchvision's, stage by stage, and the losses of a training step.

`make_golden_mask_rcnn.py` makes the numbers. The weights go through `segjax.weights.load`.
"""

import functools
import json
import pathlib
import runpy
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import weights
from segjax.backbones.resnet import ResNet
from segjax.detection.matching import NEGATIVE, POSITIVE
from segjax.detection.sampling import Sample
from segjax.layers.norm import BatchNorm, FrozenBatchNorm
from segjax.losses.detection import TwoStage
from segjax.models.mask_rcnn import MaskRCNN, MaskRCNNV2
from segjax.ops.dispatch import plain
from segjax.tasks import two_stage

MADE = runpy.run_path(str(pathlib.Path(__file__).with_name("make_golden_mask_rcnn.py")))
GOLDEN = np.load(MADE["GOLDEN"])
RESNET = ResNet(stages=(1, 1, 1, 1))
SIZES = {"num_classes": MADE["CLASSES"], "channels": MADE["CHANNELS"], "hidden": MADE["HIDDEN"]}
NETWORKS = {
    "batch_norm": MaskRCNN(RESNET, **SIZES),
    "frozen": MaskRCNN(RESNET.clone(norm=FrozenBatchNorm), **SIZES),
    "second": MaskRCNNV2(RESNET.clone(norm=BatchNorm), **SIZES),
}
CONSTANTS = two_stage.TwoStages(
    shortest=None,
    anchors_sampled=MADE["ANCHORS_SAMPLED"],
    anchors_positive=MADE["ANCHORS_SAMPLED"] // 2,
    rois_sampled=MADE["ROIS_SAMPLED"],
    rois_positive=MADE["ROIS_SAMPLED"] // 4,
    train_before=MADE["BEFORE"],
    train_after=MADE["AFTER"],
    test_before=MADE["BEFORE"],
    test_after=MADE["AFTER"],
    most=MADE["MOST"],
)


def loaded(variant, folder):
    shapes = json.loads(zlib.decompress(GOLDEN[f"{variant}/shapes"].tobytes()))
    path = folder / "weights.npz"
    np.savez(path, **{name: MADE["filled"](name, tuple(s)) for name, s in shapes.items()})
    return weights.load(path, NETWORKS[variant], complete=True)


def stages(module, x):
    """Returns the outputs of each stage by their names in the golden file."""
    features = module.features(x, train=False)
    found = {f"p{i}": level for i, level in enumerate(features, start=2)}
    for i, (objectness, deltas) in enumerate(module.rpn(features), start=2):
        found |= {f"objectness{i}": objectness, f"deltas{i}": deltas}
    sizes, canvas = jnp.asarray([MADE["SIZE"]], jnp.int32), MADE["SIZE"]
    levels = two_stage._first_stage(module, features, canvas)
    proposals = two_stage._proposals(*levels, sizes, CONSTANTS, train=False)
    answer = two_stage.inference_pass(module, features, sizes, canvas, constants=CONSTANTS)
    return found, proposals, answer


@pytest.mark.slow_but("frozen")
@pytest.mark.parametrize("variant", NETWORKS)
def test_every_stage_gives_torchvisions_numbers_to_a_thousandth_of_their_range(
    variant, tmp_path
):
    model, variables = NETWORKS[variant], loaded(variant, tmp_path)
    with plain():
        run = jax.jit(lambda v, x: model.apply(v, x, method=stages))
        found, proposals, answer = run(variables, MADE["image"]()[None])
    assert answer.valid.sum() >= 5
    found = {name: MADE["thinned"](value) for name, value in found.items()}
    found["proposals"] = MADE["thinned"](proposals.boxes[0][proposals.valid[0]])
    for name in ("boxes", "scores", "classes", "masks"):
        found[name] = MADE["thinned"](getattr(answer, name)[0][answer.valid[0]])
    for name, value in found.items():
        wanted = GOLDEN[f"{variant}/{name}"]
        atol = 1e-3 * max(np.ptp(wanted), 1e-6)
        np.testing.assert_allclose(value, wanted, atol=atol, rtol=0, err_msg=name)
    # In the second network's answer all classes are the same one.
    assert variant == "second" or len(set(found["classes"].tolist())) > 1


def first(key, label, *, count, positives):
    """Returns the first boxes of each kind, as the golden file's torchvision does."""
    places = jnp.arange(len(label))
    before = lambda kind: jnp.cumsum(label == kind) - 1
    some = (label == POSITIVE) & (before(POSITIVE) < positives)
    rest = (label == NEGATIVE) & (before(NEGATIVE) < count - some.sum())
    rank = jnp.where(some, places, jnp.where(rest, places + len(label), 2 * len(label)))
    index = jnp.argsort(rank)[:count]
    return Sample(index.astype(jnp.int32), (some | rest)[index])


def test_a_training_steps_losses_are_torchvisions_to_a_ten_thousandth(tmp_path, monkeypatch):
    monkeypatch.setattr(two_stage, "sample", first)
    model, variables = NETWORKS["frozen"], loaded("frozen", tmp_path)
    boxes, classes, masks = MADE["truth"]()
    batch = {
        "image": MADE["image"]()[None],
        "boxes": boxes[None],
        "classes": classes[None].astype(np.int32),
        "objects": np.ones((1, len(boxes)), bool),
        "masks": np.packbits(masks, axis=-1)[None],
    }

    def terms(module, batch):
        features = module.features(batch["image"], train=True)
        keys = jax.random.split(jax.random.key(0), 1)
        train = functools.partial(two_stage.training_pass, module, features, batch, keys)
        return TwoStage()(*train(constants=CONSTANTS))

    with plain():
        found = jax.jit(lambda v, b: model.apply(v, b, method=terms))(variables, batch)
    torchvisions = {
        "rpn_objectness": "loss_objectness",
        "rpn_boxes": "loss_rpn_box_reg",
        "classes": "loss_classifier",
        "boxes": "loss_box_reg",
        "masks": "loss_mask",
    }
    assert found.keys() == torchvisions.keys()
    for name, theirs in torchvisions.items():
        total, weight = found[name]
        np.testing.assert_allclose(total / weight, GOLDEN[f"frozen/{theirs}"], rtol=1e-4)

"""torchvision's detectors: every tensor has its place, in both layouts of names."""

import functools
import pathlib
import pickle
import re
import runpy

import jax.numpy as jnp
import numpy as np
import pytest

from segjax import weights
from segjax.backbones.resnet import ResNet
from segjax.errors import InputError
from segjax.layers.norm import BatchNorm, FrozenBatchNorm, GroupNorm
from segjax.models.fcn import FCN
from segjax.models.mask_rcnn import FasterRCNN, FasterRCNNV2, MaskRCNN, MaskRCNNV2

STATE = runpy.run_path(str(pathlib.Path(__file__).with_name("state_dicts.py")))
RESNET = ResNet(stages=(1, 1, 1, 1), width=8)
BODY = {name: shape for name, shape in STATE["names"]("resnet50").items() if "fc." not in name}
BODY = {n: s for n, s in BODY.items() if not re.match(r"layer\d\.[1-5]", n)}
STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _layer(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": (shape[1 if "conv5" in name else 0],)}


def _normed(name, *shape):
    norm = {f"{name}.1.{leaf}": (shape[0],) for leaf in STATISTICS}
    return {f"{name}.0.weight": shape, **norm}


def names(layout, *, has_masks=True, classes=3, f=8):
    """Returns {tensor: shape} of torchvision's network, f channels wide, ResNet an eighth."""
    eighth = lambda shape: tuple(n if n in (1, 3, 7) else n // 8 for n in shape)
    tensors = {f"backbone.body.{n}": eighth(s) for n, s in BODY.items()}
    second, newer = layout == "second", layout == "newer"
    conv = _normed if second else _layer
    for i, channels in enumerate((32, 64, 128, 256)):
        end = f"{i}.0" if newer else f"{i}"
        tensors |= conv(f"backbone.fpn.inner_blocks.{end}", f, channels, 1, 1)
        tensors |= conv(f"backbone.fpn.layer_blocks.{end}", f, f, 3, 3)
    depth = {"published": ["conv"], "newer": ["conv.0.0"], "second": ["conv.0.0", "conv.1.0"]}
    for name in depth[layout]:
        tensors |= _layer(f"rpn.head.{name}", f, f, 3, 3)
    tensors |= _layer("rpn.head.cls_logits", 3, f, 1, 1)
    tensors |= _layer("rpn.head.bbox_pred", 12, f, 1, 1)
    roi = "roi_heads."
    for i in range(4):
        if second:
            tensors |= _normed(f"{roi}box_head.{i}", f, f, 3, 3)
        if has_masks:
            ends = {"published": f"mask_fcn{i + 1}", "newer": f"{i}.0", "second": f"{i}"}
            tensors |= conv(f"{roi}mask_head.{ends[layout]}", f, f, 3, 3)
    tensors |= _layer(f"{roi}box_head.{'5' if second else 'fc6'}", 16, 49 * f)
    if not second:
        tensors |= _layer(f"{roi}box_head.fc7", 16, 16)
    tensors |= _layer(f"{roi}box_predictor.cls_score", classes, 16)
    tensors |= _layer(f"{roi}box_predictor.bbox_pred", 4 * classes, 16)
    if has_masks:
        tensors |= _layer(f"{roi}mask_predictor.conv5_mask", f, f, 2, 2)
        tensors |= _layer(f"{roi}mask_predictor.mask_fcn_logits", classes, f, 1, 1)
    return tensors


def filled(tensors):
    return {name: STATE["fill"](name, shape) for name, shape in tensors.items()}


SIZES = {"num_classes": 3, "channels": 8, "hidden": 16}
NETWORKS = {
    "mask published": (MaskRCNN, "published", True),
    "mask newer": (MaskRCNN, "newer", True),
    "mask second": (MaskRCNNV2, "second", True),
    "faster published": (FasterRCNN, "published", False),
    "faster newer": (FasterRCNN, "newer", False),
    "faster second": (FasterRCNNV2, "second", False),
}


@functools.cache
def loaded(name, norm, folder):
    make, layout, has_masks = NETWORKS[name]
    arrays, notes = filled(names(layout, has_masks=has_masks)), []
    path = STATE["write"](folder / "weights.pth", arrays)
    model = make(RESNET.clone(norm=norm), **SIZES)
    found = weights.load(path, model, complete=True, note=notes.append)
    return arrays, weights.flatten_dict(dict(found), sep="/"), notes


@pytest.mark.parametrize("norm", [BatchNorm, FrozenBatchNorm])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_of_a_detector_has_its_place(name, norm, tmp_path):
    arrays, found, notes = loaded(name, norm, tmp_path)
    kept = [n for n in arrays if not n.endswith("num_batches_tracked")]
    assert len(found) == len(kept) and not notes
    total = lambda values: sum(float(np.abs(np.asarray(v, np.float64)).sum()) for v in values)
    assert total(found.values()) == pytest.approx(total(arrays[n] for n in kept))
    kind = "batch_stats" if norm is FrozenBatchNorm else "params"
    scale = found[f"{kind}/backbone/layer2_0/bn1/scale"]
    np.testing.assert_array_equal(scale, arrays["backbone.body.layer2.0.bn1.weight"])


@pytest.mark.parametrize("name", ["mask newer", "mask second"])
def test_the_first_fully_connected_layer_reads_pooled_features_in_our_order(name, tmp_path):
    arrays, found, _ = loaded(name, BatchNorm, tmp_path)
    theirs = "box_head.5" if name.endswith("second") else "box_head.fc6"
    pooled = np.random.default_rng(0).integers(-3, 4, (2, 7, 7, 8)).astype(np.float32)
    weight = arrays[f"roi_heads.{theirs}.weight"]
    expected = pooled.transpose(0, 3, 1, 2).reshape(2, -1) @ weight.T
    kernel = found["params/box_head/fc6/kernel"][0, 0]
    np.testing.assert_array_equal(pooled.reshape(2, -1) @ kernel, expected)


def test_a_detector_for_other_classes_starts_its_predictors_from_the_seed(tmp_path):
    path = STATE["write"](tmp_path / "weights.pth", filled(names("newer")))
    notes = []
    model = MaskRCNN(RESNET, **{**SIZES, "num_classes": 2})
    weights.load(path, model, note=notes.append)
    parts = ("box_predictor/bbox_pred", "box_predictor/cls_score")
    for part in (*parts, "mask_predictor/mask_fcn_logits"):
        assert any(f"{part} re-initialised from seed 0" in note for note in notes)


def test_a_mask_rcnn_is_not_taken_for_a_faster_rcnn(tmp_path):
    path = STATE["write"](tmp_path / "weights.pth", filled(names("published")))
    with pytest.raises(InputError, match="12 unexpected: params/mask|unexpected: roi_heads"):
        weights.load(path, FasterRCNN(RESNET, **SIZES))


def test_published_networks_load_with_frozen_norms_and_our_own_move_between_norms(tmp_path):
    path = STATE["write"](tmp_path / "r.pth", STATE["small"]("fcn_resnet50"))
    trained, frozen = (
        FCN(RESNET.clone(norm=norm, output_stride=8), 21)
        for norm in (BatchNorm, FrozenBatchNorm)
    )
    before = weights.load(path, trained, note=lambda _: None)
    expected = weights.load(path, frozen, note=lambda _: None)
    weights.save(tmp_path / "own.safetensors", before)
    weights.save(tmp_path / "frozen.safetensors", expected)
    flat = lambda tree: weights.flatten_dict(dict(tree), sep="/")
    for file, model, wanted in (("own", frozen, expected), ("frozen", trained, before)):
        found = flat(weights.load(tmp_path / f"{file}.safetensors", model))
        assert found.keys() == flat(wanted).keys()
        for name, array in flat(wanted).items():
            np.testing.assert_array_equal(found[name], array)


def test_group_norms_take_weights_of_group_norms_and_refuse_running_statistics(tmp_path):
    model = RESNET.clone(norm=functools.partial(GroupNorm, groups=8))
    arrays = STATE["small"]("resnet50")
    path = STATE["write"](tmp_path / "batch.pth", arrays)
    with pytest.raises(InputError, match="running_mean"):
        weights.load(path, model, note=lambda _: None)
    grouped = {name: array for name, array in arrays.items() if "running" not in name}
    path = STATE["write"](tmp_path / "group.pth", grouped)
    found = weights.load(path, model, complete=True, note=lambda _: None)
    scale = found["params"]["layer1_0"]["bn1"]["scale"]
    np.testing.assert_array_equal(scale, arrays["layer1.0.bn1.weight"])
    assert scale.dtype == jnp.float32


def test_a_pickle_of_detectron2_is_read_without_running_it_and_refused_in_one_line(tmp_path):
    path = tmp_path / "model_final.pkl"
    array = np.ones((8, 3, 7, 7), np.float32)
    state = {"backbone.bottom_up.stem.conv1.weight": array}
    content = {"model": state, "__author__": "Detectron2 Model Zoo"}
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(InputError, match="model_final.pkl has detectron2's layout, .* Use"):
        weights.load(path, MaskRCNN(RESNET, **SIZES))

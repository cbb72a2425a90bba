"""The bottom-up panoptic task: what it refuses, groups and answers, and how it trains."""

import dataclasses
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from segjax import launch, losses
from segjax.backbones.resnet import BasicBlock, ResNet
from segjax.contracts import AXIS
from segjax.data.cityscapes import Cityscapes
from segjax.data.synthetic_objects import SyntheticObjects
from segjax.detection.grouping import group, panoptic_map
from segjax.errors import InputError, RunError
from segjax.evaluate.wrappers import Flip
from segjax.experiment import IMAGENET
from segjax.export import __main__ as export
from segjax.models.panoptic_deeplab import PanopticDeepLab
from segjax.objects import PanopticMap
from segjax.tasks.panoptic_deeplab import BottomUp
from segjax.tasks.panoptic_metric import PanopticMetric
from segjax.tasks.scorer import evaluate
from segjax.train.checkpoint import Checkpoints
from segjax.train.optimizer import SGD, Constant
from segjax.train.step import init_state, make_train_step
from segjax.train.workdir import open_run
from segjax.transforms.center_targets import CenterTargets

TESTS = pathlib.Path(__file__).parents[1]
TINY = pathlib.Path(__file__).with_name("tiny_panoptic.py")
DATA = SyntheticObjects("val", size=48, count=4, most=5, panoptic=True)
LIVELY = runpy.run_path(str(TESTS / "fill.py"))["lively"]
SAME = runpy.run_path(str(TESTS / "commands" / "test_launch.py"))
MODEL = PanopticDeepLab(
    ResNet(stages=(1, 1, 1, 1), block=BasicBlock, width=8, output_stride=16),
    num_classes=4,
    things=(2, 3),
    rates=(1,),
    semantic_features=8,
    semantic_low_features=(4, 4),
    instance_features=8,
    instance_low_features=(4, 4),
    head_features=4,
    aspp_features=8,
)
LOSS = losses.PanopticDeepLab()
UNIT = lambda x: x


class Copied(nn.Module):
    """A network whose image already holds its maps."""

    num_classes: int = 4
    things: tuple[int, ...] = (2, 3)

    def __call__(self, image, *, train: bool):
        """Returns channels of the image."""
        k = self.num_classes
        parts = jnp.split(image, (k, k + 1), axis=-1)
        return dict(zip(("semantic", "center", "offset"), parts, strict=True))


@dataclasses.dataclass(frozen=True)
class Perfect(SyntheticObjects):
    """Examples whose image is what a perfect network would answer."""

    @property
    def channels(self) -> int:
        """Those of the three maps."""
        return 7

    def __getitem__(self, index: int):
        example = super().__getitem__(index)
        targets = CenterTargets(sigma=3.0)(example, np.random.default_rng(0))
        semantic = 50 * np.eye(4, dtype=np.float32)[example["label"]]
        maps = [semantic, targets["center"][..., None], targets["offset"]]
        return {**example, "image": np.concatenate(maps, -1)}


def test_targets_as_outputs_give_a_panoptic_quality_of_one():
    data = Perfect("val", size=64, count=8, most=6, panoptic=True)
    scored = evaluate(
        Copied(), {}, data, normalize=UNIT, task=BottomUp(stuff_area=0), batch_size=4
    )
    assert isinstance(scored.metric, PanopticMetric)
    assert scored.scores["pq"] == 1.0
    assert scored.scores["pq_things"] == 1.0 and scored.metric.counts[2:].sum() > 8


def settings(model: Any = MODEL, loss: Any = LOSS, data: Any = DATA):
    BottomUp().check_settings(model, loss, {"train_data": data, "eval_data": data})


def test_network_loss_and_data_must_fit():
    settings()
    with pytest.raises(InputError, match="softmax_cross_entropy is for one map of classes"):
        settings(loss=losses.softmax_cross_entropy)
    with pytest.raises(InputError, match="ResNet has no things"):
        settings(model=ResNet())
    with pytest.raises(InputError, match=r"set model.things=\(2, 3\)"):
        settings(model=MODEL.clone(things=(1, 2)))
    with pytest.raises(InputError, match="set model.num_classes=4"):
        settings(model=MODEL.clone(num_classes=5))


@pytest.mark.parametrize(
    ("field", "value"),
    [("threshold", 1.0), ("kernel", 4), ("kernel", 0), ("most", 0), ("stuff_area", -1)],
)
def test_a_wrong_field_is_named(field, value):
    with pytest.raises(InputError, match=f"task.{field}={value}"):
        BottomUp(**{field: value})


def test_wrappers_and_split_images_are_refused():
    with pytest.raises(InputError, match="Flip"):
        BottomUp().predictor(MODEL, normalize=IMAGENET, wrappers=(Flip(),))
    with pytest.raises(InputError, match=r"split=\(2, 1\)"):
        BottomUp().predictor(MODEL, normalize=IMAGENET, split=(2, 1))


def shapes(model):
    init = lambda x: model.init(jax.random.key(0), x, train=False)
    return jax.eval_shape(init, jnp.zeros((1, 32, 32, 3)))


@pytest.mark.slow_but("None")
@pytest.mark.parametrize("output_stride", [None, 8], ids=str)
def test_images_of_any_size_get_segments_of_their_size(output_stride):
    variables = LIVELY(shapes(MODEL))
    image = np.random.default_rng(0).integers(0, 256, (1, 37, 51, 3)).astype(np.uint8)
    task = BottomUp(threshold=0.0, stuff_area=0)
    predictor = task.predictor(MODEL, normalize=IMAGENET, output_stride=output_stride)
    found, soft = task.answer(predictor, variables, image[0], soft=True)
    assert isinstance(found, PanopticMap) and found.ids.shape == (37, 51)
    assert soft is not None and soft.shape == (37, 51, 4)
    np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-5)
    likely = soft.argmax(-1)
    for segment in found.segments:
        if not segment.is_thing:
            at = found.ids == segment.id
            np.testing.assert_array_equal(at, likely == segment.class_id)
    assert task.answer(predictor, variables, image[0], soft=False)[1] is None
    broken = jax.tree.map(lambda each: each * np.nan, variables)
    with pytest.raises(RunError, match=r"not numbers \(NaN\)"):
        task.answer(predictor, broken, image[0], soft=False)
    assert predictor.check(variables, jax.ShapeDtypeStruct(image.shape, np.uint8)) == 4


def batch_of(count: int) -> dict[str, np.ndarray]:
    transform, rng = CenterTargets(sigma=3.0), np.random.default_rng(0)
    data = SyntheticObjects(size=32, most=4, panoptic=True)
    examples = [transform(data[i], rng) for i in range(count)]
    # Devices that hold unequal weights.
    examples[0]["label"][:] = 255
    keys = [key for key, value in examples[0].items() if isinstance(value, np.ndarray)]
    batch = {key: np.stack([each[key] for each in examples]) for key in keys}
    floats = {k: v.astype(np.float64) for k, v in batch.items() if v.dtype == np.float32}
    return {**batch, **floats, "step": np.zeros(count, np.int32)}


@pytest.mark.slow
def test_one_device_and_four_take_the_same_step():
    def after(devices: int):
        variables = jax.tree.map(lambda s: jnp.asarray(s, jnp.float64), LIVELY(shapes(MODEL)))
        model = MODEL.clone(dtype=jnp.float64, backbone=MODEL.backbone.clone(dtype=jnp.float64))
        optimizer = SGD(Constant(0.1)).build(1, variables["params"])
        objective = BottomUp().objective(model, LOSS, normalize=lambda x: x / 255.0)
        mapped = jax.pmap(
            make_train_step(objective, optimizer),
            axis_name=AXIS,
            in_axes=(None, 0),
            out_axes=None,  # type: ignore[arg-type]
            devices=jax.devices()[:devices],
        )
        split = {k: v.reshape(devices, -1, *v.shape[1:]) for k, v in batch_of(8).items()}
        return jax.device_get(mapped(init_state(variables, optimizer), split))

    with jax.enable_x64(True):
        (one, metrics), (four, others) = after(1), after(4)
    assert {"loss/semantic", "loss/center", "loss/offset"} <= metrics.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(others[name], value, rtol=1e-10, err_msg=name)
    for part in ("params", "batch_stats"):
        pairs = zip(*(jax.tree.leaves(getattr(s, part)) for s in (one, four)), strict=True)
        scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(getattr(one, part)))
        assert max(np.abs(a - b).max() for a, b in pairs) < 1e-10 * scale


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The workdir of a complete run on drawn objects."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    assert launch.main([str(TINY), "--workdir", str(workdir)]) == 0
    return workdir


@pytest.mark.slow
def test_a_run_leaves_scores_report_and_checkpoints(finished):
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert 0 <= evaluation["pq"] <= 1 and evaluation["images"] == 3
    assert {"pq_things", "pq_stuff", "sq", "rq"} <= evaluation.keys()
    report = (finished / "report.html").read_text()
    assert "rectangle" in report and "PQ" in report


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(finished, tmp_path):
    workdir = tmp_path / "run"
    script = TESTS / "commands" / "killed_run.py"
    done = subprocess.run(
        [sys.executable, script, "os.mkdir", r"/checkpoints/4[^/]*tmp[^/]*$", TINY]
        + ["--workdir", str(workdir)],
        env=os.environ | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Checkpoints(workdir, read_only=True) as kept:
        assert kept.steps == [2]
    assert launch.main([str(TINY), "--workdir", str(workdir)]) == 0
    assert SAME["same_bits"](SAME["state_of"](finished), SAME["state_of"](workdir))


@pytest.mark.slow
def test_an_export_holds_the_three_maps_for_images_of_any_size(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    out = tmp_path / "model.stablehlo"
    assert export.main([str(finished), "--out", str(out)]) == 0
    about = json.loads((tmp_path / "model.stablehlo.json").read_text())
    assert about["output"]["shape"]["offset"] == ["b", "h", "w", 2]
    image = np.random.default_rng(0).integers(0, 256, (1, 37, 51, 3)).astype(np.uint8)
    found = jax.jit(jax.export.deserialize(bytearray(out.read_bytes())).call)(image)
    with Checkpoints(finished, read_only=True) as kept:
        _, variables = kept.restore_variables()
    experiment = open_run(finished)
    network = experiment.task.network(experiment.model, normalize=experiment.normalize)
    wanted = jax.jit(network)(variables, image)
    for name, maps in wanted.items():
        gap = np.abs(found[name] - maps).max()
        assert gap < 1e-3 * np.abs(maps).max(), name


def test_targets_of_a_real_frame_give_back_its_segments(real_data):
    data = Cityscapes("val", directory=str(real_data / "cityscapes"), objects=True)
    data.prepare()
    example = data[0]
    targets = CenterTargets()(example, np.random.default_rng(0))
    label = example["label"]
    grouped = group(
        jnp.asarray(np.eye(19, dtype=np.float32)[np.where(label == 255, 0, label)]),
        jnp.asarray(targets["center"][..., None]),
        jnp.asarray(targets["offset"]),
        **{"things": data.things, "threshold": 0.1, "kernel": 7, "most": 50, "stuff_area": 0},
    )
    metric = BottomUp().metric(data)
    metric.add(0, example, panoptic_map(grouped, data.things))
    assert len(example["instance_ids"]) > 5 and metric.scores()["pq_things"] == 1

"""The top-down panoptic task: what it refuses, merges and answers, and how it trains."""

import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tracemalloc
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import launch, losses
from segjax.contracts import AXIS
from segjax.errors import InputError, RunError
from segjax.evaluate.wrappers import Flip
from segjax.experiment import load
from segjax.objects import PanopticMap
from segjax.ops.resize import resize_bilinear
from segjax.tasks.detector import Sizes
from segjax.tasks.panoptic_fpn import MergingPredictor, Parts, TopDown, labels_at
from segjax.tasks.two_stage import Detections
from segjax.train.checkpoint import Checkpoints
from segjax.train.optimizer import SGD, Constant
from segjax.train.step import init_state, make_train_step

TESTS = pathlib.Path(__file__).parents[1]
TINY = pathlib.Path(__file__).with_name("tiny_panoptic_fpn.py")
EXPERIMENT = load(TINY)
MODEL, DATA, TASK = EXPERIMENT.model, EXPERIMENT.train_data, EXPERIMENT.task
LIVELY = runpy.run_path(str(TESTS / "fill.py"))["lively"]
SAME = runpy.run_path(str(TESTS / "commands" / "test_launch.py"))


def settings(model=MODEL, loss=EXPERIMENT.loss, task=TASK):
    task.check_settings(model, loss, {"train_data": DATA, "eval_data": DATA})


def test_network_loss_and_data_must_fit():
    settings()
    with pytest.raises(InputError, match="softmax_cross_entropy is for one map of classes"):
        settings(loss=losses.softmax_cross_entropy)
    with pytest.raises(InputError, match="ResNet has no .*PanopticFPN"):
        settings(model=MODEL.backbone)
    with pytest.raises(InputError, match=r"set model.things=\(2, 3\)"):
        settings(model=MODEL.clone(things=(1, 2)))
    with pytest.raises(InputError, match="task.most=500 must not be above task.candidates"):
        settings(task=TopDown(most=500, candidates=40))
    with pytest.raises(InputError, match="set model.has_masks=True"):
        settings(model=MODEL.clone(has_masks=False))
    with pytest.raises(InputError, match="task.overlap=2.0 must be from 0 to 1"):
        settings(task=TopDown(overlap=2.0))
    with pytest.raises(InputError, match="task.stuff_area=-1 must be at least 0"):
        settings(task=TopDown(stuff_area=-1))


def test_wrappers_and_split_images_are_refused():
    normalize = EXPERIMENT.normalize
    with pytest.raises(InputError, match="Flip"):
        TASK.predictor(MODEL, normalize=normalize, wrappers=(Flip(),))
    with pytest.raises(InputError, match=r"split=\(2, 1\)"):
        TASK.predictor(MODEL, normalize=normalize, split=(2, 1))


def test_logits_are_interpolated_to_the_canvas_cut_and_interpolated_to_the_image():
    logits = np.random.default_rng(0).normal(size=(8, 12, 5)).astype(np.float32)
    whole = resize_bilinear(jnp.asarray(logits)[None], (32, 48))
    expected = resize_bilinear(whole[:, :27, :41], (53, 80))[0]
    found = labels_at(logits, Sizes((53, 80), (27, 41), (32, 48)))
    assert (found == np.asarray(expected).argmax(-1)).mean() > 0.999


def test_the_memory_of_stuff_does_not_grow_with_classes_times_pixels():
    logits = np.random.default_rng(0).normal(size=(12, 20, 54)).astype(np.float32)
    tracemalloc.start()
    try:
        found = labels_at(logits, Sizes((960, 1600), (48, 80), (48, 80)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All logits of the image's size would be 330 MB.
    assert found.shape == (960, 1600) and peak < 80e6
    whole = resize_bilinear(jnp.asarray(logits)[None], (48, 80))
    some = resize_bilinear(whole, (960, 1600))[0, ::37]
    assert (found[::37] == np.asarray(some).argmax(-1)).mean() > 0.999


@pytest.mark.parametrize("size", [(200_000, 1), (1, 200_000)], ids=["tall", "wide"])
def test_the_memory_of_stuff_grows_with_a_side_not_its_square(size):
    inside = tuple(min(side, 1333) for side in size)
    coarse = tuple(-(-side // 4) for side in inside)
    logits = np.random.default_rng(0).normal(size=(*coarse, 2)).astype(np.float32)
    tracemalloc.start()
    try:
        found = labels_at(logits, Sizes(size, inside, inside))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A matrix from the canvas to the image would be 2 GB.
    assert peak < 100e6
    whole = resize_bilinear(jnp.asarray(logits)[None], inside)
    expected = np.asarray(resize_bilinear(whole, size)[0]).argmax(-1)
    assert (found == expected).mean() > 0.999


def test_what_is_found_becomes_segments_of_the_datas_classes():
    # One disc (class 2 of the data, 1 of the detector) on the second stuff, sand.
    def network(variables, images, sizes) -> Parts:
        """Returns one good object, one of a low score and an empty slot, on a map of sand."""
        count = len(images)
        each = lambda value, dtype: jnp.broadcast_to(
            jnp.asarray(value, dtype), (count, *np.shape(value))
        )
        boxes = [[8, 4, 24, 20], [0, 0, 30, 30], [0, 0, 1, 1]]
        semantic = each(np.eye(3)[np.full((16, 16), 2)], jnp.float32)
        return Parts(
            Detections(
                each(boxes, jnp.float32),
                each([1, 2, 0], jnp.int32),
                each([0.9, 0.2, 0], jnp.float32),
                each([True, True, False], bool),
                each(np.ones((3, 8, 8)), jnp.float32),
            ),
            semantic,
        )

    predictor = MergingPredictor(network, num_classes=4, things=(2, 3), task=TASK)
    images = np.zeros((2, 48, 64, 3), np.uint8)
    for found in TASK.predict(predictor, {}, images):
        assert [(s.class_id, s.is_thing) for s in found.segments] == [(2, True), (1, False)]
        rows, columns = np.nonzero(found.ids == 1)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 20, 8, 24)
        assert found.ids.shape == (48, 64) and (found.ids > 0).all()

    def broken(*arguments) -> Parts:
        """Returns the same with a map that is not a number in one place."""
        parts = network(*arguments)
        return parts._replace(semantic=parts.semantic.at[0, 3, 3, 1].set(jnp.nan))

    predictor = MergingPredictor(broken, num_classes=4, things=(2, 3), task=TASK)
    with pytest.raises(RunError, match=r"not numbers \(NaN\)"):
        TASK.predict(predictor, {}, images)


def batch_of(count: int) -> dict[str, np.ndarray]:
    examples = []
    for i in range(count):
        example = DATA[i]
        for transform in EXPERIMENT.transforms:
            example = transform(example, np.random.default_rng(0))
        examples.append(example)
    examples[0]["label"][:] = 255  # Devices hold unequal weights,
    examples[1]["objects"][:] = False  # and images without objects.
    keys = [key for key, value in examples[0].items() if isinstance(value, np.ndarray)]
    return {key: np.stack([each[key] for each in examples]) for key in keys} | {
        "step": np.zeros(count, np.int32)
    }


def shapes(model):
    init = lambda x: model.init(jax.random.key(0), x, train=False)
    return jax.eval_shape(init, jnp.zeros((1, 64, 64, 3)))


def test_targets_of_the_branch_are_stuff_one_class_of_things_and_void():
    batch = batch_of(2)
    batch["label"][1, 0, :5] = 0, 1, 2, 3, 255
    part = partial(
        TASK.training_pass,
        batch={key: jnp.asarray(value) for key, value in batch.items()},
        keys=jax.random.split(jax.random.key(0), 2),
        normalize=lambda x: x / 255.0,
        train=False,
    )

    def forward(variables):
        outputs, targets = MODEL.apply(variables, method=part)
        assert outputs["semantic"].shape == (2, 64, 64, 3)
        return targets["semantic"], targets["classes"], targets["drawn"]

    semantic, classes, drawn = jax.jit(forward)(LIVELY(shapes(MODEL)))
    assert semantic[1, 0, :5].tolist() == [1, 2, 0, 0, 255]
    assert (semantic[0] == 255).all()
    assert set(np.asarray(classes[0])[np.asarray(drawn[0])].tolist()) <= {0, 1, 2}
    assert (classes[0] > 0).any() and not (classes[1] > 0).any()


@pytest.mark.slow
def test_one_device_and_four_take_the_same_step():
    def after(devices: int):
        variables = jax.tree.map(lambda s: jnp.asarray(s, jnp.float64), LIVELY(shapes(MODEL)))
        model = MODEL.clone(dtype=jnp.float64, backbone=MODEL.backbone.clone(dtype=jnp.float64))
        optimizer = SGD(Constant(0.1)).build(1, variables["params"])
        objective = TASK.objective(model, EXPERIMENT.loss, normalize=lambda x: x / 255.0)
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
    assert {"loss/semantic", "loss/rpn_boxes", "loss/masks"} <= metrics.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(others[name], value, rtol=1e-5, err_msg=name)
    for part in ("params", "batch_stats"):
        pairs = zip(*(jax.tree.leaves(getattr(s, part)) for s in (one, four)), strict=True)
        scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(getattr(one, part)))
        assert max(np.abs(a - b).max() for a, b in pairs) < 1e-5 * scale


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
    rows = [json.loads(row) for row in (finished / "metrics.jsonl").read_text().splitlines()]
    assert {"loss/semantic", "loss/classes", "loss/masks"} <= rows[0].keys()
    assert "rectangle" in (finished / "report.html").read_text()


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
def test_images_of_any_size_get_segments_of_their_size():
    variables = LIVELY(shapes(MODEL))
    image = np.random.default_rng(0).integers(0, 256, (37, 51, 3)).astype(np.uint8)
    predictor = TASK.predictor(MODEL, normalize=EXPERIMENT.normalize)
    found, soft = TASK.answer(predictor, variables, image, soft=True)
    assert isinstance(found, PanopticMap) and found.ids.shape == (37, 51) and soft is None
    assert predictor.check(variables, jax.ShapeDtypeStruct((1, 37, 51, 3), np.uint8)) == 4

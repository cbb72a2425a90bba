"""Training steps of two-stage detectors: devices, seeds, and images with few or odd objects."""

import pathlib
import runpy
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import losses
from segjax.contracts import AXIS
from segjax.experiment import UNIT
from segjax.layers.norm import FrozenBatchNorm
from segjax.train.optimizer import SGD, Poly
from segjax.train.step import init_state, make_train_step
from segjax.transforms.objects import Canvas, PackObjects

DISCS = runpy.run_path(str(pathlib.Path(__file__).with_name("discs.py")))
MODEL, TASK, Discs = DISCS["TinyDetector"](), DISCS["TASK"], DISCS["Discs"]
TRANSFORMS = (Canvas((48, 56)), PackObjects(40))
VARIABLES = jax.jit(MODEL.init, static_argnames="train")(
    jax.random.key(0), jnp.zeros((1, 40, 48, 3)), train=False
)
OPTIMIZER = SGD(Poly(0.01), weight_decay=1e-3).build(10, VARIABLES["params"])


def packed(example):
    """Returns an example after the last transforms, without its name."""
    for transform in TRANSFORMS:
        example = transform(example, np.random.default_rng(0))
    return {key: value for key, value in example.items() if key != "name"}


def batch_of(step, examples):
    """Returns a batch of packed examples."""
    stacked = {key: np.stack([each[key] for each in examples]) for key in examples[0]}
    return {**stacked, "step": np.full(len(examples), step, np.int32)}


def some(first, count=4):
    return [packed(Discs()[i]) for i in range(first, first + count)]


def step_on(devices, *, traces: list | None = None):
    """Returns a compiled step on so many devices; `traces` grows with each program."""

    def loss(outputs, targets):
        (traces if traces is not None else []).append(devices)
        return losses.TwoStage()(outputs, targets)

    objective = TASK.objective(MODEL, loss, normalize=UNIT)
    step = make_train_step(objective, OPTIMIZER, seed=3)
    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,  # type: ignore[arg-type]
        devices=jax.devices()[:devices],
    )


TRACES: list[int] = []


@pytest.fixture(scope="module")
def on_one():
    return step_on(1, traces=TRACES)


def state():
    return jax.tree.map(np.array, init_state(VARIABLES, OPTIMIZER))


def shared(batch, devices):
    return {key: value.reshape(devices, -1, *value.shape[1:]) for key, value in batch.items()}


def run(step, devices, batches):
    """Returns the state and the rows of numbers after some steps."""
    now, rows = state(), []
    for batch in batches:
        now, measured = step(now, shared(batch, devices))
        rows.append(jax.device_get(measured))
    return jax.device_get(now), rows


def difference(one, other):
    scale = max(np.abs(x).max() for x in jax.tree.leaves(one) if x.size)
    gaps = jax.tree.map(lambda x, y: float(np.abs(x - y).max()) if x.size else 0.0, one, other)
    return max(jax.tree.leaves(gaps)) / scale


@pytest.mark.slow
def test_one_device_and_four_take_the_same_steps(on_one):
    batches = [batch_of(i, some(4 * i)) for i in range(2)]
    one, rows_one = run(on_one, 1, batches)
    four, rows_four = run(step_on(4), 4, batches)
    for part in ("params", "batch_stats", "opt_state"):
        assert difference(getattr(one, part), getattr(four, part)) < 1e-5, part
    for row, other in zip(rows_one, rows_four, strict=True):
        assert row.pop("finite") and other.pop("finite")
        assert difference(row, other) < 1e-5


@pytest.mark.slow
def test_micro_batches_take_the_steps_of_the_whole_batch():
    """On two devices, with other weights of the terms in each; the norm is frozen."""
    model = DISCS["TinyDetector"](norm=FrozenBatchNorm)
    variables = jax.jit(partial(model.init, train=False))(
        jax.random.key(0), jnp.zeros((1, 40, 48, 3))
    )
    optimizer = SGD(Poly(0.01)).build(10, variables["params"])
    objective = TASK.objective(model, losses.TwoStage(), normalize=UNIT)
    found = []
    for accumulate in (1, 2):
        step = make_train_step(objective, optimizer, seed=3, accumulate=accumulate)
        now = init_state(variables, optimizer)
        mapped = jax.pmap(
            step,
            axis_name=AXIS,
            in_axes=(None, 0),
            out_axes=None,  # type: ignore[arg-type]
            devices=jax.devices()[:2],
        )
        for i in range(2):
            now, measured = mapped(now, shared(batch_of(i, some(4 * i)), 2))
        assert measured["finite"]
        found.append(jax.device_get((now.params, measured)))
    assert difference(found[0][0], found[1][0]) < 1e-5
    for name, value in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], value, rtol=1e-4, err_msg=name)


def test_one_program_serves_0_to_40_objects(on_one):
    rng = np.random.default_rng(0)
    now = state()
    on_one(now, shared(batch_of(0, some(0)), 1))
    assert TRACES
    TRACES.clear()
    for count in (0, 1, 7, 40):
        example = packed(Discs()[0])
        low = rng.uniform(0, 30, (count, 2)).astype(np.float32)
        example["boxes"][:count] = np.concatenate([low, low + 8], -1)
        example["boxes"][count:] = 0
        example["classes"] = np.where(np.arange(40) < count, 1, 0).astype(np.int32)
        example["objects"] = np.arange(40) < count
        _, measured = on_one(now, shared(batch_of(0, [example] * 4), 1))
        assert measured["finite"] and measured["loss/rpn_objectness"] > 0, count
    assert not TRACES


def no_objects():
    return packed(Discs()[0])


def one_pixel():
    example = Discs()[1]
    example["instances"] = np.zeros_like(example["instances"])
    example["instances"][7, 9] = 1
    example["boxes"] = np.array([[9, 7, 10, 8]], np.float32)
    return packed(example)


def all_crowds():
    example = Discs()[3]
    return packed({**example, "crowd": np.ones(3, bool)})


@pytest.mark.parametrize("make", [no_objects, one_pixel, all_crowds])
def test_the_step_is_finite_on_images_with(make, on_one):
    now, measured = on_one(state(), shared(batch_of(0, [make()] * 4), 1))
    measured = jax.device_get(measured)
    assert measured["finite"] and int(now.step) == 1
    if make is one_pixel:
        assert measured["loss/masks"] > 0 and measured["loss/rpn_boxes"] > 0
    else:
        names = "loss/masks", "loss/boxes", "loss/rpn_boxes"
        assert [measured[name] for name in names] == [0, 0, 0]
        assert measured["loss/rpn_objectness"] > 0 and measured["loss/classes"] > 0


def test_what_lies_outside_of_an_images_size_changes_nothing(on_one):
    batch = batch_of(0, some(1))
    assert batch["size"].tolist() == [[40, 48]] * 4
    noisy = {**batch, "image": batch["image"].copy()}
    noisy["image"][:, 40:], noisy["image"][:, :, 48:] = 255, 7
    one, other = (on_one(state(), shared(each, 1))[1] for each in (batch, noisy))
    assert jax.tree.map(float, one) == jax.tree.map(float, other)


@jax.jit
def of_key(key):
    """Returns what an image's key samples: scores of anchors, classes of proposals."""
    batch = {name: jnp.asarray(value)[None] for name, value in packed(Discs()[4]).items()}
    part = partial(TASK.training_pass, batch=batch, keys=key[None], normalize=UNIT, train=False)
    outputs, targets = MODEL.apply(VARIABLES, method=part)
    return outputs["objectness"][0], targets["classes"][0]


def sampled(seed, position=0):
    """Returns the sampled scores and classes of an image at a position of the batch."""
    key = jax.random.fold_in(jax.random.key(seed), position)
    return tuple(np.asarray(each) for each in of_key(key))


def test_the_draw_depends_on_seed_and_position_alone():
    first = sampled(0)[0]
    np.testing.assert_array_equal(first, sampled(0)[0])
    assert (first != sampled(1)[0]).any() and (first != sampled(0, position=1)[0]).any()


def test_sampled_proposals_begin_with_those_that_show_an_object():
    classes = sampled(0)[1]
    positive = (classes > 0).sum()
    assert 0 < positive <= TASK.rois_positive
    assert (classes[:positive] > 0).all() and not classes[positive:].any()

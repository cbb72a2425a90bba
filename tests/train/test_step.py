"""The contract of training: a step does not depend on the number of devices."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from segjax import losses
from segjax.backbones.resnet import ResNet
from segjax.contracts import AXIS
from segjax.experiment import IMAGENET
from segjax.layers.conv import Conv
from segjax.layers.dropout import Dropout
from segjax.layers.norm import BatchNorm
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.parallel.data import data_parallel, shard
from segjax.tasks import dense
from segjax.train.optimizer import SGD, Poly
from segjax.train.step import TrainState, init_state, make_train_step


class Small(nn.Module):
    """Everything that could tell devices apart: batch norm, dropout, an auxiliary head."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image, *, train: bool):
        x = Conv(6, 3, dtype=self.dtype, name="conv")(image)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="norm")(x, train=train))
        auxiliary = Conv(3, 1, dtype=self.dtype, name="auxiliary_head")(x)
        if train and not self.is_initializing():
            self.sow("auxiliary", "c1", auxiliary, reduce_fn=lambda _, new: new)
        x = Dropout(0.5, name="dropout")(x, train=train)
        return Conv(3, 1, dtype=self.dtype, name="classifier")(x)


MODEL = Small()


@flax.struct.dataclass
class Overlap:
    """Sums of which the loss is no quotient of two: 1 − 2 i / (a + i²), times a factor."""

    intersection: Any
    area: Any

    def value(self):
        return 1 - 2 * self.intersection / (self.area + self.intersection**2)


def overlap(logits, batch) -> dict[str, Any]:
    counted = (batch["label"] != 255)[..., None]
    share = jnp.where(counted, jax.nn.softmax(logits), 0)
    return {"overlap": Overlap(jnp.sum(share[..., 1]), jnp.sum(counted, dtype=logits.dtype))}


def deeplab(dtype: Any) -> DeepLabV3:
    backbone = ResNet(stages=(1, 1, 1, 1), width=4, output_stride=8, dtype=dtype)
    return DeepLabV3(backbone, num_classes=3, rates=(1, 2), auxiliary=True, features=8)


def state_and_step(
    *,
    ema: float | None = None,
    dtype: Any = jnp.float32,
    make=Small,
    loss=losses.softmax_cross_entropy,
    optimizer=None,
):
    model = make(dtype)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
    variables = jax.tree.map(lambda x: x.astype(dtype), variables)
    usual = SGD(Poly(0.1), weight_decay=1e-3).build(10, variables["params"])
    optimizer = optimizer or usual
    step = make_train_step(
        dense.objective(model, loss, normalize=IMAGENET),
        optimizer,
        auxiliary_weight=0.4,
        ema=ema,
        seed=3,
    )
    state = init_state(variables, optimizer, ema=ema)
    return jax.tree.map(np.array, state), step


def batch_of(step: int, *, count: int = 4, ignored_first: int = 3) -> dict[str, np.ndarray]:
    """Images of which the first are mostly ignored, so that devices hold unequal weights."""
    rng = np.random.default_rng(step)
    label = rng.integers(0, 3, (count, 8, 8)).astype(np.uint8)
    label[:ignored_first, 1:] = 255
    image = rng.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    return {"image": image, "label": label, "step": np.full(count, step, np.int32)}


def run(
    devices: int, steps: int = 3, count: int = 4, **options
) -> tuple[TrainState, list[dict]]:
    state, step = state_and_step(**options)
    mapped = jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,  # type: ignore[arg-type]
        devices=jax.devices()[:devices],
    )
    rows = []
    for i in range(steps):
        batch = {
            k: v.reshape(devices, -1, *v.shape[1:]) for k, v in batch_of(i, count=count).items()
        }
        state, metrics = mapped(state, batch)
        rows.append(jax.device_get(metrics))
    return jax.device_get(state), rows


def largest_difference(a, b) -> float:
    scale = max(np.abs(x).max() for x in jax.tree.leaves(a) if x.size)
    gaps = jax.tree.map(
        lambda x, y: np.abs(np.subtract(x, y, dtype=np.float64)).max() if x.size else 0.0, a, b
    )
    return max(jax.tree.leaves(gaps)) / scale


@pytest.mark.parametrize("devices", [pytest.param(2, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize(("bits", "tolerance"), [(32, 1e-5), (64, 1e-10)])
def test_one_device_and_many_take_the_same_steps(devices, bits, tolerance):
    dtype = jnp.float64 if bits == 64 else jnp.float32
    with jax.enable_x64(bits == 64):
        one, rows_one = run(1, dtype=dtype, ema=0.9)
        many, rows_many = run(devices, dtype=dtype, ema=0.9)
    for part in ("params", "batch_stats", "opt_state", "averaged"):
        assert largest_difference(getattr(one, part), getattr(many, part)) < tolerance, part
    assert largest_difference(rows_one, rows_many) < tolerance


def test_a_loss_of_sums_takes_the_same_steps_on_one_device_and_four():
    with jax.enable_x64(True):
        one, rows_one = run(1, dtype=jnp.float64, loss=overlap)
        four, rows_four = run(4, dtype=jnp.float64, loss=overlap)
    for part in ("params", "batch_stats", "opt_state"):
        assert largest_difference(getattr(one, part), getattr(four, part)) < 1e-10, part
    assert largest_difference(rows_one, rows_four) < 1e-10


def test_the_gradient_of_a_loss_of_sums_is_that_of_the_whole_batch():
    """Of `overlap` and of a total over a weight together, each with its factor."""
    x = np.random.default_rng(0).normal(size=(4, 5))

    def objective(variables, batch, key):
        scores = batch["x"] @ variables["params"]["w"]
        both = {
            "overlap": Overlap(jnp.sum(scores**2), jnp.float64(7.0)),
            "auxiliary/head/mean": (jnp.sum(scores), jnp.float64(scores.size)),
        }
        return both, {}

    def whole(w):
        scores = x @ w
        i = jnp.sum(scores**2)
        return 1 - 2 * i / (4 * 7.0 + i**2) + 0.4 * jnp.mean(scores)

    class Keep:
        init = staticmethod(lambda params: params)
        update = staticmethod(lambda gradients, state, params: (gradients, gradients))

    with jax.enable_x64(True):
        w = jnp.arange(5.0) / 10
        step = make_train_step(objective, Keep, auxiliary_weight=0.4)  # type: ignore[arg-type]
        state = init_state({"params": {"w": w}}, Keep)
        batch = {"x": x[:, None], "step": np.zeros((4, 1), np.int32)}
        over_four = jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=None)
        after, metrics = over_four(state, batch)
        np.testing.assert_allclose(after.opt_state["w"], jax.grad(whole)(w), rtol=1e-12)
        np.testing.assert_allclose(metrics["loss"], whole(w), rtol=1e-12)


@pytest.mark.slow
def test_deeplab_takes_the_same_three_steps_on_one_device_and_four():
    # In x64 alone: the pooled branch normalises a number an image, which in float32 magnifies
    # the rounding of sums in another order past a tolerance that tells right from wrong.
    with jax.enable_x64(True):
        one, rows_one = run(1, count=16, dtype=jnp.float64, make=deeplab)
        four, rows_four = run(4, count=16, dtype=jnp.float64, make=deeplab)
    for part in ("params", "batch_stats", "opt_state"):
        assert largest_difference(getattr(one, part), getattr(four, part)) < 1e-10, part
    assert largest_difference(rows_one, rows_four) < 1e-10


def test_a_step_moves_every_parameter_and_statistic():
    before, _ = state_and_step()
    after, _ = run(2, steps=1)
    for part in ("params", "batch_stats"):
        moved = jax.tree.map(
            lambda a, b: np.abs(a - b).max() > 0, getattr(before, part), getattr(after, part)
        )
        assert all(jax.tree.leaves(moved)), part
    assert after.step == 1


def test_the_loss_is_the_mean_over_all_counted_pixels_of_the_batch():
    state, step = state_and_step()
    batch = batch_of(0)
    _, (row, *_) = run(2, steps=1)

    def whole(params, image):
        key = jax.random.fold_in(jax.random.key(3), 0)
        logits, updated = MODEL.apply(
            {"params": params, "batch_stats": state.batch_stats},
            IMAGENET(image),
            train=True,
            mutable=["batch_stats", "auxiliary"],
            rngs={"dropout": key},
        )
        parts = [
            losses.softmax_cross_entropy(scores, {"label": jnp.asarray(batch["label"])})
            for scores in (logits, updated["auxiliary"]["c1"])
        ]
        means = [p["cross_entropy"][0] / p["cross_entropy"][1] for p in parts]
        return means[0] + 0.4 * means[1]

    over_one = jax.pmap(whole, axis_name=AXIS, in_axes=(None, 0), devices=jax.devices()[:1])
    expected = float(over_one(state.params, batch["image"][None])[0])
    assert row["loss"] == pytest.approx(expected, rel=1e-5)
    assert row["loss"] == pytest.approx(
        row["loss/cross_entropy"] + row["loss/auxiliary/c1/cross_entropy"], rel=1e-6
    )


@pytest.mark.parametrize("branches", [True, False])
def test_a_bad_step_and_all_after_it_change_nothing(branches, monkeypatch):
    monkeypatch.setattr("segjax.train.step.on_cpu", lambda: branches)
    state, step = state_and_step()
    mapped = data_parallel(step)
    good, _ = mapped(state, shard(batch_of(0)))
    good = jax.tree.map(np.array, jax.device_get(good))
    poisoned = jax.tree.map(np.array, good)
    poisoned.params["conv"]["kernel"][0, 0, 0, 0] = np.nan
    after, metrics = mapped(poisoned, shard(batch_of(1)))
    assert not metrics["finite"]
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(after), poisoned)
    later, _ = mapped(good, shard(batch_of(2)))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(later), good)


def test_a_branch_and_a_selection_take_the_same_step(monkeypatch):
    ends = []
    for branches in (True, False):
        monkeypatch.setattr("segjax.train.step.on_cpu", lambda branches=branches: branches)
        after, _ = run(2, steps=2, ema=0.9)
        ends.append(jax.device_get(after))
    assert ends[0].step == 2
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    jax.tree.map(close, *ends)


def test_an_optimizer_may_change_the_type_of_its_state():
    def update(gradients, count, params=None):
        return jax.tree.map(lambda g: -0.1 * g, gradients), count + 0.5

    counting = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)
    after, _ = run(1, steps=2, optimizer=counting)
    assert after.opt_state == 1.0 and after.step == 2


def test_a_batch_of_ignored_pixels_has_loss_zero_and_is_finite():
    state, step = state_and_step()
    batch = batch_of(0, ignored_first=4)
    batch["label"][:] = 255
    _, metrics = data_parallel(step)(state, shard(batch))
    assert metrics["loss"] == 0 and metrics["finite"]


def test_the_running_mean_follows_parameters_and_statistics():
    initial, _ = state_and_step(ema=0.9)
    after, _ = run(1, steps=1, ema=0.9)
    mean = lambda old, new: 0.9 * old + 0.1 * new
    expected = jax.tree.map(mean, initial.params, after.params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7),
        after.averaged["params"],
        expected,
    )
    assert after.variables is after.averaged

"""Micro-batches: a step of them is the step of the whole batch."""

import re
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import losses
from segjax.contracts import AXIS
from segjax.errors import InputError
from segjax.experiment import IMAGENET
from segjax.layers.conv import Conv
from segjax.layers.dropout import Dropout
from segjax.layers.norm import BatchNorm, GroupNorm
from segjax.losses.hard_pixels import OHEMCrossEntropy
from segjax.losses.regions import Dice
from segjax.parallel.sharing import check_batch_size, over_devices
from segjax.tasks import dense
from segjax.train.augmentation import augmented
from segjax.train.optimizer import SGD, Poly
from segjax.train.step import init_state, make_train_step
from segjax.transforms.on_device import DeviceFlip

THREE_GROUPS = partial(GroupNorm, groups=3)


class Small(nn.Module):
    """A network with dropout, an auxiliary head and a norm."""

    norm: Any = THREE_GROUPS
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image, *, train: bool):
        x = Conv(6, 3, dtype=self.dtype, name="conv")(image)
        x = nn.relu(self.norm(dtype=self.dtype, name="norm")(x, train=train))
        auxiliary = Conv(3, 1, dtype=self.dtype, name="auxiliary_head")(x)
        if train and not self.is_initializing():
            self.sow("auxiliary", "c1", auxiliary, reduce_fn=lambda _, new: new)
        x = Dropout(0.5, name="dropout")(x, train=train)
        return Conv(3, 1, dtype=self.dtype, name="classifier")(x)


def every_kind(logits, batch):
    """Weights of labels alone, weights that the logits decide, and a loss of sums."""
    hard = OHEMCrossEntropy(threshold=0.4, min_kept=0.1)(logits, batch)
    return {"hard": hard["cross_entropy"], **Dice()(logits, batch)}


def batch_of(step: int, *, count: int = 16) -> dict[str, np.ndarray]:
    """Images of which the first are mostly ignored, so that micro-batches weigh unequally."""
    rng = np.random.default_rng(step)
    label = rng.integers(0, 3, (count, 8, 8)).astype(np.uint8)
    label[:7, 1:] = 255
    image = rng.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    return {"image": image, "label": label, "step": np.full(count, step, np.int32)}


def made(accumulate: int, *, norm=THREE_GROUPS, loss=every_kind, dtype=jnp.float32):
    model = Small(norm, dtype)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
    variables = jax.tree.map(lambda x: x.astype(dtype), variables)
    optimizer = SGD(Poly(0.1), weight_decay=1e-3).build(10, variables["params"])
    objective = dense.objective(model, loss, normalize=IMAGENET)
    moved = augmented(objective, (DeviceFlip(),))
    step = make_train_step(
        moved, optimizer, auxiliary_weight=0.4, ema=0.9, seed=3, accumulate=accumulate
    )
    state = init_state(variables, optimizer, ema=0.9)
    return jax.tree.map(np.array, state), step


def run(accumulate: int, *, devices: int = 1, steps: int = 3, **options):
    state, step = made(accumulate, **options)
    mapped = jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,  # type: ignore[arg-type]
        devices=jax.devices()[:devices],
    )
    rows = []
    for i in range(steps):
        shared = {k: v.reshape(devices, -1, *v.shape[1:]) for k, v in batch_of(i).items()}
        state, metrics = mapped(state, shared)
        rows.append(jax.device_get(metrics))
    return jax.device_get(state), rows


def largest_difference(a, b) -> float:
    scale = max(np.abs(x).max() for x in jax.tree.leaves(a))
    gaps = jax.tree.map(lambda x, y: np.abs(np.subtract(x, y, dtype=np.float64)).max(), a, b)
    return max(jax.tree.leaves(gaps)) / scale


@pytest.mark.slow_but("4-32")
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("devices", [1, 4])
def test_four_micro_batches_of_four_take_the_steps_of_a_batch_of_sixteen(devices, bits):
    dtype, tolerance = (jnp.float64, 1e-10) if bits == 64 else (jnp.float32, 1e-5)
    with jax.enable_x64(bits == 64):
        whole, rows = run(1, dtype=dtype)
        parts, rows_of_parts = run(4, devices=devices, dtype=dtype)
    for part in ("params", "opt_state", "averaged"):
        assert largest_difference(getattr(whole, part), getattr(parts, part)) < tolerance, part
    assert largest_difference(rows, rows_of_parts) < tolerance
    assert "loss/dice" in rows[0] and "loss/auxiliary/c1/hard" in rows[0]


def test_batch_norm_sees_each_micro_batch_alone_whatever_the_number_of_devices():
    loss = losses.softmax_cross_entropy
    one, _ = run(4, norm=BatchNorm, loss=loss, steps=1)
    four, _ = run(4, norm=BatchNorm, loss=loss, devices=4, steps=1)
    whole, _ = run(1, norm=BatchNorm, loss=loss, steps=1)
    assert largest_difference(one.params, four.params) < 1e-5
    assert largest_difference(one.batch_stats, four.batch_stats) < 1e-5
    assert largest_difference(one.params, whole.params) > 1e-4
    # Four updates with momentum 0.9 leave 0.9⁴ of the first statistics, 1 of a variance.
    kept, updated = np.float32(0.9**4), one.batch_stats["norm"]["mean"]
    np.testing.assert_allclose(
        updated / (1 - kept), whole.batch_stats["norm"]["mean"] / 0.1, rtol=0.2, atol=0.02
    )


def convolutions(accumulate: int, loss) -> int:
    """Counts the convolutions of a compiled step."""
    state, step = made(accumulate, loss=loss)
    mapped = jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), devices=jax.devices()[:1])
    batch = {key: value[None] for key, value in batch_of(0).items()}
    return len(re.findall(r" convolution\(", mapped.lower(state, batch).compile().as_text()))


def test_weights_of_labels_alone_need_no_second_forward_pass():
    entropy = losses.softmax_cross_entropy
    assert 0 < convolutions(1, entropy) == convolutions(2, entropy)
    assert convolutions(1, every_kind) < convolutions(2, every_kind)


def test_a_network_that_devices_share_takes_micro_batches_too():
    state, step = made(1)
    objective = dense.objective(Small(), every_kind, normalize=IMAGENET)
    optimizer = SGD(Poly(0.1)).build(10, state.params)
    found = []
    for accumulate, split in ((1, (1, 1)), (4, (2, 1))):
        step = make_train_step(objective, optimizer, seed=3, accumulate=accumulate)
        first = init_state({"params": jax.tree.map(jnp.array, state.params)}, optimizer)
        after, _ = over_devices(step, split=split)(first, batch_of(0))
        found.append(jax.device_get(after.params))
    assert largest_difference(*found) < 1e-5


def test_a_batch_that_micro_batches_do_not_divide_is_refused_with_sizes_that_fit():
    check_batch_size(16, accumulate=4)
    check_batch_size(4, split=(2, 1), accumulate=2)
    with pytest.raises(InputError, match="=20 .* 4 devices times accumulate=4; use 16 or 32"):
        check_batch_size(20, accumulate=4)
    with pytest.raises(InputError, match="batch_size=8 .* use 16, or accumulate=2[.]"):
        check_batch_size(8, accumulate=4)


def test_one_device_is_named_in_the_singular(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    with pytest.raises(
        InputError, match="by the 1 device times accumulate=3; use 6 or 9, or accumulate=2 or 4"
    ):
        check_batch_size(8, accumulate=3)

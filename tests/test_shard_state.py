"""A state that is divided over the devices: the steps of a complete one, in less memory."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import losses
from segjax.experiment import IMAGENET
from segjax.layers.conv import Conv
from segjax.layers.dropout import Dropout
from segjax.layers.norm import BatchNorm
from segjax.parallel.sharing import on_devices, over_devices
from segjax.parallel.spatial import training_mesh
from segjax.parallel.state import gathered, spread, state_layout
from segjax.tasks import dense
from segjax.train.augmentation import augmented
from segjax.train.checkpoint import Checkpoints
from segjax.train.optimizer import SGD, Poly
from segjax.train.step import TrainState, init_state, make_train_step
from segjax.transforms.on_device import DeviceFlip


class Wide(nn.Module):
    """A kernel that is divided, others that are not, batch norm and dropout."""

    @nn.compact
    def __call__(self, image, *, train: bool):
        x = nn.relu(Conv(32, 3, name="first")(image))
        x = nn.relu(BatchNorm(name="norm")(Conv(32, 3, name="second")(x), train=train))
        return Conv(3, 1, name="classifier")(Dropout(0.2, name="dropout")(x, train=train))


def begun() -> tuple[TrainState, object]:
    variables = Wide().init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
    optimizer = SGD(Poly(0.05), clip_norm=1.0).build(20, variables["params"])
    return gathered(init_state(variables, optimizer, ema=0.9)), optimizer


def steps(count: int, *, transforms=(), accumulate: int = 1, **shared):
    """Returns the state after some steps, on the devices, and the numbers of the last one."""
    state, optimizer = begun()
    objective = dense.objective(Wide(), losses.softmax_cross_entropy, normalize=IMAGENET)
    step = over_devices(
        make_train_step(
            augmented(objective, transforms), optimizer, ema=0.9, accumulate=accumulate
        ),
        **shared,
    )
    state = on_devices(state, **shared)
    for i in range(count):
        rng = np.random.default_rng(i)
        label = rng.integers(0, 3, (8, 8, 8)).astype(np.uint8)
        label[:3, 1:] = 255
        image = rng.integers(0, 256, (8, 8, 8, 3)).astype(np.uint8)
        batch = {"image": image, "label": label, "step": np.full(8, i, np.int32)}
        state, measured = step(state, batch)
    return state, measured


def assert_equal_to_rounding(found, expected):
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * largest)
    jax.tree.map(close, found, expected)


def test_a_divided_state_takes_the_twenty_steps_of_a_complete_one():
    transforms = (DeviceFlip(),)
    complete, numbers = steps(20, transforms=transforms)
    divided, measured = steps(20, transforms=transforms, shard_state=True)
    np.testing.assert_allclose(measured["loss"], numbers["loss"], rtol=1e-5)
    assert_equal_to_rounding(gathered(divided.averaged), gathered(complete.averaged))
    assert_equal_to_rounding(gathered(divided.params), gathered(complete.params))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"split": (2, 1)}, {"accumulate": 2}], ids=str)
def test_a_divided_state_goes_with_images_that_devices_share_and_with_micro_batches(options):
    complete, _ = steps(3, **options)
    divided, _ = steps(3, shard_state=True, **options)
    assert_equal_to_rounding(gathered(divided.params), gathered(complete.params))


def test_each_device_holds_a_quarter_of_every_large_array_also_after_a_step():
    state, _ = steps(1, shard_state=True)
    moments = jax.tree.leaves(state.opt_state, is_leaf=lambda x: isinstance(x, dict))
    trees = [each for each in moments if isinstance(each, dict) and "second" in each]
    for tree in (state.params, state.averaged["params"], *trees):
        kernel = tree["second"]["kernel"]
        assert kernel.shape == (3, 3, 32, 32)
        assert kernel.sharding.shard_shape(kernel.shape) == (3, 3, 32, 8)
        assert tree["second"]["bias"].is_fully_replicated
    assert len(trees) == 1


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ((3, 3, 64, 32), (3, 3, 16, 32)),  # The largest axis.
        ((3, 3, 32, 64), (3, 3, 32, 16)),
        ((3, 3, 64, 63), (3, 3, 16, 63)),  # The largest that four divides.
        ((4096,), (1024,)),
        ((4092,), (4092,)),  # Small.
        ((65, 65), (65, 65)),  # Four divides none.
        ((), ()),
    ],
)
def test_arrays_are_divided_along_their_largest_axis_that_the_devices_divide(shape, part):
    layout = partial(state_layout, jax.ShapeDtypeStruct(shape, jnp.float32))
    mesh = training_mesh((2, 1))
    assert layout(mesh, shard_state=True).shard_shape(shape) == part
    assert layout(mesh, shard_state=False).shard_shape(shape) == shape


def test_a_divided_state_is_saved_complete_and_restored_on_other_devices(tmp_path):
    state, _ = begun()
    divided = on_devices(state, shard_state=True)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(divided)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        restored = checkpoints.restore(state)
    jax.tree.map(np.testing.assert_array_equal, gathered(restored), state)
    again = on_devices(gathered(restored), split=(2, 2))
    jax.tree.map(np.testing.assert_array_equal, gathered(again), state)


def test_a_state_that_lies_so_already_is_not_moved():
    state, _ = begun()
    layout = state_layout(state, training_mesh((1, 1)), shard_state=True)
    placed = spread(state, layout)
    jax.tree.map(lambda a, b: a is b or pytest.fail(), spread(placed, layout), placed)

"""Initial states: the bits of `jax.jit`, from programs that arrays of any shape share."""

import pathlib
import runpy
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from segjax import initial
from segjax.initial import initial_state
from segjax.train.optimizer import SGD, AdamW, Constant
from segjax.train.step import init_state

SMALL = pathlib.Path(__file__).parent / "models" / "small_networks.py"
MODELS = runpy.run_path(str(SMALL))["MODELS"]
INITIALIZERS = {
    "he_normal": nn.initializers.he_normal(),
    "variance_scaling": nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    "truncated": nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
    "he_uniform": nn.initializers.he_uniform(),
    "normal": nn.initializers.normal(0.02),
    "truncated_normal": nn.initializers.truncated_normal(0.33),
    "uniform": nn.initializers.uniform(0.3),
    "plain_uniform": jax.random.uniform,
    "shifted": lambda key, shape: 0.3 + 0.7 * jax.random.normal(key, shape),
    "divided": lambda key, shape: jax.random.normal(key, shape) / 3.0 * 0.7,
    "thrice": lambda key, shape: jax.random.normal(key, shape) * 0.3 * 1.7 * 0.9,
    "squared": lambda key, shape: jnp.square(jax.random.normal(key, shape) * 0.3) * 1.7,
    "half": lambda key, shape: jax.random.normal(key, shape, jnp.bfloat16) * 0.3,
    "rounded": lambda key, shape: jax.random.normal(key, shape).astype(jnp.bfloat16) * 0.3,
    "orthogonal": nn.initializers.orthogonal(),
    "split": lambda key, shape: jax.random.normal(jax.random.split(key)[1], shape),
    "of_two_keys": lambda key, shape: (
        jax.random.uniform(key, shape) + jax.random.uniform(jax.random.fold_in(key, 1), shape)
    ),
    "transposed": lambda key, shape: jax.random.normal(key, shape[::-1]).T,
    "of_one_number": lambda key, shape: jnp.broadcast_to(jax.random.normal(key, (1,)), shape),
    "table": lambda key, shape: jnp.asarray(np.arange(np.prod(shape)).reshape(shape) * 0.1),
    "bits": lambda key, shape: jax.random.bits(key, shape),
    "signs": lambda key, shape: jax.random.rademacher(key, shape, jnp.float32),
}
LEFT_TO_JIT = {
    *("squared", "half", "orthogonal", "split", "of_two_keys", "transposed"),
    *("of_one_number", "table", "signs"),
}


@pytest.fixture
def optimized():
    """Programs as runs compile them: optimizations decide where XLA rounds."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    initial._program.cache_clear()
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    initial._program.cache_clear()


def assert_same_bits(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        two = np.asarray(two)
        assert (one.shape, one.dtype, one.tobytes()) == (two.shape, two.dtype, two.tobytes())


@pytest.mark.parametrize("name", sorted({*INITIALIZERS} - LEFT_TO_JIT))
def test_an_initializer_draws_the_bits_of_jit(name, optimized, monkeypatch):
    if name == "thrice" and jax.__version_info__ >= (0, 11):
        pytest.skip("newer XLA combines a chain of factors in another order")
    draw = lambda key: INITIALIZERS[name](jax.random.fold_in(key, 2**32 - 5), (61, 73, 11))
    key = jax.random.key(2**31 + 3)
    expected = jax.jit(draw)(key)
    monkeypatch.setattr(initial.core, "jaxpr_as_fun", lambda _: pytest.fail("by jit"))
    assert_same_bits(initial_state(draw, key), expected)


@pytest.mark.parametrize("name", sorted(LEFT_TO_JIT))
def test_what_is_not_a_function_of_a_key_and_a_place_is_left_to_jit(name):
    draw = lambda key: INITIALIZERS[name](key, (6, 7))
    key = jax.random.key(5)
    assert_same_bits(initial_state(draw, key), jax.jit(draw)(key))


@pytest.mark.parametrize("name", ["unet", "fcn8s", "dilation", "deeplab_v2"])
def test_networks_start_from_the_bits_of_jit(name):
    model = MODELS[name]
    build = lambda key: model.init(key, jnp.zeros((1, 64, 64, 3)), train=False)
    key = jax.random.key(7)
    found = initial_state(build, key)
    assert_same_bits(found, jax.jit(build)(key))


@pytest.mark.parametrize("optimizer", [SGD(Constant(0.1)), AdamW(Constant(0.1))])
def test_the_state_of_training_has_the_bits_of_jit_and_shares_no_memory(optimizer):
    params = {"kernel": np.ones((70, 600), np.float32), "bias": np.zeros(3, np.float32)}
    built = optimizer.build(10, params)
    build = lambda variables: init_state(variables, built, ema=0.9)
    found = initial_state(build, {"params": params})
    assert_same_bits(found, jax.jit(build)({"params": params}))
    places = [leaf.ctypes.data for leaf in jax.tree.leaves((found, params))]
    assert len({*places}) == len(places)
    assert all(leaf.flags.writeable for leaf in jax.tree.leaves(found))


def test_kernels_of_other_shapes_factors_and_networks_need_no_program_of_their_own():
    draw = INITIALIZERS["variance_scaling"]
    key, before = jax.random.key(0), initial._program.cache_info()
    for shape in [(3, 3, 8, 16), (1, 1, 16, 4), (70_001, 1), (5, 5, 90, 70)]:
        initial_state(partial(draw, shape=shape), key)
    after = initial._program.cache_info()
    assert after.misses - before.misses <= 1 and after.hits > before.hits + 3
    recipes = recipes_of(draw, key)
    assert [initial._program(recipe)._cache_size() for recipe in recipes] == [1]


def recipes_of(draw, key):
    """The recipes that arrays of an initializer have."""
    found = set()
    for shape in [(3, 4), (70_001, 1)]:
        closed = jax.make_jaxpr(partial(draw, shape=shape))(key)
        scope = initial._Scope(initial._producers(closed.jaxpr), {})
        given = {closed.jaxpr.invars[0]: key}
        recipe, _, _ = initial._Reader(scope, given, int(np.prod(shape))).read(
            closed.jaxpr.outvars[0]
        )
        found.add(recipe)
    return found


def test_other_keys_and_the_older_numbers_are_left_to_jit(monkeypatch):
    draw = lambda key: jax.random.normal(key, (300,))
    other = jax.random.key(1, impl="rbg")
    monkeypatch.setattr(initial, "_draw", lambda *_: pytest.fail("drawn by place"))
    assert_same_bits(initial_state(draw, other), jax.jit(draw)(other))
    with jax.threefry_partitionable(False):
        key = jax.random.key(1)
        assert_same_bits(initial_state(draw, key), jax.jit(draw)(key))


def test_what_depends_on_data_is_computed_from_them():
    given = np.arange(6.0, dtype=np.float32)
    build = lambda x, key: {"doubled": 2 * x, "same": x, "drawn": jax.random.normal(key, (9,))}
    key = jax.random.key(3)
    assert_same_bits(initial_state(build, given, key), jax.jit(build)(given, key))
    assert initial_state(lambda x: x, given) is not given


def test_optax_states_of_every_kind_are_those_of_jit():
    params = {"kernel": np.full((40, 50), 0.5, np.float32)}
    for built in [optax.adafactor(0.1), optax.lamb(0.1), optax.rmsprop(0.1, initial_scale=1.0)]:
        assert_same_bits(initial_state(built.init, params), jax.jit(built.init)(params))

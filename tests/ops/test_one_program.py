"""Operations outside `jit`: one compiled program each, with the same results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops.conv import conv2d
from segjax.ops.dispatch import plain
from segjax.ops.pool import max_pool, max_pool_with_indices
from segjax.ops.transposed import conv_transpose2d

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def programs(monkeypatch):
    """A list that grows by one with each program that XLA compiles or takes from the cache."""
    found: list[str] = []

    def listen(event: str, _: float, **about) -> None:
        found.extend([event] if event == COMPILED else [])

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


OPERATIONS = {
    # Winograd's products, products by taps, and tiles: forms of many primitives.
    "3x3 between wide maps": (
        lambda x, kernel: conv2d(x, kernel, padding=1),
        ((1, 10, 14, 96), (3, 3, 96, 96)),
    ),
    "large dilation": (
        lambda x, kernel: conv2d(x, kernel, padding=12, dilation=12),
        ((1, 15, 13, 96), (3, 3, 96, 96)),
    ),
    "transposed": (
        lambda x, kernel: conv_transpose2d(x, kernel, stride=2, padding=1),
        ((1, 5, 7, 3), (4, 4, 5, 3)),
    ),
    "max-pool": (lambda x: max_pool(x, window=3, stride=2, padding=1), ((1, 11, 9, 3),)),
    "max-pool with indices": (
        lambda x: max_pool_with_indices(x, window=2, stride=2),
        ((1, 6, 10, 3),),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_outside_jit_an_operation_compiles_one_program(name, programs):
    operation, shapes = OPERATIONS[name]
    given = arrays(*shapes)
    programs.clear()
    jax.block_until_ready(operation(*given))
    assert len(programs) == 1


@pytest.mark.parametrize("name", OPERATIONS)
def test_outside_jit_the_result_is_that_of_a_jitted_call(name):
    operation, shapes = OPERATIONS[name]
    given = arrays(*shapes)
    for one, other in zip(
        jax.tree.leaves(operation(*given)),
        jax.tree.leaves(jax.jit(operation)(*given)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_outside_jit_plain_is_still_asked_for_at_each_call():
    operation, shapes = OPERATIONS["3x3 between wide maps"]
    x, kernel = arrays(*shapes)
    fast = operation(x, kernel)
    with plain():
        one_primitive = operation(x, kernel)
    # Equal up to rounding, and not computed in the same way.
    np.testing.assert_allclose(fast, one_primitive, rtol=1e-4, atol=1e-3)
    assert (np.asarray(fast) != np.asarray(one_primitive)).any()

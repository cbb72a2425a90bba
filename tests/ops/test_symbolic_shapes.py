"""Operations on images of symbolic sizes compute what they do on images of known ones."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from segjax.ops.conv import conv2d
from segjax.ops.padding import pad_to_multiple
from segjax.ops.pool import adaptive_avg_pool, max_pool
from segjax.ops.resize import resize_bilinear


@pytest.fixture(autouse=True)
def symbols_are_sizes(monkeypatch) -> None:
    """The suite's check of shapes knows integers only."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def half(x):
    return (x.shape[1] // 2, (x.shape[2] + 1) // 2)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: resize_bilinear(x, (2 * x.shape[1] + 1, 3 * x.shape[2])),
        lambda x: resize_bilinear(x, half(x), align_corners=True),
        lambda x: resize_bilinear(x, half(x)),
        lambda x: adaptive_avg_pool(x, (2, 3)),
        lambda x: pad_to_multiple(x, (16, 8))[0],
        lambda x: pad_to_multiple(x, 32)[1](pad_to_multiple(x, 32)[0]),
    ],
    ids=["larger", "smaller, corners", "smaller", "bins", "mirrored", "mirrored and back"],
)
def test_symbolic_sizes_give_the_same_numbers(function):
    shape = jax.export.symbolic_shape("1, h, w, 2", constraints=["h >= 8", "w >= 8"])
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    exported = jax.export.export(jax.jit(function))(image)
    for size in ((9, 14), (32, 33)):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(1, *size, 2)), jnp.float32)
        found, expected = exported.call(x), function(x)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_max_pool_on_a_cpu_is_traced_with_sizes_that_are_not_known():
    batch, height, width = jax.export.symbolic_shape("b,h,w", constraints=["h >= 2", "w >= 2"])
    x = jax.ShapeDtypeStruct((batch, height, width, 3), jnp.float32)
    pooled = jax.eval_shape(lambda x: max_pool(x, window=2, stride=2), x)
    assert pooled.shape[0] == batch and pooled.shape[3] == 3


@pytest.mark.parametrize(
    "kernel", [(1, 1, 64, 64), (3, 3, 64, 96), (3, 3, 128, 128), (7, 7, 64, 8)]
)
def test_a_convolution_on_a_cpu_is_traced_with_a_batch_that_is_not_known(kernel):
    (batch,) = jax.export.symbolic_shape("b")
    x = jax.ShapeDtypeStruct((batch, 65, 65, kernel[2]), jnp.float32)
    given = x, jax.ShapeDtypeStruct(kernel, jnp.float32)
    loss = lambda x, kernel: (conv2d(x, kernel, padding=kernel.shape[0] // 2) ** 2).sum()
    gradients = jax.eval_shape(jax.grad(loss, (0, 1)), *given)
    assert [g.shape for g in gradients] == [x.shape, kernel]

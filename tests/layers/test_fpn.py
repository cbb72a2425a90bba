"""The feature pyramid against its definition in NumPy, at any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.layers.fpn import FPN
from segjax.layers.norm import FrozenBatchNorm

SIZES = {"c2": (13, 9), "c3": (7, 5), "c4": (4, 3), "c5": (2, 2)}
RNG = np.random.default_rng(0)
FEATURES = {
    name: jnp.asarray(RNG.normal(size=(2, *size, 3 + i)), jnp.float32)
    for i, (name, size) in enumerate(SIZES.items())
}


def identity_of_the_centre(shapes):
    """Returns weights with which a 3×3 does nothing, random laterals, and biases."""
    draw = lambda shape: np.asarray(RNG.normal(size=shape), np.float32)

    def leaf(path, shape):
        kernel = draw(shape.shape)
        if kernel.shape[:2] == (3, 3):
            kernel = np.zeros_like(kernel)
            kernel[1, 1] = np.eye(len(kernel[1, 1]))
        return jnp.asarray(kernel)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def test_each_level_is_its_lateral_plus_the_nearest_pixel_of_the_coarser_one():
    layer = FPN(features=4)
    shapes = jax.eval_shape(
        lambda x: layer.init(jax.random.key(0), x, train=False), dict(FEATURES)
    )
    params = identity_of_the_centre(shapes)["params"]
    found = jax.jit(lambda p, x: layer.apply({"params": p}, x, train=False))(params, FEATURES)
    top, expected = None, []
    for i in (3, 2, 1, 0):
        inner, outer = params[f"inner_blocks_{i}"], params[f"layer_blocks_{i}"]
        x = np.asarray(FEATURES[f"c{i + 2}"])
        lateral = x @ np.asarray(inner["kernel"])[0, 0] + np.asarray(inner["bias"])
        if top is not None:
            rows, columns = (
                np.arange(new) * old // new
                for new, old in zip(lateral.shape[1:3], top.shape[1:3], strict=True)
            )
            lateral = lateral + top[:, rows][:, :, columns]
        top = lateral
        expected.insert(0, top + np.asarray(outer["bias"]))
    expected.append(expected[-1][:, ::2, ::2])
    assert [level.shape[1:3] for level in found] == [*SIZES.values(), (1, 1)]
    for level, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(level, wanted, atol=1e-5)


@pytest.mark.parametrize("norm", [None, FrozenBatchNorm])
def test_a_norm_replaces_the_biases(norm):
    layer = FPN(features=4, norm_layer=norm, dtype=jnp.bfloat16)
    init = lambda x: layer.init_with_output(jax.random.key(0), x, train=True)
    levels, variables = jax.eval_shape(init, dict(FEATURES))
    assert {level.dtype for level in levels} == {jnp.dtype(jnp.bfloat16)}
    leaves = {path[-1].key for path, _ in jax.tree.leaves_with_path(variables["params"])}
    assert leaves == ({"kernel", "bias"} if norm is None else {"kernel"})
    assert ("batch_stats" in variables) == (norm is not None)

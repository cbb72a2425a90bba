"""The fully convolutional head."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from segjax.layers.conv import Conv
from segjax.layers.head import FCNHead, head_dtype, sow_auxiliary_head


def test_its_parameters_are_torchvisions_and_its_logits_float32():
    head = lambda: FCNHead(21, dtype=jnp.bfloat16).init_with_output(
        jax.random.key(0), jnp.ones((1, 5, 4, 1024)), train=False
    )
    logits, variables = jax.eval_shape(head)
    assert (logits.shape, logits.dtype) == ((1, 5, 4, 21), jnp.float32)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 2_365_205


def test_its_features_can_be_named():
    init = lambda: FCNHead(3, features=6).init(
        jax.random.key(0), jnp.ones((1, 5, 4, 8)), train=False
    )
    assert jax.eval_shape(init)["params"]["conv"]["conv"]["kernel"].shape == (3, 3, 8, 6)


class _Model(nn.Module):
    backbone: nn.Module
    dtype: type | None = None


@pytest.mark.parametrize("own, expected", [(None, jnp.bfloat16), (jnp.float32, jnp.float32)])
def test_a_heads_dtype_is_its_own_or_else_the_backbones(own, expected):
    assert head_dtype(_Model(Conv(1, 1, dtype=jnp.bfloat16), own)) == expected


class _TwoHeaded(nn.Module):
    auxiliary: bool

    @nn.compact
    def __call__(self, x, *, train):
        second = lambda: nn.Dense(3, name="second")(x)
        sow_auxiliary_head(self, "c4", second, train=train)
        return nn.Dense(3, name="first")(x)


@pytest.mark.parametrize("train", [False, True])
def test_an_auxiliary_head_has_parameters_from_the_start_and_is_sown_by_training_alone(train):
    x, model = jnp.ones((1, 1, 1, 2)), _TwoHeaded(auxiliary=True)
    variables = model.init(jax.random.key(0), x, train=train)
    assert set(variables) == {"params"} and set(variables["params"]) == {"first", "second"}
    _, sown = model.apply(variables, x, train=train, mutable=["auxiliary"])
    shapes = jax.tree.map(jnp.shape, dict(sown))
    assert shapes == ({"auxiliary": {"c4": (1, 1, 1, 3)}} if train else {})


def test_without_its_field_there_is_no_auxiliary_head():
    x, model = jnp.ones((1, 1, 1, 2)), _TwoHeaded(auxiliary=False)
    variables = model.init(jax.random.key(0), x, train=True)
    assert set(variables["params"]) == {"first"}
    assert not model.apply(variables, x, train=True, mutable=["auxiliary"])[1]

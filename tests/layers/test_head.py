"""The fully convolutional head."""

import jax
import jax.numpy as jnp

from segjax.layers.head import FCNHead


def test_its_parameters_are_torchvisions_and_its_logits_float32():
    head = lambda: FCNHead(21, dtype=jnp.bfloat16).init_with_output(
        jax.random.key(0), jnp.ones((1, 5, 4, 1024)), train=False
    )
    logits, variables = jax.eval_shape(head)
    assert (logits.shape, logits.dtype) == ((1, 5, 4, 21), jnp.float32)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 2_365_205

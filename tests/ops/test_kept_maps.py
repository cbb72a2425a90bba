"""What a training step keeps of each layer until its gradients are due."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops.dispatch import in_the_backward_pass

CODE = """
import json
import math
from segjax.parallel.cluster import tune_cpu
tune_cpu()
import jax
import jax.numpy as jnp
from segjax.ops.conv import conv2d
from segjax.ops.transposed import conv_transpose2d

def conv(**options):
    return lambda x, kernel: conv2d(x, kernel, **options)

def transposed(x, kernel):
    y = conv_transpose2d(x, kernel, stride=2, padding=1)
    return y.reshape(1, x.shape[1], 2, x.shape[2], 2, -1).sum((2, 4))

def dense(x, kernel):
    return jnp.concatenate([x[..., 12:], conv2d(x, kernel, padding=1)], axis=-1)

def widened(x, kernel):
    return conv2d(x, kernel, padding=1).reshape(*x.shape, -1).sum(-1)

CASES = {
    "rate 24": (conv(padding=24, dilation=24), (1, 65, 65, 96), (3, 3, 96, 96)),
    "depthwise 3": (conv(padding=1, groups=128), (1, 64, 64, 128), (3, 3, 1, 128)),
    "depthwise 5": (conv(padding=2, groups=128), (1, 64, 64, 128), (5, 5, 1, 128)),
    "groups": (conv(padding=1, groups=8), (1, 64, 64, 256), (3, 3, 32, 256)),
    "elements": (conv(padding=1, groups=32), (1, 64, 64, 256), (3, 3, 8, 256)),
    "transposed": (transposed, (1, 64, 64, 64), (4, 4, 64, 64)),
    "dense": (dense, (2, 112, 112, 180), (3, 3, 180, 12)),
    "rows": (conv(padding=1), (2, 192, 192, 24), (3, 3, 24, 24)),
    "blocks": (widened, (2, 192, 192, 16), (3, 3, 16, 64)),
}

def temporary_bytes(layer, x, kernel, layers):
    def loss(x, kernels):
        for kernel in kernels:
            x = jax.nn.relu(layer(x, kernel))
        return jnp.square(x).sum()

    step = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(x, [kernel] * layers).compile()
    return step.memory_analysis().temp_size_in_bytes

def maps_a_layer(layer, *shapes):
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    more = temporary_bytes(layer, *arrays, 6) - temporary_bytes(layer, *arrays, 3)
    return more / 3 / (4 * math.prod(shapes[0]))

print(json.dumps({name: maps_a_layer(*case) for name, case in CASES.items()}))
"""


@pytest.fixture(scope="module")
def maps_a_layer() -> dict[str, float]:
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    del environment["JAX_DISABLE_MOST_OPTIMIZATIONS"]
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "layer",
    [
        "rate 24",
        "depthwise 3",
        "depthwise 5",
        "groups",
        "elements",
        "transposed",
        "dense",
        "rows",
        "blocks",
    ],
)
def test_layers_do_not_keep_copies_of_their_map_for_each_tap(maps_a_layer, layer):
    # The map before the ReLU and the one after it; padding takes less than half a map.
    assert maps_a_layer[layer] < 2.43


def test_what_waits_for_the_backward_pass_has_equal_values_and_keeps_its_operand_alone():
    x, g = np.random.default_rng(0).standard_normal((2, 4, 4)).astype(np.float32)
    product = lambda x, g: jnp.sin(x).T @ g
    late = in_the_backward_pass(product)
    np.testing.assert_array_equal(jax.jit(late)(x, g), jax.jit(product)(x, g))
    kept = jax.tree.leaves(jax.vjp(lambda g: late(x, g), g)[1])
    assert [array.tolist() for array in kept] == [x.tolist()]
    back = jax.grad(lambda g: late(x, g).sum())
    assert "optimization_barrier" in jax.jit(back).lower(g).as_text()

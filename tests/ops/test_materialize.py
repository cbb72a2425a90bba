"""The outputs of residual units are written once, whatever reads them."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from segjax.ops import materialize
from segjax.ops.dispatch import plain
from segjax.ops.materialize import materialized

BARRIER = "optimization_barrier"

CODE = """
import json
import math
import re
from segjax.parallel.cluster import tune_cpu
tune_cpu()
import flax.linen as nn
import jax
import jax.numpy as jnp
from segjax.backbones.output_stride import Unit
from segjax.backbones.resnet import BasicBlock, Bottleneck

class Stage(nn.Module):
    block: type
    units: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.units):
            x = self.block(16, Unit(1, 1, 1))(x, train=False)
        return x

def most_maps(block, channels):
    "Returns how many maps the operation reads that reads most of them."
    stage, x = Stage(block, 6), jnp.ones((1, 32, 32, channels))
    variables = jax.eval_shape(stage.init, jax.random.key(0), x)
    text = jax.jit(stage.apply).lower(variables, x).compile().as_text()
    sizes, most = {}, 0
    for line in text.partition("ENTRY")[2].splitlines():
        if found := re.match(r".*?%(\\S+) = f32\\[([\\d,]*)\\]\\S* (\\S+?)\\((.*?)\\)", line):
            name, shape, _, operands = found.groups()
            sizes[name] = math.prod(map(int, filter(None, shape.split(","))))
            read = [sizes.get(o, 0) for o in set(re.findall(r"%([\\w.-]+)", operands))]
            most = max(most, sum(size >= x.size for size in read))
    return most

print(json.dumps([most_maps(Bottleneck, 64), most_maps(BasicBlock, 16)]))
"""


def test_no_operation_of_a_stage_reads_the_maps_of_all_its_units():
    environment = {**os.environ, "XLA_FLAGS": ""}
    del environment["JAX_DISABLE_MOST_OPTIMIZATIONS"]
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert json.loads(done.stdout) == [2, 2]  # The unit's own, and the shortcut's.


def test_only_traced_values_of_programs_for_cpus_are_kept_apart(monkeypatch):
    x = jnp.arange(6.0).reshape(2, 3)
    assert materialized(x) is x
    assert BARRIER in str(jax.make_jaxpr(materialized)(x))
    with plain():
        assert BARRIER not in str(jax.make_jaxpr(lambda x: materialized(x))(x))
    monkeypatch.setattr(materialize, "on_cpu", lambda: False)
    assert BARRIER not in str(jax.make_jaxpr(lambda x: materialized(x))(x))


def test_value_and_derivatives_are_those_of_the_identity():
    x, along = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    square = lambda x: materialized(x * x)
    value, tangent = jax.jit(lambda x, d: jax.jvp(square, (x,), (d,)))(x, along)
    np.testing.assert_array_equal(value, x * x)
    np.testing.assert_array_equal(tangent, 2 * x * along)
    gradient = jax.jit(jax.grad(lambda x: (along * square(x)).sum()))(x)
    np.testing.assert_array_equal(gradient, 2 * x * along)
    np.testing.assert_array_equal(jax.jit(jax.vmap(square))(x), x * x)

"""What the tests compile is shared by workers, and none fails by what another is writing."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture
def programs(tmp_path):
    """An empty folder that JAX keeps every program in while the test runs."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (str(tmp_path), 0.0), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_program_of_which_a_part_is_written_is_compiled_anew(share, programs):
    x = np.arange(9, dtype=np.float32).reshape(3, 3)
    sine = jax.jit(lambda x: jnp.sin(x) @ x)
    expected = np.asarray(sine(x))
    written = [*programs.iterdir()]
    assert written
    for path in written:
        os.truncate(path, int(share * path.stat().st_size))
    jax.clear_caches()
    np.testing.assert_array_equal(sine(x), expected)

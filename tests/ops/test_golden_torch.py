"""PyTorch's answers: convolution and its transpose, values and both gradients."""

import pathlib
import runpy

import jax
import numpy as np
import pytest

from segjax.ops.conv import conv2d
from segjax.ops.transposed import conv_transpose2d

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_torch.py"))
TOLERANCE = 1e-5
"""Of the largest value; of a sum, per unit of the summed magnitudes. In float32."""


@pytest.fixture(scope="module")
def golden():
    with np.load(MAKER["FILE"]) as file:
        return dict(file)


@pytest.mark.parametrize("name", MAKER["SETTINGS"])
def test_values_and_gradients_are_pytorchs(name, golden):
    transposed, _, _, options = MAKER["SETTINGS"][name]
    operation = conv_transpose2d if transposed else conv2d

    @jax.jit
    def answers(x, kernel, cotangent):
        y, pull_back = jax.vjp(lambda x, kernel: operation(x, kernel, **options), x, kernel)
        return y, *pull_back(cotangent)

    shape = tuple(golden[f"{name}: y, shape"])
    found = answers(*MAKER["tensors"](name), MAKER["cotangent"](name, shape))
    for part, array in zip(("y", "dx", "dk"), found, strict=True):
        array = np.asarray(array)
        expected = golden[f"{name}: {part}"]
        assert array.shape == tuple(golden[f"{name}: {part}, shape"])
        close_to = TOLERANCE * np.abs(expected).max()
        np.testing.assert_allclose(MAKER["kept"](name, array), expected, rtol=0, atol=close_to)
        total, magnitude = array.sum(dtype=float), np.abs(array).sum(dtype=float)
        assert abs(total - golden[f"{name}: {part}, sum"]) <= TOLERANCE * magnitude


def test_the_golden_holds_these_settings_and_no_others(golden):
    parts = [f"{part}{what}" for part in ("y", "dx", "dk") for what in ("", ", shape", ", sum")]
    assert set(golden) == {f"{name}: {p}" for name in MAKER["SETTINGS"] for p in parts}

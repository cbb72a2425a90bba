"""A training step with any loss is the same on one device and on four."""

import pathlib
import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.contracts import AXIS
from segjax.layers.conv import Conv
from segjax.tasks import dense
from segjax.train.optimizer import SGD, Constant
from segjax.train.step import init_state, make_train_step

ALL = runpy.run_path(str(pathlib.Path(__file__).with_name("test_contract.py")))["ALL"]


class Pixelwise(nn.Module):
    """One convolution; the logits of an image depend on that image alone."""

    @nn.compact
    def __call__(self, image, *, train: bool):
        return Conv(4, 3, dtype=image.dtype, name="classifier")(image)


def batch_of(kind: str) -> dict[str, np.ndarray]:
    """An image a device: one wholly ignored, one of a single class."""
    rng = np.random.default_rng(0)
    shape = (4, 5, 6) if kind == "softmax" else (4, 5, 6, 4)
    label = rng.choice([0, 1, 2, 255] if kind == "softmax" else [0, 1, 255], size=shape)
    label[0], label[1] = 255, 0
    image = rng.normal(size=(4, 5, 6, 3))
    return {"image": image, "label": label.astype(np.uint8), "step": np.zeros(4, np.int32)}


def after_a_step(loss, kind: str, *, devices: int):
    """The state and the metrics after a step."""
    model = Pixelwise()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 5, 6, 3), jnp.float64), train=False)
    variables = jax.tree.map(lambda x: x.astype(jnp.float64), variables)
    optimizer = SGD(Constant(0.1)).build(1, variables["params"])
    objective = dense.objective(model, loss, normalize=lambda x: x)
    mapped = jax.pmap(
        make_train_step(objective, optimizer),
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,  # type: ignore[arg-type]
        devices=jax.devices()[:devices],
    )
    batch = batch_of(kind)
    split = {k: v.reshape(devices, -1, *v.shape[1:]) for k, v in batch.items()}
    return jax.device_get(mapped(init_state(variables, optimizer), split))


@pytest.mark.slow_but("softmax sum")
@pytest.mark.parametrize(("loss", "kind"), ALL.values(), ids=ALL)
def test_one_device_and_four_take_the_same_step(loss, kind):
    with jax.enable_x64(True):
        one, metrics = after_a_step(loss, kind, devices=1)
        four, metrics_of_four = after_a_step(loss, kind, devices=4)
    assert metrics["finite"] and metrics["gradient_norm"] > 0
    near = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    jax.tree.map(near, (one.params, metrics), (four.params, metrics_of_four))

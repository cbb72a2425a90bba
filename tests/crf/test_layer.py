"""The trained CRF: gradients reach every parameter, and descent lowers the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.crf.dense import Appearance, Smoothness, dense_crf
from segjax.crf.layer import CRFAsRNN

FIELDS = {"smoothness_sxy": 2.0, "appearance_sxy": 8.0, "appearance_srgb": 40.0}


def batch():
    rng = np.random.default_rng(0)
    label = (np.mgrid[:14, :12][1] > 5).astype(np.int32)
    image = np.where(label[..., None], 200, 60) + rng.normal(size=(14, 12, 3)) * 10
    logits = np.eye(3)[label] + rng.normal(size=(14, 12, 3))
    expand = lambda x, dtype: jnp.asarray(x[None].astype(dtype))
    return expand(logits, np.float32), expand(image, np.uint8), expand(label, np.int32)


@pytest.fixture(scope="module")
def layer_loss_and_step():
    layer = CRFAsRNN(iterations=2, learned_widths=True, **FIELDS)
    logits, image, label = batch()
    variables = jax.jit(layer.init)(jax.random.key(0), logits, image)

    def loss(variables):
        log_probability = jax.nn.log_softmax(layer.apply(variables, logits, image))
        return -jnp.take_along_axis(log_probability, label[..., None], axis=-1).mean()

    return variables, jax.jit(jax.value_and_grad(loss))


def test_gradients_reach_every_parameter(layer_loss_and_step):
    variables, both = layer_loss_and_step
    _, gradients = both(variables)
    leaves = jax.tree_util.tree_leaves_with_path(gradients["params"])
    assert len(leaves) == 6
    assert not [path for path, leaf in leaves if not jnp.all(jnp.abs(leaf) > 0)]


def test_a_few_steps_of_descent_lower_the_loss(layer_loss_and_step):
    variables, both = layer_loss_and_step
    losses = []
    for _ in range(6):
        value, gradients = both(variables)
        losses.append(float(value))
        variables = jax.tree.map(lambda p, g: p - 0.5 * g, variables, gradients)
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.97 * losses[0]


def test_at_first_it_is_the_dense_crf_and_rounds_are_not_parameters():
    logits, image, _ = batch()
    init = CRFAsRNN(iterations=1, **FIELDS).init
    variables = jax.jit(init)(jax.random.key(0), logits, image)
    assert len(jax.tree.leaves(variables)) == 3
    scores = jax.jit(CRFAsRNN(iterations=2, **FIELDS).apply)(variables, logits, image)
    expected = dense_crf(
        jax.nn.softmax(logits),
        image,
        iterations=2,
        smoothness=Smoothness(3, 2),
        appearance=Appearance(5, 8, 40),
        normalization="after",
    )
    np.testing.assert_allclose(jax.nn.softmax(scores), expected, atol=1e-4)


@pytest.mark.parametrize(
    "message, fields, shape, dtype",
    [
        ("must be uint8 .* got float32", {}, (1, 14, 12, 3), np.float32),
        ("Scores of shape .1, 14, 12, 3. do not fit", {}, (1, 12, 14, 3), np.uint8),
        ("Scores of shape .* do not fit", {}, (2, 14, 12, 3), np.uint8),
        ("do not fit an image of shape .14, 12, 3.", {}, (14, 12, 3), np.uint8),
        ("appearance_sxy must be .* above 0", {"appearance_sxy": -8.0}, None, None),
        ("smoothness_sxy must be .* above 0", {"smoothness_sxy": 0.0}, None, None),
        ("appearance_srgb=1e-05 is too small", {"appearance_srgb": 1e-5}, None, None),
        ("iterations must be .* got -1", {"iterations": -1}, None, None),
    ],
)
def test_what_the_layer_cannot_take_is_one_line(message, fields, shape, dtype):
    logits, image, _ = batch()
    given = image if shape is None else jnp.zeros(shape, dtype)
    layer = CRFAsRNN(learned_widths=True, **FIELDS | fields)
    with pytest.raises(ValueError, match=message) as raised:
        jax.eval_shape(layer.init, jax.random.key(0), logits, given)
    assert "\n" not in str(raised.value)


def test_one_class_is_refused_with_the_pair_that_a_binary_task_gives():
    logits, image, _ = batch()
    with pytest.raises(ValueError, match="Scores of shape .* have one class.*channels, .0, z."):
        jax.eval_shape(CRFAsRNN(**FIELDS).init, jax.random.key(0), logits[..., :1], image)

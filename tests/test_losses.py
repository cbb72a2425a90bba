"""Cross-entropy as sums, against its formula; labels on a network's own grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from segjax.errors import InputError
from segjax.losses import (
    ClassWeightedCrossEntropy,
    on_logits_grid,
    softmax_cross_entropy,
)

RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(2, 4, 3, 5)), jnp.float32)
LABEL = RNG.choice([0, 1, 2, 3, 4, 255], size=(2, 4, 3)).astype(np.uint8)


def test_total_and_weight_equal_a_loop_over_pixels():
    total = weight = 0.0
    for index in np.ndindex(LABEL.shape):
        if LABEL[index] != 255:
            scores = np.asarray(LOGITS[index], np.float64)
            total += np.log(np.exp(scores).sum()) - scores[LABEL[index]]
            weight += 1
    got = softmax_cross_entropy(LOGITS, {"label": jnp.asarray(LABEL)})["cross_entropy"]
    np.testing.assert_allclose(got, (total, weight), rtol=1e-6)


def test_weights_scale_pixels_and_never_revive_ignored_ones():
    weight = jnp.asarray(RNG.uniform(0, 3, LABEL.shape), jnp.float32)
    batch = {"label": jnp.asarray(LABEL), "weight": weight}
    got = softmax_cross_entropy(LOGITS, batch)["cross_entropy"]
    at = lambda b, y, x: (slice(b, b + 1), slice(y, y + 1), slice(x, x + 1))
    by_pixel = [
        softmax_cross_entropy(LOGITS[at(*i)], {"label": jnp.asarray(LABEL[at(*i)])})
        for i in np.ndindex(LABEL.shape)
    ]
    expected = sum(
        w * term["cross_entropy"][0] for w, term in zip(weight.ravel(), by_pixel, strict=True)
    )
    np.testing.assert_allclose(got[0], expected, rtol=1e-5)
    np.testing.assert_allclose(got[1], weight[LABEL != 255].sum(), rtol=1e-6)


def test_ignored_pixels_have_no_gradient():
    batch = {"label": jnp.asarray(LABEL)}
    total = lambda x: softmax_cross_entropy(jnp.asarray(x), batch)["cross_entropy"][0]
    gradient = jax.grad(total)(LOGITS)
    assert not np.any(gradient[LABEL == 255])
    assert np.all(np.abs(gradient[LABEL != 255]).sum(-1) > 0)
    check_grads(total, (LOGITS,), order=2, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_a_batch_of_ignored_pixels_has_no_total_and_no_weight():
    batch = {"label": jnp.full(LABEL.shape, 255, jnp.uint8)}
    assert softmax_cross_entropy(LOGITS, batch)["cross_entropy"] == (0.0, 0.0)


def test_bfloat16_logits_are_summed_in_float32():
    total, weight = softmax_cross_entropy(
        LOGITS.astype(jnp.bfloat16), {"label": jnp.asarray(LABEL)}
    )["cross_entropy"]
    assert total.dtype == weight.dtype == jnp.float32


def test_labels_and_weights_come_to_the_grid_together_and_images_stay():
    label = jnp.arange(2 * 9 * 11).reshape(2, 9, 11)
    batch = {"label": label, "weight": label * 2.0, "image": jnp.zeros((2, 9, 11, 3))}
    moved = on_logits_grid(batch, (3, 4), stride=2)
    np.testing.assert_array_equal(moved["weight"], moved["label"] * 2.0)
    np.testing.assert_array_equal(moved["label"][0], label[0, 2:8:2, 2:10:2])
    assert moved["image"].shape == (2, 9, 11, 3)


def test_logits_larger_than_their_labels_are_refused():
    with pytest.raises(ValueError, match="Logits of 5x5 are larger than their labels of 4x4"):
        on_logits_grid({"label": jnp.zeros((1, 4, 4))}, (5, 5))


def test_class_weights_are_pixel_weights_by_true_class():
    weights = (0.5, 1.0, 2.0, 0.0, 3.0)
    by_pixel = np.array([*weights, *[9.0] * 251], np.float32)[LABEL]
    own = jnp.asarray(RNG.uniform(0, 3, LABEL.shape), jnp.float32)
    for extra in ({}, {"weight": own}):
        got = ClassWeightedCrossEntropy(weights)(LOGITS, {"label": jnp.asarray(LABEL), **extra})
        weight = jnp.asarray(by_pixel) * extra.get("weight", 1.0)
        expected = softmax_cross_entropy(
            LOGITS, {"label": jnp.asarray(LABEL), "weight": weight}
        )
        np.testing.assert_allclose(got["cross_entropy"], expected["cross_entropy"], rtol=1e-6)
    with pytest.raises(ValueError, match="loss.weights has 2 numbers for 5 classes"):
        ClassWeightedCrossEntropy((1.0, 1.0))(LOGITS, {"label": jnp.asarray(LABEL)})


def as_before(logits, batch):
    """The cross-entropy as it was before ignored pixels were masked."""
    label = batch["label"].astype(jnp.int32)
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    counted = (label != 255).astype(dtype)
    weight = counted * batch["weight"] if "weight" in batch else counted
    log_probability = jax.nn.log_softmax(logits.astype(dtype))
    index = jnp.where(label == 255, 0, label)[..., None]
    cross_entropy = -jnp.take_along_axis(log_probability, index, axis=-1)[..., 0]
    return {"cross_entropy": (jnp.sum(weight * cross_entropy), jnp.sum(weight))}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_masking_moves_no_bit_but_what_a_compiler_rounds(dtype, weighted, compiled):
    rng = np.random.default_rng(5)
    logits = jnp.asarray(3 * rng.normal(size=(2, 17, 9, 21)), dtype)
    label = rng.integers(0, 21, (2, 17, 9)).astype(np.uint8)
    label[rng.random(label.shape) < 0.2] = 255
    batch = {"label": jnp.asarray(label)}
    if weighted:
        batch["weight"] = jnp.asarray(rng.uniform(0, 3, label.shape), jnp.float32)

    def all_of(loss, x):
        total = lambda x: loss(x, batch)["cross_entropy"][0]
        curved = jax.jvp(jax.grad(total), (x,), (x[::-1],))[1]
        return loss(x, batch)["cross_entropy"], jax.grad(total)(x), curved

    run = jax.jit(all_of, static_argnums=0) if compiled else all_of
    found, before = run(softmax_cross_entropy, logits), run(as_before, logits)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(before), strict=True):
        assert one.dtype == other.dtype
        # Two programs may be fused in two ways.
        found, expected = np.float32(one), np.float32(other)
        rounding = 3e-7 * np.abs(expected).max() if compiled else 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding, strict=True)


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
@pytest.mark.parametrize("extra", [{}, {"weight": np.nan}])
def test_whatever_an_ignored_pixel_holds_total_and_gradient_do_not_know(value, extra):
    ignored = np.asarray(LABEL == 255)
    spoilt = jnp.where(ignored[..., None], value, LOGITS)
    batch = {"label": jnp.asarray(LABEL)}
    spoilt_batch = {**batch, **{k: jnp.where(ignored, v, 1.0) for k, v in extra.items()}}
    total = lambda x, batch: softmax_cross_entropy(x, batch)["cross_entropy"][0]
    for wrap in (lambda f: f, jax.jit):
        run = wrap(jax.value_and_grad(total))
        expected, found = run(LOGITS, batch), run(spoilt, spoilt_batch)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
def test_a_weight_of_0_hides_its_pixel_whatever_its_scores(value):
    unwanted = LABEL == 2
    spoilt = jnp.where(unwanted[..., None], value, LOGITS)
    by_class = ClassWeightedCrossEntropy((1.0, 1.0, 0.0, 1.0, 1.0))
    weight = jnp.where(unwanted, 0.0, 1.0)
    for loss, batch in (
        (by_class, {"label": jnp.asarray(LABEL)}),
        (softmax_cross_entropy, {"label": jnp.asarray(LABEL), "weight": weight}),
    ):
        total = lambda x, b, loss=loss: loss(x, b)["cross_entropy"][0]
        for wrap in (lambda f: f, jax.jit):
            run = wrap(jax.value_and_grad(total))
            expected, found = run(LOGITS, batch), run(spoilt, batch)
            assert np.isfinite(expected[0]) and (expected[1] != 0).any()
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("loss", [softmax_cross_entropy, ClassWeightedCrossEntropy((1.0,) * 5)])
@pytest.mark.parametrize("wrong", [-1, 5, 254, 256, -256])
def test_a_label_that_is_no_class_is_an_error_outside_of_jit_and_nan_inside(loss, wrong):
    batch = {"label": jnp.asarray(LABEL, jnp.int32).at[1, 2, 0].set(wrong)}
    with pytest.raises(ValueError, match=rf"label ids \[{wrong}\] are outside the 5 classes"):
        loss(LOGITS, batch)
    values = jax.jit(lambda x, b: loss(x, b)["cross_entropy"])(LOGITS, batch)
    assert np.isnan(values).all()
    gradient = jax.grad(lambda x: jax.jit(loss)(x, batch)["cross_entropy"][0])(LOGITS)
    assert np.isnan(gradient[1, 2, 0]).all()


@pytest.mark.parametrize("weight", [-0.5, np.nan, np.inf])
def test_a_pixel_weight_that_is_none_is_an_error_outside_of_jit_and_nan_inside(weight):
    counted = jnp.ones(LABEL.shape).at[tuple(np.argwhere(LABEL != 255)[0])].set(weight)
    batch = {"label": jnp.asarray(LABEL), "weight": counted}
    with pytest.raises(ValueError, match=f"finite and at least 0, got {weight}"):
        softmax_cross_entropy(LOGITS, batch)
    assert np.isnan(jax.jit(softmax_cross_entropy)(LOGITS, batch)["cross_entropy"]).all()


@pytest.mark.parametrize("shape", [(2, 1, 3), (1, 4, 3), (2, 4, 3, 1), (2, 4), (4, 3)])
@pytest.mark.parametrize("key", ["label", "weight"])
def test_maps_that_are_not_the_logits_size_are_refused_with_both_shapes(key, shape):
    batch = {"label": jnp.zeros(LOGITS.shape[:-1], int), key: jnp.ones(shape, int)}
    for loss in (softmax_cross_entropy, ClassWeightedCrossEntropy((1.0,) * 5)):
        for run in (loss, jax.jit(loss)):
            with pytest.raises(ValueError) as raised:
                run(LOGITS, batch)
            assert "(2, 4, 3, 5)" in str(raised.value) and str(shape) in str(raised.value)


def test_labels_that_are_no_integers_and_a_single_class_are_refused():
    with pytest.raises(ValueError, match="labels must be class ids .integers., got float32"):
        softmax_cross_entropy(LOGITS, {"label": jnp.full(LABEL.shape, 0.7)})
    with pytest.raises(ValueError, match="1 class; .*always 1. Give a binary task two"):
        softmax_cross_entropy(LOGITS[..., :1], {"label": jnp.zeros(LABEL.shape, int)})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1.0, -1.0), "at least 0, got -1.0"),
        ((1.0, float("nan")), "at least 0, got nan"),
        ((float("inf"), 1.0), "at least 0, got inf"),
        ((0.0, 0.0), "no weight above 0"),
    ],
)
def test_class_weights_that_cannot_weigh_are_refused_when_they_are_given(weights, message):
    with pytest.raises(InputError, match=f"^loss.weights=.*{message}"):
        ClassWeightedCrossEntropy(weights)


@pytest.mark.parametrize("weight", [(2, 9, 1), (2, 1, 11), (9, 11)])
def test_maps_of_several_sizes_do_not_come_to_one_grid(weight):
    batch = {"label": jnp.zeros((2, 9, 11)), "weight": jnp.zeros(weight)}
    with pytest.raises(ValueError, match=r"label has shape \(2, 9, 11\) and weight has shape"):
        on_logits_grid(batch, (3, 4))


@pytest.mark.parametrize("planes", [False, True])
def test_planes_come_to_the_grid_as_each_would_alone(planes):
    label = jnp.arange(2 * 9 * 11 * 4).reshape(2, 9, 11, 4)
    weight = label * 2.0 if planes else label[..., 0] * 2.0
    moved = on_logits_grid({"label": label, "weight": weight}, (3, 4), stride=2)
    assert moved["label"].shape == (2, 3, 4, 4)
    for k in range(4):
        alone = {"label": label[..., k], "weight": weight[..., k] if planes else weight}
        alone = on_logits_grid(alone, (3, 4), stride=2)
        np.testing.assert_array_equal(moved["label"][..., k], alone["label"])
        found = moved["weight"][..., k] if planes else moved["weight"]
        np.testing.assert_array_equal(found, alone["weight"])


def test_maps_of_other_planes_or_axes_do_not_come_to_the_grid():
    label = jnp.zeros((2, 9, 11, 4))
    with pytest.raises(ValueError, match=r"4\) and weight has shape \(2, 9, 11, 3\)"):
        on_logits_grid({"label": label, "weight": label[..., :3]}, (3, 4))
    with pytest.raises(ValueError, match=r"\(2, 9, 11, 4, 1\); it must be b h w, .* b h w k"):
        on_logits_grid({"label": label[..., None]}, (3, 4))

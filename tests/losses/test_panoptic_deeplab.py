"""Panoptic-DeepLab's losses, against NumPy in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.contracts import AXIS
from segjax.errors import InputError
from segjax.losses import PanopticDeepLab, softmax_cross_entropy

RNG = np.random.default_rng(0)
SHAPE = (4, 5, 6)
OUTPUTS = {
    "semantic": 2 * RNG.normal(size=(*SHAPE, 3)),
    "center": RNG.uniform(size=(*SHAPE, 1)),
    "offset": 9 * RNG.normal(size=(*SHAPE, 2)),
}
BATCH = {
    "label": RNG.choice([0, 1, 2, 255], size=SHAPE).astype(np.uint8),
    "weight": RNG.choice([1.0, 3.0], size=SHAPE),
    "center": RNG.uniform(size=SHAPE),
    "center_weight": RNG.choice([0.0, 1.0], size=SHAPE),
    "offset": 9 * RNG.normal(size=(*SHAPE, 2)),
    "offset_weight": RNG.choice([0.0, 1.0], size=SHAPE),
}
BATCH["label"][0], BATCH["center_weight"][0], BATCH["offset_weight"][:2] = 255, 0, 0


def oracle(share: float) -> dict[str, tuple[float, float]]:
    total = number = 0.0
    for scores, label, weight in zip(
        OUTPUTS["semantic"], BATCH["label"], BATCH["weight"], strict=True
    ):
        entropy = [
            (math.log(sum(math.exp(z) for z in scores[at])) - scores[at][label[at]], weight[at])
            for at in np.ndindex(label.shape)
            if label[at] != 255
        ]
        kept = sorted(entropy, reverse=True)[: math.ceil(share * len(entropy) - 1e-9)]
        total, number = total + sum(e * w for e, w in kept), number + len(kept)
    heat = (OUTPUTS["center"][..., 0] - BATCH["center"]) ** 2 * BATCH["center_weight"]
    way = np.abs(OUTPUTS["offset"] - BATCH["offset"]).sum(-1) * BATCH["offset_weight"]
    return {
        "semantic": (total, number),
        "center": (200 * heat.sum(), BATCH["center_weight"].sum()),
        "offset": (0.01 * way.sum(), BATCH["offset_weight"].sum()),
    }


def arrays(values: dict) -> dict:
    return {k: jnp.asarray(v, None if k == "label" else jnp.float32) for k, v in values.items()}


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_each_term_equals_numpy(share):
    found = jax.jit(PanopticDeepLab(share))(arrays(OUTPUTS), arrays(BATCH))
    wanted = oracle(share)
    assert found.keys() == wanted.keys()
    for name, pair in wanted.items():
        np.testing.assert_allclose(found[name], pair, rtol=1e-5, err_msg=name)


def test_the_gradient_of_each_map_is_zero_where_nothing_counts():
    def total(outputs):
        return sum(t for t, _ in PanopticDeepLab(1.0)(outputs, arrays(BATCH)).values())

    found = jax.grad(total)(arrays(OUTPUTS))
    for name, counts in (
        ("semantic", BATCH["label"] != 255),
        ("center", BATCH["center_weight"] > 0),
        ("offset", BATCH["offset_weight"] > 0),
    ):
        moved = np.abs(found[name]).max(-1) > 0
        np.testing.assert_array_equal(moved, counts, err_msg=name)


@pytest.mark.parametrize("what", ["all void", "no things"])
def test_images_without_what_counts_give_zero_and_finite_gradients(what):
    batch = arrays(BATCH)
    batch["offset_weight"] = jnp.zeros(SHAPE)
    if what == "all void":
        batch["label"] = jnp.full(SHAPE, 255, jnp.uint8)
        batch["center_weight"] = jnp.zeros(SHAPE)
    outputs = arrays(OUTPUTS)
    outputs["offset"] = outputs["offset"].at[0].set(jnp.inf)
    terms = PanopticDeepLab()(outputs, batch)
    zero = {name for name, (total, weight) in terms.items() if not total and not weight}
    assert zero == ({"offset"} if what == "no things" else {"semantic", "center", "offset"})
    slopes = jax.grad(lambda o: sum(t for t, _ in PanopticDeepLab()(o, batch).values()))(
        outputs
    )
    assert all(np.isfinite(slope).all() for slope in slopes.values())


def test_one_device_and_four_have_equal_sums():
    terms = lambda o, b: jax.lax.psum(PanopticDeepLab()(o, b), AXIS)
    split = lambda tree, n: {k: v.reshape(n, -1, *v.shape[1:]) for k, v in tree.items()}
    one, four = (
        jax.pmap(terms, axis_name=AXIS, out_axes=None, devices=jax.devices()[:n])(  # type: ignore[arg-type]
            split(arrays(OUTPUTS), n), split(arrays(BATCH), n)
        )
        for n in (1, 4)
    )
    for name, pair in one.items():
        np.testing.assert_allclose(four[name], pair, rtol=1e-6, err_msg=name)


def test_a_network_of_one_map_and_a_batch_without_targets_are_refused():
    with pytest.raises(ValueError, match="maps semantic, center and offset"):
        PanopticDeepLab()(arrays(OUTPUTS)["semantic"], arrays(BATCH))
    batch = {k: v for k, v in arrays(BATCH).items() if k != "offset"}
    with pytest.raises(ValueError, match="'offset' in the batch.*CenterTargets"):
        PanopticDeepLab()(arrays(OUTPUTS), batch)


def test_without_a_share_and_weights_the_first_term_is_plain_cross_entropy():
    batch = {"label": jnp.asarray(BATCH["label"])}
    wanted = softmax_cross_entropy(arrays(OUTPUTS)["semantic"], batch)["cross_entropy"]
    found = PanopticDeepLab(1.0)(arrays(OUTPUTS), {**arrays(BATCH), "weight": jnp.ones(SHAPE)})[
        "semantic"
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("field", ["share", "center", "offset"])
def test_a_wrong_field_is_named(field):
    with pytest.raises(InputError, match=f"loss.{field}=0.0"):
        PanopticDeepLab(**{field: 0.0})

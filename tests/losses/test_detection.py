"""The loss of two-stage detectors against plain NumPy, and where nothing counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import losses
from segjax.errors import InputError

B, S, R, P, K, M = 2, 7, 6, 3, 4, 5
TERMS = ("rpn_objectness", "rpn_boxes", "classes", "boxes", "masks")


def made(seed=0, *, objects=True):
    """Returns outputs and targets, with differences on both sides of β."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    outputs = {
        "objectness": normal(B, S),
        "anchor_deltas": normal(B, S, 4) * np.float32(0.2),
        "logits": normal(B, R, K),
        "deltas": normal(B, R, K, 4),
        "masks": normal(B, P, M, M, K),
    }
    drawn, anchor_drawn = rng.random((B, R)) < 0.8, rng.random((B, S)) < 0.8
    targets = {
        "anchor_drawn": anchor_drawn,
        "anchor_is_object": anchor_drawn & (rng.random((B, S)) < 0.5) & objects,
        "anchor_deltas": normal(B, S, 4) * np.float32(0.2),
        "drawn": drawn,
        "classes": rng.integers(0, K, (B, R)).astype(np.int32) * objects,
        "deltas": normal(B, R, 4),
        "masks": rng.random((B, P, M, M)).astype(np.float32),
    }
    return outputs, targets


def found(loss, outputs, targets):
    """Returns the terms of a loss."""
    return loss(*jax.tree.map(jnp.asarray, (outputs, targets)))


def distance(one, other, beta):
    each = np.abs(one - other).astype(np.float64)
    small = each**2 / (2 * beta) if beta else each
    return np.where(each < beta, small, each - beta / 2).sum()


def entropy(logit, target):
    share = 1 / (1 + np.exp(-np.float64(logit)))
    return -(target * np.log(share) + (1 - target) * np.log(1 - share))


def by_loops(outputs, targets, rpn_beta, beta):
    """Sums and weights, one sampled box at a time."""
    total, weight = dict.fromkeys(TERMS, 0.0), dict.fromkeys(TERMS, 0)
    for b in range(B):
        for s in np.flatnonzero(targets["anchor_drawn"][b]):
            is_object = targets["anchor_is_object"][b, s]
            total["rpn_objectness"] += entropy(outputs["objectness"][b, s], is_object)
            weight["rpn_objectness"] += 1
            weight["rpn_boxes"] += 1
            if is_object:
                pair = outputs["anchor_deltas"][b, s], targets["anchor_deltas"][b, s]
                total["rpn_boxes"] += distance(*pair, rpn_beta)
        for r in np.flatnonzero(targets["drawn"][b]):
            k, logits = targets["classes"][b, r], outputs["logits"][b, r].astype(np.float64)
            total["classes"] += np.log(np.exp(logits).sum()) - logits[k]
            weight["classes"] += 1
            weight["boxes"] += 1
            if k:
                pair = outputs["deltas"][b, r, k], targets["deltas"][b, r]
                total["boxes"] += distance(*pair, beta)
            if k and r < P:
                plane = outputs["masks"][b, r, ..., k]
                total["masks"] += entropy(plane, targets["masks"][b, r]).sum()
                weight["masks"] += M * M
    return total, weight


@pytest.mark.parametrize("betas", [(1 / 9, 1 / 9), (0.0, 0.0), (0.3, 0.0)])
def test_terms_are_those_of_loops(betas):
    for seed in range(3):
        outputs, targets = made(seed)
        terms = found(losses.TwoStage(*betas), outputs, targets)
        total, weight = by_loops(outputs, targets, *betas)
        assert set(terms) == set(TERMS)
        for name in TERMS:
            np.testing.assert_allclose(terms[name][0], total[name], rtol=2e-6, err_msg=name)
            assert float(terms[name][1]) == weight[name] > 0, name


def test_boxes_alone_have_no_term_of_masks():
    outputs, targets = made()
    del outputs["masks"], targets["masks"]
    assert tuple(found(losses.TwoStage(), outputs, targets)) == TERMS[:-1]


def test_without_objects_masks_have_weight_0_and_no_gradient_reaches_boxes_or_masks():
    outputs, targets = made(objects=False)
    loss = losses.TwoStage()
    terms = found(loss, outputs, targets)
    for name in "rpn_boxes", "boxes", "masks":
        assert float(terms[name][0]) == 0
    assert float(terms["masks"][1]) == 0
    sums = lambda out: sum(total for total, _ in found(loss, out, targets).values())
    gradients = jax.grad(sums)(jax.tree.map(jnp.asarray, outputs))
    for name in "anchor_deltas", "deltas", "masks":
        assert not np.asarray(gradients[name]).any()
    assert np.asarray(gradients["objectness"]).any()


def test_slots_that_are_left_over_change_nothing():
    outputs, targets = made()
    loss = losses.TwoStage()
    worse = {name: value.copy() for name, value in outputs.items()}
    worse["objectness"][~targets["anchor_drawn"]] = 1e4
    worse["logits"][~targets["drawn"]] = 1e4
    worse["masks"][~targets["drawn"][:, :P]] = 1e4
    for (a, b), (c, d) in zip(
        found(loss, outputs, targets).values(),
        found(loss, worse, targets).values(),
        strict=True,
    ):
        assert (float(a), float(b)) == (float(c), float(d))


def test_half_precision_is_summed_in_float32():
    outputs, targets = made()
    half = {name: jnp.asarray(value, jnp.bfloat16) for name, value in outputs.items()}
    for total, weight in found(losses.TwoStage(), half, targets).values():
        assert total.dtype == weight.dtype == jnp.float32


@pytest.mark.parametrize("beta", [-0.1, float("nan")])
def test_a_beta_below_0_is_refused(beta):
    with pytest.raises(InputError, match="loss.beta=.* must be a number at least 0"):
        losses.TwoStage(beta=beta)

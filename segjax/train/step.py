"""The train step: pure, the same on one device and on many."""

import contextlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax

from segjax.contracts import AXIS, Array, Batch, LossOfSums, Objective, Variables
from segjax.ops.dispatch import on_cpu
from segjax.parallel.micro_batches import micro_batch, tracing_part
from segjax.parallel.state import complete


@flax.struct.dataclass
class TrainState:
    """All that a step changes. `averaged` is the running mean of the variables, or None."""

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    averaged: Any = None

    def __repr__(self) -> str:
        count = sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(self.params))
        return f"TrainState(step {self.step}, {count:,} parameters)"

    @property
    def variables(self) -> Variables:
        """What evaluation uses: the running mean where there is one."""
        return self.averaged or _variables(self.params, self.batch_stats)


def init_state(variables: Variables, optimizer, *, ema: float | None = None) -> TrainState:
    """Returns the state before the first step."""
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        averaged=_variables(params, batch_stats) if ema else None,
    )


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    auxiliary_weight: float = 0.0,
    ema: float | None = None,
    seed: int = 0,
    accumulate: int = 1,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """Returns `step(state, batch) → (state, metrics)`, to be run by `over_devices`.

    Each loss term is a function of sums over all devices: total / weight, where the weight has
    no gradient, or what a `LossOfSums` makes of its own. The sums are added up first, and the
    pull-back of each device's share is called with the loss's gradient by them, such as
    1 / weight. So no collective of ours stands in the differentiated function, and ignored
    pixels may be spread over the devices as they come.

    A step changes nothing where loss or gradients are not finite, or where `batch["step"]` is
    not the state's own step. So after a bad step all that follow change nothing either, until
    the host has seen `metrics["finite"]`.

    With `accumulate` > 1 each device takes its share of the batch in so many micro-batches, one
    after another, and keeps the activations of one only. Sums and gradients are added over
    micro-batches and devices before anything is divided, so the step is that of the whole
    batch, up to rounding:

    * The weights of all micro-batches must be known before the first gradient. Weights that
      depend on labels alone cost little. Where they depend on what the network returns
      (`OHEMCrossEntropy`, two-stage detectors), and for a `LossOfSums` over a batch, such as
      Dice, every micro-batch takes one more forward pass.
    * BatchNorm is the exception: it normalises each micro-batch by its own statistics, and
      updates the running statistics once for each micro-batch, in order. Freeze it or use
      GroupNorm if the step must be that of the whole batch.
    * Device memory holds the sum of the gradients, once the size of the parameters, more.

    A `batch["seed"]` replaces `seed`, so that one compiled program serves all seeds.
    """
    forward = partial(_forward, objective)
    found = partial(_in_parts, parts=accumulate) if accumulate > 1 else _at_once
    loss = partial(_losses, auxiliary_weight=auxiliary_weight)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        """Takes one step; the old state comes back where loss or gradients are not finite."""
        own, batch = _own_seed(batch)
        key = jax.random.fold_in(jax.random.key(seed if own is None else own), state.step)
        terms, gradients, batch_stats = found(forward, loss, state, batch, key)
        gradients = lax.psum(gradients, AXIS)
        total = jnp.asarray(sum(terms.values()))
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(total) & jnp.isfinite(norm)
        accept = finite & (batch["step"][0] == state.step)
        following = partial(_following, optimizer, ema, gradients, batch_stats)
        state = _next_or_same(accept, following, state)
        metrics = {f"loss/{name}": value for name, value in terms.items() if len(terms) > 1}
        return state, {"loss": total, "gradient_norm": norm, "finite": finite, **metrics}

    return step


def _following(
    optimizer: optax.GradientTransformation,
    ema: float | None,
    gradients,
    batch_stats,
    state: TrainState,
) -> TrainState:
    """Returns the state after an update by these gradients."""
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    averaged = _average(ema, state.averaged, _variables(params, batch_stats))
    return TrainState(state.step + 1, params, batch_stats, opt_state, averaged)


def _next_or_same(
    accept: Array, following: Callable[[TrainState], TrainState], state: TrainState
) -> TrainState:
    """Returns the state that follows, or the same where `accept` is False.

    On CPUs by a branch: for a selection, which reads both states, XLA copies the donated one
    first. A step of 40 layers of 1024 × 1024 took 231 ms and 320 MiB of temporaries so, and
    takes 162 ms and 160 MiB with a branch (two cores). On other devices neither was measured.
    """
    if on_cpu():
        with contextlib.suppress(TypeError):  # An optimizer that changes a type has no branch.
            return lax.cond(accept, following, lambda state: state, state)
    return jax.tree.map(lambda new, old: jnp.where(accept, new, old), following(state), state)


def _own_seed(batch: Batch) -> tuple[Array | None, Batch]:
    """Returns the seed that comes with the batch, if any, and the batch without it."""
    rest = dict(batch)
    seed = rest.pop("seed", None)
    return None if seed is None else seed[0], rest


def _forward(objective: Objective, params, batch_stats, batch: Batch, key: Array):
    """Returns each loss term's sums on this device; and their weights, and the statistics."""
    terms, updated = objective(_variables(complete(params), batch_stats), batch, key)
    pairs = {name: term for name, term in terms.items() if not isinstance(term, LossOfSums)}
    sums = {**terms, **{name: total for name, (total, _) in pairs.items()}}
    return sums, ({name: weight for name, (_, weight) in pairs.items()}, updated)


def _at_once(forward: Callable, loss: Callable, state: TrainState, batch: Batch, key: Array):
    """Returns the loss terms, this device's share of the gradients, and the statistics."""
    sums, pull_back, (weights, batch_stats) = jax.vjp(
        lambda params: forward(params, state.batch_stats, batch, key),
        state.params,
        has_aux=True,
    )
    terms, slopes = loss(*lax.psum((sums, weights), AXIS))
    return terms, pull_back(slopes)[0], batch_stats


def _in_parts(
    forward: Callable,
    loss: Callable,
    state: TrainState,
    batch: Batch,
    key: Array,
    *,
    parts: int,
):
    """Returns what `_at_once` does, from one micro-batch after another."""

    def of_part(params, batch_stats, part: Array):
        """Returns the forward pass of a micro-batch."""
        with tracing_part(part, parts):
            return forward(params, batch_stats, micro_batch(batch, part, parts), key)

    def known_first(_, part: Array):
        """Returns the sums that decide slopes. XLA drops what they do not depend on."""
        sums, (weights, _) = of_part(state.params, state.batch_stats, part)
        return None, ({name: sums[name] for name in sums if name not in weights}, weights)

    def added(carry, part: Array):
        """Adds the gradients of a micro-batch; returns its totals."""
        gradients, batch_stats = carry
        sums, pull_back, (_, batch_stats) = jax.vjp(
            lambda params: of_part(params, batch_stats, part), state.params, has_aux=True
        )
        gradients = jax.tree.map(jnp.add, gradients, pull_back(slopes)[0])
        return (gradients, batch_stats), {name: sums[name] for name in weights}

    def total(by_part):
        return lax.psum(jax.tree.map(lambda values: values.sum(0), by_part), AXIS)

    order = jnp.arange(parts)
    sums, weights = total(lax.scan(known_first, None, order)[1])
    _, slopes = loss({**sums, **dict.fromkeys(weights, 0.0)}, weights)
    start = jax.tree.map(jnp.zeros_like, state.params), state.batch_stats
    (gradients, batch_stats), totals = lax.scan(added, start, order)
    terms, _ = loss({**sums, **total(totals)}, weights)
    return terms, gradients, batch_stats


def _variables(params, batch_stats) -> Variables:
    return {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}


def _losses(
    sums: Mapping[str, Any], weights: Mapping[str, Array], *, auxiliary_weight: float
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Returns each term's part of the loss, and the gradient of that by the term's sums."""
    factor = lambda name: auxiliary_weight if name.startswith("auxiliary/") else 1.0
    found = {name: _loss(s, weights.get(name), factor(name)) for name, s in sums.items()}
    terms = {name: value for name, (value, _) in found.items()}
    return terms, {name: slope for name, (_, slope) in found.items()}


def _loss(sums: Any, weight: Array | None, factor: float) -> tuple[Array, Any]:
    """Returns a term's part of the loss, and the gradient of that by the term's sums.

    A total whose weight is 0, because no pixel counts, adds nothing.
    """
    if weight is None:
        return jax.value_and_grad(lambda sums: factor * sums.value())(sums)
    slope = jnp.where(weight > 0, factor / jnp.where(weight > 0, weight, 1.0), 0.0)
    return sums * slope, slope


def _average(decay: float | None, average, value):
    if decay is None:
        return None
    return jax.tree.map(lambda a, v: decay * a + (1 - decay) * v, average, value)

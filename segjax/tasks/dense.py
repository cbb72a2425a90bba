"""Training a network that answers every pixel: forward pass, and loss on the network's grid."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from segjax.conformity import check_grid, label_stride
from segjax.contracts import IGNORE, Array, Batch, Loss, Objective, Term, Traced
from segjax.losses import on_logits_grid


def objective(
    model: nn.Module, loss: Loss, *, normalize: Callable[[Array], Array]
) -> Objective:
    """Returns the forward pass with its loss terms, those of auxiliary heads included."""

    def forward(variables, batch: Batch, key: Array):
        """Returns each loss term's total and weight on this device, and the new statistics."""
        logits, updated = model.apply(
            variables,
            normalize(batch["image"]),
            train=True,
            mutable=["batch_stats", "auxiliary"],
            rngs={"dropout": key},
        )
        terms = loss_terms(model, loss, logits, updated.get("auxiliary") or {}, batch)
        return terms, dict(updated).get("batch_stats") or {}

    return forward


def loss_terms(
    model: nn.Module, loss: Loss, logits: Array, auxiliary: Mapping[str, Array], batch: Batch
) -> dict[str, Term]:
    """Returns the sums of each loss term; those of heads as `auxiliary/HEAD/TERM`.

    Labels come to the grid of each; a model with scores `label_stride` pixels apart says so.
    """
    at = lambda scores: batch_on_grid(model, batch, (scores.shape[1], scores.shape[2]))
    terms = dict(loss(logits, at(logits)))
    for head, scores in auxiliary.items():
        for name, term in loss(scores, at(scores)).items():
            terms[f"auxiliary/{head}/{name}"] = term
    return terms


def batch_on_grid(model: nn.Module, batch: Batch, grid: tuple[int, int]) -> Batch:
    """Returns the batch with labels and weights on the grid of the logits."""
    return on_logits_grid(batch, grid, stride=label_stride(model))


def any_counts(model: nn.Module, batch: Batch, grid: tuple[int, int]) -> bool:
    """Returns whether a pixel of a batch, where the network answers, adds to the loss."""
    maps = {key: jnp.asarray(batch[key]) for key in ("label", "weight") if key in batch}
    here = {k: np.asarray(v) for k, v in batch_on_grid(model, maps, grid).items()}
    label, weight = here["label"], here.get("weight", np.ones(()))
    if 0 < weight.ndim < label.ndim:
        weight = weight[..., None]
    return bool(((label != IGNORE) & (weight > 0)).any())


def trace_example(
    model: nn.Module,
    loss: Loss,
    batch: Mapping[str, np.ndarray],
    *,
    normalize: Callable[[Array], Array],
) -> Traced:
    """Returns the network's shapes, once normalisation, network and loss have taken an example.

    Raises:
      ValueError: one of them refuses it.
    """

    def trial():
        """Initialises the network on one example and takes its loss; traced, never run."""
        one = {key: jnp.asarray(value[:1]) for key, value in batch.items()}
        image = normalize(one["image"])
        logits, variables = model.init_with_output(jax.random.key(0), image, train=False)
        if not isinstance(logits, jax.Array):
            raise ValueError(
                f"{type(model).__name__} returns {type(logits).__name__}, not one array of "
                "logits b h w k: a task for it must override `trace` and `network` too."
            )
        check_grid(model, *((x.shape[1], x.shape[2]) for x in (image, logits)))
        loss_terms(model, loss, logits, {}, one)
        return variables, logits

    variables, logits = jax.eval_shape(trial)
    return Traced(variables, logits.shape[1:3])

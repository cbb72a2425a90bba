"""A weighted sum of losses, and which labels a loss is for."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import flax.struct
from jaxtyping import Float

from segjax.contracts import Array, Batch, Loss, LossOfSums, Term
from segjax.errors import InputError
from segjax.losses.binary_cross_entropy import sigmoid_cross_entropy
from segjax.losses.counted import check_number
from segjax.losses.cross_entropy import softmax_cross_entropy

FUNCTIONS = ((softmax_cross_entropy, "softmax"), (sigmoid_cross_entropy, "sigmoid"))
"""The losses that are functions, which have no field `activation`."""


@flax.struct.dataclass
class Scaled:
    """`LossOfSums` whose value counts `factor` times."""

    sums: Any
    factor: float = flax.struct.field(pytree_node=False)

    def value(self) -> Array:
        """Returns the loss, a scalar."""
        return self.factor * self.sums.value()


@dataclasses.dataclass(frozen=True)
class Sum:
    """A weighted sum of losses: loss = Σ_i weight_i · loss_i.

    Each loss keeps its own denominator, so the sum of `softmax_cross_entropy` and `Dice()` is
    the mean over pixels plus the Dice loss of the batch. The log shows each term times its
    weight. If several losses have a term of the same name, the second is called `NAME_2`.

    Attributes:
      losses: pairs (loss, weight); weights are finite and above 0. All losses are for exclusive
        classes, or all are for planes.

    Raises:
      InputError: there is no loss, an item is not a pair, a weight is not above 0, or losses
        are for different kinds of labels.

    >>> from segjax import losses
    >>> loss = losses.Sum(((losses.softmax_cross_entropy, 1.0), (losses.Dice(), 0.5)))
    >>> list(losses.activations(loss))
    [('softmax_cross_entropy', 'softmax'), ('Dice', 'softmax')]
    """

    losses: tuple[tuple[Loss, float], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.losses, tuple | list) or not self.losses:
            raise InputError(
                f"loss.losses={self.losses!r} must be a tuple of pairs (loss, weight), such as "
                "((softmax_cross_entropy, 1.0), (Dice(), 0.5))."
            )
        for index, pair in enumerate(self.losses):
            if not isinstance(pair, tuple | list) or len(pair) != 2 or not callable(pair[0]):
                raise InputError(
                    f"loss.losses.{index}={pair!r} must be a pair (loss, weight), such as "
                    "(Dice(), 0.5); one pair alone needs a comma: ((loss, weight),)."
                )
            if isinstance(pair[0], type):
                name = pair[0].__name__
                raise InputError(f"loss.losses.{index}.0: {name} is a class; write {name}().")
            check_number(f"losses.{index}.1", pair[1], low=0.0)
        found = {name: kind for name, kind in activations(self) if kind}
        if len(set(found.values())) > 1:
            raise InputError(
                "loss.losses are for different kinds of labels: "
                f"{', '.join(f'{name} ({kind})' for name, kind in found.items())}. Softmax is "
                "for exclusive classes, sigmoid for planes."
            )

    def __call__(self, logits: Float[Array, "b h w k"], batch: Batch) -> Mapping[str, Term]:
        """Returns the terms of all losses, each times its loss's weight.

        Raises:
          ValueError: one of the losses refuses logits or batch.
        """
        terms: dict[str, Term] = {}
        for loss, factor in self.losses:
            for name, term in loss(logits, batch).items():
                numbered = (f"{name}_{i}" for i in itertools.count(2))
                free = next(n for n in itertools.chain((name,), numbered) if n not in terms)
                terms[free] = _scaled(term, factor)
        return terms


def _scaled(term: Term, factor: float) -> Term:
    if isinstance(term, LossOfSums):
        return Scaled(term, float(factor))
    total, weight = term
    return factor * total, weight


def activations(loss: Loss) -> Iterator[tuple[str, str | None]]:
    """Yields the name of each loss in a loss, and its activation, "softmax" or "sigmoid".

    A loss of your own may say its `activation`; without it, it is None: not known.
    """
    if isinstance(loss, Sum):
        for part, _ in loss.losses:
            yield from activations(part)
    else:
        name = getattr(loss, "__name__", type(loss).__name__)
        known = next((kind for function, kind in FUNCTIONS if function is loss), None)
        yield name, getattr(loss, "activation", known)

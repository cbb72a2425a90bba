"""The transforms of one example, and the partners of those that mix several examples.

A partner is drawn from the random numbers of the example that it is for. So it is a function of
(seed, epoch, position) as the example itself is: threads, worker processes and hosts do not
change it, and a run that resumes sees the same partners.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from segjax.conformity import declares
from segjax.contracts import Example, NeedsPartners, Transform


class Examples(Protocol):
    """Examples by index: a dataset, or a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


def transformed(
    example: Example,
    transforms: Sequence[Transform],
    rng: np.random.Generator,
    *,
    dataset: Examples,
) -> Example:
    """Returns the example after the transforms.

    Args:
      example: as the dataset returns it.
      transforms: applied in order. A `NeedsPartners` gets its partners as well.
      rng: the generator of this example.
      dataset: partners are drawn from it; each of its examples is equally likely, the example
        itself included.
    """
    for place in range(len(transforms)):
        example = apply(transforms, place, example, rng, dataset=dataset)
    return example


def apply(
    transforms: Sequence[Transform],
    place: int,
    example: Example,
    rng: np.random.Generator,
    *,
    dataset: Examples,
) -> Example:
    """Returns the example after the transform at `place`; the ones before have been applied."""
    transform = transforms[place]
    if not declares(transform, NeedsPartners):
        return transform(example, rng)
    partners = Partners(transform.partners, transforms[:place], rng, dataset=dataset)
    return transform(example, rng, partners)


class Partners(Sequence[Example]):
    """Examples drawn at random, each after some transforms; one is read when it is indexed.

    All random numbers are drawn at the start. So it does not matter which partners are read.
    """

    def __init__(
        self,
        count: int,
        transforms: Sequence[Transform],
        rng: np.random.Generator,
        *,
        dataset: Examples,
    ):
        self._indices = rng.integers(len(dataset), size=count).tolist()
        self._seeds = rng.integers(2**63, size=count).tolist()
        self._transforms, self._dataset = transforms, dataset

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        example = self._dataset[self._indices[index]]
        rng = np.random.default_rng(self._seeds[index])
        return transformed(example, self._transforms, rng, dataset=self._dataset)

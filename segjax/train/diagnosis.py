"""Why a step is not finite: what its batch holds, before the learning rate is blamed."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from segjax.contracts import Array, Example
from segjax.errors import InputError
from segjax.train.plan import Plan


def fault_in_batch(plan: Plan, step: int) -> str | None:
    """Returns one line about a faulty example in the batch of `step`, or None.

    The batch is made anew, which always gives the same examples, since it has no names any
    more. Labels, weights and images as they come were checked when it was made first.
    """
    experiment = plan.experiment
    check = _FiniteWhenNormalized(experiment.normalize)
    # In this process, where the check need not be sent anywhere.
    loader = dataclasses.replace(experiment.loader, workers=0, threads=0)
    checked = dataclasses.replace(
        experiment, transforms=(*experiment.transforms, check), loader=loader
    )
    batches = dataclasses.replace(plan, experiment=checked).batches(step)
    try:
        next(batches)
    except InputError as error:
        return str(error)
    finally:
        batches.close()  # type: ignore[attr-defined]
    return None


@dataclasses.dataclass(frozen=True)
class _FiniteWhenNormalized:
    """The example itself, unless the network would see values that are not finite."""

    normalize: Callable[[Array], Array]

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example."""
        image = example["image"]
        seen = np.asarray(jax.device_get(self.normalize(jnp.asarray(image[None]))))
        if not np.isfinite(seen).all():
            raise InputError(
                f"Example {example['name']!r} has image values from {image.min():g} to "
                f"{image.max():g}, which normalize={self.normalize} makes infinite: scale the "
                "images in the dataset, or change normalize."
            )
        return example

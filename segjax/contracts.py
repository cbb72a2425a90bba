"""Names of the arrays and callables that cross modules."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from segjax.errors import InputError

AXIS = "devices"
"""The one name of the axis that devices split: the batch."""

IGNORE = 255
"""The label of pixels that no loss and no metric counts."""

FULL_SCALE: Mapping[str, float] = {
    "uint8": 255.0,
    "uint16": 65535.0,
    **dict.fromkeys(("float16", "bfloat16", "float32", "float64"), 1.0),
}
"""The value of full brightness in images of each dtype; there are no others."""


def full_scale(dtype: Any) -> float:
    """Returns the value of full brightness in images of this dtype.

    >>> full_scale(np.uint8), full_scale(np.float32)
    (255.0, 1.0)

    Raises:
      InputError: images of this dtype have none.
    """
    name = np.dtype(dtype).name
    if name not in FULL_SCALE:
        raise InputError(
            f"An image is {name}, whose full brightness is not known: let the dataset give "
            "uint8 (0 to 255), uint16 (0 to 65535) or float32 (as the network is to see it)."
        )
    return FULL_SCALE[name]


Array = jax.Array
Variables = Mapping[str, Any]
"""A Flax tree of collections: `params`, and `batch_stats` where there is BatchNorm."""

Features = Mapping[str, Array]
"""`c1` … `c5`, each b h w c; `c_k` has stride min(2**k, output_stride)."""

Batch = Mapping[str, Array]
"""`image` b h w c, `label` b h w, `step` b, and what transforms add (`weight` b h w)."""

Terms = Mapping[str, tuple[Array, Array]]
"""{term: (total, weight)}, sums over what counts: the loss adds up total / weight of each term,
both summed over all devices first. A term `auxiliary/…` counts `auxiliary_weight` times."""

Loss = Callable[[Array, Batch], Terms]
"""(logits b h w k, batch on their grid) -> terms, sums over valid pixels."""

Objective = Callable[[Variables, Batch, Array], tuple[Terms, Mapping[str, Any]]]
"""(variables, batch, key) -> (terms, new batch statistics): forward pass and loss of a device's
share of a batch. Weights do not depend on parameters; no collectives but BatchNorm's own."""


class Traced(NamedTuple):
    """What a network is on examples of one shape: its variables' shapes, its output's h × w."""

    variables: Any
    grid: tuple[int, int]


Example = Mapping[str, Any]
"""`image` h w c (uint8, uint16 or float32), `label` h w (integers), `name`; NumPy."""

Transform = Callable[[Example, np.random.Generator], Example]


@runtime_checkable
class Backbone(Protocol):
    """image b h w c -> `Features`: a Linen module that other networks read as `backbone`."""

    @property
    def output_stride(self) -> int:
        """Pixels of the image between two of c5: a field, so that `clone` can change it."""
        ...

    @property
    def dtype(self) -> Any:
        """Of what is computed; heads take it where they have none of their own."""
        ...

    def __call__(self, image: Array, *, train: bool) -> Features:
        """Returns c1 … c5."""
        ...


@runtime_checkable
class Model(Protocol):
    """image b h w c, normalised -> logits b h w k of the same size: a Linen module.

    A model whose logits do not have the image's size says so in `label_stride` (`Strided`) or
    in `canvas` (`Framed`), and one whose weights may be loaded for other classes names its
    `classifiers` (`Classifier`); `segjax.conformity` reads these, and checks what is missing.
    """

    @property
    def num_classes(self) -> int:
        """How many classes it tells apart: k of its logits."""
        ...

    def __call__(self, image: Array, *, train: bool) -> Array:
        """Returns logits b h w k."""
        ...


class Strided(Protocol):
    """A model whose scores lie apart: DeepLab v1 and v2, which are trained on that grid."""

    @property
    def label_stride(self) -> int:
        """Pixels from one score to the next; the first is the first pixel's."""
        ...


class Framed(Protocol):
    """A model that answers for the centre of its image: the valid-convolution U-Net."""

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Returns the smallest image whose logits cover height × width pixels."""
        ...


class Undoing(Protocol):
    """A model that looks at the picture itself and undoes the normalisation: CRF-RNN."""

    @property
    def normalize(self) -> Any:
        """The experiment's, which it must be equal to."""
        ...


class Classifier(Protocol):
    """A model that can start from the weights of one with other classes."""

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The modules or parameters whose shapes depend on `num_classes`.

        By their paths, such as "head/classifier"; what lies below a path belongs to it.
        """
        ...


@runtime_checkable
class Dataset(Protocol):
    """Examples by index."""

    @property
    def channels(self) -> int:
        """Of every image: 3 are RGB, 1 is grey."""
        ...

    def prepare(self) -> None:
        """Finds, checks and caches every file; afterwards `len` and indexing do not fail.

        Raises:
          InputError: a folder or file is missing, unreadable or does not fit; all in one line.
        """
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


@runtime_checkable
class LabelledDataset(Dataset, Protocol):
    """Examples whose labels are classes, with what these mean."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class, in the order of the label ids 0 … k − 1."""
        ...

    @property
    def palette(self) -> np.ndarray:
        """Colours by label id, 256 × 3, uint8; row 255 is the colour of ignored pixels."""
        ...


class Planed(Protocol):
    """A dataset that says whether its labels are h w k: a plane of 0, 1 and 255 a class."""

    @property
    def has_planes(self) -> bool:
        """Whether they are; one that does not say so gives labels h w."""
        ...


class Mapped(Protocol):
    """A dataset whose ids in files may be given other meanings, such as `Folder`."""

    @property
    def label_map(self) -> tuple[tuple[int, int], ...]:
        """(id in the file, class id or 255) of each that changes."""
        ...

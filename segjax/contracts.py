"""Types of the arrays and callables that modules exchange, and protocols of their parts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from segjax.errors import InputError

AXIS = "devices"
"""The name of the axis over which devices split the batch."""

IGNORE = 255
"""The label of pixels that no loss and no metric counts."""

FULL_SCALE: Mapping[str, float] = {
    "uint8": 255.0,
    "uint16": 65535.0,
    **dict.fromkeys(("float16", "bfloat16", "float32", "float64"), 1.0),
}
"""The value of full brightness for each dtype of images."""


def full_scale(dtype: Any) -> float:
    """Returns the value of full brightness in images of this dtype.

    >>> full_scale(np.uint8), full_scale(np.float32)
    (255.0, 1.0)

    Raises:
      InputError: images must not have this dtype.
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
"""A Flax tree of collections: `params`, and `batch_stats` if there is BatchNorm."""

Features = Mapping[str, Array]
"""`c1` … `c5`, each b h w c; `c_k` has stride min(2**k, output_stride)."""

Batch = Mapping[str, Array]
"""`image` b h w c, `label` b h w, `step` b, and what transforms add (`weight` b h w)."""


@runtime_checkable
class LossOfSums(Protocol):
    """A loss that is not a total over a weight, such as Dice: a function of several sums.

    It is a pytree of float arrays, such as a `flax.struct.dataclass`: one device's share of
    the sums. The train step adds each array over all devices before it calls `value`.
    """

    def value(self) -> Array:
        """Returns the loss, a scalar: 0, with gradient 0, where no pixel counts."""
        ...


Term = tuple[Array, Array] | LossOfSums
"""(total, weight), sums over pixels that count, whose loss is total / weight; or other sums."""

Terms = Mapping[str, Term]
"""{term: sums}. They are added over all devices before the loss is taken, which is the sum of
all terms. A term `auxiliary/…` counts `auxiliary_weight` times."""

Loss = Callable[[Array, Batch], Terms]
"""(logits b h w k, batch on their grid) -> terms, sums over valid pixels."""


@runtime_checkable
class Tracked(Protocol):
    """A run in a tracker's service, which takes what the run measures."""

    run_id: str
    """What the service calls the run; a run that goes on hands it to `Tracker.start`."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Takes the finite numbers of one row."""
        ...

    def finish(self, status: str) -> None:
        """Ends the run: it is "done", or has "failed", or was "stopped" and may go on."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """A service that shows runs; a frozen dataclass, whose fields say where.

    All calls come from one thread of the main process, in their order. One that raises ends the
    tracking and not the training. `check()`, if there is one, is called before all else; it
    raises an InputError if a package is missing.
    """

    def start(
        self, name: str, description: Mapping[str, str], *, workdir: str, run_id: str | None
    ) -> Tracked:
        """Returns the run, begun in the service.

        Args:
          name: of the experiment.
          description: {path of a field: its value}.
          workdir: the run's folder.
          run_id: of the run in the service if it goes on; None for a new one.
        """
        ...


Objective = Callable[[Variables, Batch, Array], tuple[Terms, Mapping[str, Any]]]
"""(variables, batch, key) -> (terms, new batch statistics): forward pass and loss of a device's
share of a batch. Weights do not depend on parameters. Only BatchNorm uses collectives."""


class Traced(NamedTuple):
    """A network traced on examples of one shape: its variables' shapes, its output's h × w."""

    variables: Any
    grid: tuple[int, int]


Example = Mapping[str, Any]
"""`image` h w c (uint8, uint16 or float32), `label` h w (integers), `name`; NumPy."""

Transform = Callable[[Example, np.random.Generator], Example]

DeviceTransform = Callable[[Mapping[str, Array], Array], Mapping[str, Array]]
"""(one example of a batch, key) -> example, traced inside the training step."""


class NeedsPartners(Protocol):
    """A transform that mixes an example with others of its dataset, such as `CutMix`.

    The loader draws the partners from the example's own random numbers. It gives them to the
    transform after the transforms that come before it, and reads each only when it is used.
    """

    @property
    def partners(self) -> int:
        """The number of other examples that the transform may use."""
        ...

    def __call__(
        self, example: Example, rng: np.random.Generator, partners: Sequence[Example] = ()
    ) -> Example:
        """Returns the mixed example."""
        ...


@runtime_checkable
class Backbone(Protocol):
    """image b h w c -> `Features`: a Linen module that other networks read as `backbone`."""

    @property
    def output_stride(self) -> int:
        """Pixels of the image per pixel of c5; a field, so that `clone` can change it."""
        ...

    @property
    def dtype(self) -> Any:
        """The dtype of the computation; heads use it if their own is None."""
        ...

    def __call__(self, image: Array, *, train: bool) -> Features:
        """Returns the features c1 … c5."""
        ...


@runtime_checkable
class Model(Protocol):
    """image b h w c, normalised -> logits b h w k of the same size: a Linen module.

    A model whose logits do not have the image's size declares `label_stride` (`Strided`) or
    `canvas` (`Framed`). A model whose weights may be loaded for other classes declares
    `classifiers` (`Classifier`). `segjax.conformity` reads these and reports missing members.
    """

    @property
    def num_classes(self) -> int:
        """The number of classes, k of its logits."""
        ...

    def __call__(self, image: Array, *, train: bool) -> Array:
        """Returns the logits b h w k."""
        ...


class Strided(Protocol):
    """A model with scores for every n-th pixel only, such as DeepLab v1 and v2."""

    @property
    def label_stride(self) -> int:
        """Pixels from one score to the next; the first score is at the first pixel."""
        ...


class Framed(Protocol):
    """A model with logits of its input's centre only, such as the valid-convolution U-Net."""

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Returns the smallest image whose logits cover height × width pixels."""
        ...


class Undoing(Protocol):
    """A model that undoes the normalisation to read the original colours, such as CRF-RNN."""

    @property
    def normalize(self) -> Any:
        """The normalisation, which must equal the experiment's."""
        ...


class Classifier(Protocol):
    """A model that can start from weights for other classes."""

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The modules or parameters whose shapes depend on `num_classes`.

        They are paths, such as "head/classifier", which include everything below them.
        """
        ...


@runtime_checkable
class Dataset(Protocol):
    """Examples by index."""

    @property
    def channels(self) -> int:
        """The number of channels of each image: 3 for RGB, 1 for grey."""
        ...

    def prepare(self) -> None:
        """Finds, checks and caches every file; afterwards `len` and indexing do not fail.

        Raises:
          InputError: folders or files are missing, unreadable or do not fit; one line for all.
        """
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


@runtime_checkable
class LabelledDataset(Dataset, Protocol):
    """Examples whose labels are classes, with the classes' names and colours."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the label ids 0 … k − 1."""
        ...

    @property
    def palette(self) -> np.ndarray:
        """Colours by label id, 256 × 3, uint8; row 255 is the colour of ignored pixels."""
        ...


@runtime_checkable
class WithObjects(LabelledDataset, Protocol):
    """A dataset whose examples have objects: boxes, classes and masks (`segjax.objects`)."""

    @property
    def things(self) -> tuple[int, ...]:
        """The ids of the classes whose objects are counted, in ascending order."""
        ...


class Grouped(Protocol):
    """A dataset of several groups, such as `ByAspect`; a batch holds examples of one."""

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """The indices of each group's examples; each index is in one group."""
        ...


class Planed(Protocol):
    """A dataset that declares whether its labels are h w k, a plane for each class."""

    @property
    def has_planes(self) -> bool:
        """Whether labels are h w k planes of 0, 1 and 255; without this member they are h w."""
        ...


class Mapped(Protocol):
    """A dataset that can map the ids in its files to other classes, such as `Folder`."""

    @property
    def label_map(self) -> tuple[tuple[int, int], ...]:
        """(id in the file, class id or 255) for each id that changes."""
        ...

"""What an example must be to be trained on or scored, whatever dataset it comes from.

Datasets of files check theirs once, while they are prepared. A dataset of one's own may return
anything at any index, so every example is looked at on the host: there it still has a name.
In the loader's threads that takes under 1 ms for 513 × 513 RGB pixels; for 1024 × 2048, about
1 ms where they are uint8, and 5 to 10 ms, most of it memory's, where they are float32.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from segjax.contracts import IGNORE, Dataset, Example, full_scale
from segjax.errors import InputError
from segjax.labels import as_ids, check_image, check_planes, equals, listed, no_class


class CheckExample(Protocol):
    """What refuses an example that cannot be trained on or scored, with an `InputError`."""

    def __call__(self, example: Example, /, *, transformed: bool = False) -> None:
        """Raises InputError unless it can; `transformed` only changes the message."""
        ...


def class_map_check(dataset: Any) -> CheckExample:
    """Returns `check_example` with the class names of a `LabelledDataset`."""
    return partial(check_example, class_names=dataset.class_names)


def check_finite_image(example: Example, *, transformed: bool = False) -> None:
    """Raises InputError unless an example's image is h w c, finite and of a known dtype.

    Raises:
      InputError: names the example and what is wrong.
    """
    check_image(example)
    _check_finite(_who(example, transformed), example["image"])


def check_example(
    example: Example, class_names: Sequence[str], *, transformed: bool = False
) -> None:
    """Raises InputError unless an example can be trained on and scored.

    Args:
      example: `image` h w c, `label` h w, and `weight` h w where there is one.
      class_names: one a class.
      transformed: whether transforms have been applied, for the message.

    Raises:
      InputError: names the example and what is wrong: shapes that do not fit, labels that are
        neither classes nor 255, images of a dtype without a full scale, values or weights that
        are not finite.
    """
    check_planes(example)
    who = _who(example, transformed)
    _check_label(who, example["label"], len(class_names))
    _check_finite(who, example["image"])
    if "weight" in example:
        _check_weight(who, example["weight"], example["label"])


def _who(example: Example, transformed: bool) -> str:
    after = " after its transforms" if transformed else ""
    return f"Example {example.get('name', '(without a name)')!r}{after}"


def check_plane_example(
    example: Example, names: Sequence[str], *, transformed: bool = False
) -> None:
    """Raises InputError unless an example of planes can be trained on and scored.

    Args:
      example: `image` h w c, `label` h w k of 0, 1 and 255, and `weight` h w or h w k where
        there is one.
      names: one a plane.
      transformed: whether transforms have been applied, for the message.

    Raises:
      InputError: names the example and what is wrong.
    """
    check_planes(example, planes=True)
    who, label, image = _who(example, transformed), example["label"], example["image"]
    wanted = (*image.shape[:2], len(names))
    if label.shape != wanted:
        raise InputError(
            f"{who} has a label of shape {label.shape} for an image {image.shape} and the "
            f"{len(names)} class(es) {', '.join(names)}; it must be h w k, here {wanted}: a "
            f"plane of 0, 1 and {IGNORE} for each."
        )
    if label.dtype.kind not in "iub":
        raise InputError(f"{who}: the planes of its label are {label.dtype}; give integers.")
    wrong = label[(label != 0) & (label != 1) & (label != IGNORE)]
    if wrong.size:
        raise InputError(
            f"{who} has the values {listed(wrong)} in its label's planes, which hold 0, 1 and "
            f"{IGNORE} (= ignored): map others to these in the dataset."
        )
    _check_finite(who, image)
    if "weight" in example:
        weight = example["weight"]
        if weight.shape not in (wanted[:2], wanted):
            raise InputError(
                f"{who}: the weight map has shape {weight.shape}; it must be h w, here "
                f"{wanted[:2]}, or h w k, here {wanted}."
            )
        full = weight if weight.ndim == 3 else weight[..., None]
        _check_weight(who, np.broadcast_to(full, wanted), label)


def read_example(dataset: Dataset, index: int) -> Example:
    """Returns an example of a dataset, checked to be a mapping of image, label and name.

    Raises:
      InputError: it is not a mapping with a NumPy image and label and a name.
    """
    example = dataset[index]
    who = f"Example {index} of {type(dataset).__name__}"
    if not isinstance(example, Mapping):
        raise InputError(
            f"{who} is of type {type(example).__name__}: let the dataset return a dictionary "
            "of 'image', 'label' and 'name'."
        )
    for key, kind, what in (
        ("image", np.ndarray, "a NumPy array"),
        ("label", np.ndarray, "a NumPy array"),
        ("name", str, "a str"),
    ):
        if key not in example:
            raise InputError(f"{who} has no {key!r}: let the dataset give it, as {what}.")
        if not isinstance(example[key], kind):
            found = type(example[key]).__name__
            raise InputError(
                f"{who}: {key!r} must be {what}, got {found}; let the dataset make it one."
            )
    return example


def check_same_channels(example: Example, channels: int, *, transformed: bool = False) -> None:
    """Raises InputError unless an image has as many channels as the first one.

    Raises:
      InputError: it has others.
    """
    found = example["image"].shape[-1]
    if found != channels:
        after = " after its transforms" if transformed else ""
        raise InputError(
            f"Example {example['name']!r}{after} has {found} channel{'s' * (found != 1)}, the "
            f"first example {channels}: let the dataset give all images alike."
        )


def checked_example(dataset: Dataset, index: int, check: CheckExample) -> Example:
    """Returns an example of a dataset that `check` accepts."""
    example = read_example(dataset, index)
    check(example)
    return example


def _check_label(who: str, label: np.ndarray, k: int) -> None:
    if label.dtype.kind in "iub" and _are_classes(label, k):
        return
    try:
        ids = as_ids("label", label)
    except ValueError as error:
        raise InputError(f"{who}: {error}") from None
    wrong = ids[no_class(ids, k)]
    if wrong.size:
        raise InputError(
            f"{who} has the label ids {listed(wrong)}, but the {k} classes have ids 0 to "
            f"{k - 1} (and {IGNORE} = ignored): map them to classes or to {IGNORE} in the "
            "dataset, or name all classes."
        )


def _are_classes(label: np.ndarray, k: int) -> bool:
    """Returns whether all labels are surely classes or 255; if not, a closer look decides."""
    low, high = _extremes(label)
    if low < 0 or high > IGNORE:
        return False
    # One more than each label, where 255 becomes 0.
    return high < k or bool((label.astype(np.uint8, copy=False) + np.uint8(1)).max() <= k)


def _extremes(array: np.ndarray) -> tuple[Any, Any]:
    """Returns the smallest and largest value: NaN where there is one, zeros where none is."""
    return (array.min(), array.max()) if array.size else (0, 0)


def _check_weight(who: str, weight: np.ndarray, label: np.ndarray) -> None:
    low, high = _extremes(weight)
    if low >= 0 and high < np.inf:
        return
    weight = weight[~equals(as_ids("label", label), IGNORE)]
    bad = weight[~((weight >= 0) & (weight < np.inf))]
    if bad.size:
        raise InputError(
            f"{who} has the pixel weight {bad[0]}; weights must be finite and at least 0."
        )


def _check_finite(who: str, image: np.ndarray) -> None:
    try:
        full_scale(image.dtype)
    except InputError as error:
        raise InputError(f"{who}: {error}") from None
    if image.dtype.kind == "u":
        return
    finite = np.isfinite(image)
    if not finite.all():
        broken = np.argwhere(~finite)
        row, column, channel = broken[0].tolist()
        raise InputError(
            f"{who} has {len(broken)} image value(s) that are not finite, the first "
            f"{image[row, column, channel]} at row {row}, column {column}, channel {channel}: "
            "mend or remove the image."
        )

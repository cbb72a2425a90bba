"""Checks of label maps: which values are class ids, and which shapes belong together.

NumPy and JAX broadcast shapes, count a negative index from the end and truncate 0.7 to 0. Each
of these would silently give a wrong number, so losses, metrics, transforms, the loader and
drawings check here first. Inside `jit` shapes and dtypes are checked, but values cannot be.
"""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from segjax.contracts import IGNORE, Example
from segjax.errors import InputError

MOST_LISTED = 8


def as_array(values: Any) -> Any:
    """Returns a NumPy or JAX array itself; nested lists and PIL images as NumPy arrays."""
    return values if isinstance(values, jax.Array | np.ndarray) else np.asarray(values)


def as_ids(what: str, values: Any) -> Any:
    """Returns the map as an array of integers, int32 or wider, which changes no value.

    Args:
      what: the name of the values in a message, such as "labels".
      values: a NumPy or JAX array, or nested lists; booleans are the ids 0 and 1.

    Raises:
      ValueError: the values are not integers.
    """
    ids = as_array(values)
    if not ids.size and not isinstance(values, jax.Array | np.ndarray):
        ids = ids.astype(np.int32)  # NumPy makes floats of a list of nothing.
    if ids.dtype.kind not in "iub":
        raise ValueError(
            f"{what} must be class ids (integers), got {ids.dtype} of shape {ids.shape}: take "
            "argmax over the classes of probabilities, and astype(int) of whole numbers."
        )
    return ids if ids.dtype.itemsize >= 4 else ids.astype(np.int32)


def equals(ids: Any, value: int | None) -> Any:
    """Returns a mask of `ids` that equal a value; all False for None or beyond their dtype."""
    if value is None:
        return (jnp if isinstance(ids, jax.Array) else np).zeros(ids.shape, bool)
    limits = np.iinfo(ids.dtype)
    if not limits.min <= value <= limits.max:
        return (jnp if isinstance(ids, jax.Array) else np).zeros(ids.shape, bool)
    return ids == value


def no_class(ids: Any, num_classes: int, *, ignore: int | None = IGNORE) -> Any:
    """Returns a mask of `ids` that are neither a class nor the ignored label."""
    outside = (ids < 0) | (ids >= num_classes)
    return outside if ignore is None else outside & ~equals(ids, ignore)


def check_ids(what: str, ids: Any, num_classes: int, *, ignore: int | None = IGNORE) -> None:
    """Raises ValueError unless `ids` are classes or ignored, or traced; lists the others."""
    if is_traced(ids):
        return
    wrong = np.asarray(ids)[np.asarray(no_class(ids, num_classes, ignore=ignore))]
    if wrong.size:
        raise ValueError(
            f"{what} ids {listed(wrong)} are outside the {num_classes} classes 0 to "
            f"{num_classes - 1}; map them to classes or to the ignored label first."
        )


def listed(ids: np.ndarray) -> str:
    """Returns the distinct ids in brackets, ascending; of many, the first few."""
    found = np.unique(ids).tolist()
    more = ", ..." if len(found) > MOST_LISTED else ""
    return f"[{', '.join(map(str, found[:MOST_LISTED]))}{more}]"


def is_traced(values: Any) -> bool:
    """Returns whether `jit` traces the array, so that its values are unknown."""
    return isinstance(values, jax.core.Tracer)


def check_same_shape(**maps: Any) -> None:
    """Raises ValueError unless all maps, given by name, have equal shapes, not broadcast."""
    shapes = [(name, np.shape(values)) for name, values in maps.items()]
    for name, shape in shapes[1:]:
        first, expected = shapes[0]
        if shape != expected:
            raise ValueError(
                f"{first} has shape {expected} and {name} has shape {shape}; they must have "
                "the same shape."
            )


def check_on_image(image: Any, **maps: Any) -> None:
    """Raises ValueError unless an image is h w c and each map, given by name, is h w."""
    shape = np.shape(image)
    for name, plane in maps.items():
        if len(shape) != 3 or np.shape(plane) != shape[:2]:
            raise ValueError(
                f"The image has shape {shape} and {name} has shape {np.shape(plane)}; they "
                "must be h w c and h w, of the same height and width."
            )


def check_planes(example: Example, *, planes: bool = False) -> None:
    """Raises InputError unless an example's image is h w c, its label and weight map h w.

    Args:
      example: `image`, `label` and optionally `weight`.
      planes: whether label and weight map may also be h w k, a plane for each of k classes.
    """
    check_image(example)
    check_map(example, "label", planes=planes)
    if "weight" in example:
        check_map(example, "weight", planes=planes)


def example_name(example: Example) -> str:
    """Returns the name of an example in messages."""
    return f"Example {example.get('name', '(without a name)')!r}"


def check_image(example: Example) -> None:
    """Raises InputError unless an example has an image h w c."""
    _check_array(example, "image")
    shape = example["image"].shape
    if len(shape) != 3:
        remedy = "give image[..., None]" if len(shape) == 2 else "give one image"
        raise InputError(
            f"{example_name(example)}: the image has shape {shape}, not h w c; {remedy}."
        )


def check_map(example: Example, key: str, *, planes: bool = False) -> None:
    """Raises InputError unless an example's "label" or "weight" is h w, like the image.

    With `planes` it may also be h w k. Call `check_image` before.
    """
    if key == "weight":
        _check_numbers(example, key)
    else:
        _check_array(example, key)
    shape, image = example[key].shape, example["image"].shape
    if shape == image[:2] or (planes and len(shape) == 3 and shape[:2] == image[:2]):
        return
    what = "weight map" if key == "weight" else key
    allowed = f"h w or h w k, with h w = {image[:2]}" if planes else f"h w, here {image[:2]}"
    remedy = _plane_remedy(key, shape, image) if planes else _remedy(key, shape, image)
    raise InputError(
        f"{example_name(example)}: the {what} has shape {shape}, the image {image}; the {what} "
        f"must be {allowed}: {remedy}."
    )


def _check_array(example: Example, key: str) -> None:
    if not isinstance(example.get(key), np.ndarray):
        raise InputError(
            f"{example_name(example)}: {key!r} must be a NumPy array, got "
            f"{type(example.get(key)).__name__}; let the dataset return np.asarray of it."
        )


def _check_numbers(example: Example, key: str) -> None:
    values = example.get(key)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise InputError(
            f"{example_name(example)}: {key!r} must be a NumPy array of real numbers, got "
            f"{getattr(values, 'dtype', type(values).__name__)}; let the dataset return "
            f"np.asarray({key}, np.float32)."
        )


def _plane_remedy(key: str, plane: tuple[int, ...], image: tuple[int, ...]) -> str:
    if len(plane) == 3 and plane[1:] == image[:2] and plane[0] > 1:
        return f"for planes k h w give {key}.transpose(1, 2, 0)"
    return _remedy(key, plane, image)


def _remedy(key: str, plane: tuple[int, ...], image: tuple[int, ...]) -> str:
    if plane == (*image[:2], 1):
        return f"give {key}[..., 0]"
    if plane == (1, *image[:2]):
        return f"give {key}[0]"
    if len(plane) == 3 and plane[:2] == image[:2]:
        return f"for a one-hot {key} give {key}.argmax(-1), for colours their class ids"
    if len(plane) == 3 and plane[1:] == image[:2]:
        return f"for a one-hot {key} give {key}.argmax(0)"
    if plane == image[1:]:
        return "for an image c h w give image.transpose(1, 2, 0)"
    return "resize or correct one of them"

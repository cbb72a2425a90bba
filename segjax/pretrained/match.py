"""Matching the arrays of a checkpoint to the variables of a network."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from segjax.errors import InputError, first_of
from segjax.pretrained.layouts import Checkpoint

AUXILIARY = r"\w+/(auxiliary_head\w*)/.*"
NOT_FINITE = "with values that are not finite"
_named = partial(first_of, most=12)

Wanted = Mapping[str, Any]
"""{path: shape and dtype} of a network's variables."""


class Fitted(NamedTuple):
    """The part of a checkpoint that fits a network.

    Attributes:
      arrays: arrays by path, in the network's dtypes.
      fresh: paths that must be initialised at random.
      notes: lines for the user.
    """

    arrays: dict[str, np.ndarray]
    fresh: tuple[str, ...]
    notes: tuple[str, ...]


def fit(
    checkpoint: Checkpoint,
    wanted: Wanted,
    *,
    classifiers: Sequence[str] = (),
    num_classes: int | None = None,
    allow: Sequence[str] = (),
    seed: int = 0,
) -> Fitted:
    """Returns the arrays of a checkpoint that fit a network, and the paths that remain.

    Classifiers with another number of classes remain to be initialised. So does everything but
    the backbone if the checkpoint is a classification network. An auxiliary head that the
    network does not have is ignored. Any other misfit must be allowed.

    Args:
      checkpoint: the result of `translate`.
      wanted: the network's variables.
      classifiers: paths of layers whose shapes depend on the number of classes.
      num_classes: the network's number of classes; for the notes.
      allow: regular expressions of names that may be missing, unexpected or of another shape.
      seed: the seed of the initialisation; for the notes.

    Raises:
      InputError: a name does not fit and is not allowed, or an expression allows nothing.
    """
    found, heads = _without_auxiliary(checkpoint.arrays, wanted)
    other = [p for p in wanted if p in found and not _fits(found[p], wanted[p])]
    resized = [
        p for p in other if _is_of(p, classifiers) and _only_classes_differ(found[p], wanted[p])
    ]
    new = [p for p in wanted if p not in found and _is_behind_the_backbone(p, checkpoint)]
    values = {p: _cast(found[p], wanted[p]) for p in wanted if p in found and p not in other}
    misfits = {
        "missing": [p for p in wanted if p not in found and p not in new],
        "unexpected": [
            *(checkpoint.names[p] for p in found if p not in wanted),
            *checkpoint.unknown,
        ],
        "of another shape": [p for p in other if p not in resized],
        NOT_FINITE: [p for p, array in values.items() if not np.isfinite(array).all()],
    }
    allowed = _allowed(misfits, allow)
    refused = {kind: [n for n in ns if n not in allowed] for kind, ns in misfits.items()}
    if any(refused.values()):
        complaint = _complaint(checkpoint, refused, found, wanted)
        undeclared = [
            p
            for p in refused["of another shape"]
            if not classifiers
            and _only_classes_differ(found[p], wanted[p])
            and wanted[p].shape[-1] == num_classes
        ]
        raise InputError(complaint + _declare_hint(undeclared, num_classes))
    kept = {p: array for p, array in values.items() if p not in allowed}
    return Fitted(
        kept,
        tuple(p for p in wanted if p not in kept),
        (
            *_backbone_notes(checkpoint, new, seed),
            *_classifier_notes(resized, found, wanted, num_classes, seed),
            *(f"{head} ignored: the model is built without it" for head in heads),
            *([f"differ, as allowed: {_named(sorted(allowed))}"] if allowed else []),
        ),
    )


def _without_auxiliary(
    arrays: Mapping[str, np.ndarray], wanted: Wanted
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the arrays without auxiliary heads that the network lacks, and those heads."""
    heads = {path: match[1] for path in arrays if (match := re.fullmatch(AUXILIARY, path))}
    ours = {match[1] for path in wanted if (match := re.fullmatch(AUXILIARY, path))}
    left_out = {path: head for path, head in heads.items() if head not in ours}
    kept = {path: array for path, array in arrays.items() if path not in left_out}
    return kept, sorted({*left_out.values()})


def _fits(array: np.ndarray, leaf: Any) -> bool:
    return array.shape == leaf.shape and jnp.issubdtype(array.dtype, jnp.floating)


def _cast(array: np.ndarray, leaf: Any) -> np.ndarray:
    # Values too large for the network's dtype become infinite, which is then refused.
    with np.errstate(over="ignore"):
        return np.asarray(array, leaf.dtype, order="C")


def _is_of(path: str, layers: Sequence[str]) -> bool:
    """Returns whether a variable, such as params/head/bias, belongs to one of the layers."""
    below = path.partition("/")[2]
    return any(below == layer or below.startswith(f"{layer}/") for layer in layers)


def _only_classes_differ(array: np.ndarray, leaf: Any) -> bool:
    """Returns whether a classifier's array differs only in its number of classes.

    If a classifier reads scores, as in U²-Net's fusion, its inputs are proportional to the
    classes too.
    """
    if array.ndim != len(leaf.shape) or array.ndim == 0 or array.shape[-1] == leaf.shape[-1]:
        return False
    if array.ndim == 1 or array.shape[:-1] == leaf.shape[:-1]:
        return True
    (*sides, inputs, outputs), (*our_sides, our_inputs, our_outputs) = array.shape, leaf.shape
    return sides == our_sides and inputs * our_outputs == our_inputs * outputs


def _is_behind_the_backbone(path: str, checkpoint: Checkpoint) -> bool:
    has_backbone = any("/backbone/" in known for known in checkpoint.arrays)
    return checkpoint.classifies and has_backbone and path.split("/")[1] != "backbone"


def _allowed(misfits: Mapping[str, Sequence[str]], allow: Sequence[str]) -> set[str]:
    names = {name for kind in misfits.values() for name in kind}
    allowed = set()
    for pattern in allow:
        try:
            fitting = {name for name in names if re.search(pattern, name)}
        except re.error as error:
            raise InputError(
                f"allow: {pattern!r} is not a regular expression: {error}."
            ) from error
        if not fitting:
            raise InputError(f"allow: {pattern!r} matches no name that misfits; remove it.")
        allowed |= fitting
    return allowed


def _complaint(
    checkpoint: Checkpoint,
    refused: Mapping[str, Sequence[str]],
    found: Mapping[str, np.ndarray],
    wanted: Wanted,
) -> str:
    """Returns one line that names what does not fit, and the remedy."""

    def described(path: str) -> str:
        array, name = found[path], checkpoint.names[path]
        there = path if name == path else f"{path} ({name})"
        dtype = "" if jnp.issubdtype(array.dtype, jnp.floating) else f"{array.dtype} "
        return f"{there} is {dtype}{array.shape} in the file, {wanted[path].shape} in the model"

    def counted(path: str) -> str:
        array, name = _cast(found[path], wanted[path]), checkpoint.names[path]
        there = path if name == path else f"{path} ({name})"
        return f"{there} has {np.sum(~np.isfinite(array))} of {array.size}"

    show = {"of another shape": described, NOT_FINITE: counted}
    parts = {
        kind: f"{len(names)} {kind}: {_named([*map(show.get(kind, str), sorted(names))])}"
        for kind, names in refused.items()
        if names
    }
    if [*parts] == [NOT_FINITE]:
        return (
            f"holds weights that are not finite (NaN or infinite). {parts[NOT_FINITE]}. Use an "
            "earlier checkpoint, or name in allow=(...) the layers to initialise from the seed."
        )
    prefix, outside = checkpoint.prefix, refused["unexpected"]
    hint = ""
    if any(not name.startswith(prefix) for name in outside):
        key = prefix.rstrip(".")
        hint = f", or set key={key!r} to use only the arrays under {key!r}"
    return (
        f"is for another network ({checkpoint.layout} layout). {'; '.join(parts.values())}. "
        f"Build the model it is for, name in allow=(...) the layers that may differ{hint}."
    )


def _declare_hint(paths: Sequence[str], num_classes: int | None) -> str:
    """Returns a hint to declare classifiers, if layers differ only in the number of classes."""
    if not paths:
        return ""
    below = [path.partition("/")[2] for path in paths]
    layers = tuple(dict.fromkeys(path.rpartition("/")[0] or path for path in below))
    return (
        f" If these layers score the model's {num_classes} classes and may be initialised from "
        f"the seed, give the model classifiers = {layers!r}."
    )


def _backbone_notes(checkpoint: Checkpoint, new: Sequence[str], seed: int) -> Iterable[str]:
    yield from checkpoint.remarks
    if checkpoint.left_out:
        yield f"{_named(checkpoint.left_out)} ignored: the model does not classify images"
    if new:
        parts = sorted({path.split("/")[1] for path in new})
        yield (
            f"backbone from a classification checkpoint ({checkpoint.layout}); "
            f"initialised from seed {seed}: {_named(parts)}"
        )


def _classifier_notes(
    resized: Sequence[str],
    found: Mapping[str, np.ndarray],
    wanted: Wanted,
    num_classes: int | None,
    seed: int,
) -> Iterable[str]:
    layers = {path.rpartition("/")[0].removeprefix("params/"): path for path in resized}
    for layer, path in sorted(layers.items()):
        before, after = found[path].shape[-1], wanted[path].shape[-1]
        what = "classes" if after == num_classes else "outputs"
        yield f"{layer} re-initialised from seed {seed}: {before} → {after} {what}"

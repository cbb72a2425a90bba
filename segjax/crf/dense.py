"""The fully connected CRF on an image (Krähenbühl and Koltun, 2011), as DeepLab uses it.

Pixels that are near, and pixels that are near and similar in colour, pull each other towards
the same label. Names and conventions are pydensecrf's: widths are standard deviations, `sxy` in
pixels, `srgb` in levels of 0 … 255; `compat` is the energy of different labels.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Shaped

from segjax.crf import buckets
from segjax.crf.bucket_program import CLIP
from segjax.crf.checks import (
    check_distances,
    check_energies,
    check_probabilities,
    check_sizes,
    checked_rounds,
    each,
    traced,
)
from segjax.crf.host_lattice import build_host_lattice, host_features
from segjax.crf.kernels import appearance_features, energies, smoothness_filter
from segjax.crf.lattice import Placed, connect, lattice_filter, place
from segjax.crf.mean_field import Normalization, Pairwise, mean_field, normalized
from segjax.crf.spatial_gaussian import in_taps
from segjax.errors import InputError
from segjax.ops.dispatch import is_plain, on_cpu
from segjax.parallel.kept_memory import at_hand

_PYDENSECRF = {
    "NORMALIZE_SYMMETRIC": "symmetric",
    "NORMALIZE_BEFORE": "before",
    "NORMALIZE_AFTER": "after",
    "NO_NORMALIZATION": "none",
}

Width = float | int | np.generic | np.ndarray | Array | tuple[Any, ...] | list[Any]
Compat = float | int | np.generic | np.ndarray | Array | tuple[Any, ...] | list[Any]


@dataclasses.dataclass(frozen=True)
class Smoothness:
    """The kernel exp(−|p_i − p_j|² / 2σ²) of position alone.

    Attributes:
      compat: the energy of two different labels (Potts); or k energies of equal labels, usually
        negative; or a k × k matrix of energies, whose symmetric part counts.
      sxy: σ in pixels; a pair is (along the width, along the height).

    Raises:
      InputError: a width is not a number above 0, or an energy is not finite.
    """

    compat: Compat = 3
    sxy: Width = 3

    def __post_init__(self) -> None:
        _check(self, sxy=2)


@dataclasses.dataclass(frozen=True)
class Appearance:
    """The kernel exp(−|p_i − p_j|² / 2σ_xy² − |I_i − I_j|² / 2σ_rgb²) of position and colour.

    Attributes:
      compat: as in `Smoothness`.
      sxy: σ_xy in pixels; a pair is (along the width, along the height).
      srgb: σ_rgb in levels of 0 … 255; or one for each channel.

    Raises:
      InputError: a width is not a number above 0, or an energy is not finite.
    """

    compat: Compat = 4
    sxy: Width = 49
    srgb: Width = 5

    def __post_init__(self) -> None:
        _check(self, sxy=2, srgb=None)


def _check(kernel: Smoothness | Appearance, **counts: int | None) -> None:
    name = type(kernel).__name__
    try:
        check_energies(f"{name}.compat", kernel.compat)
        for field, count in counts.items():
            each(f"{name}.{field}", getattr(kernel, field), count)
    except ValueError as error:
        raise InputError(str(error)) from None


def dense_crf(
    probabilities: Float[Array | np.ndarray, "..."],
    image: Shaped[Array | np.ndarray, "..."],
    *,
    iterations: int = 10,
    smoothness: Smoothness | None = Smoothness(),
    appearance: Appearance | None = Appearance(),
    compatibility: Float[Array | np.ndarray, "..."] | None = None,
    normalization: str = "symmetric",
    capacity: int | None = None,
) -> Float[Array, "..."]:
    """Returns the marginals of the fully connected CRF whose unary energy is −log p.

    The defaults are those of the released DeepLab v1 (script for VGG16): 10 iterations, weight
    3 and σ 3 for smoothness, weight 4, σ_xy 49 and σ_rgb 5 for appearance.

    Outside `jit`, on a CPU, images of many sizes share a program (`segjax.crf.buckets`): NumPy
    builds the lattice, and the function compiles twice for each octave of pixels, again for
    lattices of more than ¾, 1½, 3 or 6 times as many points as pixels, and once for each number
    of channels, multiple of 8 classes, combination of kernels, shape of `compat`, and
    smoothness width up to 3 or up to 5 pixels.

    Elsewhere outside `jit` it compiles once for each image size, number of classes,
    `iterations`, `normalization` and capacity of the lattice, which depends on the image's
    colours and is rounded up to one of two sizes per octave. This holds on a GPU or TPU; under
    `segjax.ops.dispatch.plain()`; for smoothness widths above 5 pixels; for images of more than
    4 million pixels or a side of only a few; and for appearance widths of hundredths of a
    pixel and a level.

    Inside `jit` it is an ordinary function. It is differentiable in reverse mode by the
    probabilities, `compat`, `compatibility` and the widths. A batch runs image by image.

    Args:
      probabilities: h w k or b h w k, of k classes, 0 … 1; below 1e-5 they count as 1e-5.
      image: h w c or b h w c, uint8, of the same height and width.
      iterations: iterations of the mean field.
      smoothness: the kernel of position; None leaves it out.
      appearance: the kernel of position and colour; None leaves it out.
      compatibility: energies of label pairs, k × k, which the kernels' `compat` multiply; its
        symmetric part counts. None is Potts: 1 where labels differ, 0 where they agree.
      normalization: "symmetric", "before", "after" or "none" (see `mean_field.normalized`), or
        pydensecrf's names for them.
      capacity: the number of points that the appearance kernel's lattice can hold. The default
        suffices: outside `jit` the points are counted; inside it is the maximum, h·w·(c + 3),
        which costs several times the time and memory. Photographs at these widths need 0.2 to
        1.1 times h·w; larger widths need less.

    Returns:
      Probabilities in float32, of the same shape. Inside `jit`, which cannot raise errors, all
      probabilities of an image are NaN if its lattice exceeds the capacity.

    Raises:
      ValueError: sizes, types or values do not fit, or the capacity is too small. Inside `jit`
        the arrays' values are not checked.
    """
    options = _Options(
        *checked_rounds(iterations, _PYDENSECRF.get(normalization, normalization))
    )
    check_sizes("Probabilities", probabilities, image)
    check_probabilities(probabilities)
    widths, compats = checked_kernels(
        smoothness, appearance, image.shape[-3:], probabilities.shape[-1], compatibility
    )
    if traced(probabilities, image, compats, widths):
        p, image = jnp.asarray(probabilities), jnp.asarray(image)
        placed = _placed(image, widths.appearance)
        return _infer(p, image, compats, widths, placed, options, capacity)
    found = _in_buckets(probabilities, image, compats, widths, options, capacity)
    if found is not None:
        return jnp.asarray(found)
    return _compiled(probabilities, image, compats, widths, options, capacity)


class _Widths(NamedTuple):
    """The widths of each kernel, one for each axis; None for a kernel that is left out."""

    smoothness: Any
    appearance: Any


class _Options(NamedTuple):
    """Options that inference is compiled for; `taps` are smoothness widths known by then."""

    iterations: int
    normalization: Normalization
    taps: tuple[float, ...] | None = None


def checked_kernels(
    smoothness: Smoothness | None,
    appearance: Appearance | None,
    shape: tuple[int, ...],
    classes: int,
    compatibility: Array | np.ndarray | None,
) -> tuple[_Widths, tuple[Array, ...]]:
    """Returns the kernels' widths, and the energies of the kernels that are not None.

    Args:
      smoothness: the kernel of position, or None.
      appearance: the kernel of position and colour, or None.
      shape: h w c of the image.
      classes: k.
      compatibility: k × k energies that the kernels' `compat` multiply, or None.

    Raises:
      ValueError: a kernel does not fit the image's shape or the number of classes.
    """
    h, w, channels = shape
    compats = tuple(
        energies(f"{type(kernel).__name__}.compat", kernel.compat, compatibility, classes)
        for kernel in (smoothness, appearance)
        if kernel
    )
    near = smoothness and each("sxy", smoothness.sxy, 2)
    if not appearance:
        return _Widths(near, None), compats
    sxy, srgb = each("sxy", appearance.sxy, 2), each("srgb", appearance.srgb, channels)
    check_distances("sxy", sxy, (w - 1, h - 1))
    check_distances("srgb", srgb, (255,) * channels)
    return _Widths(near, (*sxy, *srgb)), compats


def _in_buckets(
    probabilities: Array | np.ndarray,
    image: Array | np.ndarray,
    compats: tuple[Array, ...],
    widths: _Widths,
    options: _Options,
    capacity: int | None,
) -> np.ndarray | None:
    """Returns the marginals by a program for many sizes; None if no bucket takes the image.

    Raises:
      ValueError: the capacity is too small.
    """
    h, w = image.shape[-3:-1]
    if not on_cpu() or is_plain() or not buckets.fits(h, w, widths.smoothness):
        return None
    if image.ndim == 4:
        one = lambda p, i: _in_buckets(p, i, compats, widths, options, capacity)
        found = [one(p, i) for p, i in zip(probabilities, image, strict=True)]
        fitting = [marginals for marginals in found if marginals is not None]
        return np.stack(fitting) if len(fitting) == len(found) else None
    lattice = None
    if widths.appearance is not None:
        lattice = build_host_lattice(host_features(np.asarray(image), widths.appearance))
        if lattice is None:
            return None
        _check_capacity(len(lattice.degree) - 1, capacity)
    return buckets.infer(
        np.asarray(probabilities),
        lattice,
        widths.smoothness,
        compats,
        iterations=options.iterations,
        normalization=options.normalization,
    )


def _compiled(
    probabilities: Array | np.ndarray,
    image: Array | np.ndarray,
    compats: tuple[Array, ...],
    widths: _Widths,
    options: _Options,
    capacity: int | None,
) -> Array:
    """Returns the marginals; as many calls as possible share a compiled program.

    Raises:
      ValueError: the capacity is too small.
    """
    near = widths.smoothness
    if near and in_taps(image.shape[-3:-1], near):
        options, widths = options._replace(taps=near), widths._replace(smoothness=None)
    widths = _Widths(*(sigmas and np.array(sigmas, np.float32) for sigmas in widths))
    placed = _placed_now(image, widths.appearance)
    arrays = (jnp.asarray(probabilities, jnp.float32), image, compats, widths, placed)
    return _infer_now(*at_hand(arrays), options, _room(placed, capacity))


def _placed(image: Array, widths: Any) -> Placed | None:
    """Returns the pixels' places in the lattice, of one image or of each image of a batch."""
    if widths is None:
        return None
    if image.ndim == 4:
        return lax.map(lambda one: _placed(one, widths), image)
    return place(appearance_features(image, widths))


def _infer(
    probabilities: Array,
    image: Array,
    compats: tuple[Array, ...],
    widths: _Widths,
    placed: Placed | None,
    options: _Options,
    capacity: int | None,
) -> Array:
    """Returns the marginals of one image, or of a batch, image by image."""
    if probabilities.ndim == 4:
        one = lambda it: _infer(it[0], it[1], compats, widths, it[2], options, capacity)
        return lax.map(one, (probabilities, image, placed))
    h, w, k = probabilities.shape
    filters = []
    sigmas = widths.smoothness if options.taps is None else options.taps
    if sigmas is not None:
        filters.append(smoothness_filter((h, w), sigmas))
    if placed is not None:
        features = appearance_features(image, widths.appearance)
        lattice = connect(placed, placed.weight.size if capacity is None else capacity)
        filters.append(partial(lattice_filter, lattice, features))
    pairwise = [
        Pairwise(normalized(kernel, h * w, options.normalization), compat)
        for kernel, compat in zip(filters, compats, strict=True)
    ]
    unary = -jnp.log(jnp.clip(probabilities.astype(jnp.float32), CLIP, 1)).reshape(h * w, k)
    return mean_field(unary, pairwise, iterations=options.iterations).reshape(h, w, k)


_placed_now = jax.jit(_placed)
_infer_now = jax.jit(_infer, static_argnums=(5, 6))


def _room(placed: Placed | None, capacity: int | None) -> int | None:
    """Returns a sufficient capacity: 4096, 8192, or one of two per octave, so few compile.

    Raises:
      ValueError: the given capacity is too small, or the lattice is incomplete.
    """
    if placed is None:
        return None
    if not np.all(placed.points.complete):
        raise ValueError(
            "The lattice of the appearance kernel is incomplete: its hash table did not "
            "resolve all points; give slightly different widths."
        )
    needed = int(placed.points.count.max())
    if capacity is not None:
        _check_capacity(needed, capacity)
        return capacity
    step = 1 << max(needed.bit_length() - 2, 12)
    return -(-needed // step) * step


def _check_capacity(needed: int, capacity: int | None) -> None:
    if capacity is not None and needed > capacity:
        raise ValueError(
            f"capacity={capacity} is too small: the lattice of the appearance kernel has "
            f"{needed} points; give at least that, or None, or larger widths."
        )

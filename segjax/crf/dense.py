"""The fully connected CRF on an image (Krähenbühl and Koltun, 2011), as DeepLab uses it.

Pixels of like place, and of like place and colour, pull each other towards the same label.
Names and conventions are pydensecrf's: widths are standard deviations, `sxy` in pixels, `srgb`
in levels of 0 … 255; `compat` is the energy of unlike labels.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Shaped, UInt8

from segjax.crf.grid import grid_filter
from segjax.crf.lattice import Placed, connect, lattice_filter, place
from segjax.crf.mean_field import (
    NORMALIZATIONS,
    Filter,
    Normalization,
    Pairwise,
    mean_field,
    normalized,
)

CLIP = 1e-5
"""Probabilities below it count as this much, so that no energy is infinite."""

Width = float | int | Array | tuple[float | int | Array, ...]
Compat = float | int | Array | np.ndarray | tuple

_PYDENSECRF = {
    "NORMALIZE_SYMMETRIC": "symmetric",
    "NORMALIZE_BEFORE": "before",
    "NORMALIZE_AFTER": "after",
    "NO_NORMALIZATION": "none",
}


@dataclasses.dataclass(frozen=True)
class Smoothness:
    """The kernel exp(−|p_i − p_j|² / 2σ²) of place alone.

    Attributes:
      compat: energy of unlike labels (Potts); or k energies of like labels, usually negative;
        or a k × k matrix of energies, of which the symmetric part counts.
      sxy: σ in pixels; a pair is (along the width, along the height).
    """

    compat: Compat = 3
    sxy: Width = 3


@dataclasses.dataclass(frozen=True)
class Appearance:
    """The kernel exp(−|p_i − p_j|² / 2σ_xy² − |I_i − I_j|² / 2σ_rgb²) of place and colour.

    Attributes:
      compat: as in `Smoothness`.
      sxy: σ_xy in pixels; a pair is (along the width, along the height).
      srgb: σ_rgb in levels of 0 … 255; or one a channel.
    """

    compat: Compat = 4
    sxy: Width = 49
    srgb: Width = 5


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

    The defaults are those of the released DeepLab v1 (script for VGG16): 10 rounds, weight 3
    and σ 3 for smoothness, weight 4, σ_xy 49 and σ_rgb 5 for appearance.

    Outside of `jit` it compiles once a size, and takes what room the lattice needs. Inside, it
    is an ordinary function: differentiable by the probabilities, by `compat`, `compatibility`
    and the widths; and images may be mapped over (one after the other).

    Args:
      probabilities: h w k or b h w k, of k classes, ≥ 0; below 1e-5 they count as 1e-5.
      image: h w c or b h w c, uint8, of the same height and width.
      iterations: rounds of the mean field.
      smoothness: the kernel of place; None leaves it out.
      appearance: the kernel of place and colour; None leaves it out.
      compatibility: energies of label pairs, k × k, which the kernels' `compat` multiply; its
        symmetric part counts. None is Potts: 1 where labels differ, 0 where they agree.
      normalization: "symmetric", "before", "after" or "none" (see `mean_field.normalized`), or
        pydensecrf's names for them.
      capacity: room for points of the appearance kernel's lattice. By default there is enough:
        outside of `jit` what was counted, inside h·w·(c + 3), the most there can be, which
        costs several times the time and memory. Photographs at these widths need 0.2 to 1.1
        times h·w, and less where the widths are larger.

    Returns:
      Probabilities in float32, of the same shape. Inside `jit`, where nothing can be raised,
      every one of an image whose lattice has not enough room is NaN.

    Raises:
      ValueError: sizes, types or values do not fit, or the capacity does not suffice. Inside
        `jit` the arrays' values cannot be looked at.
    """
    normalization = _PYDENSECRF.get(normalization, normalization)
    _check_arrays(probabilities, image)
    if iterations < 0 or normalization not in NORMALIZATIONS:
        raise ValueError(
            f"Rounds must be at least 0, got {iterations}, and normalization one of "
            f"{', '.join(NORMALIZATIONS)}, got {normalization!r}."
        )
    compats = tuple(
        _compatibility(kernel, compatibility, probabilities.shape[-1])
        for kernel in (smoothness, appearance)
        if kernel
    )
    options = _Options(
        iterations,
        normalization,
        smoothness and _each("sxy", smoothness.sxy, 2),
        appearance
        and (
            *_each("sxy", appearance.sxy, 2),
            *_each("srgb", appearance.srgb, image.shape[-1]),
        ),
    )
    if _traced(probabilities, image, compats, options):
        p, image = jnp.asarray(probabilities), jnp.asarray(image)
        return _infer(p, image, compats, _placed(image, options), options, capacity)
    placed = _placed_now(image, options)
    room = _room(placed, capacity)
    return _infer_now(probabilities, image, compats, placed, options, room)


class _Options(NamedTuple):
    """What inference is compiled for; widths are one an axis, or None for no kernel."""

    iterations: int
    normalization: Normalization
    smoothness: tuple[float | Array, ...] | None
    appearance: tuple[float | Array, ...] | None


def _placed(image: Array, options: _Options) -> Placed | None:
    """Returns the pixels in their simplices, of one image or of each of a batch."""
    if not options.appearance:
        return None
    if image.ndim == 4:
        return lax.map(lambda one: _placed(one, options), image)
    return place(appearance_features(image, options.appearance))


def _infer(
    probabilities: Array,
    image: Array,
    compats: tuple[Array, ...],
    placed: Placed | None,
    options: _Options,
    capacity: int | None,
) -> Array:
    """Returns the marginals of one image, or of each of a batch, one after the other."""
    if probabilities.ndim == 4:
        one = lambda it: _infer(it[0], it[1], compats, it[2], options, capacity)
        return lax.map(one, (probabilities, image, placed))
    h, w, k = probabilities.shape
    filters = []
    if options.smoothness:
        filters.append(smoothness_filter((h, w), options.smoothness))
    if placed is not None and options.appearance is not None:
        features = appearance_features(image, options.appearance)
        lattice = connect(placed, placed.weight.size if capacity is None else capacity)
        filters.append(partial(lattice_filter, lattice, features))
    pairwise = [
        Pairwise(normalized(kernel, h * w, options.normalization), compat)
        for kernel, compat in zip(filters, compats, strict=True)
    ]
    unary = -jnp.log(jnp.clip(probabilities.astype(jnp.float32), CLIP, 1)).reshape(h * w, k)
    return mean_field(unary, pairwise, iterations=options.iterations).reshape(h, w, k)


_placed_now = jax.jit(_placed, static_argnums=1)
_infer_now = jax.jit(_infer, static_argnums=(4, 5))


def _room(placed: Placed | None, capacity: int | None) -> int | None:
    """Returns a capacity that suffices: one of four an octave, so that few are compiled.

    Raises:
      ValueError: the capacity that was asked for does not suffice.
    """
    if placed is None:
        return None
    needed = int(placed.points.count.max())
    if capacity is not None:
        if needed > capacity:
            raise ValueError(
                f"capacity={capacity} is too small: the lattice of the appearance kernel has "
                f"{needed} points; give that, or None, or larger widths."
            )
        return capacity
    step = 1 << max(needed.bit_length() - 3, 6)
    return -(-needed // step) * step


def smoothness_filter(size: tuple[int, int], widths: tuple[float | Array, ...]) -> Filter:
    """Returns the filter of place, n k -> n k, on h × w pixels; widths are along w, along h."""
    (h, w), (along_w, along_h) = size, widths

    def filtered(values: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return grid_filter(values.reshape(h, w, -1), (along_w, along_h)).reshape(h * w, -1)

    return filtered


def appearance_features(
    image: UInt8[Array, "h w c"], widths: tuple[float | Array, ...]
) -> Float[Array, "n d"]:
    """Returns place (x, y) and colour of each pixel over their widths."""
    h, w, channels = image.shape
    y, x = jnp.meshgrid(jnp.arange(h), jnp.arange(w), indexing="ij")
    place_colour = [x, y, *(image[..., i] for i in range(channels))]
    scaled = [
        values.astype(jnp.float32).reshape(-1) / width
        for values, width in zip(place_colour, widths, strict=True)
    ]
    return jnp.stack(scaled, axis=1)


def _compatibility(kernel: Smoothness | Appearance, matrix, classes: int) -> Array:
    """Returns a kernel's energies: one number, k, or k × k.

    Raises:
      ValueError: it has another number of classes, or a matrix meets more than a number.
    """
    compat = jnp.asarray(kernel.compat, jnp.float32)
    if matrix is not None:
        if compat.ndim:
            raise ValueError(
                f"compatibility multiplies numbers; {type(kernel).__name__}.compat has "
                f"{compat.ndim} axes: give either of the two."
            )
        compat = compat * jnp.asarray(matrix, jnp.float32)
    if compat.ndim > 2 or any(side != classes for side in compat.shape):
        raise ValueError(
            f"Compatibilities of {classes} classes are a number, {classes} of them, or "
            f"{classes} x {classes}; got {' x '.join(map(str, compat.shape))}."
        )
    return (compat + compat.T) / 2 if compat.ndim == 2 else compat


def _each(name: str, width: Width, count: int) -> tuple[float | Array, ...]:
    """Returns `count` widths from one or from as many.

    Raises:
      ValueError: their number is another, or one is not above 0.
    """
    widths = tuple(width) if isinstance(width, tuple | list) else (width,) * count
    if len(widths) != count:
        raise ValueError(f"{name} is one width or {count}, got {len(widths)}.")
    if any(isinstance(x, jax.core.Tracer) for x in widths):
        return widths
    widths = tuple(float(x) for x in widths)
    if not all(0 < x < np.inf for x in widths):
        raise ValueError(f"{name} must be above 0, got {width}.")
    return widths


def _traced(*trees) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def _check_arrays(probabilities, image) -> None:
    """Raises ValueError unless image and probabilities fit each other."""
    if image.dtype != jnp.uint8 or image.ndim not in (3, 4):
        raise ValueError(
            f"The image must be uint8 of shape h w c or b h w c, got {image.dtype} of shape "
            f"{image.shape}: give the picture itself, before it is normalised."
        )
    if probabilities.ndim != image.ndim or probabilities.shape[:-1] != image.shape[:-1]:
        raise ValueError(
            f"Probabilities of shape {probabilities.shape} do not lie on an image of shape "
            f"{image.shape}; bring them to its height and width first."
        )
    if not _traced(probabilities):
        least, most = np.min(probabilities), np.max(probabilities)
        if not (least >= 0 and most < np.inf):
            raise ValueError(
                f"Probabilities must be finite and at least 0, got {least} to {most}; a "
                "network's logits go through a softmax first."
            )

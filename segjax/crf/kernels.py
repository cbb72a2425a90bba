"""The CRF's two kernels: their energies, the filter of one, the features of the other."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from segjax.crf.checks import check_energies
from segjax.crf.mean_field import Filter
from segjax.crf.spatial_gaussian import grid_filter


def energies(
    name: str, compat: Any, matrix: Array | np.ndarray | None, classes: int
) -> Float[Array, "k k"] | Float[Array, " k"] | Float[Array, ""]:
    """Returns a kernel's energies: one number, k numbers, or a symmetric k × k matrix.

    Args:
      name: the name of `compat` in a message.
      compat: a number, k, or k × k of them.
      matrix: energies of label pairs that `compat` multiplies, or None.
      classes: k.

    Raises:
      ValueError: the number of classes differs, both `compat` and `matrix` have axes, `matrix`
        is not k × k, or an energy is not finite.
    """
    compat = jnp.asarray(compat, jnp.float32)
    if matrix is not None:
        if compat.ndim:
            raise ValueError(
                f"compatibility multiplies single numbers, but {name} has {compat.ndim} axes; "
                "give one of the two."
            )
        if (shape := jnp.shape(matrix)) != (classes, classes):
            raise ValueError(
                f"compatibility must have {classes} x {classes} energies, got "
                f"{' x '.join(map(str, shape)) or 'one number'}; give energies of equal labels "
                f"alone as {name}."
            )
        check_energies("compatibility", matrix)
        compat = compat * jnp.asarray(matrix, jnp.float32)
        check_energies(f"{name} times compatibility", compat)
    if compat.ndim > 2 or any(side != classes for side in compat.shape):
        raise ValueError(
            f"Compatibilities of {classes} classes must be one number, {classes} numbers, or "
            f"{classes} x {classes}; got {' x '.join(map(str, compat.shape))}."
        )
    return (compat + compat.T) / 2 if compat.ndim == 2 else compat


def smoothness_filter(size: tuple[int, int], widths: Any) -> Filter:
    """Returns the filter of position, n k -> n k, on h × w pixels; widths are along w and h."""
    (h, w), (along_w, along_h) = size, widths

    def filtered(values: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return grid_filter(values.reshape(h, w, -1), (along_w, along_h)).reshape(h * w, -1)

    return filtered


def appearance_features(image: UInt8[Array, "h w c"], widths: Any) -> Float[Array, "n d"]:
    """Returns each pixel's position (x, y) and colour, divided by the d widths."""
    h, w, channels = image.shape
    y, x = jnp.meshgrid(jnp.arange(h), jnp.arange(w), indexing="ij")
    place_colour = [x, y, *(image[..., i] for i in range(channels))]
    scaled = [
        values.astype(jnp.float32).reshape(-1) / width
        for values, width in zip(place_colour, widths, strict=True)
    ]
    return jnp.stack(scaled, axis=1)

"""Two-stage detectors from images as read to objects, as one program for exports.

The program resizes an image, puts it on its canvas, and brings boxes back to the image's size,
as `segjax.tasks.detector` does on the host. Masks stay m × m, as the network finds them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Shaped

from segjax.contracts import Array, Variables, full_scale
from segjax.evaluate.wrappers import resized
from segjax.tasks.detector import Sizes
from segjax.tasks.two_stage import Detections


def from_whole_images(
    network: Callable,
    outputs: Callable[[Any], dict[str, Array]],
    sizes: Sizes,
    *,
    antialias: bool = False,
) -> Callable[[Variables, Array], dict[str, Array]]:
    """Returns `(variables, images b h w c) → outputs`, for any number of images of one size.

    One image after another: so their number need not be known while the program is traced, and
    suppression takes as many rounds as its own image needs.

    Args:
      network: `(variables, images, sizes on the canvas)` → what it finds.
      outputs: what it finds → arrays by name.
      sizes: of an image, before and on its canvas.
      antialias: whether an image that shrinks is averaged; Pillow, which does so on the host,
        rounds the result to whole numbers.
    """
    room = [(0, 0), *((0, c - s) for s, c in zip(sizes.inside, sizes.canvas, strict=True))]

    def of_image(variables: Variables, image: Shaped[Array, "h w c"]) -> dict[str, Array]:
        """Returns the outputs of one image."""
        x = image[None].astype(jnp.float32) / np.float32(full_scale(image.dtype))
        if antialias:
            x = jax.image.resize(x, (1, *sizes.inside, x.shape[-1]), "linear", antialias=True)
        else:
            x = resized(x, sizes.inside)
        x = jnp.pad(x, [*room, (0, 0)])
        found = network(variables, x, jnp.asarray([sizes.inside], jnp.int32))
        return jax.tree.map(lambda each: each[0], outputs(found))

    return lambda variables, images: lax.map(partial(of_image, variables), images)


def object_outputs(found: Detections, sizes: Sizes) -> dict[str, Array]:
    """Returns the objects of b images in d slots, by falling score, as arrays by name.

    `count` b, int32: how many slots hold an object; the first ones do, and others hold zeros.
    `boxes` b d 4, (x0, y0, x1, y1) in pixels of the image. `classes` b d, int32. `scores` b d,
    NaN where the network's outputs are. `masks` b d m m, probabilities inside each box, if the
    network has masks.
    """
    valid, factors = found.valid[..., None], np.tile(sizes.factors[::-1], 2)
    outputs = {
        "boxes": jnp.where(valid, found.boxes * factors[None, None], 0),
        "classes": found.classes,
        "count": found.valid.sum(-1, dtype=jnp.int32),
        "scores": found.scores,
    }
    if found.masks is not None:
        outputs["masks"] = jnp.where(valid[..., None], found.masks, 0)
    return outputs

"""The CRF as a layer with parameters, for a training loop of one's own (Zheng et al., 2015).

"Conditional Random Fields as Recurrent Neural Networks": every round of the mean field is a
stack of linear maps and a softmax, so gradients go through all rounds, to the network and to
the CRF's own parameters. The paper trains with 5 rounds and evaluates with 10 (section 5.3).

The layer compares the colours of the picture itself. `segjax.launch` hands a network normalised
images alone, so it does not train this layer: there, `segjax.evaluate.crf.CRF` refines what the
trained network answers. A loop of one's own takes the loss of both together:

>>> import jax, optax
>>> network, crf = nn.Conv(2, (3, 3)), CRFAsRNN(appearance_sxy=8.0, appearance_srgb=40.0)
>>> def loss(params, picture, label):
...     logits = network.apply(params["network"], picture / 255)
...     scores = crf.apply(params["crf"], logits, picture)
...     return optax.softmax_cross_entropy_with_integer_labels(scores, label).mean()
>>> def first_step(key, picture, label):
...     params = {"network": network.init(key, picture / 255)}
...     logits = network.apply(params["network"], picture / 255)
...     params["crf"] = crf.init(key, logits, picture)
...     gradients = jax.grad(loss)(params, picture, label)
...     return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients)
>>> picture, label = jnp.zeros((1, 6, 8, 3), jnp.uint8), jnp.zeros((1, 6, 8), jnp.int32)
>>> params = jax.eval_shape(first_step, jax.random.key(0), picture, label)
>>> params["crf"]["params"]["compatibility"].shape
(2, 2)
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Shaped

from segjax.crf.checks import check_distances, check_sizes, checked_rounds, each
from segjax.crf.kernels import appearance_features, smoothness_filter
from segjax.crf.lattice import build_lattice, lattice_filter
from segjax.crf.mean_field import Normalization, Pairwise, mean_energy, normalized


class CRFAsRNN(nn.Module):
    """Scores of pixels, made consistent with the picture by a trained CRF.

    Parameters: a weight of each kernel for each class, which multiplies its messages; the
    compatibility of the classes, which begins as Potts' (−1 for like labels, 0 for unlike
    ones); and with `learned_widths` the logarithms of the three widths, which the paper keeps.

    Attributes:
      iterations: rounds of the mean field; parameters do not depend on it.
      smoothness: first weight of the kernel of place.
      smoothness_sxy: its width in pixels.
      appearance: first weight of the kernel of place and colour.
      appearance_sxy: its width in pixels.
      appearance_srgb: its width in levels of 0 … 255.
      learned_widths: whether widths are parameters.
      normalization: see `mean_field.normalized`; the authors' layer divides after filtering.
      capacity: room for lattice points, see `dense_crf`; where it does not suffice, all scores
        of the image are NaN.
    """

    iterations: int = 5
    smoothness: float = 3.0
    smoothness_sxy: float = 3.0
    appearance: float = 5.0
    appearance_sxy: float = 160.0
    appearance_srgb: float = 3.0
    learned_widths: bool = False
    normalization: Normalization = "after"
    capacity: int | None = None

    @nn.compact
    def __call__(
        self, logits: Float[Array, "..."], image: Shaped[Array, "..."]
    ) -> Float[Array, "b h w k"]:
        """Returns scores in float32; their softmax are the marginals.

        Args:
          logits: b h w k, the network's scores, on the image's grid.
          image: b h w c, uint8, the picture before it is normalised.

        Raises:
          ValueError: sizes, types, widths, rounds or the normalisation do not fit.
        """
        self._check(logits, image)
        classes = logits.shape[-1]
        weights = [
            self.param(f"{name}_weight", nn.initializers.constant(first), (classes,))
            for name, first in (
                ("smoothness", self.smoothness),
                ("appearance", self.appearance),
            )
        ]
        potts = lambda _, shape: -jnp.eye(*shape)
        compatibility = self.param("compatibility", potts, (classes, classes))
        compats = [weight[:, None] * compatibility for weight in weights]
        sxy, place, colour = (
            self._width(name)
            for name in ("smoothness_sxy", "appearance_sxy", "appearance_srgb")
        )

        def scores(one: tuple[Array, Array]) -> Float[Array, "h w k"]:
            """Returns the scores of one image."""
            logits, image = one
            h, w, channels = image.shape
            features = appearance_features(image, (place, place, *[colour] * channels))
            lattice = build_lattice(features, capacity=self.capacity)
            kernels = (
                smoothness_filter((h, w), (sxy, sxy)),
                partial(lattice_filter, lattice, features),
            )
            pairwise = [
                Pairwise(normalized(kernel, h * w, self.normalization), compat)
                for kernel, compat in zip(kernels, compats, strict=True)
            ]
            unary = -logits.reshape(h * w, classes).astype(jnp.float32)
            energy = mean_energy(unary, pairwise, iterations=self.iterations)
            return -energy.reshape(h, w, classes)

        return lax.map(scores, (logits, image))

    def _check(self, logits: Array, image: Array) -> None:
        checked_rounds(self.iterations, self.normalization)
        check_sizes("Scores", logits, image)
        if image.ndim != 4:
            raise ValueError(f"The layer takes a batch, b h w c, got shape {image.shape}.")
        for name in ("smoothness_sxy", "appearance_sxy", "appearance_srgb"):
            each(name, getattr(self, name), 1)
        farthest = (max(image.shape[1:3]) - 1,)
        check_distances("appearance_sxy", (self.appearance_sxy,), farthest)
        check_distances("appearance_srgb", (self.appearance_srgb,), (255,))

    def _width(self, name: str) -> float | Array:
        """Returns a width: the field, or the parameter that begins as it."""
        width = getattr(self, name)
        if not self.learned_widths:
            return width
        return jnp.exp(self.param(f"log_{name}", lambda _: jnp.log(jnp.float32(width))))

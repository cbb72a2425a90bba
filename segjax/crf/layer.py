"""The CRF as a layer with parameters (Zheng et al., 2015, arXiv:1502.03240).

"Conditional Random Fields as Recurrent Neural Networks": every iteration of the mean field
consists of linear maps and a softmax, so gradients flow through all iterations, to the network
and to the CRF's parameters. The paper trains with 5 iterations and evaluates with 10 (section
5.3). `segjax.models.crf_rnn.CRFRNN` appends this layer to a network.
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
    """A trainable CRF that makes scores of pixels consistent with the image.

    Its parameters are a weight of each kernel for each class, which multiplies the kernel's
    messages; the compatibility of the classes, initialised as Potts (−1 for equal labels, 0
    for different ones); and with `learned_widths` the logarithms of the three widths, which are
    constant in the paper.

    Attributes:
      iterations: iterations of the mean field; parameters do not depend on it.
      smoothness: initial weight of the kernel of position.
      smoothness_sxy: width of the kernel of position, in pixels.
      appearance: initial weight of the kernel of position and colour.
      appearance_sxy: width of that kernel in pixels.
      appearance_srgb: width of that kernel in levels of 0 … 255.
      learned_widths: whether widths are parameters.
      normalization: see `mean_field.normalized`; the authors' layer divides after filtering.
      capacity: room for lattice points, see `dense_crf`; where it is too small, all scores of
        the image are NaN.
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
        self,
        logits: Float[Array, "..."],
        image: Shaped[Array, "..."],
        *,
        iterations: int | None = None,
    ) -> Float[Array, "b h w k"]:
        """Returns scores in float32, whose softmax is the marginals.

        Args:
          logits: b h w k, the network's scores at the image's size.
          image: b h w c, uint8, the image before normalisation.
          iterations: iterations of the mean field; None takes the field's.

        Raises:
          ValueError: sizes, types, widths, iterations or the normalisation do not fit.
        """
        rounds = self.iterations if iterations is None else iterations
        self._check(logits, image, rounds)
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
            energy = mean_energy(unary, pairwise, iterations=rounds)
            return -energy.reshape(h, w, classes)

        return lax.map(scores, (logits, image))

    def _check(self, logits: Array, image: Array, rounds: int) -> None:
        checked_rounds(rounds, self.normalization)
        check_sizes("Scores", logits, image)
        if image.ndim != 4:
            raise ValueError(f"The layer takes a batch, b h w c, got shape {image.shape}.")
        for name in ("smoothness_sxy", "appearance_sxy", "appearance_srgb"):
            each(name, getattr(self, name), 1)
        farthest = (max(image.shape[1:3]) - 1,)
        check_distances("appearance_sxy", (self.appearance_sxy,), farthest)
        check_distances("appearance_srgb", (self.appearance_srgb,), (255,))

    def _width(self, name: str) -> float | Array:
        """Returns a width: the field, or the parameter that is initialised with it."""
        width = getattr(self, name)
        if not self.learned_widths:
            return width
        return jnp.exp(self.param(f"log_{name}", lambda _: jnp.log(jnp.float32(width))))

"""CRF-RNN (Zheng et al., 2015, arXiv:1502.03240): a network and a CRF, trained as one."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from segjax.conformity import canvas, classifiers
from segjax.crf.layer import CRFAsRNN
from segjax.normalize import Normalize


class CRFRNN(nn.Module):
    """A network with `label_stride` 1, whose scores a CRF makes consistent with the image.

    The network's variables keep their names; those of the CRF are under `crf`. The paper starts
    from a trained FCN-8s: `init=Pretrained(PATH, allow=("params/crf/",))`.

    The CRF compares colours of 8-bit images, but models receive normalised images. So give the
    experiment's `normalize`: this model undoes it before the CRF.

    Attributes:
      network: a model that returns logits of the image's size.
      normalize: the experiment's normalisation.
      crf: the CRF layer; `iterations` are its iterations in training (the paper's 5).
      evaluation_iterations: iterations outside training (the paper's 10).
    """

    network: nn.Module
    normalize: Normalize
    crf: CRFAsRNN = CRFAsRNN()
    evaluation_iterations: int = 10

    @property
    def num_classes(self) -> int:
        """The number of classes of the network."""
        return self.network.num_classes  # type: ignore[attr-defined]

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The network's classifiers, and the CRF's weights and class compatibilities."""
        names = ("smoothness_weight", "appearance_weight", "compatibility")
        return (*classifiers(self.network), *(f"crf/{name}" for name in names))

    @nn.nowrap
    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Returns the canvas of the network."""
        return canvas(self.network, height, width)

    def setup(self) -> None:
        """Puts the network's variables into this module's scope, beside the CRF's."""
        nn.share_scope(self, self.network)

    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size, in float32.

        Raises:
          ValueError: the network's scores do not have the image's size.
        """
        logits = self.network(image, train=train)
        rounds = self.crf.iterations if train else self.evaluation_iterations
        return self.crf(logits, denormalized(image, self.normalize), iterations=rounds)


def denormalized(
    image: Float[Array, "b h w c"], normalize: Normalize
) -> UInt8[Array, "b h w c"]:
    """Returns the 8-bit image before `normalize`, clipped to 0 … 255.

    >>> from segjax.normalize import CAFFE
    >>> pixels = jnp.array([[[[0, 130, 255]]]], jnp.uint8)
    >>> denormalized(CAFFE(pixels), CAFFE).tolist()
    [[[[0, 130, 255]]]]
    """
    mean, std = (jnp.asarray(values, jnp.float32) for values in (normalize.mean, normalize.std))
    raw = (image * std[None, None, None] + mean[None, None, None]) * (255 / normalize.scale)
    raw = raw[..., ::-1] if normalize.reverse_channels else raw
    return jax.lax.stop_gradient(jnp.rint(raw).clip(0, 255).astype(jnp.uint8))

"""CRF-RNN (Zheng et al., 2015, arXiv:1502.03240): a network and a CRF, trained as one."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from segjax.conformity import canvas, classifiers
from segjax.crf.layer import CRFAsRNN
from segjax.normalize import Normalize


class CRFRNN(nn.Module):
    """The scores of a network with `label_stride` 1, made consistent with the picture.

    The variables are the network's own, under their own names, and the CRF's under `crf`. The
    paper begins with a trained FCN-8s: `init=Pretrained(PATH, allow=("params/crf/",))`.

    The CRF compares the colours of the picture, and models see normalised images: `normalize`
    is the experiment's own, which is undone. Images are of 8 bits.

    Attributes:
      network: logits of the image's size.
      normalize: the experiment's.
      crf: the layer; its `iterations` are those of training (the paper's 5).
      evaluation_iterations: rounds outside training (the paper's 10).
    """

    network: nn.Module
    normalize: Normalize
    crf: CRFAsRNN = CRFAsRNN()
    evaluation_iterations: int = 10

    @property
    def num_classes(self) -> int:
        """The network's."""
        return self.network.num_classes  # type: ignore[attr-defined]

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The network's, and the CRF's weights and compatibilities of classes."""
        names = ("smoothness_weight", "appearance_weight", "compatibility")
        return (*classifiers(self.network), *(f"crf/{name}" for name in names))

    @nn.nowrap
    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Returns the network's."""
        return canvas(self.network, height, width)

    def setup(self) -> None:
        """Puts the network's variables beside the CRF's."""
        nn.share_scope(self, self.network)

    def __call__(
        self, image: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w k"]:
        """Returns logits of the image's size, in float32.

        Raises:
          ValueError: the network's scores are not of the image's size.
        """
        logits = self.network(image, train=train)
        rounds = self.crf.iterations if train else self.evaluation_iterations
        return self.crf(logits, picture(image, self.normalize), iterations=rounds)


def picture(image: Float[Array, "b h w c"], normalize: Normalize) -> UInt8[Array, "b h w c"]:
    """Returns the 8-bit picture that `normalize` made the image of; beyond 0 … 255 it is cut.

    >>> from segjax.normalize import CAFFE
    >>> pixels = jnp.array([[[[0, 130, 255]]]], jnp.uint8)
    >>> picture(CAFFE(pixels), CAFFE).tolist()
    [[[[0, 130, 255]]]]
    """
    mean, std = (jnp.asarray(values, jnp.float32) for values in (normalize.mean, normalize.std))
    raw = (image * std[None, None, None] + mean[None, None, None]) * (255 / normalize.scale)
    raw = raw[..., ::-1] if normalize.reverse_channels else raw
    return jax.lax.stop_gradient(jnp.rint(raw).clip(0, 255).astype(jnp.uint8))

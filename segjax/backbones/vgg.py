"""VGG16 (Simonyan and Zisserman, 2014, arXiv:1409.1556), with three kinds of pooling.

Submodules have the paper's and Caffe's names: `conv1_1` … `conv5_3`, and `bn1_1` … .
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from segjax.backbones.output_stride import plan_stages
from segjax.contracts import Features
from segjax.layers.conv import Conv
from segjax.layers.norm import BatchNorm
from segjax.ops.pool import max_pool


@dataclasses.dataclass(frozen=True)
class Pool:
    """Max-pooling of any stride; `ceil` keeps a last window that is partly outside the image.

    Sides of 500, 225 and 7 at stride 2:

        FLOOR       2×2                     250, 112, 3    torchvision
        CEIL        2×2, the rest is −∞     250, 113, 4    Caffe's FCN
        DEEPLAB     3×3, padding 1          250, 113, 4    DeepLab v1 and v2

    DeepLab's Caffe has `ceil` too, and so one pixel more on even sides (251 of 500), but not on
    the papers' crops, 32k − 31. Without it scores lie on every eighth pixel of any image.
    """

    window: int = 2
    padding: int = 0
    ceil: bool = False

    def __call__(self, x: Float[Array, "b h w c"], *, stride: int) -> Float[Array, "b oh ow c"]:
        """Returns the largest value of each window; `size` gives the number of windows."""
        after = [
            max(
                (self.size(n, stride=stride) - 1) * stride + self.window - n - 2 * self.padding,
                0,
            )
            for n in x.shape[1:3]
        ]
        edges = ((0, 0), (0, after[0]), (0, after[1]), (0, 0))
        padded = jnp.pad(x, edges, constant_values=-jnp.inf) if any(after) else x
        return max_pool(padded, window=self.window, stride=stride, padding=self.padding)

    def size(self, size: int, *, stride: int) -> int:
        """Returns the number of windows along a side: `size` at stride 1, and at least 1.

        >>> [pool.size(7, stride=2) for pool in (FLOOR, CEIL, DEEPLAB)]
        [3, 4, 4]
        """
        if stride == 1:
            return size
        room = size + 2 * self.padding - self.window
        windows = (-(-room // stride) if self.ceil else room // stride) + 1
        if self.ceil and (windows - 1) * stride >= size + self.padding:
            windows -= 1  # Caffe's rule: drop a last window that begins beyond the image.
        return max(windows, 1)


FLOOR = Pool()
CEIL = Pool(ceil=True)
DEEPLAB = Pool(window=3, padding=1)


class VGG(nn.Module):
    """image → c1 … c5, the outputs of the five poolings (strides 2 to `output_stride`).

    `before_pool=True` returns the maps that U-shaped networks need: c0 … c4 are the inputs of
    the poolings (`conv1_2` … `conv5_3`, strides 1 to 16), and c5 is the output of the last.
    Parameters do not depend on `output_stride`: a pooling that loses its stride keeps its
    window, and the convolutions after it dilate (DeepLab v1, section 3.1). So dense features
    subsample to the strided ones, except c5 at output stride 8, because DeepLab does not dilate
    that pooling's window. `batch_norm` is torchvision's: it follows each convolution, which
    keeps its bias; `norm` is the class of `segjax.layers.norm` that it uses. `remat` recomputes
    each stage in the backward pass, to save memory.
    """

    stages: tuple[int, ...] = (2, 2, 3, 3, 3)
    width: int = 64
    output_stride: int = 32
    batch_norm: bool = False
    pool: Pool = FLOOR
    before_pool: bool = False
    dtype: Any = jnp.float32
    remat: bool = False
    norm: Callable[..., nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], *, train: bool) -> Features:
        """Returns the feature maps.

        Raises:
          ValueError: the output stride is not 8, 16 or 32.
        """
        pools = plan_stages(self.output_stride, strides=(2, 2, 2))
        strides = (2, 2, *(pool.stride for pool in pools))
        dilations = (1, 1, 1, *(pool.dilation for pool in pools))
        x, features = image, {}
        for i, stride in enumerate(strides):
            convs = lambda module, x, i=i: module._convs(x, i + 1, dilations[i], train=train)
            x = (nn.remat(convs) if self.remat else convs)(self, x)
            if self.before_pool:
                features[f"c{i}"] = x
            x = self.pool(x, stride=stride)
            if not self.before_pool or i == 4:
                features[f"c{i + 1}"] = x
        return features

    def _convs(
        self, x: Float[Array, "b h w c"], stage: int, dilation: int, *, train: bool
    ) -> Float[Array, "b h w f"]:
        """Returns the output of a stage's convolutions."""
        for j in range(1, self.stages[stage - 1] + 1):
            x = Conv(
                self.width * min(2 ** (stage - 1), 8),
                3,
                dilation=dilation,
                dtype=self.dtype,
                name=f"conv{stage}_{j}",
            )(x)
            if self.batch_norm:
                x = self.norm(dtype=self.dtype, name=f"bn{stage}_{j}")(x, train=train)
            x = nn.relu(x)
        return x


VGG16 = partial(VGG, stages=(2, 2, 3, 3, 3))


def fc_kernel(weight: np.ndarray, size: int) -> np.ndarray:
    """Returns a fully connected layer's weight as the kernel h w i o of a convolution.

    On a map of size × size the convolution returns the same as the layer.

    Args:
      weight: outputs × inputs, as PyTorch and Caffe store it: inputs in the order channel, row,
        column. 4096 × 25088 for VGG16's fc6, with size 7; 4096 × 4096 for fc7, with size 1.
      size: rows and columns of the layer's input.

    Raises:
      ValueError: the number of inputs is not a multiple of size².
    """
    outputs, inputs = weight.shape
    if inputs % size**2:
        raise ValueError(
            f"{inputs} inputs are not a whole number of {size}×{size} maps; give another size."
        )
    return weight.reshape(outputs, -1, size, size).transpose(2, 3, 1, 0)


def subsampled_fc(
    layers: Mapping[str, Mapping[str, np.ndarray]], *, kernel_size: int, features: int
) -> dict[str, dict[str, np.ndarray]]:
    """Returns fc6 and fc7 with fewer taps and filters: simple decimation (DeepLab v1, 3.1).

    For 3×3 taps and 1024 filters it keeps rows and columns 0, 3, 6 of fc6, and filters 0, 4, 8,
    … of both layers. (The paper does not say which ones it keeps; those of the released network
    are unknown.)

    Args:
      layers: {"fc6": {"kernel", "bias"}, "fc7": …}, kernels h w i o; fc6's is square.
      kernel_size: taps to keep along a side, the first and the last among them.
      features: filters to keep of each layer.

    Raises:
      ValueError: taps or filters cannot be kept at equal distances.
    """
    (size, _, _, outputs), taps = layers["fc6"]["kernel"].shape, kernel_size
    if taps < 2 or (size - 1) % (taps - 1) or features < 1 or outputs % features:
        raise ValueError(
            f"Cannot keep {taps}×{taps} taps and {features} filters of {size}×{size} and "
            f"{outputs} at equal distances."
        )
    step, filters = (size - 1) // (taps - 1), outputs // features
    fc6, fc7 = layers["fc6"], layers["fc7"]
    return {
        "fc6": {
            "kernel": fc6["kernel"][::step, ::step, :, ::filters],
            "bias": fc6["bias"][::filters],
        },
        # fc7's inputs are fc6's outputs.
        "fc7": {
            "kernel": fc7["kernel"][:, :, ::filters, ::filters],
            "bias": fc7["bias"][::filters],
        },
    }

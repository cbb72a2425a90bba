"""Writes `golden_torch.npz`: what PyTorch's convolutions return for inputs made from names.

Needs torch (made with 2.13.0); the tests need only `SETTINGS`, `tensors`, `kept`.

    python tests/ops/make_golden_torch.py
"""

import pathlib
import zlib
from typing import NamedTuple

import numpy as np

FILE = pathlib.Path(__file__).with_name("golden_torch.npz")
KEPT = 192
"""So many values of an array are kept, and the sum of all."""


class Setting(NamedTuple):
    """An input b h w c, a kernel in segjax's layout, and options."""

    transposed: bool
    x: tuple[int, int, int, int]
    kernel: tuple[int, int, int, int]
    options: dict


def _conv(x, kernel, **options):
    return Setting(False, x, kernel, options)


def _transposed(x, kernel, **options):
    return Setting(True, x, kernel, options)


SETTINGS = {
    # Kernels h w i o.
    "conv 1x1": _conv((2, 5, 6, 8), (1, 1, 8, 5)),
    "conv 1x1 stride 2": _conv((2, 9, 8, 6), (1, 1, 6, 4), stride=2),
    "conv 1x1 padding 1": _conv((1, 4, 5, 3), (1, 1, 3, 4), padding=1),
    "conv 1x1 groups 2": _conv((2, 5, 5, 8), (1, 1, 4, 6), groups=2),
    "conv 3x3 valid": _conv((2, 8, 7, 4), (3, 3, 4, 6)),
    "conv 3x3 padding 1": _conv((2, 8, 7, 4), (3, 3, 4, 6), padding=1),
    "conv 3x3 stride 2 even": _conv((2, 8, 6, 4), (3, 3, 4, 6), stride=2, padding=1),
    "conv 3x3 stride 2 odd": _conv((2, 9, 7, 4), (3, 3, 4, 6), stride=2, padding=1),
    "conv 7x7 stride 2 on RGB": _conv((1, 17, 16, 3), (7, 7, 3, 8), stride=2, padding=3),
    "conv 7x7 valid to one pixel": _conv((2, 7, 7, 3), (7, 7, 3, 4)),
    "conv 3x1": _conv((2, 7, 7, 4), (3, 1, 4, 4), padding=(1, 0)),
    "conv 1x5": _conv((2, 5, 9, 4), (1, 5, 4, 4), padding=(0, 2)),
    "conv pairs": _conv(
        (2, 9, 12, 3), (2, 3, 3, 5), stride=(2, 1), padding=(0, 2), dilation=(1, 3)
    ),
    "conv pairs of strides": _conv((2, 11, 8, 3), (4, 3, 3, 5), stride=(1, 3), padding=(3, 1)),
    "conv 2x2 stride 2": _conv((2, 8, 6, 4), (2, 2, 4, 6), stride=2),
    "conv 2x2 stride 3 skips pixels": _conv((2, 8, 9, 4), (2, 2, 4, 6), stride=3),
    "conv 3x3 rate 2": _conv((2, 9, 8, 4), (3, 3, 4, 6), padding=2, dilation=2),
    "conv 3x3 rate 2 valid": _conv((2, 9, 8, 4), (3, 3, 4, 6), dilation=2),
    "conv 3x3 rate 2 stride 2": _conv(
        (2, 10, 9, 4), (3, 3, 4, 6), stride=2, padding=2, dilation=2
    ),
    "conv 3x3 rate 6": _conv((1, 13, 12, 4), (3, 3, 4, 6), padding=6, dilation=6),
    "conv 3x3 rate 12": _conv((1, 17, 9, 4), (3, 3, 4, 6), padding=12, dilation=12),
    "conv 3x3 rate 36 on 9x9": _conv((2, 9, 9, 4), (3, 3, 4, 6), padding=36, dilation=36),
    "conv 3x3 rate 36 on 5x40": _conv((1, 5, 40, 4), (3, 3, 4, 6), padding=36, dilation=36),
    "conv 3x3 padding beyond rate": _conv((1, 4, 4, 3), (3, 3, 3, 4), padding=7, dilation=3),
    "conv 3x3 groups 2": _conv((2, 7, 6, 4), (3, 3, 2, 6), padding=1, groups=2),
    "conv 3x3 groups 4 rate 2": _conv(
        (1, 8, 8, 8), (3, 3, 2, 8), padding=2, dilation=2, groups=4
    ),
    "conv depthwise": _conv((2, 8, 7, 6), (3, 3, 1, 6), padding=1, groups=6),
    "conv depthwise stride 2": _conv((2, 9, 8, 6), (3, 3, 1, 6), stride=2, padding=1, groups=6),
    "conv depthwise multiplier 3": _conv((2, 6, 7, 4), (3, 3, 1, 12), padding=1, groups=4),
    "conv depthwise rate 36": _conv(
        (1, 9, 8, 6), (3, 3, 1, 6), padding=36, dilation=36, groups=6
    ),
    # Kernels h w o i.
    "transposed FCN-32s 64/32": _transposed((1, 3, 2, 2), (64, 64, 2, 2), stride=32),
    "transposed FCN-8s 16/8": _transposed((1, 5, 4, 3), (16, 16, 3, 3), stride=8),
    "transposed FCN-8s 4/2": _transposed((2, 6, 5, 3), (4, 4, 3, 3), stride=2),
    "transposed 16/8 padding 4": _transposed((1, 4, 5, 3), (16, 16, 2, 3), stride=8, padding=4),
    "transposed 4/2 padding 1": _transposed((2, 6, 5, 3), (4, 4, 5, 3), stride=2, padding=1),
    "transposed U-Net 2/2": _transposed((2, 5, 6, 6), (2, 2, 3, 6), stride=2),
    "transposed 2/2 output padding 1": _transposed(
        (2, 4, 3, 4), (2, 2, 3, 4), stride=2, output_padding=1
    ),
    "transposed 3/2 output padding 1": _transposed(
        (2, 5, 4, 4), (3, 3, 3, 4), stride=2, padding=1, output_padding=1
    ),
    "transposed 5/3 output padding (2, 1)": _transposed(
        (2, 4, 5, 3), (5, 5, 2, 3), stride=3, padding=2, output_padding=(2, 1)
    ),
    "transposed 3/1": _transposed((2, 5, 6, 4), (3, 3, 3, 4)),
    "transposed 3/1 padding 1": _transposed((2, 5, 6, 4), (3, 3, 3, 4), padding=1),
    "transposed 1/1": _transposed((2, 5, 6, 4), (1, 1, 3, 4)),
    "transposed 1/2 leaves holes": _transposed((2, 4, 5, 4), (1, 1, 3, 4), stride=2),
    "transposed 2/3 leaves holes": _transposed(
        (2, 4, 3, 4), (2, 2, 3, 4), stride=3, output_padding=1
    ),
    "transposed rate 2": _transposed((2, 5, 4, 3), (3, 3, 4, 3), padding=2, dilation=2),
    "transposed stride 2 rate 3": _transposed(
        (2, 5, 4, 3), (3, 3, 4, 3), stride=2, padding=3, output_padding=1, dilation=3
    ),
    "transposed rate 3 output padding 2": _transposed(
        (2, 5, 4, 3), (2, 3, 4, 3), output_padding=2, dilation=3
    ),
    "transposed pairs": _transposed(
        (2, 4, 6, 3),
        (5, 2, 4, 3),
        stride=(3, 1),
        padding=(1, 0),
        output_padding=(2, 0),
        dilation=(1, 2),
    ),
    "transposed pairs of kernel and stride": _transposed(
        (2, 3, 5, 4), (4, 3, 3, 4), stride=(4, 3)
    ),
    "transposed padding beyond the kernel": _transposed(
        (1, 7, 6, 3), (3, 3, 4, 3), stride=2, padding=4
    ),
    "transposed groups 2": _transposed(
        (2, 5, 4, 4), (3, 3, 3, 4), stride=2, padding=1, output_padding=1, groups=2
    ),
    "transposed depthwise 4/2": _transposed(
        (2, 5, 4, 6), (4, 4, 1, 6), stride=2, padding=1, groups=6
    ),
    "transposed groups 2 side by side": _transposed(
        (2, 4, 3, 4), (2, 2, 3, 4), stride=2, groups=2
    ),
}


def tensors(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns a setting's input and kernel."""
    _, x, kernel, _ = SETTINGS[name]
    rng = _rng(name)
    return rng.normal(size=x).astype(np.float32), rng.normal(size=kernel).astype(np.float32)


def cotangent(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns what the output's gradient is taken along."""
    return _rng(f"cotangent of {name}").normal(size=shape).astype(np.float32)


def kept(name: str, array: np.ndarray) -> np.ndarray:
    """Returns the array's values that the golden holds: all, or as many as it keeps of it."""
    order = _rng(f"values of {name}").permutation(array.size)[:KEPT]
    return array.ravel()[np.sort(order)]


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def main() -> None:
    """Writes the file: in float64 computed, in float32 kept."""
    answers = {}
    for name in SETTINGS:
        for part, array in zip(("y", "dx", "dk"), _answers(name), strict=True):
            answers[f"{name}: {part}"] = kept(name, array).astype(np.float32)
            answers[f"{name}: {part}, shape"] = np.array(array.shape, np.int16)
            answers[f"{name}: {part}, sum"] = array.sum()
    np.savez_compressed(FILE, **answers)


def _answers(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the output and the gradients by input and kernel, in segjax's layouts."""
    import torch

    functions = torch.nn.functional
    setting = SETTINGS[name]
    operation = functions.conv_transpose2d if setting.transposed else functions.conv2d
    x, kernel = (torch.from_numpy(t).double().requires_grad_() for t in tensors(name))
    # (o, i, h, w), and for the transposed (i, o, h, w): the same axes of h w i o and h w o i.
    y = operation(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), **setting.options)
    y = y.permute(0, 2, 3, 1)
    y.backward(torch.from_numpy(cotangent(name, tuple(y.shape))).double())
    return y.detach().numpy(), x.grad.numpy(), kernel.grad.numpy()


if __name__ == "__main__":
    main()

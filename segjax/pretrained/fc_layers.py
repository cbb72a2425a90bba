"""VGG's fully connected layers as the convolutions of FCN and DeepLab v1 and v2."""

import re
from collections.abc import Mapping

import numpy as np

from segjax.backbones.vgg import fc_kernel, subsampled_fc
from segjax.errors import InputError

LAYERS = (("classifier.0", "classifier.3"), ("pre_logits.fc1", "pre_logits.fc2"))
"""The names of fc6 and fc7 in torchvision and timm."""


def fc_layers(
    arrays: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, np.ndarray]]:
    """Returns {our path: (their name, array)} for every `fc6` and `fc7` of a network.

    If the network's layers are smaller, the arrays are subsampled as in DeepLab v1 (section
    3.1).

    Raises:
      InputError: the network's layers cannot be subsampled from the checkpoint's.
    """
    found = {}
    names = next((pair for pair in LAYERS if _tensors(pair) <= arrays.keys()), None)
    for path, shape in wanted.items():
        match = re.fullmatch(r"(params/(?:.+/)?)fc6((?:_\d+)?)/kernel", path)
        if not (match and names):
            continue
        smaller = _subsampled(arrays, names, kernel_size=shape[0], features=shape[-1])
        for (ours, leaves), theirs in zip(smaller.items(), names, strict=True):
            for leaf, array in leaves.items():
                name = f"{theirs}.{'weight' if leaf == 'kernel' else 'bias'}"
                found[f"{match[1]}{ours}{match[2]}/{leaf}"] = (name, array)
    return found


def _tensors(modules: tuple[str, str]) -> set[str]:
    return {f"{module}.{leaf}" for module in modules for leaf in ("weight", "bias")}


def _subsampled(
    arrays: Mapping[str, np.ndarray],
    names: tuple[str, str],
    *,
    kernel_size: int,
    features: int,
) -> dict[str, dict[str, np.ndarray]]:
    try:
        layers = {
            ours: {
                "kernel": _kernel(arrays[f"{theirs}.weight"], size),
                "bias": arrays[f"{theirs}.bias"],
            }
            for ours, theirs, size in (("fc6", names[0], 7), ("fc7", names[1], 1))
        }
        return subsampled_fc(layers, kernel_size=kernel_size, features=features)
    except ValueError as error:
        raise InputError(f"The checkpoint's {names[0]} does not fit fc6: {error}") from error


def _kernel(weight: np.ndarray, size: int) -> np.ndarray:
    return fc_kernel(weight, size) if weight.ndim == 2 else weight.transpose(2, 3, 1, 0)

"""The most floating point operations a second of a device, by its maker's sheet."""

import os
from collections.abc import Mapping

from segjax.errors import InputError

VARIABLE = "SEGJAX_PEAK_FLOPS"
"""The environment variable that gives the peak of each device, for all dtypes."""

TERA = 1e12


def _gpu(half: float, tf32: float) -> Mapping[str, float]:
    """Returns the peaks in FLOP/s; float32 has that of TF32, JAX's default from Ampere on."""
    return {"bfloat16": half * TERA, "float16": half * TERA, "float32": tf32 * TERA}


def _tpu(bfloat16: float) -> Mapping[str, float]:
    """Returns the peaks in FLOP/s; JAX rounds float32 factors to bfloat16 by default."""
    return {"bfloat16": bfloat16 * TERA, "float32": bfloat16 * TERA}


PEAKS: Mapping[str, Mapping[str, float]] = {
    # NVIDIA's data sheets of H200, H100 and A100. They state the numbers for matrices of which
    # half the entries are zeros, as "with sparsity"; those of full matrices are half of these.
    "NVIDIA H200 NVL": _gpu(835.5, 417.5),
    "NVIDIA H200": _gpu(989.5, 494.5),
    "NVIDIA H100 NVL": _gpu(835.5, 417.5),
    "NVIDIA H100 PCIe": _gpu(756.5, 378),
    "NVIDIA H100": _gpu(989.5, 494.5),
    "NVIDIA A100": _gpu(312, 156),
    # Google's pages of Cloud TPU versions: docs.cloud.google.com/tpu/docs/v4, v5e, v5p, v6e.
    "TPU v4": _tpu(275),
    "TPU v5 lite": _tpu(197),
    "TPU v5e": _tpu(197),
    "TPU v5p": _tpu(459),
    "TPU v5": _tpu(459),
    "TPU v6 lite": _tpu(918),
    "TPU v6e": _tpu(918),
}
"""{start of JAX's `device_kind`: {dtype: FLOP/s of one device}}, longer starts first."""


def peak_seconds(flops: Mapping[str, float], kind: str) -> float | None:
    """Returns the least time in which one device of a kind computes `flops`; None: not known.

    >>> peak_seconds({"bfloat16": 312e12, "float32": 156e12}, "NVIDIA A100-SXM4-80GB")
    2.0

    Args:
      flops: {dtype: operations}.
      kind: JAX's name of the device's kind.

    Raises:
      InputError: `SEGJAX_PEAK_FLOPS` is not a positive number.
    """
    if (given := given_peak()) is not None:
        return sum(flops.values()) / given
    # A slice of a GPU has a part of its units only.
    known = [PEAKS[name] for name in PEAKS if kind.startswith(name) and "MIG" not in kind]
    if not known or not set(flops) <= set(known[0]):
        return None
    return sum(count / known[0][dtype] for dtype, count in flops.items())


def given_peak() -> float | None:
    """Returns the peak that the user gave, in FLOP/s of one device; None without one.

    Raises:
      InputError: it is not a positive number.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError(
            f"{VARIABLE}={text} must be a positive number, the peak of one device in FLOP/s, "
            "such as 989e12; or unset it."
        )
    return value

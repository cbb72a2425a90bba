"""Writes `golden_mobilenet_v3.npz`: what torchvision's MobileNetV3 networks return.

Weights are made from their names as in `make_golden_torchvision.py`. Needs torch and
torchvision (made with 2.13.0 and 0.28.0); the tests need only `image`, `sample`.

    python tests/models/make_golden_mobilenet_v3.py
"""

import pathlib
import runpy

import numpy as np

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_torchvision.py"))
LARGE = {"c1": 0, "c2": 2, "c3": 4, "c4": 7, "c5": 16}
SMALL = {"c1": 0, "c2": 1, "c3": 2, "c4": 4, "c5": 12}
STEPS = {"c1": (4, 4), "c2": (4, 4), "c3": (2, 8), "c4": (1, 16), "c5": (1, 32), "aspp": (2, 8)}


def image() -> np.ndarray:
    """Returns 1 × 33 × 129 × 3."""
    return MAKER["image"]("mobilenet_v3")[:, :, :129]


def sample(name: str, array: np.ndarray) -> np.ndarray:
    """Returns what the golden file keeps of a b h w c array."""
    pixels, channels = STEPS.get(name, (8, 1))
    return array[:, ::pixels, ::pixels, ::channels]


def main() -> None:
    """Writes the file."""
    declared = MAKER["declare_operators"]()
    from torchvision.models import mobilenet_v3_small
    from torchvision.models.segmentation import (
        deeplabv3_mobilenet_v3_large,
        lraspp_mobilenet_v3_large,
    )

    options = {"weights": None, "weights_backbone": None, "num_classes": 21}
    lraspp = lraspp_mobilenet_v3_large(**options)
    deeplab = deeplabv3_mobilenet_v3_large(aux_loss=True, **options)
    small = mobilenet_v3_small(weights=None).features
    taps = {
        "lraspp": {k: lraspp.backbone[str(i)] for k, i in LARGE.items()},
        "deeplab": {"aspp": deeplab.classifier[0]},
        "small": {k: small[i] for k, i in SMALL.items()},
    }
    kept = {}
    for name, model in (("lraspp", lraspp), ("deeplab", deeplab), ("small", small)):
        arrays = MAKER["outputs"](MAKER["filled"](model), taps[name], image())
        kept |= {f"{name}/{k}": sample(k, v) for k, v in arrays.items()}
    np.savez_compressed(FOLDER / "golden_mobilenet_v3.npz", **kept)
    del declared


if __name__ == "__main__":
    main()

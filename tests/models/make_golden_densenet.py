"""Writes `golden_densenet.npz`: what torchvision's DenseNet-121 returns.

Weights are made from their names as in `make_golden_torchvision.py`. Needs torch and
torchvision (made with 2.13.0 and 0.28.0); the test needs only `fill`, `image`, `sample`.

    python tests/models/make_golden_densenet.py
"""

import pathlib
import runpy

import numpy as np

FOLDER = pathlib.Path(__file__).parent
TORCHVISION = runpy.run_path(str(FOLDER / "make_golden_torchvision.py"))
fill = runpy.run_path(str(FOLDER.parent / "fill.py"))["fill"]


def image() -> np.ndarray:
    """Returns 1 × 75 × 107 × 3: the first two transitions meet odd sides."""
    return np.random.default_rng(0).normal(size=(1, 75, 107, 3)).astype(np.float32)


def sample(array: np.ndarray) -> np.ndarray:
    """Returns what the golden file keeps of a b h w c array: at most about 1300 numbers."""
    rows, columns, channels = (
        max(n // m, 1) for n, m in zip(array.shape[1:], (9, 9, 12), strict=True)
    )
    return array[:, ::rows, ::columns, ::channels]


def main() -> None:
    """Writes the file."""
    declared = TORCHVISION["declare_operators"]()
    from torchvision.models import densenet121

    model = TORCHVISION["filled"](densenet121(weights=None))
    net = model.features
    taps = {"c1": net.relu0, "c5": net.norm5}
    taps |= {f"c{i + 1}": getattr(net, f"transition{i}").relu for i in (1, 2, 3)}
    arrays = TORCHVISION["outputs"](model, taps, image())
    kept = {k: sample(v.clip(0)) for k, v in arrays.items()}
    np.savez_compressed(FOLDER / "golden_densenet.npz", **kept)
    del declared


if __name__ == "__main__":
    main()

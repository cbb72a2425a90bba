"""Writes `golden_densenet.npz`: what torchvision's DenseNet returns for weights by names.

Needs torch and torchvision (made with 2.13.0 and 0.28.0); the tests need the other functions.

    python tests/models/make_golden_densenet.py
"""

import pathlib
import runpy

import numpy as np

FOLDER = pathlib.Path(__file__).parent
TORCHVISION = runpy.run_path(str(FOLDER / "make_golden_torchvision.py"))
LAYERS = (2, 3, 3, 2)
"""Fewer layers a block than DenseNet-121's, at its growth and widths, to compile in seconds."""
fill = TORCHVISION["fill"]


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
    import torch

    library = torch.library.Library("torchvision", "DEF")
    # torchvision's Python code expects its C++ operators to exist; none is called here.
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
        "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
    ):
        library.define(schema)
    from torchvision.models import DenseNet

    model = DenseNet(block_config=LAYERS).eval()
    model.load_state_dict(
        {
            k: v if v.ndim == 0 else torch.from_numpy(fill(k, tuple(v.shape)))
            for k, v in model.state_dict().items()
        }
    )
    net, kept = model.features, {}
    taps = {"c1": net.relu0, "c5": net.norm5}
    taps |= {f"c{i + 1}": getattr(net, f"transition{i}").relu for i in (1, 2, 3)}
    for name, module in taps.items():
        keep = lambda _, __, output, name=name: kept.__setitem__(name, output.clone())
        module.register_forward_hook(keep)
    with torch.no_grad():
        model(torch.from_numpy(image()).permute(0, 3, 1, 2))
    kept = {k: sample(v.relu().permute(0, 2, 3, 1).numpy()) for k, v in kept.items()}
    np.savez_compressed(FOLDER / "golden_densenet.npz", **kept)


if __name__ == "__main__":
    main()

"""Writes `golden_{pspnet,duc,refinenet}.npz`: what plain PyTorch makes of weights by name.

Transcribed from the published facts: PSPNet and its deep ResNet from hszhao/semseg, DUC and
HDC from TuSimple/TuSimple-DUC (with a padded max-pool), RefineNet from
DrSleep/refinenet-pytorch. Few units and narrow stages; the rates are the real ones. Needs torch
(made with 2.13.0); the test needs only `fill`, `image`, `sample`, `WIDTH` and `SIZES`.

    python tests/models/make_golden_resnet_kin.py
"""

import pathlib
import runpy

import numpy as np

FOLDER = pathlib.Path(__file__).parent
FILL = runpy.run_path(str(FOLDER.parent / "fill.py"))
fill = FILL["fill"]

WIDTH = 16
SIZES = {"pspnet": (36, 68), "duc": (40, 216), "refinenet": (44, 77)}
"""Rows and columns of the image: none on PSPNet's and RefineNet's grid, and DUC's map wider
than the widest rate."""
STEPS = {"out": (5, 1), "aux": (5, 1), "ppm": (2, 16)}


def image(name: str) -> np.ndarray:
    """Returns one image b h w c."""
    return FILL["generator"](name).normal(size=(1, *SIZES[name], 3)).astype(np.float32)


def sample(name: str, array: np.ndarray) -> np.ndarray:
    """Returns what the golden file keeps of a b h w c array."""
    pixels, channels = STEPS.get(name, (2, 32))
    return array[:, ::pixels, ::pixels, ::channels]


class Layers:
    """Convolutions and normalisations that draw their weights by name when they are met."""

    def conv(self, name, x, outputs, size, *, stride=1, rate=1, bias=False):
        import torch
        from torch.nn import functional

        shape = (outputs, x.shape[1], size, size)
        weight = torch.from_numpy(fill(f"{name}.weight", shape))
        offset = torch.from_numpy(fill(f"{name}.bias", (outputs,))) if bias else None
        padding = rate * (size // 2)
        return functional.conv2d(x, weight, offset, stride, padding, rate)

    def norm(self, name, x):
        import torch
        from torch.nn import functional

        words = ("running_mean", "running_var", "weight", "bias")
        each = (torch.from_numpy(fill(f"{name}.{word}", (x.shape[1],))) for word in words)
        return functional.batch_norm(x, *each, eps=1e-5)

    def conv_norm_relu(self, name, x, outputs, size):
        y = self.conv(f"{name}.conv", x, outputs, size)
        return self.norm(f"{name}.norm", y).relu()


def trunk(net, x, *, rates, strides, deep=False, v1=False):
    """Returns c2 … c5 of a bottleneck ResNet with one rate a unit."""
    from torch.nn import functional

    name = "backbone."
    stem = [(WIDTH, 3, 2), (WIDTH, 3, 1), (2 * WIDTH, 3, 1)] if deep else [(WIDTH, 7, 2)]
    for i, (width, size, stride) in enumerate(stem, start=1):
        x = net.conv(f"{name}conv{i}", x, width, size, stride=stride)
        x = net.norm(f"{name}bn{i}", x).relu()
    x = functional.max_pool2d(x, 3, 2, 1)
    maps = {}
    for stage in range(4):
        for unit, rate in enumerate(rates[stage]):
            block = f"{name}layer{stage + 1}_{unit}."
            stride, width = (strides[stage] if unit == 0 else 1), WIDTH * 2**stage
            residual = x
            if unit == 0:
                residual = net.conv(f"{block}downsample_conv", x, 4 * width, 1, stride=stride)
                residual = net.norm(f"{block}downsample_bn", residual)
            x = net.conv(f"{block}conv1", x, width, 1, stride=stride if v1 else 1)
            x = net.norm(f"{block}bn1", x).relu()
            x = net.conv(f"{block}conv2", x, width, 3, stride=1 if v1 else stride, rate=rate)
            x = net.norm(f"{block}bn2", x).relu()
            x = net.norm(f"{block}bn3", net.conv(f"{block}conv3", x, 4 * width, 1))
            x = (x + residual).relu()
        maps[f"c{stage + 2}"] = x
    return maps


def pspnet(net, x):
    """semseg's: strides become dilations of 2 and 4 in all units; everything aligns corners."""
    import torch
    from torch.nn import functional

    enlarge = lambda y, size: functional.interpolate(
        y, size, mode="bilinear", align_corners=True
    )
    rates, strides = ((1,), (1, 1), (2, 2), (4, 4)), (1, 2, 1, 1)
    size = x.shape[2:]
    maps = trunk(net, x, rates=rates, strides=strides, deep=True)
    c4, c5 = maps["c4"], maps["c5"]
    aux = net.conv_norm_relu("auxiliary_head.conv", c4, 16 * WIDTH // 4, 3)
    aux = net.conv("auxiliary_head.classifier", aux, 5, 1, bias=True)
    levels = [c5]
    for i, bins in enumerate((1, 2, 3, 6)):
        level = functional.adaptive_avg_pool2d(c5, bins)
        level = net.conv_norm_relu(f"ppm.features_{i}", level, 32 * WIDTH // 4, 1)
        levels.append(enlarge(level, c5.shape[2:]))
    ppm = torch.cat(levels, 1)
    out = net.conv_norm_relu("head.conv", ppm, 32 * WIDTH // 4, 3)
    out = net.conv("head.classifier", out, 5, 1, bias=True)
    return maps | {"ppm": ppm, "aux": enlarge(aux, size), "out": enlarge(out, size)}


def duc(net, x):
    """TuSimple's, cell 2: 4 × 4 places of three labels, label slowest, then twice as large."""
    from torch.nn import functional

    rates, strides = ((1,), (1,), (2, 2, 5, 9), (5, 9, 17)), (1, 2, 1, 1)
    maps = trunk(net, x, rates=rates, strides=strides, deep=True, v1=True)
    scores = 0
    for i in range(4):
        rate = 6 * (i + 1)
        scores = scores + net.conv(f"branch_{i}", maps["c5"], 3 * 16, 3, rate=rate, bias=True)
    batch, _, height, width = scores.shape
    scores = scores.reshape(batch, 3, 4, 4, height, width).permute(0, 1, 4, 2, 5, 3)
    scores = scores.reshape(batch, 3, 4 * height, 4 * width)
    out = functional.interpolate(scores, x.shape[2:], mode="bilinear", align_corners=False)
    return maps | {"out": out}


def refinenet(net, x):
    """DrSleep's: 512 features for the deepest path and 256 for the others, here 16 and 8."""
    from torch.nn import functional

    enlarge = lambda y, size: functional.interpolate(
        y, size, mode="bilinear", align_corners=True
    )

    def residual(name, y):
        z = net.conv(f"{name}.conv0", y.relu(), y.shape[1], 3, bias=True)
        return y + net.conv(f"{name}.conv1", z.relu(), y.shape[1], 3)

    maps = trunk(net, x, rates=((1,), (1,), (1,), (1,)), strides=(1, 2, 2, 2))
    deeper = None
    for stage, width in (("c5", 16), ("c4", 8), ("c3", 8), ("c2", 8)):
        name = f"refine_{stage}"
        y = net.conv(f"{name}.reduce", maps[stage], width, 3)
        y = residual(f"{name}.adapt1", residual(f"{name}.adapt0", y))
        if deeper is not None:
            y = net.conv(f"{name}.fuse", y, width, 3) + enlarge(deeper, y.shape[2:])
        y = y.relu()
        chain = y
        for i in range(4):
            pooled = functional.max_pool2d(chain, 5, 1, 2)
            chain = net.conv(f"{name}.pool.conv{i}", pooled, width, 3)
            y = y + chain
        for i in range(3):
            y = residual(f"{name}.output{i}", y)
        maps[name] = y
        deeper = None if stage == "c2" else net.conv(f"project_{stage}", y, 8, 3)
    out = net.conv("classifier", y, 5, 3, bias=True)
    return maps | {"out": enlarge(out, x.shape[2:])}


def main() -> None:
    """Writes the three files."""
    import torch

    for network in (pspnet, duc, refinenet):
        name = network.__name__
        with torch.no_grad():
            arrays = network(Layers(), torch.from_numpy(image(name)).permute(0, 3, 1, 2))
        kept = {k: sample(k, v.permute(0, 2, 3, 1).numpy()) for k, v in arrays.items()}
        np.savez_compressed(FOLDER / f"golden_{name}.npz", **kept)


if __name__ == "__main__":
    main()

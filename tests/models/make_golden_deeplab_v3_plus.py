"""Writes `golden_deeplab_v3_plus_*.npz`: DeepLab v3+ with Xception-65, in plain PyTorch.

After the layer tables of DeepLab's TensorFlow code (research/deeplab/core/xception.py, model.py
of tensorflow/models): strides and rates are written down for both output strides, not derived.
The middle flow has one unit of its sixteen equal ones. Weights are made from their names as in
`make_golden_torchvision.py`. Needs torch (made with 2.13.0); the tests need only `FILES`,
`image`, `sample`.

    python tests/models/make_golden_deeplab_v3_plus.py
"""

import pathlib
import runpy

import numpy as np

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_golden_torchvision.py"))
FILES = {
    "separable_16": {"output_stride": 16, "rates": (6, 12, 18), "separable": True},
    "ordinary_8": {"output_stride": 8, "rates": (12, 24, 36), "separable": False},
}
# (stride, rate) of entry blocks 1, 2, 3, the middle flow, exit blocks 1, 2.
LAYOUT = {
    16: [(2, 1), (2, 1), (2, 1), (1, 1), (1, 1), (1, 2)],
    8: [(2, 1), (2, 1), (1, 1), (1, 2), (1, 2), (1, 4)],
}
STEPS = {
    "c1": (4, 16),
    "c2": (4, 16),
    "c3": (2, 32),
    "c4": (2, 32),
    "c5": (2, 64),
    "aspp": (2, 16),
    "decoder_conv1": (4, 16),
    "out": (8, 3),
}


def image() -> np.ndarray:
    """Returns 1 × 33 × 297 × 3: wider than the widest rate at both output strides."""
    return MAKER["image"]("deeplab_v3_plus")


def sample(name: str, array: np.ndarray) -> np.ndarray:
    """Returns what a golden file keeps of a b h w c array."""
    pixels, channels = STEPS[name]
    return array[:, ::pixels, ::pixels, ::channels]


def unit(t, name, x, features, kernel=1, *, eps=1e-5, **options):
    """A convolution without bias, normalised."""
    x = t.conv(f"{name}.conv", x, features, kernel, bias=False, **options)
    return t.norm(f"{name}.norm", x, eps=eps)


def ordinary_conv(t, name, x, features, *, rate=1):
    """A 3×3 convolution, normalised, ReLU."""
    return unit(t, name, x, features, 3, dilation=rate).relu()


def separable_conv(t, name, x, features, *, stride=1, rate=1, relu=True, eps=1e-5):
    """A depthwise 3×3 and a 1×1, each normalised and, with `relu`, followed by one."""
    activation = t.torch.relu if relu else lambda y: y
    options = {"stride": stride, "dilation": rate, "groups": x.shape[1], "eps": eps}
    x = activation(unit(t, f"{name}.depthwise", x, x.shape[1], 3, **options))
    return activation(unit(t, f"{name}.pointwise", x, features, eps=eps))


def module(t, name, x, widths, stride, rate, *, shortcut=True):
    """Returns a residual module's sum, and its map before the stride."""
    y, maps = x, []
    for i, width in enumerate(widths, start=1):
        options = {"stride": stride if i == 3 else 1, "rate": rate, "relu": False, "eps": 1e-3}
        y = separable_conv(t, f"{name}.separable_conv{i}", y.relu(), width, **options)
        maps.append(y)
    if shortcut:
        x = unit(t, f"{name}.shortcut", x, widths[-1], stride=stride, eps=1e-3)
    return y + x, maps[1]


def xception(t, x, layout, middle_units):
    """Returns c2 and c5, and keeps c1 … c5."""
    *entry, middle, exit1, (_, last_rate) = layout
    name = "backbone.entry_flow_"
    x = unit(t, f"{name}conv1_1", x, 32, 3, stride=2, eps=1e-3).relu()
    x = unit(t, f"{name}conv1_2", x, 64, 3, eps=1e-3).relu()
    maps = []
    for i, (width, (stride, rate)) in enumerate(zip((128, 256, 728), entry, strict=True), 1):
        x, before = module(t, f"{name}block{i}_unit_1", x, [width] * 3, stride, rate)
        maps.append(t.keep(f"c{i}", before))
    for i in range(1, middle_units + 1):
        name = f"backbone.middle_flow_block1_unit_{i}"
        x, _ = module(t, name, x, [728] * 3, *middle, shortcut=False)
    name = "backbone.exit_flow_"
    x, before = module(t, f"{name}block1_unit_1", x, [728, 1024, 1024], *exit1)
    t.keep("c4", before)
    for i, width in enumerate((1536, 1536, 2048), start=1):
        inner = f"{name}block2_unit_1.separable_conv{i}"
        x = separable_conv(t, inner, x, width, rate=last_rate, eps=1e-3)
    return maps[1], t.keep("c5", x)


def aspp(t, x, rates, conv3x3):
    """The five branches and their projection."""
    y = [unit(t, "aspp.convs_0", x, 256).relu()]
    for i, rate in enumerate(rates, start=1):
        y.append(conv3x3(t, f"aspp.convs_{i}", x, 256, rate=rate))
    pooled = unit(t, "aspp.convs_4", x.mean((2, 3), keepdim=True), 256).relu()
    y.append(pooled.expand(-1, -1, *x.shape[2:]))
    return t.keep("aspp", unit(t, "aspp.project", t.torch.cat(y, 1), 256).relu())


def network(t, image, *, output_stride, rates, separable, middle_units=1, classes=21):
    """The whole network; keeps the arrays that the golden files sample."""
    resize = lambda x, like: t.functional.interpolate(
        x, like.shape[2:], mode="bilinear", align_corners=True
    )
    conv3x3 = separable_conv if separable else ordinary_conv
    c2, c5 = xception(t, image, LAYOUT[output_stride], middle_units)
    top = aspp(t, c5, rates, conv3x3)
    low = unit(t, "feature_projection0", c2, 48).relu()
    x = t.torch.cat([resize(top, low), low], 1)
    for name in ("decoder_conv0", "decoder_conv1"):
        x = t.keep(name, conv3x3(t, name, x, 256))
    t.keep("out", resize(t.conv("classifier", x, classes, 1), image))


def main() -> None:
    """Writes both files, after checking the whole networks' counts."""
    make = runpy.run_path(str(FOLDER / "make_golden_encoder_decoder.py"))["Torch"]
    for name, options in FILES.items():
        t = make()
        network(t, t.torch.zeros(1, 3, 32, 32), middle_units=16, **options)
        assert t.count == (41_055_413 if options["separable"] else 54_711_461)
        t = make()
        network(t, t.torch.from_numpy(image()).permute(0, 3, 1, 2), **options)
        kept = {k: sample(k, t.kept[k]) for k in STEPS}
        np.savez_compressed(FOLDER / f"golden_deeplab_v3_plus_{name}.npz", **kept)


if __name__ == "__main__":
    main()

"""Writes `golden_*.npz` of the dense and encoder-decoder networks, and prints their counts.

Each network is transcribed from its paper and released description in plain PyTorch functions;
weights are made from their names. Needs torch (made with 2.13.0); the tests need only `fill`,
`image`, `features` and `sample`.

    python tests/models/make_golden_encoder_decoder.py
"""

import pathlib
import runpy

import numpy as np

FOLDER = pathlib.Path(__file__).parent
TORCHVISION = runpy.run_path(str(FOLDER / "make_golden_torchvision.py"))
fill = runpy.run_path(str(FOLDER.parent / "fill.py"))["fill"]


def image(name: str) -> np.ndarray:
    """Returns 1 × 33 × 45 × 3; SegNet-Basic's as colours of about 0 … 255."""
    small = TORCHVISION["image"](name)[:, :, :45]
    return 128 + 64 * small if name == "segnet_basic" else small


def features(widths=(8, 8, 16, 24, 32)) -> list[np.ndarray]:
    """Returns c1 … c5 of a 64 × 64 image, the canvas of `image`, with these channels."""
    rng = np.random.default_rng(0)
    shapes = [(1, 64 // 2**i, 64 // 2**i, width) for i, width in enumerate(widths, start=1)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def sample(array: np.ndarray) -> np.ndarray:
    """Returns what the golden file keeps of a b h w c array: at most about 900 numbers."""
    rows, columns, channels = (
        max(n // m, 1) for n, m in zip(array.shape[1:], (9, 9, 8), strict=True)
    )
    return array[:, ::rows, ::columns, ::channels]


class Torch:
    """Layers whose weights are made from their names; counts them, and keeps named results."""

    def __init__(self):
        import torch

        self.torch, self.functional = torch, torch.nn.functional
        self.count, self.kept = 0, {}

    def weight(self, name, *shape, trained=True):
        self.count += trained * int(np.prod(shape))
        return self.torch.from_numpy(fill(name, shape))

    def conv(self, name, x, features, kernel, *, stride=1, dilation=1, groups=1, bias=True):
        weight = self.weight(f"{name}.weight", features, x.shape[1] // groups, kernel, kernel)
        return self.functional.conv2d(
            x,
            weight,
            self.weight(f"{name}.bias", features) if bias else None,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=groups,
        )

    def norm(self, name, x, *, eps=1e-5):
        channels = x.shape[1]
        return self.functional.batch_norm(
            x,
            self.weight(f"{name}.running_mean", channels, trained=False),
            self.weight(f"{name}.running_var", channels, trained=False),
            self.weight(f"{name}.weight", channels),
            self.weight(f"{name}.bias", channels),
            eps=eps,
        )

    def keep(self, name, x):
        self.kept[name] = x.permute(0, 2, 3, 1).numpy()
        return x


def fc_densenet(t, x, *, layers, growth, classes):
    """Table 1 and section 3 of arXiv:1611.09326, with the released crop."""
    cat = lambda *maps: t.torch.cat(maps, 1)

    def unit(x, name, features, kernel):
        x = t.functional.relu(t.norm(f"{name}.norm", x, eps=1e-4))
        return t.conv(f"{name}.conv", x, features, kernel)

    def dense(stack, name, count):
        made = []
        for j in range(count):
            made.append(unit(stack, f"{name}.layer{j}", growth, 3))
            stack = cat(stack, made[-1])
        return stack, t.keep(name, cat(*made))

    x, skips, n = t.conv("stem", x, 48, 3), [], len(layers) // 2
    for i in range(n):
        x, _ = dense(x, f"down{i}", layers[i])
        skips.append(x)
        x = t.functional.max_pool2d(unit(x, f"transition_down{i}", x.shape[1], 1), 2)
    x, made = dense(x, "bottom", layers[n])
    for i, count in zip(reversed(range(n)), layers[n + 1 :], strict=True):
        name, channels = f"transition_up{i}", made.shape[1]
        weight = t.weight(f"{name}.weight", channels, channels, 3, 3)
        bias = t.weight(f"{name}.bias", channels)
        up = t.functional.conv_transpose2d(made, weight, bias, stride=2)
        height, width = skips[i].shape[2:]
        x, made = dense(cat(up[:, :, :height, :width], skips[i]), f"up{i}", count)
    t.keep("out", t.conv("classifier", x, classes, 1))


def segnet(t, x, *, stages, classes):
    """The layers of the released segnet_train.prototxt."""

    def unit(x, name, features):
        x = t.norm(f"{name}_bn", t.conv(name, x, features, 3))
        return t.functional.relu(t.keep(f"{name}_bn", x))

    pools, taken = [], [[] for _ in stages]
    for i, widths in enumerate(stages):
        for j, width in enumerate(widths):
            taken[i].append(x.shape[1])
            x = unit(x, f"conv{i + 1}_{j + 1}", width)
        x, pool = _pool(t, x)
        pools.append(pool)
    for i in reversed(range(len(stages))):
        x = t.functional.max_unpool2d(x, pools[i][0], 2, output_size=pools[i][1])
        for j in reversed(range(len(stages[i]))):
            name = f"conv{i + 1}_{j + 1}_D"
            x = unit(x, name, taken[i][j]) if i + j else t.conv(name, x, classes, 3)
    t.keep("out", x)


def segnet_basic(t, x, *, classes, features=64):
    """The layers of the released segnet_basic_train.prototxt."""
    x, pools = t.functional.local_response_norm(x, 5, 1e-4, 0.75), []
    for i in (1, 2, 3, 4):
        x = t.norm(f"conv{i}_bn", t.conv(f"conv{i}", x, features, 7))
        x, pool = _pool(t, t.functional.relu(t.keep(f"conv{i}_bn", x)))
        pools.append(pool)
    for i in (4, 3, 2, 1):
        x = t.functional.max_unpool2d(x, pools[i - 1][0], 2, output_size=pools[i - 1][1])
        x = t.norm(f"conv_decode{i}_bn", t.conv(f"conv_decode{i}", x, features, 7))
        t.keep(f"conv_decode{i}_bn", x)
    t.keep("out", t.conv("conv_classifier", x, classes, 1))


def _pool(t, x):
    """Caffe's pools round up."""
    pooled, winners = t.functional.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
    return pooled, (winners, x.shape[2:])


def u2net(t, x, *, encoder, decoder, classes):
    """Figures 2 and 5 of arXiv:2005.09007, convolutions with biases as released."""
    cat = lambda *maps: t.torch.cat(maps, 1)
    pool = lambda x: t.functional.max_pool2d(x, 2, 2, ceil_mode=True)
    like = lambda x, y: t.functional.interpolate(x, y.shape[2:], mode="bilinear")

    def unit(x, name, features, dilation=1):
        x = t.conv(f"{name}.conv_s1", x, features, 3, dilation=dilation)
        return t.functional.relu(t.norm(f"{name}.bn_s1", x))

    def rsu(x, name, depth, middle, features):
        start = unit(x, f"{name}.rebnconvin", features)
        maps = [unit(start, f"{name}.rebnconv1", middle)]
        for i in range(2, depth):
            maps.append(unit(pool(maps[-1]), f"{name}.rebnconv{i}", middle))
        y = unit(maps[-1], f"{name}.rebnconv{depth}", middle, 2)
        for i in range(depth - 1, 0, -1):
            joined = cat(like(y, maps[i - 1]), maps[i - 1])
            y = unit(joined, f"{name}.rebnconv{i}d", middle if i > 1 else features)
        return t.keep(name, y + start)

    def rsu4f(x, name, middle, features):
        start = unit(x, f"{name}.rebnconvin", features)
        a = unit(start, f"{name}.rebnconv1", middle, 1)
        b = unit(a, f"{name}.rebnconv2", middle, 2)
        c = unit(b, f"{name}.rebnconv3", middle, 4)
        y = unit(c, f"{name}.rebnconv4", middle, 8)
        y = unit(cat(y, c), f"{name}.rebnconv3d", middle, 4)
        y = unit(cat(y, b), f"{name}.rebnconv2d", middle, 2)
        y = unit(cat(y, a), f"{name}.rebnconv1d", features, 1)
        return t.keep(name, y + start)

    def block(x, name, number, depth, *widths):
        if number > len(encoder) - 2:
            return rsu4f(x, name, *widths)
        return rsu(x, name, depth, *widths)

    down = [block(x, "stage1", 1, *encoder[0])]
    for i, sizes in enumerate(encoder[1:], start=2):
        down.append(block(pool(down[-1]), f"stage{i}", i, *sizes))
    outputs = [down[-1]]
    for i in range(len(decoder), 0, -1):
        joined = cat(like(outputs[0], down[i - 1]), down[i - 1])
        outputs.insert(0, block(joined, f"stage{i}d", i, *decoder[i - 1]))
    sides = []
    for i, y in enumerate(outputs, start=1):
        sides.append(t.keep(f"side{i}", t.conv(f"side{i}", y, classes, 3)))
    sides = [like(y, sides[0]) for y in sides]
    t.keep("out", t.conv("outconv", cat(*sides), classes, 1))


def encoder_unet(t, x, *, encoded, widths, classes):
    """The usual U-Net decoder on five feature maps of a canvas of 64 × 64."""
    x, *skips = (t.torch.from_numpy(c).permute(0, 3, 1, 2) for c in reversed(encoded))
    for i, width in enumerate(widths):
        x = t.functional.interpolate(x, scale_factor=2, mode="nearest")
        if i < 4:
            x = t.torch.cat([x, skips[i]], 1)
        for j in (0, 1):
            name = f"up{4 - i}"
            x = t.conv(f"{name}.conv{j}", x, width, 3, bias=False)
            x = t.functional.relu(t.norm(f"{name}.norm{j}", x))
        t.keep(f"up{4 - i}", x)
    x = t.conv("classifier", x, classes, 3)
    t.keep("out", x[:, :, 15:48, 9:54])


def main() -> None:
    """Writes the files."""
    small = dict(layers=(2, 3, 2, 2, 3), growth=12, classes=11)
    _write("fc_densenet", fc_densenet, **small)
    _write("segnet", segnet, stages=((8, 8), (16, 16), (16, 16, 24)), classes=11)
    _write("segnet_basic", segnet_basic, features=16, classes=11)
    small = tuple((depth, 4, 8) for depth in (5, 4, 4))
    _write("u2net", u2net, encoder=small, decoder=small[:-1], classes=2)
    _write(
        "encoder_unet", encoder_unet, encoded=features(), widths=(16, 12, 8, 8, 4), classes=2
    )
    for name, layers, growth in (
        ("56", [4] * 11, 12),
        ("67", [5] * 11, 16),
        ("103", [4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4], 16),
    ):
        _print_count(
            f"FC-DenseNet{name}", fc_densenet, layers=layers, growth=growth, classes=11
        )
    for name, widths in (
        ("ResNet34", (64, 64, 128, 256, 512)),
        ("DenseNet121", (64, 256, 512, 1024, 1024)),
    ):
        options = dict(encoded=features(widths), widths=(256, 128, 64, 32, 16), classes=1)
        _print_count(f"decoder of U-Net with {name}", encoder_unet, **options)
    stages = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
    _print_count("SegNet", segnet, stages=stages, classes=11)
    _print_count("SegNet-Basic", segnet_basic, classes=11)
    encoder = ((7, 32, 64), (6, 32, 128), (5, 64, 256), (4, 128, 512), *((4, 256, 512),) * 2)
    decoder = ((7, 16, 64), (6, 32, 64), (5, 64, 128), (4, 128, 256), (4, 256, 512))
    _print_count("U²-Net", u2net, encoder=encoder, decoder=decoder, classes=1)
    p_encoder = tuple((depth, 16, 64) for depth in (7, 6, 5, 4, 4, 4))
    _print_count("U²-NetP", u2net, encoder=p_encoder, decoder=p_encoder[:-1], classes=1)


def _write(name: str, network, **options) -> None:
    t = Torch()
    network(t, t.torch.from_numpy(image(name)).permute(0, 3, 1, 2), **options)
    kept = {k: sample(v) for k, v in t.kept.items()}
    np.savez_compressed(FOLDER / f"golden_{name}.npz", **kept)


def _print_count(title: str, network, **options) -> None:
    t = Torch()
    network(t, t.torch.zeros(1, 3, 32, 32), **options)
    print(title, t.count)


if __name__ == "__main__":
    main()

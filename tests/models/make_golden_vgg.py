"""Writes `golden_vgg.npz`: what the VGG family's networks return for weights made from names.

VGG16 is torchvision's. FCN-8s, DeepLab v1 and v2 are written here from their published prototxt
files, narrower and with one convolution a stage, with Caffe's names and its rounding of pools
(ceil). Needs torch and torchvision (made with 2.13.0 and 0.28.0); the tests need only `image`,
`fill`, `sample` and the sizes.

    python tests/models/make_golden_vgg.py
"""

import pathlib
import runpy

import numpy as np

FOLDER = pathlib.Path(__file__).parent
TORCHVISION = runpy.run_path(str(FOLDER / "make_golden_torchvision.py"))
fill, sample = runpy.run_path(str(FOLDER.parent / "fill.py"))["fill"], TORCHVISION["sample"]
WIDTH, HIDDEN, CLASSES = 8, 24, 5


def image() -> np.ndarray:
    """Returns 1 × 33 × 65 × 3: sides 32k − 31, on which Caffe's and PyTorch's pools agree."""
    return TORCHVISION["image"]("vgg")[:, :, :65]


def main() -> None:
    """Writes the file."""
    import torch

    declared = TORCHVISION["declare_operators"]()
    arrays = {}
    with torch.no_grad():
        x = torch.from_numpy(image()).permute(0, 3, 1, 2)
        for network, outputs in (
            ("vgg16", _vgg16(x)),
            ("fcn", _fcn(x)),
            ("v1", _deeplab_v1(x)),
            ("v2", _deeplab_v2(x)),
            ("dilation", _dilation()),
        ):
            for name, output in outputs.items():
                array = output.permute(0, 2, 3, 1).numpy()
                arrays[f"{network}/{name}"] = (
                    sample(name, array) if array.size > 2000 else array
                )
    np.savez_compressed(FOLDER / "golden_vgg.npz", **arrays)
    del declared


def _vgg16(x):
    from torchvision.models import vgg16

    layers, outputs = TORCHVISION["filled"](vgg16(weights=None).features), {}
    for i, layer in enumerate(layers):
        x = layer(x)
        if i in (4, 9, 16, 23, 30):
            outputs[f"c{len(outputs) + 1}"] = x
    return outputs


class _Net:
    """Layers by Caffe's names, made when they are first used."""

    def __init__(self):
        self.layers = {}

    def conv(self, name, x, features, size, *, relu=True, **options):
        import torch

        weight = fill(f"{name}.weight", (features, x.shape[1], size, size))
        bias = fill(f"{name}.bias", (features,))
        y = torch.nn.functional.conv2d(
            x, torch.from_numpy(weight), torch.from_numpy(bias), **options
        )
        return y.relu() if relu else y

    def stage(self, k, x, *, first_pad=1, dilation=1):
        pad = first_pad if k == 1 else dilation
        features = WIDTH * (1, 2, 4, 8, 8)[k - 1]
        return self.conv(f"conv{k}_1", x, features, 3, padding=pad, dilation=dilation)


def _fcn(x):
    """voc-fcn32s, voc-fcn16s, voc-fcn8s, voc-fcn8s-atonce: net.py and its prototxt."""
    import torch
    from torch.nn.functional import conv_transpose2d, max_pool2d

    net, pools, y = _Net(), [None], x
    for k in range(1, 6):
        y = max_pool2d(net.stage(k, y, first_pad=100), 2, 2, ceil_mode=True)
        pools.append(y)
    y = net.conv("fc7", net.conv("fc6", y, HIDDEN, 7), HIDDEN, 1)
    score = net.conv("score_fr", y, CLASSES, 1, relu=False)

    def upscore(x, size, stride):
        factor = (size + 1) // 2
        centre = factor - 1 if size % 2 else factor - 0.5
        weight = torch.zeros(CLASSES, CLASSES, size, size)
        for i in range(size):
            for j in range(size):
                value = (1 - abs(i - centre) / factor) * (1 - abs(j - centre) / factor)
                for c in range(CLASSES):
                    weight[c, c, i, j] = value
        return conv_transpose2d(x, weight, stride=stride)

    def crop(x, reference, offset):
        (h, w) = reference.shape[2:]
        result = x[:, :, offset : offset + h, offset : offset + w]
        assert result.shape[2:] == (h, w)
        return result

    def fused(scale4, scale3):
        up2 = upscore(score, 4, 2)
        pool4 = net.conv("score_pool4", pools[4] * scale4, CLASSES, 1, relu=False)
        fuse4 = up2 + crop(pool4, up2, 5)
        up4 = upscore(fuse4, 4, 2)
        pool3 = net.conv("score_pool3", pools[3] * scale3, CLASSES, 1, relu=False)
        return fuse4, up4 + crop(pool3, up4, 9)

    fuse4, fuse3 = fused(1, 1)
    return {
        "score_fr": score,
        "32s": crop(upscore(score, 64, 32), x, 19),
        "16s": crop(upscore(fuse4, 32, 16), x, 27),
        "8s": crop(upscore(fuse3, 16, 8), x, 31),
        "atonce": crop(upscore(fused(0.01, 0.0001)[1], 16, 8), x, 31),
    }


def _deeplab_vgg(net, x):
    """Returns the image and the outputs of pool1 … pool5."""
    from torch.nn.functional import max_pool2d

    maps = [x]
    for k in range(1, 6):
        y = net.stage(k, maps[-1], dilation=2 if k == 5 else 1)
        stride = 2 if k <= 3 else 1
        maps.append(max_pool2d(y, 3, stride, padding=1, ceil_mode=True))
    return maps


def _deeplab_v1(x):
    """LargeFOV, plain, with pool5a and with the layers of MSc; and fc6 of 4×4 at rate 4."""
    import torch

    net = _Net()
    maps = _deeplab_vgg(net, x)
    wide = net.conv("fc6", maps[5], HIDDEN, 4, padding=6, dilation=4)
    wide = net.conv("fc8", net.conv("fc7", wide, HIDDEN, 1), CLASSES, 1, relu=False)
    y = net.conv("fc7", net.conv("fc6", maps[5], HIDDEN, 3, padding=12, dilation=12), HIDDEN, 1)
    pooled = torch.nn.functional.avg_pool2d(maps[5], 3, 1, padding=1)
    smooth = net.conv("fc6", pooled, HIDDEN, 3, padding=12, dilation=12)
    smooth = net.conv("fc8", net.conv("fc7", smooth, HIDDEN, 1), CLASSES, 1, relu=False)
    sides = [
        net.conv(
            f"msc{i}_2", net.conv(f"msc{i}_1", maps[i], 128, 3, stride=s, padding=1), 128, 1
        )
        for i, s in enumerate((8, 4, 2, 1, 1))
    ]
    return {
        **{f"c{k}": maps[k] for k in (3, 4, 5)},
        "scores": net.conv("fc8", y, CLASSES, 1, relu=False),
        "4x4": wide,
        "average_pool": smooth,
        "msc": net.conv("fc8", torch.cat([y, *sides], 1), CLASSES, 1, relu=False),
    }


def _deeplab_v2(x):
    """ASPP-L of VGG16; and the ResNet's classifiers, on VGG16, at three scales."""
    import torch
    from torch.nn.functional import interpolate

    net, rates = _Net(), (6, 12, 18, 24)
    top, scores = _deeplab_vgg(net, x)[5], 0
    for i, rate in enumerate(rates, start=1):
        y = net.conv(f"aspp.fc6_{i}", top, HIDDEN, 3, padding=rate, dilation=rate)
        y = net.conv(f"aspp.fc7_{i}", y, HIDDEN, 1)
        scores = scores + net.conv(f"aspp.fc8_{i}", y, CLASSES, 1, relu=False)

    def at(size):
        small = interpolate(x, size, mode="bilinear", align_corners=True)
        top, result = _deeplab_vgg(net, small)[5], 0
        for i, rate in enumerate(rates):
            options = {"padding": rate, "dilation": rate, "relu": False}
            result = result + net.conv(f"aspp.c{i}", top, CLASSES, 3, **options)
        return interpolate(result, (5, 9), mode="bilinear", align_corners=True)

    by_scale = torch.stack([at((17, 33)), at((25, 49)), at((33, 65))])
    return {"aspp": scores, "fused": by_scale.amax(0)}


def _dilation():
    """The front end of its network.py, unpadded on a mirrored image; and its context module."""
    import torch
    from torch.nn.functional import max_pool2d

    net = _Net()
    # 33 and 65 pixels, the margin, and 7 more to sides that three poolings divide.
    sides = ((0, 0), (186, 193), (186, 193), (0, 0))
    y = torch.from_numpy(np.pad(image(), sides, mode="reflect")).permute(0, 3, 1, 2)
    for k, dilation in enumerate((1, 1, 1, 1, 2), start=1):
        for j in range(1, (2, 2, 3, 3, 3)[k - 1] + 1):
            features = WIDTH * (1, 2, 4, 8, 8)[k - 1]
            y = net.conv(f"conv{k}_{j}", y, features, 3, dilation=dilation)
        y = max_pool2d(y, 2, 2) if k <= 3 else y
    y = net.conv("fc7", net.conv("fc6", y, HIDDEN, 7, dilation=4), HIDDEN, 1)
    front = z = net.conv("final", y, CLASSES, 1, relu=False)
    layers = {"conv1_1": 1, "conv1_2": 1, "conv2_1": 2, "conv3_1": 4, "conv4_1": 8}
    layers |= {"conv5_1": 16, "fc1": 1}
    for name, rate in layers.items():
        z = net.conv(f"context.ctx_{name}", z, CLASSES, 3, padding=rate, dilation=rate)
    return {
        "front": front,
        "context": net.conv("context.ctx_final", z, CLASSES, 1, relu=False),
    }


if __name__ == "__main__":
    main()

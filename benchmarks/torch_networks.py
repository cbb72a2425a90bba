"""The networks of PyTorch's side of the benchmarks: torchvision's own, or transcriptions.

Every one has as many parameters as its counterpart in `segjax_side.py`; rows compare them.
"""

import contextlib
import importlib.util
import pathlib

import torch
from torch import nn
from torch.nn import functional as F


def deeplab_v3(classes, depth=50):
    from torchvision.models import segmentation

    build = getattr(segmentation, f"deeplabv3_resnet{depth}")
    return Logits(build(weights=None, weights_backbone=None, num_classes=classes))


def fcn(classes):
    from torchvision.models.segmentation import fcn_resnet50

    return Logits(fcn_resnet50(weights=None, weights_backbone=None, num_classes=classes))


def lraspp(classes):
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    build = lraspp_mobilenet_v3_large
    return Logits(build(weights=None, weights_backbone=None, num_classes=classes))


class Logits(nn.Module):
    """Torchvision's networks return a dictionary."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)["out"]


class DeepLabV3Plus(nn.Module):
    """ResNet-50 at output stride 16, ASPP, and the decoder with two ordinary 3×3."""

    def __init__(self, classes):
        super().__init__()
        from torchvision.models import resnet50
        from torchvision.models.segmentation.deeplabv3 import ASPP

        dilated = [False, False, True]
        backbone = resnet50(weights=None, replace_stride_with_dilation=dilated)
        stem = (backbone.conv1, backbone.bn1, backbone.relu, backbone.maxpool)
        self.low = nn.Sequential(*stem, backbone.layer1)
        self.high = nn.Sequential(backbone.layer2, backbone.layer3, backbone.layer4)
        self.aspp = ASPP(2048, [6, 12, 18])
        self.aspp.project[3].p = 0.1
        self.project = _conv_norm_relu(256, 48, 1)
        self.decoder = nn.Sequential(
            _conv_norm_relu(304, 256, 3),
            _conv_norm_relu(256, 256, 3),
            nn.Conv2d(256, classes, 1),
        )

    def forward(self, x):
        low = self.low(x)
        top = _resized(self.aspp(self.high(low)), low, align_corners=True)
        logits = self.decoder(torch.cat([top, self.project(low)], 1))
        return _resized(logits, x, align_corners=True)


class UNet(nn.Module):
    """The paper's widths, padded, without batch normalisation."""

    def __init__(self, classes, width=64, depth=4):
        super().__init__()
        widths = [width * 2**i for i in range(depth + 1)]
        pair = lambda i, o: nn.Sequential(
            *(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(o, o, 3, padding=1), nn.ReLU(inplace=True)),
        )
        self.down = nn.ModuleList(
            pair(i, o) for i, o in zip([3, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[:-1])
        self.merge = nn.ModuleList(pair(2 * w, w) for w in widths[:-1])
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        size, multiple = x.shape[2:], 2 ** len(self.up)
        x = F.pad(x, (0, -size[1] % multiple, 0, -size[0] % multiple), mode="reflect")
        skips = []
        for down in self.down[:-1]:
            x = down(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for up, merge in zip(reversed(self.up), reversed(self.merge), strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], 1))
        return self.classifier(x)[:, :, : size[0], : size[1]]


class FCDenseNet103(nn.Module):
    """Table 1 of arXiv:1611.09326, with the released crop."""

    def __init__(self, classes, layers=(4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4), growth=16):
        super().__init__()
        depth, channels, skips = len(layers) // 2, 48, []
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.down, self.pool = nn.ModuleList(), nn.ModuleList()
        for count in layers[:depth]:
            self.down.append(DenseBlock(channels, count, growth))
            channels += count * growth
            skips.append(channels)
            self.pool.append(nn.Sequential(*_norm_relu_conv(channels, channels, 1)))
        self.bottom = DenseBlock(channels, layers[depth], growth)
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        new = layers[depth] * growth
        for count in layers[depth + 1 :]:
            self.up.append(nn.ConvTranspose2d(new, new, 3, stride=2))
            channels = new + skips.pop()
            self.merge.append(DenseBlock(channels, count, growth))
            new = count * growth
        self.classifier = nn.Conv2d(channels + new, classes, 1)

    def forward(self, x):
        x, skips = self.stem(x), []
        for block, pool in zip(self.down, self.pool, strict=True):
            x = torch.cat([x, block(x)], 1)
            skips.append(x)
            x = F.max_pool2d(pool(x), 2)
        new = self.bottom(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            skip = skips.pop()
            x = torch.cat([up(new)[:, :, : skip.shape[2], : skip.shape[3]], skip], 1)
            new = merge(x)
        return self.classifier(torch.cat([x, new], 1))


class DenseBlock(nn.Module):
    """Returns the channels that the layers add."""

    def __init__(self, channels, count, growth):
        super().__init__()
        widths = range(channels, channels + count * growth, growth)
        layers = (nn.Sequential(*_norm_relu_conv(width, growth, 3)) for width in widths)
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        new = []
        for layer in self.layers:
            new.append(layer(torch.cat([x, *new], 1)))
        return torch.cat(new, 1)


def _norm_relu_conv(channels, features, size):
    norm = nn.BatchNorm2d(channels, eps=1e-4)
    conv = nn.Conv2d(channels, features, size, padding=size // 2)
    return norm, nn.ReLU(inplace=True), conv, nn.Dropout(0.2)


def _conv_norm_relu(channels, features, size):
    conv = nn.Conv2d(channels, features, size, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(features), nn.ReLU(inplace=True))


def _resized(x, like, *, align_corners):
    size = like.shape[2:]
    return F.interpolate(x, size, mode="bilinear", align_corners=align_corners)


def has_compiled_operators():
    """Loads torchvision's compiled part; returns whether it is there and fits this torch."""
    found = importlib.util.find_spec("torchvision")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for library in pathlib.Path(folder).glob("_C*.so"):
            with contextlib.suppress(OSError):
                torch.ops.load_library(str(library))
                return True
    return False


def declare_operators():
    """Declares what torchvision's Python files name, where its compiled part is missing."""
    if has_compiled_operators():
        return
    with contextlib.suppress(RuntimeError):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define(
            "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
            "int pooled_width, int sampling_ratio, bool aligned) -> Tensor"
        )
        _LIBRARIES.append(library)


_LIBRARIES = []

NETWORKS = {
    "deeplab_v3": deeplab_v3,
    "deeplab_v3_101": lambda classes: deeplab_v3(classes, depth=101),
    "deeplab_v3_plus": DeepLabV3Plus,
    "fcn": fcn,
    "unet": UNet,
    "lraspp": lraspp,
    "fc_densenet": FCDenseNet103,
    "small_unet": lambda classes: UNet(classes, width=8, depth=2),
}

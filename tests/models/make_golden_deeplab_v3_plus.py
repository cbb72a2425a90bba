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
from collections import OrderedDict

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


def network(*, output_stride, rates, separable, middle_units=1, classes=21):
    """Returns a torch module: image → dictionary of the arrays that the golden files sample."""
    import torch
    from torch import nn

    def unit(inner, outer, side=1, stride=1, rate=1, groups=1, eps=1e-5):
        pad = rate * (side - 1) // 2
        conv = nn.Conv2d(inner, outer, side, stride, pad, rate, groups, bias=False)
        return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(outer, eps=eps)))

    class Separable(nn.Module):
        def __init__(self, inner, outer, stride=1, rate=1, between=True, eps=1e-5):
            super().__init__()
            self.depthwise = unit(inner, inner, 3, stride, rate, inner, eps)
            self.pointwise = unit(inner, outer, eps=eps)
            self.between = between

        def forward(self, x):
            if self.between:
                return torch.relu(self.pointwise(torch.relu(self.depthwise(x))))
            return self.pointwise(self.depthwise(x))

    class Module(nn.Module):
        def __init__(self, inner, widths, stride, rate, shortcut):
            super().__init__()
            a, b, c = widths
            self.separable_conv1 = Separable(inner, a, 1, rate, False, 1e-3)
            self.separable_conv2 = Separable(a, b, 1, rate, False, 1e-3)
            self.separable_conv3 = Separable(b, c, stride, rate, False, 1e-3)
            self.shortcut = unit(inner, c, 1, stride, eps=1e-3) if shortcut else nn.Identity()

        def forward(self, x):
            before = self.separable_conv2(torch.relu(self.separable_conv1(torch.relu(x))))
            return self.separable_conv3(torch.relu(before)) + self.shortcut(x), before

    class Last(nn.Module):
        def __init__(self, rate):
            super().__init__()
            self.separable_conv1 = Separable(1024, 1536, 1, rate, eps=1e-3)
            self.separable_conv2 = Separable(1536, 1536, 1, rate, eps=1e-3)
            self.separable_conv3 = Separable(1536, 2048, 1, rate, eps=1e-3)

        def forward(self, x):
            return self.separable_conv3(self.separable_conv2(self.separable_conv1(x)))

    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            one, two, three, middle, exit1, exit2 = LAYOUT[output_stride]
            self.entry_flow_conv1_1 = unit(3, 32, 3, 2, eps=1e-3)
            self.entry_flow_conv1_2 = unit(32, 64, 3, eps=1e-3)
            self.entry_flow_block1_unit_1 = Module(64, [128] * 3, *one, True)
            self.entry_flow_block2_unit_1 = Module(128, [256] * 3, *two, True)
            self.entry_flow_block3_unit_1 = Module(256, [728] * 3, *three, True)
            for i in range(1, middle_units + 1):
                module = Module(728, [728] * 3, *middle, False)
                setattr(self, f"middle_flow_block1_unit_{i}", module)
            self.exit_flow_block1_unit_1 = Module(728, [728, 1024, 1024], *exit1, True)
            self.exit_flow_block2_unit_1 = Last(exit2[1])

        def forward(self, x):
            x = torch.relu(self.entry_flow_conv1_2(torch.relu(self.entry_flow_conv1_1(x))))
            x, c1 = self.entry_flow_block1_unit_1(x)
            x, c2 = self.entry_flow_block2_unit_1(x)
            x, c3 = self.entry_flow_block3_unit_1(x)
            for i in range(1, middle_units + 1):
                x, _ = getattr(self, f"middle_flow_block1_unit_{i}")(x)
            x, c4 = self.exit_flow_block1_unit_1(x)
            c5 = self.exit_flow_block2_unit_1(x)
            return {"c1": c1, "c2": c2, "c3": c3, "c4": c4, "c5": c5}

    class Ordinary(nn.Sequential):
        def __init__(self, inner, outer, stride=1, rate=1):
            super().__init__(OrderedDict(unit(inner, outer, 3, stride, rate).named_children()))

        def forward(self, x):
            return torch.relu(super().forward(x))

    conv3x3 = Separable if separable else Ordinary

    class ASPP(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs_0 = unit(2048, 256)
            self.convs_1, self.convs_2, self.convs_3 = (
                conv3x3(2048, 256, rate=rate) for rate in rates
            )
            self.convs_4 = unit(2048, 256)
            self.project = unit(1280, 256)

        def forward(self, x):
            pooled = torch.relu(self.convs_4(x.mean((2, 3), keepdim=True))).expand(
                -1, -1, *x.shape[2:]
            )
            atrous = [self.convs_1(x), self.convs_2(x), self.convs_3(x)]
            y = torch.cat([torch.relu(self.convs_0(x)), *atrous, pooled], 1)
            return torch.relu(self.project(y))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.aspp = Backbone(), ASPP()
            self.feature_projection0 = unit(256, 48)
            self.decoder_conv0 = conv3x3(304, 256)
            self.decoder_conv1 = conv3x3(256, 256)
            self.classifier = nn.Conv2d(256, classes, 1)

        def forward(self, image):
            resize = lambda x, like: nn.functional.interpolate(
                x, like.shape[2:], mode="bilinear", align_corners=True
            )
            features = self.backbone(image)
            aspp = self.aspp(features["c5"])
            low = torch.relu(self.feature_projection0(features["c2"]))
            x = self.decoder_conv0(torch.cat([resize(aspp, low), low], 1))
            x = self.decoder_conv1(x)
            out = resize(self.classifier(x), image)
            return {**features, "aspp": aspp, "decoder_conv1": x, "out": out}

    return Network()


def main() -> None:
    """Writes both files, after checking the whole networks' counts."""
    import torch

    for name, options in FILES.items():
        whole = network(**options, middle_units=16)
        published = 41_055_413 if options["separable"] else 54_711_461
        assert sum(p.numel() for p in whole.parameters()) == published
        model = network(**options).eval()
        filled = {
            key: tensor
            if tensor.ndim == 0
            else torch.from_numpy(MAKER["fill"](key, tuple(tensor.shape)))
            for key, tensor in model.state_dict().items()
        }
        model.load_state_dict(filled)
        with torch.no_grad():
            arrays = model(torch.from_numpy(image()).permute(0, 3, 1, 2))
        kept = {k: sample(k, v.permute(0, 2, 3, 1).numpy()) for k, v in arrays.items()}
        np.savez_compressed(FOLDER / f"golden_deeplab_v3_plus_{name}.npz", **kept)


if __name__ == "__main__":
    main()

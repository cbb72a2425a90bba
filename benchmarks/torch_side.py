"""PyTorch's side of `speed.py`: reads one case a line, then runs it as often as it is told to.

Runs in an environment of its own, which has torch and torchvision and need not have segjax.
Arrays are channels_last, which on CPUs is PyTorch's faster layout.
"""

import contextlib
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

LAST = torch.channels_last


def main() -> None:
    torch.manual_seed(0)
    for line in sys.stdin:
        case = json.loads(line)
        if "run" in case:
            start = time.perf_counter()
            for _ in range(case["run"]):
                work()
            answer = (time.perf_counter() - start) / case["run"]
        else:
            torch.set_num_threads(case["threads"])
            work = CASES[case["kind"]](case)
            work()
            answer = f"torch {torch.__version__}"
        print(json.dumps(answer), flush=True)


def operation(case):
    x = torch.randn(case["x"]).permute(0, 3, 1, 2).to(memory_format=LAST)
    groups = case.get("groups", 1)
    options = {k: case[k] for k in ("stride", "padding") if k in case}
    if case["name"] == "max_pool":
        kernel = None
        function = lambda: F.max_pool2d(x, case["window"], **options)
    else:
        height, width, inner, outputs = case["kernel"]
        kernel = torch.randn(outputs, inner, height, width).to(memory_format=LAST)
        options |= {"dilation": case.get("dilation", 1), "groups": groups}
        transposed = case["name"] == "conv_transpose2d"
        convolution = F.conv_transpose2d if transposed else F.conv2d
        function = lambda: convolution(x, kernel, **options)
    if not case["gradients"]:
        return torch.no_grad()(function)
    inputs = [t.requires_grad_() for t in (x, kernel) if t is not None]
    cotangent = torch.randn_like(function())
    return lambda: torch.autograd.grad(function(), inputs, cotangent)


def training(case):
    model = MODELS[case["model"]](case["classes"]).to(memory_format=LAST).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    b, h, w, c = case["image"]
    image = torch.randn(b, c, h, w).to(memory_format=LAST)
    label = torch.randint(0, case["classes"], (b, h, w))

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(image), label, ignore_index=255).backward()
        optimizer.step()

    return step


def inference(case):
    model = MODELS[case["model"]](case["classes"]).to(memory_format=LAST).eval()
    b, h, w, c = case["image"]
    image = torch.randn(b, c, h, w).to(memory_format=LAST)
    return torch.no_grad()(lambda: model(image).softmax(1))


CASES = {"operation": operation, "training": training, "inference": inference}


def resnet50():
    _declare_operators()
    from torchvision.models import resnet50
    from torchvision.models._utils import IntermediateLayerGetter

    backbone = resnet50(replace_stride_with_dilation=[False, True, True])
    return IntermediateLayerGetter(backbone, {"layer4": "out"})


def deeplab_v3(classes):
    _declare_operators()
    from torchvision.models.segmentation import deeplabv3

    head = deeplabv3.DeepLabHead(2048, classes)
    return Logits(deeplabv3.DeepLabV3(resnet50(), head))


def fcn(classes):
    _declare_operators()
    from torchvision.models.segmentation import fcn

    return Logits(fcn.FCN(resnet50(), fcn.FCNHead(2048, classes)))


class Logits(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)["out"]


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
        skips = []
        for down in self.down[:-1]:
            x = down(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for up, merge in zip(reversed(self.up), reversed(self.merge), strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], 1))
        return self.classifier(x)


MODELS = {"deeplab_v3": deeplab_v3, "fcn": fcn, "unet": UNet}


def _declare_operators():
    """Declares what torchvision's Python files name, where its compiled part is missing."""
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

if __name__ == "__main__":
    main()

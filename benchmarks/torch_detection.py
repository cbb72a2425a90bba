"""PyTorch's side of the detectors: torchvision's Mask R-CNN on images on their canvas.

The same parts as in `segjax_detection.py`: trunk, proposals, both heads; images are neither
resized nor normalised, and masks not pasted. Needs torchvision's compiled NMS and RoIAlign.
"""

import torch

OBJECTS = 20


def mask_rcnn(classes):
    """Returns torchvision's network; the best boxes are kept whatever their score."""
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone = resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        norm_layer=_frozen_norm(),
        trainable_layers=5,
    )
    return MaskRCNN(backbone, classes, box_score_thresh=0.0)


def _frozen_norm():
    from torchvision.ops.misc import FrozenBatchNorm2d

    return FrozenBatchNorm2d


NETWORKS = {"mask_rcnn": mask_rcnn}


class Parts(torch.nn.Module):
    """Losses of a step with targets, or what is found without; `features` may be compiled."""

    def __init__(self, network, features=None):
        super().__init__()
        self.network = network
        self.features = features or network.backbone

    def forward(self, image, targets=None):
        from torchvision.models.detection.image_list import ImageList

        sizes = [tuple(image.shape[2:])] * len(image)
        features = self.features(image)
        proposals, first = self.network.rpn(ImageList(image, sizes), features, targets)
        found, second = self.network.roi_heads(features, proposals, sizes, targets)
        return found if targets is None else sum((first | second).values())


def pooled(x, case):
    """Returns RoIAlign of a case's boxes on a map of stride 4."""
    from torchvision.ops import roi_align

    batch, height, width, _ = case["x"]
    generator = torch.Generator().manual_seed(0)
    count = case["boxes"] // batch
    boxes = [rectangles(generator, 4 * height, 4 * width, count) for _ in range(batch)]
    boxes = [each.to(x.device) for each in boxes]
    # The compiled operator has no bf16 of its own.
    return lambda: roi_align(x.float(), boxes, case["size"], 0.25, 2).to(x.dtype)


def targets(shape, classes, device):
    """Returns as many objects for each image, whole rectangles at random places."""
    count, height, width, _ = shape
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    found = []
    for _ in range(count):
        boxes = rectangles(generator, height, width, OBJECTS)
        masks = torch.stack(
            [
                (rows >= y0) & (rows < y1) & (columns >= x0) & (columns < x1)
                for x0, y0, x1, y1 in boxes.tolist()
            ]
        )
        labels = torch.randint(1, classes, (OBJECTS,), generator=generator)
        target = {"boxes": boxes, "labels": labels, "masks": masks.to(torch.uint8)}
        found.append({key: value.to(device) for key, value in target.items()})
    return found


def rectangles(generator, height, width, count):
    """Returns boxes n 4 whose sides are between a twentieth and a third of the image's."""
    size = torch.tensor([width, height])
    sides = ((torch.rand(count, 2, generator=generator) * 0.28 + 0.05) * size).round()
    corner = (torch.rand(count, 2, generator=generator) * (size - sides)).round()
    return torch.cat([corner, corner + sides], 1)

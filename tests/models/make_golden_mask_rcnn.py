"""Makes golden_mask_rcnn.npz with torchvision: narrow Mask R-CNNs, stage by stage.

    python tests/models/make_golden_mask_rcnn.py

Weights are those of `filled`, by parameters' names; the file has names and shapes, outputs and
the losses of a training step. The test reads this file for `filled`, `image`, `truth`,
`thinned` and the constants.
"""

import json
import pathlib
import runpy
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent
GOLDEN = FOLDER / "golden_mask_rcnn.npz"
SIZE, CLASSES, CHANNELS, HIDDEN = (128, 160), 5, 16, 64
BEFORE, AFTER, MOST = 200, 60, 12
ANCHORS_SAMPLED, ROIS_SAMPLED = 64, 32
VARIANTS = ("batch_norm", "frozen", "second")
FACTORS = {"bbox_pred.weight": 0.1, "cls_score.weight": 3.0, "mask_fcn_logits.weight": 3.0}
_fill = runpy.run_path(str(FOLDER.parent / "fill.py"))["fill"]


def filled(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the weights of a parameter, with which objects are found."""
    as_conv = (*shape, 1, 1) if len(shape) == 2 else shape
    factors = [factor for end, factor in FACTORS.items() if name.endswith(end)]
    return _fill(name, as_conv).reshape(shape) * np.float32(factors[0] if factors else 1)


def image() -> np.ndarray:
    """Returns a normalised image, h w c."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(SIZE[0] // 8, SIZE[1] // 8, 3))
    return (coarse.repeat(8, 0).repeat(8, 1) + rng.normal(0, 0.3, (*SIZE, 3))).astype(
        np.float32
    )


def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns boxes n 4, classes n and masks n h w of three ellipses."""
    boxes = np.array([[10, 12, 60, 70], [70, 20, 150, 90], [30, 60, 90, 120]], np.float32)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = []
    for x0, y0, x1, y1 in boxes:
        across = (x + 0.5 - (x0 + x1) / 2) / ((x1 - x0) / 2)
        along = (y + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2)
        masks.append(across**2 + along**2 <= 1)
    return boxes, np.array([1, 4, 2]), np.stack(masks)


def thinned(array) -> np.ndarray:
    """Returns at most 3000 numbers of an array, at equal distances."""
    flat = np.asarray(array, np.float32).ravel()
    return flat[:: -(-flat.size // 3000)]


def _torchvision():
    """Imports torchvision, whose compiled operations plain PyTorch replaces."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
        "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor"
    )
    from torchvision.ops import boxes as ops

    def nms(boxes, scores, threshold):
        """Returns what is kept, by falling score."""
        order, keep = scores.argsort(descending=True, stable=True), []
        overlaps = ops.box_iou(boxes, boxes)
        for i in order.tolist():
            if all(overlaps[i, j] <= threshold for j in keep):
                keep.append(i)
        return torch.tensor(keep, dtype=torch.int64)

    library.impl("nms", nms, "CompositeImplicitAutograd")
    ops._assert_has_ops = lambda: None
    return torch, library


def _network(variant: str):
    """Returns torchvision's network, narrow, with its weights."""
    import torch
    from torchvision.models.detection import backbone_utils, faster_rcnn, mask_rcnn, rpn
    from torchvision.models.resnet import Bottleneck, ResNet
    from torchvision.ops import FrozenBatchNorm2d

    norm = FrozenBatchNorm2d if variant == "frozen" else torch.nn.BatchNorm2d
    second = variant == "second"
    head_norm = torch.nn.BatchNorm2d if second else None
    body = backbone_utils.BackboneWithFPN(
        ResNet(Bottleneck, [1, 1, 1, 1], norm_layer=norm),
        {f"layer{i}": str(i - 1) for i in range(1, 5)},
        [256, 512, 1024, 2048],
        CHANNELS,
        norm_layer=head_norm,
    )
    shape = (CHANNELS, 7, 7)
    second_box = lambda: faster_rcnn.FastRCNNConvFCHead(
        shape, [CHANNELS] * 4, [HIDDEN], norm_layer=head_norm
    )
    first_box = lambda: faster_rcnn.TwoMLPHead(CHANNELS * 49, HIDDEN)
    model = mask_rcnn.MaskRCNN(
        body,
        min_size=min(SIZE),
        max_size=max(SIZE),
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        rpn_head=rpn.RPNHead(CHANNELS, 3, conv_depth=2 if second else 1),
        rpn_pre_nms_top_n_test=BEFORE,
        rpn_pre_nms_top_n_train=BEFORE,
        rpn_post_nms_top_n_test=AFTER,
        rpn_post_nms_top_n_train=AFTER,
        rpn_batch_size_per_image=ANCHORS_SAMPLED,
        box_batch_size_per_image=ROIS_SAMPLED,
        box_head=second_box() if second else first_box(),
        box_predictor=faster_rcnn.FastRCNNPredictor(HIDDEN, CLASSES),
        box_detections_per_img=MOST,
        mask_head=mask_rcnn.MaskRCNNHeads(CHANNELS, [CHANNELS] * 4, 1, norm_layer=head_norm),
        mask_predictor=mask_rcnn.MaskRCNNPredictor(CHANNELS, CHANNELS, CLASSES),
    )
    state = model.state_dict()
    shapes = {n: tuple(t.shape) for n, t in state.items() if "num_batches" not in n}
    new = {n: torch.from_numpy(filled(n, shape)) for n, shape in shapes.items()}
    model.load_state_dict(new, strict=False)
    return model.eval(), shapes


def _stages(torch, model) -> dict[str, np.ndarray]:
    """Returns the outputs of a network on the image, stage by stage."""
    from torchvision.models.detection.image_list import ImageList

    x = torch.from_numpy(image().transpose(2, 0, 1)[None])
    images = ImageList(x, [SIZE])
    features = model.backbone(x)
    last = lambda t, a: t.unflatten(1, (a, -1)).permute(0, 3, 4, 1, 2)
    objectness, deltas = model.rpn.head([*features.values()])
    proposals, _ = model.rpn(images, features)
    (found,), _ = model.roi_heads(features, proposals, [SIZE])
    named = {f"p{i}": f.permute(0, 2, 3, 1) for i, f in enumerate(features.values(), start=2)}
    for i, (score, delta) in enumerate(zip(objectness, deltas, strict=True), start=2):
        named |= {f"objectness{i}": score.permute(0, 2, 3, 1), f"deltas{i}": last(delta, 3)}
    named |= {"proposals": proposals[0], "boxes": found["boxes"], "scores": found["scores"]}
    named |= {"classes": found["labels"], "masks": found["masks"][:, 0]}
    return {name: thinned(value.numpy()) for name, value in named.items()}


def _losses(torch, model) -> dict[str, np.ndarray]:
    """Returns the losses of a training step that samples the first boxes of each kind."""
    from torchvision.models.detection import _utils

    def first(self, matched):
        """Returns masks of the sampled boxes."""
        kinds = [[], []]
        for each in matched:
            positive, negative = torch.where(each >= 1)[0], torch.where(each == 0)[0]
            positive = positive[: int(self.batch_size_per_image * self.positive_fraction)]
            negative = negative[: self.batch_size_per_image - len(positive)]
            for found, index in zip(kinds, (positive, negative), strict=True):
                found.append(torch.zeros_like(each, dtype=torch.uint8))
                found[-1][index] = 1
        return kinds

    _utils.BalancedPositiveNegativeSampler.__call__ = first
    boxes, classes, masks = truth()
    target = {
        "boxes": torch.from_numpy(boxes),
        "labels": torch.from_numpy(classes),
        "masks": torch.from_numpy(masks.astype(np.uint8)),
    }
    found = model.train()([torch.from_numpy(image().transpose(2, 0, 1))], [target])
    return {name: np.float32(value.detach()) for name, value in found.items()}


def main() -> None:
    """Writes the golden file."""
    torch, library = _torchvision()
    arrays = {}
    for variant in VARIANTS:
        model, shapes = _network(variant)
        with torch.no_grad():
            stages = _stages(torch, model)
            if variant == "frozen":
                stages |= _losses(torch, model)
        arrays |= {f"{variant}/{name}": value for name, value in stages.items()}
        arrays[f"{variant}/shapes"] = np.frombuffer(
            zlib.compress(json.dumps(shapes).encode()), np.uint8
        )
        print(variant, {n: np.round(v, 3) for n, v in stages.items() if v.size < 13})
    np.savez_compressed(GOLDEN, **arrays)
    del library


if __name__ == "__main__":
    main()

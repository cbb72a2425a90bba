"""Writes `golden_torchvision.npz`: what torchvision's box operations return for seeded inputs.

Needs torch and torchvision (made with 2.13.0 and 0.28.0); the tests need only `inputs`.

    python tests/ops/make_golden_torchvision.py
"""

import pathlib

import numpy as np

FILE = pathlib.Path(__file__).with_name("golden_torchvision.npz")
CANVAS = (64, 96)
STRIDES = (4, 8, 16, 32)
SETTINGS = {"unaligned 2": (False, 2), "aligned 2": (True, 2), "unaligned 3": (False, 3)}
GRIDS = {"grid 5x7": ((5, 7), (160, 224)), "grid 3x4": ((3, 4), (100, 100))}


def inputs() -> dict[str, np.ndarray]:
    """Returns boxes of all kinds, maps, masks and probabilities."""
    rng = np.random.default_rng(0)
    height, width = CANVAS
    first = rng.uniform((-20, -20), (width, height), (24, 2))
    boxes = np.concatenate([first, first + rng.uniform(0.1, 60, (24, 2))], 1)
    boxes[0, 2:] = boxes[0, :2] + 0.01  # Less than a pixel.
    boxes[1] = 0, 0, width, height
    boxes[2] = -300, -200, 400, 500
    boxes = boxes.astype(np.float32)
    return {
        "boxes": boxes,
        "others": boxes[::-1] + np.asarray([3, -2, 6, 5], np.float32),
        "deltas": rng.normal(0, 2, (24, 4)).astype(np.float32),
        "areas": (boxes * np.asarray([1, 1, 9, 9], np.float32)).clip(0),
        "map": rng.normal(size=(2, 16, 24, 3)).astype(np.float32),
        "images": np.arange(24, dtype=np.int32) % 2,
        "masks": rng.random((3, height, width)) < 0.4,
        "index": np.arange(24, dtype=np.int32) % 3,
        "probabilities": rng.random((24, 28, 28)).astype(np.float32),
    }


def _answers() -> dict[str, np.ndarray]:
    """Returns torchvision's answers; its compiled operators are not needed."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
        "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor"
    )
    import sys

    import torchvision.ops.roi_align  # noqa: F401
    from torchvision.models.detection import _utils as coding
    from torchvision.models.detection import roi_heads
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.image_list import ImageList
    from torchvision.ops import boxes as box_operations
    from torchvision.ops.poolers import LevelMapper

    align = sys.modules["torchvision.ops.roi_align"]._roi_align  # Plain PyTorch.
    given = {name: torch.from_numpy(value.copy()) for name, value in inputs().items()}
    boxes, others = given["boxes"], given["others"]
    coder = coding.BoxCoder((10.0, 10.0, 5.0, 5.0))
    answers = {
        "iou": box_operations.box_iou(boxes, others),
        "encoded": coder.encode_single(others, boxes),
        "decoded": coder.decode_single(given["deltas"], boxes),
        "clipped": box_operations.clip_boxes_to_image(boxes, CANVAS),
        "levels": LevelMapper(2, 5)([given["areas"]]),
    }
    # Without its compiled operators torchvision clamps every sample outside, so none is.
    inside = torch.minimum(answers["clipped"], torch.tensor([90.0, 58.0, 96.0, 64.0]))
    answers["inside"] = inside
    for name, (aligned, samples) in SETTINGS.items():
        rois = torch.cat([given["images"][:, None], inside], 1)
        maps = given["map"].permute(0, 3, 1, 2)
        pooled = align(maps, rois, 1 / STRIDES[0], 7, 7, samples, aligned)
        answers[f"roi_align {name}"] = pooled.permute(0, 2, 3, 1)
    rois = torch.cat([given["index"][:, None], inside], 1)
    crops = align(given["masks"][:, None].float(), rois, 1.0, 14, 14, -1, False)
    answers["crops"] = crops[:, 0]
    probabilities = given["probabilities"][:, None]
    pasted = roi_heads.paste_masks_in_image(probabilities, answers["clipped"], CANVAS)
    answers["pasted"] = torch.from_numpy(np.packbits((pasted[:, 0] > 0.5).numpy()))
    generator = AnchorGenerator(((32,), (64,)), ((0.5, 1.0, 2.0),) * 2)
    for name, (grid, canvas) in GRIDS.items():
        images = ImageList(torch.zeros(1, 3, *canvas), [canvas])
        maps = [torch.zeros(1, 1, *grid)] * 2
        answers[f"anchors {name}"] = generator(images, maps)[0]
    return {name: np.asarray(value) for name, value in answers.items()}


if __name__ == "__main__":
    np.savez_compressed(FILE, **_answers())

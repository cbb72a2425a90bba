"""Writes `golden_two_stage.npz`: torchvision's matches, samples and losses of one step.

The outputs of the heads are random numbers, which test and script both make. Needs torch and
torchvision (made with 2.13.0 and 0.28.0); the test needs only `step`.

    python tests/losses/make_golden_two_stage.py
"""

import pathlib
import runpy

import numpy as np

FOLDER = pathlib.Path(__file__).parent
IMAGE = (96, 128)
GRIDS, STRIDES, SIZES = ((12, 16), (6, 8)), (8, 16), (16.0, 32.0)
OBJECTS, MOST, PROPOSALS, CLASSES, MASK = (5, 3), 6, 60, 4, 14
ANCHORS = 3 * sum(h * w for h, w in GRIDS)
ANCHORS_SAMPLED, ROIS_SAMPLED, ROIS_POSITIVE = 64, 48, 12


def step() -> dict[str, np.ndarray]:
    """Returns true objects in slots, proposals, and what heads say of each anchor and box.

    The last `MOST` boxes of an image are its true ones. Some true boxes are smaller than every
    anchor, so that their matches are low-quality ones.
    """
    rng = np.random.default_rng(0)
    count = len(OBJECTS)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    truth, masks = np.zeros((count, MOST, 4), np.float32), np.zeros((count, MOST, *IMAGE), bool)
    for b, objects in enumerate(OBJECTS):
        for i in range(objects):
            sides = rng.integers(5, 45, 2)
            low = [rng.integers(0, IMAGE[1 - k] - sides[k]) for k in (0, 1)]
            x0, y0, x1, y1 = truth[b, i] = np.array([*low, *(low + sides)], np.float32)
            masks[b, i, int(y0) : int(y1), int(x0) : int(x1)] = rng.random() < 0.9
            masks[b, i] &= rng.random(IMAGE) < 0.8
    which = rng.integers(0, np.array(OBJECTS)[:, None], (count, PROPOSALS))
    near = np.take_along_axis(truth, which[..., None], 1)
    near = near + normal(count, PROPOSALS, 4) * 4
    low = np.minimum(near[..., :2], near[..., 2:] - 2)
    proposals = np.concatenate([low, np.maximum(near[..., 2:], low + 2)], -1)
    boxes = PROPOSALS + MOST
    return {
        "truth": truth,
        "classes": rng.integers(1, CLASSES, (count, MOST)),
        "masks": masks,
        "proposals": proposals.clip(0, [IMAGE[1], IMAGE[0]] * 2).astype(np.float32),
        "objectness": normal(count, ANCHORS),
        "anchor_deltas": normal(count, ANCHORS, 4),
        "logits": normal(count, boxes, CLASSES),
        "deltas": normal(count, boxes, CLASSES, 4),
        "mask_logits": normal(count, boxes, MASK, MASK, CLASSES),
    }


def roi_align(mask: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Returns what torchvision's operator does for one box: unaligned, adaptive samples.

    The number of samples is decided in float32, as there.
    """
    height, width = mask.shape
    x0, y0, x1, y1 = box.astype(np.float32)
    one = np.float32(1)
    sides = max(y1 - y0, one) / np.float32(size), max(x1 - x0, one) / np.float32(size)
    samples = [int(np.ceil(side)) for side in sides]
    at = [
        start + (np.arange(size * n) + 0.5) / n * side
        for start, side, n in zip((y0, x0), sides, samples, strict=True)
    ]
    weights = []
    for positions, extent in zip(at, (height, width), strict=True):
        outside = (positions < -1) | (positions > extent)
        inside = positions.clip(0, extent - 1)
        w = np.maximum(1 - np.abs(inside[:, None] - np.arange(extent)[None]), 0)
        weights.append(np.where(outside[:, None], 0, w))
    values = weights[0] @ mask.astype(np.float64) @ weights[1].T
    return values.reshape(size, samples[0], size, samples[1]).mean((1, 3))


def main() -> None:
    """Runs torchvision's functions and writes what they return."""
    import torch

    golden = runpy.run_path(str(FOLDER.parent / "models/make_golden_torchvision.py"))
    library = golden["declare_operators"]()

    def operator(masks, boxes, scale, height, width, ratio, aligned):
        assert (scale, ratio, aligned) == (1.0, -1, False)
        rows = [roi_align(masks[int(b[0]), 0].numpy(), b[1:].numpy(), height) for b in boxes]
        return torch.tensor(np.array(rows), dtype=masks.dtype)[:, None]

    library.impl("roi_align", operator, "CPU")
    from torchvision.models.detection import roi_heads
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.image_list import ImageList
    from torchvision.models.detection.rpn import RegionProposalNetwork

    torch.manual_seed(0)
    made = {key: torch.tensor(value) for key, value in step().items()}
    count = len(OBJECTS)
    targets = [
        {
            "boxes": made["truth"][b, :n],
            "labels": made["classes"][b, :n],
            "masks": made["masks"][b, :n].to(torch.uint8),
        }
        for b, n in enumerate(OBJECTS)
    ]
    drawn = []

    def recorded(sampler):
        """Returns the sampler, which notes what it draws."""

        def draw(labels):
            found = sampler(labels)
            drawn.append([[each.numpy().copy() for each in kind] for kind in found])
            return found

        return draw

    generator = AnchorGenerator(tuple((s,) for s in SIZES), ((0.5, 1.0, 2.0),) * 2)
    images = ImageList(torch.zeros(count, 3, *IMAGE), [IMAGE] * count)
    anchors = generator(images, [torch.zeros(count, 1, *grid) for grid in GRIDS])
    limits = {"training": 2000, "testing": 1000}
    rpn = RegionProposalNetwork(
        generator, torch.nn.Identity(), 0.7, 0.3, ANCHORS_SAMPLED, 0.5, limits, limits, 0.7
    )
    rpn.fg_bg_sampler = recorded(rpn.fg_bg_sampler)
    labels, matched = rpn.assign_targets_to_anchors(anchors, targets)
    deltas = rpn.box_coder.encode(matched, anchors)
    flat = lambda key: made[key].flatten(0, 1)
    losses = [*rpn.compute_loss(flat("objectness"), flat("anchor_deltas"), labels, deltas)]

    sampled = (ROIS_SAMPLED, ROIS_POSITIVE / ROIS_SAMPLED)
    heads = roi_heads.RoIHeads(*[None] * 3, 0.5, 0.5, *sampled, None, 0.05, 0.5, 100)
    heads.has_mask = lambda: True
    heads.fg_bg_sampler = recorded(heads.fg_bg_sampler)
    proposals, truth, roi_labels, roi_deltas = heads.select_training_samples(
        [*made["proposals"]], targets
    )
    chosen = [np.flatnonzero(a | b) for a, b in zip(*drawn[1], strict=True)]
    of = lambda key: torch.cat([made[key][b][chosen[b]] for b in range(count)])
    losses += roi_heads.fastrcnn_loss(
        of("logits"), of("deltas").flatten(1), roi_labels, roi_deltas
    )
    positive = [each > 0 for each in roi_labels]
    planes = of("mask_logits")[torch.cat(positive)].permute(0, 3, 1, 2)
    pick = lambda values: [v[p] for v, p in zip(values, positive, strict=True)]
    losses.append(
        roi_heads.maskrcnn_loss(
            planes,
            pick(proposals),
            [t["masks"] for t in targets],
            [t["labels"] for t in targets],
            pick(truth),
        )
    )
    np.savez_compressed(
        FOLDER / "golden_two_stage.npz",
        losses=np.array([float(each) for each in losses]),
        anchor_labels=np.stack([each.numpy() for each in labels]).astype(np.int8),
        anchors_drawn=np.array(drawn[0]).astype(bool),
        rois_drawn=np.array(
            [[np.pad(e, (0, PROPOSALS + MOST - len(e))) for e in kind] for kind in drawn[1]]
        ).astype(bool),
    )


if __name__ == "__main__":
    main()

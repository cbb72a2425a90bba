"""Compares ways to find single nuclei in microscope images: a detector and two simpler ways.

    python benchmarks/nuclei.py DETECTOR_RUN --unet UNET_RUN --data FOLDER

DETECTOR_RUN is the folder of a run of `experiments/mask_rcnn_nuclei.py`. UNET_RUN is one of a
network that tells nuclei (class 1) from background (class 0), such as a U-Net with
`BorderWeights`. FOLDER has `images/`, `instances/` and `splits/val.txt`, whose images are
scored. The simpler ways are

* Otsu's threshold (1979) of the grey values. Nuclei are the rarer side; each connected region
  is one nucleus, and larger ones have a higher score;
* the U-Net's class map. Each connected region is one nucleus, and its score is the region's
  mean probability.

Regions below 20 pixels are left out of both. Mask AP is COCO's, with up to 200 objects. PQ
counts each pixel once, for the nucleus with the highest score, and of the detector only objects
with a score of at least 0.5.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from segjax.data.folder import Folder
from segjax.objects import Objects, PanopticMap, Segment, encoded
from segjax.scores.average_precision import average_precision
from segjax.scores.panoptic_quality import panoptic_counts, panoptic_quality
from segjax.segmenter import Segmenter

LEAST = 20
"""Pixels of the smallest region that counts."""

LEAST_SCORE = 0.5
"""Of objects that PQ counts."""

NUCLEUS = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detector", type=pathlib.Path, metavar="DETECTOR_RUN")
    parser.add_argument("--unet", type=pathlib.Path, required=True, metavar="UNET_RUN")
    parser.add_argument("--data", type=pathlib.Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    detector = Segmenter.from_run(arguments.detector)
    unet = Segmenter.from_run(arguments.unet)
    data = Folder(
        "val",
        str(arguments.data),
        class_names=("background", "nucleus"),
        masks="instances",
        label_map=(("nonzero", NUCLEUS),),
        objects="instances",
    )
    data.prepare()
    ways: dict[str, Callable[[np.ndarray], Objects]] = {
        "Otsu + connected regions": otsu_regions,
        "U-Net + connected regions": lambda image: unet_regions(unet, image),
        "detector": detector,
    }
    print(f"{len(data)} images\n\n| way | mask AP50 | mask AP | PQ | SQ | RQ |")
    print("|---|---|---|---|---|---|")
    for name, find in ways.items():
        row = scores(data, find)
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row) + " |", flush=True)
    return 0


def scores(data, find: Callable[[np.ndarray], Objects]) -> list[float]:
    """Returns mask AP50, mask AP, PQ, SQ and RQ of what a way finds."""
    truths, found, counts = [], [], np.zeros((2, 4), np.int64)
    for index in range(len(data)):
        example = data[index]
        truths.append(Objects.of_example(example))
        found.append(find(example["image"]))
        true = PanopticMap.of_example(example, (NUCLEUS,))
        counts += panoptic_counts(true, painted(found[-1], least_score=LEAST_SCORE), 2)
    ap = average_precision(truths, found, classes=[NUCLEUS], most=200)
    pq = panoptic_quality(counts, ("background", "nucleus"), (NUCLEUS,))
    return [ap.ap(iou=0.5), ap.ap(), *(pq[f"{name}_things"] for name in ("pq", "sq", "rq"))]


def otsu_regions(image: np.ndarray) -> Objects:
    """Returns the connected regions of the rarer side of Otsu's threshold."""
    grey = np.asarray(Image.fromarray(image).convert("L"))
    counts = np.bincount(grey.reshape(-1), minlength=256).astype(float)
    below = np.cumsum(counts)
    sums = np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    bright = grey > np.nanargmax(between)
    inside = bright if bright.mean() <= 0.5 else ~bright
    return regions(inside, lambda mask: 0.5 + mask.mean() / 2)


def unet_regions(unet: Segmenter, image: np.ndarray) -> Objects:
    """Returns the connected regions of the U-Net's nuclei."""
    probability = unet.probabilities(image)[..., NUCLEUS]
    return regions(probability > 0.5, lambda mask: probability[mask].mean())


def regions(inside: np.ndarray, score: Callable[[np.ndarray], float]) -> Objects:
    """Returns the connected regions of at least `LEAST` pixels as objects."""
    numbered, _ = ndimage.label(inside)
    masks = [numbered == i for i in np.flatnonzero(np.bincount(numbered.reshape(-1)))[1:]]
    masks = [mask for mask in masks if mask.sum() >= LEAST]
    corners = [np.argwhere(mask) for mask in masks]
    boxes = [[*c.min(0)[::-1], *(c.max(0)[::-1] + 1)] for c in corners]
    count = len(masks)
    return Objects(
        inside.shape,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(count, NUCLEUS, np.int32),
        np.array([score(mask) for mask in masks], np.float32),
        np.zeros(count, bool),
        tuple(map(encoded, masks)),
    )


def painted(found: Objects, *, least_score: float) -> PanopticMap:
    """Returns each pixel's object: of those with at least this score, the best."""
    ids, segments = np.zeros(found.size, np.int32), []
    for place in np.argsort(found.scores, kind="stable"):
        if found.scores[place] >= least_score:
            ids[found.mask(place)] = place + 1
    for number in np.unique(ids[ids > 0]).tolist():
        score = float(found.scores[number - 1])
        segments.append(Segment(number, NUCLEUS, True, score=score))
    return PanopticMap(ids, tuple(segments))


if __name__ == "__main__":
    sys.exit(main())

"""Audits of CamVid and VOC against counts of another program: plain NumPy over the files."""

import statistics

import numpy as np
import pytest
from PIL import Image

from segjax.audit.audit import audit_datasets
from segjax.data.camvid import CamVid
from segjax.data.voc import VOC


def counted(paths, classes: int):
    """(pixels, images, pixels of images) of each class by `np.unique` of each mask."""
    pixels, images, area = (np.zeros(256, np.int64) for _ in range(3))
    for path in paths:
        label = np.asarray(Image.open(path))
        ids, counts = np.unique(label, return_counts=True)
        pixels[ids] += counts
        images[ids] += 1
        area[ids] += label.size
    return [tuple(each[:classes].tolist()) for each in (pixels, images, area)]


@pytest.mark.slow
def test_camvid_equals_an_independent_count(real_data):
    root = real_data / "camvid"
    datasets = {split: CamVid(split, str(root)) for split in ("train", "val", "test")}
    found = audit_datasets(datasets)
    assert found.errors == 0
    assert [held.read for held in found.datasets.values()] == [367, 101, 233]
    for split, held in found.datasets.items():
        names = (root / f"{split}.txt").read_text(encoding="utf-8").split("\n")
        stems = [line.split()[0].rsplit("/")[-1].removesuffix(".png") for line in names if line]
        paths = [root / f"{split}annot/{stem.rsplit('.')[0]}.png" for stem in stems]
        pixels, images, area = counted(paths, 11)
        counts = held.counts
        assert (counts.pixels, counts.images, counts.pixels_of_images) == (pixels, images, area)
        assert held.ignored == held.pixels - sum(pixels)
        if split == "train":
            frequency = [p / a for p, a in zip(pixels, area, strict=True)]
            median = statistics.median(frequency)
            expected = [median / each for each in frequency]
            assert found.weights["MedianFrequency()"] == pytest.approx(expected, rel=1e-5)


def test_voc_equals_an_independent_count(real_data):
    root = real_data / "VOCdevkit"
    found = audit_datasets({s: VOC(s, str(root)) for s in ("train", "val")})
    assert found.errors == 0
    for split, held in found.datasets.items():
        base = root / "VOC2012"
        listed = base / f"ImageSets/Segmentation/{split}.txt"
        stems = listed.read_text(encoding="utf-8").split()
        paths = [base / f"SegmentationClass/{stem}.png" for stem in stems]
        counts = held.counts
        got = [counts.pixels, counts.images, counts.pixels_of_images]
        assert got == counted(paths, 21)

"""Label maps → annotations → label maps, by the rules of the programs that read them."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from segjax.drawing.annotations import coco_categories, coco_regions, labelme_shapes

# pycocotools 2.0.11 hands NumPy 2 arrays in NumPy 1's way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAMES = tuple(f"class {index}" for index in range(256))


def painted_by_pycocotools(regions, height: int, width: int) -> np.ndarray:
    label = np.zeros((height, width), np.uint8)
    for region in regions:
        runs = coco_mask.merge(coco_mask.frPyObjects(region["segmentation"], height, width))
        label[coco_mask.decode(runs) == 1] = region["category_id"] - 1
    return label


def painted_by_labelme(shapes, height: int, width: int) -> np.ndarray:
    label = np.zeros((height, width), np.uint8)
    for shape in shapes:
        painted = Image.new("L", (width, height))
        corners = [tuple(point) for point in shape["points"]]
        ImageDraw.Draw(painted).polygon(corners, fill=1, outline=1)
        label[np.asarray(painted) == 1] = NAMES.index(shape["label"])
    return label


def both(label, *, tolerance: float) -> list[np.ndarray]:
    """What COCO's and Labelme's readers make of a label map, 0 its background."""
    regions = coco_regions(label, range(1, 256), tolerance=tolerance)
    shapes = labelme_shapes(label, NAMES, background=0, tolerance=tolerance)
    return [
        painted_by_pycocotools(regions, *label.shape),
        painted_by_labelme(shapes, *label.shape),
    ]


def random_label(seed: int) -> np.ndarray:
    """Noise, blocks of 3 × 3, or blocks with noise; 1 to 20 pixels a side, 2 to 4 classes."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 21, 2)
    classes = rng.integers(2, 5)
    noise = rng.integers(0, classes, (height, width))
    blocks = rng.integers(0, classes, (7, 7)).repeat(3, 0).repeat(3, 1)[:height, :width]
    share = (1.0, 0.0, 0.1)[seed % 3]
    return np.where(rng.random((height, width)) < share, noise, blocks).astype(np.uint8)


@pytest.mark.parametrize("first", range(0, 180, 30))
def test_random_label_maps_come_back_exactly(first):
    for label in map(random_label, range(first, first + 30)):
        for back in both(label, tolerance=0.0):
            np.testing.assert_array_equal(back, label)


def real_masks(real_data):
    paths = sorted((real_data / "VOCdevkit/VOC2012/SegmentationClass").glob("*.png"))[::4]
    assert len(paths) > 5
    for path in paths:
        with Image.open(path) as mask:
            yield np.array(mask)


def test_real_masks_come_back_exactly(real_data):
    for label in real_masks(real_data):
        for back in both(label, tolerance=0.0):
            np.testing.assert_array_equal(back, label)


def test_at_a_tolerance_of_one_pixel_99_of_100_pixels_of_real_masks_agree(real_data):
    agree = np.array([[b == a for b in both(a, tolerance=1.0)] for a in small(real_data)])
    assert agree.mean((0, 2, 3)).min() > 0.99


def small(real_data):
    return [label[:300, :300] for label in real_masks(real_data) if min(label.shape) >= 300]


def test_every_region_of_one_pixel_survives_a_large_tolerance():
    label = np.zeros((9, 9), np.uint8)
    label[2, 2], label[4, 4:7], label[7, 7] = 1, 2, 3
    for back in both(label, tolerance=50.0):
        assert set(np.unique(back)) == {0, 1, 2, 3}


def test_a_region_tells_its_area_and_box_and_its_hole_is_not_counted():
    label = np.zeros((8, 9), np.uint8)
    label[2:7, 3:8] = 4
    label[4, 5] = 0
    (region,) = coco_regions(label, {4, 9}, tolerance=0.0)
    assert region["category_id"] == 5 and region["iscrowd"] == 0
    assert region["area"] == 24 and region["bbox"] == [3, 2, 5, 5]


def test_categories_are_class_ids_plus_one():
    categories = coco_categories(("background", "cat", "dog"), {2, 1})
    assert categories == [{"id": 2, "name": "cat"}, {"id": 3, "name": "dog"}]


def test_background_has_a_shape_only_where_it_may_be_enclosed():
    label = np.zeros((9, 9), np.uint8)
    label[2:7, 2:7] = 1
    label[4, 4] = 0
    shapes = labelme_shapes(label, NAMES, background=0, tolerance=0.0)
    assert [shape["label"] for shape in shapes] == ["class 1", "class 0"]
    everything = labelme_shapes(label, NAMES, background=None, tolerance=0.0)
    assert [shape["label"] for shape in everything] == ["class 0", "class 1", "class 0"]

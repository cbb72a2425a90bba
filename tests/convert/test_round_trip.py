"""What `predict` writes for other tools comes back through `convert` as the same masks."""

import pathlib
import runpy
import types

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import Options
from segjax.convert.classes import Choice
from segjax.data.palette import voc_palette
from segjax.outputs.kinds import Labelme, Prediction
from segjax.outputs.lists import Coco

FILES = runpy.run_path(str(pathlib.Path(__file__).with_name("labelme_files.py")))
converted, mask, save_image = FILES["converted"], FILES["mask"], FILES["save_image"]
NAMES = ("background", "road", "car", "a/b, c")


def blobs(seed: int, count: int = 4) -> np.ndarray:
    """A label map of 40 x 30 with regions in regions, single pixels and lines."""
    rng = np.random.default_rng(seed)
    label = np.zeros((30, 40), np.uint8)
    for _ in range(12):
        top, left = rng.integers(0, 28), rng.integers(0, 38)
        height, width = rng.integers(1, 15, 2)
        label[top : top + height, left : left + width] = rng.integers(0, count)
    label[rng.integers(0, 30, 10), rng.integers(0, 40, 10)] = rng.integers(0, count, 10)
    return label


def prediction(root, label, names=NAMES) -> Prediction:
    image = save_image(root / "photos/a.jpg", width=40, height=30)
    return Prediction(np.zeros((30, 40, 3), np.uint8), label, None, image, names, voc_palette())


def from_labelme(root, label, *, tolerance=0.0, names=NAMES, background=0, **options):
    made = prediction(root, label, names)
    (root / "masks").mkdir()
    Labelme(background=background, tolerance=tolerance).save(made, root / "masks/a.json")
    where = Options(images=root / "photos", names=names)
    return converted(root / "masks", out=root / "out", options=where, **options)


@pytest.mark.parametrize("seed", range(6))
def test_polygons_for_labelme_give_the_same_mask(tmp_path, seed):
    label = blobs(seed)
    summary, out = from_labelme(tmp_path, label)
    assert list(summary["classes"]) == list(NAMES)
    np.testing.assert_array_equal(mask(out), label)


def test_polygons_of_every_class_give_the_same_mask_without_a_background(tmp_path):
    label = blobs(9, count=3)
    names = ("sky", "road", "car")
    choice = Choice(ignored=("background",))
    _, out = from_labelme(tmp_path, label, names=names, background=None, choice=choice)
    np.testing.assert_array_equal(mask(out), label)


def test_simplified_polygons_give_nearly_the_same_mask(tmp_path):
    rows, columns = np.mgrid[:30, :40]
    label = ((rows - 15) ** 2 + (columns - 18) ** 2 < 120).astype(np.uint8)
    _, out = from_labelme(tmp_path, label, tolerance=1.0)
    differs = mask(out) != label
    assert 0 < differs.sum() < 40
    edge = np.abs(np.hypot(rows - 15, columns - 18) - 120**0.5) < 2
    assert not (differs & ~edge).any()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("seed", range(4))
def test_polygons_of_coco_give_the_same_mask(tmp_path, seed):
    label = blobs(seed)
    save_image(tmp_path / "photos/a.jpg", width=40, height=30)
    (tmp_path / "masks").mkdir()
    Image.fromarray(label).save(tmp_path / "masks/a.png")
    entry = types.SimpleNamespace(file_name="a.jpg")
    written = Coco(NAMES, (1, 2, 3), 0.0)
    written.write(tmp_path / "masks/annotations.json", [(entry, tmp_path / "masks/a.png")])
    where = Options(images=tmp_path / "photos")
    summary, out = converted(tmp_path / "masks", out=tmp_path / "out", options=where)
    assert list(summary["classes"]) == list(NAMES)
    np.testing.assert_array_equal(mask(out), label)

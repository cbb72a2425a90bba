import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.formats.table import recognized
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError

FILES = runpy.run_path(str(pathlib.Path(__file__).with_name("labelme_files.py")))
SQUARE, converted, mask, save_image = (
    FILES[name] for name in ("SQUARE", "converted", "mask", "save_image")
)


def polygon(name="car", number=2, points=SQUARE):
    return {"name": name, "labelIdx": number, "color": [0, 9, 0], "points": points}


def save_eiseg(root, polygons, *, classes="1 road 128 0 0 \n2 car 0 9 0 \n"):
    """Writes what EISeg leaves: `label/a.json`, its masks, and the list of classes."""
    save_image(root / "a.jpg")
    label = root / "label"
    label.mkdir(parents=True, exist_ok=True)
    (label / "a.json").write_text(json.dumps(polygons), encoding="utf-8")
    for name in ("a.png", "a_pseudo.png", "a_cutout.png"):
        Image.new("L", (16, 12)).save(label / name)
    coco = {"images": [], "annotations": [], "categories": []}
    (label / "annotations.json").write_text(json.dumps(coco), encoding="utf-8")
    if classes is not None:
        (label / "autosave_label.txt").write_text(classes, encoding="utf-8")
    return root


def test_its_own_files_win_over_the_coco_file_and_masks_beside_them(tmp_path):
    root = save_eiseg(tmp_path / "in", [polygon()])
    format_, sign = recognized(FolderFiles(root))
    assert (format_.name, sign) == ("eiseg", "EISeg files, such as a.json")


def test_classes_and_colours_are_those_of_the_list_and_the_image_lies_above(tmp_path):
    root = save_eiseg(tmp_path / "in", [polygon(), polygon("road", 1, [[0, 0]] * 3)])
    summary, out = converted(root)
    assert list(summary["classes"]) == ["background", "road", "car"]
    expected = np.zeros((12, 16), int)
    expected[2:8, 2:10] = 2
    expected[0, 0] = 1
    np.testing.assert_array_equal(mask(out), expected)
    with Image.open(out / "masks/a.png") as image:
        assert image.getpalette()[3:9] == [128, 0, 0, 0, 9, 0]
    assert (
        "COLOURS = ((0, 0, 0), (128, 0, 0), (0, 9, 0))" in (out / "experiment.py").read_text()
    )


def test_without_a_list_classes_follow_their_ids(tmp_path):
    polygons = [polygon("zebra", 1), polygon("ant", 10, [[0, 0]] * 3)]
    summary, _ = converted(save_eiseg(tmp_path / "in", polygons, classes=None))
    assert list(summary["classes"]) == ["background", "zebra", "ant"]


def test_the_polygons_give_the_masks_that_labelme_exports(real_data, tmp_path):
    _, out = converted(real_data / "eiseg", out=tmp_path / "out")
    exported = real_data / "labelme/semantic_segmentation/data_dataset_voc/SegmentationClass"
    ids = {15: 1, 5: 2, 9: 3, 18: 4, 6: 5, 7: 6}  # person, bottle, chair, sofa, bus, car
    for path in sorted(exported.glob("*.png")):
        with Image.open(path) as image:
            truth = np.asarray(image)
        # The shapes `__ignore__` are not among EISeg's; below them others show.
        known = truth != 255
        table = np.zeros(256, int)
        table[list(ids)] = list(ids.values())
        assert (mask(out, path.stem) != table[truth])[known].sum() <= 1


@pytest.mark.parametrize(
    ("polygons", "classes", "message"),
    [
        ([polygon("cart")], "2 car 0 9 0\n", r"polygon 1 has the name 'cart'.* \(near: car\)"),
        ([polygon(points=[[1, 2]])], "2 car 0 9 0\n", r"polygon 1 \('car'\): a polygon needs"),
        ([polygon(None)], None, "has the name None: give it the name of a class"),
        ([polygon()], "2 car\n", "has the line '2 car', not `id name red green blue`"),
        ([polygon()], "1 car 0 0 9\n2 car 0 9 0\n", "gives two ids the name 'car'"),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(tmp_path, polygons, classes, message):
    with pytest.raises(InputError, match=message):
        converted(save_eiseg(tmp_path / "in", polygons, classes=classes))


def test_names_may_write_umlauts_as_one_sign_or_two(tmp_path):
    root = save_eiseg(tmp_path / "in", [polygon()])
    (root / "a.jpg").rename(root / "ka\u0308se.jpg")
    (root / "label/a.json").rename(root / "label/k\u00e4se.json")
    summary, _ = converted(root)
    assert summary["images"] == 1


def test_a_file_without_an_image_is_named(tmp_path):
    root = save_eiseg(tmp_path / "in", [polygon()])
    (root / "a.jpg").unlink()
    (root / "label/a.png").unlink()
    with pytest.raises(InputError, match=r"a\.json belongs to an image a\.\*, which is not in"):
        converted(root)

"""COCO's objects from JSON files, as COCO itself, Roboflow, mmdetection and EISeg lay them."""

import json
import pathlib
import re
import runpy
import types

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import IGNORED, Options, Size
from segjax.convert.formats import table
from segjax.convert.formats.coco_instances import COCO_INSTANCES
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError
from segjax.outputs.lists import Coco

# pycocotools 2.0.11 hands NumPy 2 arrays in NumPy 1's way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted, all_painted = (PAINTING[name] for name in ("read", "painted", "all_painted"))
CATEGORIES = [{"id": 2, "name": "car"}, {"id": 7, "name": "tree", "supercategory": "plant"}]


def box(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(number, category, segmentation, *, image=1, crowd=0):
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": crowd,
    }


def write(
    root, path="annotations/instances_train2017.json", *, image="train2017/a.jpg", **more
):
    """A JSON file of one image, 6 × 4 pixels, which is written too."""
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4)).save(root / image)
    images = [{"id": 1, "file_name": pathlib.Path(image).name, "height": 4, "width": 6}]
    contents = {"images": images, "categories": CATEGORIES, "annotations": [], **more}
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(contents))


def test_the_source_folders_own_name_says_no_split(tmp_path):
    for name in ("test", "train"):
        write(tmp_path / name, "ann.json", image="a.jpg")
        write(tmp_path / name, "val/ann.json", image="val/b.jpg")
        found = read(COCO_INSTANCES, tmp_path / name)
        assert {i.name: i.split for i in found.images} == {"a": None, "val/b": "val"}


def test_a_later_annotation_covers_earlier_ones_and_the_rest_is_background(tmp_path):
    annotations = [annotation(1, 7, box(0, 0, 4, 4)), annotation(2, 2, box(2, 0, 6, 2))]
    write(tmp_path, annotations=annotations)
    found = read(COCO_INSTANCES, tmp_path)
    assert found.class_names == ("car", "tree") and found.background == "background"
    (image,) = found.images
    assert (image.name, image.split, image.size) == ("train2017/a", "train", Size(4, 6))
    assert [region.instance for region in image.regions] == [0, 1]
    assert painted(found, image).tolist() == 2 * [[2, 2, 1, 1, 1, 1]] + 2 * [[2] * 4 + [0, 0]]


CROWD = {"size": [4, 6], "counts": [0, 12, 12]}


@pytest.mark.parametrize(("crowds", "names"), [("ignore", [IGNORED, "car"]), ("class", None)])
def test_crowds_are_ignored_below_all_objects_or_have_their_class(crowds, names, tmp_path):
    # The crowd is the last annotation, as in COCO's own files.
    annotations = [annotation(1, 2, box(0, 0, 2, 4)), annotation(2, 7, CROWD, crowd=1)]
    write(tmp_path, annotations=annotations)
    found = read(COCO_INSTANCES, tmp_path, crowds=crowds)
    (image,) = found.images
    assert [r.class_name for r in image.regions] == (names or ["car", "tree"])
    row = [1, 1, 255, 0, 0, 0] if crowds == "ignore" else [2, 2, 2, 0, 0, 0]
    assert painted(found, image).tolist() == 4 * [row]
    (crowd,) = [region for region in image.regions if region.is_crowd]
    assert crowd.instance is None


def test_files_of_several_splits_are_one_source_and_find_their_own_images(tmp_path):
    for split, category in (("train", 2), ("val", 7)):
        one = [annotation(1, category, box(0, 0, 6, 4))]
        path = f"annotations/instances_{split}.json"
        write(tmp_path, path, image=f"images/{split}/same.jpg", annotations=one)
    found = read(COCO_INSTANCES, tmp_path)
    assert [(i.name, i.split) for i in found.images] == [
        ("images/train/same", "train"),
        ("images/val/same", "val"),
    ]
    assert [painted(found, i).max() for i in found.images] == [1, 2]


def test_roboflows_files_lie_beside_their_images_and_its_group_is_no_class(tmp_path):
    group = {"id": 0, "name": "cars", "supercategory": "none"}
    categories = [group, {"id": 1, "name": "car", "supercategory": "cars"}]
    for split in ("train", "valid"):
        one = [annotation(1, 1, box(0, 0, 6, 4))]
        path = f"{split}/_annotations.coco.json"
        image = f"{split}/a.jpg"
        write(tmp_path, path, image=image, annotations=one, categories=categories)
    found = read(COCO_INSTANCES, tmp_path)
    assert found.class_names == ("car",) and "'cars' is the group" in found.notes[0]
    assert [i.split for i in found.images] == ["train", "val"]
    assert all((painted(found, i) == 1).all() for i in found.images)


def test_images_without_annotations_are_background_and_boxes_alone_are_counted(tmp_path):
    write(tmp_path, annotations=[annotation(1, 2, []), {**annotation(2, 2, None)}])
    found = read(COCO_INSTANCES, tmp_path)
    assert not painted(found, found.images[0]).any()
    assert found.notes[0].startswith("2 annotation(s) have no outline")
    write(tmp_path, annotations=[])
    assert len(read(COCO_INSTANCES, tmp_path).images) == 1


def test_an_image_whose_annotation_is_broken_is_a_problem_of_its_own(tmp_path):
    write(tmp_path, annotations=[annotation(17, 2, [[1, 1, 3, 3]])])
    found = read(COCO_INSTANCES, tmp_path)
    assert not found.images and "annotation 17: its polygon has 4 numbers" in found.problems[0]


def test_stuff_among_the_categories_has_no_objects(tmp_path):
    categories = [{**CATEGORIES[0], "isthing": 1}, {**CATEGORIES[1], "isthing": 0}]
    annotations = [annotation(1, 2, box(0, 0, 2, 2)), annotation(2, 7, box(2, 2, 4, 4))]
    write(tmp_path, categories=categories, annotations=annotations)
    (image,) = read(COCO_INSTANCES, tmp_path).images
    assert [region.instance for region in image.regions] == [0, None]


def test_eisegs_file_lies_in_label_among_masks_that_are_called_as_the_images(tmp_path):
    image = {"id": 1, "width": 6, "height": 4, "file_name": "a.png", "coco_url": ""}
    drawn = {"id": 1, "image_id": 1, "category_id": 1, "area": 0, "bbox": [0, 0, 0, 0]}
    contents = {
        "categories": [{"id": 1, "name": "car", "color": [255, 0, 9], "supercategory": ""}],
        "images": [image],
        "annotations": [{**drawn, "segmentation": box(0, 0, 2, 4)}],
        "info": "info",
        "licenses": "licenses",
    }
    (tmp_path / "label").mkdir()
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    Image.new("L", (6, 4)).save(tmp_path / "label" / "a.png")
    (tmp_path / "label" / "annotations.json").write_text(json.dumps(contents))
    found = read(COCO_INSTANCES, tmp_path)
    assert found.images[0].image == tmp_path / "a.png" and found.colours == {"car": (255, 0, 9)}
    assert painted(found, found.images[0]).tolist() == 4 * [[1, 1, 0, 0, 0, 0]]


@pytest.mark.parametrize("names", [("background", "car", "tree"), ("car", "tree", "sky")])
def test_what_predict_writes_comes_back_to_the_same_mask(names, tmp_path):
    label = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (20, 30))
    label = label.repeat(3, 0).repeat(3, 1)
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", label.shape[::-1]).save(tmp_path / "photos" / "a.png")
    classes = tuple(i for i, name in enumerate(names) if name != "background")
    if classes != (0, 1, 2):
        label[label == 255] = 0  # Where there is a background, it is what nothing covers.
    mask = tmp_path / "masks" / "a.png"
    Image.fromarray(label).save(mask)
    entry = types.SimpleNamespace(file_name="a.png")
    Coco(names, classes, 0.0).write(tmp_path / "masks" / "annotations.json", [(entry, mask)])
    files = FolderFiles(tmp_path / "masks", tmp_path / "photos")
    found = COCO_INSTANCES.read(files, Options())
    assert found.images[0].image == tmp_path / "photos" / "a.png"
    np.testing.assert_array_equal(painted(found, found.images[0]), label)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("../outside.jpg", r"names the file '\.\./outside\.jpg', which is not in"),
        ("b.jpg", r"names the file 'b\.jpg', which is not in .*a\.jpg"),
    ],
)
def test_an_image_that_is_missing_or_outside_the_source_is_named(image, words, tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "outside.jpg")
    images = [{"id": 1, "file_name": image}]
    write(tmp_path / "source", "all.json", image="a.jpg", images=images)
    found = read(COCO_INSTANCES, tmp_path / "source")
    assert not found.images and re.search(words, *found.problems)


def test_an_image_that_two_files_annotate_is_a_problem_that_names_both(tmp_path):
    for name in ("one.json", "two.json"):
        write(tmp_path, name, image="a.jpg")
    found = read(COCO_INSTANCES, tmp_path)
    assert len(found.images) == 1
    assert re.search(r"a\.jpg is annotated twice, in .*one.* and .*two", *found.problems)


def test_captions_and_keypoints_beside_the_objects_are_not_objects(tmp_path):
    one = [annotation(1, 2, box(0, 0, 2, 2))]
    write(tmp_path, annotations=one)
    captions = [{"id": 1, "image_id": 1, "caption": "a car"}]
    write(tmp_path, "annotations/captions_train2017.json", annotations=captions, categories=[])
    keypoints = [{**CATEGORIES[0], "keypoints": ["wheel"]}]
    path = "annotations/person_keypoints_train2017.json"
    write(tmp_path, path, annotations=one, categories=keypoints)
    assert table.recognized(FolderFiles(tmp_path)) == (
        COCO_INSTANCES,
        "COCO objects in instances_train2017.json",
    )
    assert len(read(COCO_INSTANCES, tmp_path).images) == 1
    (tmp_path / "annotations/instances_train2017.json").unlink()
    assert len(read(COCO_INSTANCES, tmp_path).images[0].regions) == 1


def test_other_json_files_are_not_coco(tmp_path):
    for number, text in enumerate(("{", "[]", '{"images": []}', '{"shapes": []}')):
        (tmp_path / f"{number}.json").write_text(text)
    assert COCO_INSTANCES.recognize(FolderFiles(tmp_path)) is None
    with pytest.raises(InputError, match="is not complete JSON"):
        read(COCO_INSTANCES, tmp_path)


def test_all_80_images_of_coco_are_painted_as_pycocotools_draws_them(real_data, capsys):
    from pycocotools.coco import COCO

    folder = real_data / "coco_mini"
    coco = COCO(folder / "annotations/instances_train2017.json")
    for crowds in ("ignore", "class"):
        found = read(COCO_INSTANCES, folder, crowds=crowds)
        assert len(found.images) == 80 and len(found.class_names) == 80
        assert sum(len(image.regions) for image in found.images) == 739
        numbers = {c["id"]: 1 + found.class_names.index(c["name"]) for c in coco.cats.values()}
        by_file = {entry["file_name"]: entry for entry in coco.imgs.values()}
        for image in found.images:
            entry = by_file[image.image.name]
            if crowds == "class" and not any(region.is_crowd for region in image.regions):
                continue  # Painted already.
            expected = np.zeros((entry["height"], entry["width"]), np.uint8)
            marked = expected > 0
            for each in coco.loadAnns(coco.getAnnIds(imgIds=entry["id"])):
                mask = coco.annToMask(each) == 1
                if each["iscrowd"] and crowds == "ignore":
                    marked |= mask
                else:
                    expected[mask] = numbers[each["category_id"]]
            expected[marked & (expected == 0)] = 255
            np.testing.assert_array_equal(painted(found, image), expected)


LAYOUTS = ("coco_instances", "coco_roboflow", "mmdet_coco", "coco")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_datumaros_fixtures_are_read_in_each_layout(layout, real_data):
    folder = real_data / "formats" / "coco_dataset" / layout
    found = read(COCO_INSTANCES, folder, crowds="class")
    assert found.class_names == ("a", "b", "c")
    assert [image.split for image in found.images] == ["train", "val"]
    boxed, outlined = all_painted(found).values()
    assert boxed.shape == (5, 10) and not boxed.any() and "no outline" in found.notes[0]
    # A crowd of 20 pixels down two columns covers the polygon of 2 pixels.
    assert outlined.T.tolist() == 2 * [[2] * 10] + 3 * [[0] * 10]

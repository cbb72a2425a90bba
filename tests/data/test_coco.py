"""COCO with its four sets of classes, from tiny folders in COCO's layout and real images."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from segjax.contracts import Dataset
from segjax.data import coco_index
from segjax.data.coco import COCO
from segjax.data.coco_classes import PANOPTIC, THINGS, VOC_CATEGORIES
from segjax.errors import InputError

# pycocotools 2.0.11 hands NumPy 2 arrays in NumPy 1's way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WIDTH, HEIGHT = 6, 2
PERSON, BICYCLE, BANNER = 1, 2, 92
TRAIN = "annotations/instances_train2017.json"


def columns(left, right):
    """A rectangle over the image's whole height."""
    return [[left, 0, right, 0, right, HEIGHT, left, HEIGHT]]


def annotation(category, segmentation, *, image=7, area=2000, crowd=0):
    return {
        "id": 1,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "area": area,
        "iscrowd": crowd,
    }


def write(root, annotations, *, split="train", images=(7,), categories=THINGS):
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / f"{split}2017").mkdir(exist_ok=True)
    for number in images:
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / f"{split}2017" / f"{number:012d}.jpg")
    contents = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg"} for n in images],
        "categories": [{"id": n, "name": name} for n, name in categories.items()],
        "annotations": annotations,
    }
    path = root / "annotations" / f"instances_{split}2017.json"
    path.write_text(json.dumps(contents))
    return path


CROWD = {"size": [HEIGHT, WIDTH], "counts": [0, 8, 4]}


def test_a_later_thing_covers_earlier_ones_and_crowds_lie_below_all(tmp_path):
    annotations = [
        annotation(PERSON, columns(0, 2)),
        annotation(BICYCLE, columns(1, 3)),
        annotation(PERSON, CROWD, crowd=1),
        annotation(PERSON, []),
    ]
    write(tmp_path, annotations)
    (example,) = dataset = COCO("train", str(tmp_path))
    assert isinstance(dataset, Dataset) and len(dataset.class_names) == 81
    assert example["label"].tolist() == HEIGHT * [[1, 2, 2, 255, 0, 0]]
    assert example["name"] == "000000000007" and example["image"].shape == (HEIGHT, WIDTH, 3)


def test_vocs_classes_are_255_where_objects_overlap_and_a_crowd_is_an_object(tmp_path):
    annotations = [
        annotation(PERSON, columns(0, 2)),
        annotation(BICYCLE, columns(1, 3)),
        annotation(3 + 7, columns(0, 6)),  # A traffic light, which VOC does not have.
    ]
    write(tmp_path, annotations)
    (example,) = COCO("train", str(tmp_path), classes="voc")
    assert example["label"].tolist() == HEIGHT * [[15, 255, 2, 0, 0, 0]]
    write(tmp_path, [annotation(PERSON, CROWD, crowd=1)])
    (example,) = COCO("train", str(tmp_path), classes="voc")
    assert example["label"].tolist() == HEIGHT * [[15, 15, 15, 15, 0, 0]]


def test_training_images_need_more_than_1000_pixels_of_vocs_classes(tmp_path):
    annotations = [
        annotation(PERSON, columns(0, 2), image=1, area=600),
        annotation(BICYCLE, columns(0, 2), image=1, area=400),  # 1000 together: not more.
        annotation(PERSON, columns(0, 2), image=2, area=1001),
        annotation(10, columns(0, 2), image=3, area=9999),
    ]
    for split in ("train", "val"):
        write(tmp_path, annotations, split=split, images=(3, 2, 1, 4))
    names = lambda **f: [int(e["name"]) for e in COCO(directory=str(tmp_path), **f)]
    assert names(classes="voc") == [2]
    assert names(classes="voc", split="val") == [1, 2, 3, 4]
    assert names(classes="things") == [1, 2, 3, 4]


@pytest.mark.parametrize("area", ["5", [5], True])
def test_an_area_that_is_not_a_number_is_named(area, tmp_path):
    write(tmp_path, [annotation(PERSON, columns(0, 2), area=area)])
    with pytest.raises(InputError, match=r"json, annotation 1 has area=.*, not a number"):
        COCO("train", str(tmp_path), classes="voc").prepare()
    assert len(COCO("train", str(tmp_path), classes="things")) == 1


def test_maps_of_stuff_are_171_classes_without_those_that_have_no_objects(tmp_path):
    write(tmp_path, [])
    folder = tmp_path / "stuffthingmaps" / "train2017"
    folder.mkdir(parents=True)
    ids = np.array([[0, 89, 91, 181, 255, 11]] * HEIGHT, np.uint8)  # 12 is the street sign.
    Image.fromarray(ids).save(folder / "000000000007.png")
    (example,) = dataset = COCO("train", str(tmp_path), classes="stuff")
    assert example["label"].tolist() == HEIGHT * [[0, 79, 80, 170, 255, 255]]
    names = [dataset.class_names[i] for i in (0, 79, 80, 170)]
    assert names == ["person", "toothbrush", "banner", "wood"]
    assert len(np.unique(dataset.palette[:171], axis=0)) == 171


def panoptic(root, *, segments=((300, BANNER), (5, PERSON))):
    write(root, [])
    folder = root / "annotations" / "panoptic_train2017"
    folder.mkdir(exist_ok=True)
    png = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    png[:, 1:3], png[:, 3:5] = (300 - 256, 1, 0), (5, 0, 0)
    Image.fromarray(png).save(folder / "000000000007.png")
    info = [{"id": n, "category_id": category, "iscrowd": 0} for n, category in segments]
    contents = {
        "images": [{"id": 7, "file_name": "000000000007.jpg"}],
        "categories": [{"id": n, "name": name} for n, name in PANOPTIC.items()],
        "annotations": [
            {"image_id": 7, "file_name": "000000000007.png", "segments_info": info}
        ],
    }
    path = root / "annotations" / "panoptic_train2017.json"
    path.write_text(json.dumps(contents))
    return folder / "000000000007.png"


def test_panoptic_segments_become_classes_and_void_is_ignored(tmp_path):
    png = panoptic(tmp_path)
    (example,) = dataset = COCO("train", str(tmp_path), classes="panoptic")
    assert len(dataset.class_names) == 133 and dataset.class_names[80] == "banner"
    assert example["label"].tolist() == HEIGHT * [[255, 80, 80, 0, 0, 255]]
    panoptic(tmp_path, segments=((300, BANNER),))
    with pytest.raises(InputError, match="shows the segment 5, which its `segments_info`"):
        COCO("train", str(tmp_path), classes="panoptic").prepare()
    path = tmp_path / "annotations/panoptic_train2017.json"
    correct = path.read_text()
    path.write_text(correct.replace('"file_name": "000000000007.png"', '"file_name": 7'))
    with pytest.raises(InputError, match="annotation .* has file_name=7: write the name of"):
        COCO("train", str(tmp_path), classes="panoptic").prepare()
    path.write_text(correct)
    png.unlink()
    with pytest.raises(InputError, match=r"lists the file 000000000007\.png, which is not in"):
        COCO("train", str(tmp_path), classes="panoptic").prepare()


def test_a_prepared_run_does_not_parse_the_json_and_a_changed_file_is_parsed(
    tmp_path, monkeypatch
):
    path = write(tmp_path, [annotation(PERSON, columns(0, 2))])
    first = COCO("train", str(tmp_path))
    assert first[0]["label"].max() == 1
    with monkeypatch.context() as patch:
        patch.setattr(coco_index, "_json", lambda path: pytest.fail("It was parsed."))
        again = COCO("train", str(tmp_path))
        assert len(again) == 1 and again.prepared_folder == first.prepared_folder
    write(tmp_path, [annotation(BICYCLE, columns(0, 2))])
    assert path.is_file() and COCO("train", str(tmp_path))[0]["label"].max() == 2


def test_what_does_not_fit_is_named_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match="COCO has the splits train, val, got 'test'"):
        COCO("test")
    with pytest.raises(InputError, match="things, .*, instances91, got classes='all'"):
        COCO(classes="all")
    with pytest.raises(InputError, match="COCO does not know where its files are.*--data"):
        COCO().prepare()
    with pytest.raises(InputError, match=r"instances_train2017\.json is missing"):
        COCO("train", str(tmp_path)).prepare()
    path = write(tmp_path, [annotation(PERSON, [[1, 1, 2, 2]])])
    with pytest.raises(InputError, match="annotation 1: its polygon has 4 numbers"):
        COCO("train", str(tmp_path)).prepare()
    write(tmp_path, [], categories={200: "whale"})
    with pytest.raises(InputError, match="200 'whale', which is not one of COCO's.*convert"):
        COCO("train", str(tmp_path)).prepare()
    write(tmp_path, [annotation(10, columns(0, 2))])
    with pytest.raises(InputError, match="lists no image with such classes"):
        COCO("train", str(tmp_path), classes="voc").prepare()
    (tmp_path / "train2017" / "000000000007.jpg").unlink()
    with pytest.raises(InputError, match=r"lists the file 000000000007\.jpg, which is not in"):
        COCO("train", str(tmp_path)).prepare()
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="cannot be read as JSON"):
        COCO("train", str(tmp_path)).prepare()
    path.write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        COCO("train", str(tmp_path)).prepare()


@pytest.mark.slow
def test_real_images_have_torchvisions_labels_of_vocs_classes(real_data):
    """By pycocotools and torchvision's rule: the class, and 255 where two objects meet."""
    from pycocotools import mask as coco_mask

    folder = real_data / "coco_mini"
    contents = json.loads((folder / TRAIN).read_text())
    dataset = COCO("train", str(folder), classes="voc")
    labels = {example["name"]: example["label"] for example in dataset}
    expected = {}
    for image in contents["images"]:
        size = image["height"], image["width"]
        objects = [
            a
            for a in contents["annotations"]
            if a["image_id"] == image["id"] and a["category_id"] in VOC_CATEGORIES
        ]
        if sum(a["area"] for a in objects) > 1000:
            masks, classes = np.zeros((1, *size), np.uint8), [0]
            for each in objects:
                mask = coco_mask.decode(coco_mask.frPyObjects(each["segmentation"], *size))
                mask = mask.reshape(*size, -1).any(-1)
                masks = np.concatenate([masks, mask[None]])
                classes.append(VOC_CATEGORIES.index(each["category_id"]))
            label = (masks * np.array(classes, np.uint8)[:, None, None]).max(0)
            label[masks.sum(0) > 1] = 255
            expected[image["file_name"].removesuffix(".jpg")] = label
    assert 40 < len(expected) < 80 and labels.keys() == expected.keys()
    for name, label in expected.items():
        np.testing.assert_array_equal(labels[name], label)


def test_real_panoptic_segments_are_prepared(real_data, tmp_path):
    source = real_data / "coco_panoptic"
    shutil.copytree(source / "input_images", tmp_path / "val2017")
    (tmp_path / "annotations").mkdir()
    shutil.copytree(source / "panoptic_examples", tmp_path / "annotations/panoptic_val2017")
    shutil.copyfile(
        source / "panoptic_examples.json", tmp_path / "annotations/panoptic_val2017.json"
    )
    dataset = COCO("val", str(tmp_path), classes="panoptic")
    shown = [
        {dataset.class_names[i] for i in np.unique(e["label"]) if i != 255} for e in dataset
    ]
    contents = json.loads((source / "panoptic_examples.json").read_text())
    listed = {
        a["file_name"]: {PANOPTIC[s["category_id"]] for s in a["segments_info"]}
        for a in contents["annotations"]
    }
    assert shown == [names for _, names in sorted(listed.items())]
    assert [len(names) for names in shown] == [5, 7]

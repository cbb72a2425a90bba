"""COCO's objects: boxes and masks as pycocotools has them, crowds, gaps of ids, faults."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from segjax.conformity import has_objects
from segjax.data.coco import COCO
from segjax.data.coco_classes import PANOPTIC, THINGS
from segjax.data.object_checks import check_objects
from segjax.errors import InputError
from segjax.objects import ENTRIES, Objects, PanopticMap
from segjax.transforms.center_targets import CenterTargets
from segjax.transforms.geometric import crop
from segjax.transforms.objects import PackObjects

# pycocotools 2.0.11 hands NumPy 2 arrays in NumPy 1's way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WIDTH, HEIGHT = 6, 2
PERSON, BANNER, BOOK = 1, 92, 84
CROWD = {"size": [HEIGHT, WIDTH], "counts": [0, 8, 4]}


def columns(left, right):
    """A rectangle over the image's whole height."""
    return [[left, 0, right, 0, right, HEIGHT, left, HEIGHT]]


def annotation(number, category, left, right, **changes):
    return {
        "id": number,
        "image_id": 7,
        "category_id": category,
        "segmentation": columns(left, right),
        "bbox": [left, 0, right - left, HEIGHT],
        "iscrowd": 0,
    } | changes


def write(root, annotations, *, split="train", images=(7,)):
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / f"{split}2017").mkdir(exist_ok=True)
    for number in images:
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / f"{split}2017" / f"{number:012d}.jpg")
    contents = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg"} for n in images],
        "categories": [{"id": n, "name": name} for n, name in THINGS.items()],
        "annotations": annotations,
    }
    (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(contents))
    return str(root)


def layer_of(example, place):
    return (example["instances"] == example["instance_ids"][place]).any(-1)


def test_objects_that_overlap_lie_in_layers_with_boxes_of_their_own_and_crowds_are_said(
    tmp_path,
):
    objects = [
        annotation(11, PERSON, 0, 3, bbox=[0.25, 0.5, 2.5, 1.25]),
        annotation(12, BOOK, 2, 4),
        annotation(13, PERSON, 0, 4, segmentation=CROWD, iscrowd=1),
    ]
    (example,) = dataset = COCO("val", write(tmp_path, objects, split="val"), "instances")
    assert example["boxes"].tolist() == [[0.25, 0.5, 2.75, 1.75], [2, 0, 4, 2], [0, 0, 4, 2]]
    assert [dataset.class_names[i] for i in example["classes"]] == ["person", "book", "person"]
    assert example["instance_ids"].tolist() == [1, 2, 3]
    assert example["crowd"].tolist() == [False, False, True]
    assert layer_of(example, 0).tolist() == HEIGHT * [[1, 1, 1, 0, 0, 0]]
    assert layer_of(example, 1).tolist() == HEIGHT * [[0, 0, 1, 1, 0, 0]]
    assert layer_of(example, 2).tolist() == HEIGHT * [[1, 1, 1, 1, 0, 0]]
    assert example["instances"].shape == (HEIGHT, WIDTH, 3)
    types = [example[key].dtype.name for key in ENTRIES]
    assert types == ["float32", "int32", "int32", "bool", "uint16"]
    assert example["label"].tolist() == HEIGHT * [[1, 1, 74, 74, 0, 0]]


@pytest.mark.parametrize("unstated", [{}, {"area": None}])
def test_areas_are_those_of_the_annotations_and_of_the_mask_where_none_is_stated(
    unstated, tmp_path
):
    objects = [annotation(1, PERSON, 0, 3, area=702.125), annotation(2, BOOK, 2, 4, **unstated)]
    (example,) = COCO("val", write(tmp_path / "a", objects, split="val"), "instances")
    assert example["areas"].dtype == np.float64 and example["areas"].tolist() == [702.125, 4]
    check_objects(example, range(81), range(1, 81))
    dropped = [annotation(9, PERSON, 3, 3, area=9), *objects]
    (example,) = COCO("val", write(tmp_path / "b", dropped, split="val"), "instances")
    assert example["areas"].tolist() == [702.125, 4]
    (example,) = COCO("val", write(tmp_path / "c", objects[1:], split="val"), "instances")
    assert "areas" not in example


@pytest.mark.parametrize("area", ["12", -1, True, float("nan"), [4]])
def test_an_area_that_is_no_number_of_pixels_is_named(tmp_path, area):
    objects = [annotation(5, PERSON, 0, 3, area=area)]
    directory = write(tmp_path, objects, split="val")
    with pytest.raises(InputError, match=r"annotation 5 has area=.*, not a number of pixels"):
        COCO("val", directory, "instances").prepare()


def test_areas_follow_their_objects_and_slots_leave_them_out(tmp_path):
    objects = [annotation(1, PERSON, 0, 2, area=70), annotation(2, BOOK, 3, 6, area=80)]
    (example,) = COCO("val", write(tmp_path, objects, split="val"), "instances")
    cut = crop(example, 0, 3, (HEIGHT, 3), by="test")
    assert cut["areas"].tolist() == [80]
    for last in (PackObjects(4), CenterTargets()):
        assert "areas" not in last(example, np.random.default_rng(0))
    with pytest.raises(InputError, match="'areas' must be float64 of shape"):
        check_objects({**example, "areas": np.zeros(3)}, range(81), range(1, 81))


def test_classes_are_80_behind_a_background_or_coco_s_own_ids_with_gaps(tmp_path):
    directory = write(tmp_path, [annotation(1, BOOK, 0, 3)])
    ours, theirs = (COCO("train", directory, kind) for kind in ("instances", "instances91"))
    assert ours.class_names == COCO().class_names and ours.things == (*range(1, 81),)
    assert theirs.things == (*THINGS,) and len(theirs.class_names) == 91
    assert [i for i, name in enumerate(theirs.class_names) if name == "N/A"] == [
        *(12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
    ]
    assert theirs[0]["classes"].tolist() == [BOOK] and theirs[0]["label"].max() == BOOK
    assert ours.file_ids == (0, *THINGS, 255) and theirs.file_ids == (*range(91), 255)
    for dataset in (ours, theirs):
        assert dataset.class_names[dataset[0]["classes"][0]] == "book"
        assert has_objects(dataset) and not has_objects(COCO())


def test_images_to_train_on_have_a_box_longer_than_a_pixel_and_others_may_have_none(tmp_path):
    objects = [
        annotation(1, PERSON, 0, 3),
        annotation(2, PERSON, 0, 3, image_id=8, bbox=[0, 0, 5, 1]),
    ]
    for split in ("train", "val"):
        write(tmp_path, objects, split=split, images=(7, 8, 9))
    found = lambda split: [*COCO(split, str(tmp_path), "instances")]
    assert [int(e["name"]) for e in found("train")] == [7]
    counts = {int(e["name"]): len(e["boxes"]) for e in found("val")}
    assert counts == {7: 1, 8: 1, 9: 0}
    empty = found("val")[-1]
    assert empty["boxes"].shape == (0, 4) and empty["instances"].shape == (HEIGHT, WIDTH, 1)
    assert len(Objects.of_example(empty)) == 0


BROKEN = {
    "has a box without area (x 1 to 1 and y 0 to 2)": {"bbox": [1, 0, 0, 2]},
    "has a box without area (x 3 to 1 and y 0 to 2)": {"bbox": [3, 0, -2, 2]},
    "has a box with x nan to nan and y 0 to 2, which are not places": {
        "bbox": [float("nan"), 0, 1, 2]
    },
    "lies outside of its image of 6x2 pixels (x 6 to 9 and y 0 to 2)": {"bbox": [6, 0, 3, 2]},
    "has a mask without a pixel in its image": {"segmentation": columns(7, 9)},
    "has an id that an earlier object of its image has": {"id": 1},
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_object_is_left_out_and_said_or_refused_with_its_file_and_id(
    fault, tmp_path, capsys
):
    objects = [annotation(1, PERSON, 0, 3), annotation(2, BOOK, 1, 4, **BROKEN[fault])]
    directory = write(tmp_path, objects)
    (example,) = COCO("train", directory, "instances")
    assert example["classes"].tolist() == [1]
    number = 1 if "id" in BROKEN[fault] else 2
    path = tmp_path / "annotations/instances_train2017.json"
    said = f"1 object is left out, the first because {path}, annotation {number} {fault}."
    assert said in capsys.readouterr().err
    with pytest.raises(InputError) as error:
        COCO("train", directory, "instances", broken_objects="refuse").prepare()
    assert str(error.value) == (
        f"{path}, annotation {number} {fault}: correct it, delete it, or set "
        "broken_objects='drop'."
    )


def test_a_box_that_leaves_its_image_is_cut_at_the_border(tmp_path):
    (example,) = COCO(
        "train", write(tmp_path, [annotation(1, PERSON, -3, 9)]), "instances", False, "refuse"
    )
    assert example["boxes"].tolist() == [[0, 0, WIDTH, HEIGHT]] and layer_of(example, 0).all()


@pytest.mark.parametrize(
    "box",
    [[0, "3"], [1, 2, "a", 3], [1, 2, None, 4], [0, 0, 10**400, 5]],
    ids=["two", "text", "null", "huge"],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_box_that_is_not_four_numbers_is_named_in_every_split(tmp_path, split, box):
    directory = write(tmp_path, [annotation(5, PERSON, 0, 3, bbox=box)], split=split)
    with pytest.raises(InputError, match=r"annotation 5 has bbox=.*, not \[x, y, width, hei"):
        COCO(split, directory, "instances").prepare()


def test_a_box_that_cannot_be_read_and_fields_that_do_not_fit_are_named(tmp_path):
    directory = write(tmp_path, [annotation(5, PERSON, 0, 3, bbox=[0, "3"])], split="val")
    with pytest.raises(InputError, match=r"annotation 5 has bbox=.*, not \[x, y, width, hei"):
        COCO("val", directory, "instances").prepare()
    with pytest.raises(
        InputError, match="objects=True and classes='voc', which has no objects"
    ):
        COCO("train", directory, "voc", objects=True)
    with pytest.raises(
        InputError, match="COCO has broken_objects='keep': write one of 'refuse'"
    ):
        COCO("train", directory, "instances", broken_objects="keep")
    with pytest.raises(InputError, match="broken_objects='drop', but its examples have no obj"):
        COCO("train", directory, broken_objects="drop")


def test_a_second_run_uses_the_cache_and_other_choices_have_folders_of_their_own(
    tmp_path, capsys
):
    directory = write(tmp_path, [annotation(1, PERSON, 0, 3)])
    first = COCO("train", directory, "instances")
    first.prepare()
    assert "Preparing" in capsys.readouterr().err
    again = COCO("train", directory, "instances")
    assert again.prepared_folder == first.prepared_folder
    np.testing.assert_array_equal(again[0]["instances"], first[0]["instances"])
    assert "Preparing" not in capsys.readouterr().err
    kinds = [COCO("train", directory), COCO("train", directory, "instances", True, "refuse")]
    assert len({first.prepared_folder, *(each.prepared_folder for each in kinds)}) == 3
    assert not {*ENTRIES} & kinds[0][0].keys()


def panoptic_folder(root, segments):
    write(root, [])
    folder = root / "annotations" / "panoptic_train2017"
    folder.mkdir(exist_ok=True)
    png = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    png[:, 1:3], png[:, 3:5], png[:, 5] = (44, 1, 0), (0, 0, 1), (7, 0, 0)
    Image.fromarray(png).save(folder / "000000000007.png")
    contents = {
        "images": [{"id": 7, "file_name": "000000000007.jpg"}],
        "categories": [{"id": n, "name": name} for n, name in PANOPTIC.items()],
        "annotations": [
            {"image_id": 7, "file_name": "000000000007.png", "segments_info": segments}
        ],
    }
    (root / "annotations" / "panoptic_train2017.json").write_text(json.dumps(contents))
    return str(root)


def segment(number, category, crowd=0):
    return {"id": number, "category_id": category, "iscrowd": crowd}


def test_things_of_the_panoptic_png_are_objects_and_stuff_is_not(tmp_path):
    segments = [segment(65536, BOOK), segment(300, BANNER), segment(7, PERSON, crowd=1)]
    directory = panoptic_folder(tmp_path, segments)
    (plain,) = COCO("train", directory, "panoptic")
    (example,) = dataset = COCO("train", directory, "panoptic", objects=True)
    assert dataset.things == (*range(80),) and not {*ENTRIES} & plain.keys()
    np.testing.assert_array_equal(example["label"], plain["label"])
    assert [dataset.class_names[i] for i in example["classes"]] == ["book", "person"]
    assert example["boxes"].tolist() == [[3, 0, 5, 2], [5, 0, 6, 2]]
    assert example["crowd"].tolist() == [False, True]
    assert example["instances"][..., 0].tolist() == HEIGHT * [[0, 0, 0, 1, 1, 2]]


def test_a_segment_that_is_listed_twice_is_named(tmp_path):
    segments = [segment(65536, BOOK), segment(300, BANNER), segment(7, PERSON)]
    directory = panoptic_folder(tmp_path, [*segments, segment(7, BOOK)])
    with pytest.raises(InputError, match=r"0007\.png, object 7 is listed twice in"):
        COCO("train", directory, "panoptic", True, "refuse").prepare()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["instances", "instances91"])
def test_real_annotations_are_as_pycocotools_decodes_them(kind, real_data):
    from pycocotools import mask as coco_mask

    folder = real_data / "coco_mini"
    contents = json.loads((folder / "annotations/instances_train2017.json").read_text())
    categories = {each["id"]: each["name"] for each in contents["categories"]}
    images = {image["id"]: image for image in contents["images"]}
    listed = {number: [] for number in images}
    for each in contents["annotations"]:
        listed[each["image_id"]].append(each)
    count, crowds = 0, 0
    for example in (dataset := COCO("train", str(folder), kind, broken_objects="refuse")):
        image = images[int(example["name"])]
        size = image["height"], image["width"]
        annotations = listed[image["id"]]
        assert len(annotations) == len(example["boxes"]) == len(Objects.of_example(example))
        for place, each in enumerate(annotations):
            runs = coco_mask.frPyObjects(each["segmentation"], *size)
            runs = coco_mask.merge(runs) if isinstance(runs, list) else runs
            mask = layer_of(example, place)
            np.testing.assert_array_equal(mask, coco_mask.decode(runs).astype(bool))
            assert mask.sum() == coco_mask.area(runs)
            x, y, w, h = each["bbox"]
            expected = np.float32([x, y, min(x + w, size[1]), min(y + h, size[0])])
            assert example["boxes"][place].tolist() == expected.tolist()
            name = dataset.class_names[example["classes"][place]]
            assert name == categories[each["category_id"]]
            assert example["crowd"][place] == each["iscrowd"]
            count, crowds = count + 1, crowds + each["iscrowd"]
    assert (count, crowds) == (739, 8)


def test_real_panoptic_objects_are_the_things_of_the_png(real_data, tmp_path):
    source = real_data / "coco_panoptic"
    shutil.copytree(source / "input_images", tmp_path / "val2017")
    (tmp_path / "annotations").mkdir()
    shutil.copytree(source / "panoptic_examples", tmp_path / "annotations/panoptic_val2017")
    shutil.copyfile(
        source / "panoptic_examples.json", tmp_path / "annotations/panoptic_val2017.json"
    )
    contents = json.loads((source / "panoptic_examples.json").read_text())
    of_image = {f"{a['image_id']:012d}": a for a in contents["annotations"]}
    dataset = COCO("val", str(tmp_path), "panoptic", objects=True, broken_objects="refuse")
    for example in dataset:
        listed = of_image[example["name"]]
        things = [s for s in listed["segments_info"] if s["category_id"] in THINGS]
        red, green, blue = np.moveaxis(
            np.asarray(Image.open(source / "panoptic_examples" / listed["file_name"])), -1, 0
        ).astype(int)
        ids = red + 256 * green + 65536 * blue
        assert example["instances"].shape[-1] == 1 and len(things) == len(example["boxes"]) > 3
        for place, each in enumerate(things):
            x, y, w, h = each["bbox"]
            assert example["boxes"][place].tolist() == [x, y, x + w, y + h]
            np.testing.assert_array_equal(layer_of(example, place), ids == each["id"])
            assert (
                dataset.class_names[example["classes"][place]] == PANOPTIC[each["category_id"]]
            )
            assert example["crowd"][place] == each["iscrowd"]
        whole = PanopticMap.of_example(example, dataset.things)
        assert {s.class_id for s in whole.segments} == {
            [*PANOPTIC].index(s["category_id"]) for s in listed["segments_info"]
        }
        np.testing.assert_array_equal(whole.ids > 0, ids > 0)

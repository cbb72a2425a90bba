import shutil

import numpy as np
import pytest
from PIL import Image

from segjax.contracts import Dataset
from segjax.data.cityscapes import Cityscapes
from segjax.errors import InputError


def add(root, frame, ids, *, split="val", annotation="gtFine"):
    """A frame of 2 × n pixels with the label ids, in Cityscapes' layout."""
    city = frame.split("_")[0]
    images, labels = (root / name / split / city for name in ("leftImg8bit", annotation))
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    ids = np.array([ids, ids], np.uint8)
    Image.fromarray(np.stack([ids] * 3, -1)).save(images / f"{frame}_leftImg8bit.png")
    Image.fromarray(ids).save(labels / f"{frame}_{annotation}_labelIds.png")
    # What lies beside the labels, and must not be taken for them.
    Image.fromarray(ids + 100).save(labels / f"{frame}_{annotation}_labelTrainIds.png")
    Image.fromarray(np.stack([ids] * 4, -1)).save(labels / f"{frame}_{annotation}_color.png")
    (labels / f"{frame}_{annotation}_polygons.json").write_text("{}")
    return labels / f"{frame}_{annotation}_labelIds.png"


def test_label_ids_become_train_ids_and_those_without_a_class_255(tmp_path):
    add(tmp_path, "bonn_000001_000019", range(34))
    (example,) = Cityscapes("val", str(tmp_path))
    train_ids = [255] * 34
    counted = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    for train_id, label in enumerate(counted):
        train_ids[label] = train_id
    assert example["label"][0].tolist() == train_ids


def test_frames_of_all_cities_come_in_order_under_their_own_names(tmp_path):
    for frame in ("ulm_000000_000019", "bonn_000001_000019", "ulm_000000_000002"):
        add(tmp_path, frame, [7, int(frame[-2:])])
    dataset = Cityscapes("val", str(tmp_path))
    assert isinstance(dataset, Dataset)
    names = ["bonn_000001_000019", "ulm_000000_000002", "ulm_000000_000019"]
    assert [example["name"] for example in dataset] == names
    assert [int(example["image"][0, 1, 0]) for example in dataset] == [19, 2, 19]


def test_train_extra_is_read_from_the_coarse_labels(tmp_path):
    add(tmp_path, "trier_0_1", [26, 3], split="train_extra", annotation="gtCoarse")
    (example,) = Cityscapes("train_extra", str(tmp_path))
    assert example["label"][0].tolist() == [13, 255]


def test_classes_have_cityscapes_names_and_colours():
    dataset = Cityscapes()
    assert len(dataset.class_names) == 19
    car = dataset.class_names.index("car")
    assert car == 13 and dataset.palette[car].tolist() == [0, 0, 142]


def test_what_is_missing_or_unknown_is_named(tmp_path):
    with pytest.raises(InputError, match="train, val, train_extra, got 'test'"):
        Cityscapes("test")
    with pytest.raises(InputError, match="leftImg8bit/ and gtFine/"):
        Cityscapes().prepare()
    labels = add(tmp_path, "bonn_000001_000019", [7, 40])
    with pytest.raises(InputError, match=r"labelIds\.png has the label id 40"):
        Cityscapes("val", str(tmp_path)).prepare()
    labels.unlink()
    with pytest.raises(
        InputError, match=r"000019 has no .*/bonn_000001_000019_gtFine_labelIds"
    ):
        Cityscapes("val", str(tmp_path)).prepare()
    for image in tmp_path.glob("leftImg8bit/val/*/*.png"):
        image.unlink()
    with pytest.raises(InputError, match=r"has no frames \*/\*_leftImg8bit\.png"):
        Cityscapes("val", str(tmp_path)).prepare()


def test_a_frame_that_lies_there_twice_is_refused(tmp_path):
    add(tmp_path, "bonn_000001_000019", [7])
    copied = tmp_path / "leftImg8bit/val/bonn copied"
    shutil.copytree(tmp_path / "leftImg8bit/val/bonn", copied)
    with pytest.raises(InputError, match=r"bonn_.*png and .*/bonn/bonn.* are one frame: move"):
        Cityscapes("val", str(tmp_path)).prepare()


def test_a_real_frame_has_the_train_ids_that_cityscapes_scripts_made(real_data):
    dataset = Cityscapes("val", str(real_data / "cityscapes"))
    (example,) = dataset
    assert example["name"] == "frankfurt_000000_000294"
    (path,) = (real_data / "cityscapes").rglob("*_labelTrainIds.png")
    train_ids = np.asarray(Image.open(path))
    # Both files were made smaller, each by itself: pixels of borders differ (77 of 32768).
    assert (example["label"] == train_ids).mean() > 0.997
    for train_id in np.unique(example["label"]):
        theirs = train_ids[example["label"] == train_id]
        assert np.bincount(theirs).argmax() == train_id
    assert example["image"].shape == (128, 256, 3)


def add_objects(root, frame, ids, *, split="val"):
    folder = root / "gtFine" / split / frame.split("_")[0]
    path = folder / f"{frame}_gtFine_instanceIds.png"
    Image.fromarray(np.array([ids, ids], np.uint16)).save(path)
    return path


def test_objects_are_the_instance_ids_of_things_and_groups_are_crowds(tmp_path):
    add(tmp_path, "bonn_000001_000019", [7, 24, 24, 26, 29, 33])
    add_objects(tmp_path, "bonn_000001_000019", [7, 24000, 24001, 26, 29000, 33002])
    (example,) = panoptic = Cityscapes("val", str(tmp_path), objects=True)
    assert panoptic.things == (*range(11, 19),) and len(panoptic.class_names) == 19
    assert example["instance_ids"].tolist() == [26, 24000, 24001, 33002]
    assert example["crowd"].tolist() == [True, False, False, False]
    names = [panoptic.class_names[i] for i in example["classes"]]
    assert names == ["car", "person", "person", "bicycle"]
    assert example["instances"][0, :, 0].tolist() == [0, 24000, 24001, 26, 0, 33002]
    assert example["label"][0].tolist() == [0, 11, 11, 13, 255, 18]
    (example,) = things = Cityscapes("val", str(tmp_path), classes="instances")
    assert things.class_names[:2] == ("background", "person") and things.things == (
        *range(1, 9),
    )
    assert example["classes"].tolist() == [3, 1, 1, 8]
    assert example["label"][0].tolist() == [0, 1, 1, 3, 255, 8]
    assert things.palette[[0, 3]].tolist() == [[0, 0, 0], [0, 0, 142]]


def test_a_frame_without_instance_ids_is_named_where_objects_are_asked_for(tmp_path):
    add(tmp_path, "bonn_000001_000019", [7, 24])
    assert len(Cityscapes("val", str(tmp_path))) == 1
    with pytest.raises(InputError, match="has no .*/bonn_000001_000019_gtFine_instanceIds.png"):
        Cityscapes("val", str(tmp_path), objects=True).prepare()
    add_objects(tmp_path, "bonn_000001_000019", [7, 24, 24])
    with pytest.raises(InputError, match="instanceIds.png is 3x2 pixels, but its image is 2x2"):
        Cityscapes("val", str(tmp_path), objects=True).prepare()
    with pytest.raises(InputError, match="Cityscapes has the classes all, instances, got clas"):
        Cityscapes(classes="things")
    with pytest.raises(InputError, match="Cityscapes has broken_objects='drop', but its exam"):
        Cityscapes(broken_objects="drop")


def test_real_objects_are_those_of_the_instance_ids(real_data):
    path = next((real_data / "cityscapes/gtFine").rglob("*_instanceIds.png"))
    with Image.open(path) as image:
        ids = np.asarray(image).astype(int)
    (example,) = Cityscapes("val", str(real_data / "cityscapes"), objects=True)
    things = [i for i in np.unique(ids).tolist() if i >= 24000]
    assert example["instance_ids"].tolist() == things and len(things) == 7
    np.testing.assert_array_equal(example["instances"][..., 0], np.where(ids < 24000, 0, ids))
    for number, class_id in zip(things, example["classes"].tolist(), strict=True):
        label = example["label"][ids == number]
        assert set(np.unique(label)) <= {class_id, 255} and class_id in label

"""SBD and trainaug from folders as the two archives have them, with few images."""

import io
import logging
import pathlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from segjax.announce import LOGGER
from segjax.contracts import Dataset
from segjax.data.sbd import SBD, TRAINAUG, TrainAug, trainaug
from segjax.data.sbd_mat import class_ids
from segjax.data.voc import VOC
from segjax.errors import InputError


def voc(root, train, val):
    base = root / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / name).mkdir(parents=True, exist_ok=True)
    for split, stems in (("train", train), ("val", val)):
        (base / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(stems))
        for stem in stems:
            Image.new("RGB", (3, 2)).save(base / "JPEGImages" / f"{stem}.jpg")
            mask = np.array([[0, 15, 255], [0, 15, 255]], np.uint8)
            Image.fromarray(mask).save(base / "SegmentationClass" / f"{stem}.png")
    return base


def sbd(root, train, val, *, ids=((0, 3, 3), (0, 3, 3))):
    base = root / "benchmark_RELEASE" / "dataset"
    for name in ("img", "cls"):
        (base / name).mkdir(parents=True, exist_ok=True)
    for split, stems in (("train", train), ("val", val)):
        (base / f"{split}.txt").write_text("\n".join(stems))
        for stem in stems:
            Image.new("RGB", (3, 2)).save(base / "img" / f"{stem}.jpg")
            classes = {"GTcls": {"Segmentation": np.array(ids, np.uint8)}}
            savemat(base / "cls" / f"{stem}.mat", classes)
    return base


def test_sbds_labels_are_read_from_its_matlab_files(tmp_path):
    base = sbd(tmp_path, ["2008_2", "2008_1"], ["2008_3"])
    for folder in (tmp_path, base.parent, base):
        dataset = SBD("train", str(folder))
        assert [example["name"] for example in dataset] == ["2008_2", "2008_1"]
    assert isinstance(dataset, Dataset) and len(dataset.class_names) == 21
    assert dataset[0]["label"].tolist() == [[0, 3, 3], [0, 3, 3]]
    assert dataset[0]["image"].shape == (2, 3, 3) and len(SBD("val", str(tmp_path))) == 1


def test_trainaug_is_vocs_train_and_sbd_without_vocs_val(tmp_path, capsys):
    voc(tmp_path, ["2007_1", "2007_3"], ["2007_2", "2008_5"])
    sbd(tmp_path, ["2008_1", "2007_2", "2007_3"], ["2008_5", "2008_4"])
    dataset = TrainAug(str(tmp_path))
    labels = {example["name"]: example["label"] for example in dataset}
    assert list(labels) == ["2007_1", "2007_3", "2008_1", "2008_4"]
    # VOC's own masks have borders; 2007_3 stands in both.
    assert [255 in label for label in labels.values()] == [True, True, False, False]
    assert len(VOC("val", str(tmp_path))) == 2 and "TrainAug" not in capsys.readouterr().err


def test_trainaugs_algebra_is_that_of_sets_for_any_lists():
    rng = np.random.default_rng(0)
    for _ in range(50):
        train, val, listed = (
            [f"{n:03d}" for n in rng.permutation(200)[: rng.integers(1, 150)]] for _ in range(3)
        )
        train = [stem for stem in train if stem not in val]
        found = trainaug(train, val, listed)
        assert found == sorted(found) and not {*found} & {*val}
        assert {*found} == {*train} | ({*listed} - {*val})


def test_the_published_sizes_give_the_published_number_where_2237_images_are_in_both():
    """Made names: 1464 + 1449 images of VOC, 11,355 of SBD; how many are shared follows."""
    stems = [f"{n:05d}" for n in range(1464 + 1449 + 9118)]
    train, val, others = stems[:1464], stems[1464:2913], stems[2913:]
    sbd_lists = train[:1200] + val[: 2237 - 1200] + others
    assert len(sbd_lists) == 8498 + 2857
    assert len(trainaug(train, val, sbd_lists)) == TRAINAUG


def test_a_count_that_differs_from_the_published_one_is_said_by_commands(tmp_path, capsys):
    voc(tmp_path, ["2007_1"], ["2007_2"])
    sbd(tmp_path, ["2008_1"], ["2008_2"])
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    try:
        TrainAug(str(tmp_path)).prepare()
    finally:
        LOGGER.setLevel(level)
    said = capsys.readouterr().err
    assert "TrainAug has 3 images; the complete archives have 10582." in said


@pytest.mark.parametrize("name", ["img/2008_1.jpg", "cls/2008_1.mat"])
def test_a_file_that_a_list_names_and_that_is_missing_is_named(name, tmp_path):
    voc(tmp_path, ["2007_1"], ["2007_2"])
    base = sbd(tmp_path, ["2008_1", "2008_2"], ["2008_3"])
    (base / name).unlink()
    for dataset in (SBD("train", str(tmp_path)), TrainAug(str(tmp_path))):
        with pytest.raises(
            InputError, match=rf"dataset/{name} is missing.*a list names 2008_1"
        ):
            dataset.prepare()


def test_folders_splits_sizes_and_ids_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(InputError, match="SBD has the splits train, val, got 'trainval'"):
        SBD("trainval")
    with pytest.raises(InputError, match="TrainAug does not know where its files are.*--data"):
        TrainAug().prepare()
    with pytest.raises(InputError, match="no folder .*VOCdevkit/VOC2012/JPEGImages: put the"):
        TrainAug(str(tmp_path)).prepare()
    voc(tmp_path, ["2007_1"], ["2007_2"])
    with pytest.raises(
        InputError, match="no folder .*benchmark_RELEASE/dataset/cls: put SBD's"
    ):
        TrainAug(str(tmp_path)).prepare()
    sbd(tmp_path, ["2008_1"], ["2008_2"], ids=((0, 21, 0), (0, 0, 0)))
    with pytest.raises(
        InputError, match=r"2008_1\.mat has the label id 21, but the 21 classes"
    ):
        SBD("train", str(tmp_path)).prepare()
    sbd(tmp_path, ["2008_1"], ["2008_2"], ids=((0, 1), (0, 0)))
    with pytest.raises(InputError, match=r"2008_1\.mat is 2x2 pixels, but its image .* is 3x2"):
        SBD("train", str(tmp_path)).prepare()


def test_a_matlab_file_that_changes_is_prepared_again(tmp_path):
    base = sbd(tmp_path, ["2008_1"], ["2008_2"])
    first = SBD("train", str(tmp_path))
    assert first[0]["label"].max() == 3
    assert SBD("train", str(tmp_path)).prepared_folder == first.prepared_folder
    classes = {"GTcls": {"Segmentation": np.full((2, 3), 7, np.uint8)}}
    savemat(base / "cls" / "2008_1.mat", classes)
    assert SBD("train", str(tmp_path))[0]["label"].max() == 7


@pytest.mark.parametrize("strange", [256, -1, 700])
def test_numbers_beyond_8_bits_are_named_and_do_not_become_other_classes(strange):
    data, name = io.BytesIO(), pathlib.Path("2008_1.mat")
    segmentation = np.array([[0, 3, strange]], np.int16)
    savemat(data, {"GTcls": {"Segmentation": segmentation}})
    with pytest.raises(InputError, match=f"2008_1.mat has {strange} in GTcls.Segmentation"):
        class_ids(data.getvalue(), name=name)

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from segjax.contracts import Dataset
from segjax.data.ade20k import ADE20K
from segjax.errors import InputError


def add(root, ids, *, name="ADE_val_00000001", folder="validation"):
    images, masks = (root / kind / folder for kind in ("images", "annotations"))
    for path in (images, masks):
        path.mkdir(parents=True, exist_ok=True)
    ids = np.array([ids], np.uint8)
    Image.fromarray(ids).save(images / f"{name}.jpg")  # Some of ADE20K's are grey too.
    Image.fromarray(ids).save(masks / f"{name}.png")


def test_id_0_is_ignored_and_the_others_begin_at_0(tmp_path):
    add(tmp_path, range(151))
    (example,) = dataset = ADE20K("val", str(tmp_path))
    assert isinstance(dataset, Dataset)
    assert example["label"][0].tolist() == [255, *range(150)]
    assert example["image"].shape == (1, 151, 3) and example["name"] == "ADE_val_00000001"


def test_each_split_has_its_folder(tmp_path):
    add(tmp_path, [1], name="ADE_train_00000001", folder="training")
    add(tmp_path, [2])
    for split, name in (("train", "ADE_train_00000001"), ("val", "ADE_val_00000001")):
        assert [e["name"] for e in ADE20K(split, str(tmp_path))] == [name]


def test_classes_have_names_and_colours_of_their_own():
    dataset = ADE20K()
    assert len(set(dataset.class_names)) == 150
    assert len(np.unique(dataset.palette[:150], axis=0)) == 150


def test_what_is_missing_or_unknown_is_named(tmp_path):
    with pytest.raises(InputError, match="train, val, got 'validation'"):
        ADE20K("validation")
    with pytest.raises(InputError, match="images/ and annotations/"):
        ADE20K().prepare()
    add(tmp_path, [1, 151])
    with pytest.raises(InputError, match="has the label id 151, but the 150 classes"):
        ADE20K("val", str(tmp_path)).prepare()
    (tmp_path / "annotations" / "validation" / "ADE_val_00000001.png").unlink()
    with pytest.raises(InputError, match=r"has no mask .*ADE_val_00000001"):
        ADE20K("val", str(tmp_path)).prepare()


def test_names_are_the_first_synonyms_of_the_real_list_which_has_blanks_as_separators_too(
    real_data,
):
    with (real_data / "ade20k" / "objectInfo150.csv").open() as file:
        listed = [row["Name"].split(";") for row in csv.DictReader(file)]
    for ours, words in zip(ADE20K().class_names, listed, strict=True):
        assert ours.split() == words[: len(ours.split())]


def test_real_annotations_have_the_classes_that_the_images_show(real_data, tmp_path):
    for kind in ("images", "annotations"):
        shutil.copytree(real_data / "ade20k" / kind, tmp_path / kind / "validation")
    dataset = ADE20K("val", str(tmp_path))
    shown = []
    for example in dataset:
        ids, counts = np.unique(example["label"], return_counts=True)
        shown.append({dataset.class_names[i] for i in ids if i != 255})
        assert example["label"].shape == example["image"].shape[:2] and counts.sum() > 0
    assert [len(names) for names in shown] == [7, 6, 12]
    assert {"wall", "building", "sky", "tree", "road", "grass", "plant"} == shown[0]

import io
import os
import pathlib
import pickle
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from segjax.contracts import LabelledDataset
from segjax.data.tfds_source import TFDS
from segjax.errors import InputError

NAMES = ("pet", "background", "border")
TRIMAP = ((1, 0), (2, 1), (3, 2))


def png(array):
    data = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(data, "PNG")
    return data.getvalue()


class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Images and trimaps as oxford_iiit_pet has them, without its pictures."""

    VERSION = tfds.core.Version("1.0.0")
    name = "tiny"
    code_path = None

    def __init__(self, folder, *, masks, version="1.0.0", name="tiny"):
        self._masks, self.name = masks, name
        self.VERSION = tfds.core.Version(version)
        super().__init__(data_dir=folder, file_format="array_record", version=version)

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=37),
            "file_name": tfds.features.Text(),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
            "head": tfds.features.FeaturesDict(
                {"mask": tfds.features.Image(shape=(None, None, 1))}
            ),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(self._masks),
            "test": self._generate_examples(self._masks[:1]),
        }

    def _generate_examples(self, masks):
        for index, mask in enumerate(masks):
            yield (
                index,
                {
                    "image": io.BytesIO(png(np.full((4, 6, 3), 50 * index))),
                    "label": index,
                    "file_name": f"cat_{index}.jpg",
                    "segmentation_mask": io.BytesIO(png(mask)),
                    "head": {"mask": io.BytesIO(png(np.minimum(mask, 2)))},
                },
            )


MASKS = [np.full((4, 6), value) for value in (1, 2, 3)]


def build(folder, masks=MASKS, **options):
    tfds.disable_progress_bar()
    Tiny(folder, masks=masks, **options).download_and_prepare()
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return build(tmp_path_factory.mktemp("tfds"))


def tiny(folder, split="train", **options):
    return TFDS(
        "tiny", split, str(folder), **{"class_names": NAMES, "label_map": TRIMAP, **options}
    )


def problem(folder, *arguments, **options):
    with pytest.raises(InputError) as caught:
        tiny(folder, *arguments, **options).prepare()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_and_masks_are_read_by_the_names_of_their_features(prepared):
    data = tiny(prepared)
    data.prepare()
    assert isinstance(data, LabelledDataset)
    assert [(e["name"], int(e["image"].max()), int(e["label"].max())) for e in data] == [
        ("000000_cat_0", 0, 0),
        ("000001_cat_1", 50, 1),
        ("000002_cat_2", 100, 2),
    ]
    assert data[0]["image"].shape == (4, 6, 3) and data[0]["label"].shape == (4, 6)
    assert "tensorflow" not in sys.modules
    assert eval(repr(data)) == data


def test_a_part_of_a_split_and_a_feature_of_a_feature_can_be_named(prepared):
    data = tiny(prepared, "train[1:]", mask="head/mask", channels=1)
    assert [(e["name"], int(e["label"].max())) for e in data] == [
        ("000000_cat_1", 1),
        ("000001_cat_2", 1),
    ]
    assert data[1]["image"].shape == (4, 6, 1)


def test_the_folder_of_the_version_will_do_and_the_newest_version_is_read(tmp_path):
    build(tmp_path)
    build(tmp_path, masks=MASKS[:2], version="1.10.0")
    assert len(tiny(tmp_path)) == 2 and len(tiny(tmp_path / "tiny/1.0.0")) == 3
    assert len(TFDS("tiny:1.0.0", directory=str(tmp_path), class_names=NAMES)) == 3


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A root with pets/1.0.0, streets/2.0.0 and city/seg/1.0.0, of 3, 2 and 1 examples."""
    root = tmp_path_factory.mktemp("several")
    build(root, name="pets")
    build(root, MASKS[:2], name="streets", version="2.0.0")
    build(root / "made", MASKS[:1], name="city")
    (root / "city").mkdir()
    os.rename(root / "made" / "city", root / "city" / "seg")
    return root


@pytest.mark.parametrize(
    ("name", "below", "count"),
    [
        ("pets", "", 3),
        ("streets", "", 2),
        ("streets:2.0.0", "", 2),
        ("city/seg", "", 1),
        ("city", "", 1),
        ("city/seg:1.0.0", "city", 1),
        ("city/seg", "city/seg", 1),
        ("pets", "pets", 3),
        ("pets", "pets/1.0.0", 3),
    ],
)
def test_of_several_datasets_in_one_folder_the_named_one_is_read(name, below, count, several):
    options = {"class_names": NAMES, "label_map": TRIMAP}
    assert len(TFDS(name, directory=str(several / below), **options)) == count


@pytest.mark.parametrize(
    ("name", "below", "words"),
    [
        ("nope", "", "'nope' is not prepared in"),
        ("streets:1.0.0", "", "'streets' has no version '1.0.0' in .*: it has 2.0.0"),
        ("city/depth", "", "'city/depth' is not prepared in"),
        ("streets", "pets", "'streets' is not prepared in"),
        ("streets", "pets/1.0.0", "'streets' is not prepared in"),
        ("city/depth", "city", "'city/depth' is not prepared in"),
    ],
)
def test_another_dataset_is_never_read_instead_of_the_named_one(name, below, words, several):
    with pytest.raises(InputError, match=words):
        TFDS(name, directory=str(several / below), class_names=NAMES).prepare()


def test_every_record_is_checked_once_and_again_when_a_file_changed(
    tmp_path, monkeypatch, capsys
):
    build(tmp_path)
    tiny(tmp_path).prepare()
    assert "Checking tiny, train: 3 examples." in capsys.readouterr().err
    tiny(tmp_path).prepare()
    assert "Checking" not in capsys.readouterr().err
    (tmp_path / "tiny/1.0.0/dataset_info.json").touch()
    tiny(tmp_path).prepare()
    assert "Checking" in capsys.readouterr().err


def test_ids_without_a_class_are_named_with_the_example(prepared):
    said = problem(prepared, label_map=())
    assert "tiny, train/000002_cat_2/mask has the label id 3, but the 3 classes have" in said


def test_a_mask_of_another_size_is_named(tmp_path):
    build(tmp_path, masks=[np.ones((4, 5))])
    assert "000000_cat_0/mask is 5x4 pixels, but its image is 6x4" in problem(tmp_path)


def test_what_is_not_there_is_named_with_what_is(prepared, tmp_path, monkeypatch):
    assert "has no split 'val': it has test, train; a part" in problem(prepared, "val")
    assert "no image feature 'annotation': it has head/mask, image," in problem(
        prepared, mask="annotation"
    )
    said = problem(tmp_path)
    assert f"'tiny' is not prepared in {tmp_path}" in said and "tfds.builder('tiny'" in said
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    with pytest.raises(InputError, match="no folder .*none: give directory=... or --data DIR"):
        TFDS("tiny", class_names=NAMES).prepare()


def test_records_that_only_tensorflow_reads_are_refused_with_the_remedy(tmp_path):
    build(tmp_path)
    info = tmp_path / "tiny/1.0.0/dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    said = problem(tmp_path)
    assert "is stored as tfrecord, which only TensorFlow reads" in said
    assert "file_format='array_record').download_and_prepare()" in said


def test_several_configs_are_listed(tmp_path):
    for config in ("fine", "coarse"):
        os.rename(build(tmp_path / config) / "tiny", tmp_path / config / "moved")
    (tmp_path / "tiny").mkdir()
    for config in ("fine", "coarse"):
        os.rename(tmp_path / config / "moved", tmp_path / "tiny" / config)
    assert "several configs: name one of tiny/coarse, tiny/fine" in problem(tmp_path)
    named = TFDS("tiny/fine", directory=str(tmp_path), class_names=NAMES, label_map=TRIMAP)
    assert len(named) == 3


def test_a_prepared_dataset_pickles(prepared):
    data = tiny(prepared)
    data.prepare()
    assert pickle.loads(pickle.dumps(data))[1]["name"] == "000001_cat_1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_names": ()}, r"TFDS needs class_names=\('background'"),
        ({"class_names": (0, 1)}, r"TFDS needs class_names=\('background'"),
        ({"channels": 2}, r"channels=3 \(RGB\) or 1 \(grey\), got 2"),
        ({"channels": True}, r"channels=3 \(RGB\) or 1 \(grey\), got True"),
        ({"split": 3}, "TFDS has split=3: write a name, in quotes"),
        ({"mask": None}, "TFDS has mask=None: write a name, in quotes"),
        ({"colours": 5}, "TFDS has colours=5: write one"),
        ({"colours": ((0, 0, 256),) * 3}, "TFDS has colours=.*: write one"),
        ({"label_map": ((1, 9),)}, "leads to 9"),
        ({"colours": ((0, 0, 0),)}, "got 1 colours for 3"),
    ],
)
def test_a_field_that_cannot_work_is_named(options, words):
    with pytest.raises(InputError, match=words):
        tiny(pathlib.Path("x"), **options)


@pytest.mark.parametrize("name", [3, "", None])
def test_a_name_that_is_no_text_is_named(name):
    with pytest.raises(InputError, match=f"TFDS has name={name!r}: write a name, in quotes"):
        TFDS(name, class_names=NAMES)
    with pytest.raises(InputError, match="TFDS has directory=3: write directory='my_data'"):
        TFDS("tiny", directory=3, class_names=NAMES)


def test_a_broken_description_of_a_dataset_is_named(tmp_path):
    build(tmp_path)
    (tmp_path / "tiny/1.0.0/dataset_info.json").write_text("{")
    assert "tiny/1.0.0 cannot be read as a dataset of TFDS (" in problem(tmp_path)

import numpy as np
import pytest
from PIL import Image

from segjax.data.isbi import ISBI2012
from segjax.errors import InputError


@pytest.fixture
def root(tmp_path):
    for kind in ("image", "label"):
        (tmp_path / kind).mkdir()
        for index in range(4):
            pixels = np.full((5, 4), 255 * (index % 2), np.uint8)
            Image.fromarray(pixels).save(tmp_path / kind / f"{index:02d}.png")
    return tmp_path


def names(root, split):
    return [example["name"] for example in ISBI2012(split, str(root), held_out=1)]


def test_the_last_sections_are_held_out_and_black_is_membrane(root):
    assert names(root, "train") == ["00", "01", "02"] and names(root, "val") == ["03"]
    dataset = ISBI2012("all", str(root), held_out=1)
    assert [example["label"].max() for example in dataset] == [0, 1, 0, 1]
    assert dataset.class_names == ("membrane", "cell") and dataset[0]["image"].shape == (
        5,
        4,
        1,
    )


def test_fields_that_cannot_work_are_named(root):
    with pytest.raises(InputError, match="cannot hold out 6 of 4 sections"):
        ISBI2012("val", str(root)).prepare()
    with pytest.raises(InputError, match="got 0"):
        ISBI2012(held_out=0)
    with pytest.raises(InputError, match="train, val, all, got 'test'"):
        ISBI2012("test")


def test_real_isbi_has_30_sections_of_which_22_percent_are_membrane(real_data):
    dataset = ISBI2012("all", str(real_data / "isbi2012"))
    assert len(dataset) == 30 and dataset[0]["image"].shape == (512, 512, 1)
    labels = np.stack([dataset[i]["label"] for i in range(30)])
    assert set(np.unique(labels)) == {0, 1} and abs((labels == 0).mean() - 0.22) < 0.005

import numpy as np
import pytest
from PIL import Image

from segjax.data.camvid import CamVid
from segjax.errors import InputError


def make(root, listing):
    for name in ("val", "valannot"):
        (root / name).mkdir()
    Image.fromarray(np.full((5, 4, 3), 9, np.uint8)).save(root / "val" / "frame.png")
    Image.fromarray(np.full((5, 4), 11, np.uint8)).save(root / "valannot" / "frame.png")
    (root / "val.txt").write_text(listing)


@pytest.mark.parametrize(
    "listing", ["frame\n", "/SegNet/CamVid/val/frame.png /SegNet/CamVid/valannot/frame.png\n"]
)
def test_id_11_is_void_and_lists_hold_stems_or_segnets_paths(tmp_path, listing):
    make(tmp_path, listing)
    (example,) = CamVid("val", str(tmp_path))
    assert example["name"] == "frame" and (example["label"] == 255).all()


def test_an_unknown_split_and_a_missing_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="train, val, test, got 'trainval'"):
        CamVid("trainval")
    with pytest.raises(InputError, match=r"CamVid does not know .* train\.txt"):
        CamVid().prepare()
    with pytest.raises(InputError, match=r"valannot is missing"):
        (tmp_path / "val").mkdir()
        CamVid("val", str(tmp_path)).prepare()


def test_real_camvid_has_101_images_held_out_and_all_11_classes(real_data):
    dataset = CamVid("val", str(real_data / "camvid"))
    assert len(dataset) == 101 and len(dataset.class_names) == 11
    example = dataset[0]
    assert example["image"].shape == (360, 480, 3) and example["label"].shape == (360, 480)
    labels = np.stack([dataset[i]["label"] for i in range(0, 101, 5)])
    assert set(np.unique(labels)) == {*range(11), 255}
    road = labels == dataset.class_names.index("Road")
    assert road[:, 180:].mean() > 0.2 > road[:, :180].mean()


def test_real_camvid_lists_367_images_to_train_on_and_233_to_test(real_data):
    counts = [len(CamVid(s, str(real_data / "camvid"))._sources()) for s in ("train", "test")]
    assert counts == [367, 233]

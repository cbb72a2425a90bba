"""Public datasets in their own layouts, made up and tiny, with the line that a user writes."""

import numpy as np
from PIL import Image

from segjax.data.folder import Folder

NOISE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
BLOB = np.zeros((16, 24), bool)
BLOB[4:12, 8:20] = True
THRESHOLD = ((">127", 1), ("else", 0))


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(array)).save(path, **options)


def examples(root, **options):
    data = Folder(directory=str(root), **options)
    return {example["name"]: example for example in data}


def test_drive_pairs_tif_images_with_gif_masks_of_other_names(tmp_path):
    for number in (21, 22):
        save(tmp_path / f"training/images/{number}_training.tif", NOISE)
        save(tmp_path / f"training/1st_manual/{number}_manual1.gif", 255 * BLOB)
        save(tmp_path / f"training/mask/{number}_training_mask.gif", np.full_like(BLOB, 255))
    found = examples(
        tmp_path,
        image="training/images/{stem}_training.tif",
        mask="training/1st_manual/{stem}_manual1.gif",
        class_names=("background", "vessel"),
        label_map=((255, 1),),
    )
    assert list(found) == ["21", "22"]
    np.testing.assert_array_equal(found["22"]["label"], BLOB)
    np.testing.assert_array_equal(found["22"]["image"], NOISE)


def test_kvasir_pairs_jpeg_images_with_jpeg_masks_of_the_same_names(tmp_path, capsys):
    for name in ("cju0qkwl35", "cju0roawvk"):
        save(tmp_path / f"images/{name}.jpg", NOISE)
        save(tmp_path / f"masks/{name}.jpg", np.dstack([255 * BLOB] * 3), quality=75)
    found = examples(
        tmp_path,
        mask="masks/{stem}.jpg",
        class_names=("background", "polyp"),
        label_map=THRESHOLD,
        held_out=None,
    )
    np.testing.assert_array_equal(found["cju0qkwl35"]["label"], BLOB)
    assert "2 mask(s) are JPEG files" in capsys.readouterr().err


def test_dsb_2018_of_one_united_mask_an_image_is_a_folder_an_image(tmp_path):
    instances = np.where(BLOB, 700, 0).astype(np.uint16)
    for name in ("00ae65c1c6", "0a7d30b252"):
        save(
            tmp_path / f"stage1_train/{name}/images/{name}.png",
            np.dstack([NOISE, NOISE[..., 0]]),
        )
        path = tmp_path / f"stage1_train/{name}/mask.png"
        Image.fromarray(instances).save(path)
    found = examples(
        tmp_path,
        image="stage1_train/{stem}/images/{stem}.png",
        mask="stage1_train/{stem}/mask.png",
        class_names=("background", "nucleus"),
        label_map=(("nonzero", 1),),
    )
    assert list(found) == ["00ae65c1c6", "0a7d30b252"]
    np.testing.assert_array_equal(found["0a7d30b252"]["label"], BLOB)
    assert found["0a7d30b252"]["image"].shape == (16, 24, 3)


def test_images_and_masks_may_lie_in_one_folder_with_a_suffix(tmp_path):
    for name in ("x", "y.1"):
        save(tmp_path / f"all/{name}.jpg", NOISE)
        save(tmp_path / f"all/{name}_mask.png", BLOB)
    found = examples(
        tmp_path,
        image="all/{stem}.jpg",
        mask="all/{stem}_mask.png",
        class_names=("background", "thing"),
    )
    assert list(found) == ["x", "y.1"]


def test_vocs_augmented_lists_name_image_and_mask_in_two_columns(tmp_path):
    save(tmp_path / "JPEGImages/2007_000032.jpg", NOISE)
    save(tmp_path / "SegmentationClassAug/2007_000032.png", BLOB)
    lists = "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\n"
    (tmp_path / "train_aug.txt").write_text(lists)
    found = examples(tmp_path, split="train_aug", class_names=("background", "aeroplane"))
    np.testing.assert_array_equal(found["2007_000032"]["label"], BLOB)


def test_what_the_converter_makes_is_a_folder_with_lists_in_splits(tmp_path):
    for name in ("street/a", "b"):
        save(tmp_path / f"images/{name}.jpg", NOISE)
        save(tmp_path / f"masks/{name}.png", BLOB)
        save(tmp_path / f"instances/{name}.png", BLOB)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/val.txt").write_text("street/a\n")
    (tmp_path / "classes.txt").write_text("background\nthing\n")
    found = examples(tmp_path, split="val", class_names=("background", "thing"))
    assert list(found) == ["street/a"]

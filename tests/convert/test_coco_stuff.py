"""COCO-Stuff's JSON of run lengths, and its two kinds of maps."""

import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import IGNORED
from segjax.convert.formats import table
from segjax.convert.formats.coco_stuff import COCO_STUFF, COCO_STUFF_MAPS
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted, all_painted = (PAINTING[name] for name in ("read", "painted", "all_painted"))


def write_map(root, ids, *, folder, split="train2017"):
    for path in (root / folder, root / split):
        path.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (len(ids), 1)).save(root / split / "a.jpg")
    Image.fromarray(np.array([ids], np.uint8)).save(root / folder / "a.png")


def test_maps_of_things_and_stuff_hold_category_ids_minus_1(tmp_path):
    write_map(tmp_path, [0, 89, 91, 181, 255], folder="stuffthingmaps/train2017")
    found = read(COCO_STUFF_MAPS, tmp_path)
    assert len(found.class_names) == 171 and found.background == IGNORED
    (image,) = found.images
    label = painted(found, image)[0].tolist()
    names = [found.class_names[i] for i in label[:4]]
    assert names == ["person", "toothbrush", "banner", "wood"] and label[4] == 255
    assert (image.name, image.split) == ("train2017/a", "train")


def test_maps_of_stuff_alone_hold_category_ids_and_things_are_other(tmp_path):
    write_map(tmp_path, [92, 182, 183, 0], folder="stuff_val2017_pixelmaps", split="val2017")
    found = read(COCO_STUFF_MAPS, tmp_path)
    assert len(found.class_names) == 92
    label = painted(found, found.images[0])[0].tolist()
    assert label == [0, 90, 91, 255] and found.class_names[91] == "other"
    assert found.images[0].split == "val"


def test_the_folder_gives_maps_away_and_else_png_and_jpeg_of_one_name(tmp_path):
    files = FolderFiles(tmp_path)
    write_map(tmp_path, [0, 255], folder="annotations/train2017")
    assert COCO_STUFF_MAPS.recognize(files) is None
    assert len(read(COCO_STUFF_MAPS, tmp_path).images) == 1
    write_map(tmp_path, [0, 255], folder="stuffthingmaps/train2017")
    files = FolderFiles(tmp_path)
    assert COCO_STUFF_MAPS.recognize(files) == "COCO-Stuff maps in stuffthingmaps/"
    assert table.recognized(files)[0] is COCO_STUFF_MAPS


def test_a_map_without_image_and_a_source_without_maps_are_named(tmp_path):
    with pytest.raises(InputError, match="has no maps of COCO-Stuff"):
        read(COCO_STUFF_MAPS, tmp_path)
    write_map(tmp_path, [0, 255], folder="stuffthingmaps/train2017")
    (tmp_path / "train2017" / "a.jpg").unlink()
    assert "train2017/a.jpg', which is not in" in read(COCO_STUFF_MAPS, tmp_path).problems[0]


def test_what_stuffs_json_does_not_cover_is_ignored(tmp_path):
    write_map(tmp_path, [0] * 4, folder="unused", split="val2017")
    runs = {"size": [1, 4], "counts": [1, 2, 1]}
    annotation = {"id": 1, "image_id": 5, "category_id": 92, "segmentation": runs}
    contents = {
        "images": [{"id": 5, "file_name": "a.jpg"}],
        "categories": [{"id": 92, "name": "banner"}],
        "annotations": [{**annotation, "iscrowd": 1}],
    }
    (tmp_path / "stuff_val2017.json").write_text(json.dumps(contents))
    found = read(COCO_STUFF, tmp_path)
    assert painted(found, found.images[0]).tolist() == [[255, 0, 0, 255]]
    assert found.images[0].regions[0].instance is None
    assert table.recognized(FolderFiles(tmp_path))[0] is COCO_STUFF


def test_datumaros_fixture_is_read(real_data):
    found = read(COCO_STUFF, real_data / "formats" / "coco_dataset" / "coco_stuff")
    assert found.class_names == ("a", "b")
    train, val = all_painted(found).values()
    rows = 2 * [255], 2 * [0], [255], 2 * [0], 3 * [255]
    assert train.tolist() == 5 * [sum(rows, [])]
    assert val.T.tolist() == 2 * [[1] * 10] + 3 * [[255] * 10]

"""COCO's panoptic segments from PNG and JSON, and the same as run lengths."""

import json
import pathlib
import runpy
import shutil

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import IGNORED
from segjax.convert.formats.coco_instances import COCO_INSTANCES
from segjax.convert.formats.coco_panoptic import COCO_PANOPTIC
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted, all_painted = (PAINTING[name] for name in ("read", "painted", "all_painted"))
CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]},
    {"id": 92, "name": "sky", "isthing": 0},
]
SEGMENTS = [
    {"id": 3937500, "category_id": 1, "iscrowd": 0},
    {"id": 7, "category_id": 1, "iscrowd": 1},
    {"id": 256, "category_id": 92, "iscrowd": 0},
]
COLOURS = {0: (0, 0, 0), 3937500: (220, 20, 60), 7: (7, 0, 0), 256: (0, 1, 0)}


def write(root, *, ids=(0, 3937500, 7, 256), segments=SEGMENTS, name="a.png"):
    for folder in ("panoptic_val2017", "val2017"):
        (root / folder).mkdir(exist_ok=True)
    Image.new("RGB", (len(ids), 1)).save(root / "val2017" / "a.jpg")
    png = np.array([[COLOURS[i] for i in ids]], np.uint8)
    Image.fromarray(png).save(root / "panoptic_val2017" / "a.png")
    contents = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 1, "width": len(ids)}],
        "categories": CATEGORIES,
        "annotations": [{"image_id": 5, "file_name": name, "segments_info": segments}],
    }
    (root / "panoptic_val2017.json").write_text(json.dumps(contents))


def test_a_segments_id_is_its_colour_and_its_class_is_in_the_json(tmp_path):
    write(tmp_path)
    found = read(COCO_PANOPTIC, tmp_path)
    assert found.class_names == ("person", "sky") and found.background == IGNORED
    assert found.colours == {"person": (220, 20, 60)}
    (image,) = found.images
    assert (image.name, image.split) == ("val2017/a", "val")
    assert painted(found, image).tolist() == [[255, 0, 255, 1]]
    assert [region.instance for region in image.regions] == [3937500, None, None]


def test_a_crowd_may_have_its_class(tmp_path):
    write(tmp_path)
    found = read(COCO_PANOPTIC, tmp_path, crowds="class")
    assert painted(found, found.images[0]).tolist() == [[255, 0, 0, 1]]
    assert [region.is_crowd for region in found.images[0].regions] == [False, True, False]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ((0, 3937500, 256), "does not show the segment 7 of its `segments_info`"),
        ((0, 3937500, 7, 256), "shows the segment 256, which its `segments_info` does not"),
    ],
)
def test_png_and_json_must_name_the_same_segments(ids, words, tmp_path):
    write(tmp_path, ids=ids, segments=SEGMENTS if len(ids) == 3 else SEGMENTS[:2])
    found = read(COCO_PANOPTIC, tmp_path)
    with pytest.raises(InputError, match=rf"panoptic_val2017/a\.png {words}"):
        painted(found, found.images[0])


def test_what_is_not_a_panoptic_png_is_named(tmp_path):
    write(tmp_path)
    Image.new("L", (4, 1)).save(tmp_path / "panoptic_val2017" / "a.png")
    found = read(COCO_PANOPTIC, tmp_path)
    with pytest.raises(InputError, match=r"a\.png is not a panoptic PNG \(mode L\)"):
        painted(found, found.images[0])
    write(tmp_path, name="a.jpg")
    assert "segments are in a PNG" in read(COCO_PANOPTIC, tmp_path).problems[0]


def test_images_that_the_json_lists_without_segments_are_left_out(tmp_path):
    write(tmp_path)
    path = tmp_path / "panoptic_val2017.json"
    contents = json.loads(path.read_text())
    contents["images"].append({"id": 6, "file_name": "test.jpg"})
    path.write_text(json.dumps(contents))
    assert [image.name for image in read(COCO_PANOPTIC, tmp_path).images] == ["val2017/a"]


def test_png_json_and_run_lengths_agree_on_real_images(real_data, tmp_path):
    """The detection format of panopticapi holds the same segments as run lengths."""
    folder = real_data / "coco_panoptic"
    shutil.copytree(folder / "input_images", tmp_path / "input_images")
    shutil.copyfile(folder / "panoptic_coco_detection_format.json", tmp_path / "detection.json")
    for crowds in ("ignore", "class"):
        from_png = read(COCO_PANOPTIC, folder, crowds=crowds)
        from_runs = read(COCO_INSTANCES, tmp_path, crowds=crowds)
        assert sum(len(image.regions) for image in from_png.images) == 50
        assert from_png.class_names == from_runs.class_names
        for one, other in zip(from_png.images, from_runs.images, strict=True):
            assert one.name == other.name
            label, void = painted(from_png, one), painted(from_runs, other)
            # Run lengths leave background (0) what PNGs call void; other classes are 1 more.
            void = np.where(void == 0, 255, np.where(void == 255, 255, void - 1))
            np.testing.assert_array_equal(label, void)
            for region, same in zip(one.regions, _in_file_order(other.regions), strict=True):
                assert region.mask(one.size).sum() == same.mask(other.size).sum() > 0


def _in_file_order(regions):
    return sorted(regions, key=lambda region: int(region.where.split()[-1]))


def test_datumaros_fixture_is_read_and_a_png_of_another_size_shows(real_data):
    folder = real_data / "formats" / "coco_dataset" / "coco_panoptic"
    found = read(COCO_PANOPTIC, folder, crowds="class")
    train, val = found.images
    columns = painted(found, val).T.tolist()
    assert columns == 2 * [[0] * 10] + 2 * [[1] * 10] + [[255] * 10]
    # Its training PNG is 5 × 5 pixels beside an image of 10 × 5.
    (region,) = train.regions
    assert region.mask(train.size).shape == (5, 5) != train.size
    other = real_data / "formats" / "coco_dataset" / "coco"
    assert [i.split for i in read(COCO_PANOPTIC, other).images] == ["train", "val"]
    assert COCO_PANOPTIC.recognize(FolderFiles(other)) is not None

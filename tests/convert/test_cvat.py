"""CVAT's XML for images and for videos."""

import pathlib
import runpy
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import Size
from segjax.convert.cvat import run_lengths
from segjax.convert.formats.cvat_images import CVAT_IMAGES
from segjax.convert.formats.cvat_video import CVAT_VIDEO
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]

META = """<annotations><version>1.1</version><meta><task><labels>
  <label><name>car</name><color>#ff0a00</color></label>
  <label><name>road</name><color></color></label>
</labels>{extra}</task></meta>"""
EMPTY = np.zeros((8, 10, 3), np.uint8)


def source(folder, body, *, images=("a.png",), extra="", name="annotations.xml"):
    for image in images:
        path = folder / "images" / image
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(EMPTY).save(path)
    text = META.format(extra=extra) + body + "</annotations>"
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def image(shapes, *, name="a.png", more=""):
    return f'<image id="0" name="{name}" width="10" height="8" {more}>{shapes}</image>'


def label_of(folder, shapes):
    found = read(CVAT_IMAGES, source(folder, image(shapes)))
    assert not found.problems, found.problems
    return painted(found, found.images[0])


def test_boxes_polygons_and_masks_are_painted_by_z_order(tmp_path):
    label = label_of(
        tmp_path,
        '<box label="car" xtl="0" ytl="0" xbr="4" ybr="4" z_order="1"/>'
        '<polygon label="road" points="0.0,0.0;10,0;10,8;0,8" z_order="0"/>'
        '<mask label="road" rle="1, 2, 1" left="0" top="0" width="2" height="2" z_order="2"/>',
    )
    expected = np.full((8, 10), 2)
    expected[:4, :4] = 1
    expected[0, 1] = expected[1, 0] = 2
    np.testing.assert_array_equal(label, expected)


def test_an_ellipse_and_a_turned_box_are_drawn(tmp_path):
    label = label_of(
        tmp_path,
        '<ellipse label="car" cx="5" cy="4" rx="2" ry="2"/>'
        '<box label="road" xtl="0" ytl="2" xbr="2" ybr="3" rotation="90"/>',
    )
    assert (label == 1).sum() == 12 and label[4, 5] == 1
    # A box of 2 x 1 about (1, 2.5), turned by a quarter.
    assert label[2, 0] == 2 or label[2, 1] == 2
    assert (label[:, 2:] != 2).all()


def test_labels_colours_splits_and_objects_are_kept(tmp_path):
    body = image('<box label="car" xtl="0" ytl="0" xbr="4" ybr="4" group_id="3"/>' * 2) + image(
        '<polyline label="road" points="1,1;2,2"/>'
        '<box label="" xtl="1" ytl="1" xbr="2" ybr="2"/>',
        more='subset="Validation"',
    )
    found = read(CVAT_IMAGES, source(tmp_path, body, images=("a.png", "Validation/a.png")))
    assert found.class_names == ("car", "road")
    assert found.colours == {"car": (255, 10, 0)}
    first, second = found.images
    assert [(i.name, i.split) for i in found.images] == [("a", None), ("Validation/a", "val")]
    assert [region.instance for region in first.regions] == ["group_id 3 car"] * 2
    assert painted(found, second)[1, 1] == 255
    assert found.notes == (
        "shapes without an area are left out: 1 polyline",
        "pixels of shapes without a label are ignored: 1",
    )


def test_a_run_may_be_longer_than_a_million_pixels():
    shape = Element("mask", rle="0, 1100000", left="0", top="0", width="1100", height="1000")
    assert run_lengths(shape, "x.xml").draw(Size(1000, 1100)).all()


def test_a_group_of_two_labels_is_an_object_of_each(tmp_path):
    shapes = [
        f'<box label="{label}" xtl="0" ytl="0" xbr="4" ybr="4" group_id="3"/>'
        for label in ("car", "road", "car")
    ]
    found = read(CVAT_IMAGES, source(tmp_path, image("".join(shapes))))
    first, second, third = (region.instance for region in found.images[0].regions)
    assert first == third != second


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ('<polygon label="car" points="1,2;3,4"/>', "polygon 1 is a polygon of 2 points"),
        ('<polygon label="car" points="1,2;nan,4;5,6"/>', "coordinate 'nan'"),
        ('<polygon label="car" points=""/>', "coordinate ''"),
        ('<polygon label="cars" points="1,2;3,4;5,6"/>', "label 'cars', .*near: 'car'"),
        ('<box label="car" xtl="1" ytl="1" xbr="2"/>', "box 1 has no attribute 'ybr'"),
        (
            '<mask label="car" rle="1,2" left="0" top="0" width="2" height="2"/>',
            "runs of 3 pixels for 2 x 2",
        ),
        (
            '<mask label="car" rle="1,-2,5" left="0" top="0" width="2" height="2"/>',
            "the run '-2', not a number of pixels",
        ),
        ('<box label="car" xtl="1" ytl="1" xbr="2" ybr="2" z_order="x"/>', "'x', which is not"),
    ],
)
def test_a_wrong_shape_is_named_with_file_and_image(shape, message, tmp_path):
    body = image(shape) + image("", name="b.png")
    found = read(CVAT_IMAGES, source(tmp_path, body, images=("a.png", "b.png")))
    (problem,) = found.problems
    with pytest.raises(InputError, match=rf"annotations\.xml, image 'a\.png', .*{message}"):
        raise InputError(problem)
    assert [each.name for each in found.images] == ["b"]


def test_an_image_that_is_missing_or_annotated_twice_is_named(tmp_path):
    body = image("") * 2 + image("", name="b.png")
    found = read(CVAT_IMAGES, source(tmp_path, body))
    twice, missing = found.problems
    assert (
        "a.png is annotated twice, in " in twice
        and "'images/b.png', which is not in" in missing
    )


def test_only_files_of_cvat_are_recognised(tmp_path):
    files = FolderFiles(source(tmp_path, image("")))
    assert CVAT_IMAGES.recognize(files) and CVAT_VIDEO.recognize(files) is None
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.xml").write_text("<annotation><object/></annotation>", encoding="utf-8")
    assert CVAT_IMAGES.recognize(FolderFiles(other)) is None


FRAMES = tuple(f"frame_{number:06d}.png" for number in range(0, 9, 2))


def track(shapes, *, label="car"):
    return f'<track id="0" label="{label}">{shapes}</track>'


def key(frame, left, *, outside=0):
    return (
        f'<box frame="{frame}" outside="{outside}" keyframe="1" xtl="{left}" ytl="0" '
        f'xbr="{left + 2}" ybr="2"/>'
    )


def test_a_box_moves_linearly_between_keyframes_until_it_is_outside(tmp_path):
    body = track(key(2, 0) + key(6, 4) + key(8, 4, outside=1))
    found = read(CVAT_VIDEO, source(tmp_path, body, images=FRAMES))
    shown = {
        image.name: np.flatnonzero(painted(found, image)[0]).tolist() for image in found.images
    }
    assert shown == {
        "frame_000000": [],
        "frame_000002": [0, 1],
        "frame_000004": [2, 3],
        "frame_000006": [4, 5],
        "frame_000008": [],
    }
    instances = {region.instance for image in found.images for region in image.regions}
    assert len(instances) == 1


def test_a_polygon_moves_if_its_points_are_as_many_and_else_waits(tmp_path):
    body = track(
        '<polygon frame="0" outside="0" points="0,0;2,0;2,2;0,2"/>'
        '<polygon frame="4" outside="0" points="4,0;6,0;6,2;4,2"/>'
        '<polygon frame="8" outside="0" points="8,0;9,0;9,2"/>'
    )
    found = read(CVAT_VIDEO, source(tmp_path, body, images=FRAMES))
    columns = [np.flatnonzero(painted(found, image)[1]).tolist() for image in found.images]
    assert columns[:4] == [[0, 1], [2, 3], [4, 5], [4, 5]]


def test_a_turn_goes_the_short_way(tmp_path):
    box = '<box frame="{}" outside="0" xtl="2" ytl="3" xbr="8" ybr="5" rotation="{}"/>'
    body = track(box.format(0, 355) + box.format(8, 15))
    found = read(CVAT_VIDEO, source(tmp_path, body, images=FRAMES))
    after_a_quarter = painted(found, found.images[1])
    assert after_a_quarter[3:5, 2:8].all() and after_a_quarter.sum() == 12


def test_a_video_without_frames_says_how_to_extract_them(tmp_path):
    folder = source(tmp_path, track(key(0, 0)), images=(), extra="<source>t.mp4</source>")
    with pytest.raises(InputError, match="no images of its frames.*ffmpeg"):
        read(CVAT_VIDEO, folder)


def test_frames_of_two_videos_are_refused(tmp_path):
    source(tmp_path, track(key(0, 0)), images=FRAMES)
    source(tmp_path, track(key(0, 0)), name="other.xml")
    with pytest.raises(InputError, match="has 2 CVAT files for videos"):
        read(CVAT_VIDEO, tmp_path)

"""MIT LabelMe's XML."""

import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.formats.labelme_xml import LABELME_XML
from segjax.convert.source_files import FolderFiles

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]


def source(folder, *objects, name="a"):
    for kind in ("Images", "Annotations", "Masks"):
        (folder / kind / "street").mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((8, 10, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "Images" / "street" / f"{name}.jpg")
    text = (
        f"<annotation><filename>\n{name}.jpg\n</filename><folder>\nstreet\n</folder>"
        f"{''.join(objects)}<imagesize><nrows>8</nrows><ncols>10</ncols></imagesize>"
        "</annotation>"
    )
    (folder / "Annotations" / "street" / f"{name}.xml").write_text(text, encoding="utf-8")
    return folder


def thing(name, corners, *, number=0, more=""):
    left, top, right, bottom = corners
    points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    text = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
    return (
        f"<object><name>{name}</name><id>{number}</id>{more}<polygon>{text}</polygon></object>"
    )


def test_polygons_are_painted_in_order_and_deleted_ones_left_out(tmp_path):
    found = read(
        LABELME_XML,
        source(
            tmp_path,
            thing("wall", (0, 0, 10, 8)),
            thing("car", (2, 2, 6, 6), number=1),
            thing("ghost", (0, 0, 9, 9), number=2, more="<deleted>1</deleted>"),
        ),
    )
    expected = np.full((8, 10), 2)
    expected[2:6, 2:6] = 1
    (image,) = found.images
    np.testing.assert_array_equal(painted(found, image), expected)
    assert found.class_names == ("car", "wall") and image.name == "street/a"
    assert found.notes == ("deleted objects are left out: 1",)


def test_a_part_covers_its_whole_whatever_their_order(tmp_path):
    part = "<parts><hasparts/><ispartof>1</ispartof></parts>"
    found = read(
        LABELME_XML,
        source(
            tmp_path,
            thing("plate", (3, 3, 5, 5), number=0, more=part),
            thing("car", (0, 0, 10, 8), number=1),
        ),
    )
    label = painted(found, found.images[0])
    assert (label == 2).sum() == 4 and label[3, 3] == 2


def test_parts_of_each_other_do_not_hang(tmp_path):
    part = "<parts><ispartof>{}</ispartof></parts>"
    objects = [thing("a", (0, 0, 4, 4), number=n, more=part.format(1 - n)) for n in (0, 1)]
    assert len(read(LABELME_XML, source(tmp_path, *objects)).images[0].regions) == 2


def test_a_segment_is_what_its_mask_covers(tmp_path):
    source(
        tmp_path,
        "<object><name>bush</name><id>4</id><segm><box><xmin>1</xmin></box>"
        "<mask>a_mask_4.png</mask></segm></object>",
    )
    mask = np.zeros((8, 10, 4), np.uint8)
    mask[1:3, 2:5] = (0, 90, 0, 153)
    Image.fromarray(mask).save(tmp_path / "Masks" / "street" / "a_mask_4.png")
    found = read(LABELME_XML, tmp_path)
    np.testing.assert_array_equal(painted(found, found.images[0]), mask[..., 3] > 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (thing("car", (0, 0, "NaN", 1)), "object 0 has the coordinate 'NaN'"),
        ("<object><name>car</name><id>7</id><polygon/></object>", "object 7 is a polygon of 0"),
        ("<object><name>car</name><segm/></object>", "neither a polygon nor a mask"),
        (
            "<object><name>car</name><segm><mask>b.png</mask></segm></object>",
            "'Masks/street/b.png', which is not in",
        ),
        ("<object>", "not a complete XML file"),
    ],
)
def test_a_wrong_file_is_named_and_does_not_stop_the_others(text, message, tmp_path):
    source(tmp_path, thing("car", (0, 0, 4, 4)), name="good")
    source(tmp_path, thing("car", (0, 0, 4, 4)), text)
    found = read(LABELME_XML, tmp_path)
    (problem,) = found.problems
    assert "a.xml" in problem and message in problem
    assert [image.name for image in found.images] == ["street/good"]


def test_an_object_without_a_name_is_ignored(tmp_path):
    found = read(LABELME_XML, source(tmp_path, thing("", (0, 0, 4, 4))))
    assert painted(found, found.images[0])[0, 0] == 255
    assert found.notes == ("pixels of objects without a name are ignored: 1",)


def test_files_of_pascal_voc_are_not_recognised(tmp_path):
    source(tmp_path, "<object><name>car</name><bndbox/></object>")
    assert LABELME_XML.recognize(FolderFiles(tmp_path)) is None
    source(tmp_path, thing("car", (0, 0, 4, 4)), name="b")
    assert (
        LABELME_XML.recognize(FolderFiles(tmp_path))
        == "XML files of MIT LabelMe, such as b.xml"
    )

"""Grey, index and binary masks."""

import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import IGNORED
from segjax.convert.formats.grey_masks import GREY_MASKS
from segjax.convert.grey_values import parse_values
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]


def source(folder, *masks, suffix="png"):
    for kind in ("images", "masks"):
        (folder / kind).mkdir(exist_ok=True)
    for number, mask in enumerate(masks):
        pixels = np.array(mask)
        pixels = pixels.astype(np.uint16 if pixels.max() > 255 else np.uint8)
        Image.fromarray(np.zeros((*pixels.shape, 3), np.uint8)).save(
            folder / "images" / f"{number}.jpg"
        )
        Image.fromarray(pixels).save(folder / "masks" / f"{number}.{suffix}")
    return folder


def labels(found):
    return [painted(found, image).tolist() for image in found.images]


def test_a_table_of_values_names_them(tmp_path):
    values = "0:background, 128:membrane,200:cell,*:ignore"
    found = read(GREY_MASKS, source(tmp_path, [[0, 128, 200, 7]]), values=values)
    assert (found.background, found.class_names) == ("background", ("membrane", "cell"))
    assert labels(found) == [[[0, 1, 2, 255]]]


def test_two_values_may_be_one_class_and_values_may_have_16_bits(tmp_path):
    found = read(GREY_MASKS, source(tmp_path, [[0, 3000, 5, 9]]), values="0:a,3000:b,5:b,*:c")
    assert (found.background, found.class_names) == (IGNORED, ("a", "b", "c"))
    assert labels(found) == [[[0, 1, 1, 2]]]


def test_a_value_without_a_class_is_named(tmp_path):
    found = read(GREY_MASKS, source(tmp_path, [[0, 7, 7]]), values="0:a,1:b")
    with pytest.raises(InputError, match=r"0\.png has the value 7 in 2 pixels.*known are 0, 1"):
        labels(found)


def test_a_broken_binary_mask_stops_no_other_and_black_masks_are_background(tmp_path):
    source(tmp_path, [[0, 0]], [[0, 0]])
    (tmp_path / "masks/0.png").write_bytes(b"")
    found = read(GREY_MASKS, tmp_path)
    assert found.notes == ("masks hold 0: 0 is 'background'",)
    assert painted(found, found.images[1]).tolist() == [[0, 0]]
    with pytest.raises(InputError, match=r"0\.png cannot be read"):
        painted(found, found.images[0])


def test_names_are_those_of_ids_and_255_is_ignored(tmp_path):
    found = read(GREY_MASKS, source(tmp_path, [[0, 1, 2, 255]]), names=("background", "b", "c"))
    assert labels(found) == [[[0, 1, 2, 255]]] and found.class_names == ("b", "c")
    found = read(GREY_MASKS, tmp_path, names=("a", "b", "c"))
    assert labels(found) == [[[0, 1, 2, 255]]] and found.background == IGNORED


def test_names_may_stand_in_classes_txt_or_in_roboflows_list(tmp_path):
    source(tmp_path, [[0, 1, 2]])
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, a b\n2, c\n")
    assert read(GREY_MASKS, tmp_path).class_names == ("a b", "c")
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\nx, background\n")
    with pytest.raises(InputError, match="_classes.csv has a line that is not VALUE, CLASS"):
        read(GREY_MASKS, tmp_path)
    (tmp_path / "_classes.csv").unlink()
    (tmp_path / "classes.txt").write_text("sky\nroad\nsea\n")
    assert read(GREY_MASKS, tmp_path).class_names == ("sky", "road", "sea")


@pytest.mark.parametrize("bright", [1, 255])
def test_masks_of_two_values_are_binary(bright, tmp_path):
    found = read(GREY_MASKS, source(tmp_path, [[0, bright]], [[0, 0]]))
    assert (found.background, found.class_names) == ("background", ("foreground",))
    assert labels(found) == [[[0, 1]], [[0, 0]]]
    assert found.notes == (f"masks hold 0 and {bright}: {bright} is 'foreground'",)


def test_lossy_binary_masks_are_split_at_half_with_a_statement(tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    mask[5:21, 6:23] = 255
    source(tmp_path, mask, suffix="jpg")
    found = read(GREY_MASKS, tmp_path, names=("tissue", "polyp"))
    (label,) = labels(found)
    np.testing.assert_array_equal(label, mask > 0)
    assert found.notes == (
        "masks are compressed with loss (1 of them): pixels of at least 128 are 'polyp'",
    )
    with Image.open(tmp_path / "masks" / "0.jpg") as image:
        assert len(np.unique(np.asarray(image))) > 2
        image.convert("RGB").save(tmp_path / "masks" / "0.jpg")
    (label,) = labels(read(GREY_MASKS, tmp_path))
    np.testing.assert_array_equal(label, mask > 0)


def test_lossy_masks_of_more_classes_are_refused(tmp_path):
    source(tmp_path, np.full((16, 16), 120), suffix="jpg")
    with pytest.raises(InputError, match="compressed with loss.* 3 classes"):
        read(GREY_MASKS, tmp_path, names=("a", "b", "c"))
    with pytest.raises(InputError, match="100% of its pixels are neither dark nor bright"):
        labels(read(GREY_MASKS, tmp_path))
    colours = np.zeros((16, 16, 3), np.uint8)
    colours[..., 0] = 255
    Image.fromarray(colours).save(tmp_path / "masks" / "0.jpg")
    with pytest.raises(InputError, match="has colours and is compressed as JPEG"):
        labels(read(GREY_MASKS, tmp_path))


def test_values_that_nothing_names_are_listed_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r'3 values \(0, 38, 75\).*--values "0:NAME,38:NAME'):
        read(GREY_MASKS, source(tmp_path, [[0, 38]], [[75, 0]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:a,1", "--values has '1'"),
        ("x:a", "--values has 'x:a'"),
        ("0:", "--values has '0:'"),
        ("0:a,0:b", "says 0 twice"),
        ("*:a,*:b", r"says \* twice"),
        (" , ", "has no value"),
    ],
)
def test_a_wrong_table_of_values_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_values(text)


def test_without_masks_the_layout_is_said(tmp_path):
    with pytest.raises(InputError, match="put them into images/ and masks/"):
        read(GREY_MASKS, tmp_path)

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from segjax.data.arrays import array_bytes
from segjax.data.camvid import COLOURS, COLOURS_32, MASK_COLOURS_32
from segjax.data.folder import Folder
from segjax.data.label_pages import label_pages
from segjax.data.lossy_masks import cuts_levels
from segjax.data.mask_files import LabelKind
from segjax.errors import InputError

NAME = pathlib.Path("mask")
IDS = np.array([[0, 1, 2], [2, 1, 255]])
THRESHOLD = ((">127", 1), ("else", 0))
ROAD, SKY, VOID = (128, 64, 128), (128, 128, 128), (0, 0, 0)
TABLE = ((ROAD, 0), (SKY, 1), (VOID, 255))
PAINTED = np.array([[ROAD, SKY], [VOID, ROAD]], np.uint8)


def labels(data, num_classes=3, **options):
    kind = LabelKind(num_classes, **options)
    return [label.classes for label in label_pages((NAME,), {NAME: data}, kind)]


def problem(data, *arguments, **options):
    with pytest.raises(InputError) as caught:
        labels(data, *arguments, **options)
    message = str(caught.value)
    assert message.startswith("mask ") and "\n" not in message
    return message


def saved(image, kind="PNG", **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, ">i4", np.float32])
def test_an_array_of_ids_is_a_mask(dtype):
    (label,) = labels(array_bytes(IDS.astype(dtype)))
    np.testing.assert_array_equal(label, IDS)
    (label,) = labels(array_bytes(IDS.astype(dtype)[..., None]), label_map=((2, 0),))
    np.testing.assert_array_equal(label, np.where(IDS == 2, 0, IDS))


def test_an_array_of_truth_values_is_a_mask():
    (label,) = labels(array_bytes(IDS == 1), 2)
    np.testing.assert_array_equal(label, IDS == 1)


def test_an_array_of_k_planes_is_a_label_of_planes():
    planes = np.stack([IDS == 0, IDS == 1], -1)
    (label,) = labels(array_bytes(planes), 2, planes=True)
    np.testing.assert_array_equal(label, planes)
    six = np.repeat(planes, 3, -1)
    (label,) = labels(array_bytes(six), 6, planes=True)
    np.testing.assert_array_equal(label, six)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (IDS + 0.5, "is an array of float64, which are not class ids: save integers"),
        (np.array([[np.nan]]), "which are not class ids"),
        (np.array([[0, 1e300]]), "which are not class ids"),
        (np.array([[0, -(2.0**31)]], np.float32), "which are not class ids"),
        (np.stack([IDS, IDS], -1), "one mask is h w: save array.argmax(-1)"),
        (IDS + 3, "has the label ids 3, 4, 5, 258, but the 3 classes"),
        (-1 - IDS, "has the label ids -256, -3, -2, -1"),
    ],
)
def test_an_array_that_is_no_mask_is_refused(array, words):
    assert words in problem(array_bytes(array))


def test_planes_of_another_number_are_refused():
    said = problem(array_bytes(np.zeros((2, 3, 4), np.uint8)), 3, planes=True)
    assert "of 4 channel(s), but there are 3 classes" in said


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_black_and_white_jpeg_is_cut_by_a_threshold(mode):
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 3:20] = 255
    data = saved(Image.fromarray(mask).convert(mode), "JPEG", quality=70)
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(data)).convert("L")))) > 4
    (label,) = labels(data, 2, label_map=THRESHOLD)
    np.testing.assert_array_equal(label, mask == 255)
    lost = 'again without loss, as PNG. If it is black and white, set label_map=((">127", 1)'
    for label_map in ((), ((255, 1),), (("nonzero", 1),)):
        assert lost in problem(data, 2, label_map=label_map)


def test_a_jpeg_of_colours_is_no_mask_whatever_the_threshold():
    data = saved(Image.fromarray(np.uint8([[[200, 0, 0]] * 16] * 16)), "JPEG")
    assert "is a JPEG with colours (channels differ by" in problem(data, 2, label_map=THRESHOLD)


def test_a_band_between_dark_and_light_may_be_ignored():
    assert cuts_levels(((">=192", 1), ("<64", 0), ("else", 255)))
    for label_map in (((">1", 1), ("else", 0)), ((">250", 1), ("else", 0)), (("else", 0),)):
        assert not cuts_levels(label_map)


def test_preparing_jpeg_masks_says_what_was_thresholded(tmp_path, capsys):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    mask[0, :4] = 128
    Image.fromarray(mask).save(tmp_path / "masks/a.jpg", quality=100)
    Image.fromarray(np.dstack([mask] * 3)).save(tmp_path / "images/a.jpg")
    data = Folder(
        directory=str(tmp_path),
        class_names=("background", "polyp"),
        mask="masks/{stem}.jpg",
        label_map=THRESHOLD,
    )
    data.prepare()
    said = capsys.readouterr().err
    assert "folder: 1 mask(s) are JPEG files: label_map cuts their grey levels" in said
    assert "1.56 % of their pixels lie between 32 and 223" in said  # 4 of 256.
    with pytest.raises(
        InputError, match="or name .jpg in mask=... if they are black and white"
    ):
        Folder(directory=str(tmp_path), class_names=("a", "b"), label_map=THRESHOLD).prepare()


def painted(mode):
    image = Image.fromarray(PAINTED)
    if mode == "P":
        return image.convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("P", "GIF")]
)
def test_a_painted_mask_is_read_by_the_colours_that_a_viewer_shows(mode, kind):
    (label,) = labels(saved(painted(mode), kind), 2, mask_colours=TABLE)
    assert label.tolist() == [[0, 1], [255, 0]] and label.dtype == np.uint8


def test_a_painted_array_is_read_by_its_colours():
    (label,) = labels(array_bytes(PAINTED), 2, mask_colours=TABLE)
    assert label.tolist() == [[0, 1], [255, 0]]
    assert "save uint8, h w 3" in problem(array_bytes(IDS), 2, mask_colours=TABLE)


def test_an_unknown_colour_is_named_with_its_pixels_and_the_nearest_one():
    wrong = PAINTED.copy()
    wrong[0] = (128, 64, 129)
    wrong[1, 0] = (9, 9, 9)
    said = problem(saved(Image.fromarray(wrong)), 2, mask_colours=TABLE)
    assert "has 2 pixel(s) of the colour (128, 64, 129), which mask_colours does not" in said
    assert "(2 such colours, 3 pixels); the nearest is (128, 64, 128), class 0" in said
    assert "add a pair such as ((128, 64, 129), 0)" in said


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved(painted("RGB"), "JPEG"), "compressed as JPEG, which changes class ids"),
        (saved(Image.fromarray(np.uint16(IDS))), "has samples of 16 bits"),
        (saved(Image.new("RGBA", (2, 2), (0, 0, 0, 9))), "has transparent pixels"),
    ],
)
def test_colours_that_are_not_exact_are_refused(data, words):
    assert words in problem(data, 2, mask_colours=TABLE)


def test_camvids_32_colours_are_31_classes_and_void(tmp_path):
    assert len(COLOURS_32) == 31 and len({*COLOURS_32.values()}) == 31
    same = {"Pole": "Column_Pole"}
    for name, colour in COLOURS.items():  # Of SegNet's 11 classes, Pavement was repainted.
        assert name == "Pavement" or COLOURS_32[same.get(name, name)] == colour
    names = ("Sky", "Road", "Wall", None)
    colours = [COLOURS_32[name] if name else (0, 0, 0) for name in names]
    for folder, suffix in (("701_StillsRaw_full", ""), ("LabeledApproved_full", "_L")):
        (tmp_path / folder).mkdir()
        image = Image.fromarray(np.array([colours], np.uint8))
        image.save(tmp_path / folder / f"0001TP_006690{suffix}.png")
    data = Folder(
        directory=str(tmp_path),
        image="701_StillsRaw_full/{stem}.png",
        mask="LabeledApproved_full/{stem}_L.png",
        class_names=tuple(COLOURS_32),
        colours=tuple(COLOURS_32.values()),
        mask_colours=MASK_COLOURS_32,
    )
    (example,) = data
    found = [None if i == 255 else data.class_names[i] for i in example["label"][0]]
    assert tuple(found) == names and example["name"] == "0001TP_006690"
    assert data.palette[example["label"]][0, :3].tolist() == [list(c) for c in colours[:3]]

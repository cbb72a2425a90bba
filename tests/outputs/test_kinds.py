"""Each kind of file, read back; and what options ask for which."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from segjax.atomic import atomic_path
from segjax.data import coco
from segjax.data.ade20k import ADE20K
from segjax.data.camvid import CamVid
from segjax.data.cityscapes import Cityscapes
from segjax.data.coco import COCO
from segjax.data.coco_classes import PANOPTIC, STUFF, THINGS
from segjax.data.folder import Folder
from segjax.data.label_map import ids_of_files
from segjax.data.palette import voc_palette
from segjax.data.sbd import SBD
from segjax.data.tfds_source import TFDS
from segjax.drawing import composite, overlay
from segjax.errors import InputError
from segjax.outputs.kinds import Blur, CutOut, Prediction
from segjax.outputs.lists import Areas, Coco
from segjax.outputs.options import asked_lists, asked_outputs
from segjax.predict import _parser

NAMES = ("background", "cat", "dog")
COLOURS = ((0, 0, 0), (128, 0, 0), (0, 128, 0))
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (11, 8, 3)).astype(np.uint8)
PROBABILITIES = RNG.dirichlet(np.full(3, 0.3), (11, 8)).astype(np.float32)
LABEL = PROBABILITIES.argmax(-1).astype(np.uint8)
ALPHA = composite.foreground(PROBABILITIES, (2,))


def prediction(tmp_path, image=IMAGE, *, file="in/photo.jpg") -> Prediction:
    return Prediction(
        image=image,
        answer=LABEL,
        probabilities=PROBABILITIES,
        file=tmp_path / file,
        class_names=NAMES,
        palette=voc_palette(),
    )


def options(*words: str):
    return _parser().parse_args(["run", "in", "--out", "out", *words])


def saved(tmp_path, *words: str, image=IMAGE) -> np.ndarray:
    """The picture that the last kind asked for writes."""
    kind = asked_outputs(options(*words), NAMES)[-1]
    kind.save(prediction(tmp_path, image), tmp_path / f"x{kind.suffix}")
    with Image.open(tmp_path / f"x{kind.suffix}") as picture:
        return np.array(picture)


def test_pictures_are_the_composites_of_the_summed_probabilities(tmp_path):
    blurred = saved(tmp_path, "--keep", "dog", "--blur", "2")
    np.testing.assert_array_equal(blurred, composite.blur_background(IMAGE, ALPHA, sigma=2.0))
    cut = saved(tmp_path, "--keep", "dog", "--cut-out")
    np.testing.assert_array_equal(cut, composite.cut_out(IMAGE, ALPHA))
    green = saved(tmp_path, "--keep", "dog", "--background", "#00ff00")
    flat = np.full_like(IMAGE, (0, 255, 0))
    np.testing.assert_array_equal(green, composite.replace_background(IMAGE, ALPHA, flat))


def test_file_ids_are_those_of_the_datasets_own_files(tmp_path):
    ids = lambda: (7, 300, 0, 9)
    kind = asked_outputs(options("--file-ids"), NAMES, file_ids=ids)[-1]
    made = dataclasses.replace(prediction(tmp_path), answer=LABEL.copy())
    made.label[0, 0] = 255
    kind.save(made, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        written = np.array(picture)
    expected = np.array([7, 300, 0])[made.label % 255]
    expected[0, 0] = 9
    np.testing.assert_array_equal(written, expected)
    with pytest.raises(InputError, match="is not read from files, so it has no other ids"):
        asked_outputs(options("--file-ids"), NAMES)


@pytest.mark.parametrize(
    ("dataset", "ids"),
    [
        (Cityscapes("val"), (7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33, 0)),
        (ADE20K("val"), (*range(1, 151), 0)),
        (CamVid("val"), (*range(11), 11)),
        (SBD("val"), (*range(21), 255)),
        (Folder(class_names=("a", "b"), label_map=((255, 1),)), (0, 255, 255)),
        (TFDS("pets", class_names=("a", "b"), label_map=((1, 1), (2, 0), (3, 255))), (2, 1, 3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_dataset_has_one_file_id_a_class_and_one_for_ignored_pixels(dataset, ids):
    assert dataset.file_ids == ids


@pytest.mark.parametrize("classes", coco.NAMES)
def test_cocos_file_ids_are_category_ids_with_their_gaps(classes):
    dataset = COCO("val", classes=classes)
    minus = 1 if classes == "stuff" else 0  # Its maps hold category ids minus 1.
    every = {0: "background", **THINGS, **STUFF, **PANOPTIC}
    alike = {"aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle"}
    alike |= {"pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv"}
    *ids, ignored = dataset.file_ids
    names = [alike.get(name, name) for name in dataset.class_names]
    assert [every.get(i + minus, "N/A") for i in ids] == names and ignored == 255


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"label_map": ((3, 1), (4, 1))}, "Class 1, b, has no single id .* makes it of 3, 4"),
        ({"label_map": ((">127", 1), ("else", 0))}, "Class 0, a, .* makes it of 'else'"),
        ({"label_map": ((5, 0),)}, "Class 0, a, .* makes it of 5, 0"),
        ({"label_map": ((0, 1), (1, 1))}, "Class 0, a, .*: none becomes it"),
        ({"mask_colours": (((0, 0, 0), 0),)}, "masks hold colours, not ids"),
        ({"planes": True}, "masks hold planes, not ids"),
    ],
)
def test_classes_without_a_single_file_id_are_refused(fields, words):
    with pytest.raises(InputError, match=words):
        _ = Folder(class_names=("a", "b"), **fields).file_ids


def test_an_id_beside_the_classes_own_makes_it_have_two():
    assert ids_of_files(((5, 2), (2, 255)), ("a", "b", "c")) == (0, 1, 5, 2)
    with pytest.raises(InputError, match="Class 2, c, .* makes it of 255, 2"):
        ids_of_files(((255, 2),), ("a", "b", "c"))


@pytest.mark.parametrize("strange", [-1, 70_000])
@pytest.mark.parametrize("target", [1, 255])
def test_file_ids_that_a_png_cannot_hold_are_refused_before_anything_is_predicted(
    strange, target
):
    data = Folder(class_names=("a", "b"), label_map=((strange, target),))
    with pytest.raises(InputError, match=f"have the id {strange}, but a PNG holds ids from 0"):
        asked_outputs(options("--file-ids"), ("a", "b"), file_ids=lambda: data.file_ids)


def test_an_overlay_is_the_reports_and_keeps_the_image_where_the_class_is_black(tmp_path):
    drawn = saved(tmp_path, "--overlay")
    _, _, expected, _ = overlay.panels(IMAGE, LABEL, LABEL, voc_palette())
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(drawn[LABEL == 0], IMAGE[LABEL == 0])


def test_a_picture_behind_covers_all_and_is_cut_evenly_on_both_sides(tmp_path):
    stripes = np.zeros((22, 48, 3), np.uint8)
    stripes[:, 13:35] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    words = ("--keep", "dog", "--background", str(tmp_path / "stripes.png"))
    white = np.full_like(IMAGE, 255)
    np.testing.assert_array_equal(
        saved(tmp_path, *words), composite.replace_background(IMAGE, ALPHA, white)
    )


def test_without_keep_all_but_background_is_kept(tmp_path):
    assert CutOut(kept=(1, 2)) in asked_outputs(options("--cut-out"), NAMES)
    assert Blur(kept=(0, 2), sigma=3.0) in asked_outputs(
        options("--blur", "3", "--keep", "dog, background"), NAMES
    )


def test_grey_images_become_colour_pictures(tmp_path):
    grey = IMAGE[..., :1]
    for words in (("--blur", "1"), ("--background", "red"), ("--overlay",)):
        assert saved(tmp_path, *words, image=grey).shape == (11, 8, 3)
    np.testing.assert_array_equal(
        saved(tmp_path, "--cut-out", image=grey)[..., :3], np.repeat(grey, 3, -1)
    )


def test_masks_overlays_and_probabilities_hold_what_was_predicted(tmp_path):
    mask, drawn, kind = asked_outputs(options("--overlay", "--probabilities"), NAMES)
    for each in (mask, drawn, kind):
        each.save(prediction(tmp_path), tmp_path / f"x{each.suffix}")
    with Image.open(tmp_path / "x.png") as read, Image.open(tmp_path / "x_overlay.png") as over:
        assert read.mode == "P" and (np.array(read) == LABEL).all()
        np.testing.assert_array_equal(over, overlay.overlay(IMAGE, LABEL, voc_palette()))
    with np.load(tmp_path / "x.npz") as stored:
        assert stored["probabilities"].dtype == np.float16
        np.testing.assert_allclose(stored["probabilities"], PROBABILITIES, atol=1e-3)
        assert stored["class_names"].tolist() == list(NAMES)


@pytest.mark.parametrize(
    "file, image", [("in/photo.jpg", "../in/photo.jpg"), ("out/x_frame.png", "x_frame.png")]
)
def test_labelmes_file_names_its_image_and_the_size(tmp_path, file, image):
    (tmp_path / "out").mkdir()
    kind = asked_outputs(options("--labelme", "--tolerance", "0"), NAMES)[-1]
    kind.save(prediction(tmp_path, file=file), tmp_path / "out" / "x.json")
    contents = json.loads((tmp_path / "out" / "x.json").read_text())
    assert contents["imagePath"] == image and contents["imageData"] is None
    assert (contents["imageHeight"], contents["imageWidth"]) == (11, 8)
    assert {shape["label"] for shape in contents["shapes"]} <= set(NAMES)


def test_labelmes_file_has_the_keys_of_one_that_labelme_wrote(tmp_path, real_data):
    folder = real_data / "labelme/semantic_segmentation/data_annotated"
    theirs = json.loads((folder / "2011_000003.json").read_text())
    kind = asked_outputs(options("--labelme"), NAMES)[-1]
    kind.save(prediction(tmp_path), tmp_path / "x.json")
    ours = json.loads((tmp_path / "x.json").read_text())
    assert set(theirs) == set(ours) and set(theirs["shapes"][0]) <= set(ours["shapes"][0])


@pytest.mark.parametrize(
    "words, said",
    [
        (("--blur", "0"), "--blur 0: give a number of pixels above 0"),
        (("--blur", "-3"), "--blur -3: give a number of pixels above 0"),
        (("--blur", "wide"), "--blur wide: give a number of pixels above 0, such as 8"),
        (("--blur", "nan"), "--blur nan: give a number"),
        (("--background", "blurple"), "blurple is neither a file nor a colour such as white"),
        (("--cut-out", "--keep", "dgo"), "--keep dgo: there is no such class; near: dog."),
        (("--cut-out", "--keep", "qqq"), "near: background, cat, dog."),
        (("--keep", "dog"), "--keep needs --blur, --background or --cut-out; add one"),
        (("--tolerance", "2"), "is for the polygons of --coco or --labelme; add one"),
        (("--labelme", "--tolerance", "-1"), "--tolerance -1: give a number of pixels, 0 or"),
        (("--coco", "--tolerance", "few"), "--tolerance few: give a number of pixels, 0 or"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(words, said):
    with pytest.raises(InputError) as caught:
        asked = options(*words)
        asked_outputs(asked, NAMES)
        asked_lists(asked, NAMES, COLOURS)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_background_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="b.png cannot be read as an image"):
        asked_outputs(options("--background", str(tmp_path / "b.png")), NAMES)


def test_where_no_class_is_called_background_the_names_are_listed():
    with pytest.raises(InputError, match="from sky, road.$"):
        asked_outputs(options("--cut-out"), ("sky", "road"))


ODD = ("background", 'a, "b"', "cat, dog", "cat", "dog", " c ", "caf\u00e9", "dog")


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("--keep", 'a, "b"'), (1,)),
        (("--keep", '"a, ""b""", cat'), (1, 3)),
        (("--keep", "cat, dog"), (2,)),
        (("--keep", "cat,dog"), (3, 4)),
        (("--keep", '"cat, dog",dog'), (2, 4)),
        (("--keep", "cat", "--keep", "dog", "--keep", "cat"), (3, 4)),
        (("--keep", " c "), (5,)),
        (("--keep", "cat,cafe\u0301"), (3, 6)),
    ],
)
def test_every_class_can_be_named_whatever_its_name_holds(words, kept):
    assert CutOut(kept) in asked_outputs(options("--cut-out", *words), ODD)


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ('"a, b', '--keep "a, b: a quotation mark is not closed; write a name that holds'),
        ("line\nbreak,c", "--keep line break,c: it has several lines; write a name that holds"),
        ("c", '" c "'),
        ("cat,", "--keep : there is no such class; near: background, "),
        ("", "--keep : there is no such class; near: background, "),
        ("DOG", '--keep DOG: there is no such class; near: dog, "cat, dog".'),
        ("a, b", "--keep a: there is no such class"),
        ("aa b", 'near: "a, ""b"""'),
    ],
)
def test_a_name_that_no_class_has_is_refused_with_names_as_they_can_be_given(keep, said):
    with pytest.raises(InputError) as caught:
        asked_outputs(options("--cut-out", "--keep", keep), ODD)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_coco_leaves_the_background_out_and_has_all_classes_where_there_is_none():
    assert asked_lists(options("--areas", "--coco"), NAMES, COLOURS) == [
        Areas(NAMES, COLOURS),
        Coco(NAMES, (1, 2), 1.0),
    ]
    assert asked_lists(options("--coco"), ("a", "b"), COLOURS[:2]) == [
        Coco(("a", "b"), (0, 1), 1.0)
    ]


def test_a_file_that_could_not_be_written_whole_is_not_there(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "old.txt") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"

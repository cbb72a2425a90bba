"""Images and masks whose names differ by a pattern."""

import pathlib
import unicodedata

import numpy as np
import pytest
from PIL import Image

from segjax.data.file_pattern import FilePattern
from segjax.data.files import MASKS
from segjax.data.folder import Folder
from segjax.errors import InputError

NAMES = ("ground", "thing", "other")


def save(root, name, value, *, channels=1):
    """A file of one value; images are told from masks by their channels."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (4, 6, 3) if channels == 3 else (4, 6)
    form = "TIFF" if path.suffix.lower() == ".tif" else None
    Image.fromarray(np.full(shape, value, np.uint8)).save(path, form)


def fill(root, *pairs):
    """Pairs of an image's and a mask's name; the mask of pair i holds i."""
    for i, (image, mask) in enumerate(pairs):
        save(root, image, 7, channels=3)
        save(root, mask, i)


def folder(root, **options):
    return Folder(directory=str(root), **{"class_names": NAMES, **options})


def labels(data):
    return {e["name"]: int(e["label"].max()) for e in data}


def problem(root, **options):
    with pytest.raises(InputError) as caught:
        folder(root, **options).prepare()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pattern(text):
    return FilePattern.of(text, MASKS, field="mask")


@pytest.mark.parametrize(
    ("options", "pairs", "stems"),
    [
        (
            {"image": "raw/{stem}.tif", "mask": "labels/{stem}_mask.png"},
            [("raw/b.tif", "labels/b_mask.png"), ("raw/c.TIF", "labels/c_mask.PNG")],
            ["b", "c"],
        ),
        (
            {"image": "raw/{stem}.tif", "mask": "labels{stem:0>8}.png"},
            [("raw/7.tif", "labels00000007.png"), ("raw/123456789.tif", "labels123456789.png")],
            ["7", "123456789"],
        ),
        (
            {"image": "raw/x{stem:0>3}.*", "mask": "labels/{stem}.png"},
            [("raw/x007.jpg", "labels/7.png"), ("raw/x000.png", "labels/0.png")],
            ["7", "0"],
        ),
        (
            {"image": "raw/{stem}.tif", "mask": "labels/{stem:_<4}.png"},
            [("raw/ab.tif", "labels/ab__.png")],
            ["ab"],
        ),
        (
            {"image": "raw/{stem}.jpg", "mask": "labels/m-{stem}.*"},
            [("raw/street/a.jpg", "labels/street/m-a.bmp"), ("raw/b.jpg", "labels/m-b.png")],
            ["street/a", "b"],
        ),
        (
            {"image": "{stem}.jpg", "mask": "{stem}.png"},
            [("a.jpg", "a.png"), ("street/b.jpg", "street/b.png")],
            ["a", "street/b"],
        ),
        (
            {"image": "{stem}.png", "mask": "{stem}_mask.png"},
            [("a.png", "a_mask.png"), ("b.png", "b_mask.png")],
            ["a", "b"],
        ),
        (
            {"image": "cases/{stem}/scan.png", "mask": "cases/{stem}/of_{stem}.png"},
            [
                ("cases/p1/scan.png", "cases/p1/of_p1.png"),
                ("cases/x/p2/scan.png", "cases/x/p2/of_p2.png"),
            ],
            ["p1", "x/p2"],
        ),
        (
            {"image": "all{{1}}/{stem}.png", "masks": "masks"},
            [("all{1}/a.png", "masks/a.png")],
            ["a"],
        ),
        ({"images": ".", "masks": "masks"}, [("a.png", "masks/a.png")], ["a"]),
        (
            {"image": "raw/{stem}_{stem}.png", "mask": "m/{stem}-{stem:0>4}.png"},
            [("raw/a_b_a_b.png", "m/a_b-0a_b.png"), ("raw/x-1_x-1.png", "m/x-1-0x-1.png")],
            ["a_b", "x-1"],
        ),
    ],
    ids=lambda value: str(value)[:70],
)
def test_an_image_finds_the_mask_that_its_stem_names(options, pairs, stems, tmp_path):
    fill(tmp_path, *pairs)
    data = folder(tmp_path, **options)
    assert labels(data) == {stem: i for i, stem in enumerate(stems)}
    assert all(example["image"].max() == 7 for example in data)
    assert eval(repr(data)) == data


def test_a_pattern_a_class_gives_planes(tmp_path):
    for i, name in enumerate(("disc", "cup")):
        fill(tmp_path, ("raw/7.jpg", f"m/7_{name}.png"))
        save(tmp_path, f"m/7_{name}.png", i)
    data = folder(
        tmp_path,
        class_names=("disc", "cup"),
        image="raw/{stem}.jpg",
        mask=("m/{stem}_disc.png", "m/{stem}_cup.png"),
    )
    assert data.has_planes and data[0]["label"].max((0, 1)).tolist() == [0, 1]


def test_a_split_is_a_list_of_stems_or_files_or_a_folder(tmp_path):
    options = {"image": "raw/im_{stem}.jpg", "mask": "m/{stem}.png"}
    fill(tmp_path, ("raw/im_a.jpg", "m/a.png"), ("raw/im_b.jpg", "m/b.png"))
    fill(tmp_path, ("raw/val/im_c.jpg", "m/val/c.png"))
    (tmp_path / "train.txt").write_text("b\nim_a.jpg\n")
    assert [e["name"] for e in folder(tmp_path, split="train", **options)] == ["b", "a"]
    assert [e["name"] for e in folder(tmp_path, split="val", **options)] == ["c"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_pattern_fits_either_unicode_form(form, tmp_path):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    image, mask = "fotos/é_bild.png", "fotos/é_maske.png"
    fill(tmp_path, (unicodedata.normalize(form, image), unicodedata.normalize(other, mask)))
    options = {"image": "fotos/{stem}_bild.png", "mask": "fotos/{stem}_maske.png"}
    assert labels(folder(tmp_path, **options)) == {"é": 0}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (
            "labels/b-mask.png",
            "; there is {root}/labels/b-mask.png (the nearest name), but the",
        ),
        ("labels/b_mask.jpg", "; there is b_mask.jpg, which changes class ids: save masks as"),
        ("labels/b_mask.bmp", "; there is b_mask.bmp, but the pattern wants another suffix"),
        ("labels/b_mask_2.png", "labels/b_mask_2.png (its name goes on)"),
        ("labels/notes.txt", "{root}/labels/b_mask.png: add the mask, or leave the image out."),
    ],
)
def test_a_missing_mask_names_the_image_the_file_looked_for_and_the_nearest(
    there, said, tmp_path
):
    fill(tmp_path, ("raw/a.tif", "labels/a_mask.png"))
    save(tmp_path, "raw/b.tif", 7, channels=3)
    if there.endswith(".txt"):
        (tmp_path / there).write_text("no image")
    else:
        save(tmp_path, there, 0)
    message = problem(tmp_path, image="raw/{stem}.tif", mask="labels/{stem}_mask.png")
    assert said.format(root=tmp_path) in message
    assert f"{tmp_path}/raw/b.tif has no mask {tmp_path}/labels/b_mask.png" in message


def test_a_mask_without_an_image_is_named_with_the_image_looked_for(tmp_path):
    fill(tmp_path, ("raw/1.tif", "labels/00000001.png"))
    save(tmp_path, "labels/00000007.png", 0)
    message = problem(tmp_path, image="raw/{stem}.tif", mask="labels/{stem:0>8}.png")
    assert f"mask {tmp_path}/labels/00000007.png has no image {tmp_path}/raw/7.tif" in message


def test_two_images_of_one_mask_and_an_image_that_is_its_own_are_refused(tmp_path):
    fill(tmp_path, ("raw/7.tif", "labels/00000007.png"), ("raw/07.tif", "labels/00000007.png"))
    message = problem(tmp_path, image="raw/{stem}.tif", mask="labels/{stem:0>8}.png")
    assert "raw/07.tif and" in message and "have the same mask" in message
    save(tmp_path, "one/0001.png", 0)
    message = problem(tmp_path, image="one/{stem}.png", mask="one/{stem:0>4}.png")
    assert message.startswith(f"{tmp_path}/one/0001.png is an image and its own mask")


def test_a_pattern_that_fits_no_image_names_a_file_that_is_there(tmp_path):
    fill(tmp_path, ("raw/a.jpg", "labels/a.png"))
    message = problem(tmp_path, image="raw/{stem}.tif", mask="labels/{stem}.png")
    assert message == (
        f"{tmp_path}/raw has no images named {{stem}}.tif; the first file there is "
        f"{tmp_path}/raw/a.jpg: mend image=..., or directory=... (--data)."
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"image": "raw"},
            "image='raw': write {stem} where the image's own name stands, as in",
        ),
        ({"mask": "m/{name}.png"}, "write {stem} where .*labels/{stem}_mask.png"),
        ({"mask": "m/{}.png"}, "write {stem} where"),
        ({"mask": "m/{stem!r}.png"}, "write {stem} where"),
        ({"mask": "m/{stem.png"}, "is not a pattern .*write {stem} where"),
        ({"image": 3}, "image=3, which is not a pattern"),
        ({"mask": "m/{stem:08}.png"}, r"as in {stem:0>8}, which puts zeros in front"),
        ({"mask": "m/{stem:0>8d}.png"}, r"as in {stem:0>8}"),
        ({"mask": "m/{stem:/>8}.png"}, r"as in {stem:0>8}"),
        ({"mask": "m/{stem:.3}.png"}, r"as in {stem:0>8}"),
        ({"mask": "m/{stem}.jpg"}, "masks {stem}.jpg, but JPEG changes class ids: if they are"),
        (
            {"mask": "m/{stem}.webp"},
            r"files that end in .webp are not read as masks: end it in",
        ),
        ({"image": "m/{stem}.exr"}, r"files that end in .exr are not read as images"),
        ({"mask": "m/{stem:0>256}.png"}, r"a width up to 255, as in {stem:0>8}"),
        ({"mask": "m/{stem:0>%s}.png" % ("9" * 20)}, r"a width up to 255, as in {stem:0>8}"),
        ({"mask": "m/{stem:0>%s}.png" % ("9" * 9999)}, r"a width up to 255"),
        ({"images": 3}, "images=3: write images='images', the name of a folder"),
        ({"images": None}, "images=None: write images='images'"),
        ({"images": ("a",)}, r"images=\('a',\): write images="),
        ({"images": "im/*/x"}, r"images='im/\*/x': {stem} stands .* image=\"images/{stem}_q"),
        ({"images": "*_q"}, r"images='\*_q': {stem} stands .* Sub-folders .* by themselves"),
        (
            {"image": "im/*/{stem}.png"},
            r"but \* stands for any suffix alone, as in \"images/{st",
        ),
        (
            {"mask": "{stem}_*.png"},
            r"but \* stands for any suffix alone, as in \"masks/{stem}\.\*",
        ),
        ({"image": "/{stem}.png"}, "image='/{stem}.png': leave the first / out"),
        ({"image": "//{stem}.png"}, "leave the first / out"),
        (
            {"image": ".{stem}.png"},
            "image='.{stem}.png', but files and folders whose names beg",
        ),
        ({"mask": "m/{stem}/.mask.png"}, "whose names begin with a dot"),
        ({"mask": "m/{stem}/../mask.png"}, "whose names begin with a dot"),
        ({"mask": "m/{stem}//mask.png"}, "a name is not empty"),
        ({"image": "m/{stem}.png", "images": "raw"}, "image='m/{stem}.png' and images='raw'"),
        ({"mask": "m/{stem}.png", "masks": ("a",)}, "mask='m/{stem}.png' and masks="),
        ({"mask": ("m/{stem}.png",)}, r"1 mask for 3 class\(es\)"),
        (
            {"mask": ("a/{stem}", "./a/{stem}.*", "b/{stem}")},
            "gives two classes the same masks",
        ),
        (
            {"image": "a/{stem}.png", "mask": "a/{stem}.png"},
            "the same names for images and mas",
        ),
        ({"images": "masks"}, "the same names for images and masks"),
        ({"mask": "images/{stem}"}, "the same names for images and masks, images/: name other"),
    ],
    ids=lambda value: str(value)[:70],
)
def test_a_wrong_pattern_is_refused_in_one_line_with_the_remedy(options, words):
    with pytest.raises(InputError, match=words) as caught:
        folder(pathlib.Path("anywhere"), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "m/{stem:0>4}.png",
        "m/{stem}/{stem:x<3}",
        "{stem}_{stem}.*",
        "m/{stem:>5}",
        "{stem}{stem}",
        "{stem:0>4}{stem}.png",
        "{stem:0>3}/a{stem:0<4}_{stem}",
        "a{{b}}{stem}{{c}}",
    ],
)
@pytest.mark.parametrize(
    "stem", ["7", "street/7", "12345678", "a b", "x{y}", "é", "a_b_a", "x-x", "4_", "{c}"]
)
def test_a_stem_comes_back_from_the_name_that_it_gives(text, stem):
    made = pattern(text)
    assert made.stem(made.name(stem)) == stem


def test_of_several_stems_that_give_a_name_the_shortest_is_taken():
    assert pattern("{stem:0>3}_{stem:0>2}").stem("007_07") == "7"
    assert pattern("{stem:0>3}").stem("007") == "7" and pattern("{stem:0>3}").stem("000") == "0"


@pytest.mark.parametrize("name", ["07", "a", ""])
def test_a_name_that_no_stem_gives_has_none(name):
    assert pattern("{stem:0>3}").stem(name) is None
    assert pattern("{stem}/{stem:0>3}").stem("8/007") is None
    assert pattern("{stem:0>3}/{stem}").stem("007/07") == "07"
    assert pattern("{stem:0>3}/{stem}").stem("007/") is None


def test_a_pattern_that_gives_no_image_a_mask_is_told_as_the_patterns_fault(tmp_path):
    fill(tmp_path, ("raw/a.tif", "labels/a_mask.png"), ("raw/b.tif", "labels/b_mask.png"))
    save(tmp_path, "labels/0_label.png", 0)  # A mask of no image comes first by name.
    message = problem(tmp_path, image="raw/{stem}.tif", mask="labels/{stem}_label.png")
    assert message == (
        f"None of the 2 images has a mask: {tmp_path}/raw/a.tif would have {tmp_path}/labels/"
        f"a_label.png; there is {tmp_path}/labels/0_label.png (the nearest name), but the "
        "pattern wants another name. Change the folder or pattern of the masks."
    )


def test_a_missing_folder_is_told_with_those_that_are_there(tmp_path):
    fill(tmp_path, ("raw/a.tif", "labels/a_mask.png"))
    message = problem(tmp_path, image="pictures/{stem}.tif", mask="labels/{stem}_mask.png")
    expected = f"({tmp_path} holds labels/, raw/: if your files are there, change image"
    assert expected in message

import os
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.contracts import Dataset
from segjax.data.folder import Folder
from segjax.errors import InputError

RAW = runpy.run_path(str(pathlib.Path(__file__).with_name("raw_files.py")))
NAMES = ("ground", "thing", "other")


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path, **options)


def save_pair(root, stem, *, h=4, w=6, label=0, images="images", masks="masks"):
    save(root / images / f"{stem}.png", np.full((h, w, 3), 7))
    save(root / masks / f"{stem}.png", np.full((h, w), label))


@pytest.fixture
def root(tmp_path):
    for index, stem in enumerate(("a", "b", "street/c")):
        save_pair(tmp_path / "data", stem, label=index)
    return tmp_path / "data"


def folder(root, **options):
    return Folder(directory=str(root), **{"class_names": NAMES, **options})


def problem(root, **options):
    """The one line that says why the folder cannot be used; nothing stays in the cache."""
    with pytest.raises(InputError) as caught:
        folder(root, **options).prepare()
    cache = pathlib.Path(os.environ["SEGJAX_CACHE"])
    assert not cache.exists() or not list(cache.iterdir())
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_images_and_masks_pair_by_relative_name_in_alphabetical_order(root):
    data = folder(root)
    assert isinstance(data, Dataset)
    assert [(e["name"], e["label"].max()) for e in data] == [
        ("a", 0),
        ("b", 1),
        ("street/c", 2),
    ]
    assert data[0]["image"].shape == (4, 6, 3) and data[0]["label"].shape == (4, 6)
    assert eval(repr(data)) == data


def test_suffixes_count_in_any_case_and_hidden_files_do_not(root):
    os.rename(root / "images/a.png", root / "images/a.PNG")
    (root / "images/.DS_Store.png").write_bytes(b"junk")
    (root / "images/notes.txt").write_text("not an image")
    assert len(folder(root)) == 3


def test_a_split_is_a_list_of_names(root):
    (root / "val.txt").write_text("street/c\n\na.png\n")
    assert [e["name"] for e in folder(root, split="val")] == ["street/c", "a"]


def test_a_split_is_a_folder_of_that_name_below_both(root):
    save_pair(root, "d", images="images/val", masks="masks/val")
    assert [e["name"] for e in folder(root, split="val")] == ["d"]


def test_a_split_that_is_neither_is_named_with_both_places(root):
    message = problem(root, split="test")
    assert "test.txt" in message and str(root / "images" / "test") in message


def test_label_map_renames_ids_and_leaves_the_others(root):
    save(root / "masks/a.png", [[0, 10, 255, 1, 2, 20]] * 4)
    data = folder(root, label_map=((0, 255), (10, 0), (20, 2)))
    assert data[0]["label"][0].tolist() == [255, 0, 255, 1, 2, 2]


def test_masks_of_black_and_white_are_two_classes(root):
    for stem in ("a", "b", "street/c"):
        save(root / f"masks/{stem}.png", [[0, 255] * 3] * 4)
    data = folder(root, class_names=("black", "white"), label_map=((255, 1),))
    assert data[2]["label"][0].tolist() == [0, 1] * 3


def test_a_palette_mask_is_read_by_its_indices(root):
    mask = Image.fromarray(np.full((4, 6), 2, np.uint8))
    mask.putpalette([255, 0, 0, 0, 255, 0, 9, 9, 9])
    assert mask.mode == "P"
    mask.save(root / "masks/a.png")
    assert (folder(root)[0]["label"] == 2).all()


def test_a_mask_of_sixteen_bits_is_read_with_a_label_map(root):
    Image.fromarray(np.full((4, 6), 1000, np.uint16)).save(root / "masks/a.png")
    assert (folder(root, label_map=((1000, 1),))[0]["label"] == 1).all()


def test_images_become_rgb_or_grey_as_channels_says(root):
    save(root / "images/a.png", np.full((4, 6), 9))
    save(root / "images/b.png", np.full((4, 6, 4), 9))
    save(root / "images/street/c.png", np.dstack([np.full((4, 6), v) for v in (255, 0, 0)]))
    assert [e["image"].shape for e in folder(root)] == [(4, 6, 3)] * 3
    grey = [e["image"] for e in folder(root, channels=1)]
    assert [image.shape for image in grey] == [(4, 6, 1)] * 3 and (grey[2] == 76).all()


def test_an_image_is_turned_as_its_exif_data_say(root):
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # Show it after a quarter turn clockwise.
    save(root / "images/a.png", np.rot90(upright), exif=exif)
    assert np.array_equal(folder(root)[0]["image"], upright)


def test_a_jpeg_is_kept_bit_for_bit(root):
    noise = np.random.default_rng(0).integers(0, 255, (4, 6, 3))
    (root / "images/a.png").unlink()
    save(root / "images/a.jpg", noise, quality=50)
    expected = np.asarray(Image.open(root / "images/a.jpg"))
    assert np.array_equal(folder(root)[0]["image"], expected)


def test_a_truncated_file_is_named(root):
    save(root / "images/b.png", np.random.default_rng(0).integers(0, 255, (4, 6, 3)))
    data = (root / "images/b.png").read_bytes()
    (root / "images/b.png").write_bytes(data[: len(data) // 2])
    message = problem(root)
    assert (
        message.startswith(f"{root / 'images/b.png'} cannot be read")
        and "leave it out" in message
    )


def test_a_file_that_is_no_image_is_named_and_the_others_are_counted(root):
    (root / "images/a.png").write_text("hello")
    (root / "masks/b.png").write_text("")
    save(root / "masks/street/c.png", np.full((4, 6), 9))
    message = problem(root)
    assert message.startswith(f"{root / 'images/a.png'} cannot be read as an image (no known")
    assert message.endswith("(and 2 more)")


def test_an_image_without_a_mask_is_named(root):
    (root / "masks/b.png").unlink()
    message = problem(root)
    assert f"{root / 'images/b.png'} has no mask {root / 'masks/b'}.*" in message
    assert message.endswith("add the mask, or leave the image out.")


def test_a_mask_without_an_image_is_named(root):
    (root / "images/a.png").unlink()
    (root / "images/b.png").unlink()
    message = problem(root)
    assert f"mask {root / 'masks/a.png'} has no image" in message
    assert message.endswith("(and 1 more)")


def test_a_listed_name_without_an_image_is_named(root):
    (root / "val.txt").write_text("a\nnobody\n")
    assert "'nobody' has no image" in problem(root, split="val")


def test_sizes_that_differ_are_named(root):
    save(root / "masks/b.png", np.zeros((4, 5)))
    message = problem(root)
    assert f"{root / 'masks/b.png'} is 5x4 pixels" in message and "is 6x4" in message


def test_label_ids_outside_the_classes_are_named(root):
    save(root / "masks/b.png", [[0, 3, 7, 255, 1, 2]] * 4)
    message = problem(root)
    assert f"{root / 'masks/b.png'} has the label ids 3, 7, but the 3 classes" in message
    assert "label_map" in message


def test_a_mask_of_colours_is_refused(root):
    save(root / "masks/b.png", np.arange(72).reshape(4, 6, 3))
    message = problem(root)
    assert f"{root / 'masks/b.png'} holds colours (mode RGB)" in message
    assert "palette" in message and "mask_colours=(((" in message


def test_an_image_of_sixteen_bits_is_refused(root):
    Image.fromarray(np.full((4, 6), 1000, np.uint16)).save(root / "images/b.png")
    assert "more than 8 bits" in problem(root, channels=1)


def deep_colours(root):
    data = RAW["png"](np.full((4, 6, 3), 40_000), 16, "rgb")
    (root / "images/b.png").write_bytes(data)


def test_colours_of_sixteen_bits_are_refused_and_not_cut_to_eight(root):
    deep_colours(root)
    assert f"{root / 'images/b.png'} has more than 8 bits a channel (16" in problem(root)


@pytest.mark.parametrize("bits, top", [(2, 3), (4, 15)])
def test_a_mask_of_few_bits_keeps_its_ids(root, bits, top):
    rows = [[0, 1, 2, 3, top, 0]] * 4
    (root / "masks/a.png").write_bytes(RAW["png"](rows, bits))
    (root / "masks/b.png").unlink()
    (root / "masks/b.tif").write_bytes(RAW["tiff"](rows, bits=bits, photometric=0))
    data = folder(root, class_names=tuple(map(str, range(16))))
    assert data[0]["label"].tolist() == data[1]["label"].tolist() == rows


def test_image_and_mask_are_each_turned_by_their_own_tag(root):
    ids = np.arange(24).reshape(4, 6) % 3
    for kind, channels in (("images", 3), ("masks", 1)):
        array = np.repeat(50 * ids[..., None], 3, -1) if channels == 3 else ids
        data = RAW["png"](array, 8, "rgb" if channels == 3 else "grey", orientation=6)
        (root / kind / "a.png").write_bytes(data)
    example = folder(root)[0]
    assert example["label"].tolist() == np.rot90(ids, -1).tolist()
    assert (example["image"] == 50 * example["label"][..., None]).all()


def stack(path, arrays, **options):
    first, *others = (Image.fromarray(np.asarray(array, np.uint8)) for array in arrays)
    first.save(path, save_all=True, append_images=others, **options)


def test_each_page_of_a_stack_and_its_masks_is_an_example(root):
    for name in ("a", "street/c"):
        for kind in ("images", "masks"):
            (root / kind / f"{name}.png").unlink()
    pictures = [np.full((4, 6), 80 * page) for page in range(3)]
    stack(root / "images/a.tif", pictures)
    stack(root / "masks/a.tif", [np.full((4, 6), page) for page in range(3)])
    stack(root / "images/street/c.gif.webp", pictures[:2], lossless=True)
    stack(root / "masks/street/c.gif.tif", [np.full((4, 6), page) for page in range(2)])
    found = [(e["name"], e["image"].max(), e["label"].max()) for e in folder(root)]
    assert found == [
        *((f"a/00000{page + 1}", 80 * page, page) for page in range(3)),
        ("b", 7, 1),
        *((f"street/c.gif/00000{page + 1}", 80 * page, page) for page in range(2)),
    ]


@pytest.mark.parametrize("images, masks", [(3, 1), (1, 3), (3, 2)])
def test_stacks_of_different_numbers_of_pages_are_refused_with_both(root, images, masks):
    for kind, count in (("images", images), ("masks", masks)):
        (root / kind / "a.png").unlink()
        stack(root / kind / "a.tif", [np.zeros((4, 6))] * count)
    message = problem(root)
    assert f"a.tif holds {images} image(s) and its mask" in message
    assert f"a.tif {masks}: give each image its mask" in message


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_a_moving_picture_is_no_mask(root, suffix):
    for kind in ("images", "masks"):
        (root / kind / "a.png").unlink()
    stack(root / "images/a.tif", [np.zeros((4, 6)), np.ones((4, 6))])
    stack(root / f"masks/a.{suffix}", [np.zeros((4, 6)), np.ones((4, 6))])
    assert f"a.{suffix} holds 2 frames: save each as a mask" in problem(root)


def test_smaller_copies_inside_a_tiff_are_no_pages(root):
    (root / "masks/a.png").unlink()
    data = RAW["tiff"](np.ones((4, 6), int), bits=8)
    both = RAW["tiff"](np.ones((4, 6), int), np.ones((2, 3), int), bits=8, subfiles=(0, 1))
    assert len(both) > len(data)
    (root / "masks/a.tif").write_bytes(both)
    assert (folder(root)[0]["label"] == 1).all()


@pytest.mark.parametrize("subfiles", [(1, 1, 1), (1, 4, 1), (5, 5, 5)])
def test_a_tiff_of_nothing_but_smaller_copies_has_them_as_pages(subfiles, tmp_path):
    stack = [np.full((4, 6), value) for value in (1, 2, 0)]
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        data = RAW["tiff"](*stack, bits=8, subfiles=subfiles)
        (tmp_path / kind / "a.tif").write_bytes(data)
    assert [example["label"][0, 0] for example in folder(tmp_path)] == [1, 2, 0]


def test_a_gif_is_a_mask(root):
    (root / "masks/a.png").unlink()
    save(root / "masks/a.gif", [[0, 255, 255, 0, 0, 255]] * 4)
    found = folder(root, label_map=((255, 1),))[0]["label"]
    assert found[0].tolist() == [0, 1, 1, 0, 0, 1]


def test_an_image_above_the_limit_is_refused_with_the_field_that_allows_it(root):
    save(root / "images/b.png", np.zeros((1001, 1000, 3)))
    save(root / "masks/b.png", np.zeros((1001, 1000)))
    message = problem(root, max_megapixels=1.0)
    assert message.startswith(f"{root / 'images/b.png'} has 2 megapixels (1000 x 1001), and")
    assert "allow it with Folder(max_megapixels=2)" in message and "remove" not in message
    assert folder(root, max_megapixels=2)[1]["image"].shape == (1001, 1000, 3)


def test_the_limit_of_megapixels_is_the_fields_and_not_pillows(root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    assert folder(root)[0]["image"].shape == (4, 6, 3) and Image.MAX_IMAGE_PIXELS == 2


TWO = ("ground", "thing")
THRESHOLD = ((">127", 1), ("else", 0))
WRITTEN_OUT = tuple((grey, int(grey > 127)) for grey in range(256))


def white(root, stem, value, bits):
    rows = [[0, value, value, 0, 0, 0]] * 4
    (root / f"masks/{stem}.png").write_bytes(RAW["png"](rows, bits))


@pytest.mark.parametrize("label_map", [(), THRESHOLD, WRITTEN_OUT, ((255, 1), ("else", 0))])
@pytest.mark.parametrize("value, bits", [(1, 1), (1, 8)])
def test_white_stored_in_two_ways_is_refused_with_both_counted(root, label_map, value, bits):
    white(root, "a", value, bits)
    white(root, "b", 255, 8)
    white(root, "street/c", 255, 8)
    message = problem(root, class_names=TWO, label_map=label_map)
    assert (
        f"1 hold 0 and 1 (class {dict(label_map).get(1, 1 if not label_map else 0)}" in message
    )
    assert "2 hold 0 and 255 (class" in message and 'label_map=(("nonzero", 1),)' in message


@pytest.mark.parametrize(
    "label_map", [((255, 1),), (("nonzero", 1),), (("<=0", 0), ("else", 1))]
)
def test_white_stored_in_two_ways_is_read_where_the_label_map_makes_it_one(root, label_map):
    for stem, value, bits in (("a", 1, 1), ("b", 255, 8), ("street/c", 65535, 16)):
        white(root, stem, value, bits)
    label_map = (*label_map, (65535, 1)) if label_map == ((255, 1),) else label_map
    labels = [e["label"] for e in folder(root, class_names=TWO, label_map=label_map)]
    assert all(label[0].tolist() == [0, 1, 1, 0, 0, 0] for label in labels)


def test_white_beside_grey_levels_counts_where_a_label_map_cuts_them(root):
    white(root, "a", 1, 1)
    for stem in ("b", "street/c"):
        save(root / f"masks/{stem}.png", [[0, 3, 250, 255, 9, 130]] * 4)
    message = problem(root, class_names=TWO, label_map=THRESHOLD)
    assert "1 hold 0 and 1 (class 0" in message and "2 hold 0 and 255 (class 1" in message


@pytest.mark.parametrize("label_map", [THRESHOLD, WRITTEN_OUT, ((255, 255), *THRESHOLD)])
@pytest.mark.parametrize("levels", [(200, 200), (254, 254), (130, 250), (3, 200)])
def test_a_threshold_does_not_empty_masks_of_0_and_1_beside_any_grey(root, label_map, levels):
    white(root, "a", 1, 1)
    for stem in ("b", "street/c"):
        void = dict(label_map).get(255) == 255
        save(
            root / f"masks/{stem}.png",
            [[0, 0, 2, 5, 9, 11], [0, *levels, 0, 255 * void, 0]] * 2,
        )
    message = problem(root, class_names=TWO, label_map=label_map)
    assert f"1 hold nothing above 1 (class 0; first {root / 'masks/a.png'})" in message
    assert "2 hold larger ids (class 1; first" in message
    assert "label_map begin with (1, 1); if not, with (1, 0)." in message


@pytest.mark.parametrize("target", [0, 1])
def test_a_threshold_that_names_1_is_read(root, target):
    for stem, value, bits in (("a", 1, 1), ("b", 200, 8), ("street/c", 254, 8)):
        white(root, stem, value, bits)
    data = folder(root, class_names=TWO, label_map=((1, target), *THRESHOLD))
    found = [example["label"][0].tolist() for example in data]
    assert found == [[0, i, i, 0, 0, 0] for i in (target, 1, 1)]


@pytest.mark.parametrize(
    "label_map",
    [
        ((255, 255), ("nonzero", 1)),
        (("1-9", 1), ("10-200", 0)),
        (("<10", 1), ("else", 255)),
        tuple((i, int(i % 7 in (2, 3))) for i in range(200)),
    ],
    ids=["all one class", "1 is kept", "the rest is ignored", "many ids by name"],
)
def test_masks_of_0_and_1_are_read_where_no_threshold_empties_them(root, label_map):
    white(root, "a", 1, 1)
    white(root, "b", 149, 8)
    white(root, "street/c", 150, 8)
    expected = 0 if len(label_map) > 9 else 1
    found = folder(root, class_names=TWO, label_map=label_map)[0]["label"]
    assert found[0, 1] == expected


@pytest.mark.parametrize(
    "masks, options",
    [
        ([[0, 1], [0, 255], [1, 255]], {}),
        ([[0, 1], [0, 255], [0, 0]], {"label_map": ((255, 255),)}),
        ([[0, 1], [0, 2], [0, 0]], {}),
        ([[0, 1], [0, 255], [0, 2]], {"label_map": ((255, 2),)}),
    ],
    ids=["255 stands beside 1", "255 is named", "no white", "1 keeps its class"],
)
def test_ids_that_have_one_meaning_are_read(root, masks, options):
    for stem, row in zip(("a", "b", "street/c"), masks, strict=True):
        save(root / f"masks/{stem}.png", [row * 3] * 4)
    renamed = dict(options.get("label_map", ()))
    found = [e["label"][0, :2].tolist() for e in folder(root, **options)]
    assert found == [[renamed.get(i, i) for i in row] for row in masks]


def test_two_images_of_one_name_are_refused(root):
    save(root / "images/a.jpg", np.zeros((4, 6, 3)))
    assert "a.png and a.jpg share a name" in problem(root)


def test_an_empty_folder_is_named(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    assert f"{tmp_path / 'images'} has no images" in problem(tmp_path)
    (tmp_path / "images/a.npy").touch()
    said = problem(tmp_path)
    assert 'name .npy in the pattern, as image="images/{stem}.npy".' in said


def test_a_missing_folder_is_named_with_the_option_that_gives_it(tmp_path):
    message = problem(tmp_path / "nowhere")
    assert "nowhere" in message and "directory=..." in message and "--data DIR" in message
    with pytest.raises(InputError, match="Folder does not know.*--data DIR"):
        Folder(class_names=NAMES).prepare()
    assert f"folder {tmp_path / 'images'} is missing" in problem(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_names": ()}, "got 0"),
        ({"class_names": ("object")}, r"class_names='object': write class_names=\('backg"),
        ({"class_names": (1, 2)}, r"class_names=\(1, 2\): write class_names=\('backgr"),
        ({"class_names": 3}, r"class_names=3: write class_names=\('background', 'object'\)"),
        ({"split": 3}, "split=3: write split='train'"),
        ({"directory": 3}, "directory=3: write directory='my_data'"),
        ({"max_megapixels": "9"}, "max_megapixels='9': write max_megapixels=100"),
        ({"colours": 3}, r"colours=3: write one \(red, green, blue\), 0 to 255, a class"),
        ({"channels": True}, "Folder has channels=True: write channels=3 for RGB"),
        ({"channels": 0}, "channels=0: write channels=3 for RGB, 1 for grey"),
        ({"channels": "3"}, "channels='3': write channels=3"),
        ({"image_dtype": "int16"}, "image_dtype='int16': write one of 'uint8', 'uint16'"),
        ({"mask_colours": 3}, r"mask_colours=3 must be pairs: write mask_colours=\(\("),
        ({"mask_colours": (((0, 0), 1),)}, r"\(\(0, 0\), 1\), which is not a pair of a colour"),
        ({"mask_colours": (((0, 0, 256), 1),)}, "three numbers 0 to 255"),
        ({"mask_colours": (((0, 0, 0), 3),)}, "leads to 3 in .* ids are 0 to 2"),
        ({"mask_colours": (((9, 9, 9), 0),) * 2}, r"names \(9, 9, 9\) twice"),
        ({"mask_colours": (((9, 9, 9), 0),), "planes": True}, "has mask_colours and planes"),
        (
            {"mask_colours": (((9, 9, 9), 0),), "label_map": ((9, 1),)},
            "has mask_colours and label_map",
        ),
        ({"label_map": ((7, 3),)}, r"leads to 3 in \(7, 3\)"),
        ({"label_map": (255, 1)}, "must be pairs"),
        ({"max_megapixels": 0}, "max_megapixels > 0, got 0"),
        ({"max_megapixels": float("nan")}, "max_megapixels > 0, got nan"),
        ({"colours": ((0, 0, 0),)}, "got 1 colours for 3 classes"),
    ],
    ids=str,
)
def test_a_field_that_cannot_work_is_named(options, words):
    with pytest.raises(InputError, match=words):
        Folder(**{"class_names": NAMES, **options})


def test_colours_are_the_palette_and_255_has_its_own():
    data = Folder(class_names=NAMES, colours=((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    assert data.palette[[1, 255]].tolist() == [[4, 5, 6], [224, 224, 192]]

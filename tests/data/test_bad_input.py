"""What people bring: odd files, odd names, wrong labels; each is read right, or named."""

import pathlib
import runpy
import unicodedata
import zlib

import numpy as np
import pytest
from PIL import Image

from segjax.data.folder import Folder
from segjax.errors import InputError

RAW = runpy.run_path(str(pathlib.Path(__file__).with_name("raw_files.py")))
NAMES = ("ground", "thing", "other")
IDS = np.arange(24).reshape(4, 6) % 3
NOISE = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image if isinstance(image, Image.Image) else Image.fromarray(np.uint8(image))
    image.save(path, **options)


@pytest.fixture
def root(tmp_path):
    save(tmp_path / "images/a.png", NOISE)
    save(tmp_path / "masks/a.png", IDS)
    return tmp_path


def folder(root, **options):
    return Folder(directory=str(root), **{"class_names": NAMES, **options})


def problem(root, **options):
    with pytest.raises(InputError) as caught:
        folder(root, **options).prepare()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def only(root, **options):
    (example,) = folder(root, **options)
    return example


def interlaced(samples):
    """A PNG of one byte a pixel in Adam7's order; Pillow writes none."""
    h, w = samples.shape
    steps = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4))
    steps += ((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in steps]
    rows = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    data = RAW["png"](samples, 8)
    start, end = data.index(b"IHDR"), data.index(b"IDAT")
    header = bytearray(data[start : start + 17])
    header[-1] = 1
    chunks = (
        (bytes(header[:4]), bytes(header[4:])),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    coded = b"".join(
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
        for name, body in chunks
    )
    assert end
    return data[: start - 4] + coded


def test_an_interlaced_image_and_mask_are_read(root):
    (root / "masks/a.png").write_bytes(interlaced(np.uint8(IDS)))
    (root / "images/a.png").write_bytes(interlaced(NOISE[..., 0]))
    with Image.open(root / "masks/a.png") as opened:
        assert opened.info["interlace"] == 1
    example = only(root, channels=1)
    np.testing.assert_array_equal(example["label"], IDS)
    np.testing.assert_array_equal(example["image"], NOISE[..., :1])


def test_an_image_in_cmyk_becomes_rgb(root):
    (root / "images/a.png").unlink()
    save(root / "images/a.jpg", Image.new("CMYK", (6, 4), (0, 255, 255, 0)), quality=100)
    red = only(root)["image"]
    assert red.shape == (4, 6, 3) and (abs(red.astype(int) - (255, 0, 0)) < 6).all()


@pytest.mark.parametrize("transparency", [0, b"\x00\x80\xff"], ids=["one colour", "a table"])
def test_a_palette_with_transparency_keeps_its_indices_and_its_colours(transparency, root):
    image = Image.fromarray(np.uint8(IDS))
    image.putpalette([255, 0, 0, 0, 255, 0, 9, 9, 9])
    save(root / "masks/a.png", image, transparency=transparency)
    save(root / "images/a.png", image, transparency=transparency)
    example = only(root)
    np.testing.assert_array_equal(example["label"], IDS)
    colours = np.array([[255, 0, 0], [0, 255, 0], [9, 9, 9]])
    np.testing.assert_array_equal(example["image"], colours[IDS])


def test_a_mask_of_one_bit_holds_0_and_1(root):
    save(root / "masks/a.png", Image.fromarray(IDS == 1))
    with Image.open(root / "masks/a.png") as opened:
        assert opened.mode == "1"
    np.testing.assert_array_equal(only(root)["label"], IDS == 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_and_its_upright_mask_fit_however_the_camera_was_held(orientation, root):
    exif = Image.Exif()
    exif[0x0112] = orientation
    back = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Of Pillow's Transpose.
    stored = Image.fromarray(NOISE)
    if back != 1:
        stored = stored.transpose(Image.Transpose(turns[back]))
    save(root / "images/a.png", stored, exif=exif)
    example = only(root)
    np.testing.assert_array_equal(example["image"], NOISE)
    np.testing.assert_array_equal(example["label"], IDS)


def test_a_mask_stored_as_the_photo_without_its_tag_is_named_with_both_sizes(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "images/a.png", np.rot90(NOISE), exif=exif)
    save(root / "masks/a.png", np.rot90(IDS))
    said = problem(root)
    assert "masks/a.png is 4x6 pixels" in said and "each turned as its own EXIF says" in said


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_file_of_zero_bytes_is_named(kind, root):
    (root / kind / "a.png").write_bytes(b"")
    assert f"{root / kind / 'a.png'} cannot be read as an image" in problem(root)


def test_a_moving_gif_is_no_pair_of_a_single_mask(root):
    (root / "images/a.png").unlink()
    frames = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    save(root / "images/a.gif", frames[0], save_all=True, append_images=frames[1:])
    said = problem(root)
    assert "images/a.gif holds 2 image(s) and its mask" in said and "masks/a.png 1" in said


@pytest.mark.slow
def test_100_megapixels_are_read(tmp_path):
    for kind in ("images", "masks"):
        save(tmp_path / f"{kind}/a.png", Image.new("1", (10_000, 10_000)))
    example = only(tmp_path, channels=1)
    assert example["image"].shape == (10_000, 10_000, 1)
    assert example["label"].shape == (10_000, 10_000)


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_200_megapixels_are_refused_by_their_header_with_the_field_that_allows_them(kind, root):
    data = RAW["png"](IDS, 8)
    header = b"IHDR" + (20_000).to_bytes(4, "big") + (10_000).to_bytes(4, "big") + data[24:29]
    data = data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
    (root / kind / "a.png").write_bytes(data)
    said = problem(root)
    assert "a.png has 200 megapixels (20000 x 10000), and the limit is 180" in said
    assert "Folder(max_megapixels=200)" in said


@pytest.mark.parametrize(
    "stem", ["a.b.c", "A photo (1)", "ünïcode 漢字", "-dash", "100%", "a+b=c", "😀", "x" * 200]
)
def test_names_with_dots_spaces_and_signs_are_kept(stem, tmp_path):
    save(tmp_path / f"images/{stem}.PNG", NOISE)
    save(tmp_path / f"masks/{stem}.Png", IDS)
    (tmp_path / "train.txt").write_text(f"{stem}\n", encoding="utf-8")
    example = only(tmp_path, split="train")
    assert example["name"] == stem
    np.testing.assert_array_equal(example["label"], IDS)


def test_names_that_a_mac_made_fit_a_list_and_masks_from_elsewhere(tmp_path):
    decomposed, composed = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    assert decomposed != composed
    save(tmp_path / f"images/{decomposed}.png", NOISE)
    save(tmp_path / f"masks/{composed}.png", IDS)
    (tmp_path / "train.txt").write_text(f"{composed}.png\n", encoding="utf-8")
    assert only(tmp_path, split="train")["name"] == composed


def test_images_of_one_name_in_two_folders_are_two_images(root):
    for street in ("north", "south"):
        save(root / f"images/{street}/a.png", NOISE)
        save(root / f"masks/{street}/a.png", IDS)
    assert [e["name"] for e in folder(root)] == ["a", "north/a", "south/a"]


def test_images_of_one_name_and_two_suffixes_are_refused_with_both(root):
    save(root / "images/a.jpg", NOISE)
    assert "a.png and a.jpg share a name" in problem(root)


def test_an_id_beyond_the_classes_is_named_with_its_file_and_what_would_ignore_it(root):
    save(root / "masks/a.png", IDS + 1)
    said = problem(root)
    assert (
        f"{root / 'masks/a.png'} has the label id 3, but the 3 classes have ids 0 to 2" in said
    )
    assert "((3, 255),) ignores 3" in said


def test_ids_from_1_on_are_shifted_by_a_label_map_that_ignores_0(root):
    save(root / "masks/a.png", IDS + 1)
    shifted = only(root, label_map=((0, 255), (1, 0), (2, 1), (3, 2)))
    np.testing.assert_array_equal(shifted["label"], IDS)


def test_sides_that_no_network_divides_are_kept(root):
    save(root / "images/a.png", np.zeros((37, 53, 3)))
    save(root / "masks/a.png", np.zeros((37, 53)))
    assert only(root)["image"].shape == (37, 53, 3)

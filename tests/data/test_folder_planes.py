"""Folders whose labels have a plane a class: one mask file a class, or one file of all."""

import os
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.data.file_pattern import FilePattern
from segjax.data.files import MASKS
from segjax.data.folder import Folder
from segjax.errors import InputError

RAW = runpy.run_path(str(pathlib.Path(__file__).with_name("raw_files.py")))
NAMES = ("disc", "cup")
H, W = 4, 6
PLANES = {
    stem: np.random.default_rng(i).choice([0, 1, 255], (H, W, 2)).astype(np.uint8)
    for i, stem in enumerate(("a", "b", "street/c"))
}
STEMS = sorted(PLANES)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path, **options)


@pytest.fixture
def root(tmp_path):
    """Images, with the masks of each class in folders and by names in one folder."""
    for stem, planes in PLANES.items():
        save(tmp_path / f"images/{stem}.png", np.full((H, W, 3), 7))
        for k, name in enumerate(NAMES):
            save(tmp_path / f"{name}/{stem}.png", planes[..., k])
            save(tmp_path / f"masks/{stem}_{name}.png", planes[..., k])
            folder, _, last = stem.rpartition("/")
            save(tmp_path / "heads" / folder / f"{name}-{last}.png", planes[..., k])
    return tmp_path


def folder(root, **options):
    options = {"class_names": NAMES, "masks": NAMES, **options}
    return Folder(directory=str(root), **options)


def problem(root, **options):
    """The one line that says why the folder cannot be used; nothing stays in the cache."""
    with pytest.raises(InputError) as caught:
        folder(root, **options).prepare()
    cache = pathlib.Path(os.environ["SEGJAX_CACHE"])
    assert not cache.exists() or not list(cache.iterdir())
    message = str(caught.value)
    assert "\n" not in message
    return message


def problem_of(data):
    with pytest.raises(InputError) as caught:
        data.prepare()
    return str(caught.value)


def check(data, planes=PLANES):
    assert [e["name"] for e in data] == sorted(planes)
    for example in data:
        label = example["label"]
        np.testing.assert_array_equal(label, planes[example["name"]], strict=True)
        assert label.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(
    "masks",
    [NAMES, ("masks/*_disc", "masks/*_cup"), ("heads/disc-*", "heads/cup-*.png")],
    ids=["folders", "endings", "beginnings"],
)
def test_each_class_has_its_masks_in_a_folder_or_by_a_pattern(root, masks):
    data = folder(root, masks=masks)
    check(data)
    assert eval(repr(data)) == data and data.has_planes
    swapped = folder(root, masks=masks[::-1], class_names=NAMES[::-1])
    check(swapped, {stem: planes[..., ::-1] for stem, planes in PLANES.items()})


def test_a_split_is_a_list_or_a_folder_for_every_class(root):
    (root / "val.txt").write_text("street/c\na.png\n")
    for masks in (NAMES, ("masks/*_disc", "masks/*_cup")):
        assert [e["name"] for e in folder(root, masks=masks, split="val")] == ["street/c", "a"]
    for masks in (NAMES, ("masks/*_disc", "masks/*_cup")):
        (found,) = [e for e in folder(root, masks=masks, split="street")]
        np.testing.assert_array_equal(found["label"], PLANES["street/c"])


@pytest.mark.parametrize("kind", ["grey+alpha png", "pages tif", "grey+alpha tif"])
def test_one_file_holds_all_planes_as_channels_or_pages(root, kind):
    for stem, planes in PLANES.items():
        suffix = kind[-3:]
        path = root / f"all/{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pages = [planes[..., k] for k in range(2)]
        path.write_bytes(
            RAW["png"](planes, 8, "grey+alpha")
            if suffix == "png"
            else RAW["tiff"](*pages, bits=8)
            if kind == "pages tif"
            else RAW["tiff"](planes, bits=8, extra=2)
        )
    check(folder(root, masks="all", planes=True))


@pytest.mark.parametrize("k, kind", [(3, "rgb"), (4, "rgb+alpha")])
def test_colours_and_their_alpha_are_planes(root, k, kind):
    for i, stem in enumerate(STEMS):
        label = np.random.default_rng(i).choice([0, 1, 255], (H, W, k)).astype(np.uint8)
        (root / f"all/{stem}.png").parent.mkdir(parents=True, exist_ok=True)
        (root / f"all/{stem}.png").write_bytes(RAW["png"](label, 8, kind))
        names = tuple("abcd"[:k])
        if i == 2:
            found = folder(root, masks="all", planes=True, class_names=names)[2]["label"]
            np.testing.assert_array_equal(found, label)


def test_one_class_has_one_plane(root):
    for options in ({"masks": ("cup",)}, {"masks": "cup", "planes": True}):
        data = folder(root, class_names=("cup",), **options)
        check(data, {stem: planes[..., 1:] for stem, planes in PLANES.items()})


def test_the_one_mask_file_of_a_class_may_be_saved_in_equal_colours(root):
    for stem, planes in PLANES.items():
        save(root / f"cup/{stem}.png", np.repeat(planes[..., 1:], 3, axis=-1))
    data = folder(root, class_names=("cup",), masks=("cup",))
    check(data, {stem: planes[..., 1:] for stem, planes in PLANES.items()})


def test_a_label_map_leads_to_0_1_and_255_in_every_plane(root):
    for stem, planes in PLANES.items():
        for k, name in enumerate(NAMES):
            save(root / f"{name}/{stem}.png", np.where(planes[..., k] == 1, 200, 30))
    found = folder(root, label_map=((">127", 1), ("else", 0)))
    check(found, {stem: (planes == 1).astype(np.uint8) for stem, planes in PLANES.items()})


def test_planes_are_turned_as_each_file_says(root):
    for k, name in enumerate(NAMES):
        turned = np.rot90(PLANES["a"][..., k])
        data = RAW["png"](turned, 8, "grey", orientation=6)
        (root / name / "a.png").write_bytes(data)
    np.testing.assert_array_equal(folder(root)[0]["label"], PLANES["a"])


def test_each_page_of_a_stack_has_its_planes(root):
    def stack(path, arrays):
        first, *others = (Image.fromarray(np.asarray(array, np.uint8)) for array in arrays)
        first.save(path, save_all=True, append_images=others)

    for path in (root / "images/a.png", root / "disc/a.png", root / "cup/a.png"):
        path.unlink()
    stack(root / "images/a.tif", [np.full((H, W), 80 * page) for page in range(3)])
    stack(root / "disc/a.tif", [np.full((H, W), page % 2) for page in range(3)])
    stack(root / "cup/a.tif", [np.full((H, W), 1) for page in range(3)])
    found = [(e["name"], e["image"].max(), *e["label"][0, 0]) for e in folder(root)][:3]
    assert found == [(f"a/00000{page + 1}", 80 * page, page % 2, 1) for page in range(3)]
    stack(root / "cup/a.tif", [np.full((H, W), 1) for page in range(2)])
    message = problem_of(folder(root))
    assert f"{root / 'cup/a.tif'} and {root / 'disc/a.tif'}, masks of one image" in message


def test_a_mask_written_anew_is_read_anew(root):
    check(folder(root))
    new = 1 - (PLANES["b"] == 1)
    save(root / "cup/b.png", new[..., 1])
    expected = np.stack([PLANES["b"][..., 0], new[..., 1]], -1)
    np.testing.assert_array_equal(folder(root)[1]["label"], expected)


def test_a_class_without_a_mask_of_an_image_is_named(root):
    (root / "cup/b.png").unlink()
    message = problem(root)
    assert f"{root / 'images/b.png'} has no mask {root / 'cup/b'}.*" in message
    (root / "masks/b_cup.png").rename(root / "masks/b_cup_2.png")
    message = problem(root, masks=("masks/*_disc", "masks/*_cup"))
    assert f"has no mask {root / 'masks/b_cup'}.*" in message and "b_cup_2.png" in message
    (root / "images/b.png").unlink()
    assert f"mask {root / 'disc/b.png'} has no image" in problem(root)


@pytest.mark.parametrize(
    "masks",
    [("all/*_tumor", "all/*_core_tumor"), ("all/*", "all/*_core"), ("all/*", "all/core_*")],
    ids=str,
)
@pytest.mark.parametrize("turned", [1, -1])
def test_a_pattern_may_be_the_end_of_anothers(root, masks, turned):
    for stem, planes in PLANES.items():
        for k, pattern in enumerate(masks):
            save(
                root / f"all/{FilePattern.of_folder(pattern, MASKS).name(stem)}.png",
                planes[..., k],
            )
    wanted = {stem: planes[..., ::turned] for stem, planes in PLANES.items()}
    check(folder(root, masks=masks[::turned]), wanted)
    (root / "images/b.png").unlink()
    assert "has no image" in problem_of(folder(root, masks=masks[::turned]))


def test_planes_and_images_of_other_sizes_are_named(root):
    save(root / "cup/b.png", np.zeros((H, W + 1)))
    message = problem(root)
    assert f"{root / 'cup/b.png'} is 7x4 pixels and {root / 'disc/b.png'} 6x4" in message
    save(root / "disc/b.png", np.zeros((H, W + 1)))
    assert f"{root / 'disc/b.png'} is 7x4 pixels, but its image" in problem(root)


def test_values_of_a_plane_that_are_not_0_1_or_255_are_named(root):
    save(root / "cup/b.png", [[0, 2, 7, 255, 1, 0]] * H)
    message = problem(root)
    assert f"{root / 'cup/b.png'} has the values 2, 7, but a class's plane holds 0" in message
    save(root / "cup/b.png", [[0, 128, 0, 0, 0, 0]] * H)
    assert "set label_map=((128, 1),)" in problem(root)


def test_whites_stored_in_two_ways_are_refused_in_planes_too(root):
    for stem in STEMS:
        save(root / f"disc/{stem}.png", [[0, 255, 0, 0, 0, 0]] * H)
        save(root / f"cup/{stem}.png", [[0, 1, 1, 0, 0, 0]] * H)
    assert "store white in different ways" in problem(root)
    found = folder(root, label_map=(("nonzero", 1),))[0]["label"]
    assert found.sum((0, 1)).tolist() == [H, 2 * H]


@pytest.mark.parametrize("pages, channels", [(1, 3), (3, 1), (2, 3)])
def test_a_file_of_another_number_of_planes_is_refused(root, pages, channels):
    for stem in STEMS:
        (root / f"all/{stem}.tif").parent.mkdir(parents=True, exist_ok=True)
        shape = (H, W, channels) if channels > 1 else (H, W)
        data = RAW["tiff"](
            *[np.zeros(shape, int)] * pages, bits=8, photometric=1 if channels == 1 else 2
        )
        (root / f"all/{stem}.tif").write_bytes(data)
    message = problem(root, masks="all", planes=True)
    assert f"holds {pages} image(s) of {channels} channel(s), but there are 2 cla" in message


def test_channels_of_sixteen_bits_and_lossy_files_are_refused(root):
    for stem in STEMS:
        (root / f"all/{stem}.png").parent.mkdir(parents=True, exist_ok=True)
        (root / f"all/{stem}.png").write_bytes(RAW["png"](np.zeros((H, W, 3), int), 16, "rgb"))
    assert "holds colours (mode RGB, 16 bits)" in problem(
        root, masks="all", planes=True, class_names=tuple("abc")
    )
    Image.fromarray(np.zeros((H, W), np.uint8)).save(root / "jpg.jpg")
    (root / "jpg.jpg").rename(root / "cup/a.png")
    assert "compressed as JPEG" in problem(root)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"masks": ("disc",)}, r"1 masks for 2 class\(es\)"),
        (
            {"planes": True},
            r"pattern a class, .*, and planes=True: leave planes out, or name one",
        ),
        (
            {"planes": False},
            r"pattern a class, .*, and planes=False: leave planes out, or name",
        ),
        ({"masks": "all", "planes": "yes"}, "planes='yes': write planes=True where one"),
        ({"masks": ("disc", "disc")}, r"\('disc', 'disc'\), which gives two classes the same"),
        ({"masks": ("disc", "disc/")}, "which gives two classes the same masks"),
        ({"masks": ("m/*_x.png", "m/*_x")}, "which gives two classes the same masks"),
        (
            {"masks": (1, "disc")},
            r"masks=\(1, 'disc'\): write masks=\"masks\", the name of a folder",
        ),
        ({"masks": None}, r'masks=None: write masks="masks", the name of a folder'),
        (
            {"masks": "masks/*_cup"},
            r'mask="masks/\{stem\}_cup"; for the plane of one class, masks=\("masks/\*_cup",\)',
        ),
        ({"masks": ("*/cup", "disc")}, r"masks='\*/cup': write one \* behind the last /"),
        ({"masks": ("a/*_*", "disc")}, r"masks='a/\*_\*': write one \*"),
        ({"label_map": ((7, 2),)}, "class ids are 0 to 1"),
    ],
    ids=str,
)
def test_fields_that_do_not_fit_each_other_are_named(options, words):
    with pytest.raises(InputError, match=words):
        folder(pathlib.Path("anywhere"), **options)


def test_planes_have_colours_of_their_own_and_no_background():
    data = Folder(class_names=NAMES, masks=NAMES)
    assert data.palette[[0, 1, 255]].tolist() == [[128, 0, 0], [0, 128, 0], [224, 224, 192]]
    assert Folder(class_names=NAMES).palette[0].tolist() == [0, 0, 0]


def test_one_mask_of_ids_gives_a_label_without_planes_of_its_own_cache(root):
    options = {"class_names": ("ground", "cup"), "masks": "cup"}
    ids, planes = folder(root, **options), folder(root, planes=True, **options)
    assert ids[0]["label"].shape == (H, W) and not ids.has_planes and planes.has_planes
    assert "2 classes" in problem_of(planes)


@pytest.mark.parametrize("suffix", MASKS)
def test_a_pattern_may_end_with_any_suffix_of_masks(suffix):
    assert FilePattern.of_folder(f"m/*_x{suffix}", MASKS) == FilePattern.of_folder(
        "m/*_x", MASKS
    )


def test_a_pattern_takes_the_masks_of_its_class_alone():
    cup = FilePattern.of_folder("masks/*_cup", MASKS)
    assert cup.stem("left/01_cup") == "left/01" and cup.stem("left/01_disc") is None
    assert cup.stem("_cup") is None and cup.stem(cup.name("a_cup")) == "a_cup"

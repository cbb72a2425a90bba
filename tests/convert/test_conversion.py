import json
import os
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segjax import experiment
from segjax.convert.annotated import Options
from segjax.convert.classes import Choice
from segjax.errors import InputError

FILES = runpy.run_path(str(pathlib.Path(__file__).with_name("labelme_files.py")))
contents, converted, mask = FILES["contents"], FILES["converted"], FILES["mask"]
save_image, save_labelme, shape = FILES["save_image"], FILES["save_labelme"], FILES["shape"]
CORNER = [[0, 0], [3, 0], [3, 3], [0, 3]]


@pytest.fixture
def source(tmp_path):
    """Five images with a car each, and a road below one of them."""
    for stem in ("a", "b", "street/c", "street/d", "street/e"):
        save_labelme(tmp_path / "in", stem, [shape("car")])
    save_labelme(tmp_path / "in", "a", [shape("road", CORNER), shape("car")])
    return tmp_path / "in"


def test_the_result_is_a_folder_that_the_experiment_reads(source):
    summary, out = converted(source)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files >= {
        "images/a.jpg",
        "masks/street/c.png",
        "instances/street/e.png",
        "instances.json",
        "classes.txt",
        "splits/train.txt",
        "splits/val.txt",
        "preview.png",
        "summary.json",
        "experiment.py",
    }
    found = experiment.load(out / "experiment.py")
    train, val = found.train_data, found.eval_data
    train.prepare()
    names = [each["name"] for data in (train, val) for each in data]
    assert sorted(names) == ["a", "b", "street/c", "street/d", "street/e"]
    assert train.class_names == ("background", "car", "road")
    assert len(train) == summary["splits"]["train"] and len(val) == summary["splits"]["val"] > 0
    by_name = {each["name"]: each for data in (train, val) for each in data}
    np.testing.assert_array_equal(by_name["a"]["label"], mask(out))


def test_the_summary_counts_images_regions_and_pixels(source):
    summary, out = converted(source)
    written = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert written == {
        "written_by": "python -m segjax.convert",
        "version": 1,
        **{key: value for key, value in summary.items() if key != "changed"},
    }
    assert summary["classes"]["car"] == {"id": 1, "images": 5, "regions": 5, "pixels": 240}
    assert summary["classes"]["road"] == {"id": 2, "images": 1, "regions": 1, "pixels": 12}
    assert summary["overlapping_pixels"] == 4 and summary["objects"] == 6
    total = sum(each["pixels"] for each in summary["classes"].values())
    assert total + summary["ignored_pixels"] == 5 * 12 * 16


def test_a_second_run_changes_no_byte_and_writes_no_file(source):
    _, out = converted(source)
    before, sources = contents(out), contents(source)
    summary, _ = converted(source)
    assert contents(out) == before and summary["changed"] == 0
    assert contents(source) == sources


def test_a_corrected_annotation_changes_its_own_files_alone(source):
    _, out = converted(source)
    before = contents(out)
    save_labelme(source, "b", [shape("car", CORNER)], image="")
    summary, _ = converted(source)
    after = contents(out)
    assert summary["changed"] == 1
    changed = {name for name in after if after[name] != before[name]}
    expected = {"masks/b.png", "instances/b.png", "instances.json", "summary.json"}
    assert expected <= changed <= expected | {"preview.png"}


def test_an_interrupted_run_is_completed(source, monkeypatch):
    _, whole = converted(source, out=source.parent / "whole")

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    from segjax.convert.conversion import convert
    from segjax.convert.request import Request

    out = source.parent / "out"
    with pytest.raises(KeyboardInterrupt):
        convert(Request((source,), out), update=stop)
    assert json.loads((out / "summary.json").read_text())["finished"] is False
    converted(source)
    same = lambda folder: {
        name: data for name, (data, _) in contents(folder).items() if name != "experiment.py"
    }
    first, second = same(out), same(whole)
    del first["summary.json"], second["summary.json"]
    assert first == second


def test_a_new_class_comes_last_so_that_ids_stay(source):
    _, out = converted(source)
    save_labelme(source, "b", [shape("ant", CORNER)], image="")
    summary, _ = converted(source)
    assert list(summary["classes"]) == ["background", "car", "road", "ant"]
    assert mask(out, "b").max() == 3


def test_files_of_a_removed_image_are_said_and_leave_the_splits(source):
    _, out = converted(source)
    (source / "b.json").unlink()
    (source / "b.jpg").unlink()
    summary, _ = converted(source)
    assert summary["left_over"] == ["images/b.jpg", "masks/b.png", "instances/b.png"]
    lists = "".join(path.read_text() for path in (out / "splits").glob("*.txt"))
    assert "b.jpg" not in lists.splitlines()


def test_an_experiment_that_you_changed_is_kept(source):
    _, out = converted(source)
    path = out / "experiment.py"
    path.write_text(path.read_text(encoding="utf-8").replace("steps=500", "steps=9"))
    save_labelme(source, "b", [shape("ant")], image="")
    summary, _ = converted(source)
    assert "steps=9" in path.read_text(encoding="utf-8")
    assert any("experiment.py" in note and "'ant'" in note for note in summary["notes"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": "smaller"}, "was made with --overlap order, and now it is smaller"),
        ({"choice": Choice(classes=("car",))}, r'with --classes none, and now it is \["car"\]'),
        ({"shares": (0.5, 0.5, 0.0)}, "was made with --split none"),
    ],
)
def test_other_options_for_the_same_folder_are_refused(source, options, message):
    _, out = converted(source)
    before = contents(out)
    with pytest.raises(InputError, match=message):
        converted(source, **options)
    assert contents(out) == before


def test_options_may_change_as_long_as_no_run_has_finished(source):
    (source / "b.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"b\.jpg cannot be read"):
        converted(source)
    summary, _ = converted(source, skip_errors=True, choice=Choice(classes=("car",)))
    assert list(summary["classes"]) == ["background", "car"]


def test_another_source_for_the_same_folder_is_refused(source, tmp_path):
    converted(source)
    save_labelme(tmp_path / "other", "a", [shape()])
    with pytest.raises(
        InputError, match=r"was made with sources .*in.*, and now it is .*other"
    ):
        converted(tmp_path / "other")


def test_files_that_are_not_ours_are_never_overwritten(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files that this command did not write"):
        converted(source)
    (tmp_path / "out/summary.json").write_text("{}")
    with pytest.raises(InputError, match=r"summary\.json is not as this command writes it"):
        converted(source)
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("out", ["in", "in/result", "."])
def test_a_result_inside_or_around_the_source_is_refused(source, tmp_path, out):
    before = contents(tmp_path)
    with pytest.raises(InputError, match="which is only read: choose"):
        converted(source, out=tmp_path / out)
    assert contents(tmp_path) == before


def test_the_result_of_one_file_may_lie_beside_it_and_is_not_read_again(tmp_path):
    save_image(tmp_path / "images/a.jpg")
    outline = [[2, 2, 9, 2, 9, 7, 2, 7]]
    file = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 12, "width": 16}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": outline, "iscrowd": 0}
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(file), encoding="utf-8")
    out = tmp_path / "dataset"
    for changed in (1, 0):  # The second time there is an image `dataset/images/a.jpg` as well.
        summary, _ = converted(tmp_path / "annotations.json", out=out)
        assert (summary["images"], summary["changed"]) == (1, changed)
    assert mask(out, "images/a").max() == 1
    with pytest.raises(InputError, match="which is only read: choose another folder"):
        converted(tmp_path / "annotations.json", out=tmp_path)


def test_several_sources_have_their_folder_before_each_name(source, tmp_path):
    save_labelme(tmp_path / "more", "a", [shape("ant")])
    summary, out = converted(source, sources=(source, tmp_path / "more"))
    assert mask(out, "in/a").max() == 2 and mask(out, "more/a").max() == 3
    assert list(summary["classes"]) == ["background", "car", "road", "ant"]


def test_names_with_dots_spaces_accents_and_upper_case_suffixes_are_kept(tmp_path):
    names = ["v1.2 final", "größe", "b.png", "#1", "tab\there", "x\x85y", "back\\slash"]
    for name in names:
        save_labelme(tmp_path / "in", name, [shape()], image=".JPG")
        fields = {"image": "", "imagePath": f"{name}.JPG"}
        save_labelme(tmp_path / "in", name, [shape()], **fields)
    summary, out = converted(tmp_path / "in")
    assert summary["images"] == 7
    found = experiment.load(out / "experiment.py")
    found.train_data.prepare()
    there = {each["name"] for data in (found.train_data, found.eval_data) for each in data}
    assert there == {*names[:3], "_1", "tab_here", "x_y", "back_slash"}


def test_images_of_one_name_are_refused_with_both_files(tmp_path):
    save_labelme(tmp_path / "in", "a", [shape()])
    save_labelme(tmp_path / "in", "a2", [shape()], image="", imagePath="a.png")
    save_image(tmp_path / "in/a.png")
    with pytest.raises(InputError, match=r"a\.jpg and .*a\.png would both be named 'a'"):
        converted(tmp_path / "in")
    summary, _ = converted(tmp_path / "in", skip_errors=True)
    assert summary["images"] == 1 and len(summary["skipped"]) == 1


def test_images_with_errors_can_be_left_out_and_are_listed(source):
    (source / "b.jpg").write_bytes(b"")
    save_labelme(source, "street/d", [shape("car", [[1, 2]])])
    with pytest.raises(InputError, match=r"street/d\.json, shape 1"):
        converted(source)
    summary, out = converted(source, skip_errors=True)
    assert summary["images"] == 3 and len(summary["skipped"]) == 2
    assert any("b.jpg cannot be read" in line for line in summary["skipped"])
    assert not (out / "masks/b.png").exists()


def test_a_broken_image_is_named_with_how_many_more_there_are(source):
    for name in ("b.jpg", "a.jpg"):
        (source / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.jpg cannot be read.*1 more images have errors"):
        converted(source)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_objects_are_in_coco_form_with_their_full_masks(source):
    _, out = converted(source)
    coco = COCO(str(out / "instances.json"))
    assert {each["name"]: each["id"] for each in coco.cats.values()} == {
        "background": 0,
        "car": 1,
        "road": 2,
    }
    (image,) = [each for each in coco.imgs.values() if each["file_name"] == "images/a.jpg"]
    first, second = (coco.anns[number] for number in coco.getAnnIds(image["id"]))
    assert (first["category_id"], second["category_id"]) == (2, 1)
    road = coco.annToMask(first)
    assert road.sum() == 16 and first["area"] == 16 and first["bbox"] == [0, 0, 4, 4]
    with Image.open(out / "instances/a.png") as ids:
        visible = np.asarray(ids) == first["instance_id"]
    assert visible.sum() == 12 and not (visible & ~road.astype(bool)).any()


def test_images_are_linked_on_request(source):
    _, out = converted(source, link=True)
    assert os.path.samefile(out / "images/a.jpg", source / "a.jpg")
    _, copied = converted(source, out=source.parent / "copied")
    assert not os.path.samefile(copied / "images/a.jpg", source / "a.jpg")


def test_the_link_to_an_image_that_is_a_symbolic_link_leads_to_the_image(source):
    (source / "a.jpg").rename(source / "street/real.bin")
    (source / "a.jpg").symlink_to("street/real.bin")
    _, out = converted(source, link=True)
    assert not (out / "images/a.jpg").is_symlink()
    assert os.path.samefile(out / "images/a.jpg", source / "street/real.bin")


def test_images_of_another_folder_are_found(tmp_path):
    save_labelme(tmp_path / "in", "a", [shape()], image="", imagePath="..\\photos\\a.jpg")
    save_image(tmp_path / "photos/a.jpg")
    with pytest.raises(InputError, match="or name its folder with --images DIR"):
        converted(tmp_path / "in")
    summary, _ = converted(tmp_path / "in", options=Options(images=tmp_path / "photos"))
    assert summary["images"] == 1


def test_the_preview_shows_the_classes(source):
    _, out = converted(source)
    with Image.open(out / "preview.png") as preview:
        colours = {rgb for _, rgb in preview.convert("RGB").getcolors(100_000)}
    assert {(128, 0, 0), (0, 128, 0)} <= colours


def test_one_image_is_converted_and_it_is_said_that_training_needs_more(tmp_path):
    save_labelme(tmp_path / "in", "a", [shape()])
    summary, _ = converted(tmp_path / "in")
    assert summary["splits"] == {"train": 1, "val": 0, "test": 0}
    assert any("no image is for val" in note for note in summary["notes"])


KINDS = {
    "cmyk.jpg": lambda rgb: rgb.convert("CMYK"),
    "grey.png": lambda rgb: rgb.convert("L"),
    "one_bit.png": lambda rgb: rgb.convert("1"),
    "alpha.png": lambda rgb: rgb.convert("RGBA"),
    "palette.png": lambda rgb: rgb.quantize(8),
    "upper.TIFF": lambda rgb: rgb,
    "picture.webp": lambda rgb: rgb,
}


def test_every_kind_of_image_that_folder_reads_is_converted(tmp_path):
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8))
    for name, kind in KINDS.items():
        path = tmp_path / "in" / name
        fields = {"image": "", "imagePath": name}
        save_labelme(tmp_path / "in", path.stem, [shape()], **fields)
        more = {"transparency": 3} if name == "palette.png" else {}
        kind(rgb).save(path, **more)
    summary, out = converted(tmp_path / "in")
    assert summary["images"] == len(KINDS) and not summary["skipped"]
    found = experiment.load(out / "experiment.py")
    found.train_data.prepare()
    found.eval_data.prepare()
    for name in KINDS:
        suffix = pathlib.Path(name).suffix.lower()
        copy = out / "images" / f"{pathlib.Path(name).stem}{suffix}"
        assert copy.read_bytes() == (tmp_path / "in" / name).read_bytes()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read as an image"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "cannot be read as an image"),
        (
            lambda path: Image.fromarray(np.full((12, 16), 999, np.uint16)).save(path, "PNG"),
            r"has more than 8 bits a channel \(16",
        ),
        (
            lambda path: Image.new("L", (16, 12)).save(
                path, "GIF", save_all=True, append_images=[Image.new("L", (16, 12), 9)]
            ),
            "holds 2 images where one is wanted",
        ),
    ],
)
def test_an_image_that_folder_would_refuse_is_refused_with_the_remedy(tmp_path, write, message):
    save_labelme(tmp_path / "in", "a", [shape()])
    write(tmp_path / "in/a.jpg")
    with pytest.raises(InputError, match=message) as caught:
        converted(tmp_path / "in")
    assert "a.jpg" in str(caught.value)


def test_classes_that_overlap_get_a_mask_each_that_the_experiment_reads(tmp_path):
    for stem in ("a", "b", "c", "d"):
        save_image(tmp_path / f"in/images/{stem}.jpg")
        for name, left in (("disc", 2), ("cup", 4)):
            plane = np.zeros((12, 16), np.uint8)
            plane[2:8, left:10] = 255
            path = tmp_path / f"in/masks/{name}/{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(plane).save(path)
    summary, out = converted(tmp_path / "in")
    assert summary["made_by"]["formats"] == ["plane-masks"]
    assert sorted(summary["classes"]) == ["cup", "disc"]
    assert "share pixels" in summary["overlaps"] and summary["overlapping_pixels"] == 4 * 36
    assert not any("background" in note for note in summary["notes"])
    with pytest.raises(InputError, match="--overlap smaller: the source has a mask for each"):
        converted(tmp_path / "in", out=tmp_path / "other", overlap="smaller")
    data = experiment.load(out / "experiment.py").train_data
    data.prepare()
    label = data[0]["label"]
    pixels = dict(zip(data.class_names, (label == 1).sum((0, 1)).tolist(), strict=True))
    assert pixels == {"disc": 48, "cup": 36}

import os

import pytest

from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError


@pytest.fixture
def root(tmp_path):
    for name in ("data/images/street/a.jpg", "data/images/b.JPG", "data/ann/a.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "secret.jpg").write_text("outside")
    return tmp_path / "data"


@pytest.mark.parametrize(
    "written",
    [
        "../images/street/a.jpg",
        "..\\images\\street\\a.jpg",
        "C:\\Users\\ann\\street\\a.jpg",
        "/home/ann/photos/a.jpg",
        "../../../somewhere/street/a.jpg",
        "a.jpg",
        "A.JPG",
    ],
)
def test_a_path_of_any_system_is_found_by_its_longest_tail_inside(root, written):
    found = FolderFiles(root).inside(written, beside=root / "ann/a.json")
    assert found == root / "images/street/a.jpg"


@pytest.mark.parametrize("written", ["../../secret.jpg", "{root}/../secret.jpg", "secret.jpg"])
def test_no_path_leads_out_of_the_source(root, written):
    with pytest.raises(InputError, match="secret.jpg.* is not in .*--images DIR"):
        FolderFiles(root).inside(written.format(root=root), beside=root / "ann/a.json")


def test_a_path_that_is_too_long_for_a_file_is_not_there(root):
    with pytest.raises(InputError, match=f"names the file '{'x' * 300}.jpg', which is not in"):
        FolderFiles(root).inside("x" * 300 + ".jpg", beside=root / "ann/a.json")


def test_links_that_lead_out_of_the_source_do_not_count(root):
    os.symlink(root.parent / "secret.jpg", root / "ann/link.jpg")
    os.symlink(root.parent, root / "up")
    files = FolderFiles(root)
    assert [path.name for path in files.find(".jpg")] == ["b.JPG", "a.jpg"]
    with pytest.raises(InputError, match=r"secret\.jpg is outside"):
        files.inside("link.jpg", beside=root / "ann/a.json")


def test_links_inside_the_source_count(root):
    os.symlink(root / "images/street/a.jpg", root / "ann/link.jpg")
    found = FolderFiles(root).inside("link.jpg", beside=root / "ann/a.json")
    assert found == root / "ann/link.jpg"


def test_of_several_files_of_a_name_the_one_beside_the_annotation_is_meant(root):
    for folder in ("train", "val"):
        (root / folder).mkdir()
        (root / folder / "c.jpg").write_text("x")
    files = FolderFiles(root)
    assert files.inside("/old/c.jpg", beside=root / "val/c.json") == root / "val/c.jpg"
    with pytest.raises(InputError, match=r"may be train/c\.jpg, val/c\.jpg: write the path"):
        files.inside("/old/c.jpg", beside=root / "ann/c.json")


def test_images_may_lie_in_a_second_folder(root, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/z.png").write_text("x")
    files = FolderFiles(root, tmp_path / "photos")
    found = files.inside("C:\\z.png", beside=root / "ann/a.json")
    assert found == tmp_path / "photos/z.png" and files.stem_of(found) == "z"


def test_a_missing_file_is_named_with_the_nearest_one(root):
    with pytest.raises(InputError, match=r"'aa\.jpg', which is not in .*; there is .*a\.jpg"):
        FolderFiles(root).inside("aa.jpg", beside=root / "ann/a.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty, not JSON"),
        (b'{"shapes": [\n{"label": ', r"is not complete JSON \(line 2, column 11"),
        (b'{"a": "\xff"}', r"is not UTF-8 text \(line 1\)"),
        (b"[" * 100_000, "is nested too deeply|is not complete JSON"),
    ],
)
def test_a_broken_json_file_is_named_with_its_line(root, text, message):
    (root / "ann/a.json").write_bytes(text)
    with pytest.raises(InputError, match=message) as caught:
        FolderFiles(root).json(root / "ann/a.json")
    assert "a.json" in str(caught.value) and "\n" not in str(caught.value)


def test_a_byte_order_mark_before_json_is_skipped(root):
    (root / "ann/a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert FolderFiles(root).json(root / "ann/a.json") == {"a": 1}


def test_a_source_that_is_one_file_has_no_other_annotations(root):
    (root / "ann/b.json").write_text("{}")
    files = FolderFiles(root / "ann/b.json")
    assert [path.name for path in files.find(".json")] == ["b.json"]
    assert files.root == root / "ann"


def test_a_folder_may_be_left_out_of_every_search(root):
    files = FolderFiles(root, without=root / "images/street")
    assert [path.name for path in files.find(".jpg")] == ["b.JPG"]
    with pytest.raises(InputError, match=r"street/a\.jpg is outside"):
        files.inside("../images/street/a.jpg", beside=root / "ann/a.json")

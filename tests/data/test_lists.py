import codecs

import pytest

from segjax.data.lists import class_names_in, listed, listed_stems
from segjax.errors import InputError

NAMES = ["straße", "café", "c d"]


def plain(path):
    return listed(path, str)


@pytest.mark.parametrize(
    "data",
    [
        "straße\ncafé\nc d\n".encode(),
        "straße\r\ncafé\r\n\r\nc d".encode(),
        "straße\rcafé\rc d\r".encode(),
        "straße\n  cafe\u0301\t\nc d \n".encode(),
        codecs.BOM_UTF8 + "straße\r\ncafé\r\nc d\r\n".encode(),
        codecs.BOM_UTF8 + "straße\n".encode() + codecs.BOM_UTF8 + "café\nc d".encode(),
        "straße\r\ncafé\r\nc d\r\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "straße\ncafé\nc d\n".encode("utf-16-be"),
        "straße\ncafé\nc d\n".encode("utf-32"),
    ],
    ids=["Linux", "Windows", "old Mac", "spaces, NFD", "Notepad", "joined", "PowerShell"]
    + ["UTF-16 BE", "UTF-32"],
)
def test_a_list_is_read_as_any_system_writes_it(data, tmp_path):
    (tmp_path / "val.txt").write_bytes(data)
    assert plain(tmp_path / "val.txt") == NAMES


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("a\nstraße\n".encode("latin-1"), 2),
        ("a\nb\ncafé\n".encode("cp1252"), 3),
        ("a\nb\n".encode("utf-16-le"), 1),
    ],
    ids=["Latin-1", "Windows-1252", "UTF-16 without a mark"],
)
def test_a_list_in_another_encoding_is_refused_with_its_line(data, line, tmp_path):
    (tmp_path / "val.txt").write_bytes(data)
    with pytest.raises(InputError) as caught:
        plain(tmp_path / "val.txt")
    expected = (
        f"The list {tmp_path / 'val.txt'} is not UTF-8 text (line {line}): save it in the"
    )
    assert str(caught.value).startswith(expected)


def test_stems_are_those_of_the_first_path_of_a_line_in_either_systems_form(tmp_path):
    lines = "/SegNet/train/a.png /SegNet/trainannot/a.png\nC:\\data\\b.jpg\nc 1\n"
    (tmp_path / "val.txt").write_text(lines, encoding="utf-8")
    assert listed_stems(tmp_path / "val.txt") == ["a", "b", "c"]


def test_class_names_are_read_from_a_file_and_comments_are_not_names(tmp_path):
    (tmp_path / "classes.txt").write_text("# ours\nbackground\n\nroad sign\n")
    assert class_names_in(tmp_path / "classes.txt") == ("background", "road sign")
    (tmp_path / "classes.txt").write_text("road\nroad\n")
    with pytest.raises(InputError, match="has 'road' 2 times: keep one line for each class"):
        class_names_in(str(tmp_path / "classes.txt"))


def test_what_is_listed_several_times_is_refused_and_counted(tmp_path):
    (tmp_path / "val.txt").write_text("a.png\nb\nx/a.jpg\na\nb\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        listed_stems(tmp_path / "val.txt")
    assert str(caught.value) == (
        f"The list {tmp_path / 'val.txt'} has 'a' 3 times (and 1 more names repeatedly): keep "
        "one line for each image."
    )


def test_an_empty_and_a_missing_list_are_named(tmp_path):
    (tmp_path / "Val.txt").write_bytes(codecs.BOM_UTF8 + b"\r\n \r\n")
    with pytest.raises(InputError, match="Val.txt is empty"):
        plain(tmp_path / "Val.txt")
    with pytest.raises(InputError, match=r"val.txt is missing, but there is .*Val.txt \(upper"):
        plain(tmp_path / "val.txt")

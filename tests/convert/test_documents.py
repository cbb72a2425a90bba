"""Text and XML files: encodings, files that are cut off, document types."""

import codecs

import pytest

from segjax.convert.documents import child_text, first_tag, read_lines, read_text, read_xml
from segjax.errors import InputError


@pytest.mark.parametrize(
    "data",
    [
        "é\r\nb".encode(),
        codecs.BOM_UTF8 + "é\nb".encode(),
        codecs.BOM_UTF16_LE + "é\nb".encode("utf-16-le"),
    ],
)
def test_text_is_read_in_the_encoding_of_its_mark(data, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert [line for _, line in read_lines(path)] == ["é", "b"]


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("gut\nschön".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.txt, line 2, is not UTF-8 text"):
        read_text(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path / "missing.txt")


def test_an_xml_file_becomes_its_elements(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<?xml version='1.0'?><a x='1'><b> c&amp;d </b></a>", encoding="utf-8")
    root = read_xml(path)
    assert (root.tag, root.attrib, child_text(root, "b")) == ("a", {"x": "1"}, "c&d")
    assert child_text(root, "c", default="none") == "none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><image>", "not a complete XML file .*line 1"),
        ("", "not a complete XML file"),
        ("{}", "not a complete XML file"),
        (
            '<!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;">]><a>&y;</a>',
            "declares a document type .*remove the declaration",
        ),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "declares a document type"),
    ],
)
def test_an_xml_file_that_is_cut_off_or_has_entities_is_refused(text, message, tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_xml(path)


def test_the_first_tag_is_found_in_a_file_that_is_cut_off(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<a><b/><c/><d", encoding="utf-8")
    assert first_tag(path) == "a"
    assert first_tag(path, "c", "b") == "b" and first_tag(path, "d") is None

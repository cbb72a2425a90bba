import json
import pathlib
import runpy

import pytest

from segjax.convert.formats import table
from segjax.convert.formats.table import format_named, formats, recognized
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError

FILES = runpy.run_path(str(pathlib.Path(__file__).with_name("labelme_files.py")))
save_labelme, shape = FILES["save_labelme"], FILES["shape"]


class Fake:
    """A format that finds what it is told to."""

    title = "a format"

    def __init__(self, name, sign):
        self.name, self._sign = name, sign

    def recognize(self, files):
        if isinstance(self._sign, Exception):
            raise self._sign
        return self._sign


def found(monkeypatch, tmp_path, *ranks):
    monkeypatch.setattr(table, "RANKS", ranks)
    format_, sign = recognized(FolderFiles(tmp_path))
    return format_.name, sign


def test_names_of_formats_are_words_and_differ():
    names = [each.name for each in formats()]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() and name.islower() for name in names)
    assert all(format_named(each.name) is each for each in formats())


def test_a_format_of_an_earlier_rank_wins(monkeypatch, tmp_path):
    ranks = ((Fake("a", None),), (Fake("b", "files of b"),), (Fake("c", "files of c"),))
    assert found(monkeypatch, tmp_path, *ranks) == ("b", "files of b")


def test_two_formats_of_one_rank_are_refused_with_both_names(monkeypatch, tmp_path):
    rank = (Fake("a", "2 files of a"), Fake("b", "files of b"))
    message = "has 2 files of a and files of b: choose which to read with --format a or --form"
    with pytest.raises(InputError, match=message):
        found(monkeypatch, tmp_path, rank)


def test_a_source_that_is_wrong_for_one_format_may_be_right_for_a_later_one(
    monkeypatch, tmp_path
):
    wrong = Fake("a", InputError("mask 7 has no image: add it."))
    assert found(monkeypatch, tmp_path, (wrong,), (Fake("b", "b"),)) == ("b", "b")
    with pytest.raises(InputError, match="mask 7 has no image"):
        found(monkeypatch, tmp_path, (wrong,), (Fake("b", None),))


def test_labelme_files_win_over_a_coco_file_beside_them(tmp_path):
    save_labelme(tmp_path, "a", [shape()])
    coco = {"images": [], "annotations": [], "categories": []}
    (tmp_path / "annotations.json").write_text(json.dumps(coco), encoding="utf-8")
    assert recognized(FolderFiles(tmp_path))[0].name == "labelme"

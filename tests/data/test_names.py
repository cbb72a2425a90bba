import unicodedata

import pytest

from segjax.data.names import composed, inside, near_entry, nearest, printable

OLD_MAC = unicodedata.normalize("NFD", "é")


def test_both_unicode_forms_of_a_name_are_one():
    assert "é" != OLD_MAC and composed("é") == composed(OLD_MAC) == "é"


def test_bytes_that_are_no_text_become_escapes_and_text_stays():
    assert printable("é – ü") == "é – ü"
    assert printable("caf\udce9") == r"caf\udce9"


def test_a_path_is_found_in_the_form_that_the_disk_has(tmp_path):
    (tmp_path / f"{OLD_MAC}t{OLD_MAC}" / "b").mkdir(parents=True)
    assert inside(tmp_path, "été/b") == tmp_path / f"{OLD_MAC}t{OLD_MAC}" / "b"
    assert inside(tmp_path, "été/c") == tmp_path / f"{OLD_MAC}t{OLD_MAC}" / "c"
    assert inside(tmp_path, "ete/b") == tmp_path / "ete" / "b"
    assert inside(tmp_path, "") == tmp_path
    (tmp_path / "été").mkdir()
    assert inside(tmp_path, "été") == tmp_path / "été"


@pytest.mark.parametrize(
    ("name", "others", "found"),
    [
        ("a", ["A", "b"], ("A", "upper and lower case or spaces differ")),
        ("a", ["a ", "b"], ("a ", "upper and lower case or spaces differ")),
        ("my photo", ["my  Photo"], ("my  Photo", "upper and lower case or spaces differ")),
        (f"caf{OLD_MAC}", ["Café"], ("Café", "upper and lower case or spaces differ")),
        ("a", ["street/a"], ("street/a", "in another folder")),
        ("images/a", ["a"], ("a", "in another folder")),
        ("a", ["b", "a_mask"], ("a_mask", "its name goes on")),
        ("a_rgb", ["a"], ("a", "its name goes on")),
        ("a1", ["a10"], ("a10", "the nearest name")),
        ("a", ["ab", "b"], None),
        ("frankfurt_0001", ["frankfrut_0001"], ("frankfrut_0001", "the nearest name")),
        ("a", [], None),
    ],
)
def test_the_nearest_name_says_how_it_differs(name, others, found):
    assert nearest(name, {other: other for other in others}) == found


def test_a_missing_file_has_its_near_neighbour_named(tmp_path):
    (tmp_path / "Train.txt").touch()
    clause = near_entry(tmp_path / "train.txt")
    assert clause.startswith(f", but there is {tmp_path / 'Train.txt'} (upper and lower case")
    assert near_entry(tmp_path / "qqq") == near_entry(tmp_path / "none" / "train.txt") == ""

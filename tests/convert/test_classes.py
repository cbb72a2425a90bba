import pytest

from segjax.convert.annotated import IGNORED
from segjax.convert.classes import Choice, chosen, parsed_merges, parsed_names
from segjax.errors import InputError

NAMES = ("road", "car", "truck", "sky")


def classes(names=NAMES, background="background", earlier=(), planes=False, **choice):
    return chosen(
        names, background=background, choice=Choice(**choice), earlier=earlier, planes=planes
    )


def test_ids_follow_the_source_behind_the_background():
    found = classes()
    assert found.names == ("background", *NAMES)
    assert found.ids == {
        **{name: number for number, name in enumerate(found.names)},
        IGNORED: 255,
    }
    assert found.uncovered == 0


def test_a_source_without_background_has_its_first_class_at_0_and_255_elsewhere():
    found = classes(background=IGNORED)
    assert found.names == NAMES and found.ids["road"] == 0 and found.uncovered == 255


def test_classes_chooses_and_orders_and_the_others_are_not_drawn():
    found = classes(classes=("sky", "car"))
    assert found.names == ("background", "sky", "car")
    assert (found.ids["road"], found.ids["truck"]) == (None, None)
    assert found.left_out == ("road", "truck")
    assert classes(classes=("background", "sky", "car")) == found


def test_merged_classes_stand_where_the_first_of_them_stood():
    found = classes(merged={"car": "vehicle", "truck": "vehicle"})
    assert found.names == ("background", "road", "vehicle", "sky")
    assert found.ids["car"] == found.ids["truck"] == 2 and "vehicle" not in found.ids


def test_a_class_may_become_background_or_another_one():
    found = classes(merged={"sky": "background", "truck": "car"})
    assert found.names == ("background", "road", "car")
    assert (found.ids["sky"], found.ids["truck"]) == (0, 2)


def test_a_merged_background_is_class_0_under_its_new_name():
    found = classes(merged={"background": "void", "sky": "void"})
    assert found.names == ("void", "road", "car", "truck") and found.uncovered == 0
    assert found.ids["background"] == found.ids["sky"] == 0
    found = classes(merged={"background": "road"}, classes=("road", "car"))
    assert found.names == ("road", "car") and found.uncovered == 0
    assert found.ids["road"] == found.ids["background"] == 0
    found = classes(merged={"background": "void"}, ignored=("void",))
    assert found.names == NAMES and found.uncovered == 255
    with pytest.raises(InputError, match="--merge names 'background', which the source does"):
        classes(merged={"background": "car"}, planes=True)


def test_ignored_names_become_255_before_and_after_merging():
    found = classes(merged={"car": "vehicle", "truck": "vehicle"}, ignored=("vehicle", "sky"))
    assert found.names == ("background", "road")
    assert [found.ids[name] for name in NAMES] == [1, 255, 255, 255]


def test_an_ignored_background_is_no_class_and_uncovered_pixels_are_255():
    found = classes(ignored=("background",))
    assert found.uncovered == 255 and found.names == NAMES


def test_classes_of_an_earlier_result_keep_their_ids_and_new_ones_follow():
    found = classes(("ant", *NAMES), earlier=("background", *NAMES))
    assert found.names == ("background", *NAMES, "ant")


def test_classes_that_the_source_no_longer_has_keep_their_ids():
    earlier = ("background", *NAMES)
    assert classes(("road", "sky"), earlier=earlier).names == earlier
    kept = classes(("sky", "ant"), earlier=earlier[:3], classes=("road", "sky", "ant"))
    assert kept.names == ("background", "road", "sky", "ant")
    assert classes(("road",), earlier=NAMES, ignored=("background",)).names == NAMES


def test_with_planes_the_background_is_not_a_class():
    found = classes(planes=True)
    assert found.names == NAMES and found.ids["background"] is None
    assert found.left_out == () and classes(planes=True, classes=("car",)).left_out == (
        "road",
        "truck",
        "sky",
    )


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"classes": ("trcuk",)}, "--classes names 'trcuk'.*; near names are truck"),
        ({"classes": ("Truck",)}, "near names are truck"),
        ({"merged": {"crs": "x"}}, "--merge names 'crs'"),
        ({"ignored": ("zzzz",)}, "--ignore names 'zzzz'.*; its classes are road, car, truck"),
        ({"classes": ("car", "background")}, "the background is class 0. Name it first"),
        ({"classes": ("car",), "ignored": ("car",)}, "'car', which --merge or --ignore takes"),
        ({"ignored": NAMES}, "No class is left besides 'background'"),
    ],
)
def test_names_that_do_not_fit_are_refused_with_the_near_ones(choice, message):
    with pytest.raises(InputError, match=message):
        classes(**choice)


def test_names_that_look_alike_are_one_class():
    found = classes(("car ", "car", "caf\u00e9", "cafe\u0301", "bus "), merged={"bus": "coach"})
    assert found.names == ("background", "car", "caf\u00e9", "coach")
    assert [found.ids[name] for name in ("car ", "car", "cafe\u0301", "bus ")] == [1, 1, 2, 3]
    assert classes(("car ", "bus"), ignored=("car",)).ids["car "] == 255


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("car\nbus", r"'car\\nbus' has the character '\\n', which a line"),
        ("c\ud800r", r"has the character '\\ud800'"),
        ("a\u2028b", r"has the character '\\u2028'"),
        ("#car", "begins with #, as comments do in classes.txt: .*--merge"),
        (" ", "'' has no name"),
    ],
)
def test_a_class_name_that_a_list_cannot_hold_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        classes(("road", name))
    assert classes(("road", name), merged={name: "car"}).names[-1] == "car"


def test_more_classes_than_a_mask_holds_are_refused():
    with pytest.raises(InputError, match="would have 256 classes, and a mask holds 255"):
        classes(tuple(map(str, range(255))))


def test_names_come_from_a_text_or_a_file(tmp_path):
    (tmp_path / "names.txt").write_text("a, b\r\nc\n", encoding="utf-8")
    assert parsed_names("a, b", "--classes") == ("a", "b")
    assert parsed_names(str(tmp_path / "names.txt"), "--classes") == ("a, b", "c")


def test_a_text_may_have_more_characters_than_the_name_of_a_file():
    names = tuple(f"class {number}" for number in range(80))
    assert parsed_names(",".join(names), "--classes") == names


@pytest.mark.parametrize(("text", "message"), [(",", "has no name"), ("a,b,a", "'a' twice")])
def test_a_text_of_names_that_is_wrong_is_named(text, message):
    with pytest.raises(InputError, match=f"--classes .*{message}"):
        parsed_names(text, "--classes")


def test_merges_are_read():
    assert parsed_merges(["car,truck=vehicle", "a = b"]) == {
        "car": "vehicle",
        "truck": "vehicle",
        "a": "b",
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["car"], "--merge car: write the old names, = and the new name"),
        (["=x"], "--merge =x"),
        (["a="], "--merge a="),
        (["a=b", "a=c"], "gives 'a' to 'b' and to 'c'"),
    ],
)
def test_merges_that_are_wrong_are_named(texts, message):
    with pytest.raises(InputError, match=message):
        parsed_merges(texts)

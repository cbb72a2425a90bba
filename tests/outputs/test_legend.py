"""The legend of a folder of overlays: when there is one, and that it shows the classes."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from segjax.outputs.legend import Legend, legend_svg
from segjax.outputs.lists import write_lists
from segjax.outputs.options import asked_lists
from segjax.outputs.planes import asked_plane_lists
from segjax.predict import _parser

NAMES = ("background", "ca<t>", "犬")
COLOURS = ((0, 0, 0), (128, 0, 0), (0, 128, 255))
SVG = "{http://www.w3.org/2000/svg}"


def options(*words: str):
    return _parser().parse_args(["run", "in", "--out", "out", *words])


def test_the_legend_pairs_each_name_with_its_colour_and_black_is_not_tinted():
    picture = ElementTree.fromstring(legend_svg(NAMES, COLOURS))
    texts = picture.findall(f"{SVG}text")
    assert [text.text for text in texts] == ["background (not tinted)", "ca<t>", "犬"]
    _, *squares = picture.findall(f"{SVG}rect")
    assert [square.get("fill") for square in squares] == ["none", "#800000", "#0080ff"]
    for square, text in zip(squares, texts, strict=True):
        assert 0 < float(text.get("y")) - float(square.get("y")) < 16
        assert float(square.get("x")) < float(text.get("x"))


@pytest.mark.parametrize("count", [1, 24, 25, 150, 255])
def test_every_entry_lies_within_the_picture_and_on_no_other(count):
    names = [f"class {i}" for i in range(count)]
    picture = ElementTree.fromstring(legend_svg(names, [(9, 9, 9)] * count))
    width, height = float(picture.get("width")), float(picture.get("height"))
    _, *squares = picture.findall(f"{SVG}rect")
    places = [(float(s.get("x")), float(s.get("y"))) for s in squares]
    assert len(set(places)) == count
    assert all(0 <= x <= width - 200 and 0 <= y <= height - 16 for x, y in places)


def test_overlays_alone_have_a_legend():
    assert asked_lists(options("--overlay"), NAMES, COLOURS) == [Legend(NAMES, COLOURS)]
    assert asked_lists(options("--probabilities"), NAMES, COLOURS) == []


def test_of_planes_the_legend_shows_black_as_it_is_drawn():
    (legend,) = asked_plane_lists(options("--overlay"), NAMES[:2], COLOURS[:2])
    assert legend == Legend(NAMES[:2], ((255, 255, 255), (128, 0, 0)))
    assert asked_plane_lists(options(), NAMES[:2], COLOURS[:2]) == []


def test_one_legend_is_written_for_the_folder(job):
    job.add("a.png"), job.add("b.png")
    entries, _ = job.run()
    written = write_lists((Legend(NAMES, COLOURS),), job.out, entries, record=job.record)
    assert written == [str(job.out / "legend.svg")]
    text = (job.out / "legend.svg").read_text(encoding="utf-8")
    assert re.search("犬</text>", text)

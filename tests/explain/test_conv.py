"""What `explain conv` says: sizes, matrix, numbers; and the figure that it draws."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from segjax.errors import InputError
from segjax.explain import conv
from segjax.explain.explained import Explained
from segjax.explain.figure import save

NOTES = ("--input", "2 3; 1 3", "--kernel-values", "0 1 1; 0 1 0; 1 0 1")
"""The course notes' numbers, recipes 0.3."""


def explained(*arguments: str) -> Explained:
    parser = argparse.ArgumentParser()
    conv.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["conv", *arguments])
    return parsed.run(parsed)


def said(*arguments: str) -> str:
    return conv.text(explained(*arguments))


def test_the_transposed_example_of_the_course_notes_comes_out_step_by_step():
    numbers = explained("--transposed", *NOTES)["numbers"]
    assert numbers["with_zeros_between"] == [[2, 3], [1, 3]]
    assert np.array(numbers["padded"]).shape == (6, 6) and numbers["padded"][2][2:4] == [2, 3]
    assert numbers["flipped_kernel"] == [[1, 0, 1], [0, 1, 0], [1, 1, 0]]
    assert numbers["output"] == [[0, 2, 5, 3], [0, 3, 7, 3], [2, 4, 5, 3], [1, 3, 1, 3]]
    assert numbers["equals_matrix_product"] and numbers["equals_operation"]


def test_the_matrix_holds_the_kernel_once_a_row_at_the_outputs_place():
    result = explained("--size", "4", "--kernel", "3")
    kernel = np.arange(1, 10).reshape(3, 3)
    for row, (y, x) in zip(result["matrix"]["taps"], np.ndindex(2, 2), strict=True):
        place = np.zeros((4, 4), int)
        place[y : y + 3, x : x + 3] = kernel
        assert row == place.ravel().tolist()
    text = conv.text(result)
    assert "out 0,1     . a b c | . d e f | . g h i | . . . .\n" in text
    assert "36 of its 64 entries (56.2 %) come from the kernel" in text


def test_of_a_transposed_convolution_the_transpose_is_printed():
    lines = said("--transposed", *NOTES).splitlines()
    first = lines.index("  out 0,0     a . | . .")
    assert lines[first + 5] == "  out 1,1     e d | b a"


def test_the_formula_is_worked_with_the_numbers_and_a_remainder_is_explained():
    text = said("--size", "6", "--stride", "2", "--padding", "1")
    assert "floor((n + 2p - e) / s) + 1 = floor((6 + 2 * 1 - 3) / 2) + 1 = 3\n" in text
    assert "no output reads the last 1 of the 8 padded pixels" in text
    assert "gives 6 again with output padding 1" in text
    back = ("--transposed", "--size", "3", "--stride", "2", "--padding", "1")
    assert "(3 - 1) * 2 - 2 * 1 + 3 + 1 = 6\n" in said(*back, "--output-padding", "1")


def test_height_and_width_may_differ():
    result = explained("--input", "[[1, 2, 3, 4]]", "--kernel-values", "1 2", "--stride", "2")
    assert result["output"] == [1, 2] and result["numbers"]["output"] == [[5, 11]]
    assert "  height\n" in conv.text(result)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation"),
    [(5, 3, 2, 1, 1), (4, 2, 3, 0, 1), (7, 3, 2, 3, 2), (3, 1, 2, 1, 1), (4, 2, 1, 2, 1)],
)
def test_the_procedure_the_matrix_and_the_operation_agree(
    size, kernel, stride, padding, dilation, transposed
):
    values = {"size": size, "kernel": kernel, "stride": stride, "padding": padding}
    values |= {"dilation": dilation} | ({"output-padding": stride - 1} if transposed else {})
    arguments = [f"--{name}={value}" for name, value in values.items()]
    result = explained(*arguments, *(["--transposed"] if transposed else []))
    numbers = result["numbers"]
    assert numbers["equals_matrix_product"] and numbers["equals_operation"]
    assert np.array(numbers["output"]).shape == tuple(result["output"])
    taps = np.array(result["matrix"]["taps"] or [0])
    if taps.any():
        assert np.count_nonzero(taps) == result["matrix"]["kernel_entries"]


def test_entries_are_counted_without_building_the_matrix():
    small = explained("--size", "5", "--stride", "2", "--padding", "1")["matrix"]
    assert small["kernel_entries"] == 7**2
    large = explained("--size", "1000", "--padding", "1")
    assert large["matrix"]["kernel_entries"] == 2998**2
    assert large["matrix"]["taps"] is None and large["numbers"] is None
    assert "(Not printed: it has more than 16 rows or 36 columns" in conv.text(large)
    assert "(No example: an array has more than 16 x 16 values" in conv.text(large)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "0"], "size must be from 1 to 10000, got 0"),
        (["--kernel", "-3"], "kernel must be from 1 to 10000, got -3"),
        (["--size", "3", "--kernel", "5"], "spans 5 pixels, more than the padded input's 3"),
        (["--stride", "0"], "must be at least 1, got 4, 3, 0 and 1"),
        (["--padding", "-1"], "Padding must be .* got -1"),
        (["--dilation", "20000"], "may be at most 10000"),
        (["--output-padding", "1"], "is for a transposed convolution only; add --transposed"),
        (["--transposed", "--output-padding", "1"], "must be below the stride 1"),
        (["--transposed", "--padding", "9"], "cuts away the whole result"),
        (["--input", "1 2; 3"], "must be rows of equal length"),
        (["--input", "[[1, 2"], "must be rows of equal length"),
        (["--input", "nan"], "must be rows of equal length"),
        (["--kernel-values", "", "--size", "4"], "must be rows of equal length"),
        (["--input", "1 2; 3 4", "--size", "3"], "size 3 does not fit the 2 x 2 values"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        explained(*arguments)


CASES = [
    ("--size", "5", "--stride", "2", "--padding", "1"),
    ("--size", "16", "--kernel-values", "0.0625 0.5; 0.1875 0.125"),
    ("--transposed", "--size", "3", "--stride", "2", "--padding", "1", "--dilation", "2"),
]


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_lines_are_short_and_the_facts_are_json(arguments):
    result = explained(*arguments)
    assert max(map(len, conv.text(result).splitlines())) < 100
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize("arguments", [*CASES, ("--size", "22")], ids=" ".join)
def test_the_figure_is_an_opaque_png_of_a_readable_size(arguments, tmp_path):
    save(explained(*arguments).figure(), tmp_path / "new" / "conv.png")
    with Image.open(tmp_path / "new" / "conv.png") as image:
        assert image.format == "PNG" and 600 < image.width < 2800 and image.height < 2400
        assert np.array(image.convert("RGBA"))[..., 3].min() == 255
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["conv.png"]


def test_what_would_be_too_small_to_read_is_not_drawn():
    with pytest.raises(InputError, match="has a side of 32; choose a smaller size"):
        explained("--size", "30", "--padding", "1").figure()

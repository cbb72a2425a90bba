"""Line charts: what their axes show, and where curves lie."""

import itertools
import re

import numpy as np
import pytest

from segjax.report.svg import Line, line_chart, number, percent, round_ticks, tick_labels

SHARES = {"y_limits": (0.0, 1.0), "y_format": percent}


def line(x: list[float], y: list[float], **options) -> Line:
    return Line("a", np.array(x, float), np.array(y, float), **options)


def labels(svg: str) -> tuple[list[str], list[str], str]:
    """The labels of the y axis and of the x axis, and the x axis' name."""
    texts = re.findall(r'<text [^>]*text-anchor="(\w+)">([^<]*)</text>', svg)
    # Ticks of the y axis end at the axis; the first of the x axis does not.
    y_axis = [text for _, text in itertools.takewhile(lambda found: found[0] == "end", texts)]
    *x_axis, name = [text for _, text in texts[len(y_axis) :]]
    return y_axis, x_axis, name


def points(svg: str) -> list[tuple[float, ...]]:
    (found,) = re.findall(r'<polyline [^>]*points="([^"]*)"', svg)
    return [tuple(map(float, point.split(","))) for point in found.split()]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (900, 20_000, [5000, 10_000, 15_000, 20_000])],
)
def test_ticks_are_round_numbers_within_the_range(low, high, ticks):
    assert round_ticks(low, high) == ticks


@pytest.mark.parametrize(
    ("value", "text"),
    [(1500, "1.5k"), (2e6, "2M"), (0.007, "0.007"), (0.0005, "5e-4"), (-3, "-3")],
)
def test_numbers_on_axes_are_short(value, text):
    assert number(value) == text


@pytest.mark.parametrize("text", [number, percent])
@pytest.mark.parametrize("start", [0.0, 0.97, 12_345.0, 3e-5, 7e7])
def test_no_two_ticks_have_the_same_label(start, text):
    ticks = [start + i * max(start, 1) * 1e-6 for i in range(5)]
    assert len(set(tick_labels(ticks, text))) == 5


def test_higher_values_lie_higher_and_later_steps_further_right():
    svg = line_chart([line([0, 10], [0, 1])], label="rise", size=(460, 260))
    assert points(svg) == [(56, 216), (448, 12)]


def test_a_score_has_an_axis_within_0_and_100_percent():
    for values in ([1.0], [0.0], [0.5, 0.5], [0.001, 0.93], [0.07, 0.999]):
        svg = line_chart([line([*range(len(values))], values)], label="", **SHARES)
        assert labels(svg)[0] == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]


@pytest.mark.parametrize(
    ("steps", "ticks"),
    [
        ([20], ["0", "5", "10", "15", "20"]),
        ([1], ["0", "1"]),
        ([1, 2], ["0", "1", "2"]),
        ([0], ["0", "1"]),
        ([300, 30_000], ["0", "10k", "20k", "30k"]),
    ],
)
def test_the_axis_of_steps_runs_from_0_to_the_last_in_whole_numbers(steps, ticks):
    svg = line_chart([line(steps, [0.5] * len(steps))], label="", **SHARES)
    assert labels(svg)[1:] == (ticks, "step")


def test_the_x_axis_says_what_it_is():
    svg = line_chart([line([0.1, 0.9], [0, 1])], label="", over="threshold & more")
    assert "threshold &amp; more</text>" in svg


@pytest.mark.parametrize(
    ("values", "least"), [([0.01, 0.01], "0.005"), ([0.0], "0"), ([-2.0, -2.0], "-3")]
)
def test_a_constant_curve_has_an_axis_around_it_not_below_0_without_need(values, least):
    svg = line_chart([line([*range(len(values))], values)], label="flat")
    assert labels(svg)[0][0] == least


def test_a_single_value_is_a_dot_inside_the_chart():
    svg = line_chart([line([20], [1.0])], label="", size=(460, 278), **SHARES)
    assert re.findall(r'<circle [^>]*cx="([\d.]+)" cy="([\d.]+)" r="3"/>', svg) == [
        ("448.0", "12.0")
    ]

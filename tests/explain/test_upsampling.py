"""Five ways of upsampling: their sizes, their costs, and who draws checkerboards."""

import argparse
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax.errors import InputError
from segjax.explain import upsampling
from segjax.explain.figure import save
from segjax.layers.conv import Conv, ConvTranspose


def _run(**options):
    defaults = dict(factor=2, kernel=None, stride=None, seed=0)
    return upsampling.run(argparse.Namespace(**{**defaults, **options}))


@pytest.fixture(scope="module")
def result():
    return _run()


def _ways(result):
    return {way["name"]: way for way in result["methods"]}


@pytest.mark.parametrize(
    "options", [{}, dict(kernel=4), dict(factor=3), dict(kernel=1)], ids=str
)
def test_every_way_gives_factor_times_the_side(options):
    factor = options.get("factor", 2)
    for way in _run(**options)["methods"]:
        assert np.shape(way["output"]) == (12 * factor, 12 * factor)
        assert way["size"].endswith(f"= {12 * factor}")
    rule = _ways(_run(**options))["transposed"]["size"]
    assert eval(rule.replace("=", "==")) is True


def test_only_ways_of_equal_neighbours_leave_ones_even(result):
    ways = _ways(result)
    for name in ("bilinear", "nearest + conv"):
        np.testing.assert_allclose(ways[name]["of_ones"], 1, atol=1e-3)
    assert ways["transposed"]["unevenness_of_ones"] > 1
    assert 0 < ways["sub-pixel"]["unevenness_of_ones"] < 1
    assert ways["unpooling"]["unevenness_of_ones"] == 4


def test_an_undivided_kernel_is_uneven_by_overlap_and_a_divided_one_by_weights_alone(result):
    board = result["checkerboard"]
    assert not board["free"] and board["taps_that_meet"] == [2, 1, 2, 1, 2, 1]
    divided = _run(kernel=4)
    board = divided["checkerboard"]
    assert board["free"] and board["taps_that_meet"] == [2] * 6
    uneven = lambda result: _ways(result)["transposed"]["unevenness_of_ones"]
    assert uneven(divided) < uneven(result) / 3


def test_a_block_of_the_unpooled_map_holds_its_value_once(result):
    small, large = np.array(result["input"]), np.array(_ways(result)["unpooling"]["output"])
    blocks = large.reshape(12, 2, 12, 2)
    np.testing.assert_allclose(blocks.sum((1, 3)), small)
    assert ((blocks > 0).sum((1, 3)) == 1).all()


def test_parameters_are_those_of_the_layers(result):
    def count(layer):
        x = jnp.zeros((1, 2, 2, upsampling.CHANNELS))
        shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    layers = {
        "transposed": ConvTranspose(64, 3, stride=2, use_bias=False),
        "nearest + conv": Conv(64, 3, use_bias=False),
        "sub-pixel": Conv(4 * 64, 3, use_bias=False),
    }
    ways = _ways(result)
    for name, layer in layers.items():
        assert ways[name]["parameters"] == count(layer)
    assert ways["bilinear"]["parameters"] == ways["unpooling"]["parameters"] == 0


def test_multiply_adds_are_outputs_times_what_each_reads(result):
    counts = {name: way["multiply_adds"] for name, way in _ways(result).items()}
    # Transposed: every input meets every tap. A 3×3: every output reads nine.
    assert counts["transposed"] == 12 * 12 * 9 * 64 * 64
    assert counts["nearest + conv"] == counts["sub-pixel"] == 24 * 24 * 9 * 64 * 64
    assert counts["bilinear"] == 24 * 24 * 4 * 64


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "2 does not divide 3), which makes a checkerboard.\nUse kernel 2 or 4"),
        (
            dict(kernel=2, stride=3),
            "3 does not divide 2), which makes a checkerboard.\nUse kernel 3 ",
        ),
        (dict(kernel=6), "2 divides 6), so overlap makes no checkerboard"),
    ],
    ids=str,
)
def test_the_text_gives_the_verdict_and_its_remedy(options, words):
    text = upsampling.text(_run(**options))
    assert words in text
    assert max(map(len, text.splitlines())) <= 96 and text.isascii()


def test_the_result_is_json_and_its_figure_shows_the_checkerboard(result, tmp_path):
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    save(result.figure(), tmp_path / "up.png")
    with Image.open(tmp_path / "up.png") as figure:
        pixels = np.asarray(figure.convert("L"), float)
    height, width = pixels.shape
    # The third column of panels (bilinear) is even in its lower half, the second is not.
    panel = lambda i: pixels[int(height * 0.65) : int(height * 0.85), _columns(i, width)]
    assert panel(1).std() > 40 and panel(2).std() < 1


def _columns(index, width):
    """Returns the middle of a panel's columns, as the figure places it."""
    inches = 0.4 + index * 1.91
    return slice(int((inches + 0.3) * 150), int((inches + 1.4) * 150))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(factor=1), "factor must be from 2 to 8, got 1"),
        (dict(stride=0), "stride must be from 1 to 8, got 0"),
        (dict(kernel=0), "kernel must be from 1 to 32, got 0"),
        (dict(seed=-1), "seed must be from 0"),
    ],
)
def test_a_number_out_of_range_is_an_error(options, message):
    with pytest.raises(InputError, match=message):
        _run(**options)


def test_the_command_has_defaults_that_run_accepts():
    parser = argparse.ArgumentParser()
    upsampling.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["upsampling", "--factor", "3"])
    result = arguments.run(arguments)
    assert result["checkerboard"]["kernel"] == 4 and result["checkerboard"]["stride"] == 3

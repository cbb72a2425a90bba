"""What a notebook sees: facts with a readable `repr`, and figures that need no pyplot."""

import json
import pathlib

import numpy as np
import pytest
from matplotlib.figure import Figure

from segjax.errors import InputError
from segjax.experiment import load
from segjax.explain import conv, model, rates, skips, upsampling
from segjax.explain.model import receptive_field_figure

QUICKSTART = load(pathlib.Path(__file__).parents[2] / "experiments" / "quickstart.py")

TOPICS = {
    "conv": (conv, lambda: conv.explain_conv(values=[[2, 3], [1, 3]], kernel=2, stride=1)),
    "rates": (rates, lambda: rates.explain_rates([2, 2], versus=[(1, 2)])),
    "skips": (skips, lambda: skips.explain_skips(depth=2, channels=1)),
    "upsampling": (upsampling, lambda: upsampling.explain_upsampling()),
}


@pytest.mark.parametrize("topic", TOPICS)
def test_a_result_is_a_dict_that_shows_its_text_and_draws_itself(topic):
    module, explain = TOPICS[topic]
    result = explain()
    assert isinstance(result, dict) and json.loads(json.dumps(result)) == result
    assert repr(result) == module.text(result) and len(repr(result).splitlines()) > 8
    figure = result.figure()
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.canvas.manager is None  # Those of pyplot have one.


def test_values_may_be_an_array_or_the_commands_text():
    array = conv.explain_conv(values=np.array([[2, 3], [1, 3]]), kernel=2)
    assert array == conv.explain_conv(values="2 3; 1 3", kernel=2)
    assert array["numbers"]["input"] == [[2, 3], [1, 3]]


@pytest.mark.parametrize(
    ("explain", "words"),
    [
        (lambda: conv.explain_conv(size=2.5), r"size must be a whole number, got 2\.5\."),
        (lambda: conv.explain_conv(kernel="3"), r"kernel must be a whole number, got '3'\."),
        (lambda: conv.explain_conv(stride=None), "stride must be a whole number, got None"),
        (lambda: conv.explain_conv(padding=0.5), "padding must be a whole number, got 0.5"),
        (lambda: conv.explain_conv(output_padding=0.5), "output_padding must be a whole num"),
        (
            lambda: rates.explain_rates(3),
            r"rates must be whole numbers, as in \[1, 2, 5\], got 3",
        ),
        (lambda: rates.explain_rates([1.5]), r"rates must be whole numbers, .* got \[1\.5\]"),
        (lambda: rates.explain_rates(np.ones((1, 2), int)), "rates must be whole numbers"),
        (lambda: rates.explain_rates("1 2"), "rates must be whole numbers, .* got '1 2'"),
        (
            lambda: rates.explain_rates([1], kernel=3.0),
            "kernel must be a whole number, got 3.0",
        ),
        (
            lambda: rates.explain_rates([1, 2], versus=[1, 2]),
            r"each list of versus must be whole numbers, as in \[\[2, 2, 2\]\], got 1",
        ),
        (lambda: rates.explain_rates([1], versus=2), r"versus must be lists .* got 2\."),
        (lambda: rates.explain_rates([1], versus="2"), r"versus must be lists .* got '2'\."),
        (lambda: skips.explain_skips(depth=2.5), "depth must be a whole number, got 2.5"),
        (lambda: skips.explain_skips(channels=1.0), "channels must be a whole number, got 1.0"),
        (lambda: skips.explain_skips(seed=0.5), "seed must be a whole number, got 0.5"),
        (lambda: skips.explain_skips(gain="1"), "gain must be from 0.01 to 3, got '1'"),
        (lambda: upsampling.explain_upsampling(factor=2.0), "factor must be a whole number"),
        (lambda: upsampling.explain_upsampling(kernel=2.5), "kernel must be a whole number"),
        (lambda: upsampling.explain_upsampling(stride="2"), "stride must be a whole number"),
        (lambda: upsampling.explain_upsampling(seed=None), "seed must be a whole number"),
        (lambda: model.explain_model(QUICKSTART, batch=0.5), "batch must be a whole number"),
        (lambda: model.explain_model(QUICKSTART, size=2.5), r"size must be whole .*\(2\.5, 2"),
        (lambda: model.explain_model(QUICKSTART, size=(1, 2, 3)), r"size must be a side, 513,"),
        (lambda: model.explain_model(QUICKSTART, size=0), r"size must be a side, .* got 0\."),
    ],
)
def test_an_argument_that_is_no_whole_number_is_named_in_one_line(explain, words):
    with pytest.raises(InputError, match=f"^{words}") as caught:
        explain()
    assert "\n" not in str(caught.value)


def test_whole_numbers_may_be_numpys():
    given = np.int64(4)
    result = conv.explain_conv(size=given, kernel=np.uint8(3), stride=np.int32(1))
    assert json.loads(json.dumps(result)) == conv.explain_conv(size=4, kernel=3)
    assert rates.explain_rates(np.array([1, 2, 5])) == rates.explain_rates([1, 2, 5])


def test_a_figure_that_is_too_large_names_no_option_of_the_command():
    with pytest.raises(InputError, match="one has a side of 50; choose a smaller size.$"):
        conv.explain_conv(size=50).figure()


def test_a_network_that_was_not_run_has_no_figure():
    with pytest.raises(InputError, match="pass fields=True"):
        receptive_field_figure({"name": "tiny"})

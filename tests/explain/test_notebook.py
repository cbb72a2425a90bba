"""What a notebook sees: facts with a readable `repr`, and figures that need no pyplot."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from segjax.errors import InputError
from segjax.explain import conv, rates, skips, upsampling
from segjax.explain.model import receptive_field_figure

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


def test_a_network_that_was_not_run_has_no_figure():
    with pytest.raises(InputError, match="pass fields=True"):
        receptive_field_figure({"name": "tiny"})

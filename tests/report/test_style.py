"""Contrast of the pages' colours, light and dark, by WCAG 2.2 (1.4.3 and 1.4.11)."""

import importlib.resources
import itertools
import re

import numpy as np
import pytest

from segjax.report.matrix import ON_DARK, ON_LIGHT
from segjax.report.style import STYLE

TEXT, GRAPHIC = 4.5, 3.0
"""Least contrast of text, and of curves and marks."""

PAGE = importlib.resources.files("segjax.page").joinpath("style.css").read_text("utf-8")
SHEETS = {"report": STYLE, "page": PAGE}


def colours(sheet: str, scheme: str) -> dict[str, np.ndarray]:
    """Colours by name, red, green and blue within 0 … 1."""
    roots = re.findall(r":root \{(.*?)\}", SHEETS[sheet], re.S)
    assert len(roots) == 2
    found = re.findall(r"--([\w-]+): #(\w{6});", roots[scheme == "dark"])
    return {name: np.array([*bytes.fromhex(code)]) / 255 for name, code in found}


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    """Contrast of two colours, from 1 to 21."""
    luminance = []
    for colour in (a, b):
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        luminance.append(linear @ (0.2126, 0.7152, 0.0722))
    return (max(luminance) + 0.05) / (min(luminance) + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast(np.zeros(3), np.ones(3)) == pytest.approx(21)
    assert contrast(np.full(3, 0x77 / 255), np.ones(3)) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("sheet", SHEETS)
def test_text_can_be_read_on_every_ground(sheet, scheme):
    found = colours(sheet, scheme)
    for text, ground in itertools.product(("text", "muted"), ("page", "raised")):
        assert contrast(found[text], found[ground]) >= TEXT, (text, ground)
    if sheet == "page":
        assert contrast(found["accent"], found["raised"]) >= TEXT
        assert contrast(found["on-accent"], found["accent"]) >= TEXT
        assert contrast(found["text"], found["grid"]) >= TEXT
        assert contrast(found["muted"], found["grid"]) >= TEXT


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_curves_and_bars_stand_out(scheme):
    found = colours("report", scheme)
    lines = [name for name in found if name.startswith("line-")]
    assert len(lines) == 5
    for name in (*lines, "green", "orange"):
        assert contrast(found[name], found["page"]) >= GRAPHIC, name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("kind", "fill"), [("right", "green"), ("wrong", "orange")])
def test_the_number_in_a_cell_can_be_read_whatever_its_colour(kind, fill, scheme):
    found, black, white = colours("report", scheme), np.zeros(3), np.ones(3)
    for opacity in np.linspace(0.07, 1, 200):
        ground = opacity * found[fill] + (1 - opacity) * found["page"]
        text = black if opacity >= ON_DARK[kind] else white
        if scheme == "light":
            text = white if opacity >= ON_LIGHT[kind] else black
        assert contrast(text, ground) >= TEXT, opacity

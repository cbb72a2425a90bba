"""The largest batch that fits: always the largest one, with few compilations."""

import math

import pytest

from segjax.planning.search import largest_that_fits

PEAKS = {
    "affine": lambda n: 1000 + 37 * n,
    "nothing but the batch": lambda n: 64 * n,
    "in steps of four": lambda n: 500 + 160 * -(-n // 4),
    "another algorithm from 20 on": lambda n: 400 + (30 if n < 20 else 75) * n,
    "quadratic": lambda n: 100 + n * n,
    "with a wobble": lambda n: 900 + 41 * n + (n % 3) * 12,
    "not compiled from 30 on": lambda n: 300 + 20 * n if n < 30 else math.inf,
    "equal for all": lambda n: 700,
}


@pytest.mark.parametrize("limit", [650, 1037, 2500, 2501, 5000])
@pytest.mark.parametrize("start", [1, 8, 60])
@pytest.mark.parametrize("name", PEAKS)
def test_the_size_is_the_one_that_trying_all_finds(name, start, limit):
    peak, most = PEAKS[name], 120
    fits = [n for n in range(1, most + 1) if peak(n) <= limit]
    largest = 0 if 1 not in fits else max(fits)
    found = largest_that_fits(peak, limit, start=start, fixed=200, most=most)
    assert found.size == largest
    assert found.peaks == {n: peak(n) for n in found.peaks}, "peaks are those asked for"


def test_both_neighbours_of_the_border_were_asked_for():
    found = largest_that_fits(PEAKS["affine"], 3000, start=8, fixed=0)
    assert found.peaks[found.size] <= 3000 < found.peaks[found.size + 1]


@pytest.mark.parametrize(("start", "calls"), [(8, 4), (54, 2), (55, 2)])
def test_a_line_needs_few_compilations(start, calls):
    asked = []
    peak = lambda n: asked.append(n) or PEAKS["affine"](n)
    assert largest_that_fits(peak, 3000, start=start, fixed=1000).size == 54
    assert len(asked) <= calls
    assert len(set(asked)) == len(asked), "no size is compiled twice"


def test_a_search_without_a_border_ends_at_its_bound():
    assert largest_that_fits(lambda n: 1.0, 2.0, start=1, fixed=1, most=50).size == 50

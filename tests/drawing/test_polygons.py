import numpy as np
import pytest

from segjax.drawing import polygons
from segjax.drawing.polygons import Region, area, bridged, centres, edges, simplified


def mask(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def corners(ring) -> set[tuple[float, float]]:
    return set(map(tuple, ring.tolist()))


def even_odd(ring: np.ndarray, height: int, width: int) -> np.ndarray:
    """Whether each pixel's centre is inside: the parity of the sides above it."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inside = np.zeros((height, width), bool)
    for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if x1 != x2:
            at = y1 + (x - x1) / (x2 - x1) * (y2 - y1)
            inside ^= ((x1 <= x) != (x2 <= x)) & (at < y)
    return inside


def test_lines_run_along_the_edges_of_pixels_or_through_their_centres():
    wide = mask("....", ".##.", "....")
    (region,), (line,) = edges(wide), centres(wide)
    assert corners(region.outer) == {(1, 1), (3, 1), (3, 2), (1, 2)} and len(region.outer) == 4
    assert corners(line) == {(1.5, 1.5), (2.5, 1.5)}


def test_a_region_at_the_images_border_is_closed_along_it():
    (region,), (line,) = edges(mask("##", "##")), centres(mask("##", "##"))
    assert corners(region.outer) == {(0, 0), (2, 0), (2, 2), (0, 2)}
    assert corners(line) == {(0.5, 0.5), (1.5, 0.5), (1.5, 1.5), (0.5, 1.5)}


@pytest.mark.parametrize("find", [edges, centres])
def test_nothing_has_no_region_and_pixels_that_touch_at_corners_are_two(find):
    assert find(np.zeros((3, 4), bool)) == []
    assert len(find(mask("#.", ".#"))) == len(find(mask(".#", "#."))) == 2


def test_a_hole_belongs_to_the_region_around_it_and_an_island_is_a_region():
    found = edges(mask("#####", "#...#", "#.#.#", "#...#", "#####"))
    ring, island = sorted(found, key=lambda region: -area(region.outer))
    assert [area(hole) for hole in ring.holes] == [9] and area(ring.outer) == 25
    assert area(island.outer) == 1 and island.holes == ()


@pytest.mark.parametrize("seed", range(12))
def test_areas_less_holes_and_even_odd_filling_give_the_mask(seed):
    rng = np.random.default_rng(seed)
    pixels = rng.random(rng.integers(1, 14, 2)) < rng.choice([0.3, 0.6, 0.9])
    filled, total = np.zeros_like(pixels), 0.0
    for region in edges(pixels):
        filled ^= even_odd(bridged(region), *pixels.shape)
        total += area(region.outer) - sum(map(area, region.holes))
    np.testing.assert_array_equal(filled, pixels)
    assert total == pixels.sum()


def test_a_bridge_starts_and_ends_at_one_corner_of_the_outline():
    outer = np.array([[0, 0], [9, 0], [9, 9], [0, 9]], float)
    near, far = (
        np.array([[8, 8], [8, 7], [7, 7]], float),
        np.array([[1, 1], [1, 2], [2, 2]], float),
    )
    line = bridged(Region(outer, (near, far))).tolist()
    assert line[:5] == [[0, 0], [1, 1], [1, 2], [2, 2], [1, 1]] and line[5] == [0, 0]
    assert line[7:13] == [[9, 9], [8, 8], [8, 7], [7, 7], [8, 8], [9, 9]]
    assert line[6] == [9, 0] and line[13:] == [[0, 9]]


def disk(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius - 2 : radius + 3, -radius - 2 : radius + 3]
    return x**2 + y**2 <= radius**2


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0])
def test_no_corner_that_is_left_out_is_farther_than_the_tolerance(tolerance):
    (region,) = edges(disk(20))
    smooth = simplified(region.outer, tolerance=tolerance)
    assert 3 <= len(smooth) < len(region.outer)
    assert corners(smooth) <= corners(region.outer)
    sides = zip(smooth, np.roll(smooth, -1, axis=0), strict=True)
    share = np.linspace(0, 1, 200)[:, None]
    drawn = np.concatenate([start + share * (end - start) for start, end in sides])
    distances = np.linalg.norm(region.outer[:, None] - drawn, axis=-1).min(1)
    assert distances.max() <= tolerance + 0.05


def test_without_tolerance_a_ring_stays_as_it_is():
    (region,) = edges(disk(5))
    np.testing.assert_array_equal(simplified(region.outer, tolerance=0.0), region.outer)


def test_a_corner_beyond_the_end_of_a_side_is_kept_though_it_lies_on_its_line():
    spike = np.array([[0, 0], [-4, 0], [6, 0], [3, 3]], float)
    assert (-4.0, 0.0) in corners(simplified(spike, tolerance=1.0))


@pytest.mark.parametrize("tolerance", [-1.0, float("nan")])
def test_a_wrong_tolerance_is_named(tolerance):
    with pytest.raises(ValueError, match=f"0 or more, got {tolerance}"):
        polygons.simplified(np.zeros((4, 2)), tolerance=tolerance)

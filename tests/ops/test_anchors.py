"""Anchors against loops and by hand; `test_golden_torchvision.py` has torchvision's."""

import numpy as np

from segjax.ops.anchors import anchor_shapes, anchors


def test_anchors_come_in_the_order_of_rows_columns_and_shapes():
    found = anchors((2, 3), stride=(8, 16), sizes=(10, 20), ratios=(1, 4), rounded=False)
    expected = []
    for row in range(2):
        for column in range(3):
            for ratio in (1, 4):
                for size in (10, 20):
                    height = size * ratio**0.5
                    width = size / ratio**0.5
                    x, y = column * 16, row * 8
                    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
                    expected.append(corners)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_areas_are_those_of_the_sizes_and_ratios_are_heights_over_widths():
    x0, y0, x1, y1 = anchor_shapes((32, 64), (0.5, 1, 2), rounded=False).T
    np.testing.assert_allclose((x1 - x0) * (y1 - y0), [32**2, 64**2] * 3, rtol=1e-6)
    np.testing.assert_allclose((y1 - y0) / (x1 - x0), [0.5] * 2 + [1] * 2 + [2] * 2, rtol=1e-6)


def test_corners_are_rounded_to_whole_pixels_if_asked():
    assert anchor_shapes((32,), (2,)).tolist() == [[-11, -23, 11, 23]]
    assert anchor_shapes((32,), (2,), rounded=False)[0, 2] != 11

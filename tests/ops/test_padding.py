"""Frames against NumPy's padding and slices."""

import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops.padding import center_crop, mirror_pad, pad_to_multiple


def _image(height, width):
    return jnp.arange(2.0 * height * width * 3).reshape(2, height, width, 3)


@pytest.mark.parametrize("size", [(7, 6), (2, 3), (1, 4), (1, 1)])
@pytest.mark.parametrize(
    "pads", [((1, 0), (0, 1)), ((2, 5), (13, 6)), ((0, 0), (40, 1))], ids=str
)
def test_mirrors_continue_an_image_by_any_amount(size, pads):
    x = _image(*size)
    expected = np.pad(x, ((0, 0), *pads, (0, 0)), mode="reflect")
    np.testing.assert_array_equal(mirror_pad(x, pads), expected)


def test_of_an_odd_difference_the_bottom_and_the_right_lose_more():
    x = _image(7, 6)
    np.testing.assert_array_equal(center_crop(x, (4, 3)), x[:, 1:5, 1:4])


@pytest.mark.parametrize("size", [(1, 1), (16, 32), (17, 5), (31, 33)])
def test_padding_to_a_multiple_is_smallest_and_is_undone_exactly(size):
    x = _image(*size)
    padded, undo = pad_to_multiple(x, 16)
    assert padded.shape[1:3] == tuple(-(-n // 16) * 16 for n in size)
    np.testing.assert_array_equal(undo(padded), x)


def test_each_axis_may_have_its_own_multiple():
    assert pad_to_multiple(_image(5, 5), (4, 3))[0].shape[1:3] == (8, 6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: center_crop(x, (5, 4)), r"\(5, 4\) from \(4, 4\)"),
        (lambda x: center_crop(x, (0, 4)), r"\(0, 4\) from"),
        (lambda x: mirror_pad(x, ((0, 0), (0, -1))), "at least 0, got"),
        (lambda x: pad_to_multiple(x, 0), "at least 1, got 0"),
    ],
)
def test_an_impossible_frame_is_an_error_that_names_the_values(call, message):
    with pytest.raises(ValueError, match=message):
        call(_image(4, 4))

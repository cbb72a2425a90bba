"""Channels to pixels and back in both orders, and the taps that meet in an output."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from segjax.ops.conv import conv2d
from segjax.ops.shuffle import (
    checkerboard_free,
    depth_to_space,
    overlap_counts,
    upsample_nearest,
)
from segjax.ops.transposed import conv_transpose2d

CHANNEL = {
    "torch": lambda o, i, j, r, outputs: o * r * r + i * r + j,
    "tensorflow": lambda o, i, j, r, outputs: (i * r + j) * outputs + o,
}


def _counting(*shape):
    return jnp.arange(np.prod(shape)).reshape(shape)


@pytest.mark.parametrize("order", CHANNEL)
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_each_pixel_of_a_block_is_the_channel_that_the_order_says(order, factor):
    x, outputs = _counting(2, 3, 2, 2 * factor**2), 2
    y = depth_to_space(x, factor, order=order)
    assert y.shape == (2, 3 * factor, 2 * factor, outputs)
    for i, j, o in np.ndindex(factor, factor, outputs):
        channel = CHANNEL[order](o, i, j, factor, outputs)
        np.testing.assert_array_equal(y[:, i::factor, j::factor, o], x[..., channel])


def test_a_sub_pixel_convolution_is_the_transposed_one_with_its_kernel_dealt_out():
    """Shi et al., section 2.2: stride r, kernel r · k, its taps dealt to r² kernels of k."""
    r, rng = 2, np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(1, 5, 4, 3)))
    kernel = rng.normal(size=(2 * r, 2 * r, 6, 3))
    dealt = kernel.reshape(2, r, 2, r, 6, 3)[::-1, :, ::-1].transpose(0, 2, 5, 4, 1, 3)
    low = conv2d(x, jnp.asarray(dealt.reshape(2, 2, 3, 6 * r * r)), padding=1)
    expected = conv_transpose2d(x, jnp.asarray(kernel), stride=r)
    np.testing.assert_allclose(depth_to_space(low, r), expected, atol=1e-5)


def test_derivatives_of_two_orders_are_finite_differences():
    x = np.random.default_rng(0).normal(size=(1, 2, 2, 4))
    with jax.enable_x64(True):
        for move in (depth_to_space, upsample_nearest):
            check_grads(jax.jit(lambda x, f=move: f(x, 2) ** 3), (x,), order=2)


@pytest.mark.parametrize(
    "shape, factor, order, message",
    [
        ((1, 2, 2, 6), 2, "torch", "6 channels cannot .* a multiple of 4"),
        ((1, 2, 2, 4), 2, "caffe", "got 'caffe'"),
        ((1, 2, 2, 4), 0, "torch", "at least 1, got 0"),
    ],
)
def test_what_does_not_divide_is_an_error(shape, factor, order, message):
    with pytest.raises(ValueError, match=message):
        depth_to_space(jnp.zeros(shape), factor, order=order)


def test_nearest_upsampling_repeats_rows_and_columns():
    x = np.asarray(_counting(2, 3, 2, 2))
    expected = x.repeat(2, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(upsample_nearest(jnp.asarray(x), (2, 3)), expected)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        upsample_nearest(jnp.asarray(x), 0)


@pytest.mark.parametrize("kernel, stride", [(1, 1), (3, 2), (4, 2), (2, 3), (5, 3), (6, 3)])
def test_the_counts_are_the_transposed_convolution_of_ones_with_ones(kernel, stride):
    size = 6
    ones = conv_transpose2d(
        jnp.ones((1, 1, size, 1)), jnp.ones((1, kernel, 1, 1)), stride=(1, stride)
    )
    counts = overlap_counts(kernel, stride, size)
    np.testing.assert_array_equal(counts, ones[0, 0, :, 0])
    inside = counts[kernel:-kernel]
    assert (len(set(inside.tolist())) == 1) == checkerboard_free(kernel, stride)


def test_no_kernel_and_no_stride_is_an_error():
    with pytest.raises(ValueError, match="got 0, 2 and 3"):
        overlap_counts(0, 2, 3)
    with pytest.raises(ValueError, match="got 3 and 0"):
        checkerboard_free(3, 0)

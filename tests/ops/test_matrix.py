"""The explicit matrix of a convolution against loops that sum, and against hand-made ones."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops.matrix import conv_matrix

KERNEL = np.array([[0, 1, 1], [0, 1, 0], [1, 0, 1]])[:, :, None, None]


def _summed(x, kernel, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """Returns the convolution of one h w c image: windows of a padded image, summed."""
    kh, kw, _, outputs = kernel.shape
    padded = np.pad(x, [(padding[0],) * 2, (padding[1],) * 2, (0, 0)])
    last_row = padded.shape[0] - dilation[0] * (kh - 1)
    last_column = padded.shape[1] - dilation[1] * (kw - 1)
    rows, columns = range(0, last_row, stride[0]), range(0, last_column, stride[1])
    y = np.zeros((len(rows), len(columns), outputs), int)
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        window = padded[row :: dilation[0], column :: dilation[1]][:kh, :kw]
        per_group = zip(
            np.split(window, groups, axis=2), np.split(kernel, groups, axis=3), strict=True
        )
        y[i, j] = np.concatenate([np.einsum("hwi,hwio->o", w, k) for w, k in per_group])
    return y


@pytest.mark.parametrize(
    "shape, options",
    [
        ((1, 1, 3, 2), {}),
        ((3, 2, 2, 3), dict(stride=(2, 1), padding=(1, 2))),
        ((2, 3, 2, 2), dict(padding=(2, 0), dilation=(3, 2))),
        ((3, 3, 2, 6), dict(stride=(1, 3), padding=(1, 1), groups=3)),
        ((2, 2, 1, 8), dict(stride=(2, 2), dilation=(1, 2), groups=4)),
        ((3, 3, 1, 1), dict(padding=(6, 6), dilation=(6, 6))),
    ],
    ids=str,
)
def test_the_matrix_times_an_image_is_the_sum_over_every_window(shape, options):
    rng = np.random.default_rng(0)
    kernel = rng.integers(-9, 10, shape)
    x = rng.integers(-9, 10, (7, 6, shape[2] * options.get("groups", 1)))
    y = _summed(x, kernel, **options)
    matrix = conv_matrix(kernel, (7, 6), **options)
    assert matrix.shape == (y.size, x.size)
    np.testing.assert_array_equal(matrix @ x.ravel(), y.ravel())


def test_the_course_notes_image_becomes_what_a_hand_computes():
    image = np.array([[1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 0]])
    y = conv_matrix(KERNEL, 4) @ image.ravel()
    np.testing.assert_array_equal(y.reshape(2, 2), [[2, 3], [1, 3]])


def test_every_row_is_the_kernel_embedded_in_zeros_at_its_place():
    rows = conv_matrix(KERNEL, 4).reshape(2, 2, 4, 4)
    for i, j in np.ndindex(2, 2):
        np.testing.assert_array_equal(
            rows[i, j], np.pad(KERNEL[..., 0, 0], [(i, 1 - i), (j, 1 - j)])
        )


def test_one_number_is_a_pair_and_same_is_the_padding_that_keeps_the_size():
    kernel = np.ones((3, 5, 1, 1))
    options = dict(stride=(2, 2), dilation=(2, 2), groups=1)
    by_pairs = conv_matrix(kernel, (6, 6), padding=(2, 4), **options)
    by_words = conv_matrix(kernel, 6, stride=2, padding="same", dilation=2)
    np.testing.assert_array_equal(by_words, by_pairs)


@pytest.mark.parametrize("kernel", [KERNEL, KERNEL / 3, jnp.asarray(KERNEL, jnp.bfloat16)])
def test_entries_have_the_kernels_type(kernel):
    assert conv_matrix(kernel, 4).dtype == kernel.dtype


BAD = {
    "spans 9 pixels, more than the padded input's 7": dict(padding=1, dilation=4),
    "got 5, 3, 0 and 1": dict(stride=0),
    "at least 0, got -1": dict(padding=-1),
    "at least 0, got 'valid'": dict(padding="valid"),
    "got 6, 4 and groups=3": dict(groups=3),
    "got 0, 4 and groups=0": dict(groups=0),
}


@pytest.mark.parametrize("message", BAD)
def test_an_impossible_geometry_is_an_error_that_names_the_values(message):
    with pytest.raises(ValueError, match=message):
        conv_matrix(np.ones((3, 3, 2, 4)), 5, **BAD[message])

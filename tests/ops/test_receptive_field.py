"""Fields against sets of indices and gradients; rates against the paper and all other lists."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops.conv import conv2d
from segjax.ops.pool import max_pool
from segjax.ops.receptive_field import (
    IMAGE,
    Field,
    Layer,
    after,
    coverage,
    design_rates,
    hdc_gaps,
    is_dense,
    is_hdc,
    receptive_field,
    union,
)
from segjax.ops.transposed import conv_transpose2d


def _random_layers(seed, transposed=0.4):
    rng = np.random.default_rng(seed)
    layers = []
    for _ in range(rng.integers(1, 5)):
        kernel, stride, dilation = (int(n) for n in rng.integers(1, (6, 4, 4)))
        padding = int(rng.integers(-2, 4))
        layers.append(Layer(kernel, stride, padding, dilation, rng.random() < transposed))
    return layers


def _pixels(layers, outputs):
    """Returns all pixels that outputs read, by trying every position that might be read."""
    positions = set(outputs)
    for kernel, stride, padding, dilation, transposed in reversed(layers):
        low, high = min(positions, default=0), max(positions, default=0)
        tried = range(stride * min(low, 0) - 30, stride * max(high, 0) + 30)
        taps = {dilation * tap - padding for tap in range(kernel)}
        if transposed:
            positions = {i for i in tried if {i * stride + t for t in taps} & positions}
        else:
            positions = {j * stride + t for j in positions for t in taps}
    return positions


def _window(field, output):
    """Returns the first and the last pixel that an output reads, as the docstring says."""
    if not field.windows:
        first = field.start + output * field.stride
        return first, first + field.size - 1
    turn, index = divmod(output, len(field.windows))
    window, step = field.windows[index], turn * len(field.windows) * field.stride
    return window and tuple(end + step for end in window)


@pytest.mark.parametrize("seed", range(60))
def test_a_field_is_the_hull_of_the_composed_sets_of_indices(seed):
    layers = _random_layers(seed)
    field = receptive_field(layers)
    sizes = []
    for output in range(-2, max(len(field.windows), 1) + 3):
        read = _pixels(layers, [output])
        assert _window(field, output) == ((min(read), max(read)) if read else None)
        sizes.append(max(read) - min(read) + 1 if read else 0)
    assert field.size == max(sizes)
    if read := _pixels(layers, [0]):
        assert field.start == min(read)


@pytest.mark.parametrize("seed", range(6))
def test_a_field_is_the_support_of_a_gradient(seed):
    layers = [layer._replace(padding=abs(layer.padding)) for layer in _random_layers(seed)]
    layers = [layer._replace(padding=min(layer.padding, layer.kernel // 2)) for layer in layers]
    pixels = 121

    def outputs(x):
        x = x[None, :, None, None]
        for layer in layers:
            operation = conv_transpose2d if layer.transposed else conv2d
            options = dict(stride=(layer.stride, 1), dilation=(layer.dilation, 1))
            kernel = jnp.ones((layer.kernel, 1, 1, 1))
            x = operation(x, kernel, padding=(layer.padding, 0), **options)
        return x[0, :, 0, 0]

    gradients = np.asarray(jax.jit(jax.jacrev(outputs))(jnp.zeros(pixels)))
    field = receptive_field(layers)
    inner = [
        i
        for i in range(len(gradients))
        if (w := _window(field, i)) and w[0] >= field.size and w[1] < pixels - field.size
    ]
    assert len(inner) >= max(len(field.windows), 1)
    for i in inner:
        (support,) = np.nonzero(gradients[i])
        assert (support[0], support[-1]) == _window(field, i)
    assert field.size == max(np.ptp(np.nonzero(gradients[i])[0]) + 1 for i in inner)


def test_a_max_pool_reads_as_the_convolution_of_its_geometry():
    impulses = jnp.eye(33)[:, :, None, None]  # one image a pixel: does the output notice it?
    pooled = max_pool(impulses, window=(3, 1), stride=(2, 1), padding=(1, 0))
    outputs = conv2d(pooled, jnp.ones((3, 1, 1, 1)), dilation=(2, 1))[:, :, 0, 0]
    field = receptive_field([Layer(3, stride=2, padding=1), Layer(3, dilation=2)])
    noticed = np.flatnonzero(outputs[:, 5])
    assert (noticed[0], noticed[-1]) == _window(field, 5) == (9, 19)


def test_fields_are_those_of_the_papers():
    alexnet = [(11, 4), (3, 2), (5, 1), (3, 2), (3, 1), (3, 1), (3, 1), (3, 2), (6, 1)]
    assert receptive_field(Layer(*layer) for layer in alexnet).size == 355
    context = [Layer(3, dilation=d) for d in (1, 1, 2, 4, 8, 16, 1)] + [Layer()]
    sizes = [receptive_field(context[:n]).size for n in range(1, 9)]
    assert sizes == [3, 5, 9, 17, 33, 65, 67, 67]


def test_a_stack_is_its_layers_one_after_the_other_and_no_layer_is_the_image():
    layers = _random_layers(3)
    field = receptive_field([])
    assert field == IMAGE
    for layer in layers:
        field = after(field, layer)
    assert field == receptive_field(layers)


def test_outputs_that_a_transposed_layer_leaves_empty_read_nothing():
    sparse = receptive_field([Layer(1, stride=2, transposed=True)])
    assert sparse == Field(1, Fraction(1, 2), 0, ((0, 0), None))
    assert after(sparse, Layer(1, stride=2, padding=1)).size == 0
    assert receptive_field([Layer(1, 2, 1, 1, True)]).start == 1


def test_what_two_branches_read_together_is_the_hull_of_both_output_by_output():
    encoder = receptive_field([Layer(3, 2, 1), Layer(4, 2, 1, 1, True)])
    skip = receptive_field([Layer(5, padding=1)])
    both = union(encoder, skip)
    for i in range(6):
        ends = [_window(encoder, i), _window(skip, i)]
        assert _window(both, i) == (min(e[0] for e in ends), max(e[1] for e in ends))
    assert union(receptive_field([Layer(1, 1, 0, 1, True)]), skip) == union(skip, IMAGE)


def test_cropping_is_negative_padding():
    assert receptive_field([Layer(2, stride=2), Layer(padding=-3)]) == Field(2, 2, 6)


def test_the_gaps_and_the_verdicts_are_the_papers():
    second = {
        (1, 2, 5): (2, True),
        (1, 2, 9): (5, False),
        (1, 2, 3): (2, True),
        (2, 4, 8): (4, False),
        (2, 2, 2): (2, False),
        (1, 2, 5, 9): (2, True),
        (3, 4, 5): (4, False),
        (5, 9, 17): (9, False),
    }
    assert {r: (hdc_gaps(r)[1], is_hdc(r)) for r in second} == second
    assert hdc_gaps([1, 3, 1]) == (3, 5, 1) and hdc_gaps([5, 9, 17]) == (5, 9, 17)
    assert is_hdc([1]) and not is_hdc([2])
    assert is_hdc([1, 5], kernel_size=5) and not is_hdc([1, 5], kernel_size=3)


def test_rules_and_coverage_agree_where_rates_rise_from_1():
    rising = [r for n in (1, 2, 3, 4) for r in _non_decreasing(n, 12) if r[0] == 1]
    assert all(is_hdc(r) == is_dense(r) for r in rising)
    assert is_hdc([4, 1]) and not is_dense([4, 1])
    assert is_dense([1, 5, 25], kernel_size=5) and not is_hdc([1, 5, 25], kernel_size=5)


def _non_decreasing(layers, max_rate):
    return list(itertools.combinations_with_replacement(range(1, max_rate + 1), layers))


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_dense_means_that_no_pixel_of_the_field_has_no_path(kernel_size):
    for rates in (r for n in (1, 2, 3) for r in itertools.product(range(1, 10), repeat=n)):
        paths = coverage(rates, kernel_size=kernel_size)
        assert len(paths) == 1 + (kernel_size - 1) * sum(rates)
        assert is_dense(rates, kernel_size=kernel_size) == (paths.min() > 0)


@pytest.mark.parametrize("rates", [(2, 2, 2), (1, 2, 3), (5, 1, 2)])
def test_coverage_is_the_gradient_of_a_stack_of_ones_and_in_two_dimensions_its_square(rates):
    def centre(x):
        for rate in rates:
            x = conv2d(x, jnp.ones((3, 3, 1, 1)), dilation=rate)
        return x[0, 0, 0, 0]

    paths = coverage(rates)
    gradient = jax.grad(centre)(jnp.zeros((1, len(paths), len(paths), 1)))[0, :, :, 0]
    np.testing.assert_array_equal(gradient, np.outer(paths, paths))
    assert paths.dtype == np.int64 and paths.sum() == 3 ** len(rates)


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("layers, max_rate", [(1, 4), (2, 9), (3, 5), (3, 12), (4, 8)])
def test_designed_rates_are_all_dense_lists_of_the_largest_field(layers, max_rate, kernel_size):
    dense = [
        rates
        for rates in _non_decreasing(layers, max_rate)
        if coverage(rates, kernel_size=kernel_size).all()
    ]
    largest = max(map(sum, dense))
    best = [rates for rates in dense if sum(rates) == largest]
    assert design_rates(layers, max_rate, kernel_size=kernel_size) == best


def test_many_layers_are_designed_and_judged_at_once_though_their_paths_overflow():
    (rates,) = design_rates(60, 100)
    assert rates[:6] == (1, 3, 9, 27, 81, 100) and is_dense(rates)
    with pytest.raises(ValueError, match=r"3\*\*60 paths are too many"):
        coverage(rates)
    assert coverage([1] * 39).sum() == 3**39


BAD = {
    "at least 1, got 0, 1 and 1": lambda: receptive_field([Layer(0)]),
    "at least 1, got 3, -1 and 1": lambda: after(IMAGE, Layer(3, stride=-1)),
    "at least 1, got 3, 1 and 0": lambda: receptive_field([Layer(3, dilation=0)]),
    "strides 2 and 1 do not lie on one grid": lambda: union(Field(2, 2, 0), IMAGE),
    "1/2 needs 2 windows, got 1": lambda: after(Field(3, Fraction(1, 2), 0), Layer()),
    r"one or more, each at least 1, got \[\]": lambda: coverage([]),
    r"each at least 1, got \[1, 0\]": lambda: is_hdc([1, 0]),
    "odd and at least 3, got 4": lambda: is_dense([1, 2], kernel_size=4),
    "odd and at least 3, got 1": lambda: hdc_gaps([1], kernel_size=1),
    "odd and at least 3, got 2": lambda: design_rates(2, 3, kernel_size=2),
    "must be at least 1, got 0 and 5": lambda: design_rates(0, 5),
    "must be at least 1, got 2 and 0": lambda: design_rates(2, 0),
}


@pytest.mark.parametrize("message", BAD)
def test_impossible_numbers_are_an_error_that_names_them(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()

"""Every fast form equals the plain primitive: values, both gradients, and their gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from segjax.contracts import AXIS
from segjax.ops import conv_forms, conv_lowering, kernel_gradients, winograd_gradient
from segjax.ops.conv import conv2d, pair
from segjax.ops.conv_forms import candidates, plain_form
from segjax.ops.dispatch import plain, with_custom_gradients
from segjax.ops.forms import VALUE, Case
from segjax.ops.grouped import kernel_gradient_by_element
from segjax.ops.kernel_gradients import (
    kernel_gradient_by_blocks,
    kernel_gradient_by_rows,
    kernel_gradient_by_taps,
)
from segjax.ops.pixel_taps import depthwise, depthwise_kernel_gradient
from segjax.ops.tap_matmul import TapWindow, by_taps
from segjax.ops.transposed import conv_transpose2d
from segjax.ops.winograd import winograd
from segjax.ops.winograd_gradient import winograd_kernel_gradient
from segjax.parallel.data import data_parallel

# name: (height, width), kernel h w i o, options, a form that can compute it, or its name
CONVOLUTIONS = {
    "1x1": ((5, 4), (1, 1, 6, 4), {}, by_taps),
    "1x1 stride 2, padded": ((5, 4), (1, 1, 6, 4), {"stride": 2, "padding": 1}, by_taps),
    "wide 3x3": ((7, 6), (3, 3, 96, 104), {"padding": 1}, winograd),
    "wide 3x3 unpadded": ((8, 7), (3, 3, 96, 96), {}, winograd),
    "wide 3x3 rate 3": ((13, 12), (3, 3, 96, 96), {"padding": 3, "dilation": 3}, winograd),
    "wide 3x3 rates 2, 1": (
        (9, 7),
        (3, 3, 96, 96),
        {"padding": (2, 0), "dilation": (2, 1)},
        winograd,
    ),
    "wide 3x3 mostly padding": (
        (9, 8),
        (3, 3, 96, 96),
        {"padding": 6, "dilation": 6},
        by_taps,
    ),
    "only the centre tap lives": (
        (9, 8),
        (3, 3, 7, 5),
        {"padding": 36, "dilation": 36},
        by_taps,
    ),
    "3x3 of many pixels": ((12, 11), (3, 3, 48, 40), {"padding": 1}, winograd),
    "3x3 of many pixels and 64 channels": ((64, 65), (3, 3, 64, 64), {"padding": 1}, winograd),
    "3x3 of few pixels": ((2, 3), (3, 3, 136, 104), {"padding": 1}, by_taps),
    "pads to cut": ((3, 4), (3, 3, 7, 5), {"padding": 2, "dilation": 3}, by_taps),
    "a column of taps lives": (
        (17, 8),
        (3, 3, 7, 5),
        {"padding": 9, "dilation": 9},
        plain_form,
    ),
    "narrow 3x3 stride 2": ((9, 8), (3, 3, 5, 7), {"padding": 1, "stride": 2}, plain_form),
    "wide 3x3 stride 2": ((7, 6), (3, 3, 96, 64), {"padding": 1, "stride": 2}, plain_form),
    "stem 7x7 stride 2": ((13, 12), (7, 7, 3, 8), {"padding": 3, "stride": 2}, plain_form),
    "even kernel, odd pads": ((6, 5), (2, 4, 3, 4), {"padding": (0, 1)}, plain_form),
    "depthwise": ((7, 6), (3, 3, 1, 8), {"padding": 1, "groups": 8}, depthwise),
    "depthwise stride 2 rate 2": (
        (9, 8),
        (3, 3, 1, 8),
        {"padding": 2, "stride": 2, "dilation": 2, "groups": 8},
        depthwise,
    ),
    "two outputs a channel": ((6, 5), (3, 3, 1, 8), {"padding": 1, "groups": 4}, "joined"),
    "grouped": ((7, 6), (3, 3, 8, 6), {"padding": 1, "groups": 2}, "joined"),
    "many groups": ((5, 4), (3, 3, 24, 216), {"padding": 1, "groups": 9}, "joined"),
    "groups in a loop": ((5, 4), (3, 3, 17, 561), {"padding": 1, "groups": 33}, "joined"),
    "groups in pieces": ((7, 6), (3, 3, 8, 96), {"padding": 1, "groups": 12}, "joined"),
    "groups of eight": ((7, 6), (3, 3, 8, 32), {"padding": 1, "groups": 4}, "elements"),
    "groups of four, stride 2 rate 2": (
        (9, 8),
        (3, 3, 4, 16),
        {"padding": 2, "stride": 2, "dilation": 2, "groups": 4},
        "elements",
    ),
    "grouped 1x1": ((5, 4), (1, 1, 24, 40), {"groups": 2, "stride": 2}, "joined"),
}
TRANSPOSED = {
    "tiles that touch": ((4, 3), (2, 2, 5, 4), {"stride": 2}),
    "tiles that overlap": ((4, 3), (4, 4, 5, 4), {"stride": 2, "padding": 1}),
    "kernel no multiple of the stride": (
        (4, 3),
        (3, 5, 5, 4),
        {"stride": (2, 3), "padding": (1, 2), "output_padding": (1, 2)},
    ),
    "tiles of nine blocks": ((4, 3), (5, 6, 5, 4), {"stride": 2, "padding": (1, 2)}),
    "kernel smaller than the stride": (
        (4, 3),
        (2, 2, 5, 4),
        {"stride": 3, "output_padding": 2},
    ),
    "stride 1": ((5, 4), (3, 3, 5, 4), {"padding": 1}),
    "stride 1, dilated": ((6, 5), (3, 3, 5, 4), {"padding": 1, "dilation": 2}),
    "grouped tiles": ((4, 3), (4, 4, 3, 4), {"stride": 2, "padding": 1, "groups": 2}),
    "dilated and strided": ((4, 3), (3, 3, 5, 4), {"stride": 2, "dilation": 2}),
}
TABLES = {conv2d: CONVOLUTIONS, conv_transpose2d: TRANSPOSED}
SETTINGS = [
    pytest.param(operation, name, id=name) for operation in TABLES for name in TABLES[operation]
]


def _arrays(operation, size, kernel, options, dtype=jnp.float32):
    """Returns an input of two images, a kernel, and a function that applies the options."""
    rng = np.random.default_rng(0)
    channels = (
        kernel[3] if operation is conv_transpose2d else kernel[2] * options.get("groups", 1)
    )
    x = rng.standard_normal((2, *size, channels))
    weights = rng.standard_normal(kernel) / np.sqrt(np.prod(kernel[:3]))
    function = functools.partial(operation, **options)
    return jnp.asarray(x, dtype), jnp.asarray(weights, dtype), function


def _plainly(function):
    def wrapped(*arguments):
        with plain():
            return function(*arguments)

    return wrapped


def _difference(ours, theirs):
    """Returns the largest difference of two trees' arrays, as parts of each one's largest."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        worst = max(worst, float(jnp.abs(a - b).max() / jnp.maximum(jnp.abs(b).max(), 1e-6)))
    return worst


def _all_derivatives(function):
    """Returns (x, kernel) → value, both gradients, the derivative along (x, kernel)."""

    def derive(x, kernel):
        y, pull_back = jax.vjp(function, x, kernel)
        cotangent = jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        along = jax.jvp(function, (x, kernel), (x * 2, kernel))[1]
        # Every precision holds these cotangents exactly.
        cotangent = cotangent.astype(jnp.bfloat16).astype(y.dtype)
        return y, pull_back(cotangent), along

    return derive


def _second(function):
    """Returns (x, kernel) → the gradients of a function of the gradients."""

    def of_gradients(x, kernel):
        gradients = jax.grad(lambda *a: jnp.sin(function(*a)).sum(), (0, 1))(x, kernel)
        return sum((g * jnp.cos(g)).sum() for g in gradients)

    return jax.grad(of_gradients, (0, 1))


@functools.cache
def _plain_derivatives(operation, name):
    """Returns the case's derivatives by the one primitive: a program that tests share."""
    function = _arrays(operation, *TABLES[operation][name][:3])[2]
    return jax.jit(_plainly(_all_derivatives(function)))


@pytest.mark.parametrize(
    "name", [name for name, (*_, form) in CONVOLUTIONS.items() if form is not plain_form]
)
def test_a_form_equals_the_plain_one_whichever_is_chosen_for_the_shape(name):
    size, kernel, options, form = CONVOLUTIONS[name]
    x, weights, _ = _arrays(conv2d, size, kernel, options)
    pads = [(pad, pad) for pad in pair(options.get("padding", 0))]
    strides, dilations = (pair(options.get(word, 1)) for word in ("stride", "dilation"))
    window = TapWindow(strides, tuple(pads), dilations, options.get("groups", 1))
    if isinstance(form, str):
        of_case = candidates(Case(VALUE, x.shape, weights.shape, window))[form]
        form = lambda x, kernel, _: of_case(x, kernel)
    both = jax.jit(lambda x, k: [of(x, k, window) for of in (form, plain_form)])
    assert _difference(*both(x, weights)) <= 3e-6


@pytest.mark.parametrize(("operation", "name"), SETTINGS)
def test_value_gradients_and_tangents_equal_the_plain_ones(operation, name):
    x, weights, function = _arrays(operation, *TABLES[operation][name][:3])
    ours = jax.jit(_all_derivatives(function))(x, weights)
    assert _difference(ours, _plain_derivatives(operation, name)(x, weights)) <= 3e-6


@pytest.mark.parametrize(("operation", "name"), SETTINGS)
def test_bfloat16_is_rounded_once(operation, name):
    x, weights, function = _arrays(operation, *TABLES[operation][name][:3], jnp.bfloat16)
    ours = jax.jit(_all_derivatives(function))(x, weights)
    exact = _plain_derivatives(operation, name)(*(a.astype(jnp.float32) for a in (x, weights)))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(exact), strict=True):
        assert a.dtype == jnp.bfloat16
        a, b = (np.asarray(array, np.float32) for array in (a, b))
        assert (np.abs(a - b) <= 2**-8 * np.abs(b) + 1e-5 * np.abs(b).max()).all()


@pytest.mark.slow_but("conv2d-1x1", "conv2d-narrow 3x3 stride 2", "conv_transpose2d-stride 1")
@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (conv2d, "1x1"),
        (conv2d, "wide 3x3 rate 3"),
        (conv2d, "wide 3x3 mostly padding"),
        (conv2d, "narrow 3x3 stride 2"),
        (conv2d, "depthwise"),
        (conv2d, "grouped"),
        (conv2d, "groups of eight"),
        (conv_transpose2d, "tiles that overlap"),
        (conv_transpose2d, "stride 1"),
    ],
)
def test_second_gradients_equal_the_plain_ones(operation, name):
    x, weights, function = _arrays(operation, *TABLES[operation][name][:3])
    ours = jax.jit(_second(function))(x, weights)
    assert _difference(ours, jax.jit(_plainly(_second(function)))(x, weights)) <= 3e-5


@pytest.mark.slow_but("depthwise", "1x1")
@pytest.mark.parametrize(
    "name",
    ["wide 3x3", "wide 3x3 mostly padding", "depthwise", "groups of eight", "1x1"],
)
def test_vmap_over_inputs_and_over_kernels_equals_a_loop(name):
    x, weights, function = _arrays(conv2d, *CONVOLUTIONS[name][:3])
    both = jax.jit(jax.vmap(_all_derivatives(function)))
    ours = both(jnp.stack([x, 2 * x]), jnp.stack([weights, -weights]))
    one = _plain_derivatives(conv2d, name)
    loop = [one(x, weights), one(2 * x, -weights)]
    assert _difference(ours, jax.tree.map(lambda a, b: jnp.stack([a, b]), *loop)) <= 3e-6


@pytest.mark.slow_but("depthwise", "1x1")
@pytest.mark.parametrize(
    "name",
    ["wide 3x3", "wide 3x3 mostly padding", "depthwise", "groups of eight", "1x1"],
)
def test_four_devices_get_the_plain_gradients(name):
    x, weights, function = _arrays(conv2d, *CONVOLUTIONS[name][:3])
    loss = lambda weights, x: jnp.sin(function(x, weights)).sum()

    def step(weights, x):
        gradient = jax.lax.psum(jax.grad(loss)(weights, x), AXIS)
        return gradient, jnp.float32(0)

    sharded = jnp.stack([x, x[::-1], -x, x + 1])
    theirs = jax.jit(_plainly(jax.grad(loss)))(weights, sharded.reshape(-1, *x.shape[1:]))
    ours, _ = data_parallel(step)(weights + 0, sharded)
    assert _difference(ours, theirs) <= 3e-6


@pytest.mark.slow_but("depthwise")
@pytest.mark.parametrize("name", ["wide 3x3 rate 3", "wide 3x3 mostly padding", "depthwise"])
def test_an_image_split_over_devices_gets_the_plain_gradients(name):
    size, kernel, options, _ = CONVOLUTIONS[name]
    x, weights, function = _arrays(conv2d, (16, size[1]), kernel, options)
    mesh = Mesh(np.array(jax.devices()[:2]), ("rows",))
    split = jax.device_put(x, NamedSharding(mesh, PartitionSpec(None, "rows")))
    ours = jax.jit(_all_derivatives(function))(split, weights)
    assert _difference(ours, jax.jit(_plainly(_all_derivatives(function)))(x, weights)) <= 3e-6


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("by_kernel", "groups"),
    [
        (kernel_gradient_by_taps, 1),
        (kernel_gradient_by_rows, 1),
        (functools.partial(kernel_gradient_by_blocks, lines=4), 1),
        (depthwise_kernel_gradient, 5),
        (kernel_gradient_by_element, 4),
    ],
)
def test_the_kernel_gradient_is_the_adjoint(by_kernel, groups, stride):
    kernel = (3, 3, 4, 16) if groups == 4 else (3, 3, 5 // groups, 5)
    x, weights, _ = _arrays(conv2d, (9, 8), kernel, {"groups": groups})
    window = TapWindow((stride, stride), ((2, 1), (1, 2)), (2, 1), groups)
    _assert_is_the_adjoint(lambda x, g: by_kernel(x, g, (3, 3), window), x, weights, window)


@pytest.mark.parametrize("kernel", [(1, 2), (2, 5), (4, 3)])
@pytest.mark.parametrize("strides", [(2, 3), (3, 1)])
def test_rows_of_taps_give_the_kernel_gradient_of_any_window(kernel, strides):
    x, weights, _ = _arrays(conv2d, (9, 14), (*kernel, 5, 4), {})
    window = TapWindow(strides, ((3, -1), (2, 4)), (2, 3))
    by_rows = lambda x, g: kernel_gradient_by_rows(x, g, kernel, window)
    _assert_is_the_adjoint(by_rows, x, weights, window)


def _assert_is_the_adjoint(by_kernel, x, weights, window):
    """Compares a kernel gradient and both of its own gradients with those of XLA's form."""
    y = plain_form(x, weights, window)
    cotangent = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)

    def adjoint(x, gradient):
        return jax.vjp(lambda k: plain_form(x, k, window), weights)[1](gradient)[0]

    ours, back = jax.vjp(by_kernel, x, cotangent)
    theirs, plain_back = jax.vjp(adjoint, x, cotangent)
    assert _difference(ours, theirs) <= 1e-6
    assert _difference(back(weights), plain_back(weights)) <= 2e-6


BLOCKS = {
    "one block of all images": ((3, 7, 6, 4), 1, (1, 1), ((1, 1), (1, 1))),
    "rows to fill": ((2, 11, 6, 4), 1, (1, 1), ((1, 1), (1, 1))),
    "rates": ((2, 13, 17, 3), 1, (2, 3), ((2, 1), (0, 4))),
    "pads that cut": ((1, 12, 9, 3), 1, (1, 1), ((-2, 1), (0, -1))),
    "one output": ((2, 3, 3, 4), 1, (1, 1), ((0, 0), (0, 0))),
    "stride": ((2, 14, 9, 4), 2, (1, 1), ((1, 1), (1, 1))),
    "stride with unread rows": ((1, 16, 8, 3), 3, (1, 1), ((0, 0), (0, 0))),
}


@pytest.mark.parametrize("size", [1, 200, 1 << 18])
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_any_height_give_the_kernel_gradient(name, size, monkeypatch):
    monkeypatch.setattr(kernel_gradients, "BLOCK", size)
    monkeypatch.setattr(winograd_gradient, "BLOCK", size)
    shape, stride, rates, pads = BLOCKS[name]
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    weights = jnp.asarray(rng.standard_normal((3, 3, shape[3], 5)), jnp.float32)
    window = TapWindow((stride, stride), pads, rates)
    least = -(
        -(2 * rates[0] + 1 - stride) // stride
    )  # Of a window that ends in the next block.
    lines = max(1, least, {1: 1, 200: 3, 1 << 18: 40}[size])
    by_blocks = lambda x, g: kernel_gradient_by_blocks(x, g, (3, 3), window, lines=lines)
    _assert_is_the_adjoint(by_blocks, x, weights, window)
    by_rows = lambda x, g: kernel_gradient_by_rows(x, g, (3, 3), window)
    _assert_is_the_adjoint(by_rows, x, weights, window)
    if stride == 1:
        by_winograd = lambda x, g: winograd_kernel_gradient(x, g, window)
        _assert_is_the_adjoint(by_winograd, x, weights, window)


@pytest.mark.parametrize(
    ("size", "kernel", "options", "form"),
    [
        ((12, 11), (3, 3, 128, 128), {"padding": 1}, "winograd_kernel_gradient"),
        ((12, 11), (3, 3, 48, 40), {"padding": 1}, "kernel_gradient_by_rows"),
        ((12, 11), (2, 2, 8, 31), {"stride": 2}, "kernel_gradient_by_rows"),
        ((12, 11), (5, 5, 9, 8), {"padding": 2}, "kernel_gradient_by_rows"),
        ((12, 11), (3, 3, 8, 32), {"padding": 1}, "kernel_gradient_by_blocks"),
        ((12, 11), (3, 3, 5, 7), {"padding": 1}, "kernel_gradient_by_blocks"),
        ((12, 11), (2, 2, 5, 7), {"stride": 2}, "kernel_gradient_by_blocks"),
        ((12, 11), (3, 3, 32, 128), {"stride": 2}, "kernel_gradient_by_blocks"),
        ((12, 11), (3, 3, 128, 128), {"stride": 2}, "kernel_gradient_by_rows"),
        ((12, 11), (3, 3, 260, 128), {"stride": 2}, "kernel_gradient_by_taps"),
        ((12, 11), (2, 2, 128, 128), {"stride": 2}, "kernel_gradient_by_taps"),
        ((12, 11), (1, 1, 5, 7), {}, "kernel_gradient_by_taps"),
        ((12, 11), (3, 1, 5, 7), {}, "kernel_gradient_by_blocks"),
        ((12, 11), (5, 5, 5, 7), {"padding": 2}, "kernel_gradient_by_taps"),
        ((40, 11), (3, 3, 500, 100), {"padding": 6, "dilation": 6}, "kernel_gradient_by_taps"),
        ((12, 11), (3, 3, 5, 7), {"padding": 9, "dilation": 9}, "kernel_gradient_by_taps"),
        ((2, 3), (3, 3, 136, 104), {"padding": 1}, "kernel_gradient_by_taps"),
    ],
)
def test_the_kernel_gradient_takes_its_form_by_shape(size, kernel, options, form, monkeypatch):
    monkeypatch.setattr(kernel_gradients, "LARGE", 0)
    monkeypatch.setattr(conv_lowering, "_shared", conv_lowering._answered)
    taken = []
    others = (
        "winograd_kernel_gradient",
        "kernel_gradient_by_rows",
        "kernel_gradient_by_blocks",
    )
    for name in others:
        usual = getattr(conv_forms, name)
        noted = lambda *args, usual=usual, name=name, **options: (
            taken.append(name),
            usual(*args, **options),
        )[1]
        monkeypatch.setattr(conv_forms, name, noted)
    x, weights, function = _arrays(conv2d, size, kernel, options)
    jax.make_jaxpr(jax.grad(lambda k: function(x, k).sum()))(weights)
    assert taken == [name for name in [form] if name != "kernel_gradient_by_taps"]


def test_a_block_fits_the_cache_and_its_windows_end_in_the_next_one():
    def height(rows, rate):
        window = TapWindow((1, 1), ((rate, rate), (1, 1)), (rate, 1))
        return kernel_gradients.block_height(
            (1, rows, 64, 16), (1, rows, 64, 16), (3, 3), window
        )

    assert height(64, 1) * 64 * (9 * 16 + 16) <= kernel_gradients.BLOCK
    assert height(64, 1) > 20 and height(64, 10) >= 20
    assert height(64, 14) is None


def test_in_float64_winograd_differs_by_rounding_alone():
    with jax.enable_x64(True):
        x, weights, _ = _arrays(conv2d, (12, 11), (3, 3, 8, 8), {}, jnp.float64)
        window = TapWindow((1, 1), ((2, 2), (2, 2)), (2, 2))
        difference = winograd(x, weights, window) - plain_form(x, weights, window)
        assert np.abs(difference).max() < 1e-13


def test_a_bilinear_function_uses_the_gradients_that_it_is_given():
    twice = lambda a, b: 2 * a * b
    function = with_custom_gradients(jnp.multiply, twice, twice)
    gradients = jax.grad(function, (0, 1))(jnp.float32(3), jnp.float32(5))
    assert [float(g) for g in gradients] == [10, 6]


@pytest.mark.parametrize("operation", [conv2d, conv_transpose2d])
def test_two_dtypes_are_an_error_that_names_them(operation):
    x, kernel = jnp.ones((1, 4, 4, 2), jnp.bfloat16), jnp.ones((2, 2, 2, 2), jnp.float32)
    with pytest.raises(ValueError, match="same dtype, got bfloat16 and float32; convert"):
        operation(x, kernel, stride=2)


def test_inside_plain_a_convolution_is_one_primitive():
    x, weights, function = _arrays(conv2d, *CONVOLUTIONS["wide 3x3"][:3])
    names = lambda f: [e.primitive.name for e in jax.make_jaxpr(f)(x, weights).eqns]
    assert names(_plainly(function)) == ["conv_general_dilated"]
    assert "conv_general_dilated" not in str(jax.make_jaxpr(function)(x, weights))


@pytest.mark.parametrize(
    ("operation", "table", "name", "has", "has_not"),
    [
        (conv2d, CONVOLUTIONS, "depthwise", "scan[", "conv_general_dilated"),
        (conv2d, CONVOLUTIONS, "wide 3x3", "dot_general", "conv_general_dilated"),
        (conv_transpose2d, TRANSPOSED, "tiles that overlap", "pad[", "lhs_dilation=(2, 2)"),
        (conv2d, CONVOLUTIONS, "groups of eight", "scan[", "conv_general_dilated"),
    ],
)
def test_gradients_take_their_own_forms(operation, table, name, has, has_not):
    x, weights, function = _arrays(operation, *table[name][:3])
    loss = lambda x, weights: jnp.sin(function(x, weights)).sum()
    text = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(x, weights))
    assert has in text and has_not not in text
    plain = str(jax.make_jaxpr(_plainly(jax.grad(loss, (0, 1))))(x, weights))
    assert has_not in plain


@pytest.mark.parametrize("groups", [1, 2, 16, 64, 128])
def test_a_batch_of_no_image_has_no_value_and_no_gradient(groups):
    x, kernel = jnp.zeros((0, 8, 9, 128)), jnp.ones((3, 3, 128 // groups, 128))
    value = lambda x, kernel: conv2d(x, kernel, padding=1, groups=groups)
    assert value(x, kernel).shape == (0, 8, 9, 128)
    by_x, by_kernel = jax.grad(lambda *a: value(*a).sum(), (0, 1))(x, kernel)
    assert by_x.shape == x.shape
    assert by_kernel.shape == kernel.shape and (by_kernel == 0).all()


def test_groups_in_a_loop_take_a_batch_of_no_image():
    x, kernel = jnp.zeros((0, 5, 4, 561)), jnp.ones((3, 3, 17, 561))
    value, gradients = jax.value_and_grad(
        lambda x, k: conv2d(x, k, padding=1, groups=33).sum(), (0, 1)
    )(x, kernel)
    assert value == 0 and gradients[1].shape == kernel.shape and (gradients[1] == 0).all()

"""A table of forms: every form that it can name gives the plain one's numbers, and is taken."""

import functools
import itertools
import math

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.ops import forms
from segjax.ops.conv import conv2d
from segjax.ops.conv_bounds import default_form
from segjax.ops.conv_forms import candidates, plain_form
from segjax.ops.dispatch import plain
from segjax.ops.forms import BY_KERNEL, BY_X, QUESTIONS, VALUE, Case, chosen, noted
from segjax.ops.grouped import convolution_by_element, kernel_gradient_by_element
from segjax.ops.tap_matmul import TapWindow
from segjax.ops.transposed import conv_transpose2d
from segjax.parallel.data import data_parallel

# name: (operation, height and width, kernel, options)
CONVOLUTIONS = {
    "1x1": (conv2d, (5, 4), (1, 1, 6, 4), {}),
    "1x1 stride 2": (conv2d, (6, 5), (1, 1, 6, 4), {"stride": 2}),
    "3x3": (conv2d, (7, 6), (3, 3, 5, 4), {"padding": 1}),
    "3x3 unpadded": (conv2d, (8, 7), (3, 3, 5, 4), {}),
    "3x3 rates 3, 1": (
        conv2d,
        (12, 7),
        (3, 3, 4, 5),
        {"padding": (2, 1), "dilation": (3, 1)},
    ),
    "3x3 mostly padding": (conv2d, (9, 8), (3, 3, 4, 5), {"padding": 6, "dilation": 6}),
    "3x3 that pads to cut": (conv2d, (3, 4), (3, 3, 7, 5), {"padding": 2, "dilation": 3}),
    "3x3 stride 2": (conv2d, (9, 8), (3, 3, 5, 7), {"padding": 1, "stride": 2}),
    "2x2 stride 2": (conv2d, (8, 6), (2, 2, 5, 4), {"stride": 2}),
    "7x7 stride 2": (conv2d, (13, 12), (7, 7, 3, 8), {"padding": 3, "stride": 2}),
    "3x3 to many channels": (conv2d, (7, 6), (3, 3, 2, 8), {"padding": 1}),
    "even kernel": (conv2d, (6, 5), (2, 4, 3, 4), {"padding": (0, 1)}),
    "depthwise": (conv2d, (7, 6), (3, 3, 1, 8), {"padding": 1, "groups": 8}),
    "grouped": (conv2d, (7, 6), (3, 3, 8, 6), {"padding": 1, "groups": 2}),
    "groups of four": (conv2d, (7, 6), (3, 3, 4, 16), {"padding": 1, "groups": 4}),
    "groups of sixteen": (conv2d, (4, 5), (3, 3, 16, 64), {"padding": 1, "groups": 2}),
    "groups of eight over two strips": (
        conv2d,
        (3, 50),
        (3, 2, 8, 32),
        {"padding": (2, 1), "dilation": (2, 3), "groups": 2},
    ),
    "groups of eight, strides 2, 3": (
        conv2d,
        (5, 151),
        (3, 3, 8, 16),
        {"padding": 1, "stride": (2, 3), "groups": 2},
    ),
    "transposed": (conv_transpose2d, (4, 3), (4, 4, 5, 4), {"stride": 2, "padding": 1}),
}

PADS = ((1, 1), (1, 1))


def convolution(name, dtype=jnp.float32):
    """Returns an input of two images, a kernel, and the operation with its options."""
    operation, size, kernel, options = CONVOLUTIONS[name]
    rng = np.random.default_rng(0)
    channels = (
        kernel[3] if operation is conv_transpose2d else kernel[2] * options.get("groups", 1)
    )
    x = jnp.asarray(rng.standard_normal((2, *size, channels)), dtype)
    weights = rng.standard_normal(kernel) / np.sqrt(np.prod(kernel[:3]))
    return x, jnp.asarray(weights, dtype), functools.partial(operation, **options)


def options_of(name):
    return CONVOLUTIONS[name][-1]


def derivatives(function):
    """Returns (x, kernel) → value, both gradients, and the derivative along (x, kernel)."""

    def derive(x, kernel):
        y, pull_back = jax.vjp(function, x, kernel)
        cotangent = jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        along = jax.jvp(function, (x, kernel), (x * 2, kernel))[1]
        return y, pull_back(cotangent.astype(y.dtype)), along

    return derive


def cases_of(name) -> list[Case]:
    x, kernel, function = convolution(name)
    with noted() as cases:
        jax.eval_shape(derivatives(function), x, kernel)
    return [*cases]


def tables(cases):
    """Yields tables in which each form of each case comes up once at least."""
    names = [[*candidates(case)] for case in cases]
    for i in range(max(map(len, names))):
        yield {str(case): of[i % len(of)] for case, of in zip(cases, names, strict=True)}


def oracle(case):
    """Returns XLA's own convolution, or its gradient, for the operands of a case."""
    plainly = lambda x, kernel: plain_form(x, kernel, case.window)
    x, kernel = jnp.zeros(case.shape), jnp.zeros(case.kernel_shape)
    return {
        VALUE: plainly,
        BY_X: lambda g, k: jax.vjp(lambda x: plainly(x, k), x)[1](g)[0],
        BY_KERNEL: lambda x, g: jax.vjp(lambda k: plainly(x, k), kernel)[1](g)[0],
    }[case.question]


def difference(ours, theirs) -> float:
    """Returns the largest difference of two trees' arrays, as parts of each one's largest."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and jnp.isfinite(a).all()
        worst = max(worst, float(jnp.abs(a - b).max() / jnp.maximum(jnp.abs(b).max(), 1e-6)))
    return worst


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_form_gives_the_value_the_gradients_and_the_tangents_of_the_plain_one(name):
    x, kernel, function = convolution(name)
    with plain():
        expected = jax.jit(derivatives(function))(x, kernel)
    cases = cases_of(name)
    # The gradient of a transposed convolution by x is the value of a convolution, and that by
    # the kernel one product.
    asked = (VALUE, VALUE) if name == "transposed" else QUESTIONS
    # Where groups are joined, each joined one is a case too.
    own = [case for case in cases if case.window.groups > 1 or "groups" not in options_of(name)]
    assert sorted(case.question for case in own) == sorted(asked)
    for table in tables(cases):
        with chosen(table):
            found = jax.jit(derivatives(function))(x, kernel)
        assert difference(found, expected) <= 3e-6, table


@pytest.mark.parametrize(
    "name", ["3x3", "depthwise", "groups of four", "groups of eight over two strips"]
)
def test_in_float64_and_bfloat16_forms_of_a_table_differ_by_rounding_alone(name):
    for dtype, bound in ((jnp.float64, 1e-13), (jnp.bfloat16, 2**-7)):
        with jax.enable_x64(dtype == jnp.float64):
            x, kernel, function = convolution(name, dtype)
            with plain():
                expected = jax.jit(derivatives(function))(x, kernel)
            for table in tables(cases_of(name)):
                with chosen(table):
                    found = jax.jit(derivatives(function))(x, kernel)
                assert difference(found, expected) <= bound


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    ("channels", "kernel", "groups"), [(5, (3, 3, 5, 4), 1), (16, (3, 3, 8, 16), 2)]
)
def test_every_form_takes_pads_that_differ_and_pads_that_cut(
    channels, kernel, groups, question
):
    for pads in (((2, 1), (0, 3)), ((-1, 2), (1, -2))):
        window = TapWindow((1, 1), pads, (1, 2), groups)
        case = Case(question, (2, 9, 8, channels), kernel, window)
        rng = np.random.default_rng(0)
        operands = [
            jnp.asarray(rng.standard_normal(shape), jnp.float32)
            for shape in case.operand_shapes
        ]
        found = {name: jax.jit(of)(*operands) for name, of in candidates(case).items()}
        expected = jax.jit(oracle(case))(*operands)
        for name, result in found.items():
            assert difference(result, expected) <= 3e-6, name


@pytest.mark.parametrize(
    ("form", "channels", "factors"),
    [
        ("taps", (24, 8), "8x24"),
        ("taps", (8, 24), "8x24"),
        ("rows", (24, 8), "8x72"),
        ("rows", (8, 24), "24x24"),
        ("blocks", (8, 8), "8x72"),
        ("blocks", (8, 24), "72x24"),
    ],
)
def test_a_kernel_gradient_multiplies_with_the_narrower_factor_on_the_left(
    form, channels, factors
):
    # XLA's product on a CPU takes up to thrice as long with the wider one there.
    case = Case(
        BY_KERNEL, (1, 64, 64, channels[0]), (3, 3, *channels), TapWindow((1, 1), PADS, (1, 1))
    )
    of = jax.jit(candidates(case)[form])
    program = of.lower(*(jnp.zeros(shape) for shape in case.operand_shapes)).as_text()
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
    assert products and all(f"-> tensor<{factors}xf32>" in line for line in products)
    # Else XLA exchanges the factors again, where a transpose follows.
    # By rows the pixels and each moved gradient are written too.
    barriers = {"rows": 1 + 3 + 1, "taps": int(channels[0] > channels[1]), "blocks": 0}
    assert program.count("stablehlo.optimization_barrier") == barriers[form]


def test_the_default_form_is_one_of_the_candidates():
    sizes, channels = (1, 2, 7, 40), (1, 3, 32, 96, 600)
    windows = [
        TapWindow((stride, stride), ((pad, pad), (pad, pad)), (rate, rate), 1)
        for stride, pad, rate in itertools.product((1, 2), (0, 1, 6), (1, 6))
    ]
    seen = set()
    for taps, size, inner, outputs, window in itertools.product(
        (1, 2, 3, 7), sizes, channels, channels, windows
    ):
        if window.size(0, size, taps) < 1:
            continue
        for question in QUESTIONS:
            case = Case(question, (2, size, size, inner), (taps, taps, inner, outputs), window)
            name = default_form(case)
            assert name in candidates(case)
            seen.add((question, name))
    assert len(seen) == 11  # Of each question three forms are default ones, of the last five.


def test_a_form_takes_arrays_of_the_shapes_that_its_case_names():
    for name in ("3x3 rates 3, 1", "7x7 stride 2", "depthwise"):
        for case in cases_of(name):
            operands = [jnp.ones(shape) for shape in case.operand_shapes]
            results = {
                form: jax.eval_shape(of, *operands).shape
                for form, of in candidates(case).items()
            }
            x, kernel = case.shape, case.kernel_shape
            expected = dict(zip(QUESTIONS, (case.result_shape, x, kernel), strict=True))
            assert {*results.values()} == {expected[case.question]}


def test_a_table_decides_and_a_compiled_function_is_traced_again_for_another_one():
    x, kernel, function = convolution("3x3")
    compiled, taps = jax.jit(function), {str(cases_of("3x3")[0]): "taps"}
    shown = lambda: compiled.trace(x, kernel).jaxpr.pretty_print()
    assert "conv_general_dilated" in shown() and "dot_general" not in shown()
    with chosen(taps):
        assert "dot_general" in shown() and "conv_general_dilated" not in shown()
        with plain():
            assert "dot_general" not in str(jax.make_jaxpr(lambda *a: function(*a))(x, kernel))
        with chosen({}):
            assert "conv_general_dilated" in shown()
    assert "conv_general_dilated" in shown()


def test_outside_jit_a_table_decides_too():
    x, kernel, function = convolution("3x3")
    usual = np.asarray(function(x, kernel))
    with chosen({str(cases_of("3x3")[0]): "winograd"}):
        other = np.asarray(function(x, kernel))
    # Equal up to rounding, and not computed in the same way.
    np.testing.assert_allclose(other, usual, rtol=1e-5, atol=1e-5)
    assert (other != usual).any()
    np.testing.assert_array_equal(function(x, kernel), usual)


def test_devices_that_share_a_batch_take_the_forms_of_their_own_share():
    x, kernel, function = convolution("3x3")
    step = lambda kernel, x: (kernel, function(x, kernel))
    shares = jnp.stack([x, x + 1, x - 1, 2 * x])
    with noted() as cases:
        jax.eval_shape(data_parallel(step), kernel, shares)
    (case,) = cases
    assert case.question == VALUE and case.shape == x.shape
    with chosen({str(case): "taps"}):
        lowered = data_parallel(step).lower(kernel, shares)
    assert "stablehlo.convolution" not in lowered.as_text()


def test_a_case_is_named_by_all_that_tells_it_from_others():
    window = TapWindow((2, 1), ((1, 2), (3, 4)), (5, 6))
    case = Case("gradient by x", (2, 33, 65, 7), (3, 1, 7, 9), window)
    assert str(case) == (
        "gradient by x of 2x33x65x7 by 3x1x7x9, stride 2x1, padding 1+2 3+4, dilation 5x6"
    )
    assert str(case._replace(window=window._replace(groups=7))) == f"{case}, 7 groups"


@pytest.mark.parametrize(
    ("shape", "rate", "pads", "form"),
    [
        ((1, 256, 256, 64), 1, 1, "rows"),
        ((2, 256, 256, 64), 1, 1, "winograd"),  # Copies of 192 MiB.
        ((1, 65, 65, 64), 12, 12, "rows"),
        ((1, 65, 65, 64), 24, 24, "taps"),  # 0.57 of the products are of pixels.
        ((1, 65, 65, 64), 24, 0, "taps"),  # 17 of 65 rows of the gradient hold any.
    ],
)
def test_a_kernel_gradient_by_rows_is_taken_where_its_copies_are_few_and_used(
    shape, rate, pads, form
):
    window = TapWindow((1, 1), ((pads, pads),) * 2, (rate, rate))
    assert default_form(Case(BY_KERNEL, shape, (3, 3, 64, 64), window)) == form


@pytest.mark.parametrize(
    ("inner", "outputs", "stride", "form"),
    [
        (128, 128, 2, "rows"),
        (256, 512, 2, "rows"),
        (512, 256, 2, "taps"),
        (256, 256, 3, "taps"),  # No pixel is read by two rows of taps.
        (257, 257, 2, "taps"),
        (512, 96, 2, "rows"),
        (128, 512, 2, "taps"),  # Pixels are few of what is copied.
        (97, 97, 1, "taps"),
        (96, 96, 1, "rows"),
    ],
)
def test_a_kernel_gradient_of_more_channels_is_by_rows_only_where_a_stride_spreads_them(
    inner, outputs, stride, form
):
    window = TapWindow((stride, stride), ((1, 1), (1, 1)), (1, 1))
    case = Case(BY_KERNEL, (1, 9, 33, inner), (3, 5, inner, outputs), window)
    assert default_form(case) == form


def test_the_version_is_that_of_these_names():
    """A form that is new, gone or renamed needs another `forms.VERSION`, and a line here."""
    window = TapWindow((1, 1), ((1, 1), (1, 1)), (1, 1))
    found = {
        (question, groups): [
            *candidates(
                Case(
                    question,
                    (1, 9, 9, 8),
                    (3, 3, 8 // groups, 8),
                    window._replace(groups=groups),
                )
            )
        ]
        for question in QUESTIONS
        for groups in (1, 4, 8)
    }
    assert forms.VERSION == 6
    assert found == {
        ("value", 1): ["plain", "taps", "winograd"],
        ("value", 4): ["plain", "joined", "elements"],
        ("value", 8): ["plain", "taps"],
        ("gradient by x", 1): ["plain", "taps", "winograd"],
        ("gradient by x", 4): ["plain", "joined", "elements"],
        ("gradient by x", 8): ["plain", "taps"],
        ("gradient by kernel", 1): ["plain", "taps", "rows", "blocks", "winograd"],
        ("gradient by kernel", 4): ["joined", "elements"],
        ("gradient by kernel", 8): ["taps"],
    }


@pytest.mark.parametrize(
    ("question", "kernel", "groups", "stride", "form"),
    [
        (VALUE, (3, 3, 8, 256), 32, 1, "elements"),
        (VALUE, (3, 3, 4, 128), 32, 2, "elements"),
        (VALUE, (3, 3, 16, 512), 32, 1, "joined"),
        (VALUE, (1, 1, 8, 240), 30, 1, "joined"),
        (VALUE, (3, 3, 3, 24), 8, 1, "elements"),
        (VALUE, (3, 3, 3, 12), 4, 1, "joined"),  # Four groups of three are no eights.
        (VALUE, (3, 3, 5, 40), 8, 1, "joined"),  # Eights of five would be wide.
        (VALUE, (3, 3, 1, 32), 16, 1, "joined"),
        (BY_X, (3, 3, 8, 256), 32, 1, "elements"),
        (BY_X, (3, 3, 8, 256), 32, 2, "joined"),
        (BY_KERNEL, (3, 3, 8, 256), 32, 2, "elements"),
        (BY_KERNEL, (3, 3, 16, 512), 32, 1, "elements"),
        (BY_KERNEL, (3, 3, 12, 96), 8, 1, "elements"),
        (BY_KERNEL, (3, 3, 32, 1024), 32, 1, "joined"),
    ],
)
def test_groups_of_few_channels_are_convolved_by_element(
    question, kernel, groups, stride, form
):
    window = TapWindow((stride, stride), PADS, (1, 1), groups)
    case = Case(question, (1, 33, 33, kernel[2] * groups), kernel, window)
    assert default_form(case) == form
    assert form in candidates(case)


@pytest.mark.parametrize(("columns", "form"), [(4, "elements"), (3, "joined")])
def test_few_columns_would_take_too_much_memory_by_element(columns, form):
    case = Case(
        BY_KERNEL, (1, 99, columns, 16), (3, 3, 8, 16), TapWindow((1, 1), PADS, (1, 1), 2)
    )
    assert default_form(case) == form


def test_the_first_terms_by_element_are_not_added_to_zeros():
    # XLA copies zeros for each of the loops that begin with the same ones.
    window = TapWindow((1, 1), PADS, (1, 1), 4)
    of = lambda x, kernel: convolution_by_element(x, kernel, window)
    x, kernel = jnp.zeros((1, 9, 7, 32)), jnp.zeros((3, 3, 8, 32))
    outer = jax.make_jaxpr(of)(x, kernel)
    (loop,) = [each for each in outer.eqns if each.primitive.name == "scan"]
    assert loop.params["length"] == 2
    zeros = [each for each in outer.eqns if each.primitive.name == "broadcast_in_dim"]
    assert all(math.prod(each.outvars[0].aval.shape) < x.size for each in zeros)


@pytest.mark.parametrize("question", [BY_X, BY_KERNEL])
def test_sums_by_element_stay_side_by_side_where_jax_transposes_twice(question):
    case = Case(question, (1, 33, 33, 32), (3, 3, 8, 32), TapWindow((1, 1), PADS, (1, 1), 4))
    one, other = (jnp.zeros(shape) for shape in case.operand_shapes)
    of = candidates(case)["elements"]
    linear = (lambda g: of(g, other)) if question == BY_X else (lambda g: of(one, g))
    g = one if question == BY_X else other
    result = jax.eval_shape(linear, g)
    back = jax.linear_transpose(linear, g)
    twice = jax.linear_transpose(lambda r: back(r)[0], result)
    terms = 3 * 8 if question == BY_X else 33
    longest = lambda of: longest_sum(jax.make_jaxpr(of)(g).jaxpr)
    assert longest(linear) <= terms // 4 + 6
    assert longest(twice) <= terms // 4 + 6


def longest_sum(jaxpr) -> int:
    """Returns how many additions follow each other at most, in a program or inside it."""
    depth: dict = {}
    found = [0]
    for equation in jaxpr.eqns:
        operands = [each for each in equation.invars if isinstance(each, jax.extend.core.Var)]
        before = max((depth.get(each, 0) for each in operands), default=0)
        adds = equation.primitive.name in ("add", "add_any")
        depth.update(dict.fromkeys(equation.outvars, before + adds))
        found += map(longest_sum, jax.extend.core.jaxprs_in_params(equation.params))
    return max([*found, *depth.values()])


@pytest.mark.parametrize(
    ("columns", "kernel", "rate", "loops"),
    [
        (65, (3, 3, 8, 256), 1, 3),
        (65, (3, 3, 4, 128), 1, 3),
        (65, (3, 3, 8, 256), 2, 9),  # Their pixels do not lie side by side.
        (65, (3, 3, 16, 512), 1, 9),  # A column of a group is two vectors.
        (12, (3, 3, 8, 256), 1, 3),
        (11, (3, 3, 8, 256), 1, 9),  # A loop would write more than two maps.
    ],
)
def test_a_kernel_gradient_by_element_goes_by_rows_of_taps_where_columns_are_vectors(
    columns, kernel, rate, loops
):
    window = TapWindow((1, 1), ((rate, rate),) * 2, (rate, rate), 32)
    case = Case(BY_KERNEL, (1, 9, columns, 32 * kernel[2]), kernel, window)
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in case.operand_shapes]
    of = lambda x, g: kernel_gradient_by_element(x, g, (3, 3), window)
    found = [e for e in jax.make_jaxpr(of)(*arrays).eqns if e.primitive.name == "scan"]
    assert [loop.params["length"] for loop in found] == [loops]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    ("shape", "taps"),
    [((0, 9, 60, 32), (3, 3)), ((2, 9, 20, 32), (1, 3)), ((0, 5, 4, 32), (1, 3))],
)
def test_forms_by_element_take_batches_of_no_image_and_one_row_of_taps(question, shape, taps):
    case = Case(question, shape, (*taps, 8, 32), TapWindow((1, 1), PADS, (1, 1), 4))
    arrays = [jnp.ones(shape) for shape in case.operand_shapes]
    assert "elements" in candidates(case)
    results = []
    for disabled in (False, True):
        with jax.disable_jit(disabled):
            results.append({name: of(*arrays) for name, of in candidates(case).items()})
    for name in ("joined", "elements"):
        for result in results:
            np.testing.assert_allclose(result[name], results[0]["joined"], rtol=1e-5)


def test_gradients_by_element_keep_no_copy_of_the_map_for_each_tap():
    # JAX transposes a gradient twice, and would store what each tap reads.
    x, kernel = jnp.zeros((1, 64, 64, 64)), jnp.zeros((3, 3, 8, 64))
    loss = lambda x, kernel: jnp.sin(conv2d(x, kernel, padding=1, groups=8)).sum()
    gradients = jax.jit(jax.grad(loss, (0, 1)))
    program = gradients.lower(x, kernel).compile()
    assert program.memory_analysis().temp_size_in_bytes < 8 * x.nbytes


@pytest.mark.parametrize(
    ("question", "shape", "outputs", "rate", "form"),
    [
        (VALUE, (1, 65, 65, 512), 512, 4, "winograd"),
        (VALUE, (1, 65, 65, 2048), 512, 1, "winograd"),  # FCN's head.
        (BY_X, (1, 65, 65, 2048), 512, 1, "winograd"),
        (VALUE, (1, 65, 65, 2048), 256, 12, "winograd"),  # DeepLab's.
        # The kernel is large, for few pixels.
        (VALUE, (1, 16, 32, 1024), 1024, 1, "winograd"),
        (VALUE, (1, 16, 31, 1024), 1024, 1, "plain"),
        (VALUE, (1, 16, 16, 512), 512, 1, "winograd"),
        (VALUE, (1, 16, 16, 512), 513, 1, "plain"),
        (BY_X, (1, 16, 16, 512), 512, 1, "winograd"),
        (BY_X, (1, 16, 15, 512), 512, 1, "taps"),  # Of so few pixels, taps are faster.
        # The maps are large, of few channels.
        (VALUE, (1, 135, 135, 64), 64, 1, "winograd"),
        (VALUE, (1, 136, 136, 64), 64, 1, "plain"),
        (BY_X, (1, 136, 136, 64), 64, 1, "plain"),
        (VALUE, (1, 136, 136, 128), 128, 1, "winograd"),
        # The factors would take too much memory.
        (VALUE, (1, 254, 256, 128), 128, 1, "winograd"),
        (VALUE, (1, 256, 256, 128), 128, 1, "plain"),
        (VALUE, (2, 254, 256, 128), 128, 1, "plain"),
        (VALUE, (1, 64, 64, 64), 64, 1, "winograd"),
        (VALUE, (1, 63, 65, 64), 64, 1, "plain"),
        (VALUE, (1, 63, 65, 96), 96, 1, "winograd"),
    ],
)
def test_winograds_form_has_bounds(question, shape, outputs, rate, form):
    window = TapWindow((1, 1), ((rate, rate), (rate, rate)), (rate, rate))
    case = Case(question, shape, (3, 3, shape[3], outputs), window)
    assert default_form(case) == form

"""ONNX models answer as the networks do; what has no translation is named."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.evaluate.predictors import WholeImage
from segjax.experiment import CAFFE, IMAGENET, load
from segjax.export.onnx_graph import onnx_model
from segjax.export.onnx_nodes import NoNode
from segjax.export.stablehlo import frozen
from segjax.ops import resize
from segjax.ops.dispatch import plain
from segjax.ops.transposed import conv_transpose2d
from segjax.weights import variable_shapes

TESTS = pathlib.Path(__file__).parents[1]
SMALL = runpy.run_path(str(TESTS / "models/small_networks.py"))
SIZE = (33, 47)
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (1, *SIZE, 3)).astype(np.uint8)


def floats(image):
    return image.astype(jnp.float32)


@jax.custom_vjp
def tripled(x):
    return x * 3


tripled.defvjp(lambda x: (x * 3, None), lambda rest, cotangent: (cotangent * 3,))


def translated(answer):
    return onnx_model(answer, size=SIZE, channels=3, name="out", metadata={"made": "here"})


@pytest.fixture
def runtime():
    """ONNX Runtime; without it or onnx the test is skipped."""
    pytest.importorskip("onnx", reason="onnx is an extra: pip install segjax[onnx]")
    return pytest.importorskip("onnxruntime", reason="onnxruntime is an extra")


def assert_same(runtime, answer):
    """ONNX Runtime finds for IMAGE what JAX does, to 1e-5 of the largest."""
    expected = jax.jit(answer)(IMAGE)
    session = runtime.InferenceSession(translated(answer), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"made": "here"}
    (found,) = session.run(None, {"image": IMAGE})
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", SMALL["MODELS"])
def test_every_family_gives_the_same_probabilities(name, runtime):
    model = SMALL["MODELS"][name]
    # The classifiers' scores as they are after training: below ten, not in the hundreds.
    variables = jax.tree.map(lambda leaf: leaf / 2, SMALL["variables_of"](model))
    predict = WholeImage(model, CAFFE if name == "fcn8s" else IMAGENET)
    answer = frozen(predict, variables, size=SIZE, channels=3, fold=True)
    assert_same(runtime, answer)


def test_the_three_maps_of_panoptic_deeplab_are_three_outputs(runtime):
    experiment = load(TESTS / "tasks" / "tiny_panoptic.py")
    options = {"normalize": experiment.normalize, "size": SIZE, "onnx": True}
    program = experiment.task.program(experiment.model, **options)
    variables = runpy.run_path(str(TESTS / "fill.py"))["lively"](
        variable_shapes(experiment.model)
    )
    answer = frozen(program.run, variables, size=SIZE, channels=3, fold=True)
    session = runtime.InferenceSession(translated(answer), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    assert names == ["center", "offset", "semantic"]
    expected = jax.jit(answer)(IMAGE)
    for name, found in zip(names, session.run(None, {"image": IMAGE}), strict=True):
        bound = 1e-5 * np.abs(expected[name]).max()
        np.testing.assert_allclose(found, expected[name], atol=bound, err_msg=name)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"stride": 2, "output_padding": 1},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"stride": (3, 2), "padding": (0, 1)},
        {"stride": 2, "dilation": 2, "padding": 1},
        {"padding": 1},
    ],
    ids=str,
)
def test_transposed_convolutions_are_the_same(options, runtime):
    kernel = jnp.asarray(RNG.normal(size=(3, 4, 2, 3)), jnp.float32)

    def answer(image):
        with plain():
            return conv_transpose2d(image.astype(jnp.float32), kernel, **options)

    assert_same(runtime, answer)


def test_the_interpolation_of_a_long_image_is_the_same(runtime, monkeypatch):
    monkeypatch.setattr(resize, "MOST_WEIGHTS", 0)
    assert_same(runtime, lambda x: resize.resize_bilinear(floats(x), (50, 21)))


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: jnp.argmax(x[:, ::-2, 1:9], -1).astype(jnp.uint8),
        lambda x: jnp.maximum(x, np.uint8(0)),
        lambda x: jnp.maximum(x.astype(jnp.int32) - 100, 0),
    ],
    ids=["class ids", "bytes above zero", "integers above zero"],
)
def test_whole_numbers_keep_their_type(answer, runtime):
    assert_same(runtime, answer)


@pytest.mark.parametrize(
    "call", [jax.jit(tripled), jax.nn.relu, tripled, jax.checkpoint(tripled)]
)
def test_a_call_is_the_function_that_it_calls(call, runtime):
    assert_same(runtime, lambda x: call(floats(x) - 100) + call(np.float32(2)))


def test_a_loop_over_what_is_known_is_run_while_translating(runtime):
    weight = lambda: jax.lax.fori_loop(0, 3, lambda i, v: v * 2 + 1, np.float32(1))
    assert_same(runtime, lambda x: floats(x) * weight())


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda x: jnp.sort(x, axis=1), "the operation sort"),
        (lambda x: jax.lax.pad(x, np.uint8(0), [(0, 0, 1)] * 4), "padding between pixels"),
        (lambda x: x[:, x[0, :2, 0, 0]], "a gather of other than whole rows and columns"),
        (
            lambda x: jax.lax.fori_loop(0, 3, lambda i, v: v * 2 + 1, floats(x)),
            "the operation scan",
        ),
        (
            lambda x: jax.lax.scan(lambda v, _: (v + 1, None), floats(x), length=5)[0],
            "the operation scan",
        ),
        (
            lambda x: jax.lax.while_loop(lambda v: v.sum() < 1e7, lambda v: v * 2, floats(x)),
            "the operation while",
        ),
        (
            lambda x: jax.lax.reduce(floats(x), np.float32(0), lambda a, b: a + b * b, (3,)),
            "the operation reduce",
        ),
        (
            lambda x: jax.lax.cond(x[0, 0, 0, 0] > 9, jnp.sin, jnp.cos, floats(x)),
            "the operation cond",
        ),
    ],
)
def test_what_has_no_translation_is_named(answer, named):
    with pytest.raises(NoNode, match=f"{named}$"):
        translated(answer)


def test_an_operator_that_is_not_for_its_type_is_named(runtime):
    with pytest.raises(NoNode, match="ReduceSum.*unsupported type: tensor.uint8.") as raised:
        translated(lambda x: x.sum(-1, dtype=jnp.uint8))
    assert "\n" not in str(raised.value)

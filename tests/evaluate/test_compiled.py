"""A folder of mixed sizes compiles as often as its predictor says, and no more."""

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

from segjax.errors import RunError
from segjax.evaluate.compiled import Eager, argmax_labels, on_host
from segjax.evaluate.longest_side import LongestSide
from segjax.evaluate.windows import PadToMultiple, SlidingWindow
from segjax.evaluate.wrappers import Flip, MultiScale

WEIGHTS = {"w": np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)}
COMPILED = "/jax/core/compile/backend_compile_duration"


def by_pixel(variables, image):
    logits = jnp.einsum("bhwc,ck->bhwk", image.astype(jnp.float32) / 64 - 2, variables["w"])
    return jax.nn.softmax(logits)


@pytest.fixture
def compilations():
    """The seconds of each compilation from now on."""
    seconds = []
    listener = lambda event, took, **_: seconds.append(took) if event == COMPILED else None
    jax.monitoring.register_event_duration_secs_listener(listener)
    yield seconds
    jax.monitoring.unregister_event_duration_listener(listener)


def mixed(count: int) -> list[np.ndarray]:
    """Images of as many sizes, sides of 20 to 39 pixels."""
    rng = np.random.default_rng(1)
    sizes = [(20 + i % 20, 20 + i // 20) for i in rng.permutation(400)[:count]]
    return [rng.integers(0, 256, (1, h, w, 3)).astype(np.uint8) for h, w in sizes]


@pytest.mark.parametrize(
    ("make", "count", "expected"),
    [
        # Two a size: the network's, and the argmax of what it returns.
        (lambda: on_host(by_pixel), 6, 12),
        (lambda: PadToMultiple(16)(by_pixel), 200, 8),
        (lambda: SlidingWindow(16, 10, batch_size=8)(by_pixel), 200, 2),
        (lambda: SlidingWindow(30, batch_size=1)(Flip()(by_pixel)), 200, 1),
        (lambda: SlidingWindow(64)(PadToMultiple(16)(by_pixel)), 200, 1),
    ],
    ids=["exact", "padded", "windows", "windows one by one", "windows padded"],
)
def test_images_of_many_sizes_share_the_programs_of_windows_and_multiples(
    make, count, expected, compilations
):
    predict, given = make(), mixed(count)
    assert len({image.shape for image in given}) == count
    labels = [predict.classes(WEIGHTS, image) for image in given]
    assert len(compilations) == expected
    plain = np.argmax(given[0] / np.float32(64) @ WEIGHTS["w"] - 2 * WEIGHTS["w"].sum(0), -1)
    np.testing.assert_array_equal(labels[0], plain)


def test_a_pyramid_around_windows_compiles_nothing_more(compilations):
    predict = SlidingWindow(16, 10, batch_size=1)(by_pixel)
    pyramid = MultiScale((0.5, 1.0, 1.5))(predict)
    for image in mixed(5):
        pyramid(WEIGHTS, image)
    assert len(compilations) == 1


def nearly_equal(variables, image):
    """Two classes that differ in the last bit at most, and a third; sees three columns."""
    x = image[..., :1].astype(jnp.float32)
    x = x + jnp.roll(x, 1, axis=2) / 3 + jnp.roll(x, -1, axis=2) / 7
    scores = jnp.concatenate([x, jnp.nextafter(x, x * (x % 2)), x - 0.5], axis=-1)
    return scores / scores.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    "wrappers",
    [
        (),
        (Flip(), MultiScale((0.5, 1.0))),
        (SlidingWindow(9, 4, batch_size=3),),
        (PadToMultiple(8),),
        (SlidingWindow(9, 7), lambda inner: Eager(MultiScale((1.0, 1.5))(inner), inner)),
        (Flip(), LongestSide(16)),
    ],
    ids=["plain", "flip and scales", "windows", "padded", "windows of scales", "shrunk"],
)
def test_class_ids_are_the_argmax_of_the_probabilities_to_the_bit(wrappers):
    predict = nearly_equal
    for wrapper in wrappers:
        predict = wrapper(predict)
    predict = on_host(predict)
    images = np.random.default_rng(4).integers(1, 256, (3, 23, 37, 3)).astype(np.uint8)
    labels = predict.classes({}, images)
    np.testing.assert_array_equal(labels, np.argmax(predict({}, images), -1))
    assert len(np.unique(labels)) > 1


@pytest.mark.parametrize(
    "make",
    [
        lambda predict: on_host(predict),
        lambda predict: Eager(on_host(predict), on_host(predict)),
        lambda predict: SlidingWindow(5)(predict),
    ],
    ids=["compiled", "eager", "windows"],
)
def test_scores_that_are_not_numbers_are_an_error_and_no_class(make):
    broken = lambda variables, image: by_pixel(variables, image).at[0, 2, 3, 4].set(jnp.nan)
    image = mixed(1)[0][:, :5, :5]
    make(by_pixel).classes(WEIGHTS, image)
    with pytest.raises(RunError, match="not numbers"):
        make(broken).classes(WEIGHTS, image)


def test_a_check_counts_the_channels_of_the_maps():
    image = jax.ShapeDtypeStruct((1, 4, 4, 3), np.uint8)
    for k in (1, 300):
        weights = {"w": np.zeros((3, k), np.float32)}
        assert on_host(by_pixel).check(weights, image) == k


def test_of_one_class_there_is_no_likeliest():
    with pytest.raises(
        ValueError, match=r"shape \(4, 5, 1\) have one class.*give two: .1 − p, p"
    ):
        argmax_labels(np.full((4, 5, 1), 0.3, np.float32))
    image = mixed(1)[0][:, :5, :5]
    with pytest.raises(ValueError, match="one class"):
        on_host(by_pixel).classes({"w": np.zeros((3, 1), np.float32)}, image)

"""The CRF against pydensecrf's stored marginals, the exact sum, and its own promises."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax.crf import hash_table
from segjax.crf.checks import check_probabilities, checked_rounds, each
from segjax.crf.dense import (
    Appearance,
    Smoothness,
    _infer_now,
    _placed_now,
    _room,
    appearance_features,
    dense_crf,
)
from segjax.crf.exact import gaussian_filter
from segjax.crf.mean_field import Pairwise, mean_field, normalized
from segjax.errors import InputError
from segjax.ops.dispatch import plain

HERE = pathlib.Path(__file__).parent
GOLDEN = np.load(HERE / "golden_pydensecrf.npz")
MAKER = runpy.run_path(str(HERE / "make_golden_pydensecrf.py"))
PROBABILITIES, IMAGE = MAKER["picture"]()


def run(probabilities=PROBABILITIES, image=IMAGE, **options):
    return dense_crf(probabilities, image, **options)


def as_options(*, smoothness, appearance, **others):
    return others | {
        "smoothness": smoothness and Smoothness(**smoothness),
        "appearance": appearance and Appearance(**appearance),
    }


@pytest.mark.slow_but("deeplab", "appearance", "pair")
@pytest.mark.parametrize("name", MAKER["CASES"])
def test_marginals_are_those_of_pydensecrf(name):
    ours = run(**as_options(**MAKER["CASES"][name]))[::3, ::3]
    # Where place has a kernel of its own, ours is the exact sum and theirs a lattice; a kernel
    # of colour beside it hides most of the difference.
    near = {"deeplab": (0.02, 2e-4), "matrix": (0.02, 1e-3), "pair": (0.04, 3e-3)}
    close, mean = near.get(name, (2e-3, 2e-4))
    np.testing.assert_allclose(ours, GOLDEN[name], atol=close)
    assert (ours.argmax(-1) == GOLDEN[name].argmax(-1)).mean() >= 0.99
    assert np.abs(ours - GOLDEN[name]).mean() < mean


def test_the_defaults_are_the_released_deeplab_setting():
    smoothness, appearance = MAKER["DEEPLAB"]
    assert Smoothness(**smoothness) == Smoothness() and Appearance(**appearance) == Appearance()
    explicit = run(**as_options(**MAKER["CASES"]["deeplab"]))
    np.testing.assert_array_equal(run(), explicit)


def test_the_mean_field_is_near_the_one_of_the_exact_sum():
    h, w, k = PROBABILITIES.shape
    features = appearance_features(jnp.asarray(IMAGE), (30.0, 30.0, 20.0, 20.0, 20.0))
    kernel = lambda values: gaussian_filter(features, values)
    pairwise = [Pairwise(normalized(kernel, h * w, "symmetric"), 4.0)]
    unary = -jnp.log(PROBABILITIES.reshape(-1, k))
    exact = jax.jit(lambda u: mean_field(u, pairwise, iterations=5))(unary)
    ours = run(smoothness=None, appearance=Appearance(4, 30, 20), iterations=5).reshape(-1, k)
    assert np.abs(ours - exact).mean() < 0.02
    assert (ours.argmax(-1) == exact.argmax(-1)).mean() > 0.98


def test_no_rounds_or_no_kernels_return_the_probabilities():
    np.testing.assert_allclose(run(iterations=0, appearance=None), PROBABILITIES, atol=1e-6)
    alone = run(smoothness=None, appearance=None)
    np.testing.assert_allclose(alone, PROBABILITIES, atol=1e-6)


def test_a_matrix_of_unlike_labels_is_potts():
    options = {"appearance": None, "iterations": 2}
    unlike = 1 - np.eye(3, dtype=np.float32)
    potts = run(**options)
    np.testing.assert_allclose(run(compatibility=unlike, **options), potts, atol=1e-5)
    itself = run(smoothness=Smoothness(3 * unlike), **options)
    np.testing.assert_allclose(itself, potts, atol=1e-5)


def test_names_of_pydensecrf_for_normalisations_are_understood():
    options = {"appearance": None, "iterations": 1}
    ours = run(normalization="after", **options)
    np.testing.assert_array_equal(run(normalization="NORMALIZE_AFTER", **options), ours)


@pytest.mark.slow
def test_a_batch_is_its_images_one_by_one_and_so_is_a_map_inside_jit():
    image = np.stack([IMAGE, IMAGE[::-1, ::-1]])[:, :16, :18]
    probabilities = np.stack([PROBABILITIES, PROBABILITIES[::-1]])[:, :16, :18]
    options = {"iterations": 2}
    batch = run(probabilities, image, **options)
    mapped = jax.jit(jax.vmap(lambda p, i: run(p, i, **options)))(probabilities, image)
    for i in (0, 1):
        alone = run(probabilities[i], image[i], **options)
        np.testing.assert_allclose(batch[i], alone, atol=1e-5)
        np.testing.assert_allclose(mapped[i], alone, atol=1e-5)


def test_too_little_room_is_an_error_outside_of_jit_and_nan_inside():
    small = PROBABILITIES[:16, :18], IMAGE[:16, :18]
    with pytest.raises(ValueError, match="capacity=20 is too small: .* has [0-9]+ points"):
        dense_crf(*small, capacity=20)
    inside = jax.jit(lambda p, i: dense_crf(p, i, capacity=20, iterations=1))(*small)
    assert jnp.isnan(inside).all()


@pytest.fixture(scope="module")
def loss_and_gradients():
    """A loss of (probabilities, compats, width of smoothness), compiled with its gradients."""
    target = jnp.asarray(np.random.default_rng(3).normal(size=(16, 18, 3)), jnp.float32)

    def loss(p, compats, width):
        smoothness, appearance = Smoothness(compats[0], width), Appearance(compats[1], 8, 40)
        result = dense_crf(
            p, IMAGE[:16, :18], smoothness=smoothness, appearance=appearance, iterations=2
        )
        return jnp.vdot(target, result)

    arguments = (
        jnp.asarray(PROBABILITIES[:16, :18]),
        jnp.asarray([0.5, 0.7]),
        jnp.float32(2.0),
    )
    return jax.jit(jax.value_and_grad(loss, (0, 1, 2))), arguments


@pytest.mark.slow
@pytest.mark.parametrize("what, step, close", [(0, 0.05, 0.02), (1, 0.1, 0.02), (2, 0.1, 0.02)])
def test_gradients_are_those_of_finite_differences(loss_and_gradients, what, step, close):
    both, arguments = loss_and_gradients
    _, gradients = both(*arguments)
    # Along the gradient, where float32 tells the differences best.
    direction = gradients[what] / jnp.linalg.norm(gradients[what])

    def at(distance):
        moved = list(arguments)
        moved[what] = moved[what] + distance * direction
        return float(both(*moved)[0])

    slope = (at(step) - at(-step)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(gradients[what], direction), slope, rtol=close)


def test_only_what_a_program_is_made_for_compiles_another():
    small = PROBABILITIES[:10, :11], IMAGE[:10, :11]
    options = {"iterations": 1, "smoothness": Smoothness(3, 30)}
    before = _infer_now._cache_size(), _placed_now._cache_size()
    first = run(*small, appearance=Appearance(3, 20, 10), **options)
    for sxy, srgb in ((20.0, (10, 10, 10)), (np.array([21, 19.5]), np.float32(30))):
        other = run(*small, appearance=Appearance(2.5, sxy, srgb), **options)
    assert jnp.abs(other - first).max() > 1e-4
    for dtype, near in ((np.float64, 1e-6), (np.float16, 1e-2)):
        cast = run(
            small[0].astype(dtype), small[1], appearance=Appearance(3, 20, 10), **options
        )
        np.testing.assert_allclose(cast, first, atol=near)
    run(*small, **options | {"smoothness": Smoothness(2, (20, 40))})
    assert (_infer_now._cache_size(), _placed_now._cache_size()) == tuple(
        count + 1 for count in before
    )


def test_rooms_are_two_an_octave_and_suffice():
    placed = _placed_now(IMAGE[:9, :7], np.array([9, 9, 5, 5, 5], np.float32))
    with_count = lambda n: placed._replace(points=placed.points._replace(count=np.array(n)))
    rooms = {_room(with_count(n), None) for n in range(1, 65000, 50)}
    assert rooms == {4096, 8192, 12288, 16384, 24576, 32768, 49152, 65536}
    assert all(n <= _room(with_count(n), None) for n in range(1, 65000, 47))


def test_a_lattice_with_lost_corners_is_an_error_and_no_result(monkeypatch):
    monkeypatch.setattr(hash_table, "_ROUNDS", 1)
    message = "incomplete: its hash table did not resolve all points"
    with plain(), pytest.raises(ValueError, match=message):
        run(PROBABILITIES[:13, :9], IMAGE[:13, :9], iterations=1)


REFUSED = {
    "srgb must be one width or 3, got .5, 5.": {"appearance": Appearance(srgb=(5, 5))},
    "srgb=1e-05 is too small: .* 255 apart; give at least 0.00255": {
        "appearance": Appearance(srgb=1e-5)
    },
    "sxy=0.0001 is too small: .* 41 apart": {"appearance": Appearance(sxy=(1e-4, 9))},
    "normalization must be one of .* got 'both'": {"normalization": "both"},
    "of shape .36, 42, 3. do not fit an image of shape .30, 42, 3.": {"image": IMAGE[:30]},
    "must be uint8 .* got float64": {"image": IMAGE / 255},
    "must be uint8 .* of shape .36, 42.": {"image": IMAGE[..., 0]},
    "lie in 0 … 1, got -": {"probabilities": PROBABILITIES - 0.5},
    "0 … 1, got .* to 9.*; apply a softmax to a network's logits": {
        "probabilities": PROBABILITIES * 100
    },
    "finite and lie in 0 … 1, got nan": {"probabilities": PROBABILITIES * np.nan},
    "no rows: .* shape .0, 42, 3.": {"probabilities": PROBABILITIES[:0], "image": IMAGE[:0]},
    "no images": {"probabilities": PROBABILITIES[None][:0], "image": IMAGE[None][:0]},
    "no classes": {"probabilities": PROBABILITIES[..., :0]},
    "one class, which would be 1 everywhere; .* give two channels, .1 − p, p.": {
        "probabilities": PROBABILITIES[..., :1]
    },
    "must sum to 1 over the classes, got 2; divide them by their sum": {
        "probabilities": np.ones((*IMAGE.shape[:2], 2), np.float32)
    },
    "must sum to 1 over the classes, got 0.5": {"probabilities": PROBABILITIES / 2},
    "must sum to 1 over the classes, got 0;": {"probabilities": PROBABILITIES * 0},
    "3 x 3 energies, got 4 x 4": {"compatibility": np.eye(4, dtype=np.float32)},
    "3 x 3 energies, got 3; .* as Smoothness.compat": {"compatibility": np.ones(3, np.float32)},
    "compatibility must be below 1e20 in size, got inf": {
        "compatibility": np.full((3, 3), np.inf)
    },
    "Smoothness.compat times compatibility must be below": {
        "compatibility": np.full((3, 3), 9e19)
    },
    "3 x 3; got 2": {"smoothness": Smoothness(compat=(1.0, 2.0))},
    "give one of the two": {
        "smoothness": Smoothness(compat=(1.0, 2.0, 3.0)),
        "compatibility": np.eye(3, dtype=np.float32),
    },
}


@pytest.mark.parametrize("message, options", REFUSED.items())
def test_bad_input_is_an_error_of_one_line(message, options):
    with pytest.raises(ValueError, match=message) as raised:
        run(**options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.uint8])
def test_probabilities_that_were_rounded_to_few_bits_still_sum_to_one(dtype):
    full = 255 if dtype == np.uint8 else 1
    rounded = np.rint(PROBABILITIES * 255) if dtype == np.uint8 else PROBABILITIES
    given = rounded.astype(dtype).astype(np.float32) / full
    assert check_probabilities(given) is None
    with pytest.raises(ValueError):
        check_probabilities(0.9 * given)


def test_a_pair_of_channels_is_what_a_binary_task_gives():
    p = PROBABILITIES[:8, :8, :1]
    pair = np.concatenate([1 - p, p], axis=-1)
    found = run(pair, IMAGE[:8, :8], appearance=None, iterations=1)
    assert len(np.unique(found)) > 2


@pytest.mark.parametrize(
    "message, kernel, fields",
    [
        ("Smoothness.sxy must be a number above 0 .*, got -3", Smoothness, {"sxy": -3}),
        ("Smoothness.sxy must be one width or 2, got .1, 2, 3", Smoothness, {"sxy": (1, 2, 3)}),
        ("Smoothness.compat must be below .* got nan", Smoothness, {"compat": (1.0, np.nan)}),
        ("Appearance.compat must be below .* got 1e.38", Appearance, {"compat": 1e38}),
        ("Appearance.srgb must be a number .* got 0", Appearance, {"srgb": 0}),
        ("Appearance.srgb must be a number .* got 1e-08", Appearance, {"srgb": 1e-8}),
        ("Appearance.srgb must be one width or one for each channel", Appearance, {"srgb": ()}),
        ("Appearance.sxy must be a number .* got True", Appearance, {"sxy": (5, True)}),
    ],
)
def test_a_kernel_that_is_none_cannot_be_described(message, kernel, fields):
    with pytest.raises(InputError, match=message):
        kernel(**fields)


@pytest.mark.parametrize("iterations", [-1, 2.5, True, "3"])
def test_rounds_are_a_whole_number(iterations):
    with pytest.raises(ValueError, match=f"whole number, at least 0, got {iterations!r}"):
        checked_rounds(iterations, "symmetric")


def test_an_array_of_two_is_a_pair_of_widths():
    assert each("sxy", np.array([80, 60]), 2) == each("sxy", jnp.array([80.0, 60.0]), 2)
    assert each("sxy", np.array([80, 60]), 2) == (80.0, 60.0) == each("sxy", [80, 60], 2)
    assert each("sxy", np.float32(4), 2) == (4.0, 4.0)


def scribbled(path):
    """Returns probabilities of 0.7 for each scribble's colour, uniform where it is black."""
    colours = np.asarray(Image.open(path).convert("RGB")).astype(np.int32) @ [1, 256, 65536]
    codes = np.unique(colours[colours > 0]) if (colours == 0).any() else np.unique(colours)
    known = colours[..., None] == codes
    sure = np.where(known, 0.7, 0.3 / (len(codes) - 1))
    return np.where(known.any(-1, keepdims=True), sure, 1 / len(codes)).astype(
        np.float32
    ), codes


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["1", "1-b", "2", "3"])
def test_scribbles_become_what_pydensecrfs_example_shows(real_data, stem):
    folder = real_data / "crf"
    image = np.asarray(Image.open(folder / f"im{stem[0]}.png").convert("RGB"))
    shown = np.asarray(Image.open(folder / f"out{stem}.png").convert("RGB")).astype(np.int32)
    probabilities, codes = scribbled(folder / f"anno{stem}.png")
    settings = {"smoothness": Smoothness(3, 3), "appearance": Appearance(10, 80, 13)}
    labels = np.asarray(dense_crf(probabilities, image, iterations=5, **settings)).argmax(-1)
    assert (codes[labels] == shown @ [1, 256, 65536]).mean() > 0.998

import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.elastic import RandomElastic, cubic_weights, deform


def example(h=24, w=30, c=1, dtype=np.uint8):
    rng = np.random.default_rng(0)
    image = (rng.random((h, w, c)) * 200).astype(dtype)
    label = rng.integers(0, 3, (h, w), np.uint8)
    return {
        "image": image,
        "label": label,
        "weight": rng.random((h, w), np.float32),
        "name": "a",
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 4])
def test_no_displacement_changes_nothing(dtype, channels):
    given = example(c=channels, dtype=dtype)
    found = RandomElastic(sigma=0)(given, np.random.default_rng(0))
    assert found is not given
    for key in ("image", "label", "weight"):
        np.testing.assert_allclose(found[key], given[key], rtol=1e-6)
        assert found[key].dtype == given[key].dtype


def test_equal_vectors_shift_the_example_and_mirror_it_at_the_border():
    given = example()
    found = deform(given, np.stack([np.full((3, 3), 5.0), np.full((3, 3), -4.0)]))
    for key in ("image", "label", "weight"):
        padded = np.pad(
            given[key], [(0, 5), (4, 0)] + [(0, 0)] * (given[key].ndim - 2), mode="reflect"
        )
        np.testing.assert_allclose(found[key], padded[5:, :30], rtol=1e-6)


def test_half_a_pixel_is_the_mean_of_two():
    given = example(dtype=np.float32)
    found = deform(given, np.stack([np.zeros((3, 3)), np.full((3, 3), 0.5)]))
    mean = (given["image"][:, 1:] + given["image"][:, :-1]) / 2
    np.testing.assert_allclose(found["image"][:, :-1], mean, rtol=1e-5)


def test_integers_are_rounded():
    given = {**example(), "image": np.tile(np.array([0, 1, 0], np.uint8), (24, 10))[..., None]}
    found = deform(given, np.stack([np.zeros((3, 3)), np.full((3, 3), 0.75)]))
    assert found["image"][0, :3, 0].tolist() == [1, 0, 0]


def test_displacements_of_many_sizes_of_the_example_still_find_a_pixel():
    for h, w in ((1, 1), (1, 5), (3, 2)):
        found = RandomElastic(sigma=100)(example(h, w), np.random.default_rng(0))
        assert found["image"].shape == (h, w, 1) and found["label"].max() <= 2


def test_the_interpolation_meets_the_nodes_sums_to_one_and_keeps_a_parabola_inside():
    weights = cubic_weights(5, 41)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights[::10], np.eye(5), atol=1e-12)
    nodes = np.arange(5.0)
    inside = np.linspace(0, 4, 41)[10:31]
    np.testing.assert_allclose(weights[10:31] @ nodes**2, inside**2, atol=1e-12)


def test_image_label_and_weight_move_together():
    # A smooth ramp: where the image says row y, the label's sample is of row y too, rounded.
    rows = np.tile(np.arange(40.0, dtype=np.float32)[:, None], (1, 40))
    given = {
        "image": rows[..., None],
        "label": rows.astype(np.uint8),
        "weight": rows,
        "name": "a",
    }
    found = RandomElastic(sigma=3)(given, np.random.default_rng(1))
    np.testing.assert_allclose(found["weight"], found["image"][..., 0], rtol=1e-5)
    assert abs(found["label"] - found["image"][..., 0]).max() <= 0.5 + 1e-4
    assert abs(found["weight"] - rows).max() > 1


def test_displacements_have_the_given_spread():
    ramp = np.arange(101.0, dtype=np.float32)[:, None].repeat(101, 1)
    given = {"image": ramp[..., None], "label": ramp.astype(np.uint8), "name": "a"}
    rng = np.random.default_rng(0)
    moves = [RandomElastic(sigma=4)(given, rng)["image"][50, 50, 0] - 50 for _ in range(300)]
    assert abs(np.mean(moves)) < 1 and 3.4 < np.std(moves) < 4.6


def test_probability_zero_never_deforms():
    given = example()
    found = RandomElastic(probability=0.0)(given, np.random.default_rng(0))
    np.testing.assert_array_equal(found["image"], given["image"])


FAULTS = [{"sigma": -1}, {"sigma": "a"}, {"grid": 1}, {"grid": 2.5}, {"probability": 2}]


@pytest.mark.parametrize("fields", FAULTS, ids=str)
def test_a_field_that_cannot_work_is_named(fields):
    with pytest.raises(InputError, match=str(next(iter(fields.values())))):
        RandomElastic(**fields)

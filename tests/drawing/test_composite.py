import numpy as np
import pytest

from segjax.drawing import composite

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (70, 23, 3)).astype(np.uint8)


def gaussian(values, sigma):
    """Each pixel's weighted sum over all others, term by term."""
    height, width = values.shape[:2]
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    down, across = y[:, None] - y, x[:, None] - x
    kernel = np.exp(-(down**2 + across**2) / (2 * sigma**2))
    kernel *= (abs(down) <= np.ceil(3 * sigma)) & (abs(across) <= np.ceil(3 * sigma))
    return (kernel @ values.reshape(height * width, -1)).reshape(values.shape)


def test_foreground_sums_the_chosen_probabilities_once_each():
    probabilities = RNG.dirichlet(np.ones(4), (5, 6)).astype(np.float16)
    alpha = composite.foreground(probabilities, [3, 1, 3])
    assert alpha.dtype == np.float32
    np.testing.assert_allclose(alpha, probabilities[..., 1] + probabilities[..., 3], atol=1e-3)
    assert composite.foreground(probabilities, []).max() == 0
    assert composite.foreground(probabilities, range(4)).max() <= 1


@pytest.mark.parametrize("index", [-1, 4])
def test_a_class_that_is_not_there_is_named(index):
    with pytest.raises(ValueError, match=f"Classes must be 0 to 3, got {index}"):
        composite.foreground(np.zeros((2, 2, 4), np.float32), [0, index])


@pytest.mark.parametrize("sigma", [0.3, 1.5, 7.0, 400.0])
def test_the_blur_is_a_gaussian_normalised_by_the_backgrounds_own_weight(sigma):
    alpha = RNG.random(IMAGE.shape[:2]) ** 2
    weight = (1 - alpha)[..., None]
    background = gaussian(IMAGE * weight, sigma) / gaussian(weight, sigma)
    expected = alpha[..., None] * IMAGE + weight * background
    blurred = composite.blur_background(IMAGE, alpha, sigma=sigma)
    np.testing.assert_allclose(blurred, expected, atol=0.51)


def test_no_colour_of_the_foreground_bleeds_into_the_background():
    image = np.full((40, 40, 3), 90, np.uint8)
    alpha = np.zeros((40, 40), np.float32)
    alpha[10:30, 15:25] = 1
    image[alpha == 1] = (255, 0, 0)
    blurred = composite.blur_background(image, alpha, sigma=6.0)
    np.testing.assert_array_equal(blurred, image)


def test_all_background_blurs_everything_and_all_foreground_nothing():
    flat = np.zeros(IMAGE.shape[:2], np.float32)
    assert composite.blur_background(IMAGE, flat, sigma=5.0).std() < IMAGE.std() / 5
    np.testing.assert_array_equal(composite.blur_background(IMAGE, flat + 1, sigma=5.0), IMAGE)
    np.testing.assert_array_equal(composite.blur_background(IMAGE, flat, sigma=0.0), IMAGE)


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_a_wrong_sigma_is_named(sigma):
    with pytest.raises(ValueError, match=f"0 or more, got {sigma}"):
        composite.blur_background(IMAGE, np.zeros(IMAGE.shape[:2]), sigma=sigma)


def test_a_new_background_shows_by_what_alpha_leaves():
    alpha = np.array([[0, 0.25, 1]], np.float32)
    image, background = np.full((2, 1, 3, 3), [[[[100]]], [[[200]]]], np.uint8)
    mixed = composite.replace_background(image, alpha, background)
    assert mixed[0, :, 0].tolist() == [200, 175, 100]


def test_a_cut_out_keeps_the_colours_and_has_alpha_as_opacity():
    alpha = RNG.random(IMAGE.shape[:2]).astype(np.float32)
    cut = composite.cut_out(IMAGE, alpha)
    np.testing.assert_array_equal(cut[..., :3], IMAGE)
    np.testing.assert_allclose(cut[..., 3], 255 * alpha, atol=0.51)


def test_areas_count_each_class_and_leave_out_what_is_none():
    label = np.array([[0, 2, 2], [255, 2, 3]], np.uint8)
    assert composite.areas(label, 5).tolist() == [1, 0, 3, 1, 0]
    for wrong, message in (
        (np.array([[0, 7]]), r"label ids \[7\] are outside the 2 classes"),
        (np.array([[0, -1]]), r"label ids \[-1\] are outside the 2 classes"),
        (np.array([[0.0, 1.0]]), "must be class ids"),
    ):
        with pytest.raises(ValueError, match=message):
            composite.areas(wrong, 2)


@pytest.mark.parametrize("shape", [(70, 23, 1), (23,), (1, 23), (70, 1), (23, 70)])
def test_an_alpha_of_another_size_is_refused_with_both_shapes(shape):
    alpha = np.ones(shape, np.float32)
    for combine in (
        lambda: composite.blur_background(IMAGE, alpha, sigma=1.0),
        lambda: composite.replace_background(IMAGE, alpha, IMAGE),
        lambda: composite.cut_out(IMAGE, alpha),
    ):
        with pytest.raises(ValueError) as raised:
            combine()
        assert "(70, 23, 3)" in str(raised.value) and str(shape) in str(raised.value)
    with pytest.raises(ValueError, match=r"background has shape \(1, 23, 3\)"):
        composite.replace_background(IMAGE, np.ones((70, 23), np.float32), IMAGE[:1])

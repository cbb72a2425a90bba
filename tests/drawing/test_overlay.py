import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax.drawing import overlay as drawing

PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
LABEL = np.array([[0, 1, 255], [20, 254, 3]], np.uint8)


def uniform(value, shape=(6, 7)):
    return np.full(shape, value, np.uint8)


def test_a_palette_png_keeps_indices_and_colours_on_disk(tmp_path):
    drawing.save_png(drawing.palette_png(LABEL, PALETTE), tmp_path / "label.png")
    with Image.open(tmp_path / "label.png") as read:
        assert read.mode == "P"
        np.testing.assert_array_equal(np.asarray(read), LABEL)
        np.testing.assert_array_equal(np.asarray(read.convert("RGB")), PALETTE[LABEL])


def test_a_label_that_is_a_view_is_saved_as_it_reads(tmp_path):
    image = drawing.palette_png(LABEL[:, ::-1], PALETTE)
    np.testing.assert_array_equal(np.asarray(image), LABEL[:, ::-1])


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.png").write_text("old")
    image = Image.new("F", (2, 2))  # Pillow has no PNG of floats
    with pytest.raises(OSError):
        drawing.save_png(image, tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_text() == "old"


def test_a_save_replaces_the_old_file_and_leaves_nothing_else(tmp_path):
    for value in (1, 2):
        drawing.save_png(drawing.palette_png(uniform(value), PALETTE), tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert np.asarray(Image.open(tmp_path / "a.png"))[0, 0] == 2


def test_colour_reads_the_palette_at_every_pixel():
    picture = drawing.colour(LABEL, PALETTE)
    assert all((picture[at] == PALETTE[LABEL[at]]).all() for at in np.ndindex(LABEL.shape))


def test_eight_bit_images_show_as_they_are_without_their_fourth_channel():
    image = np.random.default_rng(1).integers(0, 256, (4, 5, 4)).astype(np.uint8)
    np.testing.assert_array_equal(drawing.as_rgb(image), image[..., :3])
    grey = drawing.as_rgb(image[..., 3:])
    np.testing.assert_array_equal(grey, np.repeat(image[..., 3:], 3, axis=-1))


def test_floats_within_zero_and_one_are_scaled_by_255():
    image = np.array([0.0, 0.2, 1.0, np.nan], np.float32).reshape(2, 2, 1)
    assert drawing.as_rgb(image)[..., 1].tolist() == [[0, 51], [255, 0]]


def test_twelve_bits_in_uint16_fill_the_screens_range():
    image = np.linspace(100, 4095, 10_000).reshape(100, 100, 1).astype(np.uint16)
    rgb = drawing.as_rgb(image)
    assert (rgb.min(), rgb.max()) == (0, 255)
    assert abs(float(rgb.mean()) - 127.5) < 1


def test_a_constant_image_beyond_eight_bits_is_black_not_an_error():
    with np.errstate(all="raise"):
        assert drawing.as_rgb(np.full((3, 3, 1), 700, np.uint16)).max() == 0


@pytest.mark.parametrize("black", [(), (0,), (1,), (0, 2)], ids=str)
def test_an_overlay_keeps_ignored_pixels_and_those_of_black_classes(black):
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    label = rng.choice(np.array([0, 1, 2, 255], np.uint8), (40, 50))
    palette = PALETTE.copy()
    palette[list(black)] = 0
    picture = drawing.overlay(image, label, palette, opacity=0.9)
    kept = np.isin(label, [*black, 255])
    np.testing.assert_array_equal(picture[kept], image[kept])
    assert (picture[~kept] != image[~kept]).any(axis=-1).mean() > 0.95


def test_a_black_class_has_no_line_against_another_and_a_class_above_it_has():
    palette = PALETTE.copy()
    palette[[0, 2]] = 0
    label = np.array([[0, 2, 2, 1, 1]], np.uint8)
    image = np.full((1, 5, 3), 100, np.uint8)
    picture = drawing.overlay(image, label, palette)
    np.testing.assert_array_equal(picture[0, :3], image[0, :3])
    mixed = np.rint((100.0 + palette[1]) / 2)
    np.testing.assert_array_equal(picture[0, 4], mixed)
    assert (picture[0, 3] != mixed).any()


def test_inside_a_region_an_overlay_mixes_image_and_colour_by_opacity():
    image = np.full((6, 7, 3), 100, np.uint8)
    picture = drawing.overlay(image, uniform(9), PALETTE, opacity=0.25)
    np.testing.assert_allclose(picture[3, 3], 75 + 0.25 * PALETTE[9], atol=0.5)
    assert (picture == picture[0, 0]).all()


def test_a_line_one_pixel_thin_lies_inside_the_higher_class():
    label = uniform(0)
    label[1:5, 1:6] = 1
    plain = drawing.overlay(np.zeros((6, 7, 3), np.uint8), label, PALETTE, opacity=0.5)
    line = np.zeros((6, 7), bool)
    line[1:5, 1:6] = True
    line[2:4, 2:5] = False
    expected = np.rint(0.5 * PALETTE[label])
    differs = (plain != expected).any(axis=-1)
    np.testing.assert_array_equal(differs, line)


def test_a_region_of_one_pixel_differs_from_image_and_surroundings():
    label = uniform(0)
    label[3, 3] = 2
    palette = np.zeros((256, 3), np.uint8)
    palette[2] = (128, 0, 0)
    picture = drawing.overlay(np.full((6, 7, 3), 60, np.uint8), label, palette)
    assert np.abs(picture[3, 3].astype(int) - picture[0, 0].astype(int)).max() > 100


@pytest.mark.parametrize("opacity", [-0.1, 1.5])
def test_an_opacity_outside_zero_to_one_is_named(opacity):
    with pytest.raises(ValueError, match=str(opacity)):
        drawing.overlay(np.zeros((6, 7, 3), np.uint8), uniform(0), PALETTE, opacity=opacity)


def test_errors_mark_wrong_pixels_and_grey_out_ignored_ones():
    label = np.array([[0, 1, 255]], np.uint8)
    prediction = np.array([[0, 2, 1]], np.uint8)
    picture = drawing.errors(np.full((1, 3, 1), 200, np.uint8), label, prediction)
    assert picture[0, 0].tolist() == [90, 90, 90]
    assert picture[0, 1].tolist() == drawing.WRONG.tolist()
    assert picture[0, 2].tolist() == drawing.UNCOUNTED.tolist()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_side_by_side_holds_four_pictures_of_equal_height(channels):
    image = np.random.default_rng(3).integers(0, 256, (6, 7, channels)).astype(np.uint8)
    label, prediction = uniform(1), uniform(2)
    row = drawing.side_by_side(image, label, prediction, PALETTE, gap=2)
    assert row.shape == (6, 4 * 7 + 3 * 2, 3)
    parts = [row[:, i * 9 : i * 9 + 7] for i in range(4)]
    np.testing.assert_array_equal(parts[0], drawing.as_rgb(image))
    np.testing.assert_array_equal(parts[1], drawing.overlay(image, label, PALETTE))
    np.testing.assert_array_equal(parts[2], drawing.overlay(image, prediction, PALETTE))
    np.testing.assert_array_equal(parts[3], drawing.errors(image, label, prediction))
    assert (row[:, 7:9] == 255).all()


def test_pictures_for_a_notebook_have_the_pixels_of_the_arrays():
    image = np.random.default_rng(1).integers(0, 256, (2, 3, 3)).astype(np.uint8)
    other = LABEL[:, ::-1]
    shown = drawing.overlay_image(image, LABEL, PALETTE, opacity=0.3)
    np.testing.assert_array_equal(shown, drawing.overlay(image, LABEL, PALETTE, opacity=0.3))
    shown = drawing.side_by_side_image(image, LABEL, other, PALETTE, gap=2)
    row = drawing.side_by_side(image, LABEL, other, PALETTE, gap=2)
    assert isinstance(shown, Image.Image) and shown.mode == "RGB"
    np.testing.assert_array_equal(shown, row)


@pytest.mark.parametrize("shape", [(6, 7, 1), (1, 6, 7), (7,), (1, 7), (6, 1), (3, 7)])
def test_maps_of_another_size_than_the_image_are_refused_with_both_shapes(shape):
    image, good, other = np.zeros((6, 7, 3), np.uint8), uniform(0), uniform(0, shape)
    for draws in (
        lambda: drawing.overlay(image, other, PALETTE),
        lambda: drawing.errors(image, other, good),
        lambda: drawing.errors(image, good, other),
        lambda: drawing.panels(image, good, other, PALETTE),
        lambda: drawing.side_by_side(image, other, good, PALETTE),
    ):
        with pytest.raises(ValueError) as raised:
            draws()
        assert "(6, 7, 3)" in str(raised.value) and str(shape) in str(raised.value)


@pytest.mark.parametrize("wrong", [-1, 256, 2**32])
def test_a_label_that_8_bits_do_not_hold_has_no_colour(wrong):
    label = np.array([[0, wrong]])
    for draws in (
        lambda: drawing.colour(label, PALETTE),
        lambda: drawing.palette_png(label, PALETTE),
        lambda: drawing.overlay(np.zeros((1, 2, 3), np.uint8), label, PALETTE),
    ):
        with pytest.raises(ValueError, match="must be h w with ids 0 to 255"):
            draws()
    with pytest.raises(ValueError, match="label must be class ids .integers., got float64"):
        drawing.colour(np.full((1, 2), 0.5), PALETTE)


@pytest.mark.parametrize(
    "make", [lambda x: x.tolist(), jnp.asarray, lambda x: x.astype(np.int64)]
)
def test_lists_and_arrays_of_any_integers_are_drawn_alike(make):
    image, label = np.zeros((2, 3, 3), np.uint8), LABEL
    np.testing.assert_array_equal(
        drawing.colour(make(label), PALETTE), drawing.colour(label, PALETTE)
    )
    np.testing.assert_array_equal(
        drawing.side_by_side(image, make(label), label, PALETTE),
        drawing.side_by_side(image, label, label, PALETTE),
    )

import numpy as np
import pytest
from scipy import ndimage

from segjax.errors import InputError
from segjax.transforms.affine import RandomAffine, RandomPerspective, affine_matrix
from segjax.transforms.rotate import RandomRotate, rotate
from segjax.transforms.warp import about_centre, homography, project, rotation

H, W = 30, 37


def rng(seed=0):
    return np.random.default_rng(seed)


def example(c=3, dtype=np.uint8):
    number = np.arange(H * W, dtype=np.int32).reshape(H, W) + 1000
    image = rng().integers(0, 256, (H, W, c)).astype(dtype)
    weight = rng(1).random((H, W), np.float32)
    return {"image": image, "label": number, "weight": weight, "name": "a"}


MATRICES = {
    "affine": affine_matrix(31.0, scale=0.8, shear=(12.0, -20.0), translate=(3.5, -2.25)),
    "larger": affine_matrix(-100.0, scale=1.9, shear=(0.0, 9.0)),
    "perspective": homography(
        np.array([[-18, -15], [18, -15], [18, 15], [-18, 15]], float),
        np.array([[-15.2, -11.1], [16.3, -13.9], [17.1, 11.4], [-13.3, 13.8]], float),
    ),
}


def sources(matrix):
    """Where the centre of each pixel comes from: (y, x), in places of the example."""
    y, x = np.mgrid[:H, :W] + 0.5
    places = np.stack([x, y, np.ones((H, W))], -1) @ np.linalg.inv(matrix).T
    return places[..., 1] / places[..., 2], places[..., 0] / places[..., 2]


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize(("c", "dtype"), [(3, np.uint8), (2, np.uint16), (1, np.float32)])
def test_images_are_scipys_bilinear_samples_and_labels_the_pixels_under_them(name, c, dtype):
    given, matrix = example(c, dtype), about_centre(MATRICES[name], H, W)
    found = project(given, matrix, by="test", fill=9)
    y, x = sources(matrix)
    inside = (y >= 0) & (y < H) & (x >= 0) & (x < W)
    assert 0.1 < inside.mean() and (name == "larger" or inside.mean() < 0.95)
    row, column = (np.floor(v).astype(int).clip(0, n - 1) for v, n in ((y, H), (x, W)))
    np.testing.assert_array_equal(
        found["label"], np.where(inside, given["label"][row, column], 255)
    )
    for key in ("image", "weight"):
        planes = np.atleast_3d(given[key]).astype(np.float64)
        for channel in range(planes.shape[-1]):
            expected = ndimage.map_coordinates(
                planes[..., channel], [y - 0.5, x - 0.5], order=1, mode="nearest"
            )
            outside = 0 if key == "weight" else 9
            expected = np.where(inside, expected, outside)
            sampled = np.atleast_3d(found[key])[..., channel]
            if found[key].dtype == np.uint8:  # Pillow cuts the fraction off.
                expected = np.where(inside, expected - 0.5, expected)
            atol = {"float32": 1e-3, "uint16": 0.51, "uint8": 0.51}[found[key].dtype.name]
            np.testing.assert_allclose(sampled, expected, atol=atol)


@pytest.mark.parametrize("name", ["affine", "larger"])
def test_with_border_reflect_all_entries_are_mirrored_outside_as_scipy_mirrors(name):
    given, matrix = example(1, np.float32), about_centre(MATRICES[name], H, W)
    found = project(given, matrix, by="test", border="reflect")
    y, x = sources(matrix)
    for key, plane in (("image", given["image"][..., 0]), ("weight", given["weight"])):
        expected = ndimage.map_coordinates(
            plane.astype(np.float64), [y - 0.5, x - 0.5], order=1, mode="mirror"
        )
        sampled = found[key].reshape(H, W)
        np.testing.assert_allclose(sampled, expected, atol=2e-3)
    assert (found["label"] >= 1000).all()


def test_the_matrix_is_torchvisions():
    # The first two rows of torchvision 0.20's inverse of (angle=-31, translate=(3.5, -2.25),
    # scale=0.8, shear=(12, -20)) follow from its formula, which is written out here.
    rot, sx, sy = np.radians([-31.0, 12.0, -20.0])
    a = np.cos(rot - sy) / np.cos(sy)
    b = -np.cos(rot - sy) * np.tan(sx) / np.cos(sy) - np.sin(rot)
    c = np.sin(rot - sy) / np.cos(sy)
    d = -np.sin(rot - sy) * np.tan(sx) / np.cos(sy) + np.cos(rot)
    expected = [[0.8 * a, 0.8 * b, 3.5], [0.8 * c, 0.8 * d, -2.25], [0, 0, 1]]
    np.testing.assert_allclose(MATRICES["affine"], expected, atol=1e-12)


def test_a_rotation_alone_is_that_of_random_rotate():
    given = example(1, np.float32)
    turned = project(given, about_centre(rotation(25.0), H, W), by="test", fill=0)
    expected = rotate(given, 25.0, fill=0)
    np.testing.assert_allclose(turned["image"], expected["image"], atol=1e-2)
    assert (turned["label"] == expected["label"]).mean() > 0.995


def test_a_homography_moves_the_corners_where_it_is_told():
    old, new = np.array([[0, 0], [4, 0], [4, 3], [0, 3]], float), rng().random((4, 2)) * 5
    moved = np.column_stack([old, np.ones(4)]) @ homography(old, new).T
    np.testing.assert_allclose(moved[:, :2] / moved[:, 2:], new)


def test_the_drawn_numbers_stay_within_their_limits():
    points = np.array([[W / 2, H / 2], [W / 2 + 8, H / 2]])
    given = {**example(), "points": points}
    affine = RandomAffine(20.0, (0.5, 2.0), 0.1, 0.0, probability=1.0)
    generator, angles, scales, shifts = rng(), [], [], []
    for _ in range(200):
        found = affine(given, generator)["points"]
        if len(found) == 2:
            step = found[1] - found[0]
            angles.append(np.degrees(np.arctan2(-step[1], step[0])))
            scales.append(np.hypot(*step) / 8)
            shifts.append((found[0] - points[0]) / (W, H))
    assert -20 <= min(angles) < -18 and 18 < max(angles) <= 20
    assert 0.5 <= min(scales) < 0.6 and 1.7 < max(scales) <= 2
    np.testing.assert_allclose(np.abs(shifts).max(0), 0.1, atol=0.005)


def test_both_shears_are_drawn_up_to_their_limit():
    corner = np.array([W / 2, H / 2])
    points = corner + [[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]]
    given, generator, found = {**example(), "points": points}, rng(), []
    affine = RandomAffine(0.0, (1.0, 1.0), 0.0, 20.0, probability=1.0)
    for _ in range(100):
        origin, right, down = affine(given, generator)["points"]
        tangents = np.array([down[0] - origin[0], right[1] - origin[1]]) / 6
        found.append(np.degrees(np.arctan(tangents)))
    assert (np.abs(found).max(0) <= 20 + 1e-9).all() and (np.max(found, 0) > 17).all()
    assert (np.min(found, 0) < -17).all() and abs(np.corrcoef(np.transpose(found))[0, 1]) < 0.3


def test_a_perspective_moves_each_corner_inwards_by_half_of_distortion_at_most():
    corners = np.array([[0, 0], [W, 0], [W, H], [0, H]], float)
    given, generator = {**example(), "points": corners}, rng()
    perspective = RandomPerspective(0.5, probability=1.0)
    moved = np.array([perspective(given, generator)["points"] for _ in range(100)])
    share = np.abs(moved - corners) / (W, H)
    assert share.max() <= 0.25 and (share.max((0, 2)) > 0.23).all() and share.min() < 0.01


@pytest.mark.parametrize(
    "transform",
    [
        RandomRotate(30.0, 1.0, border="reflect"),
        RandomRotate(30.0, 0.0, border="reflect"),
        RandomAffine(probability=1.0, border="reflect"),
        RandomAffine(probability=0.0, border="reflect"),
    ],
    ids=repr,
)
def test_mirrored_borders_refuse_boxes_whatever_was_drawn_and_leave_no_label_255(transform):
    assert (transform(example(), rng())["label"] != 255).all()
    boxes = np.array([[1, 2, 3, 4]], np.float32)
    with pytest.raises(InputError, match="repeats parts of the image"):
        transform({**example(), "boxes": boxes}, rng())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomAffine(degrees=-1), "RandomAffine needs degrees in 0 ... 180, got -1"),
        (
            lambda: RandomAffine(scale=2.0),
            r"scale as \(low, high\), both in 0.05 ... 20, got 2",
        ),
        (lambda: RandomAffine(scale=(2.0, 1.0)), r"got \(2.0, 1.0\)"),
        (lambda: RandomAffine(translate=1.5), "translate in 0 ... 1, got 1.5"),
        (lambda: RandomAffine(shear=90), "shear in 0 ... 60, got 90"),
        (lambda: RandomAffine(probability=float("nan")), "probability in 0 ... 1, got nan"),
        (lambda: RandomAffine(border="wrap"), "RandomAffine needs border None .* got 'wrap'"),
        (lambda: RandomAffine(fill="x"), "fill='x'"),
        (lambda: RandomRotate(border="edge"), "RandomRotate needs border None .* got 'edge'"),
        (lambda: RandomPerspective(0.7), "RandomPerspective needs distortion in 0 ... 0.6"),
    ],
)
def test_a_field_that_cannot_work_is_named(make, words):
    with pytest.raises(InputError, match=words):
        make()

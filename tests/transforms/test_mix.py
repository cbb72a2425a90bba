import numpy as np
import pytest

from segjax.errors import InputError
from segjax.transforms.kinds import Follows
from segjax.transforms.mix import CopyPaste, CutMix, Mosaic, objects_of
from segjax.transforms.mixing import fitted, paste

H, W = 12, 15
MARKS = Follows("points")
EVERY = {
    "cutmix": CutMix(probability=1.0),
    "mosaic": Mosaic(probability=1.0),
    "copy-paste": CopyPaste((2,), share=1.0, probability=1.0),
}
NEVER = {
    "cutmix": CutMix(probability=0.0),
    "mosaic": Mosaic(probability=0.0),
    "copy-paste": CopyPaste((2,), probability=0.0),
}
each = pytest.mark.parametrize("name", EVERY)


def rng(seed=0):
    return np.random.default_rng(seed)


def example(number, h=H, w=W, c=3, dtype=np.uint8):
    """Every pixel of every map holds the example's number; a 2 × 3 object is class 2."""
    label = np.full((h, w), 10 + number, np.uint8)
    label[h // 2 : h // 2 + 2, w // 2 : w // 2 + 3] = 2
    y, x = np.mgrid[:h, :w] + 0.5
    return {
        "image": np.full((h, w, c), number, dtype),
        "label": label,
        "weight": np.full((h, w), number, np.float32),
        "instances": (label == 2).astype(np.uint16),
        "points": np.stack([x.ravel(), y.ravel()], -1),
        "marks": np.full(h * w, number),
        "name": f"n{number}",
        "kinds": {"marks": MARKS},
    }


def partners(count=3, **options):
    return [example(number, **options) for number in range(1, count + 1)]


@each
@pytest.mark.parametrize("seed", range(5))
def test_all_entries_of_a_pixel_come_from_one_example(name, seed):
    given = example(0)
    found = EVERY[name](given, rng(seed), partners())
    assert found.keys() == given.keys() and found["name"] == "n0"
    source = found["image"][..., 0]
    assert set(np.unique(source)) <= {0, 1, 2, 3} and len(np.unique(source)) > 1
    np.testing.assert_array_equal(found["weight"], source)
    is_object = found["label"] == 2
    np.testing.assert_array_equal(found["label"][~is_object], source[~is_object] + 10)
    np.testing.assert_array_equal(found["instances"] > 0, is_object)
    x, y = np.floor(found["points"]).astype(int).T
    np.testing.assert_array_equal(found["marks"], source[y, x])
    assert len(found["points"]) == H * W


@each
def test_instances_of_two_examples_keep_different_numbers(name):
    for seed in range(10):
        found = EVERY[name](example(0), rng(seed), partners())
        source = found["image"][..., 0]
        pairs = {
            (int(i), int(s))
            for i, s in zip(found["instances"].ravel(), source.ravel(), strict=True)
            if i
        }
        assert len({i for i, _ in pairs}) == len({s for _, s in pairs}) == len(pairs)


@each
def test_the_same_generator_gives_the_same_result_and_the_input_is_not_touched(name):
    given, others = example(0), partners()
    first, again = (EVERY[name](given, rng(3), others) for _ in range(2))
    for key in ("image", "label", "weight", "instances", "points"):
        np.testing.assert_array_equal(first[key], again[key])
        np.testing.assert_array_equal(given[key], example(0)[key])
        np.testing.assert_array_equal(others[0][key], example(1)[key])


@each
def test_with_probability_0_nothing_changes_and_no_partner_is_read(name):
    class Unread(list):
        def __getitem__(self, index):
            raise AssertionError

    given = example(0)
    found = NEVER[name](given, rng(), Unread([1, 2, 3]))
    assert found is not given and all(found[key] is given[key] for key in given)


@each
@pytest.mark.parametrize(("c", "dtype"), [(1, np.uint16), (5, np.float32)], ids=str)
def test_any_channels_and_dtype_are_mixed(name, c, dtype):
    found = EVERY[name](example(0, c=c, dtype=dtype), rng(1), partners(c=c, dtype=dtype))
    assert found["image"].dtype == dtype and found["image"].shape == (H, W, c)


@each
@pytest.mark.parametrize("size", [(5, 6), (30, 40), (5, 40)])
def test_partners_of_other_sizes_give_a_window_and_the_size_stays(name, size):
    for seed in range(4):
        found = EVERY[name](example(0), rng(seed), partners(h=size[0], w=size[1]))
        source = found["image"][..., 0]
        assert found["label"].shape == source.shape == (H, W)
        if name != "mosaic":  # Its tiles are filled; others take what the partner has.
            assert set(np.unique(source)) <= {0, 1} and (found["label"] != 255).all()
        else:
            assert ((found["label"] == 255) <= (source > 100)).all()


@each
@pytest.mark.parametrize("probability", ["every", "never"])
def test_boxes_without_masks_are_refused_by_name_whatever_was_drawn(name, probability):
    transform = (EVERY if probability == "every" else NEVER)[name]
    boxes = {"boxes": np.array([[1, 2, 3, 4]], np.float32)}
    message = "^Example 'n0': .* does not know which 'boxes' stay visible"
    with pytest.raises(InputError, match=message):
        transform({**example(0), **boxes}, rng(), [{**p, **boxes} for p in partners()])


@each
def test_without_partners_a_transform_says_where_it_belongs(name):
    message = "mixes an example with .* other.*, got 0: put it into the experiment's transforms"
    with pytest.raises(InputError, match=message):
        EVERY[name](example(0), rng())


@each
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": np.zeros((H, W, 1), np.uint8)}, "cannot mix 'image' of Example 'n0', uint8"),
        ({"label": np.full((H, W), 2)}, "cannot mix 'label' of Example 'n0', uint8 .*, int64"),
        ({"depth": 1.0}, "cannot mix Example 'n0' of .* and Example 'n1' of depth, image"),
    ],
)
def test_a_partner_that_does_not_fit_is_named(name, change, words):
    with pytest.raises(InputError, match=words):
        EVERY[name](example(0), rng(1), [{**p, **change} for p in partners()])


def test_cutmix_pastes_a_rectangle_whose_mean_share_is_a_half_before_it_is_cut():
    given, generator, others = example(0, 40, 60), rng(), partners(1, h=40, w=60)
    shares, sides = [], []
    for _ in range(300):
        pasted = CutMix(probability=1.0)(given, generator, others)["image"][..., 0] == 1
        shares.append(pasted.mean())
        rows, columns = np.nonzero(pasted)
        if len(rows):
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert pasted.sum() == height * width
            sides.append(height * width)
    # A uniform share of the area, of which the border cuts off a part.
    assert 0.2 < np.mean(shares) < 0.45 and max(shares) > 0.8 and min(shares) < 0.02


def test_alpha_decides_how_even_the_shares_are():
    given, others = example(0, 40, 60), partners(1, h=40, w=60)
    spread = [
        np.std(
            [(CutMix(a, 1.0)(given, rng(s), others)["weight"] == 1).mean() for s in range(80)]
        )
        for a in (0.2, 20.0)
    ]
    assert spread[0] > 2 * spread[1]


def test_a_mosaic_has_four_tiles_that_meet_within_its_centre():
    for seed in range(20):
        source = Mosaic((0.4, 0.6), 1.0)(example(0, 50, 50), rng(seed), partners(h=50, w=50))
        source = source["image"][..., 0]
        assert [source[0, 0], source[0, -1], source[-1, 0], source[-1, -1]] == [0, 1, 2, 3]
        y, x = (source[:, 0] == 0).sum(), (source[0] == 0).sum()
        assert 20 <= y <= 30 and 20 <= x <= 30
        expected = np.zeros((50, 50), int)
        expected[:y, x:], expected[y:, :x], expected[y:, x:] = 1, 2, 3
        np.testing.assert_array_equal(source, expected)


def test_a_tile_of_a_mosaic_is_a_random_window_of_its_example():
    number = np.arange(400).reshape(20, 20)
    ramp = {"image": number[..., None].astype(np.float32), "label": number, "name": "a"}
    corners = set()
    for seed in range(40):
        found = Mosaic((0.5, 0.5), 1.0)(ramp, rng(seed), [ramp] * 3)["label"]
        for y, x in ((0, 0), (0, 10), (10, 0), (10, 10)):
            tile = found[y : y + 10, x : x + 10]
            top, left = divmod(int(tile[0, 0]), 20)
            np.testing.assert_array_equal(tile, number[top : top + 10, left : left + 10])
            corners.add((top, left))
    assert len(corners) > 60


def test_an_object_is_a_connected_region_of_a_class_or_an_instance():
    label = np.zeros((6, 9), np.uint8)
    label[1:3, 1:3], label[1:3, 5:7], label[4, 2:8] = 2, 2, 3
    numbers = objects_of({"image": label[..., None], "label": label}, (2, 3))
    assert len(np.unique(numbers)) == 4 and ((numbers > 0) == (label > 0)).all()
    instances = (label > 0).astype(np.int32) * 7
    given = {"image": label[..., None], "label": label, "instances": instances}
    np.testing.assert_array_equal(objects_of(given, (3,)), 7 * (label == 3))


def test_copy_paste_takes_a_share_of_the_objects_of_its_classes_alone():
    label = np.zeros((30, 30), np.uint8)
    label[::4, ::4], label[2::4, 2::4] = 1, 2
    partner = {"image": np.ones((30, 30, 1), np.uint8), "label": label, "name": "b"}
    plain = np.zeros((30, 30), np.uint8)
    given = {"image": np.zeros((30, 30, 1), np.uint8), "label": plain, "name": "a"}
    taken = [CopyPaste((1,), 0.25, 1.0)(given, rng(s), [partner])["label"] for s in range(20)]
    assert all(set(np.unique(t)) == {0, 1} for t in taken)
    assert np.mean([(t == 1).sum() / (label == 1).sum() for t in taken]) == pytest.approx(
        0.25, abs=0.05
    )
    none = CopyPaste((5,), 1.0, 1.0)(given, rng(), [partner])
    np.testing.assert_array_equal(none["image"], given["image"])


def test_planes_are_copied_where_any_of_the_classes_is():
    planes = np.zeros((10, 10, 2), np.uint8)
    planes[2:5, 2:5, 0], planes[4:8, 4:8, 1] = 1, 1
    partner = {"image": np.ones((10, 10, 1), np.uint8), "label": planes, "name": "b"}
    given = {"image": np.zeros((10, 10, 1), np.uint8), "label": planes * 0, "name": "a"}
    found = CopyPaste((1,), 1.0, 1.0)(given, rng(), [partner])
    inside = planes[..., 1] == 1
    np.testing.assert_array_equal(found["label"][inside], planes[inside])
    assert not found["label"][~inside].any() and (found["image"][..., 0] == inside).all()


def test_instances_that_their_dtype_cannot_hold_are_refused():
    given = example(0)
    many = {**example(1), "instances": np.full((H, W), 65535, np.uint16)}
    with pytest.raises(InputError, match="'instances' is uint16, which cannot hold 65536"):
        paste(given, many, np.ones((H, W), bool), by="CutMix")


def test_a_window_of_a_partner_says_which_pixels_it_has():
    window, covered = fitted(example(1), -2, 3, (H, W), by="test")
    expected = np.zeros((H, W), bool)
    expected[2:, : W - 3] = True
    np.testing.assert_array_equal(covered, expected)
    assert window.keys() == example(1).keys()
    plain = {"image": np.zeros((3, 4, 1), np.uint8), "name": "a"}
    assert fitted(plain, 0, 1, (3, 4), by="test")[0].keys() == plain.keys()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CutMix(0), "CutMix needs alpha >= 0.01, got 0"),
        (lambda: CutMix(probability=2), "CutMix needs probability in 0 ... 1, got 2"),
        (lambda: Mosaic((0.5, 1.5)), r"Mosaic needs centre as .* got \(0.5, 1.5\)"),
        (lambda: CopyPaste(()), "CopyPaste needs classes"),
        (lambda: CopyPaste((1, 255)), "class 255, which marks ignored pixels: leave it out"),
        (lambda: CopyPaste((1,), share=-1), "CopyPaste needs share in 0 ... 1, got -1"),
    ],
)
def test_a_field_that_cannot_work_is_named(make, words):
    with pytest.raises(InputError, match=words):
        make()

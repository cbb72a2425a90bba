"""Tests of `Albumentations` need the package, `pip install 'segjax[albumentations]'`."""

import importlib.util
import json
import pickle
from itertools import islice

import numpy as np
import pytest

from segjax.data.loader import batches
from segjax.data.synthetic import Synthetic
from segjax.description import describe_lines, replace_at, wrong_types
from segjax.errors import InputError
from segjax.transforms import albumentations as ours
from segjax.transforms.albumentations import Albumentations
from segjax.transforms.entries import Declare
from segjax.transforms.kinds import Image, Nearest

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("albumentations") is None,
    reason="needs albumentations: pip install 'segjax[albumentations]'",
)
H, W = 40, 50


def package():
    return ours._package()


def rng(seed=0):
    return np.random.default_rng(seed)


def example(dtype=np.uint8, c=3):
    """Image and weight hold what the label says, in blocks of 5 × 5 pixels."""
    label = np.kron(rng(4).integers(0, 5, (H // 5, W // 5)), np.ones((5, 5), int))
    label = label.astype(np.uint8)
    image = np.repeat((label * 50)[..., None], c, axis=-1).astype(dtype)
    weight = label.astype(np.float32) + 1
    return {"image": image, "label": label, "weight": weight, "name": "scan 7"}


def moving():
    A = package()
    return A.Compose(
        [
            A.HorizontalFlip(),
            A.OneOf([A.Affine(rotate=(-40, 40), scale=0.7, p=1), A.Transpose(p=1)], p=1),
            A.RandomBrightnessContrast(p=1),
        ]
    )


def colouring():
    A = package()
    return A.Compose([A.HueSaturationValue(p=1), A.OneOf([A.GaussNoise(p=1), A.ToGray(p=1)])])


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(ours.importlib, "import_module", absent)
    with pytest.raises(InputError, match=r"pip install 'segjax\[albumentations\]'\.$"):
        Albumentations("{}")


@needs_package
def test_the_image_is_what_the_pipeline_makes_of_it_with_a_seed_from_the_generator():
    pipeline, given = moving(), example()
    found = Albumentations(pipeline)(given, rng(3))
    pipeline.set_random_seed(int(rng(3).integers(2**32)))
    expected = pipeline(image=given["image"], mask=given["label"])
    np.testing.assert_array_equal(found["image"], expected["image"])
    inside = found["label"] != 255
    np.testing.assert_array_equal(found["label"][inside], expected["mask"][inside])


@needs_package
def test_labels_and_weights_are_nearest_and_ignored_outside():
    outside = 0
    for seed in range(12):
        found = Albumentations(moving())(example(), rng(seed))
        ignored = found["label"] == 255
        outside += ignored.sum()
        assert set(np.unique(found["label"])) <= {0, 1, 2, 3, 4, 255}
        np.testing.assert_array_equal(found["weight"] == 0, ignored)
        np.testing.assert_array_equal(
            found["weight"][~ignored], found["label"][~ignored].astype(np.float32) + 1
        )
        assert found["label"].shape == found["image"].shape[:2]
        assert found["label"].dtype == np.uint8 and found["weight"].dtype == np.float32
    assert outside > 500


@needs_package
def test_planes_ignored_pixels_and_declared_maps_go_where_the_label_goes():
    given = example()
    given["label"][:10] = 255
    planes = (given["label"][..., None] == np.arange(3)).astype(np.uint8)
    given["ids"] = np.arange(H * W).reshape(H, W) + 2**40
    given["masks"] = planes
    for key in ("ids", "masks"):
        given = Declare(key, Nearest())(given, rng())
    found = Albumentations(moving())(given, rng(2))
    inside = found["ids"] != 255
    row, column = np.divmod(found["ids"][inside] - 2**40, W)
    np.testing.assert_array_equal(found["label"][inside], given["label"][row, column])
    np.testing.assert_array_equal(found["masks"][inside], planes[row, column])
    assert (found["label"][~inside] == 255).all() and (found["label"][inside] == 255).any()


@needs_package
@pytest.mark.parametrize(("c", "dtype"), [(1, np.uint8), (3, np.float32), (5, np.uint8)])
def test_channels_are_kept_where_the_pipeline_takes_them(c, dtype):
    A = package()
    pipeline = A.Compose([A.Affine(rotate=20, p=1), A.GaussianBlur(p=1)])
    given = example(dtype, c)
    before = given["image"].copy()
    found = Albumentations(pipeline)(given, rng())["image"]
    assert found.dtype == dtype and found.shape == (H, W, c)
    np.testing.assert_array_equal(given["image"], before)


@needs_package
def test_a_run_is_described_by_the_numbers_of_the_pipeline_and_read_back():
    transform = Albumentations(moving())
    lines = list(describe_lines((transform,), path="transforms"))
    assert lines[0] == "transforms.0 = segjax.transforms.albumentations.Albumentations"
    assert len(lines) == 2 and '"rotate": [-40.0, 40.0]' in lines[1]
    text = lines[1].removeprefix("transforms.0.pipeline = ")
    assert not list(wrong_types(transform))
    for again in (
        replace_at((Albumentations([]),), "0.pipeline", text)[0],
        pickle.loads(pickle.dumps(transform)),
        eval(repr(transform)),
    ):
        assert again == transform and hash(again) == hash(transform)
        np.testing.assert_array_equal(
            again(example(), rng(1))["image"], transform(example(), rng(1))["image"]
        )


@needs_package
def test_one_transform_and_a_list_are_pipelines_too():
    A = package()
    one = Albumentations(A.HorizontalFlip(p=1))
    assert one == Albumentations([A.HorizontalFlip(p=1)])
    assert one == Albumentations(A.Compose([A.HorizontalFlip(p=1)]))
    np.testing.assert_array_equal(one(example(), rng())["label"], example()["label"][:, ::-1])


@needs_package
def test_points_and_boxes_stay_where_only_colours_change_and_are_refused_elsewhere():
    given = {**example(), "points": np.array([[3.0, 4.0]])}
    found = Albumentations(colouring())(given, rng())
    np.testing.assert_array_equal(found["points"], given["points"])
    np.testing.assert_array_equal(found["label"], given["label"])
    with pytest.raises(InputError, match="'points': Albumentations does not know where places"):
        Albumentations(moving())(given, rng())


@needs_package
def test_another_image_is_refused_by_name():
    given = Declare("second", Image())({**example(), "second": example()["image"]}, rng())
    with pytest.raises(InputError, match="^Example 'scan 7': .* 'second' is an Image"):
        Albumentations(colouring())(given, rng())


@needs_package
def test_an_image_that_the_pipeline_does_not_take_is_named():
    with pytest.raises(InputError, match=r"^Example 'scan 7': albumentations .* uint16 of sha"):
        Albumentations(colouring())(example(np.uint16), rng())


@needs_package
def test_an_image_of_another_dtype_is_refused_since_normalize_would_scale_it_again():
    A = package()
    with pytest.raises(
        InputError, match="^Example 'scan 7': .* made float32 .* is uint8: leave"
    ):
        Albumentations(A.Normalize())(example(), rng())
    back = Albumentations([A.ToFloat(), A.FromFloat(dtype="uint8")])(example(), rng())["image"]
    np.testing.assert_array_equal(back, example()["image"])


@needs_package
def test_dropped_pixels_keep_their_label_or_are_ignored():
    A = package()
    kept = Albumentations(A.PixelDropout(0.5, p=1))(example(), rng())
    np.testing.assert_array_equal(kept["label"], example()["label"])
    dropped = Albumentations(A.PixelDropout(0.5, mask_drop_value=0, p=1))(example(), rng())
    ignored = dropped["label"] == 255
    assert 0.3 < ignored.mean() < 0.7
    np.testing.assert_array_equal(dropped["label"][~ignored], example()["label"][~ignored])


@needs_package
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda A: 3, "needs a pipeline such as .* got int"),
        (lambda A: "flip", "the JSON of one, got 'flip'"),
        (lambda A: json.dumps({"transform": {"__class_fullname__": "Nope"}}), "cannot make"),
        (lambda A: A.Lambda(image=len), "cannot describe the pipeline.*Lambda"),
        (lambda A: A.Affine(fill_mask=255), "Affine has fill_mask=255.*: leave it out"),
        (lambda A: A.PixelDropout(mask_drop_value=3), "PixelDropout has mask_drop_value=3.0: "),
        (lambda A: [A.OneOf([A.Morphological()])], "cannot use Morphological, which computes"),
        (lambda A: [A.OneOf([A.Affine(mask_interpolation=1)])], "mask_interpolation=1, which"),
        (lambda A: A.MaskDropout(), "cannot use MaskDropout, which reads classes"),
        (
            lambda A: A.Compose([A.HorizontalFlip()], keypoint_params=A.KeypointParams("xy")),
            "leave bbox_params and keypoint_params out",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_that_cannot_work_is_named(make, words):
    with pytest.raises(InputError, match=words):
        Albumentations(make(package()))


@pytest.mark.slow
@needs_package
def test_threads_workers_and_resuming_change_nothing():
    def take(count, **options):
        options = {"batch_size": 4, "seed": 1, "threads": 4, "buffer": 2, **options}
        transforms = (Albumentations(moving()),)
        iterator = batches(Synthetic(size=24), transforms, **options)
        found = list(islice(iterator, count))
        iterator.close()
        return found

    expected = take(6, threads=0)
    for found, wanted in (
        (take(6), expected),
        (take(6, workers=2), expected),
        (take(3, first_step=3), expected[3:]),
    ):
        for a, b in zip(found, wanted, strict=True):
            for key in a:
                np.testing.assert_array_equal(a[key], b[key])

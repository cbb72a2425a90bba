"""What no table knows is refused by name, until it is declared."""

import pickle
from types import MappingProxyType

import numpy as np
import pytest

from segjax.description import describe_lines, replace_at, wrong_types
from segjax.errors import InputError
from segjax.transforms.affine import RandomAffine, RandomPerspective
from segjax.transforms.blur import RandomBlur
from segjax.transforms.border import BorderWeights
from segjax.transforms.clahe import RandomCLAHE
from segjax.transforms.color import ColorJitter
from segjax.transforms.crops import BalancedCrop, ForegroundCrop
from segjax.transforms.cutout import Cutout
from segjax.transforms.degrade import RandomJPEG, RandomNoise
from segjax.transforms.elastic import RandomElastic
from segjax.transforms.entries import KINDS, Declare
from segjax.transforms.geometric import (
    MirrorPad,
    RandomCrop,
    RandomFlip,
    RandomFlipVertical,
    RandomRotate90,
    RandomScale,
    Resize,
)
from segjax.transforms.kinds import Bilinear, Boxes, Fixed, Follows, Image, Nearest, Points
from segjax.transforms.rand_augment import RandAugment
from segjax.transforms.resize_sides import ResizeLongSide, ResizeShortSide
from segjax.transforms.rotate import RandomRotate
from segjax.transforms.tone import RandomGamma, RandomGrey

ALL = (
    *(RandomScale(), Resize(9), RandomCrop(6), MirrorPad(2), RandomRotate90(), RandomElastic()),
    *(RandomFlip(0.0), RandomFlip(1.0), RandomFlipVertical(0.0), RandomFlipVertical(1.0)),
    *(RandomRotate(), RandomRotate(probability=1.0), RandomElastic(probability=0.0)),
    *(ColorJitter(0.4, 0.4), RandomBlur(), BorderWeights()),
    *(RandomAffine(), RandomAffine(probability=0.0), RandomPerspective(probability=1.0)),
    *(RandomRotate(border="reflect"), ResizeShortSide(9), ResizeLongSide(9)),
    *(BalancedCrop(6), ForegroundCrop(6, (1,)), Cutout(3), Cutout(3, ignore=True)),
    *(RandomGrey(), RandomGamma(), RandomNoise(), RandomJPEG(), RandomCLAHE()),
    RandAugment(),
)
"""Every transform, also where it leaves the example as it is."""

IMAGE = np.random.default_rng(0).integers(0, 255, (8, 9, 3)).astype(np.uint8)
EXAMPLE = {"image": IMAGE, "label": np.eye(8, 9, dtype=np.uint8), "name": "scan 7"}


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize(
    "value",
    [np.zeros((8, 9)), np.zeros((2, 4), np.float32), [[1, 2, 3, 4]], {"a": 1}],
    ids=lambda value: type(value).__name__,
)
def test_an_entry_that_is_in_no_table_is_refused_by_its_name_whatever_was_drawn(
    transform, value
):
    for seed in range(4):
        transform(EXAMPLE, rng(seed))
        with pytest.raises(InputError) as raised:
            transform({**EXAMPLE, "depth": value}, rng(seed))
        message = str(raised.value)
        assert message.startswith(f"Example 'scan 7': {type(transform).__name__} does not know")
        assert "'depth'" in message and "Declare('depth', Nearest())" in message
        assert "\n" not in message


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_text_numbers_and_nothing_stay_under_any_name(transform):
    plain = {"city": "Bern", "exposure": 0.1, "id": np.int64(3), "raw": b"", "note": None}
    found = transform({**EXAMPLE, **plain}, rng())
    assert {key: found[key] for key in plain} == plain


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_what_is_declared_goes_through_every_transform(transform):
    given = {**EXAMPLE, "depth": np.eye(8, 9, dtype=np.float32)}
    found = transform(Declare("depth", Nearest())(given, rng()), rng(3))
    assert found["depth"].shape == found["image"].shape[:2]
    np.testing.assert_array_equal(found["depth"] == 1, found["label"] == 1)
    assert "kinds" not in given and found["kinds"] == {"depth": Nearest()}


def test_a_dataset_may_say_the_kinds_itself():
    kinds = MappingProxyType({"depth": Nearest()})
    found = RandomFlip(1.0)({**EXAMPLE, "depth": IMAGE, "kinds": kinds}, rng())
    np.testing.assert_array_equal(found["depth"], IMAGE[:, ::-1])
    for wrong, message in (
        (["depth"], "dictionary of kinds by key, got list"),
        ({"depth": 3}, "3"),
    ):
        with pytest.raises(InputError, match=f"^Example 'scan 7': .*{message}"):
            RandomFlip(1.0)({**EXAMPLE, "depth": IMAGE, "kinds": wrong}, rng())


def test_a_later_declaration_wins_and_a_known_name_may_be_declared_anew():
    chain = (Declare("label", Nearest()), Declare("label", Bilinear()), Resize(20))
    example = {**EXAMPLE, "label": EXAMPLE["label"] * 100.0}
    for transform in chain:
        example = transform(example, rng())
    assert len(np.unique(example["label"])) > 4


def test_an_entry_that_a_transform_adds_is_moved_as_declared_before():
    declare, add, scale = Declare("weight", Nearest()), BorderWeights(w0=3.0), Resize(20)
    added = add(declare(EXAMPLE, rng()), rng())
    nearest, bilinear = (
        scale(added, rng())["weight"],
        scale(add(EXAMPLE, rng()), rng())["weight"],
    )
    assert (
        np.isin(nearest, added["weight"]).all() and not np.isin(bilinear, added["weight"]).all()
    )


def test_a_declaration_is_described_read_back_and_pickled():
    chain = (Declare("depth", Nearest()), Declare("marks", Follows("points")))
    assert list(describe_lines(chain, path="transforms")) == [
        "transforms.0 = segjax.transforms.entries.Declare",
        "transforms.0.key = 'depth'",
        "transforms.0.kind = segjax.transforms.kinds.Nearest",
        "transforms.0.kind.fill = None",
        "transforms.1 = segjax.transforms.entries.Declare",
        "transforms.1.key = 'marks'",
        "transforms.1.kind = segjax.transforms.kinds.Follows",
        "transforms.1.kind.of = 'points'",
    ]
    assert not list(wrong_types(chain[0]))
    changed = replace_at(chain, "0.kind", "segjax.transforms.kinds.Bilinear(fill=-1.0)")
    assert changed[0] == Declare("depth", Bilinear(fill=-1.0))
    assert pickle.loads(pickle.dumps(chain)) == chain


def test_colours_change_in_images_alone_and_by_the_same_numbers():
    given = {**EXAMPLE, "after": IMAGE, "depth": IMAGE[..., 0]}
    for declare in (Declare("after", Image()), Declare("depth", Bilinear())):
        given = declare(given, rng())
    for transform in (
        *(ColorJitter(0.5, 0.5, 0.5, 0.1), RandomBlur(probability=1.0), RandomGrey(1.0)),
        *(RandomGamma(probability=1.0), RandomNoise(probability=1.0)),
        *(RandomJPEG(probability=1.0), RandomCLAHE(probability=1.0)),
    ):
        found = transform(given, rng(1))
        assert not np.array_equal(found["image"], IMAGE)
        np.testing.assert_array_equal(found["after"], found["image"])
        assert found["depth"] is given["depth"] and found["label"] is given["label"]
        alone = transform(EXAMPLE, rng(1))
        np.testing.assert_array_equal(found["image"], alone["image"])


def test_a_kind_of_ones_own_is_a_kind():
    class Angle:
        def fault(self, value, size):
            return None if isinstance(value, float) else "must be a float"

        def move(self, value, motion, *, what):
            (ax, ay), (bx, by) = motion.places(
                np.array([[0.0, 0], [np.cos(value), np.sin(value)]])
            )
            return float(np.arctan2(by - ay, bx - ax))

    given = Declare("heading", Angle())({**EXAMPLE, "heading": 0.3}, rng())
    assert RandomFlip(1.0)(given, rng())["heading"] == pytest.approx(np.pi - 0.3)
    assert RandomFlipVertical(1.0)(given, rng())["heading"] == pytest.approx(-0.3)
    with pytest.raises(InputError, match="^Example 'scan 7': 'heading' must be a float"):
        RandomFlip(1.0)({**given, "heading": 3}, rng())


BOXES = np.array([[1, 2, 3, 4], [0, 0, 9, 8]], np.float32)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"boxes": BOXES.astype(int)}, "'boxes' must be .* of finite floats .*, got int64"),
        ({"boxes": BOXES.tolist()}, "'boxes' must be .*, got list"),
        ({"boxes": BOXES[:, :3]}, r"'boxes' must be .*, got shape \(2, 3\)"),
        ({"boxes": BOXES[:, ::-1]}, r"box \[4.0, 3.0, 2.0, 1.0\] of negative size; COCO's"),
        ({"boxes": BOXES * np.nan}, r"got \[nan, nan, nan, nan\]"),
        (
            {"points": BOXES[:, :2].astype(int)},
            r"int64; a pixel's place is \(column \+",
        ),
        ({"points": BOXES}, r"'points' must be .*, got shape \(2, 4\)"),
        (
            {"classes": np.arange(2)},
            "'classes' .* each of 'boxes', which is not there",
        ),
        ({"boxes": BOXES, "classes": np.arange(3)}, "'classes' has 3 items for 2 of 'boxes'"),
        ({"boxes": BOXES, "classes": [1, 2]}, "'classes' must be a NumPy array with one item"),
        (
            {"instances": IMAGE[:4, :, 0]},
            r"'instances' has shape \(4, 9\), but the image is 8",
        ),
        ({"instances": IMAGE.tolist()}, "'instances' must be a NumPy array .*, got list"),
    ],
)
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_an_entry_that_is_not_of_its_kind_is_named(entries, message, probability):
    with pytest.raises(InputError, match=f"^Example 'scan 7': .*{message}"):
        RandomFlip(probability)({**EXAMPLE, **entries}, rng())


def test_no_box_and_no_point_are_fine():
    none = {"boxes": BOXES[:0], "classes": np.arange(0), "points": BOXES[:0, :2]}
    found = RandomRotate(probability=1.0)({**EXAMPLE, **none}, rng())
    assert found["boxes"].shape == (0, 4) and found["points"].shape == (0, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Declare("image", Fixed()), "cannot change what 'image' is"),
        (lambda: Declare("kinds", Fixed()), "cannot change what 'kinds' is"),
        (lambda: Declare("depth", Nearest), r"write Nearest\(\)"),
        (lambda: Declare("depth", "nearest"), "got 'nearest'"),
    ],
)
def test_a_declaration_that_cannot_work_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_following_what_has_no_places_is_refused():
    given = Declare("classes", Follows("label"))({**EXAMPLE, "classes": np.arange(8)}, rng())
    with pytest.raises(InputError, match="each of 'label', which is Nearest"):
        RandomFlip()(given, rng())


@pytest.mark.parametrize(
    ("kind", "dtype", "message"),
    [
        (Bilinear(fill=-1), np.uint8, "uint8, which cannot hold -1.*as int8"),
        (Bilinear(fill=float("nan")), np.int32, "int32, which cannot hold nan.*as float32"),
        (Nearest(fill=0.5), np.uint8, "uint8, which cannot hold 0.5.*as float32"),
        (Nearest(fill=2), bool, "bool, which cannot hold 2.*as uint8"),
    ],
)
def test_a_fill_that_the_dtype_cannot_hold_is_refused(kind, dtype, message):
    given = Declare("depth", kind)({**EXAMPLE, "depth": np.ones((8, 9), dtype)}, rng())
    with pytest.raises(InputError, match=f"^Example 'scan 7': 'depth' is {message}"):
        RandomCrop(12)(given, rng())


def test_the_table_knows_places_and_what_follows_them():
    assert KINDS["boxes"] == Boxes() and KINDS["points"] == Points()
    assert KINDS["classes"] == KINDS["instance_ids"] == Follows("boxes")


def test_an_example_needs_no_label_to_be_moved():
    found = RandomFlip(1.0)({"image": IMAGE, "instances": EXAMPLE["label"]}, rng())
    np.testing.assert_array_equal(found["instances"], EXAMPLE["label"][:, ::-1])

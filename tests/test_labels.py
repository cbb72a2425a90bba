"""What may be read as class ids: no dtype wraps, nothing is cut, no shape is broadcast."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax.errors import InputError
from segjax.labels import (
    as_ids,
    check_ids,
    check_on_image,
    check_planes,
    check_same_shape,
    equals,
    listed,
    no_class,
)

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")


@pytest.mark.parametrize("dtype", SIGNED + UNSIGNED)
@pytest.mark.parametrize("xp", [np, jnp])
def test_the_same_ids_are_no_class_whatever_the_dtype(dtype, xp):
    values = [0, 2, 3, 100, *([-1, -128] if dtype in SIGNED else [])]
    with jax.enable_x64(True):
        ids = as_ids("labels", xp.asarray(values, dtype))
        assert no_class(ids, 3, ignore=None).tolist() == [v < 0 or v > 2 for v in values]
        # 255, 300 and −1 do not fit into every dtype, and 2**40 into none of 32 bits.
        for value in (2, 255, 300, -1, 2**40):
            assert equals(ids, value).tolist() == [v == value for v in values]
        assert not no_class(ids, 300, ignore=-128)[:4].any()


@pytest.mark.parametrize("value", [2**32, 2**32 + 255, np.uint64(2**63), -(2**32)])
def test_an_id_beyond_32_bits_is_not_what_is_left_of_it_in_32(value):
    ids = as_ids("labels", np.array([value, value]))
    assert no_class(ids, 3).all()


def test_lists_booleans_and_pictures_are_ids():
    assert as_ids("labels", [[0, 1], [2, 255]]).tolist() == [[0, 1], [2, 255]]
    assert as_ids("labels", np.array([True, False])).tolist() == [1, 0]
    palette_image = Image.fromarray(np.array([[0, 3]], np.uint8)).convert("P")
    palette_image.putdata([0, 3])
    assert as_ids("labels", palette_image).tolist() == [[0, 3]]


@pytest.mark.parametrize(
    "values", [np.full((2, 3), 0.9), np.ones(2), jnp.ones(2), [0.5], ["1"], np.array([1j])]
)
def test_what_is_no_integer_is_no_id(values):
    with pytest.raises(
        ValueError, match="^predictions must be class ids .integers., got .*argmax"
    ):
        as_ids("predictions", values)


def test_floats_are_refused_inside_jit_too():
    with pytest.raises(ValueError, match="got float32 of shape .2,.*argmax"):
        jax.jit(lambda x: as_ids("predictions", x))(jnp.ones(2))


def test_ids_outside_the_classes_are_listed_and_many_are_cut_short():
    with pytest.raises(
        ValueError, match=r"^label ids \[-1, 7\] are outside the 3 classes 0 to 2"
    ):
        check_ids("label", np.array([7, 0, 255, -1, 7]), 3)
    assert listed(np.arange(20)) == "[0, 1, 2, 3, 4, 5, 6, 7, ...]"
    check_ids("label", np.array([0, 1, 2, 255]), 3)


@pytest.mark.parametrize("other", [(3, 3), (2, 3, 1), (1, 3, 3), (2, 3), ()])
def test_shapes_that_would_broadcast_are_both_named(other):
    with pytest.raises(ValueError) as raised:
        check_same_shape(labels=np.zeros((2, 3, 3)), predictions=np.zeros(other))
    assert "labels has shape (2, 3, 3)" in str(raised.value)
    assert f"predictions has shape {other}" in str(raised.value)


@pytest.mark.parametrize("plane", [(4, 5, 1), (1, 4, 5), (5,), (1, 5), (5, 4)])
def test_a_map_lies_on_an_image_of_its_own_size_only(plane):
    with pytest.raises(ValueError) as raised:
        check_on_image(np.zeros((4, 5, 3)), alpha=np.zeros(plane))
    assert "(4, 5, 3)" in str(raised.value) and f"alpha has shape {plane}" in str(raised.value)


IMAGE, LABEL = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label": LABEL[..., None]}, r"label has shape \(4, 5, 1\), the image \(4, 5, 3\)"),
        ({"label": LABEL[..., None]}, r"give label\[..., 0\]"),
        ({"label": LABEL[None]}, r"\(1, 4, 5\).* give label\[0\]"),
        ({"label": np.zeros((4, 5, 6), int)}, r"one-hot label give label.argmax\(-1\)"),
        ({"label": np.zeros((6, 4, 5), int)}, r"one-hot label give label.argmax\(0\)"),
        ({"label": LABEL[:2]}, r"label has shape \(2, 5\).*resize or correct"),
        ({"image": IMAGE.transpose(2, 0, 1)}, r"give image.transpose\(1, 2, 0\)"),
        (
            {"image": IMAGE[..., 0]},
            r"image has shape \(4, 5\), not h w c; give image\[..., None\]",
        ),
        ({"image": IMAGE[None]}, r"image has shape \(1, 4, 5, 3\), not h w c; give one image"),
        ({"weight": LABEL[:1] * 1.0}, r"weight map has shape \(1, 5\), the image \(4, 5, 3\)"),
        ({"label": LABEL.tolist()}, "'label' must be a NumPy array, got list"),
        ({"image": None}, "'image' must be a NumPy array, got NoneType"),
    ],
)
def test_an_example_whose_maps_do_not_fit_is_named_with_the_remedy(changed, message):
    example = {"image": IMAGE, "label": LABEL, "name": "scan 7"}
    check_planes(example)
    with pytest.raises(InputError, match=f"^Example 'scan 7': .*{message}") as raised:
        check_planes({**example, **changed})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("key", ["label", "weight"])
def test_planes_are_taken_where_they_are_asked_for_alone(key):
    example = {"image": IMAGE, "label": LABEL, "name": "scan 7", key: np.zeros((4, 5, 6))}
    check_planes(example, planes=True)
    with pytest.raises(InputError, match=r"has shape \(4, 5, 6\), the image \(4, 5, 3\)"):
        check_planes(example)
    example[key] = np.zeros((6, 4, 5))
    message = (
        rf"h w or h w k, with h w = \(4, 5\): for planes k h w give {key}.transpose\(1, 2, 0\)"
    )
    with pytest.raises(InputError, match=message):
        check_planes(example, planes=True)

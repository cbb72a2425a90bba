import importlib.util
import io
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.data.arrays import array_bytes, read_array
from segjax.data.decode import Limit
from segjax.data.folder import Folder
from segjax.data.image_files import ImageKind, decoded, encoded_images
from segjax.errors import InputError

RAW = runpy.run_path(str(pathlib.Path(__file__).with_name("raw_files.py")))
RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 2**16, (4, 6, 5), np.uint16)
FLOATS = RNG.standard_normal((4, 6, 2)).astype(np.float32)
BYTES = RNG.integers(0, 256, (4, 6, 5), np.uint8)
NAME = pathlib.Path("scan")

needs_tifffile = pytest.mark.skipif(
    importlib.util.find_spec("tifffile") is None,
    reason="tifffile is not installed: TIFF files of several bands are not read.",
)


def read(data, *, channels=3, dtype="uint8"):
    images = encoded_images(NAME, data, ImageKind(channels, dtype))
    return [decoded(image.data) for image in images]


def problem(data, **options):
    with pytest.raises(InputError) as caught:
        read(data, **options)
    message = str(caught.value)
    assert message.startswith("scan") and "\n" not in message
    return message


def saved(array, kind, **options):
    data = io.BytesIO()
    Image.fromarray(array).save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(np.nan, np.float32), (-np.inf, np.float64), (1e300, np.float64), (np.nan, np.float16)],
)
def test_a_value_that_float32_cannot_hold_is_named_with_its_place(value, dtype):
    array = FLOATS.astype(dtype)
    array[2, 3, 1] = value
    said = problem(array_bytes(array), channels=2, dtype="float32")
    assert f"has the value {value} at row 2, column 3, channel 1, which is not a finite" in said


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (DEEP, {"channels": 5, "dtype": "uint16"}),
        (DEEP[..., 0], {"channels": 1, "dtype": "uint16"}),
        (DEEP.astype(">u2"), {"channels": 5, "dtype": "uint16"}),
        (FLOATS, {"channels": 2, "dtype": "float32"}),
        (FLOATS.astype(np.float64), {"channels": 2, "dtype": "float32"}),
        (BYTES, {"channels": 5}),
        (BYTES[..., :3], {"channels": 3}),
        (np.asfortranarray(BYTES[..., 0]), {"channels": 1}),
    ],
    ids=lambda value: (
        f"{value.dtype.str}{value.shape}" if isinstance(value, np.ndarray) else ""
    ),
)
def test_an_array_of_any_depth_comes_back_bit_for_bit(array, options):
    (image,) = read(array_bytes(array), **options)
    expected = array if array.ndim == 3 else array[..., None]
    assert image.dtype == options.get("dtype", "uint8")
    np.testing.assert_array_equal(image, expected.astype(image.dtype))


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        (RAW["png"](DEEP[..., 0], 16), {"channels": 1, "dtype": "uint16"}, DEEP[..., :1]),
        (
            RAW["tiff"](DEEP[..., 0], bits=16, order=">"),
            {"channels": 1, "dtype": "uint16"},
            DEEP[..., :1],
        ),
        (saved(FLOATS[..., 0], "TIFF"), {"channels": 1, "dtype": "float32"}, FLOATS[..., :1]),
        (saved(BYTES[..., :4], "PNG"), {"channels": 4}, BYTES[..., :4]),
        (saved(BYTES[..., :2], "PNG"), {"channels": 2}, BYTES[..., :2]),
    ],
    ids=["PNG 16", "TIFF 16", "TIFF float", "PNG of 4 channels", "PNG of 2 channels"],
)
def test_samples_of_a_picture_are_kept_as_they_are(data, options, expected):
    (image,) = read(data, **options)
    np.testing.assert_array_equal(image, expected)
    assert image.dtype == expected.dtype


def test_a_16_bit_image_is_turned_as_its_exif_data_say():
    data = RAW["png"](DEEP[..., 0], 16, orientation=6)
    (image,) = read(data, channels=1, dtype="uint16")
    np.testing.assert_array_equal(image[..., 0], np.rot90(DEEP[..., 0], -1))


@needs_tifffile
@pytest.mark.parametrize("array", [BYTES, DEEP, FLOATS, DEEP[..., :3]], ids=lambda a: a.dtype)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_tiff_of_any_number_of_bands_is_read(array, planar):
    import tifffile

    data = io.BytesIO()
    bands = array if planar == "contig" else np.moveaxis(array, -1, 0)
    tifffile.imwrite(data, bands, photometric="minisblack", planarconfig=planar)
    options = {"channels": array.shape[-1], "dtype": array.dtype.name}
    (image,) = read(data.getvalue(), **options)
    np.testing.assert_array_equal(image, array)


@needs_tifffile
def test_pages_of_bands_are_images_and_smaller_copies_are_not():
    import tifffile

    data = io.BytesIO()
    with tifffile.TiffWriter(data) as file:
        for page in (BYTES, 255 - BYTES):
            file.write(page, photometric="minisblack", planarconfig="contig")
        file.write(
            BYTES[::2, ::2], photometric="minisblack", planarconfig="contig", subfiletype=1
        )
    first, second = read(data.getvalue(), channels=5)
    np.testing.assert_array_equal(first, BYTES)
    np.testing.assert_array_equal(second, 255 - BYTES)


def test_bands_without_tifffile_have_a_remedy(monkeypatch):
    import importlib

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    said = problem(RAW["tiff"](BYTES, bits=8), channels=5)
    assert "pip install 'segjax[tiff]', or save the images as .npy" in said


@needs_tifffile
def test_a_broken_or_turned_tiff_of_bands_is_named():
    data = RAW["tiff"](BYTES, bits=8)
    assert "cannot be read as a TIFF of several bands" in problem(data[:60], channels=5)
    turned = RAW["tiff"](BYTES, bits=8, orientation=6)
    assert "is stored turned (orientation 6): save it upright" in problem(turned, channels=5)


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (array_bytes(DEEP), {"channels": 5}, 'has samples of uint16: set image_dtype="uint16"'),
        (
            array_bytes(BYTES),
            {"channels": 5, "dtype": "uint16"},
            'has samples of uint8: set image_dtype="uint8" if all images are such',
        ),
        (
            array_bytes(DEEP.astype(np.int32)),
            {"channels": 5},
            "has samples of int32: save them",
        ),
        (
            array_bytes(BYTES),
            {"channels": 2},
            "has 5 channel(s), but the dataset has channels=2:",
        ),
        (array_bytes(BYTES[..., :3]), {"channels": 4}, "np.moveaxis(array, 0, -1)"),
        (saved(BYTES[..., :3], "PNG"), {"channels": 4}, "has 3 channel(s), but the dataset"),
        (RAW["png"](DEEP[..., :3], 16, "rgb"), {"dtype": "uint16"}, "read from .npy and TIFF"),
        (RAW["png"](DEEP[..., 0], 16), {"channels": 1}, 'such, set image_dtype="uint16"'),
        (saved(FLOATS[..., 0], "TIFF"), {"channels": 1}, 'such, set image_dtype="float32"'),
        (array_bytes(BYTES)[:-1], {"channels": 5}, "cannot be read as an array"),
        (array_bytes(BYTES)[:20], {"channels": 5}, "cannot be read as an array"),
        (array_bytes(BYTES[..., None]), {}, "is an array of shape (4, 6, 5, 1): save one"),
        (array_bytes(BYTES[:0]), {}, "is an array of shape (0, 6, 5)"),
    ],
)
def test_an_image_of_another_kind_is_refused_with_the_remedy(data, options, words):
    assert words in problem(data, **options)


def test_an_array_of_objects_is_never_unpickled():
    data = io.BytesIO()
    np.save(data, np.array([[print]], object), allow_pickle=True)
    assert "it holds Python objects" in problem(data.getvalue())


def test_an_array_above_the_limit_is_refused_before_it_is_read():
    header = array_bytes(np.zeros((1, 1), np.uint8)).replace(b"(1, 1)", b"(99999, 9999)")
    with pytest.raises(InputError, match="scan has 1000 megapixels .9999 x 99999."):
        read_array(header, NAME, Limit())


def test_a_folder_of_16_bit_arrays_is_prepared_and_read_back(tmp_path):
    for kind in ("raw", "labels"):
        (tmp_path / kind).mkdir()
    np.save(tmp_path / "raw/a.npy", DEEP)
    np.save(tmp_path / "labels/a.npy", np.full((4, 6), 1))
    data = Folder(
        directory=str(tmp_path),
        class_names=("x", "y"),
        image="raw/{stem}.npy",
        mask="labels/{stem}.npy",
        channels=5,
        image_dtype="uint16",
    )
    np.testing.assert_array_equal(data[0]["image"], DEEP)
    assert data[0]["image"].dtype == np.uint16 and (data[0]["label"] == 1).all()
    assert data[0]["name"] == "a" and eval(repr(data)) == data

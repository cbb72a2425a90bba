"""What uploads are read as, and which are refused, with what line."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from segjax.data.images import read_image
from segjax.page.limits import Limits, Refused
from segjax.page.upload import opened, upright_upload

LIMITS = Limits(pixels=10_000)


def file(image: Image.Image, kind: str, **options) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def pattern(mode: str) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (9, 14, 3), np.uint8)).convert(mode)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return file(pattern("RGB"), "JPEG", exif=exif)


def moving(kind: str) -> bytes:
    return file(pattern("RGB"), kind, save_all=True, append_images=[Image.new("RGB", (14, 9))])


def png(width: int, height: int, rows: bytes = b"", *, bits: int = 8) -> bytes:
    """A PNG whose header says width × height and RGB, and whose data are `rows`."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    coded = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(coded)


GOOD = {
    "a grey PNG": file(pattern("L"), "PNG"),
    "a PNG with alpha": file(pattern("RGBA"), "PNG"),
    "grey with alpha": file(pattern("LA"), "PNG"),
    "a palette PNG": file(pattern("P"), "PNG"),
    "one bit": file(pattern("1"), "PNG"),
    "a JPEG that a camera turned": turned(),
    "a CMYK JPEG": file(pattern("CMYK"), "JPEG"),
    "a WebP": file(pattern("RGB"), "WEBP", lossless=True),
    "a BMP": file(pattern("RGB"), "BMP"),
    "a TIFF": file(pattern("RGB"), "TIFF"),
    "a palette with transparency": file(pattern("P"), "PNG", transparency=bytes(range(256))),
}


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("kind", GOOD)
def test_an_upload_is_read_as_predict_reads_the_file(kind, channels, mode, tmp_path):
    (path := tmp_path / "image").write_bytes(GOOD[kind])
    found = np.array(upright_upload(opened(GOOD[kind], LIMITS)).convert(mode))
    expected = read_image(path, channels=channels)
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
BAD = {
    "nothing": (b"", 400, "The file is empty"),
    "text": (b"/etc/passwd", 415, "cannot be read as an image: send JPEG"),
    "SVG": (SVG, 415, "cannot be read as an image"),
    "a format of no known decoder": (
        file(pattern("P"), "GIF"),
        415,
        "cannot be read as an image",
    ),
    "PostScript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        415,
        "cannot be read as an image",
    ),
    "a bomb": (png(30_000, 30_000), 413, "more than 0.01 megapixels"),
    "half a bomb": (png(10_000, 10_000), 413, "more than 0.01 megapixels"),
    "too many pixels": (file(Image.new("L", (101, 100)), "PNG"), 413, "more than 0.01 mega"),
    "16 bits": (file(Image.new("I;16", (9, 9)), "PNG"), 415, "more than 8 bits a channel"),
    "16 bits in colour": (png(9, 9, bits=16), 415, "more than 8 bits a channel (16, mode RGB"),
    "floats": (file(Image.new("F", (9, 9)), "TIFF"), 415, "more than 8 bits a channel"),
    "CIELAB": (file(Image.new("LAB", (9, 9)), "TIFF"), 415, "colours in CIELAB"),
    "pages": (moving("TIFF"), 415, "contains 2 images: send one image, or use segjax.predict"),
    "a moving WebP": (moving("WEBP"), 415, "contains 2 images"),
    "a moving PNG": (moving("PNG"), 415, "contains 2 images"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_image_to_predict_is_refused_before_a_pixel_is_decoded(kind, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("decoded"))
    data, status, line = BAD[kind]
    with pytest.raises(Refused) as refused:
        opened(data, LIMITS)
    assert refused.value.status == status and line in refused.value.line


def test_the_limit_of_pixels_is_the_servers_and_not_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = file(pattern("RGB"), "PNG")
    assert opened(data, LIMITS).size == (14, 9)
    with pytest.raises(Refused, match="more than 0.0001 megapixels"):
        opened(data, Limits(pixels=100))


TRUNCATED = {
    "JPEG": GOOD["a JPEG that a camera turned"][:-60],
    "PNG": GOOD["a PNG with alpha"][:-60],
    "PNG without rows": png(20, 20),
    "WebP": GOOD["a WebP"][:-60],
    "TIFF": GOOD["a TIFF"][:-60],
}


@pytest.mark.parametrize("kind", TRUNCATED)
def test_truncated_images_are_refused_whatever_their_decoder_raises(kind):
    with pytest.raises(Refused) as refused:
        upright_upload(opened(TRUNCATED[kind], LIMITS))
    assert refused.value.status == 415

"""Files of every depth and kind, as image and as mask: what is read, and what is refused."""

import io
import pathlib
import runpy
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from segjax.data.decode import Limit, pages
from segjax.data.images import pixels, read_image, upright
from segjax.data.masks import stored_samples
from segjax.errors import InputError

RAW = runpy.run_path(str(pathlib.Path(__file__).with_name("raw_files.py")))
IDS = {
    1: [[0, 1, 1, 0, 1], [1, 0, 0, 0, 1]],
    2: [[0, 1, 2, 3, 3], [3, 0, 0, 1, 2]],
    4: [[0, 1, 2, 9, 15], [15, 3, 0, 4, 2]],
    8: [[0, 1, 2, 200, 255], [7, 3, 0, 4, 2]],
    16: [[0, 1, 300, 40_000, 65_535], [7, 3, 0, 4, 2]],
    32: [[0, 1, 300, 70_000, 2**32 - 1], [7, 3, 0, 4, 2]],
}
COLOURS = [(5 * i % 256, 255 - i, 40) for i in range(256)]
GREYS = [(i, i, i) for i in range(256)]

DEEP = "has more than 8 bits a channel"
LOSSY = "which changes class ids"
COLOUR = "not class ids: convert each colour"
RARE = "no known image format, or a rare kind of one"


def grey8(bits, *, inverted=False):
    """What a screen shows of IDS."""
    shown = np.array(IDS[bits]) * (255 // (2**bits - 1))
    return 255 - shown if inverted else shown


def looked_up(bits, colours):
    return np.array(colours)[np.array(IDS[bits])]


def stacked(bits, channels, last=None):
    """Equal channels, or the last of one value."""
    array = np.repeat(np.array(IDS[bits])[..., None], channels, -1)
    if last is not None:
        array[..., -1] = last
    return array


def saved(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def picture(mode):
    noise = np.random.default_rng(0).integers(0, 256, (2, 5, 3), np.uint8)
    return Image.fromarray(noise).convert(mode)


def cases():
    """(name, file, image in RGB or why not, mask or why not)."""
    png, tiff, bmp = RAW["png"], RAW["tiff"], RAW["bmp"]
    for bits in (1, 2, 4, 8):
        ids = IDS[bits]
        few = COLOURS[: 2**bits]
        yield f"PNG grey {bits}", png(ids, bits), grey8(bits), ids
        palette = png(ids, bits, "palette", colours=few)
        yield f"PNG palette {bits}", palette, looked_up(bits, few), ids
        yield f"TIFF grey {bits}", tiff(ids, bits=bits), grey8(bits), ids
        white = tiff(ids, bits=bits, photometric=0)
        yield f"TIFF white is zero {bits}", white, grey8(bits, inverted=True), ids
        swapped = tiff(ids, bits=bits, photometric=0, order=">")
        yield f"TIFF big-endian {bits}", swapped, grey8(bits, inverted=True), ids
        palette = tiff(ids, bits=bits, photometric=3, colours=few)
        yield f"TIFF palette {bits}", palette, looked_up(bits, few), ids
    for bits in (1, 4, 8):
        few = COLOURS[: 2**bits]
        yield f"BMP {bits}", bmp(IDS[bits], bits, colours=few), looked_up(bits, few), IDS[bits]
    ramp = bmp(IDS[8], 8, colours=GREYS)
    yield "BMP 8 grey", ramp, looked_up(8, GREYS), IDS[8]
    black_white = [(0, 0, 0), (255, 255, 255)]
    yield "BMP 1 black and white", bmp(IDS[1], 1, colours=black_white), grey8(1), IDS[1]
    white_black = bmp(IDS[1], 1, colours=black_white[::-1])
    yield "BMP 1 white and black", white_black, grey8(1, inverted=True), IDS[1]
    for bits in (4, 8):
        broken = bmp(IDS[1], bits, colours=black_white)
        line = f"a BMP of {bits} bits with a grey palette"
        yield f"BMP {bits} black and white", broken, line, line
    broken = bmp(IDS[4], 4, colours=GREYS[:16])
    yield "BMP 4 grey", broken, "a BMP of 4 bits", "a BMP of 4 bits"
    gif = Image.fromarray(np.uint8(IDS[8]))
    yield "GIF grey 8", saved(gif, "GIF"), grey8(8), IDS[8]
    two = Image.fromarray(255 * np.uint8(IDS[1]))
    yield "GIF black and white", saved(two, "GIF"), grey8(1), grey8(1)
    gif.putpalette(np.uint8(COLOURS).tobytes())
    renumbered = "is a GIF with colours, which numbers them anew in each file: save the ids"
    for kept in (True, False):
        data = saved(gif, "GIF", optimize=not kept)
        yield f"GIF palette, kept {kept}", data, looked_up(8, COLOURS), renumbered
    for green, masks in {5: (0x7C00, 0x3E0, 0x1F), 6: (0xF800, 0x7E0, 0x1F)}.items():
        half = 2 ** (green - 1)  # Red is full, green is at half, blue is at 1 of 31.
        data = RAW["bmp16"](np.array(IDS[1]) * (masks[0] | half << 5 | 1), masks)
        shown = stacked(1, 3) * [255, half * 255 // (2**green - 1), 8]
        yield f"BMP RGB 5, {green} and 5 bits", data, shown, f"(mode RGB, {green} bits)"

    yield "PNG grey 16", png(IDS[16], 16), DEEP, IDS[16]
    for order in "<>":
        yield f"TIFF grey 16 {order}", tiff(IDS[16], bits=16, order=order), DEEP, IDS[16]
    yield "TIFF white is zero 16", tiff(IDS[16], bits=16, photometric=0), DEEP, IDS[16]
    yield "TIFF grey 32", tiff(IDS[32], bits=32), DEEP, IDS[32]
    yield "TIFF of a rare kind", tiff(IDS[32], bits=32, photometric=0), RARE, RARE
    signed = -np.array(IDS[1])
    below = "has signed samples"
    for bits in (8, 16, 32):
        data = tiff(signed, bits=bits, sample_format=2)
        yield f"TIFF signed {bits}", data, below if bits == 8 else DEEP, signed
    whole, broken = np.float32(IDS[4]), np.float32([[0, 0.5, np.nan]])
    floats = [tiff(f.view(np.uint32), bits=32, sample_format=3) for f in (whole, broken)]
    yield "TIFF whole floats", floats[0], DEEP, IDS[4]
    yield "TIFF floats", floats[1], DEEP, "holds 0.5, which is not a class id"

    shown = looked_up(8, GREYS)
    for name, data in {
        "PNG RGB equal": png(stacked(8, 3), 8, "rgb"),
        "PNG RGBA equal, opaque": png(stacked(8, 4, 255), 8, "rgb+alpha"),
        "PNG grey and alpha, opaque": png(stacked(8, 2, 255), 8, "grey+alpha"),
        "TIFF RGB equal": tiff(stacked(8, 3), bits=8, photometric=2),
        "TIFF RGBA equal, opaque": tiff(stacked(8, 4, 255), bits=8, photometric=2),
        "BMP RGB equal": saved(Image.fromarray(np.uint8(stacked(8, 3))), "BMP"),
    }.items():
        yield name, data, shown, IDS[8]
    premultiplied = tiff(stacked(8, 2, 255), bits=8, extra=1)
    yield "TIFF grey, premultiplied alpha", premultiplied, shown, IDS[8]
    hidden = "has transparent pixels"
    yield "PNG RGBA", png(stacked(8, 4, 9), 8, "rgb+alpha"), shown, hidden
    yield "PNG grey and alpha", png(stacked(8, 2, 9), 8, "grey+alpha"), shown, hidden
    for name, bits, kind in (("RGB", 3, "rgb"), ("RGBA", 4, "rgb+alpha")):
        deep = png(stacked(16, bits), 16, kind)
        yield f"PNG {name} 16", deep, DEEP, COLOUR
        yield f"TIFF {name} 16", tiff(stacked(16, bits), bits=16, photometric=2), DEEP, COLOUR
    yield "PNG grey and alpha 16", png(stacked(16, 2), 16, "grey+alpha"), DEEP, COLOUR
    for kind in ("PNG", "BMP", "TIFF"):
        rgb = saved(picture("RGB"), kind)
        yield f"{kind} RGB", rgb, np.array(picture("RGB")), COLOUR
    for mode in ("CMYK", "YCbCr"):
        seen = np.array(picture(mode).convert("RGB"))
        yield f"TIFF {mode}", saved(picture(mode), "TIFF"), seen, COLOUR
    lab = tiff(stacked(8, 3), bits=8, photometric=8)
    yield "TIFF CIELAB", lab, "has colours in CIELAB", COLOUR
    yield "TIFF of five channels", tiff(stacked(8, 5), bits=8), RARE, RARE
    for kind, options in {"JPEG": {}, "WEBP": {"lossless": True}}.items():
        data = saved(picture("RGB"), kind, **options)
        yield f"{kind}", data, np.array(Image.open(io.BytesIO(data)).convert("RGB")), LOSSY
    jpeg = saved(picture("L"), "TIFF", compression="jpeg")
    seen = np.array(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    yield "TIFF with JPEG inside", jpeg, seen, LOSSY


CASES = {name: rest for name, *rest in cases()}


def large():
    """{name: a file of 20 × 20 pixels}: every way by which Pillow comes to decode one."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), np.uint8)
    frames = [Image.fromarray(frame) for frame in noise]
    for kind in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        yield f"TIFF {kind}", saved(frames[0], "TIFF", compression=kind)
    for kind in ("PNG", "BMP", "JPEG", "WEBP"):
        yield kind, saved(frames[0], kind)
    moving = {"save_all": True, "append_images": frames[1:]}
    yield "GIF of 3", saved(frames[0], "GIF", **moving)
    yield "GIF of 3, cleared", saved(frames[0], "GIF", disposal=2, **moving)
    yield "WEBP of 3", saved(frames[0], "WEBP", **moving)
    yield "TIFF of 3", saved(frames[0], "TIFF", compression="tiff_lzw", **moving)
    for disposal in (0, 1, 2):
        data = saved(frames[0].convert("RGBA"), "PNG", disposal=disposal, blend=1, **moving)
        yield f"APNG of 3, disposal {disposal}", data


LARGE = dict(large())


@pytest.mark.parametrize("name", LARGE)
def test_pillows_limit_is_off_while_a_file_is_read_and_back_afterwards(name, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    read = list(pages(io.BytesIO(LARGE[name]), name="scan", limit=Limit(0.0004)))
    assert len(read) == (3 if "of 3" in name else 1) and read[0].image.size == (20, 20)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_pillows_limit_is_off_while_any_thread_reads(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    load, both = TiffImagePlugin.TiffImageFile.load, threading.Barrier(2, timeout=10)

    def meet(image):
        both.wait()
        return load(image)

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load", meet)
    data = [LARGE["TIFF tiff_deflate"]] * 8
    with ThreadPoolExecutor(2) as pool:
        read = lambda file: next(pages(io.BytesIO(file), name="scan")).image.size
        assert list(pool.map(read, data)) == [(20, 20)] * 8
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("name", CASES)
def test_an_image_is_what_a_screen_shows_or_refused(name, tmp_path):
    data, expected, _ = CASES[name]
    (path := tmp_path / "image.png").write_bytes(data)
    if isinstance(expected, str):
        with pytest.raises(InputError, match="image.png") as caught:
            read_image(path, channels=3)
        assert expected in str(caught.value) and "\n" not in str(caught.value)
        return
    expected = np.array(expected)
    rgb = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, -1)
    np.testing.assert_array_equal(read_image(path, channels=3), rgb)
    grey = np.array(Image.fromarray(np.uint8(rgb)).convert("L"))[..., None]
    np.testing.assert_allclose(read_image(path, channels=1), grey, atol=1)


@pytest.mark.parametrize("name", CASES)
def test_a_mask_is_what_its_file_stores_or_refused(name, tmp_path):
    data, _, expected = CASES[name]
    read = lambda: stored_samples(
        next(pages(io.BytesIO(data), name="m.png")), tmp_path / "m.png"
    )
    if isinstance(expected, str):
        with pytest.raises(InputError, match=r"m\.png") as caught:
            read()
        assert expected in str(caught.value) and "\n" not in str(caught.value)
    else:
        np.testing.assert_array_equal(read(), expected)


ORIENTED = {
    "PNG": lambda n: RAW["png"](IDS[4], 4, orientation=n),
    "PNG palette": lambda n: RAW["png"](
        IDS[4], 4, "palette", colours=GREYS[:16], orientation=n
    ),
    "PNG 16": lambda n: RAW["png"](IDS[16], 16, orientation=n),
    "TIFF": lambda n: RAW["tiff"](IDS[4], bits=4, orientation=n),
    "TIFF 1": lambda n: RAW["tiff"](IDS[1], bits=1, photometric=0, orientation=n),
    "TIFF 32": lambda n: RAW["tiff"](IDS[32], bits=32, orientation=n),
    "TIFF palette": lambda n: RAW["tiff"](
        IDS[4], bits=4, photometric=3, colours=GREYS[:16], orientation=n
    ),
}
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ORIENTED)
def test_image_and_mask_are_turned_alike_by_the_tag_of_each(kind, orientation, tmp_path):
    straight, turned = (
        next(pages(io.BytesIO(ORIENTED[kind](n)), name=kind)) for n in (1, orientation)
    )
    expected = TURNS[orientation](stored_samples(straight, tmp_path))
    np.testing.assert_array_equal(stored_samples(turned, tmp_path), expected)
    if straight.bits <= 8:
        shown, seen = (pixels(upright(p, kind, channels=1)) for p in (straight, turned))
        np.testing.assert_array_equal(seen, TURNS[orientation](shown))

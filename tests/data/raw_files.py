"""PNG, TIFF and BMP files of stored samples: every depth and kind, no library's choices."""

import struct
import zlib

import numpy as np

PNG_KIND = {"grey": 0, "rgb": 2, "palette": 3, "grey+alpha": 4, "rgb+alpha": 6}


def packed(samples, bits: int, *, order: str = ">") -> list[bytes]:
    """Rows of h w (c) samples of so many bits, each row filled up to whole bytes."""
    rows = np.asarray(samples).reshape(len(samples), -1)
    if bits >= 8:
        letter = {8: "u1", 16: f"{order}u2", 32: f"{order}u4"}[bits]
        return [row.astype(np.int64).astype(letter).tobytes() for row in rows]
    weights = 1 << np.arange(bits)[::-1]
    each = (rows[:, :, None] & weights > 0).reshape(len(rows), -1)
    return [np.packbits(row).tobytes() for row in each]


def png(samples, bits: int, kind: str = "grey", *, colours=(), orientation: int = 1) -> bytes:
    """A PNG of h w (c) samples; `colours` is a palette, `orientation` an EXIF tag."""
    h, w = np.shape(samples)[:2]
    rows = b"".join(b"\x00" + row for row in packed(samples, bits))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, PNG_KIND[kind], 0, 0, 0))]
    if orientation != 1:
        exif = b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
        chunks.append((b"eXIf", exif))
    if kind == "palette":
        chunks.append((b"PLTE", bytes(np.asarray(colours, np.uint8).ravel())))
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    coded = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(coded)


def tiff(*pages, bits: int, photometric: int = 1, **options) -> bytes:
    """A TIFF of one page or more of h w (c) samples; see `_tags` for the options."""
    order, subfiles = options.pop("order", "<"), options.pop("subfiles", [0] * len(pages))
    body = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 0)
    link = 4
    for page, subfile in zip(pages, subfiles, strict=True):
        data = b"".join(packed(page, bits, order=order))
        tags = _tags(page, bits, photometric, len(data), subfile=subfile, **options)
        at = len(body)
        tags[273] = (4, [at])
        body += data + b"\x00" * (len(data) % 2)
        extra, entries = b"", b""
        directory = len(body)
        after = directory + 2 + 12 * len(tags) + 4
        for tag, (kind, values) in sorted(tags.items()):
            coded = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
            if len(coded) > 4:
                coded, extra = struct.pack(f"{order}I", after + len(extra)), extra + coded
            entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + coded.ljust(
                4, b"\0"
            )
        body = body[:link] + struct.pack(f"{order}I", directory) + body[link + 4 :]
        body += struct.pack(f"{order}H", len(tags)) + entries
        link = len(body)
        body += struct.pack(f"{order}I", 0) + extra
    return body


def _tags(
    page,
    bits,
    photometric,
    size,
    *,
    sample_format=1,
    orientation=1,
    subfile=0,
    colours=(),
    extra=None,
):
    """Tags, {number: (type, values)}; photometric 0: zero is white, 2 signed, 3 float."""
    h, w, c = (*np.shape(page), 1)[:3]
    tags = {
        254: (4, [subfile]),
        256: (4, [w]),
        257: (4, [h]),
        258: (3, [bits] * c),
        259: (3, [1]),
        262: (3, [photometric]),
        274: (3, [orientation]),
        277: (3, [c]),
        278: (4, [h]),
        279: (4, [size]),
        339: (3, [sample_format] * c),
    }
    if extra is not None:  # What the last channel is: 1 premultiplied alpha, 2 alpha.
        tags[338] = (3, [extra])
    if photometric == 3:
        table = np.zeros((3, 2**bits), int)
        table[:, : len(colours)] = np.transpose(colours) * 257
        tags[320] = (3, table.ravel().tolist())
    return tags


def bmp(samples, bits: int, *, colours) -> bytes:
    """A BMP of h w indices into a palette of red, green, blue."""
    h, w = np.shape(samples)
    rows = [row + b"\x00" * (-len(row) % 4) for row in packed(samples, bits)][::-1]
    palette = b"".join(bytes((*reversed(colour), 0)) for colour in colours)
    offset = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, w, h, 1, bits, 0, 0, 0, 0, len(colours), 0)
    size = offset + sum(map(len, rows))
    return b"BM" + struct.pack("<IHHI", size, 0, 0, offset) + header + palette + b"".join(rows)


def bmp16(samples, masks) -> bytes:
    """A BMP of h w samples of 16 bits, whose red, green and blue the masks say."""
    h, w = np.shape(samples)
    rows = [row + b"\x00" * (-len(row) % 4) for row in packed(samples, 16, order="<")][::-1]
    header = struct.pack("<IiiHHIIiiII3I", 40, w, h, 1, 16, 3, 0, 0, 0, 0, 0, *masks)
    size = 66 + sum(map(len, rows))
    return b"BM" + struct.pack("<IHHI", size, 0, 0, 66) + header + b"".join(rows)

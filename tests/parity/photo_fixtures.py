"""What the scripts that make odd pictures share: smooth and busy pictures, files put together by hand, and what Pillow
sees in a file, which is kept beside it."""

import io
import pathlib
import struct
import zlib

import numpy
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).resolve().parents[2] / "photos" / "tests" / "fixtures"
WIDTH, HEIGHT = 20, 12

LOSSY_WEBP, ROUNDED, EXACT = 1, 1, 0

expected = []


def smooth(width=WIDTH, height=HEIGHT, phase=0.0):
    """A smooth colour picture without any symmetry, so that each of the eight orientations differs."""
    y, x = numpy.mgrid[0:height, 0:width]
    channels = [
        numpy.rint(127.5 + 110 * numpy.sin(phase + a * x / width + b * y / height))
        for a, b in ((2.0, 0.7), (0.4, 2.6), (-1.7, 1.1))
    ]
    return Image.fromarray(numpy.stack(channels, -1).astype(numpy.uint8))


def busy(width=64, height=64):
    """Enough detail that a file of several rows of blocks can be cut in the middle."""
    y, x = numpy.mgrid[0:height, 0:width]
    v = (x * 37 + y * 101 + (x * y) % 17 * 9) % 256
    return Image.fromarray(numpy.stack([v, 255 - v, (v * 3) % 256], -1).astype(numpy.uint8))


def alpha_ramp(width=WIDTH, height=HEIGHT):
    y, x = numpy.mgrid[0:height, 0:width]
    return Image.fromarray(numpy.rint(255 * (x + y) / (width + height - 2)).astype(numpy.uint8))


def over_white(image):
    """What the network should see: alpha composited over white, by the formula, not by an image library."""
    rgba = numpy.asarray(image.convert("RGBA"), dtype=numpy.float64)
    alpha = rgba[..., 3:] / 255
    return numpy.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(numpy.uint8)


def as_seen(data):
    """The first frame of the file as 8-bit RGB, upright."""
    image = Image.open(io.BytesIO(data))
    image.load()
    try:
        image = ImageOps.exif_transpose(image)
    except SyntaxError:
        pass  # broken metadata; the pixels are there
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow's own conversion clips at 255; 16 bits are scaled.
        grey = numpy.rint(numpy.asarray(image).astype(numpy.float64) / 257).astype(numpy.uint8)
        return numpy.stack([grey] * 3, -1)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return over_white(image)
    return numpy.asarray(image.convert("RGB"))


def good(name, data, tolerance, pixels=True):
    (OUT / name).write_bytes(data)
    rgb = as_seen(data)
    height, width = rgb.shape[:2]
    expected.append(
        {
            "file": name,
            "width": width,
            "height": height,
            "tolerance": tolerance,
            "rgb": rgb.tobytes().hex() if pixels else "",
        }
    )


def bad(name, data, kind):
    (OUT / name).write_bytes(data)
    expected.append({"file": name, "kind": kind})


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def oriented(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def segments(jpeg):
    """(marker, start, end) of each segment before the entropy-coded data."""
    at = 2
    while at < len(jpeg):
        marker, length = jpeg[at + 1], struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        yield marker, at, at + 2 + length
        at += 2 + length
        if marker == 0xDA:
            return


def segment(jpeg, wanted):
    return next((start, end) for marker, start, end in segments(jpeg) if marker in wanted)


def png_chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tiff(tags, chunks, tiled=False, order="<"):
    """A TIFF put together by hand: `tags` as {number: (type, values)}, one value a chunk of data."""
    data, offsets = b"", []
    for chunk in chunks:
        offsets.append(8 + len(data))
        data += chunk + b"\0" * (len(chunk) % 2)
    places = (324, 325) if tiled else (273, 279)
    tags = dict(tags) | {places[0]: (4, offsets), places[1]: (4, [len(c) for c in chunks])}
    at, behind = 8 + len(data), b""
    entries = struct.pack(order + "H", len(tags))
    for number in sorted(tags):
        kind, values = tags[number]
        value = struct.pack(order + {3: "H", 4: "I"}[kind] * len(values), *values)
        if len(value) > 4:
            place = at + 2 + 12 * len(tags) + 4 + len(behind)
            behind += value
            value = struct.pack(order + "I", place)
        entries += struct.pack(order + "HHI", number, kind, len(values)) + value.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return start + data + entries + b"\0" * 4 + behind

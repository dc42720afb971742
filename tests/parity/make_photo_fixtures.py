#!/usr/bin/env python3
"""Writes the odd little pictures that `native/src/photos` must read or refuse, and what Pillow sees in them.

    python3 tests/parity/make_photo_fixtures.py

Made with Pillow 13.0.0 and numpy 2.4.6 (see tests/parity/requirements.txt). The output lies in
native/tests/fixtures/photos: the pictures, and expected.json with one entry a picture:

    good  {"file", "width", "height", "tolerance", "rgb"}   rgb: hexadecimal, row by row; "" = size only
    bad   {"file", "kind"}                                  kind: as `PhotoError::kind()` names it

The expected pixels are Pillow's: first frame, EXIF orientation applied, alpha composited over white.
`tolerance` is the greatest difference of a level (of 255) allowed: 0 for lossless formats, 1 where 16 bits
or alpha are rounded and for lossy WebP, 3 for JPEG (the inverse DCT and the chroma upsampling of decoders
differ), CMYK included.
"""

import io
import json
import math
import pathlib
import struct
import zlib

import numpy
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).resolve().parents[2] / "native" / "tests" / "fixtures" / "photos"
WIDTH, HEIGHT = 20, 12

JPEG, LOSSY_WEBP, CMYK_JPEG, ROUNDED, EXACT = 3, 1, 3, 1, 0

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
    image = ImageOps.exif_transpose(image)
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


def cmyk_variants(suffix, data):
    """A CMYK JPEG as Adobe writes it, without Adobe's marker, and declared to be YCCK."""
    start, end = segment(data, {0xEE})
    good(f"cmyk_adobe{suffix}.jpg", data, CMYK_JPEG)
    good(f"cmyk_bare{suffix}.jpg", data[:start] + data[end:], CMYK_JPEG)
    # The same numbers read as YCCK make other colours, but the same ones in every decoder.
    assert data[end - 1] == 0
    good(f"ycck_adobe{suffix}.jpg", data[: end - 1] + b"\x02" + data[end:], CMYK_JPEG)


def jpegs():
    base = smooth()
    for value in range(1, 9):
        data = encoded(base, "JPEG", quality=95, subsampling=0, exif=oriented(value))
        good(f"exif_{value}.jpg", data, JPEG)
    good("grey.jpg", encoded(base.convert("L"), "JPEG", quality=95), JPEG)
    good("progressive.jpg", encoded(base, "JPEG", quality=95, progressive=True), JPEG)
    good("subsampled.jpg", encoded(smooth(37, 29), "JPEG", quality=95, subsampling=2), JPEG)
    good("restarts.jpg", encoded(base, "JPEG", quality=95, restart_marker_rows=1), JPEG)

    cmyk = base.convert("CMYK")
    black = alpha_ramp().point(lambda level: level // 3)
    cmyk = Image.merge("CMYK", [*cmyk.split()[:3], black])
    data = encoded(cmyk, "JPEG", quality=95, subsampling=0)
    cmyk_variants("", data)
    data = encoded(cmyk.crop((0, 0, 9, 7)), "JPEG", quality=95, subsampling=0)
    cmyk_variants("_narrow", data)
    good("narrow.jpg", encoded(base.crop((0, 0, 5, 9)), "JPEG", quality=95, subsampling=0), JPEG)
    good("one_by_one.jpg", encoded(smooth(1, 1), "JPEG", quality=95), JPEG)

    whole = encoded(base, "JPEG", quality=95, subsampling=0)
    # A second picture behind the first, as phones write it (MPF, gain maps): the first one counts.
    good("second_picture_behind.jpg", whole + encoded(smooth(phase=1.0), "JPEG"), JPEG)
    start, _ = segment(whole, {0xDB})
    good("junk_between_segments.jpg", whole[:start] + b"\0" * 7 + whole[start:], JPEG)
    # Kept small on purpose: one row of blocks, the case a row-wise check of decoders overlooks.
    bad("truncated_one_row.jpg", whole[: len(whole) - 60], "truncated")

    whole = encoded(busy(), "JPEG", quality=80)
    bad("truncated.jpg", whole[: len(whole) // 2], "truncated")
    bad("zeroed_tail.jpg", whole[: len(whole) // 2].ljust(len(whole), b"\0"), "truncated")
    whole = encoded(busy(), "JPEG", quality=80, progressive=True)
    bad("truncated_progressive.jpg", whole[: len(whole) // 2], "truncated")

    data = bytearray(encoded(base, "JPEG"))
    start, _ = segment(data, {0xC0})
    data[start + 5 : start + 9] = struct.pack(">HH", 60_000, 60_000)
    bad("bomb.jpg", bytes(data), "too_large")


def pngs():
    base = smooth()
    good("rgb.png", encoded(base, "PNG"), EXACT)
    good("grey.png", encoded(base.convert("L"), "PNG"), EXACT)
    good("one_bit.png", encoded(base.convert("1"), "PNG"), EXACT)
    good("one_by_one.png", encoded(smooth(1, 1), "PNG"), EXACT)
    good("wide.png", encoded(Image.new("RGB", (65_535, 1), (10, 20, 30)), "PNG"), EXACT, pixels=False)
    good("exif_6.png", encoded(base, "PNG", exif=oriented(6)), EXACT)

    wide = numpy.asarray(base.convert("L")).astype(numpy.uint16) * 251 + 17
    good("grey16.png", encoded(Image.fromarray(wide), "PNG"), ROUNDED)
    # Pillow cannot write 48-bit colour, so the file is put together by hand.
    deep = numpy.asarray(base).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    good("rgb16.png", b"\x89PNG\r\n\x1a\n" + body, ROUNDED)

    rgba = base.copy()
    rgba.putalpha(alpha_ramp())
    good("rgba.png", encoded(rgba, "PNG"), ROUNDED)
    la = base.convert("L")
    la.putalpha(alpha_ramp())
    good("grey_alpha.png", encoded(la, "PNG"), ROUNDED)
    palette = base.quantize(16)
    good("palette.png", encoded(palette, "PNG"), EXACT)
    levels = bytes(range(0, 256, 17))
    good("palette_alpha.png", encoded(palette, "PNG", transparency=levels), ROUNDED)
    grey = base.convert("L")
    colour_key = grey.getpixel((3, 3))
    good("grey_colour_key.png", encoded(grey, "PNG", transparency=colour_key), EXACT)

    whole = encoded(busy(), "PNG")
    bad("truncated.png", whole[: len(whole) // 2], "truncated")
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 64))
    bad("bomb.png", b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b""), "too_large")


def webps():
    base = smooth()
    good("lossy.webp", encoded(base, "WEBP", quality=95), LOSSY_WEBP)
    rgba = base.copy()
    rgba.putalpha(alpha_ramp())
    good("lossless_alpha.webp", encoded(rgba, "WEBP", lossless=True, exact=True), ROUNDED)
    frames = [smooth(phase=p) for p in (1.0, 2.0)]
    moving = encoded(base, "WEBP", save_all=True, append_images=frames, lossless=True)
    good("animated.webp", moving, EXACT)
    good("exif_8.webp", encoded(base, "WEBP", lossless=True, exif=oriented(8)), EXACT)
    for name, options in (("lossy", {"quality": 80}), ("lossless", {"lossless": True})):
        whole = encoded(busy(), "WEBP", **options)
        bad(f"truncated_{name}.webp", whole[: len(whole) // 2], "truncated")


def others():
    base = smooth()
    frames = [smooth(phase=p).quantize(32) for p in (0.0, 1.0, 2.0)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=80)
    good("animated.gif", data, EXACT)
    good("transparent.gif", encoded(frames[0], "GIF", transparency=5), EXACT)
    whole = encoded(busy().quantize(64), "GIF")
    bad("truncated.gif", whole[: len(whole) // 2], "truncated")

    good("rgb.bmp", encoded(base, "BMP"), EXACT)
    good("palette.bmp", encoded(base.quantize(16), "BMP"), EXACT)
    whole = encoded(busy(), "BMP")
    bad("truncated.bmp", whole[:2000], "truncated")
    data = bytearray(encoded(base, "BMP"))
    data[18:26] = struct.pack("<ii", 60_000, 60_000)
    bad("bomb.bmp", bytes(data), "too_large")

    good("rgb.tif", encoded(base, "TIFF"), EXACT)
    good("lzw.tif", encoded(base, "TIFF", compression="tiff_lzw"), EXACT)
    wide = numpy.asarray(base.convert("L")).astype(numpy.uint16) * 257
    good("grey16.tif", encoded(Image.fromarray(wide), "TIFF"), ROUNDED)
    good("cmyk.tif", encoded(base.convert("CMYK"), "TIFF"), ROUNDED)
    good("orientation_6.tif", encoded(base, "TIFF", tiffinfo={0x0112: 6}), EXACT)
    whole = encoded(busy(), "TIFF")
    bad("truncated.tif", whole[: len(whole) // 2], "truncated")


def mislabelled():
    base = smooth()
    good("really_png.jpg", encoded(base, "PNG"), EXACT)
    good("really_webp.png", encoded(base, "WEBP", lossless=True), EXACT)
    good("really_jpeg.webp", encoded(base, "JPEG", quality=95, subsampling=0), JPEG)
    bad("empty.jpg", b"", "empty")
    page = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body></body></html>\n"
    bad("html.jpg", page, "not_an_image")
    bad("text.png", b"This is not a picture.\n", "not_an_image")
    bad("four_bytes.jpg", b"\xff\xd8\xff\xe0", "truncated")
    for brand in ("heic", "avif"):
        box = b"ftyp" + brand.encode() + struct.pack(">I", 0) + b"mif1" + brand.encode()
        bad(f"photo.{brand}", struct.pack(">I", len(box) + 4) + box, "unsupported_format")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    jpegs()
    pngs()
    webps()
    others()
    mislabelled()
    expected.sort(key=lambda entry: entry["file"])
    lines = ",\n".join(json.dumps(entry) for entry in expected)
    (OUT / "expected.json").write_text(f"[\n{lines}\n]\n")
    total = sum(f.stat().st_size for f in OUT.iterdir())
    print(f"{len(expected)} pictures, {math.ceil(total / 1024)} KiB")


if __name__ == "__main__":
    main()

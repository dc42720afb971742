#!/usr/bin/env python3
"""Writes the odd little pictures that `photos/` must read or refuse, and what Pillow sees in them.

    python3 tests/parity/make_photo_fixtures.py

Made with Pillow 13.0.0 and numpy 2.4.6 (see tests/parity/requirements.txt). The output lies in
photos/tests/fixtures: the pictures, and expected.json with one entry a picture:

    good  {"file", "width", "height", "tolerance", "rgb"}   rgb: hexadecimal, row by row; "" = size only
    bad   {"file", "kind"}                                  kind: as `PhotoError::kind()` names it

The expected pixels are Pillow's: first frame, EXIF orientation applied, alpha composited over white.
`tolerance` is the greatest difference of a level (of 255) allowed: 0 for lossless formats and for JPEG, 1
where 16 bits or alpha are rounded and for lossy WebP.

Kinds of JPEG that Pillow does not write are made by libjpeg-turbo's programs `cjpeg` and `jpegtran` (Debian:
libjpeg-turbo-progs), TIFFs that it does not write are put together by hand.
"""

import io
import json
import math
import pathlib
import struct
import subprocess
import tempfile
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


def cmyk_variants(suffix, data):
    """A CMYK JPEG as Adobe writes it, without Adobe's marker, and declared to be YCCK."""
    start, end = segment(data, {0xEE})
    good(f"cmyk_adobe{suffix}.jpg", data, EXACT)
    good(f"cmyk_bare{suffix}.jpg", data[:start] + data[end:], EXACT)
    # The same numbers read as YCCK make other colours, but the same ones in every decoder.
    assert data[end - 1] == 0
    good(f"ycck_adobe{suffix}.jpg", data[: end - 1] + b"\x02" + data[end:], EXACT)


def jpegs():
    base = smooth()
    for value in range(1, 9):
        data = encoded(base, "JPEG", quality=95, subsampling=0, exif=oriented(value))
        good(f"exif_{value}.jpg", data, EXACT)
    good("grey.jpg", encoded(base.convert("L"), "JPEG", quality=95), EXACT)
    good("progressive.jpg", encoded(base, "JPEG", quality=95, progressive=True), EXACT)
    good("subsampled.jpg", encoded(smooth(37, 29), "JPEG", quality=95, subsampling=2), EXACT)
    good("restarts.jpg", encoded(base, "JPEG", quality=95, restart_marker_rows=1), EXACT)

    cmyk = base.convert("CMYK")
    black = alpha_ramp().point(lambda level: level // 3)
    cmyk = Image.merge("CMYK", [*cmyk.split()[:3], black])
    data = encoded(cmyk, "JPEG", quality=95, subsampling=0)
    cmyk_variants("", data)
    data = encoded(cmyk.crop((0, 0, 9, 7)), "JPEG", quality=95, subsampling=0)
    cmyk_variants("_narrow", data)
    good("narrow.jpg", encoded(base.crop((0, 0, 5, 9)), "JPEG", quality=95, subsampling=0), EXACT)
    good("one_by_one.jpg", encoded(smooth(1, 1), "JPEG", quality=95), EXACT)

    whole = encoded(base, "JPEG", quality=95, subsampling=0)
    # A second picture behind the first, as phones write it (MPF, gain maps): the first one counts.
    good("second_picture_behind.jpg", whole + encoded(smooth(phase=1.0), "JPEG"), EXACT)
    start, _ = segment(whole, {0xDB})
    good("junk_between_segments.jpg", whole[:start] + b"\0" * 7 + whole[start:], EXACT)
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


def program(*arguments, given):
    """What libjpeg-turbo's program makes of `given`."""
    return subprocess.run(arguments, input=given, capture_output=True, check=True).stdout


def with_scans(script, jpeg, *options):
    with tempfile.NamedTemporaryFile("w", suffix=".scans") as file:
        file.write(script.replace(";", ";\n"))
        file.flush()
        return program("jpegtran", *options, "-scans", file.name, given=jpeg)


def with_late_tables(jpeg):
    """A file of one scan a component, each with its quantisation table in the same slot just before it."""
    tables, parts, at = {}, [], 2
    while jpeg[at + 1] != 0xD9:
        marker, end = jpeg[at + 1], at + 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        if marker == 0xDA:
            while jpeg[end] != 0xFF or jpeg[end + 1] == 0 or 0xD0 <= jpeg[end + 1] <= 0xD7:
                end += 1
        if marker == 0xDB:
            for start in range(at + 4, end, 65):
                tables[jpeg[start]] = jpeg[start + 1 : start + 65]
        else:
            parts.append((marker, bytearray(jpeg[at:end])))
        at = end
    out, number = b"\xff\xd8", 0
    for marker, part in parts:
        if marker in (0xC0, 0xC1, 0xC9):
            part[12] = part[15] = part[18] = 0
        if marker == 0xDA:
            out += b"\xff\xdb\x00\x43\x00" + tables[min(number, 1)]
            number += 1
        out += part
    return out + b"\xff\xd9"


SAMPLINGS = {
    "444": "1x1,1x1,1x1",
    "422": "2x1,1x1,1x1",
    "420": "2x2,1x1,1x1",
    "440": "1x2,1x1,1x1",
    "411": "4x1,1x1,1x1",
    "410": "4x2,1x1,1x1",
    "three": "3x1,1x1,1x1",
    "uneven": "2x2,2x1,1x2",
}


def kinds_of_jpeg():
    """Each process, order of scans, sampling and sort of colours at odd sizes."""
    for number, (name, sampling) in enumerate(SAMPLINGS.items()):
        for (width, height) in ((1, 1), (7, 9), (17, 33)):
            given = encoded(smooth(width, height, phase=number), "PPM")
            base = program("cjpeg", "-quality", "75", "-sample", sampling, given=given)
            kinds = {
                "": base,
                "_progressive": program("jpegtran", "-progressive", given=base),
                "_arithmetic": program("jpegtran", "-arithmetic", given=base),
                "_apart": with_scans("0;1;2;", base),
                "_in_parts": with_scans("0;1 2;", base, "-restart", "2B"),
                "_arithmetic_in_parts": with_scans("0 1;2;", base, "-arithmetic"),
                "_arithmetic_progressive": program(
                    "jpegtran", "-arithmetic", "-progressive", "-restart", "1B", given=base
                ),
            }
            for kind, data in kinds.items():
                if kind in ("", "_apart", "_in_parts") or (number + len(kind)) % 3 == 0:
                    good(f"jpeg_{name}{kind}_{width}x{height}.jpg", data, EXACT)
    given = encoded(smooth(17, 33), "PPM")
    for name in ("444", "420"):
        sampling = SAMPLINGS[name]
        rgb = program("cjpeg", "-quality", "75", "-rgb", "-sample", sampling, given=given)
        good(f"jpeg_rgb_{name}.jpg", rgb, EXACT)
        base = program("cjpeg", "-quality", "75", "-sample", sampling, given=given)
        good(f"jpeg_late_tables_{name}.jpg", with_late_tables(with_scans("0;1;2;", base)), EXACT)
        late = with_late_tables(with_scans("0;1;2;", base, "-arithmetic"))
        good(f"jpeg_late_tables_{name}_arithmetic.jpg", late, EXACT)
        # A file that never sends its details is smoothed.
        coarse = with_scans("0 1 2: 0-0,0,0;0: 1-5,0,2;", base)
        good(f"jpeg_coarse_{name}.jpg", coarse, EXACT)
        good(f"jpeg_dc_only_{name}.jpg", with_scans("0 1 2: 0-0,0,0;", base), EXACT)
    grey = program("cjpeg", "-quality", "75", "-grayscale", "-sample", "2x2", given=given)
    good("jpeg_grey_2x2.jpg", grey, EXACT)
    good("jpeg_grey_arithmetic.jpg", program("jpegtran", "-arithmetic", given=grey), EXACT)
    # Black is stored coarser than cyan here.
    cmyk = smooth(17, 33).convert("CMYK")
    cmyk = Image.merge("CMYK", [*cmyk.split()[:3], alpha_ramp(17, 33).point(lambda v: v // 3)])
    for subsampling in (1, 2):
        data = encoded(cmyk, "JPEG", quality=80, subsampling=subsampling)
        start, end = segment(data, {0xEE})
        assert data[end - 1] == 0
        ycck = data[: end - 1] + b"\x02" + data[end:]
        for name, data in ((f"cmyk{subsampling}", data), (f"ycck{subsampling}", ycck)):
            good(f"jpeg_{name}.jpg", data, EXACT)
            split = with_scans("0;1 2;3;", data, "-copy", "all")
            good(f"jpeg_{name}_in_parts.jpg", split, EXACT)
    whole = program("cjpeg", "-quality", "75", given=given)
    start, _ = segment(whole, {0xC0})
    # What cannot be done is not called damaged.
    fine = program("cjpeg", "-quality", "75", "-sample", "1x1,2x2,2x2", given=given)
    bad("jpeg_chroma_finer_than_luma.jpg", fine, "unsupported_format")
    for name, at, value in (("12_bits", 4, 12), ("hierarchical", 1, 0xC5)):
        other = bytearray(whole)
        other[start + at] = value
        bad(f"jpeg_{name}.jpg", bytes(other), "unsupported_format")
    no_height = bytearray(whole)
    no_height[start + 5 : start + 7] = b"\0\0"
    bad("jpeg_height_behind.jpg", bytes(no_height), "unsupported_format")
    # A header that claims what the file is far too short for.
    large = bytearray(whole)
    large[start + 5 : start + 9] = struct.pack(">HH", 9_000, 12_000)
    bad("jpeg_hollow.jpg", bytes(large), "truncated")


def exif_blocks():
    """The orientation 6 as any integer type, in both orders of bytes; Pillow leaves BYTE alone."""
    for order, magic in (("<", b"II*\0"), (">", b"MM\0*")):
        for kind, letter in ((3, "H"), (4, "I"), (9, "i")):
            value = struct.pack(order + letter, 6).ljust(4, b"\0")
            entry = struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, 1) + value
            yield f"{kind}{'le' if order == '<' else 'be'}", b"Exif\0\0" + magic + entry + b"\0" * 4


def containers_of_exif():
    base = smooth(9, 5)
    for name, block in exif_blocks():
        good(f"turned_{name}.jpg", encoded(base, "JPEG", quality=95, exif=block), EXACT)
        good(f"turned_{name}.png", encoded(base, "PNG", exif=block), EXACT)
        good(f"turned_{name}.webp", encoded(base, "WEBP", lossless=True, exif=block), EXACT)


def pnms():
    base = smooth(9, 5)
    pixels = numpy.asarray(base).astype(int)
    good("raw.ppm", encoded(base, "PPM"), EXACT)
    good("raw.pgm", encoded(base.convert("L"), "PPM"), EXACT)
    good("raw.pbm", encoded(base.convert("1"), "PPM"), EXACT)
    for greatest in (7, 100, 1000):
        levels = numpy.rint(pixels / 255 * greatest).astype(int)
        kind = ">u2" if greatest > 255 else "u1"
        header = f"P6\n# greatest {greatest}\n9 5\n{greatest}\n".encode()
        good(f"raw_{greatest}.ppm", header + levels.astype(kind).tobytes(), EXACT)
        text = "\n".join(" ".join(map(str, row.ravel())) for row in levels)
        good(f"text_{greatest}.ppm", f"P3 9 5 {greatest}\n{text}\n".encode(), EXACT)
    bits = (numpy.asarray(base.convert("1")) == 0).astype(int)
    text = "\n".join("".join(map(str, row)) for row in bits)
    good("text.pbm", f"P1\n#\n9 5\n{text}\n".encode(), EXACT)
    bad("truncated.ppm", encoded(base, "PPM")[:-1], "truncated")
    bad("bomb.ppm", b"P6 60000 60000 255\n" + b"\0" * 64, "too_large")


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


def tiffs():
    base = smooth(17, 9)
    rgba = base.copy()
    rgba.putalpha(alpha_ramp(17, 9))
    for name, picture in (
        ("palette", base.quantize(200)),
        ("palette_few", base.quantize(7)),
        ("rgb", base),
        ("grey", base.convert("L")),
        ("one_bit", base.convert("1")),
        ("cmyk", base.convert("CMYK")),
    ):
        good(f"tiff_{name}_zstd.tif", encoded(picture, "TIFF", compression="zstd"), EXACT)
        good(f"tiff_{name}_packbits.tif", encoded(picture, "TIFF", compression="packbits"), EXACT)
    good("tiff_alpha.tif", encoded(rgba, "TIFF", compression="tiff_lzw"), ROUNDED)
    good("tiff_zstd_predictor.tif", encoded(base, "TIFF", compression="zstd", tiffinfo={317: 2}), EXACT)
    good("tiff_big.tif", encoded(base, "TIFF", compression="tiff_adobe_deflate", big_tiff=True), EXACT)
    good("tiff_jpeg.tif", encoded(base, "TIFF", compression="jpeg", quality=80), EXACT)
    good("tiff_jpeg_grey.tif", encoded(base.convert("L"), "TIFF", compression="jpeg"), EXACT)
    pixels = numpy.asarray(base)
    tags = {256: (4, [17]), 257: (4, [9]), 258: (3, [8] * 3), 259: (3, [8]), 262: (3, [2]), 277: (3, [3])}
    planes = [zlib.compress(pixels[y : y + 4, :, c].tobytes()) for c in range(3) for y in (0, 4, 8)]
    planar = tags | {284: (3, [2]), 278: (3, [4])}
    good("tiff_planar.tif", tiff(planar, planes, order=">"), EXACT)
    padded = numpy.zeros((16, 32, 3), numpy.uint8)
    padded[:9, :17] = pixels
    tiles = [zlib.compress(padded[:, x : x + 16].tobytes()) for x in (0, 16)]
    good("tiff_tiles.tif", tiff(tags | {322: (3, [16]), 323: (3, [16])}, tiles, tiled=True), EXACT)
    # Four bits an index, and a palette of 16-bit levels.
    index = numpy.asarray(base.convert("L")) // 16
    index = numpy.pad(index, ((0, 0), (0, 1)))
    packed = (index[:, ::2] << 4 | index[:, 1::2]).astype(numpy.uint8).tobytes()
    levels = [(n * 7919 + c * 20_011) % 65_536 for c in range(3) for n in range(16)]
    tags = {256: (4, [17]), 257: (4, [9]), 258: (3, [4]), 259: (3, [1]), 262: (3, [3]), 320: (3, levels)}
    good("tiff_palette_4_bits.tif", tiff(tags, [packed]), EXACT)
    bad("tiff_float.tif", encoded(base.convert("F"), "TIFF"), "unsupported_format")
    bad("tiff_lzma.tif", encoded(base, "TIFF", compression="lzma"), "unsupported_format")
    data = bytearray(encoded(base, "TIFF", compression="zstd"))
    at = struct.unpack("<I", data[4:8])[0]
    for entry in range(at + 2, len(data) - 12, 12):
        if struct.unpack("<H", data[entry : entry + 2])[0] in (256, 257):
            data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, 60_000)
    bad("tiff_bomb.tif", bytes(data), "too_large")


def broken_webps():
    """Metadata that are announced and missing, or damaged, around a picture that is whole."""
    rgba = smooth().copy()
    rgba.putalpha(alpha_ramp())
    exif = oriented(1).tobytes()
    whole = encoded(rgba, "WEBP", quality=80, exif=exif, xmp=b"<x:xmpmeta/>", icc_profile=b"x" * 100)
    chunks, at = [], 12
    while at < len(whole):
        size = struct.unpack("<I", whole[at + 4 : at + 8])[0]
        chunks.append((whole[at : at + 4], whole[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2

    def file(parts):
        body = b"".join(n + struct.pack("<I", len(b)) + b + b"\0" * (len(b) % 2) for n, b in parts)
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body

    good("webp_metadata.webp", whole, LOSSY_WEBP)
    metadata = (b"EXIF", b"XMP ", b"ICCP")
    for left_out in (*[(name,) for name in metadata], metadata):
        name = "all" if len(left_out) > 1 else left_out[0].decode().strip().lower()
        parts = [part for part in chunks if part[0] not in left_out]
        good(f"webp_without_{name}.webp", file(parts), LOSSY_WEBP)
    good("webp_garbled_exif.webp", file([(n, b[::-1] if n == b"EXIF" else b) for n, b in chunks]), LOSSY_WEBP)


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


def bmp(header, data, between=b"", offset=None):
    """A bitmap put together by hand; its palette or masks stand between the header and the picture."""
    start = 14 + len(header) + len(between)
    place = start if offset is None else offset
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, place) + header + between + data


def bmp_header(bits, compression=0, colours=0, size=40, height=HEIGHT, behind=b""):
    header = struct.pack("<IiiHHIIiiII", size, WIDTH, height, 1, bits, compression, 0, 0, 0, colours, 0)
    return (header + behind).ljust(size, b"\0")


def bmp_rows(rows):
    """Rows from below, each of whole words."""
    return b"".join(row + b"\0" * (-len(row) % 4) for row in reversed(rows))


def bmps():
    """Every layout that Pillow reads: it writes three of them."""
    base = smooth()
    pixels = numpy.asarray(base).astype(numpy.uint32)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    rows24 = [row[:, ::-1].astype(numpy.uint8).tobytes() for row in pixels]
    good("bmp_core_24.bmp", bmp(struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24), bmp_rows(rows24)), EXACT)
    good("bmp_os2_24.bmp", bmp(bmp_header(24, size=64), bmp_rows(rows24)), EXACT)
    top_down = bmp(bmp_header(24, height=-HEIGHT), bmp_rows(rows24[::-1]))
    good("bmp_top_down.bmp", top_down, EXACT)
    good("bmp_without_file_header.dib", top_down[14:], EXACT)
    good("bmp_no_offset.bmp", bmp(bmp_header(24), bmp_rows(rows24), offset=0), EXACT)

    indexed = {bits: numpy.asarray(base.quantize(2**bits if bits < 8 else 200)) for bits in (1, 4, 8)}
    for bits, indices in indexed.items():
        palette = base.quantize(2**bits if bits < 8 else 200).getpalette()
        count = len(palette) // 3
        entries = [bytes(palette[3 * n : 3 * n + 3][::-1]) for n in range(count)]
        strings = ["".join(f"{index:0{bits}b}" for index in row) for row in indices]
        packed = [int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8)) for text in strings]
        quads = b"".join(entry + b"\0" for entry in entries)
        good(f"bmp_{bits}.bmp", bmp(bmp_header(bits, colours=count), bmp_rows(packed), quads), EXACT)
        triples = b"".join(entry for entry in entries).ljust(3 << bits, b"\0")
        core = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
        good(f"bmp_core_{bits}.bmp", bmp(core, bmp_rows(packed), triples), EXACT)
        # As if the palette were not there.
        forgetful = bmp(bmp_header(bits, colours=count), bmp_rows(packed), quads, offset=54)
        good(f"bmp_{bits}_forgetful.bmp", forgetful, EXACT)

        if bits > 1:
            whole = bmp(bmp_header(bits, {8: 1, 4: 2}[bits], count), runs(indices, bits), quads)
            good(f"bmp_runs_{bits}.bmp", whole, EXACT)
            bad(f"bmp_runs_{bits}_truncated.bmp", whole[:-30], "truncated")

    fives = red >> 3 << 10 | green >> 3 << 5 | blue >> 3
    sixes = red >> 3 << 11 | green >> 2 << 5 | blue >> 3
    rows16 = lambda numbers: bmp_rows([row.astype("<u2").tobytes() for row in numbers])
    rows32 = lambda numbers: bmp_rows([row.astype("<u4").tobytes() for row in numbers])
    masks = lambda *numbers: struct.pack(f"<{len(numbers)}I", *numbers)
    good("bmp_16.bmp", bmp(bmp_header(16), rows16(fives)), EXACT)
    good("bmp_555.bmp", bmp(bmp_header(16, 3), rows16(fives), masks(0x7C00, 0x3E0, 0x1F)), EXACT)
    good("bmp_565.bmp", bmp(bmp_header(16, 3), rows16(sixes), masks(0xF800, 0x7E0, 0x1F)), EXACT)
    xrgb = red << 16 | green << 8 | blue
    alpha = numpy.asarray(alpha_ramp()).astype(numpy.uint32)
    good("bmp_32.bmp", bmp(bmp_header(32), rows32(xrgb | alpha << 24)), EXACT)
    orders = {
        "bgrx": ((16, 8, 0), None),
        "xbgr": ((24, 16, 8), None),
        "bgxr": ((24, 8, 0), None),
        "abgr": ((24, 16, 8), 0),
        "rgba": ((0, 8, 16), 24),
        "bgra": ((16, 8, 0), 24),
        "bgar": ((24, 8, 0), 16),
    }
    for name, (shifts, alpha_shift) in orders.items():
        numbers = red << shifts[0] | green << shifts[1] | blue << shifts[2]
        fields = [0xFF << shift for shift in shifts]
        if alpha_shift is None:
            fields.append(0)
        else:
            numbers = numbers | alpha << alpha_shift
            fields.append(0xFF << alpha_shift)
        header = bmp_header(32, 3, size=124 if alpha_shift else 56, behind=masks(*fields))
        good(f"bmp_{name}.bmp", bmp(header, rows32(numbers)), EXACT if alpha_shift is None else ROUNDED)
    header = bmp_header(32, 3, size=108)
    good("bmp_no_masks.bmp", bmp(header, rows32(xrgb | alpha << 24)), ROUNDED)

    jpeg = encoded(base, "JPEG")
    bad("bmp_jpeg.bmp", bmp(bmp_header(0, 4), jpeg), "unsupported_format")
    bad("bmp_png.bmp", bmp(bmp_header(0, 5), encoded(base, "PNG")), "unsupported_format")
    bad("bmp_os2_huffman.bmp", bmp(bmp_header(1, 3, size=64), bmp_rows(rows24)), "unsupported_format")
    bad("bmp_five_bits.bmp", bmp(bmp_header(5), bmp_rows(rows24)), "unsupported_format")
    bad("bmp_runs_of_24.bmp", bmp(bmp_header(24, 1), bmp_rows(rows24)), "unsupported_format")
    torn = masks(0xF0F000, 0xFF00, 0xFF, 0)
    bad("bmp_torn_mask.bmp", bmp(bmp_header(32, 3, size=56, behind=torn), rows32(xrgb)), "unsupported_format")


def runs(indices, bits):
    """Run lengths with every code there is: runs, indices as they are, a jump, the ends of rows and picture."""
    data = b""
    for y in reversed(range(len(indices))):
        row, x = [int(index) for index in indices[y]], 0
        if y == 4:
            data += b"\0\2\7\0"
            x = 7
        while x < WIDTH:
            same = x
            while same < WIDTH and row[same] == row[x]:
                same += 1
            if same - x >= 3 or WIDTH - x < 3:
                value = row[x] if bits == 8 else row[x] << 4 | row[x]
                data += bytes([same - x, value])
                x = same
            else:
                count = min(5, WIDTH - x)
                some = row[x : x + count]
                if bits == 4:
                    padded = some + [0] * (count % 2)
                    stored = bytes(a << 4 | b for a, b in zip(padded[::2], padded[1::2]))
                else:
                    stored = bytes(some)
                data += bytes([0, count]) + stored + b"\0" * (len(stored) % 2)
                x += count
        data += b"\0\0"
    return data + b"\0\1"


def gif(screen, place, indices, palette=None, local=None, control=b"", interlaced=False):
    """A GIF put together by hand, its codes as wide as can be and never learnt: they are cleared before that."""
    flags = lambda colours: 0 if colours is None else 0x80 | (len(colours) // 3).bit_length() - 2
    start = b"GIF89a" + struct.pack("<HHBBB", *screen, flags(palette), 0, 0) + (palette or b"")
    rows = list(range(len(indices)))
    if interlaced:
        rows = rows[0::8] + rows[4::8] + rows[2::4] + rows[1::2]
    bits = ""
    for count, index in enumerate(index for row in rows for index in indices[row]):
        if count % 60 == 0:
            bits = f"{64:07b}" + bits
        bits = f"{index:07b}" + bits
    bits = f"{65:07b}" + bits
    coded = int(bits, 2).to_bytes(-(-len(bits) // 8), "little")
    blocks = b"".join(bytes([len(coded[n : n + 255])]) + coded[n : n + 255] for n in range(0, len(coded), 255))
    image = b"," + struct.pack("<HHHHB", *place, flags(local) | (0x40 if interlaced else 0)) + (local or b"")
    return start + control + image + b"\x06" + blocks + b"\0;"


def gifs():
    indices = [[(3 * x + 5 * y) % 64 for x in range(9)] for y in range(7)]
    palette = bytes((n * 37 + 11) % 256 for n in range(64 * 3))
    other = bytes((n * 91 + 5) % 256 for n in range(64 * 3))
    good("gif_interlaced.gif", gif((9, 7), (0, 0, 9, 7), indices, palette, interlaced=True), EXACT)
    good("gif_local_palette.gif", gif((9, 7), (0, 0, 9, 7), indices, palette, local=other), EXACT)
    good("gif_no_palette.gif", gif((9, 7), (0, 0, 9, 7), indices), EXACT)
    good("gif_on_ground.gif", gif((14, 12), (2, 3, 9, 7), indices, palette), EXACT)
    control = b"!\xf9\x04\x01\0\0\x05\0"
    good("gif_on_nothing.gif", gif((14, 12), (2, 3, 9, 7), indices, palette, control=control), EXACT)
    good("gif_over_the_edge.gif", gif((5, 4), (2, 3, 9, 7), indices, palette), EXACT)
    good("gif_no_screen.gif", gif((0, 0), (0, 0, 9, 7), indices, palette), EXACT)
    bad("gif_no_picture.gif", b"GIF89a" + struct.pack("<HHBBB", 9, 7, 0x85, 0, 0) + palette + b";", "truncated")


def kinds_of_png():
    """Depths, interlacing and animation, put together by hand."""
    base = smooth()
    grey = numpy.asarray(base.convert("L"))
    end = png_chunk(b"IEND", b"")
    mark = b"\x89PNG\r\n\x1a\n"

    def head(bits, kind, interlace=0, compression=0, size=(WIDTH, HEIGHT)):
        return png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, kind, compression, 0, interlace))

    def packed(rows, bits):
        lines = ["".join(f"{n:0{bits}b}" for n in row) for row in rows]
        return b"".join(b"\0" + int(t.ljust(-(-len(t) // 8) * 8, "0"), 2).to_bytes(-(-len(t) // 8)) for t in lines)

    def data(raw, name=b"IDAT"):
        return png_chunk(name, zlib.compress(raw))

    for bits in (1, 2, 4):
        body = head(bits, 0) + data(packed(grey >> 8 - bits, bits)) + end
        good(f"png_grey_{bits}.png", mark + body, EXACT)
        palette = png_chunk(b"PLTE", bytes((n * 53 + 7) % 256 for n in range(3 << bits)))
        good(f"png_palette_{bits}.png", mark + head(bits, 3) + palette + data(packed(grey >> 8 - bits, bits)) + end, EXACT)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    pixels = numpy.asarray(base)
    raw = b""
    for x, y, dx, dy in passes:
        part = pixels[y::dy, x::dx]
        raw += b"".join(b"\0" + row.tobytes() for row in part if part.size)
    good("png_interlaced.png", mark + head(8, 2, interlace=1) + data(raw) + end, EXACT)
    plain = b"".join(b"\0" + row.tobytes() for row in pixels)
    exif = png_chunk(b"eXIf", oriented(6).tobytes()[6:])
    good("png_exif_behind.png", mark + head(8, 2) + data(plain) + exif + end, EXACT)

    frames = [smooth(phase=p) for p in (1.0, 2.0)]
    moving = encoded(base, "PNG", save_all=True, append_images=frames)
    good("animated.png", moving, EXACT)
    moving = encoded(base, "PNG", save_all=True, append_images=frames, default_image=True)
    good("animated_behind_default.png", moving, EXACT)

    bad("png_for_iphones.png", mark + png_chunk(b"CgBI", b"\x50\0\x20\x06") + head(8, 6) + data(b"") + end, "unsupported_format")
    bad("png_compression_1.png", mark + head(8, 2, compression=1) + data(plain) + end, "unsupported_format")
    bad("png_interlace_2.png", mark + head(8, 2, interlace=2) + data(plain) + end, "unsupported_format")
    bad("png_three_bits.png", mark + head(3, 0) + data(plain) + end, "corrupt")
    bad("png_giant_width.png", mark + head(16, 6, size=(2**31 - 1, 1)) + data(b"") + end, "too_large")
    bad("png_giant_height.png", mark + head(1, 0, size=(1, 2**31 - 1)) + data(b"") + end, "too_large")


def odd_tiffs():
    """Depths and colours that Pillow reads, and what is named because it is not read."""
    base = smooth(17, 9)
    pixels, grey = numpy.asarray(base), numpy.asarray(base.convert("L"))
    size = {256: (4, [17]), 257: (4, [9]), 259: (3, [1])}
    for order in "<>":
        deep = pixels.astype(order + "u2") * 257
        tags = size | {258: (3, [16] * 3), 262: (3, [2]), 277: (3, [3])}
        good(f"tiff_rgb16_{'le' if order == '<' else 'be'}.tif", tiff(tags, [deep.tobytes()], order=order), ROUNDED)
    for bits in (2, 4):
        rows = grey >> 8 - bits
        lines = ["".join(f"{n:0{bits}b}" for n in row) for row in rows]
        packed = b"".join(int(t.ljust(-(-len(t) // 8) * 8, "0"), 2).to_bytes(-(-len(t) // 8)) for t in lines)
        for name, photometric in (("grey", 1), ("white_is_nought", 0)):
            tags = size | {258: (3, [bits]), 262: (3, [photometric])}
            good(f"tiff_{name}_{bits}.tif", tiff(tags, [packed]), EXACT)
    backwards = bytes(int(f"{n:08b}"[::-1], 2) for n in grey.tobytes())
    good("tiff_fill_order.tif", tiff(size | {258: (3, [8]), 262: (3, [1]), 266: (3, [2])}, [backwards]), EXACT)

    raw = pixels.tobytes()
    rgb = size | {258: (3, [8] * 3), 262: (3, [2]), 277: (3, [3])}
    for name, change in (
        ("old_jpeg", {259: (3, [6])}),
        ("fax", {259: (3, [4]), 258: (3, [1]), 262: (3, [1]), 277: (3, [1])}),
        ("lab", {262: (3, [8])}),
        ("ycbcr", {262: (3, [6])}),
        ("12_bits", {258: (3, [12] * 3)}),
        ("32_bits", {258: (3, [32] * 3)}),
        ("565", {258: (3, [5, 6, 5])}),
        ("signed", {339: (3, [2] * 3)}),
        ("complex", {339: (3, [6] * 3), 258: (3, [64] * 3)}),
        ("jpeg_2000", {259: (3, [34_712])}),
        ("webp", {259: (3, [50_001])}),
        ("logluv", {262: (3, [32_845])}),
        ("predictor_3", {259: (3, [8]), 317: (3, [3])}),
        ("no_such_compression", {259: (3, [12_345])}),
    ):
        bad(f"tiff_{name}.tif", tiff(rgb | change, [raw]), "unsupported_format")
    for name, change in (("raw_sensor", {262: (3, [32_803])}), ("preview", {254: (4, [1]), 330: (4, [8])})):
        bad(f"tiff_{name}.tif", tiff(rgb | change, [raw]), "unsupported_format")


def scans():
    """A progressive JPEG that goes over 108 megapixels sixty times, and one that does so fifteen times: it is cut
    off, but not refused for its scans."""
    small = encoded(smooth(16, 16), "JPEG", progressive=True)
    start, end = segment(small, {0xC2})
    large = bytearray(small)
    large[start + 5 : start + 9] = struct.pack(">HH", 9_000, 12_000)
    last = large.rindex(b"\xff\xda")
    bad("jpeg_60_scans.jpg", bytes(large[:-2] + large[last:-2] * 50 + b"\xff\xd9"), "too_large")
    bad("jpeg_15_scans.jpg", bytes(large[:-2] + large[last:-2] * 5), "truncated")


def jpeg_ls():
    """Its scan holds what would be markers in other JPEGs."""
    frame = b"\xff\xf7\0\x0b\x08\0\x04\0\x04\x01\x01\x11\0"
    scan = b"\xff\xda\0\x08\x01\x01\0\0\0\0\x12\xff\x65\x34"
    bad("jpeg_ls.jpg", b"\xff\xd8" + frame + scan + b"\xff\xd9", "unsupported_format")


def mislabelled():
    base = smooth()
    good("really_png.jpg", encoded(base, "PNG"), EXACT)
    good("really_webp.png", encoded(base, "WEBP", lossless=True), EXACT)
    good("really_jpeg.webp", encoded(base, "JPEG", quality=95, subsampling=0), EXACT)
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
    kinds_of_jpeg()
    containers_of_exif()
    pngs()
    webps()
    broken_webps()
    pnms()
    tiffs()
    others()
    bmps()
    gifs()
    kinds_of_png()
    odd_tiffs()
    scans()
    jpeg_ls()
    mislabelled()
    expected.sort(key=lambda entry: entry["file"])
    lines = ",\n".join(json.dumps(entry) for entry in expected)
    (OUT / "expected.json").write_text(f"[\n{lines}\n]\n")
    total = sum(f.stat().st_size for f in OUT.iterdir())
    print(f"{len(expected)} pictures, {math.ceil(total / 1024)} KiB")


if __name__ == "__main__":
    main()

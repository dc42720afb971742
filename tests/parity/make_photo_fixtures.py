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

import json
import math
import struct
import subprocess
import tempfile
import zlib

import numpy
from odd_pictures import odd_pictures
from PIL import Image
from photo_fixtures import (
    EXACT,
    HEIGHT,
    LOSSY_WEBP,
    OUT,
    ROUNDED,
    WIDTH,
    alpha_ramp,
    bad,
    busy,
    encoded,
    expected,
    good,
    oriented,
    png_chunk,
    segment,
    smooth,
    tiff,
)


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
    odd_pictures()
    mislabelled()
    expected.sort(key=lambda entry: entry["file"])
    lines = ",\n".join(json.dumps(entry) for entry in expected)
    (OUT / "expected.json").write_text(f"[\n{lines}\n]\n")
    total = sum(f.stat().st_size for f in OUT.iterdir())
    print(f"{len(expected)} pictures, {math.ceil(total / 1024)} KiB")


if __name__ == "__main__":
    main()

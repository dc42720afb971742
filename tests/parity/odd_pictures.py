"""Layouts that Pillow reads and seldom writes, put together by hand, and their neighbours that are only named:
`make_photo_fixtures.py` writes them with the others."""

import struct
import zlib

import numpy
from photo_fixtures import (
    EXACT,
    HEIGHT,
    ROUNDED,
    WIDTH,
    alpha_ramp,
    bad,
    encoded,
    good,
    oriented,
    png_chunk,
    segment,
    smooth,
    tiff,
)


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
        body = head(bits, 3) + palette + data(packed(grey >> 8 - bits, bits)) + end
        good(f"png_palette_{bits}.png", mark + body, EXACT)
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

    for_iphones = mark + png_chunk(b"CgBI", b"\x50\0\x20\x06") + head(8, 6) + data(b"") + end
    bad("png_for_iphones.png", for_iphones, "unsupported_format")
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


def odd_pictures():
    bmps()
    gifs()
    kinds_of_png()
    odd_tiffs()
    scans()
    jpeg_ls()

"""Masks: which classes win once scores are resized, and files of masks.

Writes networks/tests/fixtures/masks.rs, for networks/src/postprocess/segment.rs: sizes, and for each pixel the class with the largest score after
torch.nn.functional.interpolate(mode="bilinear", align_corners=False), as digits. Sizes are chosen so that no two
classes come closer than a millionth anywhere, where rounding could decide.

Writes photos/tests/fixtures/masks/*.png, for photos/src/mask.rs: 5×3 pixels whose numbers are 37 times their places,
as far as the bits go, as Pillow writes them.

Run from anywhere: python3 tests/parity/make_mask_goldens.py
Versions: see requirements.txt beside this file (Pillow, torch).
"""

import pathlib

import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "networks" / "tests" / "fixtures" / "masks.rs"
FILES = ROOT / "photos" / "tests" / "fixtures" / "masks"

# Places of the scores (rows, columns), classes, size of the photo (height, width): enlarged, shrunk, lines.
CASES = [
    ((5, 7), 3, (11, 20)),
    ((5, 7), 4, (3, 4)),
    ((6, 4), 5, (13, 4)),
    ((1, 6), 3, (4, 17)),
    ((4, 3), 6, (9, 31)),
    ((8, 9), 3, (8, 9)),
]


def scores(rows, columns, classes):
    row, column, of = torch.meshgrid(
        torch.arange(rows), torch.arange(columns), torch.arange(classes), indexing="ij"
    )
    number = (7 * row * (of + 1) + 3 * column * (of + 2) + 5 * of).double() * 0.3711
    return (number - number.floor()).permute(2, 0, 1)[None]


def write_files():
    FILES.mkdir(parents=True, exist_ok=True)
    for name, mode, bits in [
        ("palette", "P", 8),
        ("grey", "L", 8),
        ("palette2", "P", 2),
        ("palette4", "P", 4),
    ]:
        numbers = bytes(place * 37 % (1 << bits) for place in range(15))
        picture = Image.frombytes(mode, (5, 3), numbers)
        if mode == "P":
            picture.putpalette([255 - place // 3 for place in range(3 << bits)])
        picture.save(FILES / f"{name}.png", bits=bits)


def main():
    write_files()
    lines = ["["]
    for (rows, columns), classes, (height, width) in CASES:
        resized = torch.nn.functional.interpolate(
            scores(rows, columns, classes),
            size=(height, width),
            mode="bilinear",
            align_corners=False,
        )
        best = resized.topk(2, dim=1).values[0]
        assert (best[0] - best[1]).min() > 1e-6, (rows, columns, classes, height, width)
        digits = "".join(str(int(label)) for label in resized.argmax(1).flatten())
        lines.append(
            f'    (({rows}, {columns}, {classes}), ({height}, {width}), "{digits}"),'
        )
    lines.append("]")
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

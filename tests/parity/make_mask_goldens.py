"""Classes that win once scores are resized, for networks/src/postprocess/segment.rs.

Writes networks/tests/fixtures/masks.rs: sizes, and for each pixel the class with the largest score after
torch.nn.functional.interpolate(mode="bilinear", align_corners=False), as digits. Sizes are chosen so that no two
classes come closer than a millionth anywhere, where rounding could decide.

Run from anywhere: python3 tests/parity/make_mask_goldens.py
Versions: see requirements.txt beside this file (torch).
"""

import pathlib

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "networks" / "tests" / "fixtures" / "masks.rs"

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


def main():
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

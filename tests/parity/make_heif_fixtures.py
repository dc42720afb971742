"""Writes photos/tests/heif: small HEIC and AVIF pictures, and what Pillow sees in them.

HEIC is written and read by pillow-heif, AVIF by Pillow itself. expected.json has one entry a picture:
{"file", "width", "height", "tolerance", "rgb"}, rgb hexadecimal and row by row, alpha composited over white.
`tolerance` is the greatest difference of a level allowed: what HEIC loses is the same in every decoder, but
AVIF's truth comes from another library, which makes other colours of fewer samples.

Versions: see requirements.txt beside this file.
"""

import json

import pillow_heif
from PIL import Image

from photo_fixtures import OUT, alpha_ramp, as_seen, encoded, smooth

FOLDER = OUT.parent / "heif"


def main():
    pillow_heif.register_heif_opener()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    base = smooth(40, 24)
    rgba = base.copy()
    rgba.putalpha(alpha_ramp(40, 24))
    turned = Image.Exif()
    turned[0x0112] = 6
    entries = []
    for kind, name in (("HEIF", "heic"), ("AVIF", "avif")):
        full = {"chroma": 444} if kind == "HEIF" else {"subsampling": "4:4:4"}
        for stem, picture, options in (
            ("plain", base, {}),
            ("full", base, full),
            ("alpha", rgba, full),
            ("turned", base, full | {"exif": turned.tobytes()}),
        ):
            data = encoded(picture, kind, quality=90, **options)
            (FOLDER / f"{stem}.{name}").write_bytes(data)
            rgb = as_seen(data)
            height, width = rgb.shape[:2]
            tolerance = 1 if kind == "HEIF" else 3 if options else 24
            entry = {"file": f"{stem}.{name}", "width": width, "height": height, "tolerance": tolerance}
            entries.append(entry | {"rgb": rgb.tobytes().hex()})
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (FOLDER / "expected.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(entries)} pictures")


if __name__ == "__main__":
    main()

"""What torchvision does to photos before a network sees them, for networks/tests/preprocess_torchvision.rs.

Writes networks/tests/fixtures/preprocess/:

* photo-*.webp: sources, lossless, so that both sides start from the same pixels. They are the
  sample photos (assets/photos), shrunk to odd sizes;
* case-*.webp: every pixel after torchvision's Resize + CenterCrop (or resized_crop + hflip) on PIL;
  of whole photos, as SemanticSegmentation resizes them, the SHA-256;
* cases.json: what was done to which source, some of the numbers after ToTensor + Normalize, and
  statistics of RandomResizedCrop.get_params.

Some sources are noise that both sides draw from SplitMix64 (a byte is the top one of a draw), for
shapes and contrasts that no photo has.

Run from anywhere: python3 tests/parity/make_preprocess_goldens.py
Versions: see requirements.txt beside this file (numpy, pillow, torch, torchvision).
"""

import hashlib
import json
import math
import pathlib

import numpy as np
import torch
from generator import next_u64
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as F
from torchvision.transforms._presets import SemanticSegmentation

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "assets" / "photos"
OUT = ROOT / "networks" / "tests" / "fixtures" / "preprocess"

MODES = {
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
HALF = ([0.5] * 3, [0.5] * 3)

# Photo, the size it is shrunk to (odd on purpose, wide, tall, square, as large as fits the budget).
SOURCES = {
    "animal": (131, 87),
    "fish": (97, 151),
    "monument": (83, 83),
    "tool": (149, 61),
    "windmill": (301, 199),
}
# A second photo of each class.
SECOND = {
    "animal": (77, 103),
    "fish": (119, 80),
    "monument": (59, 141),
    "tool": (107, 107),
    "windmill": (113, 75),
}

# Source, resize, crop, interpolation.
CASES = [
    # The presets' own sizes: up from small sources, down from the largest.
    ("photo-windmill-0", 256, 224, "bilinear"),  # enlarged: its shorter side is 199
    ("photo-monument-0", 256, 224, "bicubic"),
    ("photo-animal-0", 72, 64, "bilinear"),
    ("photo-animal-0", 72, 64, "bicubic"),
    ("photo-fish-0", 61, 61, "bilinear"),
    ("photo-fish-0", 110, 96, "bicubic"),
    ("photo-monument-0", 40, 35, "bilinear"),
    ("photo-monument-0", 83, 83, "bicubic"),  # nothing to resize
    ("photo-tool-0", 61, 40, "bilinear"),  # crop only
    ("photo-tool-0", 90, 72, "bicubic"),
    ("photo-tool-0", 33, 33, "bilinear"),
    ("photo-windmill-0", 72, 64, "bilinear"),
    ("photo-windmill-0", 73, 64, "bicubic"),  # an odd surplus: halves round to even
    ("photo-windmill-0", 20, 17, "bicubic"),
    ("photo-animal-1", 55, 48, "bilinear"),
    ("photo-animal-1", 96, 96, "bicubic"),
    ("photo-fish-1", 64, 96, "bilinear"),  # the crop is larger than the photo: black above, below
    ("photo-fish-1", 32, 61, "bicubic"),  # ... and all around, by an odd number
    ("photo-monument-1", 61, 61, "bicubic"),
    ("photo-monument-1", 51, 64, "bilinear"),
    ("photo-tool-1", 72, 64, "bilinear"),
    ("photo-tool-1", 106, 64, "bicubic"),  # one pixel less than the source
    ("photo-windmill-1", 48, 42, "bilinear"),
    ("photo-windmill-1", 120, 64, "bicubic"),
    # Noise: [width, height, seed, levels].
    ((1, 1, 1, 256), 9, 7, "bilinear"),
    ((1, 1, 1, 256), 5, 8, "bicubic"),
    ((1, 300, 2, 256), 16, 14, "bilinear"),
    ((1, 300, 2, 256), 16, 14, "bicubic"),
    ((300, 1, 3, 256), 16, 14, "bilinear"),
    ((300, 1, 3, 256), 16, 14, "bicubic"),
    ((7, 500, 4, 256), 32, 28, "bilinear"),
    ((7, 500, 4, 256), 3, 3, "bicubic"),
    ((65535, 1, 5, 256), 8, 7, "bicubic"),
    ((3, 65535, 6, 256), 2, 2, "bilinear"),
    # Black and white: the bicubic filter overshoots everywhere.
    ((64, 48, 7, 2), 56, 48, "bicubic"),
    ((64, 48, 7, 2), 29, 25, "bicubic"),
    ((61, 67, 8, 2), 29, 25, "bilinear"),
    # Too many pixels to store, so only their SHA-256 and the sampled numbers.
    ("photo-windmill-0", 512, 480, "bilinear"),
    ("photo-animal-0", 512, 480, "bicubic"),
    ("photo-fish-0", 256, 224, "bilinear"),
    ("photo-tool-1", 256, 224, "bicubic"),
]
# What torchvision's segmentation networks see: whole photos (no crop), of any aspect.
WHOLE = [
    ("photo-windmill-0", 520),
    ("photo-fish-0", 520),
    ("photo-tool-0", 73),
    ("photo-monument-1", 40),
    ((1, 1, 1, 256), 9),
    # The longest that a network is given at 520 pixels, and lines whose longer side is cut off to whole pixels.
    ((66, 520, 9, 256), 520),
    ((520, 66, 9, 256), 33),
    ((4095, 3, 10, 256), 2),
    ((3, 4001, 11, 256), 3),
    ((64, 48, 7, 2), 29),
]
# Cases this large and later in the list are stored as a hash.
HASHED_FROM = 37

# Source, box (left, top, width, height), flip, crop, interpolation: for resized_crop and hflip.
VIEWS = [
    ("photo-windmill-0", (40, 12, 181, 142), False, 64, "bilinear"),
    ("photo-windmill-0", (0, 0, 301, 199), True, 56, "bicubic"),
    ("photo-animal-0", (100, 60, 31, 27), True, 61, "bicubic"),
    ("photo-fish-0", (3, 90, 41, 33), False, 61, "bilinear"),
    ("photo-tool-0", (148, 60, 1, 1), True, 8, "bilinear"),
    ("photo-monument-1", (10, 20, 48, 48), True, 48, "bilinear"),
    ((64, 48, 7, 2), (5, 3, 31, 29), True, 24, "bicubic"),
    ((300, 1, 3, 256), (17, 0, 1, 1), False, 5, "bicubic"),
]

# Width, height, scale, ratio: for RandomResizedCrop.get_params.
DRAWS = [
    (500, 375, (0.08, 1.0), (3 / 4, 4 / 3)),
    (131, 87, (0.5, 1.0), (0.9, 1.1)),
    (400, 100, (0.08, 1.0), (3 / 4, 4 / 3)),
    (60, 400, (0.3, 1.0), (3 / 4, 4 / 3)),
]
DRAW_COUNT = 20_000


def noise(width, height, seed, levels):
    """A picture of `levels` evenly spread values drawn from SplitMix64."""
    byte = (next_u64(seed, width * height * 3) >> np.uint64(56)).astype(np.int64)
    value = byte * levels // 256 * (255 // (levels - 1))
    return Image.fromarray(value.astype(np.uint8).reshape(height, width, 3), "RGB")


def write_sources():
    sources = {}
    for number, sizes in enumerate([SOURCES, SECOND]):
        for name, size in sizes.items():
            photos = sorted((PHOTOS / name).iterdir())
            photo = Image.open(photos[number * 7]).convert("RGB")
            # Any resize will do here: the result is a source, not a golden.
            source = photo.resize(size, Image.Resampling.LANCZOS)
            sources[f"photo-{name}-{number}"] = source
            save(source, f"photo-{name}-{number}")
    return sources


def save(image, name):
    image.save(OUT / f"{name}.webp", lossless=True, quality=100, method=6, exact=True)


def samples(pixels, mean, std):
    """48 of the numbers a network gets, spread over all planes: pairs of [index, value]."""
    tensor = transforms.Normalize(mean, std)(transforms.ToTensor()(pixels)).flatten()
    indices = next_u64(tensor.numel(), 48) % np.uint64(tensor.numel())
    return [[int(i), float(tensor[int(i)])] for i in indices]


def describe(source):
    if isinstance(source, str):
        return {"file": f"{source}.webp"}
    width, height, seed, levels = source
    return {"noise": {"width": width, "height": height, "seed": seed, "levels": levels}}


def golden(number, kind, pixels, store):
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    if not store:
        return {"sha256": digest}
    name = f"{kind}-{number:02}"
    save(pixels, name)
    return {"file": f"{name}.webp"}


def statistics(values):
    return {"mean": float(np.mean(values)), "std": float(np.std(values))}


def draws(width, height, scale, ratio):
    image = Image.new("RGB", (width, height))
    boxes = np.array(
        [transforms.RandomResizedCrop.get_params(image, scale, ratio) for _ in range(DRAW_COUNT)],
        dtype=np.float64,
    )
    top, left, h, w = boxes.T
    return {
        "width": width,
        "height": height,
        "scale": scale,
        "ratio": ratio,
        "count": DRAW_COUNT,
        "area": statistics(h * w / (width * height)),
        "log_ratio": statistics(np.log(w / h)),
        "centre_x": statistics((left + w / 2) / width),
        "centre_y": statistics((top + h / 2) / height),
    }


def main():
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.glob("*.webp"):
        old.unlink()
    sources = write_sources()
    picture = lambda source: sources[source] if isinstance(source, str) else noise(*source)

    crops = []
    for number, (source, resize, crop, mode) in enumerate(CASES):
        mean, std = IMAGENET if mode == "bilinear" else HALF
        seen = transforms.Compose(
            [transforms.Resize(resize, MODES[mode]), transforms.CenterCrop(crop)]
        )(picture(source))
        preset = {"resize": resize, "crop": crop, "interpolation": mode, "mean": mean, "std": std}
        crops.append(
            {
                "source": describe(source),
                "preset": preset,
                "pixels": golden(number, "case", seen, number < HASHED_FROM),
                "samples": samples(seen, mean, std),
            }
        )

    mean, std = IMAGENET
    for source, resize in WHOLE:
        photo = picture(source)
        # The class resizes like this and then goes on to tensors; its numbers are compared, too.
        seen = F.resize(photo, [resize], MODES["bilinear"])
        numbers = SemanticSegmentation(resize_size=resize, mean=mean, std=std)(photo)
        assert torch.equal(
            numbers, transforms.Normalize(mean, std)(transforms.ToTensor()(seen))
        )
        crops.append(
            {
                "source": describe(source),
                "preset": {"resize": resize, "interpolation": "bilinear", "mean": mean, "std": std},
                "pixels": golden(None, "whole", seen, False),
                "samples": samples(seen, mean, std),
            }
        )

    views = []
    for number, (source, (left, top, width, height), flip, crop, mode) in enumerate(VIEWS):
        mean, std = IMAGENET if mode == "bilinear" else HALF
        seen = F.resized_crop(picture(source), top, left, height, width, [crop, crop], MODES[mode])
        if flip:
            seen = F.hflip(seen)
        views.append(
            {
                "source": describe(source),
                "preset": {
                    "resize": crop,
                    "crop": crop,
                    "interpolation": mode,
                    "mean": mean,
                    "std": std,
                },
                "area": {"left": left, "top": top, "width": width, "height": height},
                "flip": flip,
                "pixels": golden(number, "view", seen, True),
                "samples": samples(seen, mean, std),
            }
        )

    text = json.dumps({"crops": crops, "views": views, "draws": [draws(*d) for d in DRAWS]})
    (OUT / "cases.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

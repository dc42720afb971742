"""What torchvision's augmentations do to pictures, for networks/tests/augment_torchvision.rs.

Writes networks/tests/fixtures/augment.json:

* operations: torchvision.transforms.functional on PIL images with given parameters, as 16 digits of the SHA-256 of
  the result's pixels. Operations are written as Rekindle's `Operation` writes them;
* drawn: whole pipelines in the order of torchvision's reference preset (resized_crop, hflip, an operation of an
  automatic augmentation, then Normalize and erase): the same before Normalize, and numbers after erasing;
* draws: means and spreads of torchvision's own get_params, and shares of RandomPerspective's and RandomErasing's;
* automatic: the strengths that TrivialAugmentWide and RandAugment choose from.

Sources are the photos of networks/tests/fixtures/preprocess (make_preprocess_goldens.py makes them), and noise that
both sides draw from SplitMix64.

Run from anywhere: python3 tests/parity/make_augment_goldens.py
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
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "networks" / "tests" / "fixtures"

FILTERS = {"nearest": InterpolationMode.NEAREST, "bilinear": InterpolationMode.BILINEAR}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
DRAW_COUNT = 20_000

PHOTO = "photo-animal-0"  # 131 × 87
TALL = "photo-fish-0"  # 97 × 151
SQUARE = "photo-monument-0"  # 83 × 83
# Noise: [width, height, seed, levels].
NOISE = (61, 47, 21, 256)
TINY = [(1, 1, 22, 256), (1, 5, 23, 256), (2, 2, 24, 256), (3, 3, 25, 256), (4, 3, 26, 256)]
# Few colours, so that histograms have gaps; one colour and one more.
FLAT = [(24, 18, 27, 2), (16, 17, 28, 4)]
# So many colours that every case of the conversion to HSV and back occurs.
COLOURS = (256, 256, 29, 256)


def noise(width, height, seed, levels):
    """A picture of `levels` evenly spread values drawn from SplitMix64."""
    byte = (next_u64(seed, width * height * 3) >> np.uint64(56)).astype(np.int64)
    value = byte * levels // 256 * (255 // (levels - 1))
    return Image.fromarray(value.astype(np.uint8).reshape(height, width, 3), "RGB")


def picture(source):
    if isinstance(source, str):
        return Image.open(FIXTURES / "preprocess" / f"{source}.webp").convert("RGB")
    return noise(*source)


def describe(source):
    if isinstance(source, str):
        return {"file": f"{source}.webp"}
    width, height, seed, levels = source
    return {"noise": {"width": width, "height": height, "seed": seed, "levels": levels}}


def fill(name="bilinear", colour=(0, 0, 0)):
    return {"filter": name, "colour": list(colour)}


def affine(angle=0.0, translate=(0, 0), scale=1.0, shear=(0.0, 0.0), centre=None, filled=None):
    found = {
        "angle": angle,
        "translate": list(translate),
        "scale": scale,
        "shear": list(shear),
        "fill": filled or fill(),
    }
    return {"affine": found if centre is None else found | {"centre": centre}}


def perspective(start, end, filled):
    return {"perspective": {"from": start, "to": end, "fill": filled}}


def apply(image, operation):
    """torchvision's functional operation."""
    if isinstance(operation, str):
        return {
            "flip": F.hflip,
            "flip_vertical": F.vflip,
            "grey": lambda image: F.rgb_to_grayscale(image, 3),
            "invert": F.invert,
            "equalize": F.equalize,
            "auto_contrast": F.autocontrast,
        }[operation](image)
    ((name, value),) = operation.items()
    if name in ("brightness", "contrast", "saturation", "hue", "sharpness"):
        return getattr(F, f"adjust_{name}")(image, value)
    if name in ("posterize", "solarize"):
        return getattr(F, name)(image, value)
    if name == "erase":
        area = value["area"]
        array = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        colour = torch.tensor(value["colour"], dtype=torch.uint8)[:, None, None]
        place = (area["top"], area["left"], area["height"], area["width"])
        return Image.fromarray(F.erase(array, *place, colour).permute(1, 2, 0).numpy())
    how = {"interpolation": FILTERS[value["fill"]["filter"]], "fill": value["fill"]["colour"]}
    if name == "rotate":
        return F.rotate(image, value["angle"], **how)
    if name == "affine":
        if "centre" in value:
            how["center"] = value["centre"]
        return F.affine(
            image, value["angle"], value["translate"], value["scale"], value["shear"], **how
        )
    return F.perspective(image, value["from"], value["to"], **how)


def corners(image):
    right, bottom = image.width - 1, image.height - 1
    return [[0, 0], [right, 0], [right, bottom], [0, bottom]]


def operations():
    """Pairs of a source and what is done to it."""
    plain = ["flip", "flip_vertical", "grey", "invert", "equalize", "auto_contrast"]
    for source in [PHOTO, TALL, NOISE, *TINY, *FLAT]:
        yield from ((source, name) for name in plain)
    for factor in [0.0, 0.01, 0.3, 0.6, 0.99, 1.0, 1.03, 1.4, 1.99, 3.7]:
        for name in ["brightness", "contrast", "saturation", "sharpness"]:
            yield from ((source, {name: factor}) for source in [PHOTO, NOISE])
    for name in ["brightness", "contrast", "saturation", "sharpness"]:
        yield from ((source, {name: 1.7}) for source in [*TINY, *FLAT])
    for shift in [-0.5, -0.21, -0.003, 0.0, 0.004, 0.1, 0.33, 0.4999, 0.5]:
        yield from ((source, {"hue": shift}) for source in [PHOTO, COLOURS, FLAT[0]])
    for bits in range(1, 9):
        yield NOISE, {"posterize": bits}
    for threshold in [0.0, 0.5, 8.5, 127.5, 128.0, 254.5, 255.0, 256.0]:
        yield NOISE, {"solarize": threshold}

    looks = [fill("nearest"), fill(), fill("nearest", (7, 200, 31)), fill("bilinear", (124, 116, 104))]
    angles = [0.0, 3.5, -27.25, 45.0, 90.0, 135.0, 180.0, -180.0, 270.0, -90.0, 359.9, 400.0]
    for number, angle in enumerate(angles):
        for source in [PHOTO, SQUARE]:
            yield source, {"rotate": {"angle": angle, "fill": looks[number % 2]}}
            yield source, {"rotate": {"angle": angle, "fill": looks[3 - number % 2]}}
    for source in TINY:
        yield from ((source, {"rotate": {"angle": 33.0, "fill": look}}) for look in looks[:2])
    for look in looks:
        for source in [PHOTO, TALL]:
            yield source, affine(filled=look)
            yield source, affine(angle=12.5, filled=look)
            yield source, affine(translate=(17, -9), filled=look)
            yield source, affine(scale=0.61, filled=look)
            yield source, affine(scale=1.37, translate=(-3, 5), filled=look)
            yield source, affine(shear=(21.0, 0.0), filled=look)
            yield source, affine(shear=(-8.0, 13.5), angle=-40.0, scale=0.8, filled=look)
            for magnitude in [0.033, -0.99]:
                shear = math.degrees(math.atan(magnitude))
                yield source, affine(shear=(shear, 0.0), centre=[0.0, 0.0], filled=look)
                yield source, affine(shear=(0.0, shear), centre=[0.0, 0.0], filled=look)
        # So small that places no longer fit into 16 bits.
        yield PHOTO, affine(angle=30.0, scale=0.001, filled=look)
        yield NOISE, affine(angle=30.0, scale=5.0, filled=look)
        yield TINY[0], affine(angle=30.0, filled=look)
        yield TINY[4], affine(shear=(10.0, 5.0), filled=look)

    for number, source in enumerate([PHOTO, TALL, SQUARE, NOISE]):
        image = picture(source)
        torch.manual_seed(number)
        for distortion in [0.1, 0.3, 0.5, 1.0]:
            start, end = transforms.RandomPerspective.get_params(*image.size, distortion)
            for look in looks:
                yield source, perspective(start, end, look)
    for source in TINY[3:]:
        start = corners(picture(source))
        yield source, perspective(start, [[0, 0], start[1], start[2], [1, start[3][1]]], looks[3])

    erased = {"area": {"left": 5, "top": 9, "width": 40, "height": 3}, "colour": [124, 116, 104]}
    yield PHOTO, {"erase": erased}
    yield PHOTO, {"erase": erased | {"area": {"left": 0, "top": 0, "width": 131, "height": 87}}}


def digest(image):
    return hashlib.sha256(np.array(image).tobytes()).hexdigest()[:16]


def drawn():
    """Pipelines in the order of torchvision's references/classification/presets.py."""
    area = {"left": 11, "top": 7, "width": 70, "height": 62}
    erased = {"left": 12, "top": 20, "width": 17, "height": 9}
    middle = [
        [{"brightness": 1.3}, {"contrast": 0.7}, {"saturation": 1.4}, {"hue": -0.08}],
        [affine(shear=(math.degrees(math.atan(0.33)), 0.0), centre=[0.0, 0.0])],
        ["equalize"],
        [{"rotate": {"angle": -31.5, "fill": fill()}}, {"posterize": 4}],
    ]
    for number, between in enumerate(middle):
        crop, flip = 48, number % 2 == 0
        seen = F.resized_crop(
            picture(PHOTO), area["top"], area["left"], area["height"], area["width"], [crop, crop]
        )
        seen = F.hflip(seen) if flip else seen
        for operation in between:
            seen = apply(seen, operation)
        tensor = transforms.Normalize(MEAN, STD)(transforms.ToTensor()(seen))
        place = (erased["top"], erased["left"], erased["height"], erased["width"])
        tensor = F.erase(tensor, *place, torch.zeros(1, 1, 1))
        indices = next_u64(number, 60) % np.uint64(tensor.numel())
        colour = [round(255 * mean) for mean in MEAN]
        yield {
            "source": describe(PHOTO),
            "crop": crop,
            "drawn": {
                "view": {"cropped": {"area": area, "flip": flip}},
                "operations": between + [{"erase": {"area": erased, "colour": colour}}],
            },
            "before_erasing": digest(seen),
            "samples": [[int(i), float(tensor.flatten()[int(i)])] for i in indices],
        }


def statistics(columns):
    """Name, mean and spread of each."""
    return {
        name: {"mean": float(np.mean(values)), "std": float(np.std(values))}
        for name, values in columns.items()
    }


def draws():
    torch.manual_seed(7)
    width, height = 224, 160
    jitter = transforms.ColorJitter(0.4, (0.2, 1.1), 1.5, 0.1)
    made = [
        jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        for _ in range(DRAW_COUNT)
    ]
    names = ["brightness", "contrast", "saturation", "hue"]
    found = {name: [made[i][1 + at] for i in range(DRAW_COUNT)] for at, name in enumerate(names)}

    degrees = transforms.RandomRotation((-10, 35)).degrees
    found["angle"] = [transforms.RandomRotation.get_params(degrees) for _ in range(DRAW_COUNT)]

    turn = transforms.RandomAffine(20, (0.1, 0.25), (0.7, 1.2), (-5, 15, 0, 8))
    made = [
        turn.get_params(turn.degrees, turn.translate, turn.scale, turn.shear, [width, height])
        for _ in range(DRAW_COUNT)
    ]
    found["affine angle"] = [angle for angle, _, _, _ in made]
    found["right"] = [right for _, (right, _), _, _ in made]
    found["down"] = [down for _, (_, down), _, _ in made]
    found["scale"] = [scale for _, _, scale, _ in made]
    found["shear x"] = [shear[0] for _, _, _, shear in made]
    found["shear y"] = [shear[1] for _, _, _, shear in made]

    made = np.array(
        [
            transforms.RandomPerspective.get_params(width, height, 0.6)[1]
            for _ in range(DRAW_COUNT)
        ]
    )
    for corner in range(4):
        for axis, name in enumerate("xy"):
            found[f"corner {corner} {name}"] = made[:, corner, axis]

    image = torch.zeros(3, height, width)
    made = [
        transforms.RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4]
        for _ in range(DRAW_COUNT)
    ]
    top, left, high, wide = np.array(made, dtype=np.float64).T
    # Where nothing fits, all of the picture is replaced by itself.
    fits = (high < height) & (wide < width)
    found["erased area"] = (high * wide)[fits]
    found["erased ratio"] = np.log(high / wide)[fits]
    found["erased x"] = (left + wide / 2)[fits]
    found["erased y"] = (top + high / 2)[fits]
    return {
        "count": DRAW_COUNT,
        "width": width,
        "height": height,
        "statistics": statistics(found),
    }


def automatic():
    """Of each operation its strengths, and whether they come with both signs."""
    size = (160, 224)  # height, width
    spaces = {
        "trivial": transforms.TrivialAugmentWide()._augmentation_space(31),
        "rand": transforms.RandAugment()._augmentation_space(31, size),
    }
    return {
        name: {
            operation: {"strengths": strengths.double().flatten().tolist(), "signed": signed}
            for operation, (strengths, signed) in space.items()
        }
        for name, space in spaces.items()
    }


def main():
    cases = {}
    for source, operation in operations():
        after = digest(apply(picture(source), operation))
        cases.setdefault(source, []).append([operation, after])
    parts = {
        "operations": [
            {"source": describe(source), "cases": found} for source, found in cases.items()
        ],
        "drawn": list(drawn()),
        "draws": draws(),
        "automatic": automatic(),
    }
    (FIXTURES / "augment.json").write_text(json.dumps(parts, separators=(",", ":")) + "\n")
    print(f"{sum(map(len, cases.values()))} operations")


if __name__ == "__main__":
    main()

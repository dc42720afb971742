"""Writes tests/goldens/real.safetensors: the real weights of assets/ on the photos of assets/.

Photos go through torchvision's and timm's own evaluation transforms; the networks hold the f16
weights of assets/ and compute in float64, rounded to f32 at the end. Keys, in the photos' order of
the metadata:
    <architecture>/top5/index     [128, 5] i32
    <architecture>/top5/logit     [128, 5]
    <architecture>/features       [8, F]    pooled features of the photos in `feature_photos`
The metadata entry `golden` is a JSON object: `photos` (paths below assets/photos), `pixels` (the
SHA-256 of each photo's decoded RGB bytes, to tell a decoder's difference from a network's),
`feature_photos` and the versions.

It also prints how well a linear probe on the pooled features does (scikit-learn's
LogisticRegression, C = 1, stratified five-fold), for the real weights and for SqueezeNet 1.1 as
torchvision initialises it.

Versions: see requirements.txt beside this file.
"""

import hashlib
import json
import pathlib
import warnings

import numpy as np
import PIL.Image
import safetensors.numpy
import safetensors.torch
import sklearn
import timm
import timm.data
import torch
import torchvision
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from torch import nn

import generator

ASSETS = pathlib.Path(__file__).resolve().parents[2] / "assets"
FEATURE_PHOTOS = 8
SPLITS = 5


def lite0() -> tuple[nn.Module, object]:
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    config = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**config, is_training=False)
    return network, transform


def squeezenet() -> tuple[nn.Module, object]:
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1(weights=None)
    transform = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms()
    return network, transform


def load(network: nn.Module, architecture: str) -> None:
    state = safetensors.torch.load_file(ASSETS / "weights" / f"{architecture}.safetensors")
    network.load_state_dict({key: value.float() for key, value in state.items()}, strict=True)


@torch.inference_mode()
def answers(network: nn.Module, transform, photos: list) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [N, 1000] and pooled features [N, F] in float64, one photo at a time."""
    network = network.eval().double()
    logits, features = [], []
    for photo in photos:
        x = transform(photo).unsqueeze(0).double()
        if isinstance(network, torchvision.models.SqueezeNet):
            maps = network.features(x)
            logits.append(network.classifier(maps).flatten(1))
        else:
            maps = network.forward_features(x)
            logits.append(network.forward_head(maps))
        features.append(maps.mean(dim=(2, 3)))
    return torch.cat(logits), torch.cat(features)


def probe(features: torch.Tensor, labels: np.ndarray) -> str:
    """Five-fold accuracy of a linear probe, over ten shufflings."""
    accuracies = []
    for seed in range(10):
        folds = StratifiedKFold(SPLITS, shuffle=True, random_state=seed)
        model = LogisticRegression(C=1.0, max_iter=10_000, tol=1e-6)
        accuracies.append(cross_val_score(model, features.numpy(), labels, cv=folds).mean())
    low, high = min(accuracies), max(accuracies)
    return f"{accuracies[0]:.3f} | {np.mean(accuracies):.3f} | {low:.3f} to {high:.3f}"


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error", ConvergenceWarning)
    paths = sorted((ASSETS / "photos").glob("*/*.webp"))
    names = [path.relative_to(ASSETS / "photos").as_posix() for path in paths]
    photos = [PIL.Image.open(path).convert("RGB") for path in paths]
    labels = np.array([path.parent.name for path in paths])
    # Spread over the classes, so that one folder's likeness does not decide.
    chosen = [i * len(paths) // FEATURE_PHOTOS for i in range(FEATURE_PHOTOS)]

    tensors, accuracies = {}, {}
    for architecture, make in (("efficientnet_lite0", lite0), ("squeezenet1_1", squeezenet)):
        network, transform = make()
        print(f"{architecture}: {transform}")
        load(network, architecture)
        logits, features = answers(network, transform, photos)
        top = logits.topk(5, dim=1)
        gap = (top.values[:, 0] - top.values[:, 1]).min()
        print(f"{architecture}: smallest gap between the two best logits {gap:.4f}")
        tensors[f"{architecture}/top5/index"] = top.indices.to(torch.int32).numpy()
        tensors[f"{architecture}/top5/logit"] = top.values.float().numpy()
        tensors[f"{architecture}/features"] = features[chosen].float().numpy()
        accuracies[architecture] = probe(features, labels)

    network, transform = squeezenet()
    _, features = answers(network, transform, photos)
    accuracies["squeezenet1_1, random weights (torch seed 0)"] = probe(features, labels)

    note = {
        "photos": names,
        "pixels": [hashlib.sha256(np.asarray(photo).tobytes()).hexdigest() for photo in photos],
        "feature_photos": [names[i] for i in chosen],
        "versions": {
            "pillow": PIL.__version__,
            "timm": timm.__version__,
            "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0],
        },
    }
    path = generator.GOLDENS / "real.safetensors"
    safetensors.numpy.save_file(
        {key: np.ascontiguousarray(value) for key, value in tensors.items()},
        path,
        metadata={"golden": json.dumps(note, sort_keys=True)},
    )
    path.chmod(0o644)  # the writer makes it private

    print(f"{len(paths)} photos -> {path.name}, {path.stat().st_size:,} bytes")
    print(f"\nscikit-learn {sklearn.__version__}")
    print("| backbone | seed 0 | mean of ten shufflings | range |\n|---|---|---|---|")
    for name, line in accuracies.items():
        print(f"| {name} | {line} |")


if __name__ == "__main__":
    main()

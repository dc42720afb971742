"""Opens a Rekindle model file in PyTorch and answers for photos.

    python3 tests/parity/check_model_file.py runs/…/model.safetensors photo.jpg …
    python3 tests/parity/check_model_file.py model.safetensors --compare predictions.jsonl

The network is built by torchvision (or timm) from what the file says of itself and filled with
`load_state_dict(strict=True)`; nothing of Rekindle takes part. Every photo gives one line of JSON:
`path`, `probabilities` and `logits`, in the order of the file's classes; of a network that segments
photos, `path` and `shares`, the share of the photo's pixels that each class wins.

`--compare` takes the lines that `rekindle predict --json` printed (and their photos, where none are
named): exit status 1 when a probability or a share differs by more than `--tolerance` or the best
class is another one, 2 when something cannot be read. A mask that a line names is compared pixel by
pixel: one pixel in a thousand may have another class.

A perceptron head replaces the network's last module by
`Sequential(BatchNorm1d, Linear, ReLU, BatchNorm1d, Dropout, Linear)`; in SqueezeNet it takes the
place of `classifier`, after `AdaptiveAvgPool2d(1), Flatten()`. SqueezeNet's linear head stays the
1x1 convolution before a ReLU that it is in torchvision: all its biases are lifted by one constant,
`head.lift`, so that the ReLU passes every value; the logits here have it subtracted again. MaxViT's
last layer has no bias in torchvision; where the file has one, a layer with a bias takes its place.

Versions: see requirements.txt beside this file.
"""

import argparse
import json
import os
import pathlib
import sys
from collections import OrderedDict
from collections.abc import Collection

import numpy as np
import PIL.Image
import PIL.ImageOps
import safetensors
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn
from torchvision import transforms

import dense

METADATA_KEY = "rekindle"
FORMAT = 1
INTERPOLATIONS = {
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
}


class Unusable(Exception):
    """A file that cannot be read or does not say what it must."""


# What a damaged or foreign file makes the readers raise; a mismatch in load_state_dict included.
UNREADABLE = (Unusable, OSError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError)


def read_card(path: pathlib.Path) -> dict:
    with safetensors.safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(METADATA_KEY)
    if text is None:
        raise Unusable(f"{path}: no '{METADATA_KEY}' metadata")
    card = json.loads(text)
    if card["format"] != FORMAT:
        raise Unusable(f"{path}: format {card['format']}, not {FORMAT}")
    return card


def arguments_of(card: dict, names: Collection[str]) -> dict:
    """What the network's builder must be told beside the number of classes."""
    architecture, size = card["architecture"], card["preset"].get("crop")
    if architecture in dense.SEGMENTATION:
        has_aux = any(name.startswith("aux_classifier.") for name in names)
        return {"aux_loss": has_aux, "weights_backbone": None}
    if architecture in ("googlenet", "inception_v3"):
        has_aux = any(name.startswith(("aux", "AuxLogits")) for name in names)
        return {"aux_logits": has_aux, "transform_input": False, "init_weights": False}
    if architecture.startswith("maxvit"):
        return {"input_size": (size, size)}
    if is_timm(architecture):
        cfg = timm.get_pretrained_cfg(timm_name(architecture))
        if cfg is None:
            raise Unusable(f"unknown architecture '{architecture}'")
        return {"img_size": size} if cfg.fixed_input_size else {}
    return {"image_size": size} if architecture.startswith("vit") else {}


def timm_name(architecture: str) -> str:
    """Rekindle calls timm's tf_efficientnet_lite0 efficientnet_lite0."""
    return f"tf_{architecture}" if architecture.startswith("efficientnet_lite") else architecture


def is_timm(architecture: str) -> bool:
    return architecture not in torchvision.models.list_models()


def build(card: dict, names: Collection[str]) -> nn.Module:
    """The network that the card and the tensors' names describe, unfilled, in evaluation mode."""
    architecture, classes = card["architecture"], len(card["classes"])
    arguments = arguments_of(card, names) | {"num_classes": classes}
    if is_timm(architecture):
        network = timm.create_model(timm_name(architecture), **arguments)
    else:
        network = torchvision.models.get_model(architecture, weights=None, **arguments)

    head = card["head"]
    if head["kind"] == "mlp":
        if architecture.startswith("squeezenet"):
            pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            width = network.classifier[1].in_channels
            network.classifier = nn.Sequential(*pool, *perceptron(width, head, classes))
        else:
            name = head_name(network)
            width = network.get_submodule(name).in_features
            network.set_submodule(name, nn.Sequential(*perceptron(width, head, classes)))
    elif head["kind"] not in ("linear", "original"):
        raise Unusable(f"unknown head '{head['kind']}'")
    elif architecture.startswith("maxvit") and f"{head_name(network)}.bias" in names:
        name = head_name(network)
        width = network.get_submodule(name).in_features
        network.set_submodule(name, nn.Linear(width, classes))
    channels = card.get("channels", "rgb")
    if channels in ("grey-mean", "grey-luminance"):
        see_one_channel(network)
    elif channels == "grey-adapter":
        network = Adapted(network)
    return network.eval()


def see_one_channel(network: nn.Module) -> None:
    """A first convolution of one channel takes the place of the network's own."""
    modules = network.named_modules()
    name, conv = next((n, m) for n, m in modules if isinstance(m, nn.Conv2d))
    grey = nn.Conv2d(
        1,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        bias=conv.bias is not None,
    )
    network.set_submodule(name, grey)


class Adapted(nn.Module):
    """A learnable convolution from one channel to three in front of a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.adapter = nn.ModuleDict({"map": nn.Conv2d(1, 3, kernel_size=1, bias=False)})
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(self.adapter["map"](x))

    def load_state_dict(self, state: dict[str, torch.Tensor], strict: bool = True) -> None:
        named = OrderedDict(state)
        self.adapter["map"].weight.data.copy_(named.pop("adapter.map.weight"))
        self.network.load_state_dict(named, strict=strict)


def fill(network: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """`load_state_dict(strict=True)`, with the version that PyTorch keeps beside the tensors and
    MNASNet refuses to do without."""
    named = OrderedDict((name, value.float()) for name, value in state.items())
    # Of the network as a whole only: batch norms of a known version ask for step counters too.
    named._metadata = OrderedDict({"": network.state_dict()._metadata[""]})
    network.load_state_dict(named, strict=True)


def head_name(network: nn.Module) -> str:
    """The last layer; in every network that has a linear one, it is the last of the linear ones."""
    return [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)][-1]


def perceptron(width: int, head: dict, classes: int) -> list[nn.Module]:
    hidden = head["hidden"]
    return [
        nn.BatchNorm1d(width),
        nn.Linear(width, hidden),
        nn.ReLU(),
        nn.BatchNorm1d(hidden),
        nn.Dropout(head["dropout"]),
        nn.Linear(hidden, classes),
    ]


def transform_of(preset: dict) -> transforms.Compose:
    crop = [transforms.CenterCrop(preset["crop"])] if preset.get("crop") else []
    grey = [transforms.Grayscale(num_output_channels=3)] if preset.get("grey") else []
    return transforms.Compose(
        [
            *grey,
            transforms.Resize(preset["resize"], INTERPOLATIONS[preset["interpolation"]]),
            *crop,
            transforms.ToTensor(),
            transforms.Normalize(preset["mean"], preset["std"]),
        ]
    )


def open_photo(path: str) -> PIL.Image.Image:
    """The photo upright, in RGB, over white where it is transparent."""
    try:
        with PIL.Image.open(path) as file:
            photo = PIL.ImageOps.exif_transpose(file)
            if photo.has_transparency_data:
                photo = photo.convert("RGBA")
                white = PIL.Image.new("RGBA", photo.size, "white")
                photo = PIL.Image.alpha_composite(white, photo)
            return photo.convert("RGB")
    except (OSError, ValueError) as error:
        raise Unusable(f"{path}: {error}") from error


def segments(card: dict) -> bool:
    return card.get("task") == "segment"


@torch.inference_mode()
def winners(network: nn.Module, card: dict, path: str) -> torch.Tensor:
    """The class of every pixel of the photo: logits are resized to it before the best is taken."""
    photo = open_photo(path)
    out = network(transform_of(card["preset"])(photo).unsqueeze(0))["out"]
    size = (photo.height, photo.width)
    out = nn.functional.interpolate(out, size, mode="bilinear", align_corners=False)
    return out.argmax(dim=1)[0]


@torch.inference_mode()
def answer(network: nn.Module, card: dict, path: str) -> dict:
    if segments(card):
        mask = winners(network, card, path)
        counts = mask.flatten().bincount(minlength=len(card["classes"]))
        shares = dict(zip(card["classes"], (counts / mask.numel()).tolist(), strict=True))
        return {"path": path, "shares": shares, "mask": mask}
    x = transform_of(card["preset"])(open_photo(path)).unsqueeze(0)
    if card.get("channels", "rgb") in ("grey-mean", "grey-luminance", "grey-adapter"):
        x = x[:, :1]
    logits = network(x)[0].double() - card["head"].get("lift", 0.0)
    return {
        "path": path,
        "probabilities": logits.softmax(dim=0).tolist(),
        "logits": logits.tolist(),
    }


def read_predictions(path: pathlib.Path) -> list[dict]:
    predictions = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        prediction = json.loads(line)
        if not (prediction.get("top") or prediction.get("shares")):
            raise Unusable(f"{path}:{number}: neither 'top' nor 'shares' in {line[:80]}")
        predictions.append(prediction)
    if not predictions:
        raise Unusable(f"{path}: no predictions")
    return predictions


def compare(answers: list[dict], predictions: list[dict], classes: list[str], limit: float) -> bool:
    """Whether all predictions agree; says what does not, and how far the worst is off."""
    said = {os.path.abspath(prediction["path"]): prediction for prediction in predictions}
    agree, worst, worst_logit = True, 0.0, 0.0

    def differ(path: str, what: str) -> None:
        nonlocal agree
        agree = False
        print(f"differs: {path}: {what}", file=sys.stderr)

    for expected in answers:
        path = expected["path"]
        prediction = said.pop(os.path.abspath(path), None)
        if prediction is None:
            differ(path, "not predicted")
            continue
        top = prediction["top"]
        best = max(range(len(classes)), key=lambda i: expected["probabilities"][i])
        if top[0]["index"] != best:
            differ(path, f"best class {top[0]['class']}, PyTorch says {classes[best]}")
        for entry in top:
            index = entry["index"]
            if classes[index] != entry["class"]:
                differ(path, f"class {index} is {classes[index]}, not {entry['class']}")
            # Not `off > limit`: a NaN must fail.
            off = abs(entry["probability"] - expected["probabilities"][index])
            if not off <= limit:
                differ(path, f"probability of {entry['class']} off by {off:.2g}")
            worst = max(worst, off)
            worst_logit = max(worst_logit, abs(entry["logit"] - expected["logits"][index]))
    for path in said:
        differ(path, "predicted, but not among the photos")
    print(
        f"{len(answers)} photos: probabilities within {worst:.2g}, logits within {worst_logit:.2g}",
        file=sys.stderr,
    )
    return agree


OTHER_PIXELS = 1e-3


def compare_masks(answers: list[dict], predictions: list[dict], limit: float) -> bool:
    """The same of networks that segment photos."""
    said = {os.path.abspath(prediction["path"]): prediction for prediction in predictions}
    agree, worst, worst_mask = True, 0.0, 0.0
    for expected in answers:
        prediction = said.get(os.path.abspath(expected["path"]))
        if prediction is None:
            print(f"differs: {expected['path']}: not predicted", file=sys.stderr)
            agree = False
            continue
        shares = {entry["class"]: entry["share"] for entry in prediction["shares"]}
        off = max(abs(shares.get(name, 0.0) - share) for name, share in expected["shares"].items())
        other = 0.0
        if prediction.get("mask"):
            with PIL.Image.open(prediction["mask"]) as file:
                found = torch.from_numpy(np.array(file))
            # Not of one size: nothing agrees.
            same = found.shape == expected["mask"].shape
            other = float((found != expected["mask"]).double().mean()) if same else 1.0
        # Not `off > limit`: a NaN must fail.
        if not (off <= limit and other <= OTHER_PIXELS):
            agree = False
            print(
                f"differs: {expected['path']}: shares off by {off:.2g}, "
                f"{100 * other:.2g} % of the pixels have other classes",
                file=sys.stderr,
            )
        worst, worst_mask = max(worst, off), max(worst_mask, other)
    print(
        f"{len(answers)} photos: shares within {worst:.2g}, "
        f"{100 * worst_mask:.2g} % of a mask's pixels have other classes at most",
        file=sys.stderr,
    )
    return agree


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("photos", nargs="*")
    parser.add_argument("--compare", type=pathlib.Path, metavar="PREDICTIONS")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    arguments = parser.parse_args()
    if not arguments.photos and not arguments.compare:
        parser.error("name photos, or predictions to compare with")

    torch.set_num_threads(1)
    try:
        card = read_card(arguments.model)
        state = safetensors.torch.load_file(arguments.model)
        network = build(card, state.keys())
        fill(network, state)
        predictions = read_predictions(arguments.compare) if arguments.compare else []
        photos = arguments.photos or [prediction["path"] for prediction in predictions]
        answers = [answer(network, card, photo) for photo in photos]
    except UNREADABLE as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 2

    if not arguments.compare:
        for line in answers:
            line.pop("mask", None)
            print(json.dumps(line))
        return 0
    if segments(card):
        agree = compare_masks(answers, predictions, arguments.tolerance)
    else:
        agree = compare(answers, predictions, card["classes"], arguments.tolerance)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())

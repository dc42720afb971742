"""Takes torchvision's dense networks apart: those that answer for every place of a picture.

`parts(network, x)` gives the maps inside by the names that Rekindle's stages and taps have, and the
outputs by the names of Rekindle's outputs. That the maps lead to the outputs is proved here: what
follows from them is compared with what the network's own `forward` returns.

Versions: see requirements.txt beside this file.
"""

import functools
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.detection import FCOS
from torchvision.models.segmentation import LRASPP, DeepLabV3
from torchvision.models.segmentation.fcn import FCN


SEGMENTATION = [
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
]
DETECTION = ["fcos_resnet50_fpn"]
NETWORKS = SEGMENTATION + DETECTION

# The levels of the feature pyramid as papers name them, and as torchvision does.
LEVELS = {"p3": "0", "p4": "1", "p5": "2", "p6": "p6", "p7": "p7"}


class Parts(NamedTuple):
    """Maps inside a network, and what it puts out."""

    inner: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]


def arguments_of(architecture: str) -> dict:
    """What the builder must be told: nothing is to be downloaded, and auxiliary classifiers are
    built where there are any."""
    has_auxiliary = architecture in SEGMENTATION and not architecture.startswith("lraspp")
    auxiliary = {"aux_loss": True} if has_auxiliary else {}
    return {"weights_backbone": None} | auxiliary


def sizes_of(architecture: str) -> dict[str, tuple[int, int]]:
    """Two small sizes, and for DeepLab a wide one: its kernels reach 36 places to either side, so
    that a map needs 37 columns for each of them to meet something but zeros."""
    if architecture in DETECTION:
        # So large that the last level has more than one place.
        return {"default": (160, 224), "odd": (137, 105)}
    sizes = {"default": (96, 128), "odd": (97, 81)}
    if architecture.startswith("deeplabv3"):
        stride = 16 if "mobilenet" in architecture else 8
        sizes["wide"] = (stride + 1, 37 * stride + 1)
    return sizes


def scale_of(architecture: str) -> float:
    """What the generated input is multiplied by. MobileNet's gates halve what they see again and
    again, until the norms' constants outweigh it; then every picture has the same answer."""
    return 16.0 if "mobilenet" in architecture else 1.0


@functools.singledispatch
def parts(network: nn.Module, x: torch.Tensor) -> Parts:
    raise TypeError(f"no parts for {type(network).__module__}.{type(network).__name__}")


def through(body: nn.ModuleDict, x: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict]:
    """The maps of all stages of a backbone, and of every child of torchvision's."""
    children = {}
    for name, layer in body.items():
        x = layer(x)
        children[name] = x.clone()  # the next layer may overwrite its input
    if "conv1" in body:
        names = {"stem": "maxpool"} | {f"layer{i}": f"layer{i}" for i in range(1, 5)}
    else:
        # `_is_cn` is torchvision's mark for a block that had a stride above 1 before dilation.
        cuts = [int(name) for name, block in body.items() if getattr(block, "_is_cn", False)]
        ends = [cut - 1 for cut in cuts] + [len(body) - 2]
        names = {"stem": "0"}
        names |= {f"stage{i}": str(end) for i, end in enumerate(ends, start=1)}
        names["conv_head"] = str(len(body) - 1)
    return {stage: children[name] for stage, name in names.items()}, children


def resized(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


@parts.register(FCN)
@parts.register(DeepLabV3)
def segmentation(network: FCN | DeepLabV3, x: torch.Tensor) -> Parts:
    inner, children = through(network.backbone, x)
    seen = {new: children[name] for name, new in network.backbone.return_layers.items()}
    inner["classifier"] = network.classifier(seen["out"])
    found = {
        "out": resized(inner["classifier"], x),
        "aux": resized(network.aux_classifier(seen["aux"]), x),
    }
    return Parts(inner, checked(found, network(x)))


@parts.register
def lraspp(network: LRASPP, x: torch.Tensor) -> Parts:
    inner, children = through(network.backbone, x)
    seen = {new: children[name] for name, new in network.backbone.return_layers.items()}
    inner["classifier"] = network.classifier(seen)
    return Parts(inner, checked({"out": resized(inner["classifier"], x)}, network(x)))


@parts.register
def fcos(network: FCOS, x: torch.Tensor) -> Parts:
    """The heads' maps on every level, before torchvision lays them side by side."""
    inner, _ = through(network.backbone.body, x)
    pyramid = network.backbone(x)
    assert list(pyramid) == list(LEVELS.values())
    classify, regress = network.head.classification_head, network.head.regression_head
    outputs = {}
    for level, name in LEVELS.items():
        inner[level] = pyramid[name]
        outputs[f"cls_logits.{level}"] = classify.cls_logits(classify.conv(pyramid[name]))
        boxes = regress.conv(pyramid[name])
        outputs[f"bbox_regression.{level}"] = regress.bbox_reg(boxes).relu()
        outputs[f"bbox_ctrness.{level}"] = regress.bbox_ctrness(boxes)

    def side_by_side(output: str) -> torch.Tensor:
        maps = [outputs[f"{output}.{level}"] for level in LEVELS]
        return torch.cat([each.flatten(2).transpose(1, 2) for each in maps], dim=1)

    own = network.head(list(pyramid.values()))
    checked({output: side_by_side(output) for output in own}, own)
    return Parts(inner, outputs)


def checked(
    found: dict[str, torch.Tensor], own: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """What was found, which must be what the network itself answers."""
    assert found.keys() == own.keys()
    for name, value in own.items():
        torch.testing.assert_close(found[name], value)
    return found

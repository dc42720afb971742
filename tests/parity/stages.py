"""Takes torchvision's and timm's networks apart into Rekindle's stages.

`stages(network, x)` runs a network stage by stage. What a stage is called and where it ends is a
matter of the family, one function each (`@plan.register`); a stage's output is a map [N, C, H, W],
tokens [N, T, C] or flat [N, F]. That the stages are the network is for the caller to prove, by
comparing the logits with those of the network's own `forward`.

Versions: see requirements.txt beside this file.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import timm
import torch
from torch import nn
from torchvision import models

Step = Callable[[torch.Tensor], torch.Tensor]


class Plan(NamedTuple):
    """A network as its stages, and what turns the last one's output into features and logits."""

    steps: list[tuple[str, Step]]
    pool: Step
    head: Step


def stages(
    network: nn.Module, x: torch.Tensor
) -> tuple[list[tuple[str, torch.Tensor]], torch.Tensor, torch.Tensor]:
    """The output of every stage in order, the pooled features and the logits."""
    steps, pool, head = plan(network)
    outputs = []
    for name, step in steps:
        x = step(x)
        outputs.append((name, x.clone()))  # the next stage may overwrite its input
    return outputs, pool(x), head(x)


@functools.singledispatch
def plan(network: nn.Module) -> Plan:
    raise TypeError(f"no stages for {type(network).__module__}.{type(network).__name__}")


def average(x: torch.Tensor) -> torch.Tensor:
    return x.mean(dim=(2, 3))


def unchanged(x: torch.Tensor) -> torch.Tensor:
    return x


def class_token(x: torch.Tensor) -> torch.Tensor:
    return x[:, 0]


def pooled(steps: list[tuple[str, Step]], pool: Step, classifier: Step) -> Plan:
    """The usual end: the classifier sees the features."""
    return Plan(steps, pool, lambda x: classifier(pool(x)))


def children(network: nn.Module, *names: str) -> nn.Sequential:
    return nn.Sequential(*(network.get_submodule(name) for name in names))


def in_pieces(layers: Iterable[nn.Module], ends: list[int]) -> list[nn.Sequential]:
    """The layers cut after those whose numbers are given, and what is left over."""
    layers = list(layers)
    cuts = [0, *(end + 1 for end in ends), len(layers)]
    return [nn.Sequential(*layers[a:b]) for a, b in itertools.pairwise(cuts) if a < b]


def after_pools(layers: nn.Sequential) -> list[nn.Sequential]:
    ends = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    return in_pieces(layers, ends)


def numbered(name: str, pieces: Iterable[Step], start: int = 1) -> list[tuple[str, Step]]:
    return [(f"{name}{i}", piece) for i, piece in enumerate(pieces, start)]


@plan.register(models.AlexNet)
@plan.register(models.VGG)
def classifier_of_three_layers(network: models.AlexNet | models.VGG) -> Plan:
    hidden = nn.Sequential(network.avgpool, nn.Flatten(1), *network.classifier[:-1])
    steps = [*numbered("block", after_pools(network.features)), ("classifier", hidden)]
    return pooled(steps, unchanged, network.classifier[-1])


@plan.register
def squeezenet(network: models.SqueezeNet) -> Plan:
    stem, *rest = after_pools(network.features)
    steps = [("stem", stem), *numbered("stage", rest)]
    return Plan(steps, average, lambda x: network.classifier(x).flatten(1))


@plan.register
def resnet(network: models.ResNet) -> Plan:
    steps = [("stem", children(network, "conv1", "bn1", "relu", "maxpool"))]
    steps += [(name, getattr(network, name)) for name in ("layer1", "layer2", "layer3", "layer4")]
    return pooled(steps, average, network.fc)


@plan.register
def densenet(network: models.DenseNet) -> Plan:
    features = network.features
    steps = [
        ("stem", children(features, "conv0", "norm0", "relu0", "pool0")),
        ("denseblock1", features.denseblock1),
        ("denseblock2", children(features, "transition1", "denseblock2")),
        ("denseblock3", children(features, "transition2", "denseblock3")),
    ]
    last = children(features, "transition3", "denseblock4", "norm5")
    steps.append(("denseblock4", lambda x: last(x).relu()))
    return pooled(steps, average, network.classifier)


@plan.register
def googlenet(network: models.GoogLeNet) -> Plan:
    groups = {
        "stem": ("conv1", "maxpool1", "conv2", "conv3", "maxpool2"),
        "inception3": ("inception3a", "inception3b", "maxpool3"),
        "inception4": (*(f"inception4{letter}" for letter in "abcde"), "maxpool4"),
        "inception5": ("inception5a", "inception5b"),
    }
    steps = [(name, children(network, *group)) for name, group in groups.items()]
    return pooled(steps, average, network.fc)


@plan.register
def inception(network: models.Inception3) -> Plan:
    groups = {
        "stem": (
            *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"),
            *("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"),
        ),
        "mixed5": ("Mixed_5b", "Mixed_5c", "Mixed_5d"),
        "mixed6": tuple(f"Mixed_6{letter}" for letter in "abcde"),
        "mixed7": ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
    }
    steps = [(name, children(network, *group)) for name, group in groups.items()]
    return pooled(steps, average, network.fc)


@plan.register
def shufflenet(network: models.ShuffleNetV2) -> Plan:
    steps = [("stem", children(network, "conv1", "maxpool"))]
    steps += [(name, getattr(network, name)) for name in ("stage2", "stage3", "stage4", "conv5")]
    return pooled(steps, average, network.fc)


@plan.register
def mobilenet_v2(network: models.MobileNetV2) -> Plan:
    stem, *blocks, conv_head = network.features
    # Every row of the paper's table has a width of its own.
    rows = [nn.Sequential(*row) for _, row in itertools.groupby(blocks, lambda b: b.out_channels)]
    steps = [("stem", stem), *numbered("stage", rows), ("conv_head", conv_head)]
    return pooled(steps, average, network.classifier[1])


@plan.register
def mobilenet_v3(network: models.MobileNetV3) -> Plan:
    """A stage begins with every block that halves the map; the first block opens the first."""
    stem, *blocks, conv_head = network.features
    # `_is_cn` is torchvision's mark for a block with a stride above 1.
    ends = [i for i, following in enumerate(blocks[1:]) if following._is_cn]
    hidden = nn.Sequential(network.avgpool, nn.Flatten(1), *network.classifier[:-1])
    steps = [
        ("stem", stem),
        *numbered("stage", in_pieces(blocks, ends)),
        ("conv_head", conv_head),
        ("classifier", hidden),
    ]
    return pooled(steps, unchanged, network.classifier[-1])


@plan.register
def mnasnet(network: models.MNASNet) -> Plan:
    steps = [
        ("stem", network.layers[:8]),
        *numbered("stage", network.layers[8:14]),
        ("conv_head", network.layers[14:]),
    ]
    return pooled(steps, average, network.classifier[1])


@plan.register
def efficientnet(network: models.EfficientNet) -> Plan:
    stem, *blocks, conv_head = network.features
    steps = [("stem", stem), *numbered("stage", blocks), ("conv_head", conv_head)]
    return pooled(steps, average, network.classifier[1])


@plan.register
def regnet(network: models.RegNet) -> Plan:
    steps = [("stem", network.stem), *network.trunk_output.named_children()]
    return pooled(steps, average, network.fc)


@plan.register
def convnext(network: models.ConvNeXt) -> Plan:
    stem, *rest = network.features
    norm, flatten, linear = network.classifier
    steps = [
        ("stem", stem),
        *numbered("stage", in_pieces(rest, [0, 2, 4])),
        ("norm", nn.Sequential(network.avgpool, norm, flatten)),
    ]
    return pooled(steps, unchanged, linear)


@plan.register
def vision_transformer(network: models.VisionTransformer) -> Plan:
    def patch_embed(x: torch.Tensor) -> torch.Tensor:
        x = network._process_input(x)
        x = torch.cat([network.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        return x + network.encoder.pos_embedding

    steps = [
        ("patch_embed", patch_embed),
        *network.encoder.layers.named_children(),
        ("ln", network.encoder.ln),
    ]
    return pooled(steps, class_token, network.heads)


@plan.register
def swin(network: models.SwinTransformer) -> Plan:
    """The layers work on [N, H, W, C]."""

    def on_maps(layers: nn.Module) -> Step:
        return lambda x: layers(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    stem, *rest = network.features
    steps = [
        ("stem", lambda x: stem(x).permute(0, 3, 1, 2)),
        *numbered("stage", map(on_maps, in_pieces(rest, [0, 2, 4]))),
        ("norm", on_maps(network.norm)),
    ]
    return pooled(steps, average, network.head)


@plan.register
def maxvit(network: models.MaxVit) -> Plan:
    steps = [
        ("stem", network.stem),
        *numbered("block", network.blocks),
        ("classifier", network.classifier[:-1]),
    ]
    return pooled(steps, unchanged, network.classifier[-1])


@plan.register
def timm_efficientnet(network: timm.models.EfficientNet) -> Plan:
    steps = [
        ("stem", children(network, "conv_stem", "bn1")),
        *numbered("blocks.", network.blocks, start=0),
        ("conv_head", children(network, "conv_head", "bn2")),
    ]
    return pooled(steps, network.global_pool, network.classifier)


@plan.register
def timm_mobilenet(network: timm.models.MobileNetV3) -> Plan:
    """MobileNetV4, too; the last convolution comes after the pooling."""
    steps = [
        ("stem", children(network, "conv_stem", "bn1")),
        *numbered("blocks.", network.blocks, start=0),
        ("conv_head", lambda x: network.forward_head(x, pre_logits=True)),
    ]
    return pooled(steps, unchanged, network.classifier)


@plan.register
def timm_vision_transformer(network: timm.models.VisionTransformer) -> Plan:
    steps = [
        ("patch_embed", lambda x: network._pos_embed(network.patch_embed(x))),
        *numbered("blocks.", network.blocks, start=0),
        ("norm", network.norm),
    ]
    return pooled(steps, class_token, network.head)


@plan.register
def coatnet(network: timm.models.MaxxVit) -> Plan:
    steps = [
        ("stem", network.stem),
        *numbered("stages.", network.stages, start=0),
        ("norm", network.norm),
    ]
    return pooled(steps, lambda x: network.forward_head(x, pre_logits=True), network.head.fc)

"""Writes tests/goldens/<architecture>.safetensors: what torchvision and timm answer.

Every network is filled with generated weights (generator.py) and run on a generated input of batch
two. The truth is computed in float64 and stored rounded to f32, so that it holds no backend's
rounding; what float32 PyTorch itself loses against it is printed and stored beside it.

    python3 tests/parity/make_goldens.py              all architectures
    python3 tests/parity/make_goldens.py resnet18 ... some

Keys, `<H>x<W>` being the input size:
    <H>x<W>/logits         [2, 1000]
    <H>x<W>/features       [2, F]   pooled: global average of the map, or the class token
    <H>x<W>/stage/<stage>  [n]      n = min(numel, 1024) elements of the stage's output, flat index
                                    (i * numel) // n; maps are NCHW, tokens [N, T, C]
`vit_b_16` also has `interpolated/logits` and `interpolated/pos_embedding` (sampled like a stage):
the 224-pixel network's position embedding interpolated by torchvision to 96x96.
The safetensors metadata entry `golden` is a JSON object: versions and, for every size, each stage's
full shape, L2 norm in f64 and the relative L2 error of float32 PyTorch.

Versions: see requirements.txt beside this file.
"""

import argparse
import json
import math
import platform

import numpy as np
import safetensors.numpy
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import interpolate_embeddings

import generator

TORCHVISION_MAPS = [
    "squeezenet1_0",
    "squeezenet1_1",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
ARCHITECTURES = [*TORCHVISION_MAPS, "efficientnet_lite0", "vit_b_16"]
MAP_SIZES = [(224, 224), (97, 81)]
VIT_SIZES = [(224, 224), (96, 96)]
BATCH = 2
SAMPLES = 1024


def build(architecture: str, size: tuple[int, int]) -> nn.Module:
    """The reference network, filled with generated weights, in float32."""
    if architecture == "efficientnet_lite0":
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    elif architecture == "vit_b_16":
        network = torchvision.models.vit_b_16(weights=None, image_size=size[0])
    else:
        network = torchvision.models.get_model(architecture, weights=None)
    fill(network)
    return network.eval()


def fill(network: nn.Module) -> None:
    """Overwrites every tensor of the state_dict with the generated one of its name and shape."""
    state = network.state_dict()
    for name, value in state.items():
        values = generator.tensor(name, tuple(value.shape))
        if values is not None:
            state[name] = torch.from_numpy(values)
    network.load_state_dict(state, strict=True)


def generated_input(size: tuple[int, int]) -> torch.Tensor:
    return torch.from_numpy(generator.tensor("input", (BATCH, 3, *size)))


def run(architecture: str, network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """All stages in order, the pooled features and the logits.

    The stages are composed here from the network's children; the logits come from its own
    `forward`, and the two must agree, which proves that the stages are the network.
    """
    outputs = {}

    def stage(name: str, value: torch.Tensor) -> torch.Tensor:
        outputs[f"stage/{name}"] = value
        return value

    logits = network(x)
    if architecture.startswith("squeezenet"):
        layers = list(network.features)
        pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        ends = [*(i + 1 for i in pools), len(layers)]
        start = 0
        for i, end in enumerate(ends):
            y = stage("stem" if i == 0 else f"stage{i}", nn.Sequential(*layers[start:end])(x))
            x, start = y, end
        features = x.mean(dim=(2, 3))
        head = network.classifier(x).flatten(1)
    elif architecture == "efficientnet_lite0":
        x = stage("stem", network.bn1(network.conv_stem(x)))
        for i, block in enumerate(network.blocks):
            x = stage(f"blocks.{i}", block(x))
        x = stage("conv_head", network.bn2(network.conv_head(x)))
        features = network.global_pool(x)
        head = network.classifier(features)
    elif architecture == "vit_b_16":
        x = network._process_input(x)
        x = torch.cat([network.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = stage("patch_embed", x + network.encoder.pos_embedding)
        for name, layer in network.encoder.layers.named_children():
            x = stage(name, layer(x))
        x = stage("ln", network.encoder.ln(x))
        features = x[:, 0]
        head = network.heads(features)
    else:
        x = stage("stem", network.maxpool(network.relu(network.bn1(network.conv1(x)))))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = stage(name, getattr(network, name)(x))
        features = x.mean(dim=(2, 3))
        head = network.fc(features)

    torch.testing.assert_close(head, logits)
    outputs["features"] = features
    outputs["logits"] = logits
    return outputs


def sample(value: torch.Tensor) -> np.ndarray:
    """At most SAMPLES elements, evenly spread over the flat tensor, in f32."""
    flat = value.reshape(-1)
    n = min(flat.numel(), SAMPLES)
    index = torch.arange(n, dtype=torch.int64) * flat.numel() // n
    return flat[index].to(torch.float32).numpy()


def relative(value: torch.Tensor, truth: torch.Tensor) -> float:
    """Relative L2 error."""
    return float((value.double() - truth).norm() / truth.norm())


def report_of(single: dict, double: dict) -> dict:
    """Shapes, norms and float32 errors; also refuses a golden that could not catch a mistake."""
    report = {}
    for key, truth in double.items():
        if not torch.isfinite(truth).all() or truth.std() < 1e-2 or truth.abs().max() > 1e6:
            raise SystemExit(f"{key}: std {truth.std():.3g}, largest {truth.abs().max():.3g}")
        report[key] = {
            "shape": list(truth.shape),
            "norm": float(truth.norm()),
            "std": float(truth.std()),
            "zeros": float((truth == 0).double().mean()),
            # How far the two images of the batch lie apart: a golden in which they agree could
            # not tell one from the other.
            "spread": float((truth[0] - truth[1]).norm() / truth.norm() * math.sqrt(2)),
            "f32_error": relative(single[key], truth),
        }
    return report


@torch.inference_mode()
def golden(architecture: str) -> tuple[dict[str, np.ndarray], dict]:
    tensors, sizes = {}, {}
    for height, width in VIT_SIZES if architecture == "vit_b_16" else MAP_SIZES:
        prefix = f"{height}x{width}"
        x = generated_input((height, width))
        network = build(architecture, (height, width))
        single = run(architecture, network, x)
        double = run(architecture, network.double(), x.double())
        for key, value in double.items():
            whole = key in ("logits", "features")
            tensors[f"{prefix}/{key}"] = value.float().numpy() if whole else sample(value)
        sizes[prefix] = report_of(single, double)

    if architecture == "vit_b_16":
        outputs = []
        for dtype in (torch.float32, torch.float64):
            state = build(architecture, (224, 224)).to(dtype).state_dict()
            state = interpolate_embeddings(image_size=96, patch_size=16, model_state=state)
            network = torchvision.models.vit_b_16(weights=None, image_size=96).to(dtype).eval()
            network.load_state_dict(state, strict=True)
            logits = network(generated_input((96, 96)).to(dtype))
            position = network.encoder.pos_embedding.detach().expand(2, -1, -1)
            outputs.append({"logits": logits, "pos_embedding": position})
        single, double = outputs
        tensors["interpolated/logits"] = double["logits"].float().numpy()
        tensors["interpolated/pos_embedding"] = sample(double["pos_embedding"][:1])
        sizes["interpolated"] = report_of(single, double)
        sizes["interpolated"]["pos_embedding"]["shape"][0] = 1
    return tensors, sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("architectures", nargs="*", default=ARCHITECTURES)
    arguments = parser.parse_args()
    if unknown := set(arguments.architectures) - set(ARCHITECTURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")

    torch.set_num_threads(1)
    versions = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__.split("+")[0],
        "torchvision": torchvision.__version__.split("+")[0],
        "timm": timm.__version__,
    }
    print(
        "| architecture | input | logit std | features std | batch spread "
        "| f32 error: logits | worst stage |\n|---|---|---|---|---|---|---|"
    )
    for architecture in arguments.architectures:
        tensors, sizes = golden(architecture)
        note = {"architecture": architecture, "versions": versions, "sizes": sizes}
        path = generator.GOLDENS / f"{architecture}.safetensors"
        safetensors.numpy.save_file(
            {key: np.ascontiguousarray(value) for key, value in tensors.items()},
            path,
            metadata={"golden": json.dumps(note, sort_keys=True)},
        )
        path.chmod(0o644)  # the writer makes it private
        for size, report in sizes.items():
            logits = report["logits"]
            worst = max(report, key=lambda key: report[key]["f32_error"])
            features = report.get("features", report.get("pos_embedding"))
            print(
                f"| {architecture} | {size} | {logits['std']:.3g} | {features['std']:.3g} "
                f"| {logits['spread']:.2g} | {logits['f32_error']:.1e} "
                f"| {report[worst]['f32_error']:.1e} ({worst.removeprefix('stage/')}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()

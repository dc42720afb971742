"""Writes tests/goldens/init.json: how torchvision draws the weights of an untrained network.

    python3 tests/parity/make_init_goldens.py

One small member of every family is constructed afresh, its initialisation as it is in the original
paper's code or torchvision's (`init_weights=True`, auxiliary classifiers included). The file is a
JSON object, one network a line: parameter name -> {mean, std, min, max, numel}, the deviation being
that of the values themselves (divided by n). The numbers are one draw; another differs by what its
size allows.

Versions: see requirements.txt beside this file.
"""

import json

import torch
import torchvision

import dense
import generator

NETWORKS = [
    "alexnet",
    "vgg11",
    "vgg11_bn",
    "resnet18",
    "densenet121",
    "googlenet",
    "inception_v3",
    "squeezenet1_1",
    "shufflenet_v2_x0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "regnet_y_400mf",
    "regnet_x_400mf",
    "convnext_tiny",
    "vit_b_32",
    "swin_t",
    "swin_v2_t",
    "maxvit_t",
    "deeplabv3_mobilenet_v3_large",
    "fcos_resnet50_fpn",
]
SEED = 0


def statistics(values: torch.Tensor) -> dict[str, float]:
    wide = values.double()
    numbers = {
        "mean": wide.mean(),
        "std": wide.std(correction=0),
        "min": wide.min(),
        "max": wide.max(),
    }
    short = {name: float(f"{value:.6g}") for name, value in numbers.items()}
    return short | {"numel": values.numel()}


@torch.inference_mode()
def drawn(name: str) -> dict[str, dict[str, float]]:
    torch.manual_seed(SEED)
    arguments = {}
    if name in ("googlenet", "inception_v3"):
        arguments = {"aux_logits": True, "init_weights": True}
    if name in dense.NETWORKS:
        arguments = dense.arguments_of(name)
    network = torchvision.models.get_model(name, weights=None, **arguments)
    return {parameter: statistics(values) for parameter, values in network.named_parameters()}


def main() -> None:
    torch.set_num_threads(1)
    lines = []
    for name in NETWORKS:
        found = drawn(name)
        lines.append(f"{json.dumps(name)}: {json.dumps(found, separators=(',', ':'))}")
        print(f"{name}: {len(found)} parameters", flush=True)
    path = generator.GOLDENS / "init.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(lines)} networks -> {path.name}")


if __name__ == "__main__":
    main()

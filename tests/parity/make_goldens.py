"""Writes tests/goldens/<architecture>.safetensors: what torchvision and timm answer.

Every network is filled with generated weights (generator.py) and run on a generated input of batch
two. The truth is computed in float64 and stored rounded to f32, so that it holds no backend's
rounding; what float32 PyTorch itself loses against it is printed and stored beside it.

    python3 tests/parity/make_goldens.py              all architectures
    python3 tests/parity/make_goldens.py resnet18 ... some
    python3 tests/parity/make_goldens.py --list       which there are, and their input sizes
    python3 tests/parity/make_goldens.py --sizes odd --out DIR resnet18 ...

Keys, `<H>x<W>` being the input size:
    <H>x<W>/logits         [2, 1000]
    <H>x<W>/features       [2, F]   what the last layer sees: the global average of the map, the
                                    class token, or the output of a flat stage
    <H>x<W>/stage/<stage>  [n]      n = min(numel, 1024) elements of the stage's output, flat index
                                    (i * numel) // n; maps are NCHW, tokens [N, T, C],
                                    flat ones [N, F]
`vit_b_16` also has `interpolated/logits` and `interpolated/pos_embedding` (sampled like a stage):
the 224-pixel network's position embedding interpolated by torchvision to 96x96.
Dense networks (dense.py), which answer for every place, have no logits and features but
    <H>x<W>/stage/<name>   [n]      as above; stages and taps, the pyramid's levels among them
    <H>x<W>/output/<name>  [n]      sampled in the same way: `out` and `aux` of segmentation, and
                                    `cls_logits.p3` … of FCOS, as the convolutions give them
    <H>x<W>/winners        [2, H, W]  of segmentation, u8: the class whose `out` is greatest
and are asked about the generated input times the metadata's `input_scale`.
`googlenet` and `inception_v3` also have `branched/auxiliary.<n>` and `branched/transformed`: the
auxiliary classifiers' logits and the logits with `transform_input=True`, at the default size.
The safetensors metadata entry `golden` is a JSON object: versions, the call that made the reference
(library, model, and the arguments for every size) and, for every size, each stage's full shape, L2
norm in f64 and the relative L2 error of float32 PyTorch. What the stages are, stages.py says.

Versions: see requirements.txt beside this file.
"""

import argparse
import json
import math
import pathlib
import platform
import sys

import numpy as np
import safetensors.numpy
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import interpolate_embeddings

import dense
import generator
import stages

TIMM_FIXED_SIZE = [
    "coatnet_0_rw_224",
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "vit_small_patch32_224",
    "vit_base_patch16_224",
]
ARCHITECTURES = [
    *torchvision.models.list_models(module=torchvision.models),
    *(f"efficientnet_lite{i}" for i in range(5)),
    *TIMM_FIXED_SIZE,
    "mobilenetv4_conv_small",
    "mobilenetv4_conv_medium",
    *dense.NETWORKS,
]
SIZES = ("default", "odd", "wide")
BATCH = 2
SAMPLES = 1024


def source(architecture: str) -> tuple[str, str]:
    """The library that has the reference network, and its name there."""
    if architecture.startswith("efficientnet_lite"):
        return "timm", f"tf_{architecture}"
    if architecture in TIMM_FIXED_SIZE or architecture.startswith("mobilenetv4"):
        return "timm", architecture
    return "torchvision", architecture


def arguments_of(architecture: str, size: tuple[int, int]) -> dict:
    """What the builder must be told to make the network for that input size."""
    if architecture in dense.NETWORKS:
        return dense.arguments_of(architecture)
    if architecture in TIMM_FIXED_SIZE:
        return {"img_size": size}
    if architecture in ("googlenet", "inception_v3"):
        # Without its own initialisation, which takes seconds and is overwritten here.
        return {"aux_logits": False, "transform_input": False, "init_weights": False}
    if architecture.startswith("maxvit"):
        return {"input_size": size}
    return {"image_size": size[0]} if architecture.startswith("vit") else {}


def sizes_of(architecture: str) -> dict[str, tuple[int, int]]:
    """The size that the default weights were trained for, and an odd one where there is one."""
    if architecture in dense.NETWORKS:
        return dense.sizes_of(architecture)
    if architecture.startswith("maxvit"):
        # Its maps must split into square numbers of 7x7 windows: 224 is the least.
        return {"default": (224, 224)}
    if architecture.startswith("vit_h"):
        return {"default": (224, 224), "odd": (98, 98)}
    if architecture.startswith("vit") or architecture in TIMM_FIXED_SIZE:
        return {"default": (224, 224), "odd": (96, 96)}
    library, model = source(architecture)
    if library == "timm":
        _, height, width = timm.get_pretrained_cfg(model).input_size
        return {"default": (height, width), "odd": (97, 81)}
    (crop,) = torchvision.models.get_model_weights(model).DEFAULT.transforms().crop_size
    return {"default": (crop, crop), "odd": (97, 81)}


def build(architecture: str, size: tuple[int, int]) -> nn.Module:
    """The reference network, filled with generated weights, in float32."""
    library, model = source(architecture)
    arguments = arguments_of(architecture, size)
    if library == "timm":
        network = timm.create_model(model, pretrained=False, **arguments)
    else:
        network = torchvision.models.get_model(model, weights=None, **arguments)
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
    """All stages in order, the pooled features and the logits; of a dense network the outputs.

    The logits are those of the network's own `forward`; what the stages lead to must agree with
    them, which proves that the stages are the network.
    """
    if architecture in dense.NETWORKS:
        inner, outputs = dense.parts(network, x)
        named = {f"stage/{name}": value for name, value in inner.items()}
        return named | {f"output/{name}": value for name, value in outputs.items()}
    logits = network(x)
    named, features, head = stages.stages(network, x)
    torch.testing.assert_close(head, logits)
    outputs = {f"stage/{name}": value for name, value in named}
    assert len(outputs) == len(named)
    return outputs | {"features": features, "logits": logits}


def sample(value: torch.Tensor) -> np.ndarray:
    """At most SAMPLES elements, evenly spread over the flat tensor, in f32."""
    flat = value.reshape(-1)
    n = min(flat.numel(), SAMPLES)
    index = torch.arange(n, dtype=torch.int64) * flat.numel() // n
    return flat[index].to(torch.float32).numpy()


def relative(value: torch.Tensor, truth: torch.Tensor) -> float:
    """Relative L2 error."""
    return float((value.double() - truth).norm() / truth.norm())


class Useless(Exception):
    """A golden that could not catch a mistake."""


def report_of(single: dict, double: dict) -> dict:
    """Shapes, norms and float32 errors; refuses what is all zero, nearly so, or blown up."""
    report = {}
    for key, truth in double.items():
        if not torch.isfinite(truth).all() or truth.std() < 1e-2 or truth.abs().max() > 1e6:
            raise Useless(f"{key}: std {truth.std():.3g}, largest {truth.abs().max():.3g}")
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


def winners(out: torch.Tensor) -> torch.Tensor:
    """The best class of every pixel; refuses answers that hardly depend on place and picture."""
    best = out.argmax(dim=1).to(torch.uint8)
    shares = best.flatten().bincount() / best.numel()
    if shares.max() > 0.9 or (best[0] != best[1]).double().mean() < 0.03:
        raise Useless(f"winners: shares {[round(float(share), 3) for share in shares]}")
    return best


@torch.inference_mode()
def golden(architecture: str, wanted: set[str]) -> tuple[dict[str, np.ndarray], dict]:
    """The tensors of one file and what is noted of them, for the sizes wanted."""
    tensors, sizes, arguments = {}, {}, {}
    for which, size in sizes_of(architecture).items():
        if which not in wanted:
            continue
        prefix = f"{size[0]}x{size[1]}"
        x = generated_input(size)
        if architecture in dense.NETWORKS:
            x *= dense.scale_of(architecture)
        network = build(architecture, size)
        single = run(architecture, network, x)
        double = run(architecture, network.double(), x.double())
        for key, value in double.items():
            whole = key in ("logits", "features")
            tensors[f"{prefix}/{key}"] = value.float().numpy() if whole else sample(value)
        sizes[prefix] = report_of(single, double)
        if architecture in dense.SEGMENTATION:
            tensors[f"{prefix}/winners"] = winners(double["output/out"]).numpy()
            agreeing = winners(single["output/out"]) == winners(double["output/out"])
            sizes[prefix]["output/out"]["f32_winners"] = float(agreeing.double().mean())
        arguments[prefix] = arguments_of(architecture, size)

    if architecture == "vit_b_16" and wanted >= {"default", "odd"}:
        interpolated, sizes["interpolated"] = interpolated_positions()
        tensors |= {f"interpolated/{key}": value for key, value in interpolated.items()}
    if architecture in BRANCHES and wanted >= {"default", "odd"}:
        branched, sizes["branched"] = inception_branches(architecture)
        tensors |= {f"branched/{key}": value for key, value in branched.items()}
    library, model = source(architecture)
    note = {
        "architecture": architecture,
        "reference": {"library": library, "model": model, "arguments": arguments},
        "sizes": sizes,
    }
    if architecture in dense.NETWORKS:
        note["input_scale"] = dense.scale_of(architecture)
    return tensors, note


def interpolated_positions() -> tuple[dict[str, np.ndarray], dict]:
    """ViT-B/16 at 96x96, its position embedding resampled from 224x224 by torchvision."""
    outputs = []
    for dtype in (torch.float32, torch.float64):
        state = build("vit_b_16", (224, 224)).to(dtype).state_dict()
        state = interpolate_embeddings(image_size=96, patch_size=16, model_state=state)
        network = torchvision.models.vit_b_16(weights=None, image_size=96).to(dtype).eval()
        network.load_state_dict(state, strict=True)
        logits = network(generated_input((96, 96)).to(dtype))
        position = network.encoder.pos_embedding.detach().expand(2, -1, -1)
        outputs.append({"logits": logits, "pos_embedding": position})
    single, double = outputs
    report = report_of(single, double)
    report["pos_embedding"]["shape"][0] = 1
    tensors = {
        "logits": double["logits"].float().numpy(),
        "pos_embedding": sample(double["pos_embedding"][:1]),
    }
    return tensors, report


# After which modules the auxiliary classifiers branch off.
BRANCHES = {
    "googlenet": {"inception4a": "aux1", "inception4d": "aux2"},
    "inception_v3": {"Mixed_6e": "AuxLogits"},
}


def inception_branches(architecture: str) -> tuple[dict[str, np.ndarray], dict]:
    """The auxiliary classifiers' logits, and the logits with torchvision's `transform_input`."""
    size = sizes_of(architecture)["default"]
    outputs = []
    for dtype in (torch.float32, torch.float64):
        network = torchvision.models.get_model(
            architecture, weights=None, aux_logits=True, transform_input=False, init_weights=False
        )
        fill(network)
        network = network.to(dtype).eval()
        found = {}
        for index, (before, auxiliary) in enumerate(BRANCHES[architecture].items()):
            branch = network.get_submodule(auxiliary)

            def keep(module, inputs, output, index=index, branch=branch):
                found[f"auxiliary.{index}"] = branch(output.clone())

            network.get_submodule(before).register_forward_hook(keep)
        x = generated_input(size).to(dtype)
        network(x)
        branches = dict(found)
        network.transform_input = True
        outputs.append(branches | {"transformed": network(x)})
    single, double = outputs
    tensors = {key: value.float().numpy() for key, value in double.items()}
    return tensors, report_of(single, double)


def first_of(report: dict, *keys: str) -> dict | None:
    """The first of these that there is."""
    return next((report[key] for key in keys if key in report), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("architectures", nargs="*", default=ARCHITECTURES)
    parser.add_argument("--list", action="store_true", help="print names and sizes, no more")
    parser.add_argument("--sizes", choices=("all", *SIZES), default="all")
    parser.add_argument("--out", type=pathlib.Path, default=generator.GOLDENS, metavar="DIR")
    arguments = parser.parse_args()
    if unknown := set(arguments.architectures) - set(ARCHITECTURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if arguments.sizes != "all" and arguments.out == generator.GOLDENS:
        parser.error("a golden holds all sizes: --sizes needs --out")
    if arguments.list:
        for architecture in arguments.architectures:
            sizes = sizes_of(architecture).values()
            print(architecture, *(f"{height}x{width}" for height, width in sizes))
        return 0
    wanted = set(SIZES) if arguments.sizes == "all" else {arguments.sizes}

    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
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
    refused = 0
    for architecture in arguments.architectures:
        if wanted.isdisjoint(sizes_of(architecture)):
            continue
        try:
            tensors, note = golden(architecture, wanted)
        except Useless as error:
            refused += 1
            print(f"{architecture}: {error}", file=sys.stderr)
            continue
        path = arguments.out / f"{architecture}.safetensors"
        safetensors.numpy.save_file(
            {key: np.ascontiguousarray(value) for key, value in tensors.items()},
            path,
            metadata={"golden": json.dumps(note | {"versions": versions}, sort_keys=True)},
        )
        path.chmod(0o644)  # the writer makes it private
        for size, report in note["sizes"].items():
            logits = first_of(report, "logits", "transformed", "output/out", "output/cls_logits.p3")
            worst = max(report, key=lambda key: report[key]["f32_error"])
            features = first_of(report, "features", "pos_embedding", "stage/classifier", "stage/p3")
            features = features or logits
            print(
                f"| {architecture} | {size} | {logits['std']:.3g} | {features['std']:.3g} "
                f"| {logits['spread']:.2g} | {logits['f32_error']:.1e} "
                f"| {report[worst]['f32_error']:.1e} ({worst.removeprefix('stage/')}) |",
                flush=True,
            )
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())

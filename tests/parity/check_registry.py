"""Opens the model files of all networks in PyTorch, and their ONNX files in ONNX Runtime.

    REKINDLE_KEEP_MODELS=DIR cargo test --release ... a_model_reads_what_it_wrote
    python3 tests/parity/check_registry.py DIR [--program target/release/rekindle] [NAME ...]

The test writes DIR/<architecture>.safetensors with generated weights (generator.py). Each is loaded
by torchvision (or timm) with `strict=True` and asked about the generated input of the goldens; the
logits must be the golden's, which PyTorch computed in float64 with weights it made itself. With
`--program` the same file is exported as ONNX and ONNX Runtime is asked too. One line a network:
relative error of PyTorch, of ONNX Runtime; exit status 1 when any exceeds `--tolerance`. Networks
for segmentation are asked at the golden's small sizes, and ONNX Runtime at the size that the file
is exported for, against what PyTorch answers there.

Versions: see requirements.txt beside this file.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
import safetensors.numpy
import safetensors.torch
import torch

import check_model_file
import dense
import generator
import make_goldens

BATCH = 2


def relative(found: np.ndarray, truth: np.ndarray) -> float:
    """Relative L2 error."""
    return float(np.linalg.norm(found.astype(np.float64) - truth) / np.linalg.norm(truth))


def golden_logits(architecture: str, side: int) -> np.ndarray | None:
    tensors = safetensors.numpy.load_file(generator.GOLDENS / f"{architecture}.safetensors")
    return tensors.get(f"{side}x{side}/logits")


@torch.inference_mode()
def of_segmentation(path: pathlib.Path, card: dict, program: str | None) -> dict[str, float]:
    """The errors of a network that answers for each pixel."""
    state = safetensors.torch.load_file(path)
    network = check_model_file.build(card, state.keys())
    check_model_file.fill(network, state)
    scale = np.float32(dense.scale_of(path.stem))
    golden = safetensors.numpy.load_file(generator.GOLDENS / f"{path.stem}.safetensors")
    errors = {}
    for height, width in dense.sizes_of(path.stem).values():
        x = generator.tensor("input", (BATCH, 3, height, width)) * scale
        out = network(torch.from_numpy(x))["out"]
        truth = golden[f"{height}x{width}/output/out"]
        errors[f"{height}x{width}"] = relative(make_goldens.sample(out), truth)
        same = out.argmax(dim=1).numpy() == golden[f"{height}x{width}/winners"]
        errors[f"{height}x{width} other winners"] = float(1.0 - same.mean())
    if program:
        side = card["preset"]["resize"]
        x = generator.tensor("input", (1, 3, side, side)) * scale
        truth = network(torch.from_numpy(x))["out"].numpy()
        found = in_onnx_runtime(program, path, x, "out")
        errors["onnx"] = relative(found, truth)
        errors["onnx other winners"] = float((found.argmax(1) != truth.argmax(1)).mean())
    return errors


@torch.inference_mode()
def in_pytorch(path: pathlib.Path, card: dict, x: np.ndarray) -> np.ndarray:
    state = safetensors.torch.load_file(path)
    network = check_model_file.build(card, state.keys())
    check_model_file.fill(network, state)
    return network(torch.from_numpy(x)).numpy()


def in_onnx_runtime(
    program: str, path: pathlib.Path, x: np.ndarray, output: str = "logits"
) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "model.onnx"
        command = [program, "export", str(path), "--onnx", "--out", str(out), "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        return session.run([output], {"image": x})[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--program")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    files = sorted(arguments.folder.glob("*.safetensors"))
    if arguments.names:
        files = [file for file in files if file.stem in arguments.names]
    if not files:
        parser.error(f"no model files in {arguments.folder}")

    failed = 0
    for file in files:
        card = check_model_file.read_card(file)
        if file.stem in dense.SEGMENTATION:
            side = card["preset"]["resize"]
            errors = of_segmentation(file, card, arguments.program)
        else:
            side = card["preset"]["crop"]
            truth = golden_logits(file.stem, side)
            if truth is None:
                print(f"{file.stem}: no golden at {side}x{side}", flush=True)
                continue
            x = generator.tensor("input", (BATCH, 3, side, side))
            errors = {"pytorch": relative(in_pytorch(file, card, x), truth)}
            if arguments.program:
                errors["onnx"] = relative(in_onnx_runtime(arguments.program, file, x), truth)
        # Not `> tolerance`: a NaN must fail.
        good = all(error <= arguments.tolerance for error in errors.values())
        failed += not good
        shown = "  ".join(f"{name} {error:.1e}" for name, error in errors.items())
        print(f"{file.stem} {side}x{side}: {shown}{'' if good else '  FAILED'}", flush=True)
    print(f"{len(files) - failed} of {len(files)} agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Rekindle beside PyTorch on a GPU, in one call of ten minutes at most: forward and training, and where the time goes.

    cargo build --release
    python3 bench/gpu.py --out gpu.jsonl        on a machine with a GPU and a PyTorch that sees it
    python3 bench/gpu.py --device software --torch cpu --networks mobilenet_v3_large --batches 1 --runs 1 --seconds 300

Every network runs at the same batch with Rekindle and with PyTorch: eager fp32, channels last, TF32, automatic mixed precision, and for two
networks, which are also asked for a larger batch, torch.compile. "half" keeps the numbers of Rekindle's forward pass in 16
bits and sums in 32; training is in 32 bits. Images lie on the card. All figures are of one run; Rekindle's are taken between PyTorch's. Each cell is
written to --out as it is known, as a line of JSON, and no cell is begun after --seconds. Rekindle's lines hold what a step
and a forward pass are made of, kernel by kernel and layer by layer, and the share of the most that the adapter does.

Versions: see tests/parity/requirements.txt.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import torch
import torchvision

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What a network is called here, and in torchvision or timm.
NETWORKS = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "mobilenet_v3_large": "mobilenet_v3_large",
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "convnext_tiny": "convnext_tiny",
    "vit_b_16": "vit_b_16",
}
# These two are compiled, too, and asked for LARGE images at a time.
COMPILED = ("resnet50", "vit_b_16")
LARGE = 128
MODES = {
    "eager fp32": {},
    "channels last": {"last": True},
    "TF32": {"last": True, "tf32": True},
    "AMP": {"last": True, "tf32": True, "amp": True},
    "compile, AMP": {"last": True, "tf32": True, "amp": True, "compile": True},
}


def rekindle(args, name, batch, precision):
    """What `rekindle bench` measured; kernel by kernel for the first of the batches."""
    command = [args.program, "--device", args.device, "--json", "--quiet", "--precision", precision, "bench", name, "--batch", str(batch)]
    command += ["--runs", str(args.runs)]
    if precision == "full":
        command += ["--train"] + ["--layers"] * (batch == args.batches[0])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-300:])
    return json.loads(done.stdout)


def median_ms(act, runs, device):
    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        act()
    wait()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        act()
        wait()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def made(name):
    if hasattr(torchvision.models, name):
        return getattr(torchvision.models, name)(weights=None)
    import timm

    return timm.create_model(name)


def pytorch(args, name, batch, mode, device):
    """Milliseconds of a forward pass and of a training step."""
    tf32 = mode.get("tf32", False)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    layout = torch.channels_last if mode.get("last") else torch.contiguous_format
    model = made(NETWORKS[name]).to(device, memory_format=layout)
    images = torch.randn(batch, 3, 224, 224, device=device).to(memory_format=layout)
    labels = torch.randint(1000, (batch,), device=device)
    run = torch.compile(model) if mode.get("compile") else model
    half = torch.float16 if device.type == "cuda" else torch.bfloat16
    amp = torch.autocast(device.type, dtype=half, enabled=mode.get("amp", False))

    def answer():
        with torch.inference_mode(), amp:
            run(images)

    model.eval()
    forward = median_ms(answer, args.runs, device)
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler(device.type, enabled=mode.get("amp", False) and device.type == "cuda")

    def step():
        optimiser.zero_grad()
        with amp:
            loss = torch.nn.functional.cross_entropy(run(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()

    return forward, median_ms(step, args.runs, device)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--program", default=str(target / "release/rekindle"))
    parser.add_argument("--device", default="gpu", help="Rekindle's device")
    parser.add_argument("--torch", default="cuda", help="PyTorch's device")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 1])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=540, help="no cell is begun after so long")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="PyTorch's")
    parser.add_argument("--out", help="a file that lines of JSON are added to")
    args = parser.parse_args()
    began = time.perf_counter()
    device = torch.device(args.torch)
    card = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    print(f"PyTorch {torch.__version__} on {card}; median of {args.runs}")
    print(f"{'network':20} {'batch':>5}  {'':18} {'forward ms':>10} {'step ms':>9}")

    def cell(network, batch, who, act):
        if time.perf_counter() - began > args.seconds:
            print(f"{network:20} {batch:5}  {who:18} no time left", flush=True)
            return
        try:
            found = act()
        except Exception as error:  # what this machine cannot do is no reason to stop
            print(f"{network:20} {batch:5}  {who:18} {type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}", flush=True)
            return
        forward, step = found["forward_ms"], found["step_ms"]
        print(f"{network:20} {batch:5}  {who:18} {forward:10.2f} {step if step is None else format(step, '9.2f')}", flush=True)
        if args.out:
            with open(args.out, "a") as lines:
                lines.write(json.dumps({"card": card, "network": network, "batch": batch, "who": who, **found}) + "\n")

    def ours(network, batch, precision):
        said = rekindle(args, network, batch, precision)
        training = said["training"] or {}
        return {"forward_ms": said["resident_ms"], "step_ms": training.get("step_ms"), "said": said}

    def theirs(network, batch, mode):
        forward, step = pytorch(args, network, batch, MODES[mode], device)
        return {"forward_ms": forward, "step_ms": step}

    # Each batch of all networks first: what is cut off by the clock is the least of it.
    large = [(network, LARGE) for network in args.networks if network in COMPILED and args.torch == "cuda"]
    first, *others = ([(network, batch) for network in args.networks] for batch in args.batches)
    cells = first + large + [cell for batch in others for cell in batch]
    for network, batch in cells:
        cell(network, batch, "rekindle", lambda: ours(network, batch, "full"))
        for mode in args.modes:
            if "compile" not in MODES[mode]:
                cell(network, batch, mode, lambda: theirs(network, batch, mode))
        cell(network, batch, "rekindle, half", lambda: ours(network, batch, "half"))
    for network in args.networks:
        if network in COMPILED and "compile, AMP" in args.modes:
            cell(network, args.batches[0], "compile, AMP", lambda: theirs(network, args.batches[0], "compile, AMP"))


if __name__ == "__main__":
    main()

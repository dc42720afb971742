"""Rekindle beside PyTorch on a GPU, in one call: forward and training, and how near the peak.

    cargo build --release
    python3 bench/gpu.py                        on a machine with a GPU and a PyTorch that sees it
    python3 bench/gpu.py --device software --torch cpu --networks squeezenet1_1 --batch 1 --runs 1

Every network runs at the same batch with Rekindle (our kernels, and Burn's own) and with PyTorch: eager
fp32, channels last, TF32, automatic mixed precision, and torch.compile. Rekindle's share of the
adapter's own matrix product is printed for the whole network and for ResNet-50's 3×3 layers alone. All
figures are of one run; PyTorch's are taken between Rekindle's. "half" keeps the numbers of the forward pass
in 16 bits and sums in 32; training is in 32 bits always.

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
NETWORKS = ["squeezenet1_1", "mobilenet_v3_large", "resnet18", "resnet50", "vit_b_16"]


def rekindle(args, name, kernels, precision="full", layers=False):
    command = [args.program, "--device", args.device, "--json", "--quiet", "bench", name, "--weights", "random"]
    command += ["--batch", str(args.batch), "--runs", str(args.runs), "--kernels", kernels]
    # Burn's own kernels know one precision.
    command += ["--precision", precision] * (kernels == "ours")
    command += ["--train"] * (args.train and precision == "full") + ["--layers"] * layers
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"  rekindle failed: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def median_ms(act, runs, device):
    act()
    act()
    wait(device)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        act()
        wait(device)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


MODES = {
    "eager fp32": {},
    "channels last": {"last": True},
    "TF32": {"last": True, "tf32": True},
    "AMP": {"last": True, "tf32": True, "amp": True},
    "compile, AMP": {"last": True, "tf32": True, "amp": True, "compile": True},
}


def pytorch(args, name, mode, device):
    """Milliseconds of a forward pass and, where asked, of a training step."""
    tf32 = mode.get("tf32", False)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    layout = torch.channels_last if mode.get("last") else torch.contiguous_format
    model = torchvision.models.get_model(name, num_classes=1000).to(device, memory_format=layout)
    images = torch.randn(args.batch, 3, 224, 224, device=device).to(memory_format=layout)
    labels = torch.randint(1000, (args.batch,), device=device)
    run = torch.compile(model) if mode.get("compile") else model
    amp = torch.autocast(device.type, dtype=torch.float16 if device.type == "cuda" else torch.bfloat16, enabled=mode.get("amp", False))

    def answer():
        with torch.inference_mode(), amp:
            run(images)

    model.eval()
    forward = median_ms(answer, args.runs, device)
    if not args.train:
        return forward, None
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
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--train", action="store_true", help="training steps too")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="PyTorch's; compiling takes a minute a network")
    args = parser.parse_args()
    device = torch.device(args.torch)
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    print(f"PyTorch {torch.__version__} on {name}; batch {args.batch}, median of {args.runs}")

    def row(who, forward, step):
        images = 1e3 * args.batch / forward
        training = f"{step:9.2f}" if step else f"{'–':>9}"
        print(f"  {who:24} {forward:9.2f} {images:10.0f} {training}", flush=True)

    for network in args.networks:
        print(f"\n{network}\n  {'':24} {'ms':>9} {'images/s':>10} {'step ms':>9}")
        for kernels, precision in (("ours", "full"), ("ours", "half"), ("burn", "full")):
            layers = kernels == "ours" and network == "resnet50"
            found = rekindle(args, network, kernels, precision, layers)
            if found is None:
                continue
            who = f"rekindle, {kernels}" + ", half" * (precision == "half")
            row(who, found["median_ms"], (found["training"] or {}).get("step_ms"))
            if kernels == "burn":
                continue
            print(f"    {found['gflops']:.0f} GFLOP/s, {100 * found['share_of_peak']:.0f} % of {found['peak_gflops']:.0f} on {found['device']}")
            for layer in found["layers"] or []:
                if layer["name"].endswith("conv2") and layer["gflops"]:
                    share = 100 * (layer["share_of_peak"] or 0)
                    print(f"    {layer['name']:20} {layer['ms']:8.3f} ms {share:5.0f} % of the peak")
        for title in args.modes:
            try:
                row(f"PyTorch, {title}", *pytorch(args, network, MODES[title], device))
            except Exception as error:  # a mode that this machine lacks is no reason to stop
                print(f"  PyTorch, {title}: {type(error).__name__}: {str(error).splitlines()[0][:120]}")


if __name__ == "__main__":
    main()

"""Rekindle's kernels beside Burn's own on one adapter, in one run.

    cargo build --release
    python3 bench/kernels.py                              on the first GPU
    python3 bench/kernels.py --device software            on software Vulkan (Mesa's lavapipe)
    VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json python3 bench/kernels.py --device software

The last is the SwiftShader that comes with Chromium. Forward passes at batch 1, a training step of ResNet-18
at batch 8. Burn's own kernels run without autotune, as in every build of Rekindle. Times are medians in
milliseconds; "first" includes packing weights and compiling shaders, with whatever the driver had cached.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
NETWORKS = ["squeezenet1_1", "efficientnet_lite0", "mobilenet_v3_large", "resnet18", "resnet50", "vit_b_16"]


def measure(args, network, kernels, batch, train):
    command = [args.program, "--device", args.device, "--json", "--quiet", "bench", network, "--weights", "random"]
    command += ["--batch", str(batch), "--runs", str(args.runs), "--kernels", kernels] + ["--train"] * train
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--program", default=str(target / "release/rekindle"))
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-training", action="store_true")
    args = parser.parse_args()

    print(f"{'':28} {'ours':>9} {'first':>8} {'burn':>10} {'first':>8} {'ratio':>6}")
    ratios = []

    def row(name, ours, ours_first, burn, burn_first):
        ratios.append(burn / ours)
        print(f"{name:28} {ours:9.1f} {ours_first:8.0f} {burn:10.1f} {burn_first:8.0f} {burn / ours:6.1f}", flush=True)

    for network in args.networks:
        ours, burn = (measure(args, network, kernels, 1, False) for kernels in ("ours", "burn"))
        row(network, ours["median_ms"], ours["first_ms"], burn["median_ms"], burn["first_ms"])
    if not args.no_training:
        ours, burn = (measure(args, "resnet18", kernels, 8, True)["training"] for kernels in ("ours", "burn"))
        row("resnet18, a step, batch 8", ours["step_ms"], ours["first_ms"], burn["step_ms"], burn["first_ms"])
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"{'geometric mean':28} {'':9} {'':8} {'':10} {'':8} {mean:6.1f}")


if __name__ == "__main__":
    main()

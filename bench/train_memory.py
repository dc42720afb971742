#!/usr/bin/env python3
"""What a training step takes, and what Rekindle predicts: for networks of several families and two batch sizes.

    cargo build --release && python3 bench/train_memory.py [target/release/rekindle] [network …]

Each line is a process of its own: `rekindle bench NETWORK --train` on the processor, all of the network training. Taken is
the most that the process held, less what it held before the first step.
"""

import json
import subprocess
import sys

NETWORKS = [
    "resnet18",
    "mobilenet_v3_small",
    "efficientnet_lite0",
    "densenet121",
    "convnext_tiny",
    "vit_b_32",
    "swin_t",
    "regnet_y_400mf",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
]
BATCHES = [4, 12]


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "target/release/rekindle"
    print(f"{'network':22} {'batch':>5} {'taken MB':>9} {'predicted':>9} {'ratio':>6}")
    for network in sys.argv[2:] or NETWORKS:
        for batch in BATCHES:
            command = [program, "bench", network, "--train", "--device", "cpu", "--json"]
            command += ["--runs", "1", "--batch", str(batch)]
            out = subprocess.run(command, capture_output=True, check=True, text=True).stdout
            training = json.loads(out)["training"]
            taken = training["taken_memory_bytes"] / 1e6
            predicted = training["predicted_memory_bytes"] / 1e6
            ratio = predicted / taken
            print(f"{network:22} {batch:5} {taken:9.0f} {predicted:9.0f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()

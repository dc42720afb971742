"""Fine-tuning on Fashion-MNIST: Rekindle's modes beside PyTorch under the same protocol, in one run.

    apt-get install dataset-fashion-mnist
    cargo build --release -p rekindle
    python3 bench/fashion.py                   (numpy, Pillow, safetensors, torch, torchvision, timm)

2 000 training pictures, of which 400 are the val part, and 2 000 test pictures are drawn by seed, as many of each
class, and written as PNGs. EfficientNet-Lite0 learns from the 1 600, the best epoch is chosen on the 400, and what is
kept is measured on the 2 000, which nothing is chosen by. PyTorch starts from the head that Rekindle solved, so that
both leave the same point: AdamW (weight decay 0.01, none on biases and norms), OneCycleLR with PyTorch's defaults,
batches of 32, mirrored at random, batch norms in eval mode with their affine parameters trained, dropout 0.2 before
the classifier; `last` trains the last two stages and what is behind them, `full` everything. In the comparison the
epoch with the best accuracy is kept even if the head was better (`--keep tuned`); the rows `as shipped` give no option
but `--tune`. Accuracies are means over the seeds, of the order of training and of what is drawn in it.
"""

import argparse
import copy
import gzip
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np
import safetensors.torch
import timm
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

ROOT = pathlib.Path(__file__).resolve().parents[1]
CLASSES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"]
# What both sides are told in the comparison: the highest rate and the epochs.
SAME = {"last": (5e-4, 6), "full": (5e-4, 4)}
BATCH = 32
LAST = ("blocks.5", "blocks.6", "conv_head", "bn2", "classifier")


def read(folder, name):
    """Pictures [N, 28, 28] and their classes, from the files that Fashion-MNIST comes in."""
    pictures = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())
    classes = gzip.decompress((folder / f"{name}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(pictures, np.uint8)[16:].reshape(-1, 28, 28), np.frombuffer(classes, np.uint8)[8:]


def write(source, folder, sizes, seed):
    """Writes train/, val/ and test/ with so many pictures of each class."""
    random = np.random.default_rng(seed)
    train, val, test = sizes
    for name, parts in (("train", {"train": train, "val": val}), ("t10k", {"test": test})):
        pictures, classes = read(source, name)
        for number, word in enumerate(CLASSES):
            drawn = random.permutation(np.flatnonzero(classes == number))
            for part, count in parts.items():
                (folder / part / word).mkdir(parents=True)
                for index in drawn[:count]:
                    Image.fromarray(pictures[index]).save(folder / part / word / f"{index:05}.png")
                drawn = drawn[count:]


class Rekindle:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.environment = {
            **os.environ,
            "REKINDLE_ASSETS": str(ROOT / "assets"),
            "XDG_CACHE_HOME": str(args.work / "cache"),
            "RAYON_NUM_THREADS": str(args.threads),
        }

    def call(self, *options):
        command = [self.args.program, *map(str, options), "--device", "cpu", "--json", "--quiet"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr.strip()[-800:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def __call__(self, seed, mode, *options):
        """The model file, the report of `train`, the accuracy on test/."""
        name = f"{mode.replace(':', '')}-{seed}" + ("-same" if options else "")
        shutil.rmtree(self.args.work / "runs" / name, ignore_errors=True)
        common = ["--model", "efficientnet_lite0", "--input", self.args.input, "--tune", mode]
        common += [] if mode == "head" else ["--seed", seed]
        where = ["--out", self.args.work / "runs", "--name", name]
        report = self.call("train", self.folder, *common, *where, *options)
        model = self.args.work / "runs" / name / "model.safetensors"
        return model, report, self.call("evaluate", model, self.folder)["accuracy"]


class Torch:
    """A plain loop over pictures in memory."""

    def __init__(self, args, folder, preset):
        torch.set_num_threads(args.threads)
        side = preset["crop"]
        seen = transforms.Compose([
            transforms.Resize(preset["resize"], transforms.InterpolationMode(preset["interpolation"])),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize(preset["mean"], preset["std"]),
        ])
        self.parts = {}
        for part in ("train", "val", "test"):
            pictures, classes = [], []
            for number, word in enumerate(sorted(CLASSES)):
                for file in sorted((folder / part / word).iterdir()):
                    pictures.append(seen(Image.open(file).convert("RGB")))
                    classes.append(number)
            self.parts[part] = torch.stack(pictures), torch.tensor(classes)

    def network(self, head):
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=10, drop_rate=0.2)
        state = safetensors.torch.load_file(ROOT / "assets" / "weights" / "efficientnet_lite0.safetensors")
        state |= {k: v for k, v in safetensors.torch.load_file(head).items() if k.startswith("classifier.")}
        network.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True)
        return network.eval()

    @torch.inference_mode()
    def measure(self, network, part):
        network.eval()
        pictures, classes = self.parts[part]
        found = torch.cat([network(pictures[at : at + 100]) for at in range(0, len(pictures), 100)])
        loss = nn.functional.cross_entropy(found, classes).item()
        return (found.argmax(1) == classes).float().mean().item(), -loss

    def train(self, head, mode, seed, rate, epochs):
        """Accuracy on val/ of the best epoch, its accuracy on test/, seconds of the training."""
        torch.manual_seed(seed)
        network = self.network(head)
        for name, tensor in network.named_parameters():
            tensor.requires_grad_(mode == "full" or name.startswith(LAST))
        learn = [tensor for tensor in network.parameters() if tensor.requires_grad]
        matrices, rest = [p for p in learn if p.ndim > 1], [p for p in learn if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=rate)
        pictures, classes = self.parts["train"]
        batches = len(classes) // BATCH
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * batches)
        best, started = None, time.perf_counter()
        for _ in range(epochs):
            network.train()
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
            for at in torch.randperm(len(classes))[: batches * BATCH].split(BATCH):
                mirrored = (torch.rand(len(at)) < 0.5).view(-1, 1, 1, 1)
                shown = torch.where(mirrored, pictures[at].flip(3), pictures[at])
                loss = nn.functional.cross_entropy(network(shown), classes[at])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            found = self.measure(network, "val")
            if best is None or found > best[0]:
                best = found, copy.deepcopy(network.state_dict())
        seconds = time.perf_counter() - started
        network.load_state_dict(best[1])
        return best[0][0], self.measure(network, "test")[0], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--program", default=str(target / "release/rekindle"))
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--work", type=pathlib.Path, default=target / "fashion", help="pictures and runs go here")
    parser.add_argument("--sizes", default="1600,400,2000", help="pictures to learn from, to choose by, to measure on")
    parser.add_argument("--draw", type=int, default=0, help="seed of which pictures they are")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--modes", nargs="*", default=["last", "full"], choices=["last", "full"])
    parser.add_argument("--input", type=int, default=96)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--no-same", action="store_true", help="the shipped defaults alone")
    args = parser.parse_args()
    sizes = [int(size) // len(CLASSES) for size in args.sizes.split(",")]
    folder = args.work / f"pictures-{args.sizes.replace(',', '-')}-{args.draw}"
    if not folder.exists():
        shutil.rmtree(args.work / "half", ignore_errors=True)
        write(args.data, args.work / "half", sizes, args.draw)
        (args.work / "half").rename(folder)

    rekindle = Rekindle(args, folder)
    head, report, alone = rekindle(0, "head")
    with safetensors.safe_open(head, "np") as file:
        preset = json.loads(file.metadata()["rekindle"])["preset"]
    torch_loop = None if args.no_torch or args.no_same else Torch(args, folder, preset)
    width = 34

    def row(name, on_val, on_test, seconds, note=""):
        spread = f"{min(on_test):.4f} to {max(on_test):.4f}"
        above = f"{100 * (statistics.mean(on_test) - alone):+5.1f}"
        numbers = f"{statistics.mean(on_val):8.4f} {statistics.mean(on_test):8.4f}  {spread} {above}"
        print(f"{name:{width}} {numbers} {statistics.mean(seconds):8.1f}  {note}", flush=True)

    print(f"{'':{width}} {'val':>8} {'test':>8}  {'of the seeds':16} {'above':>5} {'seconds':>8}")
    row("head", [report["accuracy"]], [alone], [report["train_seconds"]])
    failed = []
    for mode in args.modes:
        rate, epochs = SAME[mode]
        if not args.no_same:
            told = ["--lr", rate, "--epochs", epochs, "--augment", "flip", "--keep", "tuned"]
            runs = [rekindle(seed, mode, *told) for seed in args.seeds]
            ours = [test for *_, test in runs]
            name = f"{mode}, {rate:g}, {epochs} epochs"
            row(f"{name}: Rekindle", [r["accuracy"] for _, r, _ in runs], ours, [r["train_seconds"] for _, r, _ in runs])
            if torch_loop:
                runs = [torch_loop.train(head, mode, seed, rate, epochs) for seed in args.seeds]
                on_val, theirs, seconds = zip(*runs)
                row(f"{name}: PyTorch", on_val, theirs, seconds)
                if statistics.mean(ours) < statistics.mean(theirs) - 0.01:
                    failed.append(f"{mode} ends more than a point below PyTorch")
        runs = [rekindle(seed, mode) for seed in args.seeds]
        ours = [test for *_, test in runs]
        kept = ", ".join(r["kept"] for _, r, _ in runs)
        row(f"{mode} as shipped", [r["accuracy"] for _, r, _ in runs], ours, [r["train_seconds"] for _, r, _ in runs], kept)
        if statistics.mean(ours) < alone + {"last": 0.015, "full": 0.03}[mode]:
            failed.append(f"{mode} as shipped gains too little over the head")
    if failed:
        sys.exit("; ".join(failed))


if __name__ == "__main__":
    main()

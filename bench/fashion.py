"""Fine-tuning on Fashion-MNIST: Rekindle's modes as shipped beside PyTorch under the same protocol, in one run.

    apt-get install dataset-fashion-mnist
    cargo build --release -p rekindle
    python3 bench/fashion.py                   (numpy, Pillow, safetensors, torch, torchvision, timm)
    python3 bench/fashion.py --modes scratch   (all 70 000 pictures; an hour on two cores)

`last` and `full`: 2 000 training pictures, of which 400 are the val part, and 2 000 test pictures are drawn by seed, as
many of each class, and written as PNGs. EfficientNet-Lite0 learns from the 1 600, the best epoch is chosen on the 400,
and what is kept is measured on the 2 000, which nothing is chosen by. Rekindle is given `--tune` and no other lever.
PyTorch starts from the head that Rekindle solved, so that both leave the same point, and goes by the recipe that
Rekindle's run wrote down: AdamW (no weight decay on biases and norms), OneCycleLR with PyTorch's defaults, mirrored at
random, batch norms in eval mode with their affine parameters trained, dropout 0.2 before the classifier; `last` trains
the last two stages and what is behind them, `full` everything.

`scratch`: MobileNetV3-small with a stem for small pictures learns from 55 000 from its family's own initialisation, the
epoch is chosen on 5 000, and what is kept is measured on the 10 000 of the test part.

Accuracies are means over the seeds, of the order of training and of what is drawn in it.
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
import tomllib

import numpy as np
import safetensors.torch
import timm
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms

ROOT = pathlib.Path(__file__).resolve().parents[1]
CLASSES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"]
# What EfficientNet-Lite0 calls its last two stages, and what is behind them.
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
        """The run's folder, the report of `train`, the accuracy on test/."""
        name = f"{mode}-{seed}"
        shutil.rmtree(self.args.work / "runs" / name, ignore_errors=True)
        seeded = [] if mode == "head" else ["--seed", seed]
        where = ["--out", self.args.work / "runs", "--name", name]
        report = self.call("train", self.folder, "--tune", mode, *seeded, *where, *options)
        run = self.args.work / "runs" / name
        return run, report, self.call("evaluate", run / "model.safetensors", self.folder)["accuracy"]


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

    @staticmethod
    def tuned(head, mode):
        """EfficientNet-Lite0 from that head, with what trains in this mode."""
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=10, drop_rate=0.2)
        state = safetensors.torch.load_file(ROOT / "assets" / "weights" / "efficientnet_lite0.safetensors")
        state |= {k: v for k, v in safetensors.torch.load_file(head).items() if k.startswith("classifier.")}
        network.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True)
        for name, tensor in network.named_parameters():
            tensor.requires_grad_(mode == "full" or name.startswith(LAST))
        return network

    @staticmethod
    def small():
        """MobileNetV3-small as it is drawn by torchvision, with a first step that keeps the picture's size."""
        network = torchvision.models.mobilenet_v3_small(num_classes=10)
        network.features[0][0].stride = (1, 1)
        return network

    @torch.inference_mode()
    def measure(self, network, part):
        network.eval()
        pictures, classes = self.parts[part]
        found = torch.cat([network(pictures[at : at + 100]) for at in range(0, len(pictures), 100)])
        loss = nn.functional.cross_entropy(found, classes).item()
        return (found.argmax(1) == classes).float().mean().item(), -loss

    def scratch(self, seed, run):
        torch.manual_seed(seed)
        return self.train(self.small(), seed, run, True)

    def train(self, network, seed, run, statistics):
        """Accuracy on val/ of the best epoch, its accuracy on test/, seconds of the training.

        `run` is the folder of Rekindle's run, whose recipe this goes by; `statistics` says whether batch norms go by
        the batch.
        """
        recipe = tomllib.loads((run / "recipe.toml").read_text())["tuning"]
        assert recipe["optimizer"]["kind"] == "adamw" and recipe["schedule"]["kind"] == "one_cycle", recipe
        rate, epochs, batch = recipe["lr"], recipe["epochs"], recipe["batch"]
        torch.manual_seed(seed)
        learn = [tensor for tensor in network.parameters() if tensor.requires_grad]
        matrices, rest = [p for p in learn if p.ndim > 1], [p for p in learn if p.ndim < 2]
        decay = recipe["optimizer"]["weight_decay"]
        groups = [{"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=rate)
        pictures, classes = self.parts["train"]
        steps = -(-len(classes) // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps)
        best, started = None, time.perf_counter()
        for _ in range(epochs):
            network.train()
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.train(statistics)
            for at in torch.randperm(len(classes)).split(batch):
                mirrored = (torch.rand(len(at)) < recipe["augment"]["flip"]).view(-1, 1, 1, 1)
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


def folder(args, sizes):
    """Where so many pictures to learn from, to choose by and to measure on lie, in folders."""
    made = args.work / f"pictures-{sizes.replace(',', '-')}-{args.draw}"
    if not made.exists():
        shutil.rmtree(args.work / "half", ignore_errors=True)
        write(args.data, args.work / "half", [int(size) // len(CLASSES) for size in sizes.split(",")], args.draw)
        (args.work / "half").rename(made)
    return made


def preset(model):
    with safetensors.safe_open(model, "np") as file:
        return json.loads(file.metadata()["rekindle"])["preset"]


def row(name, runs, alone=None, note=""):
    """A line of the table: runs are accuracies on val/ and test/, and seconds."""
    on_val, on_test, seconds = ([run[part] for run in runs] for part in range(3))
    spread = f"{min(on_test):.4f} to {max(on_test):.4f}"
    above = "" if alone is None else f"{100 * (statistics.mean(on_test) - alone):+5.1f}"
    numbers = f"{statistics.mean(on_val):8.4f} {statistics.mean(on_test):8.4f}  {spread} {above:>5}"
    print(f"{name:26} {numbers} {statistics.mean(seconds):8.1f}  {note}", flush=True)
    return statistics.mean(on_test)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--program", default=str(target / "release/rekindle"))
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--work", type=pathlib.Path, default=target / "fashion", help="pictures and runs go here")
    parser.add_argument("--sizes", default="1600,400,2000", help="pictures to learn from, to choose by, to measure on")
    parser.add_argument("--draw", type=int, default=0, help="seed of which pictures they are")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--modes", nargs="*", default=["last", "full"], choices=["last", "full", "scratch"])
    parser.add_argument("--input", type=int, default=96)
    parser.add_argument("--scratch-sizes", default="55000,5000,10000")
    parser.add_argument("--scratch-epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-torch", action="store_true")
    args = parser.parse_args()
    print(f"{'':26} {'val':>8} {'test':>8}  {'of the seeds':16} {'above':>5} {'seconds':>8}")
    failed = []
    tuned = [mode for mode in args.modes if mode != "scratch"]
    if tuned:
        rekindle = Rekindle(args, folder(args, args.sizes))
        network = ["--model", "efficientnet_lite0", "--input", args.input]
        run, report, alone = rekindle(0, "head", *network)
        head = run / "model.safetensors"
        row("head", [(report["accuracy"], alone, report["train_seconds"])], alone)
        torch_loop = None if args.no_torch else Torch(args, rekindle.folder, preset(head))
    for mode in tuned:
        runs = [rekindle(seed, mode, *network) for seed in args.seeds]
        kept = ", ".join(report["kept"] for _, report, _ in runs)
        found = [(report["accuracy"], test, report["train_seconds"]) for _, report, test in runs]
        ours = row(f"{mode}: Rekindle, as shipped", found, alone, f"kept {kept}")
        if ours < alone + {"last": 0.015, "full": 0.03}[mode]:
            failed.append(f"{mode} gains too little over the head")
        if torch_loop:
            run = runs[0][0]
            found = [torch_loop.train(torch_loop.tuned(head, mode), seed, run, False) for seed in args.seeds]
            if ours < row(f"{mode}: PyTorch", found, alone) - 0.01:
                failed.append(f"{mode} ends more than a point below PyTorch")
    if "scratch" in args.modes:
        rekindle = Rekindle(args, folder(args, args.scratch_sizes))
        network = ["--model", "mobilenet_v3_small", "--small-stem", "--input", 32]
        recipe = ["--epochs", args.scratch_epochs, "--batch", 128, "--augment", "flip"]
        runs = [rekindle(seed, "scratch", *network, *recipe) for seed in args.seeds]
        ours = row("scratch: Rekindle", [(report["accuracy"], test, report["train_seconds"]) for _, report, test in runs])
        if not args.no_torch:
            run = runs[0][0]
            torch_loop = Torch(args, rekindle.folder, preset(run / "model.safetensors"))
            if ours < row("scratch: PyTorch", [torch_loop.scratch(seed, run) for seed in args.seeds]) - 0.01:
                failed.append("scratch ends more than a point below PyTorch")
    if failed:
        sys.exit("; ".join(failed))


if __name__ == "__main__":
    main()

"""Training with Rekindle beside a PyTorch loop, in one run: the head alone, the last stages, everything.

    cargo build --release
    python3 bench/train.py                          1 000 JPEGs of 500 x 375, 10 epochs, ResNet-18 at 224
    python3 bench/train.py --photos 200 --epochs 6 --modes head last

PyTorch's loop is the one that tutorials show: ImageFolder, two loader workers, the frozen layers run again in every epoch;
AdamW, one-cycle, batch norm frozen. Both start from random numbers, on which speed does not depend, and both count all from
the folder to the trained network. Rekindle's cache is empty at the beginning. Memory is the peak of the process (and of
PyTorch's workers: of the largest). Every figure of a row is of one run, PyTorch's taken between Rekindle's.

Versions: see tests/parity/requirements.txt.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
CLASSES = 5
LAST = ("layer3", "layer4", "fc")


def photos(folder, count):
    """Noise in large blocks, so that files are as large as photos' and classes can be told apart."""
    from PIL import Image

    draw = random.Random(0)
    for index in range(count):
        kind = index % CLASSES
        place = folder / f"class{kind}"
        place.mkdir(parents=True, exist_ok=True)
        small = Image.new("RGB", (50, 37))
        small.putdata([tuple(min(255, draw.randrange(256) // 2 + 25 * kind * (channel == kind % 3)) for channel in range(3)) for _ in range(50 * 37)])
        small.resize((500, 375), Image.BICUBIC).save(place / f"{index}.jpg", quality=90)


def measured(command, environment=None):
    """Seconds and peak megabytes of a process and its children, and what it printed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    out, err = process.communicate()
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{err}")
    return seconds, out


def peak(command, environment=None):
    """Runs a command in a child of this script, so that its peak is its own."""
    code = "import json, resource, subprocess, sys, time\n" \
        "start = time.perf_counter()\n" \
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)\n" \
        "seconds = time.perf_counter() - start\n" \
        "memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024\n" \
        "print(json.dumps([done.returncode, seconds, memory, done.stdout[-4000:], done.stderr[-2000:]]))"
    _, out = measured([sys.executable, "-c", code, *command], environment)
    status, seconds, memory, said, trouble = json.loads(out)
    if status:
        sys.exit(f"{' '.join(command)}\n{trouble}")
    return seconds, memory, said


def loop(folder, mode, epochs, batch):
    """What tutorials show."""
    import torch
    import torchvision

    torch.manual_seed(0)
    transforms = torchvision.transforms
    chain = transforms.Compose([
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    dataset = torchvision.datasets.ImageFolder(folder, chain)
    loader = torch.utils.data.DataLoader(dataset, batch, shuffle=True, num_workers=2, drop_last=False)
    model = torchvision.models.resnet18(num_classes=CLASSES)
    trains = {"head": ("fc",), "last": LAST, "full": ("",)}[mode]
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith(trains)
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, 5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-4, epochs * len(loader))
    model.eval()  # batch norm frozen; there is no dropout
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            schedule.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--program", default=str(target / "release/rekindle"))
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--modes", nargs="+", choices=["head", "last", "full"], default=["head", "last", "full"])
    parser.add_argument("--loop", nargs=2, help=argparse.SUPPRESS)  # this script as the process that is measured
    args = parser.parse_args()
    if args.loop:
        return loop(*args.loop, args.epochs, args.batch)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "photos"
        photos(folder, args.photos)
        print(f"{args.photos} photos, {args.epochs} epochs, ResNet-18, batch {args.batch}; seconds and peak MB")
        print(f"{'':6} {'rekindle':>18} {'PyTorch':>18} {'ratio':>7}")
        for mode in args.modes:
            environment = {**os.environ, "XDG_CACHE_HOME": f"{scratch}/cache-{mode}", "REKINDLE_ASSETS": str(ROOT / "assets")}
            command = [args.program, "--device", "cpu", "--json", "train", str(folder), "--model", "resnet18", "--weights", "random"]
            command += ["--out", f"{scratch}/runs", "--split", "0.02"]
            if mode != "head":
                command += ["--tune", mode, "--epochs", str(args.epochs), "--batch", str(args.batch), "--views", "2", "--keep", "tuned"]
            ours, our_memory, _ = peak(command, environment)
            theirs, their_memory, _ = peak([sys.executable, __file__, "--loop", str(folder), mode, "--epochs", str(args.epochs), "--batch", str(args.batch)])
            print(f"{mode:6} {ours:9.1f} s {our_memory:5.0f} MB {theirs:9.1f} s {their_memory:5.0f} MB {theirs / ours:7.1f}", flush=True)


if __name__ == "__main__":
    main()

"""Training with Rekindle beside a PyTorch loop, in one run: the head alone, the last stages, everything.

    cargo build --release
    python3 bench/train.py                          1 000 JPEGs of 500 x 375, 10 epochs, two networks at 224; two hours
    python3 bench/train.py --photos 200 --epochs 6 --modes head last --networks efficientnet_lite0
    python3 bench/train.py --steps                  single steps of six networks: time and memory; an hour
    python3 bench/train.py --steps resnet18 --batches 8 --rounds 2

PyTorch's loop is the one that tutorials show: ImageFolder, two loader workers, the frozen layers run again in every epoch;
AdamW, one-cycle, batch norm frozen, mirrored at random, judged on val/ after every epoch. Both start from the same file
(EfficientNet-Lite0's published weights, ResNet-18 drawn at random), and both count all from the folder to the trained
network; the time that PyTorch takes to be imported is left out. Rekindle's cache is empty at the beginning, and holds two
views of each photo. "cached" is the last stages once more, where the values before them are known: Rekindle with the cache
that its first run left, PyTorch with the same views' values in 16 bits in a file. Accuracy is that on val/. Memory is the
peak of the process (and of PyTorch's workers: of the largest). Every figure of a row is of one run, PyTorch's taken between
Rekindle's.

With `--steps` a step is forward, backward and SGD with momentum on a batch of noise at 224 pixels, all parameters in
training, batch norms by the batch's statistics and by running ones that stay. Each figure is of a process of its own, the
best of several rounds that take turns, and PyTorch's is that of the better of its two memory formats. Memory is the peak of
the process less what was resident before the first step. The last two columns are steps with `--recompute`: their time over
that without it, and their memory over PyTorch's.

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
# Views of each photo whose values are kept.
VIEWS = 2
# What a network is called here and in torchvision or timm, and whether it has batch norms.
STEPS = {
    "resnet18": ("resnet18", True),
    "resnet50": ("resnet50", True),
    "mobilenet_v3_small": ("mobilenet_v3_small", True),
    "efficientnet_lite0": ("tf_efficientnet_lite0", True),
    "convnext_tiny": ("convnext_tiny", False),
    "vit_tiny_patch16_224": ("vit_tiny_patch16_224", False),
}


def photos(folder, count):
    """Noise in large blocks, so that files are as large as photos' and classes can be told apart."""
    from PIL import Image

    draw = random.Random(0)
    for index in range(count + count // 5):
        kind = index % CLASSES
        place = folder / ("train" if index < count else "val") / f"class{kind}"
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


def network(name, weights):
    """A network of CLASSES classes in PyTorch, from a file whose head is another."""
    import safetensors.torch
    import torch

    torch.manual_seed(0)
    if name == "resnet18":
        import torchvision

        model = torchvision.models.resnet18(num_classes=CLASSES)
        state = torch.load(weights)
    else:
        import timm

        model = timm.create_model(STEPS[name][0], num_classes=CLASSES)
        state = safetensors.torch.load_file(weights)
    own = model.state_dict()
    model.load_state_dict({key: value.float() for key, value in state.items() if own[key].shape == value.shape}, strict=False)
    return model


def parts(name, model):
    """The layers before the last stages, and those from there on."""
    import torch

    children = dict(model.named_children())
    if name == "resnet18":
        first = [children[key] for key in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2")]
        last = [children[key] for key in ("layer3", "layer4", "avgpool")] + [torch.nn.Flatten(1), children["fc"]]
    else:
        blocks = children["blocks"]
        first = [children["conv_stem"], children["bn1"], blocks[:5]]
        last = [blocks[5:], children["conv_head"], children["bn2"], children["global_pool"], children["classifier"]]
    return torch.nn.Sequential(*first), torch.nn.Sequential(*last)


def sets(folder, name):
    """The parts train/ and val/ as PyTorch's loader sees them."""
    import timm
    import torchvision

    transforms = torchvision.transforms
    mean, std, mode = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], "bilinear")
    if name != "resnet18":
        config = timm.create_model(STEPS[name][0]).pretrained_cfg
        mean, std, mode = config["mean"], config["std"], config["interpolation"]
    seen = [transforms.Resize(256, transforms.InterpolationMode(mode)), transforms.CenterCrop(224)]
    known = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    mirrored = transforms.Compose([*seen, transforms.RandomHorizontalFlip(), *known])
    of = torchvision.datasets.ImageFolder
    return of(f"{folder}/train", mirrored), of(f"{folder}/val", transforms.Compose(seen + known))


def loop(folder, name, weights, mode, epochs, batch):
    """What tutorials show; or, cached, the same from values before the last stages. Seconds and accuracy."""
    import torch

    # Imported before the clock starts: a notebook has it already.
    model = network(name, weights)
    sets(folder, name)
    start = time.perf_counter()
    first, last = parts(name, model)
    for parameter in first.parameters():
        parameter.requires_grad = mode == "full"
    for parameter in last.parameters():
        parameter.requires_grad = mode != "head"
    for parameter in last[-1].parameters():
        parameter.requires_grad = True
    if mode == "cached":
        kept = torch.load(f"{folder}.{name}.pt")
        train, val = (torch.utils.data.TensorDataset(*kept[part]) for part in ("train", "val"))
        train = torch.utils.data.DataLoader(train, batch, shuffle=True)
        val, run = torch.utils.data.DataLoader(val, batch), last
    else:
        train, val = sets(folder, name)
        train = torch.utils.data.DataLoader(train, batch, shuffle=True, num_workers=2)
        val, run = torch.utils.data.DataLoader(val, batch, num_workers=2), model
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, 5e-4)
    # An epoch goes once over the photos, whichever of the kept views it takes.
    steps = -(-(len(train.dataset) // (VIEWS if mode == "cached" else 1)) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-4, epochs * steps)
    model.eval()  # batch norm frozen, nothing left out
    for _ in range(epochs):
        for _, (images, labels) in zip(range(steps), train):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(run(images.float()), labels).backward()
            optimizer.step()
            schedule.step()
        with torch.inference_mode():
            right = sum((run(images.float()).argmax(1) == labels).sum().item() for images, labels in val)
    print(json.dumps([time.perf_counter() - start, right / len(val.dataset)]))


def keep(folder, name, weights):
    """Writes the values before the last stages of VIEWS views of each photo into a file."""
    import torch

    first, _ = parts(name, network(name, weights).eval())
    train, val = sets(folder, name)

    def values(photos, views):
        made, labels = [], []
        with torch.inference_mode():
            for _ in range(views):
                for images, classes in torch.utils.data.DataLoader(photos, 32, num_workers=2):
                    made.append(first(images).half())
                    labels.append(classes)
        return torch.cat(made), torch.cat(labels)

    torch.save({"train": values(train, VIEWS), "val": values(val, 1)}, f"{folder}.{name}.pt")


def resident(field):
    """Megabytes of this process: VmRSS now, VmHWM at most."""
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024


def torch_steps(name, batch, bn, form, runs):
    """Steps in PyTorch, in this process: milliseconds of the best, and megabytes."""
    import torch
    import torchvision

    torch.manual_seed(0)
    if hasattr(torchvision.models, name):
        model = getattr(torchvision.models, name)(weights=None)
    else:
        import timm

        model = timm.create_model(name)
    model.train()
    if bn == "frozen":
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    images, labels = torch.randn(batch, 3, 224, 224), torch.arange(batch)
    if form == "last":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 1e-6, momentum=0.9, weight_decay=1e-4)
    before, best = resident("VmRSS"), float("inf")
    for _ in range(runs + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        best = min(best, time.perf_counter() - start)
    print(json.dumps([1e3 * best, resident("VmHWM") - before]))


def steps(args):
    """Single steps beside PyTorch's."""
    print(f"{'network':22} {'batch':>5} {'batch norm':>10} {'rekindle ms':>12} {'PyTorch ms':>11} {'ratio':>6} {'MB':>6} {'PyTorch':>8} {'ratio':>6} {'recompute':>9} {'MB':>6}")
    ratios = []
    for name in args.steps or STEPS:
        peer, has_norms = STEPS[name]
        for batch in args.batches:
            for bn in ("train", "frozen") if has_norms else ("none",):
                ours, our_memory = float("inf"), float("inf")
                theirs, their_memory = {}, {}
                again, again_memory = float("inf"), float("inf")
                for _ in range(args.rounds):
                    command = [args.program, "--device", "cpu", "--json", "bench", name, "--batch", str(batch), "--train", "--runs", str(args.runs)]
                    command += ["--bn", bn] if has_norms else []
                    said = json.loads(measured(command)[1])["training"]
                    ours, our_memory = min(ours, said["best_ms"]), min(our_memory, said["step_memory_bytes"] / 2**20)
                    said = json.loads(measured([*command, "--recompute"])[1])["training"]
                    again, again_memory = min(again, said["best_ms"]), min(again_memory, said["step_memory_bytes"] / 2**20)
                    for form in ("first", "last"):
                        command = [sys.executable, __file__, "--torch-step", peer, str(batch), bn, form, str(args.runs)]
                        best, memory = json.loads(measured(command)[1])
                        theirs[form] = min(theirs.get(form, best), best)
                        their_memory[form] = min(their_memory.get(form, memory), memory)
                form = min(theirs, key=theirs.get)
                ratios.append(theirs[form] / ours)
                print(
                    f"{name:22} {batch:5} {bn:>10} {ours:12.1f} {theirs[form]:11.1f} {ratios[-1]:6.2f} {our_memory:6.0f}"
                    f" {their_memory[form]:8.0f} {our_memory / their_memory[form]:6.2f}"
                    f" {again / ours:9.2f} {again_memory / their_memory[form]:6.2f}",
                    flush=True,
                )
    mean = 1.0
    for ratio in ratios:
        mean *= ratio ** (1 / len(ratios))
    print(f"PyTorch's time / ours: geometric mean {mean:.2f}, least {min(ratios):.2f}")


def whole(args):
    """Trainings from the folder to the network."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "photos"
        photos(folder, args.photos)
        import torch
        import torchvision

        torch.manual_seed(0)
        weights = {"resnet18": f"{scratch}/resnet18.pth", "efficientnet_lite0": str(ROOT / "assets/weights/efficientnet_lite0.safetensors")}
        torch.save(torchvision.models.resnet18().state_dict(), weights["resnet18"])
        print(f"{args.photos} photos, {args.epochs} epochs, batch {args.batch}; seconds, peak MB, accuracy on {args.photos // 5} others")
        print(f"{'':26} {'rekindle':>25} {'PyTorch':>25} {'ratio':>6}")
        for name in args.networks:
            for mode in args.modes:
                environment = {**os.environ, "XDG_CACHE_HOME": f"{scratch}/cache-{name}-{mode}", "REKINDLE_ASSETS": str(ROOT / "assets")}
                command = [args.program, "--device", "cpu", "--json", "train", str(folder), "--model", name, "--weights", weights[name]]
                command += ["--out", f"{scratch}/runs"]
                if mode != "head":
                    command += ["--tune", mode, "--epochs", str(args.epochs), "--batch", str(args.batch), "--views", str(VIEWS), "--keep", "tuned"]

                def row(title, ours, theirs):
                    (seconds, memory, said), (_, their_memory, printed) = ours, theirs
                    theirs, accuracy = json.loads(printed.splitlines()[-1])
                    own = json.loads(said.splitlines()[-1])["accuracy"]
                    print(
                        f"{name + ', ' + title:26} {seconds:7.1f} s {memory:5.0f} MB {100 * own:6.1f} % {theirs:7.1f} s {their_memory:5.0f} MB"
                        f" {100 * accuracy:6.1f} % {theirs / seconds:6.2f}",
                        flush=True,
                    )

                def torch_loop(mode):
                    words = [str(folder), name, weights[name], mode, str(args.epochs), str(args.batch)]
                    return peak([sys.executable, __file__, "--loop", *words])

                row(mode, peak(command, environment), torch_loop(mode))
                if mode == "last":
                    peak([sys.executable, __file__, "--keep", str(folder), name, weights[name]])
                    row("last, cached", peak(command, environment), torch_loop("cached"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--program", default=str(target / "release/rekindle"))
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--modes", nargs="+", choices=["head", "last", "full"], default=["head", "last", "full"])
    parser.add_argument("--networks", nargs="+", choices=["resnet18", "efficientnet_lite0"], default=["resnet18", "efficientnet_lite0"])
    # This script as the process that is measured.
    parser.add_argument("--loop", nargs=6, help=argparse.SUPPRESS)
    parser.add_argument("--keep", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--steps", nargs="*", choices=list(STEPS), help="single steps of these networks; all when none is named")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5, help="steps of a round")
    parser.add_argument("--torch-step", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_step:
        name, batch, bn, form, runs = args.torch_step
        return torch_steps(name, int(batch), bn, form, int(runs))
    if args.steps is not None:
        return steps(args)
    if args.loop:
        folder, name, weights, mode, epochs, batch = args.loop
        return loop(folder, name, weights, mode, int(epochs), int(batch))
    if args.keep:
        return keep(*args.keep)
    whole(args)


if __name__ == "__main__":
    main()

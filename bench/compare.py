"""Rekindle beside PyTorch and ONNX Runtime on this machine's processor, in one run.

Two tables:

* forward passes of six networks, milliseconds an image at batch 1 and 8;
* from a folder of photos to a trained head: `rekindle train` and a plain torchvision-style loop with
  the same backbone, trained until it reaches the same accuracy on the same held-out photos.

Needs a release build of `rekindle` and Python with the versions in tests/parity/requirements.txt.
The programs run one after the other, each with all cores; the runs are interleaved, so that a busy
moment of the machine hits all alike.

    cargo build --release && python3 bench/compare.py
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0))
NETWORKS = ["squeezenet1_1", "efficientnet_lite0", "mobilenet_v3_large", "resnet18", "resnet50", "vit_b_16"]


def network(name, classes=1000):
    if name == "efficientnet_lite0":
        return timm.create_model("tf_efficientnet_lite0", num_classes=classes)
    return getattr(torchvision.models, name)(num_classes=classes)


def rekindle(program, *arguments):
    out = subprocess.run(
        [program, *arguments, "--json", "--quiet", "--device", "cpu"],
        check=True, stdout=subprocess.PIPE, env={**os.environ, "REKINDLE_ASSETS": str(ROOT / "assets")},
    )
    return json.loads(out.stdout.splitlines()[-1])


def median_ms(function, runs):
    function()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def onnx_session(model, batch, folder):
    path = str(pathlib.Path(folder) / f"{id(model)}_{batch}.onnx")
    torch.onnx.export(model, torch.zeros(batch, 3, 224, 224), path, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def forward(program, runs, folder, networks, batches):
    print(f"\nforward, {CORES} cores, ms an image (median of {runs} passes, three rounds, best round)")
    print(f"{'network':20} {'batch':>5} {'rekindle':>9} {'PyTorch':>9} {'ONNX RT':>9}   rekindle/PyTorch  rekindle/ORT")
    ratios = []
    for name in networks:
        model = network(name).eval()
        for batch in batches:
            images = torch.randn(batch, 3, 224, 224)
            session = onnx_session(model, batch, folder)
            feed = {session.get_inputs()[0].name: images.numpy()}
            best = [float("inf")] * 3

            def torch_pass():
                with torch.inference_mode():
                    model(images)

            for _ in range(3):
                ours = rekindle(program, "bench", name, "--weights", "random", "--batch", str(batch), "--runs", str(runs))
                round_ = [
                    ours["ms_per_image"],
                    median_ms(torch_pass, runs) / batch,
                    median_ms(lambda: session.run(None, feed), runs) / batch,
                ]
                best = [min(a, b) for a, b in zip(best, round_)]
            ours, pytorch, ort = best
            ratios.append((ours / pytorch, ours / ort))
            print(f"{name:20} {batch:5} {ours:9.1f} {pytorch:9.1f} {ort:9.1f} {ours / pytorch:18.2f} {ours / ort:13.2f}", flush=True)
    mean = [np.exp(np.mean(np.log([pair[peer] for pair in ratios]))) for peer in (0, 1)]
    print(f"{'geometric mean':20} {'':5} {'':9} {'':9} {'':9} {mean[0]:18.2f} {mean[1]:13.2f}")


def torch_training(photos, train, valid, labels, classes, target):
    """A plain loop: frozen backbone, new head, AdamW, every epoch through the whole network."""
    start = time.perf_counter()
    model = network("efficientnet_lite0")
    model.load_state_dict({k: v.float() for k, v in load_file(ROOT / "assets/weights/efficientnet_lite0.safetensors").items()}, strict=False)
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.reset_classifier(classes)
    transform = torchvision.transforms.Compose([
        torchvision.transforms.Resize(256, torchvision.transforms.InterpolationMode.BICUBIC),
        torchvision.transforms.CenterCrop(224),
        torchvision.transforms.ToTensor(),
        torchvision.transforms.Normalize([0.5] * 3, [0.5] * 3),
    ])

    class Photos(torch.utils.data.Dataset):
        def __init__(self, indices):
            self.indices = indices

        def __len__(self):
            return len(self.indices)

        def __getitem__(self, position):
            index = self.indices[position]
            return transform(Image.open(photos[index]).convert("RGB")), labels[index]

    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(Photos(train), batch_size=32, shuffle=True)
    held = torch.utils.data.DataLoader(Photos(valid), batch_size=32)
    optimiser = torch.optim.AdamW(model.classifier.parameters(), lr=1e-2)
    accuracy = 0.0
    for epoch in range(1, 31):
        model.eval()  # frozen batch norm, as a feature extractor wants it
        for images, target_labels in loader:
            loss = torch.nn.functional.cross_entropy(model(images), target_labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        right = 0
        with torch.inference_mode():
            for images, target_labels in held:
                right += int((model(images).argmax(1) == target_labels).sum())
        accuracy = right / len(valid)
        if accuracy >= target:
            break
    return time.perf_counter() - start, epoch, accuracy


def training(program, folder):
    root = ROOT / "assets/photos"
    classes = sorted(p.name for p in root.iterdir() if p.is_dir())
    photos, labels = [], []
    for number, name in enumerate(classes):
        for path in sorted((root / name).iterdir()):
            photos.append(path)
            labels.append(number)
    # Every fifth photo of a class is held out, for both.
    valid = [i for i in range(len(photos)) if (i - labels.index(labels[i])) % 5 == 4]
    train = [i for i in range(len(photos)) if i not in valid]
    data = pathlib.Path(folder) / "data"
    for part, indices in (("train", train), ("val", valid)):
        for i in indices:
            target = data / part / classes[labels[i]]
            target.mkdir(parents=True, exist_ok=True)
            os.symlink(photos[i], target / photos[i].name)
    start = time.perf_counter()
    ours = rekindle(program, "train", str(data), "--out", str(pathlib.Path(folder) / "runs"))
    ours_seconds = time.perf_counter() - start
    seconds, epochs, accuracy = torch_training(photos, train, valid, labels, len(classes), ours["accuracy"])
    print(f"\nfrom a folder of {len(photos)} photos to a trained head (EfficientNet-Lite0, {len(train)} train, {len(valid)} held out)")
    print(f"rekindle train      {ours_seconds:6.1f} s   accuracy {ours['accuracy']:.3f}   (process start to exit, model file written)")
    print(f"PyTorch loop        {seconds:6.1f} s   accuracy {accuracy:.3f}   ({epochs} epochs; imports not counted)")
    print(f"ratio               {seconds / ours_seconds:6.1f} times faster")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--program", default=str(target / "release/rekindle"))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--forward", action="store_true", help="leave the training comparison out")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="those whose forward passes are measured")
    parser.add_argument("--batches", default="1,8", help="and with how many images")
    args = parser.parse_args()
    if not pathlib.Path(args.program).is_file():
        sys.exit(f"{args.program} is not there: run `cargo build --release` first")
    torch.set_num_threads(CORES)
    print(f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, ONNX Runtime {onnxruntime.__version__}, numpy {np.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        if not args.forward:
            training(args.program, folder)
        batches = [int(batch) for batch in args.batches.split(",")]
        forward(args.program, args.runs, folder, args.networks.split(","), batches)


if __name__ == "__main__":
    main()

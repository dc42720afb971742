"""The gradients of every parameter of one network of each family: tests/goldens/gradients.safetensors.

Generated weights (generator.py), one generated batch, one step forward and one back, in float64, so that the golden
holds nobody's rounding; how far float32 PyTorch is off is noted with each network. Of a gradient its size, its largest
element and three projections onto seeded signs are kept: an error of whatever shape shows in the projections about as
large as it is.

    python3 tests/parity/make_gradient_goldens.py              all
    python3 tests/parity/make_gradient_goldens.py NETWORK ...  prints some, writes nothing

The metadata entry `golden` is a JSON object:

    classes              outputs of the head, or channels of a dense network's answer
    networks.<name>      name: Rekindle's
        library, model   "torchvision" or "timm", and what it is called there
        dense            whether it answers for every place
        parameters       how many tensors take gradients
        names            FNV-1a, 16 hexadecimal digits, of their names, sorted and joined with newlines
        modes.<mode>     "batch": batch norms in training mode; "running": with their running statistics, of networks
                         that have any
            side, batch, images   the images are [batch, 3, side, side]: the stream of that name, each number
                         (2u - 1) * 2
            loss         before the step
            f32          the worst distance of float32 PyTorch from a row below, in units of what a test should allow:
                         1e-3 of the gradient's norm and 1e-6 of the largest norm

Tensors, f32:
    <name>/<mode>        [parameters, 5], a row for each parameter in the order of the names, of its gradient g: L2
                         norm, largest absolute value, and for k = 0, 1, 2 the sum of s_k * g, where s_k of element i
                         (row-major) is -1 if bit 63 - k of the i-th `next_u64()` of the stream "signs.<parameter>" is
                         set, else 1

The loss is the mean cross-entropy. The label of image i is (3 i + 1) mod classes; of a dense network the labels
[batch, side, side] are floor(u * classes) of the stream "labels", and the mean is over all pixels of all images.

Versions: see requirements.txt beside this file.
"""

import json
import sys
import time

import numpy as np
import safetensors.numpy
import timm
import torch
import torchvision
from torch.nn import functional as F

import generator
import training

CLASSES, SIDE, BATCH, PROJECTIONS = 10, 64, 4, 3
# At most so many numbers are drawn at a time.
PIECE = 1 << 22


def about(library: str = "torchvision", model: str | None = None, dense: bool = False, **modes) -> dict:
    """A network, and for each mode what is not usual; None leaves it out."""
    usual = {"side": SIDE, "batch": BATCH, "images": "batch.0"}
    modes = {mode: modes.get(mode, usual) for mode in ("batch", "running")}
    return {"library": library, "model": model, "dense": dense, "modes": modes}


def on(side: int, batch: int, images: str = "batch.0") -> dict:
    return {"side": side, "batch": batch, "images": images}


# Where one unit of a ReLU is so near to zero that rounding decides whether it lets its gradient through, no float32
# implementation has the gradients of another: some networks need a batch without such a unit. Others have none in
# training mode: each of their many norms makes more of a rounding than the one before, and float32 PyTorch is off by a
# hundredth.
NETWORKS = {
    "alexnet": about(batch=on(64, 4, "batch.1")),
    "vgg11_bn": about(batch=None, running=on(32, 2)),
    "resnet18": about(),
    "densenet121": about(batch=None, running=on(64, 4, "batch.2")),
    "googlenet": about(batch=on(48, 4, "batch.1")),
    "squeezenet1_1": about(),
    "shufflenet_v2_x0_5": about(),
    "mobilenet_v2": about(batch=None),
    "mobilenet_v3_small": about(),
    "mobilenetv4_conv_small": about("timm"),
    "mnasnet0_5": about(batch=on(64, 4, "batch.3")),
    "efficientnet_b0": about(),
    "efficientnet_lite0": about("timm", "tf_efficientnet_lite0", batch=None),
    "regnet_x_400mf": about(batch=None),
    "regnet_y_400mf": about(batch=None),
    "convnext_tiny": about(),
    "vit_tiny_patch16_224": about("timm"),
    "swin_t": about(),
    "swin_v2_t": about(),
    # Windows of 7 x 7 over four halvings.
    "maxvit_t": about(batch=on(224, 2), running=on(224, 1)),
    "coatnet_0_rw_224": about("timm"),
    "fcn_resnet50": about(dense=True, batch=None, running=on(32, 2)),
    "deeplabv3_mobilenet_v3_large": about(dense=True, batch=None),
    "lraspp_mobilenet_v3_large": about(dense=True),
}


def labels(dense: bool, asked: dict) -> torch.Tensor:
    if not dense:
        return torch.tensor([(3 * image + 1) % CLASSES for image in range(asked["batch"])])
    shape = (asked["batch"], asked["side"], asked["side"])
    u = torch.from_numpy(generator.uniform(generator.seed_of("labels"), int(np.prod(shape))))
    return (u * CLASSES).long().reshape(shape)


def gradients(name: str, network: dict, mode: str, dtype: torch.dtype) -> tuple[float, dict[str, np.ndarray]]:
    asked = network["modes"][mode]
    built = training.network(network["model"] or name, network["library"], asked["side"], CLASSES, dtype)
    if mode == "running":
        training.freeze_statistics(built)
    images = training.images(asked["images"], asked["batch"], asked["side"], dtype)
    answers = built(images)
    answers = answers["out"] if network["dense"] else answers
    loss = F.cross_entropy(answers, labels(network["dense"], asked))
    loss.backward()
    found = {key: parameter.grad for key, parameter in built.named_parameters()}
    return loss.item(), {key: found[key].flatten().numpy() for key in sorted(found)}


def row(name: str, gradient: np.ndarray) -> np.ndarray:
    sums = np.zeros(PROJECTIONS)
    for start in range(0, gradient.size, PIECE):
        piece = gradient[start : start + PIECE].astype(np.float64)
        # The state is a counter: the i-th number needs no other.
        seed = (generator.seed_of(f"signs.{name}") + start * int(generator.GAMMA)) & generator.MASK_64
        drawn = generator.next_u64(seed, piece.size)
        for k in range(PROJECTIONS):
            negative = (drawn >> np.uint64(63 - k)) & np.uint64(1)
            sums[k] += np.where(negative == 1, -piece, piece).sum()
    norm = np.linalg.norm(gradient.astype(np.float64))
    return np.array([norm, np.abs(gradient).max(), *sums])


def rows(found: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([row(name, gradient) for name, gradient in found.items()])


def modes_of(name: str, network: dict) -> dict:
    """Without batch norms there is one mode."""
    wanted = {mode: asked for mode, asked in network["modes"].items() if asked is not None}
    side = next(iter(wanted.values()))["side"]
    built = training.network(network["model"] or name, network["library"], side, CLASSES, torch.float32)
    if not any(training.is_batch_norm(module) for module in built.modules()):
        wanted.pop("running")
    return wanted


def main():
    torch.set_num_threads(1)
    asked = sys.argv[1:]
    card, tensors = {"classes": CLASSES, "networks": {}}, {}
    print("| network | mode | loss | float32, in units of what is allowed | where | seconds |")
    print("|---|---|---|---|---|---|")
    for name in asked or NETWORKS:
        network = dict(NETWORKS[name])
        modes = modes_of(name, network)
        told = {}
        for mode in modes:
            begun = time.monotonic()
            loss, found = gradients(name, network, mode, torch.float64)
            truth, names = rows(found), list(found)
            del found
            allowed = 1e-3 * truth[:, :1] + 1e-6 * truth[:, 0].max()
            off = np.zeros(len(names))
            # Two ways to round: with oneDNN's kernels and with PyTorch's own.
            for mkldnn in (True, False):
                torch.backends.mkldnn.enabled = mkldnn
                single = rows(gradients(name, network, mode, torch.float32)[1])
                off = np.maximum(off, (np.abs(single - truth) / allowed).max(axis=1))
            told[mode] = modes[mode] | {"loss": loss, "f32": float(f"{off.max():.1e}")}
            tensors[f"{name}/{mode}"] = truth.astype(np.float32)
            where, spent = names[int(off.argmax())], time.monotonic() - begun
            print(f"| {name} | {mode} | {loss:.5f} | {off.max():.1e} | {where} | {spent:.1f} |", flush=True)
        network |= {"model": network["model"] or name, "parameters": len(names)}
        hashed = generator.seed_of("\n".join(names))
        card["networks"][name] = network | {"names": f"{hashed:016x}", "modes": told}
    if asked:
        return
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    card["versions"] = {library: version.split("+")[0] for library, version in versions.items()}
    path = generator.GOLDENS / "gradients.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata={"golden": json.dumps(card, separators=(",", ":"))})
    path.chmod(0o644)  # the writer makes it private
    print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()

"""Rekindle's linear head beside scikit-learn's solvers on the same features, in one run; or its two-layer head beside
PyTorch.

    cargo build --release -p rekindle-core --no-default-features --example head --example mlp
    python3 bench/head.py                      (numpy, scikit-learn; the setting of OPENBLAS_* does not count)
    python3 bench/head.py --sizes 10000x1280x10 --kinds photos mixed
    python3 bench/head.py --mlp                (numpy, PyTorch)

Features are made up, of four kinds: "photos" as networks give them (none below zero, a few dozen causes of falling
weight, classes that hardly overlap), "mixed" the same with classes that overlap much, "sparse" with most features at
zero, "noise" without any structure but the classes'. Objectives are worked out here from every solver's
coefficients; a solver counts at the loosest of its tolerances at which its objective is within 1e-6 of the least that
was found, and its fastest run there. Times are seconds. The last column should be at most 1.5.

With `--mlp` both train the same two layers (batch norm, linear, ReLU, batch norm, dropout, linear) by AdamW with a rate that
falls along a half cosine, in batches of 32, each epoch's in an order of its own; PyTorch takes its batches by index from a
tensor, and the faster of AdamW's two forms counts. Times are seconds, the best of rounds that take turns. The last column,
PyTorch's time over ours, should be at least 1.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)

import numpy as np  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
SIZES = [(400, 1280, 5), (6400, 1280, 5), (800, 1280, 100)]
TOLERANCES = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7]
CLOSE = 1e-6
# Two-layer heads: photos, features, classes, hidden units; and photos of a batch.
MLP_SIZES = [f"{photos}x1280x{classes}x{hidden}" for photos in (1000, 8000) for classes in (5, 100) for hidden in (256, 512)]
BATCH = 32


def features(kind, photos, width, classes, seed):
    """Features [photos, width] and labels; their mean variance is one, so that C = 1 suits all kinds."""
    random = np.random.default_rng(seed)
    labels = np.arange(photos) % classes
    if kind == "noise":
        x = random.normal(size=(photos, width)) + 0.1 * random.normal(size=(classes, width))[labels]
    else:
        causes, apart, floor = {"photos": (60, 0.8, 0.2), "mixed": (60, 0.15, 0.2), "sparse": (200, 0.6, 1.5)}[kind]
        weight = 1 / np.arange(1, causes + 1) ** 0.7
        centres = apart * random.normal(size=(classes, causes))
        latent = (centres[labels] + random.normal(size=(photos, causes))) * weight
        x = latent @ random.normal(size=(causes, width)) * 0.5 + 0.1 * random.normal(size=(photos, width))
        x = np.maximum(x - floor, 0)
    return (x / np.sqrt(x.var(0).mean())).astype(np.float32), labels


def objective(x, labels, weight, bias):
    from scipy.special import logsumexp

    logits = x.astype(np.float64) @ weight.T + bias
    return (logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]).sum() + 0.5 * (weight**2).sum()


def ours(args, x, labels, classes):
    with tempfile.TemporaryDirectory() as folder:
        file, weights = pathlib.Path(folder, "features"), pathlib.Path(folder, "weights")
        header = np.array([*x.shape, classes], "<u4").tobytes()
        file.write_bytes(header + x.astype("<f4").tobytes() + labels.astype("<u4").tobytes())
        done = subprocess.run([args.program, file, "1", str(args.runs), weights], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{args.program}: {done.stderr.strip()[-500:]}")
        numbers = np.frombuffer(weights.read_bytes(), "<f4").astype(np.float64)
    report = json.loads(done.stdout)
    weight, bias = numbers[: -classes].reshape(classes, -1), numbers[-classes:]
    return report["seconds"], objective(x, labels, weight, bias), report["iterations"]


def theirs(args, solver, number, x, labels, least):
    """Seconds, objective and iterations at the loosest tolerance that comes close; the last where none does."""
    from sklearn.linear_model import LogisticRegression

    x = x.astype(number)
    for tolerance in TOLERANCES:
        model = LogisticRegression(C=1.0, solver=solver, tol=tolerance, max_iter=args.iterations)
        seconds = []
        for _ in range(args.runs):
            started = time.perf_counter()
            model.fit(x, labels)
            seconds.append(time.perf_counter() - started)
            if seconds[0] > args.patience:
                break
        found = objective(x, labels, model.coef_.astype(np.float64), model.intercept_.astype(np.float64))
        seconds = sorted(seconds)[len(seconds) // 2]
        if found <= least * (1 + CLOSE) or seconds > args.patience:
            break
    return seconds, found, int(model.n_iter_[0])


def torch_mlp(x, labels, classes, hidden, epochs, batch, fused):
    """Seconds, and the mean loss of the last epoch."""
    import torch

    torch.manual_seed(0)
    x, labels = torch.from_numpy(x), torch.from_numpy(labels)
    width = x.shape[1]
    started = time.perf_counter()
    model = torch.nn.Sequential(
        torch.nn.BatchNorm1d(width), torch.nn.Linear(width, hidden), torch.nn.ReLU(),
        torch.nn.BatchNorm1d(hidden), torch.nn.Dropout(0.5), torch.nn.Linear(hidden, classes),
    ).train()  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2, fused=fused)
    steps = -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    for _ in range(epochs):
        order, losses = torch.randperm(len(x)), []
        for some in order.split(batch):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[some]), labels[some])
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        mean = torch.stack(losses).mean().item()
    return time.perf_counter() - started, mean


def two_layers(args):
    """The table of two-layer heads."""
    print(f"{'features':18} {'hidden':>6} {'ours':>8} {'loss':>9}  {'PyTorch':>8} {'loss':>9} {'ratio':>6}")
    ratios = []
    for size in args.mlp or MLP_SIZES:
        photos, width, classes, hidden = map(int, size.split("x"))
        x, labels = features("photos", photos, width, classes, 0)
        own, peer = [], []
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "features")
            header = np.array([*x.shape, classes], "<u4").tobytes()
            file.write_bytes(header + x.astype("<f4").tobytes() + labels.astype("<u4").tobytes())
            for _ in range(args.runs):
                command = [args.mlp_program, file, str(hidden), str(args.epochs), str(BATCH), "1"]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{args.mlp_program}: {done.stderr.strip()[-500:]}")
                said = json.loads(done.stdout)
                own.append((said["seconds"], said["loss"]))
                peer += [torch_mlp(x, labels, classes, hidden, args.epochs, BATCH, fused) for fused in (None, True)]
        (own, loss), (peer, their_loss) = min(own), min(peer)
        ratios.append(peer / own)
        name = f"{photos}x{width}x{classes}"
        print(f"{name:18} {hidden:6} {own:8.3f} {loss:9.2e}  {peer:8.3f} {their_loss:9.2e} {ratios[-1]:6.2f}", flush=True)
    print(f"the least ratio: {min(ratios):.2f}")
    if min(ratios) < 1:
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--program", default=str(target / "release/examples/head"))
    parser.add_argument("--kinds", nargs="*", default=["photos", "mixed", "sparse", "noise"])
    parser.add_argument("--sizes", nargs="*", default=["x".join(map(str, size)) for size in SIZES])
    parser.add_argument("--solvers", nargs="*", default=["newton-cg", "lbfgs"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--patience", type=float, default=30, help="seconds after which a solver is given up")
    parser.add_argument("--mlp", nargs="*", metavar="PHOTOSxFEATURESxCLASSESxHIDDEN", help="two-layer heads beside PyTorch's")
    parser.add_argument("--mlp-program", default=str(target / "release/examples/mlp"))
    parser.add_argument("--epochs", type=int, default=10, help="of two-layer heads")
    args = parser.parse_args()
    if args.mlp is not None:
        return two_layers(args)
    warnings.filterwarnings("ignore")

    print(f"{'features':24} {'ours':>8} {'steps':>6}  {'scikit-learn':>22} {'steps':>6} {'off by':>9} {'ratio':>6}")
    worst = 0
    for kind in args.kinds:
        for size in args.sizes:
            photos, width, classes = map(int, size.split("x"))
            x, labels = features(kind, photos, width, classes, 0)
            seconds, least, steps = ours(args, x, labels, classes)
            name, fastest = f"{kind} {size}", None
            for solver in args.solvers:
                for number in (np.float64, np.float32):
                    at, found, their_steps = theirs(args, solver, number, x, labels, least)
                    if found < least * (1 - CLOSE):
                        sys.exit(f"{name}: {solver} finds {found}, Rekindle only {least}")
                    close = found <= least * (1 + CLOSE)
                    ratio = f"{seconds / at:6.2f}" if close else "      "
                    if close:
                        fastest = min(fastest or at, at)
                    row = f"{name:24} {seconds:8.3f} {steps:6}  {solver:>9} {np.dtype(number).name:8} {at:8.3f}"
                    print(f"{row} {their_steps:6} {found / least - 1:9.1e} {ratio}", flush=True)
            if fastest:
                worst = max(worst, seconds / fastest)
    print(f"the largest ratio to scikit-learn's best: {worst:.2f}")
    if worst > 1.5:
        sys.exit(1)


if __name__ == "__main__":
    main()

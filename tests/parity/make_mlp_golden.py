"""The loss curve of the two-layer head, as PyTorch trains it.

Same initial weights, same features, same batches, same schedule as `rekindle_core::train::mlp`, without
dropout (whose draws no two libraries share). Writes core/tests/fixtures/mlp.json.

    python3 tests/parity/make_mlp_golden.py

Versions: see requirements.txt beside this file.
"""

import json
import math
import pathlib

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15

IMAGES, FEATURES, HIDDEN, CLASSES = 49, 12, 24, 3
EPOCHS, BATCH, RATE, DECAY, SEED = 5, 16, 1e-2, 1e-2, 7
CLASS_WEIGHTS = [1.0, 2.0, 0.5]


def scramble(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Random:
    """networks/src/random.rs, number for number."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + STEP) & MASK
        return scramble(self.state)

    def uniform(self):
        return np.float32(self.next() >> 40) / np.float32(1 << 24)

    def below(self, n):
        return (self.next() * n) >> 64

    def shuffle(self, items):
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def fork(self, stream):
        return Random(scramble(self.state ^ scramble((stream + STEP) & MASK)))


def linear(random, inputs, outputs):
    """U(-1/sqrt(fan_in), …), weights first, in the order [inputs, outputs]."""
    bound = np.float32(1.0) / np.sqrt(np.float32(inputs))
    draw = lambda count: np.array([(np.float32(2) * random.uniform() - np.float32(1)) * bound for _ in range(count)], np.float32)
    layer = torch.nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(draw(inputs * outputs).reshape(inputs, outputs).T.copy()))
        layer.bias.copy_(torch.from_numpy(draw(outputs)))
    return layer


def main():
    random = Random(SEED)
    model = torch.nn.Sequential(
        torch.nn.BatchNorm1d(FEATURES),
        linear(random, FEATURES, HIDDEN),
        torch.nn.ReLU(),
        torch.nn.BatchNorm1d(HIDDEN),
        torch.nn.Dropout(0.0),
        linear(random, HIDDEN, CLASSES),
    ).train()

    data = Random(99)
    features = np.array([data.uniform() * np.float32(4) - np.float32(1) for _ in range(IMAGES * FEATURES)], np.float32).reshape(IMAGES, FEATURES)
    labels = np.array([data.below(CLASSES) for _ in range(IMAGES)])
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    loss_function = torch.nn.CrossEntropyLoss(weight=torch.tensor(CLASS_WEIGHTS))

    per_epoch = math.ceil(IMAGES / BATCH) - (1 if IMAGES % BATCH == 1 else 0)
    steps, step, losses = per_epoch * EPOCHS, 0, []
    for epoch in range(EPOCHS):
        order = list(range(IMAGES))
        Random(SEED).fork(1 + epoch).shuffle(order)
        total = 0.0
        for index in range(per_epoch):
            end = IMAGES if index + 1 == per_epoch else (index + 1) * BATCH
            rows = order[index * BATCH : end]
            for group in optimiser.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
            loss = loss_function(model(torch.from_numpy(features[rows])), torch.from_numpy(labels[rows]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item()
            step += 1
        losses.append(total / per_epoch)
    golden = {
        "torch": torch.__version__.split("+")[0],
        "images": IMAGES, "features": FEATURES, "hidden": HIDDEN, "classes": CLASSES,
        "epochs": EPOCHS, "batch": BATCH, "rate": RATE, "weight_decay": DECAY, "seed": SEED,
        "class_weights": CLASS_WEIGHTS,
        "losses": losses,
        "weight": model[5].weight.detach().flatten().tolist(),
        "bias": model[5].bias.detach().tolist(),
        # Of both norms, and both statistics: PyTorch keeps the unbiased variance.
        "running": {
            f"layers.{norm}.{name}": getattr(model[norm], name).tolist()
            for norm in (0, 3) for name in ("running_mean", "running_var")
        },
    }
    path = ROOT / "core/tests/fixtures/mlp.json"
    path.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    print(losses)


if __name__ == "__main__":
    main()

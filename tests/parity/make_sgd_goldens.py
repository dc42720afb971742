"""Ten steps of SGD with momentum over whole networks, as PyTorch takes them.

Generated weights (generator.py), generated batches, batch norm in training mode, no dropout (whose
draws no two libraries share). Computed in float64, so that the curve holds nobody's rounding; what
float32 PyTorch itself makes of it is printed beside it. Writes tests/goldens/sgd.json: for each
network the loss of every step, and the running statistics of one batch norm after the last.

    python3 tests/parity/make_sgd_goldens.py

Versions: see requirements.txt beside this file.
"""

import json
import pathlib

import numpy as np
import torch
import torchvision

import generator

GOLDENS = pathlib.Path(__file__).resolve().parents[1] / "goldens"
# ResNet-18's rate is small because with larger ones its loss hangs on the last bits: at 1e-3 two runs
# of float32 PyTorch itself differ by 1e-3.
NETWORKS = {"resnet18": ("bn1", 1e-4), "mobilenet_v3_small": ("features.0.1", 2e-3)}
STEPS, BATCH, SIDE, MOMENTUM, DECAY, CLASSES = 10, 8, 96, 0.9, 1e-4, 1000


def batch(step):
    u = generator.uniform(generator.seed_of(f"batch.{step}"), BATCH * 3 * SIDE * SIDE)
    images = (np.float32(2) * u - np.float32(1)) * np.float32(2)
    labels = [(step * 37 + image * 101) % CLASSES for image in range(BATCH)]
    return images.reshape(BATCH, 3, SIDE, SIDE), labels


def curve(name, norm, rate, dtype):
    model = torchvision.models.get_model(name, num_classes=CLASSES)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    state = {}
    for key, value in model.state_dict().items():
        made = generator.tensor(key, tuple(value.shape))
        state[key] = value if made is None else torch.from_numpy(made)
    model.load_state_dict(state)
    model = model.to(dtype).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM, weight_decay=DECAY)
    losses = []
    for step in range(STEPS):
        images, labels = batch(step)
        logits = model(torch.from_numpy(images).to(dtype))
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    norm = model.get_submodule(norm)
    return losses, norm.running_mean.tolist(), norm.running_var.tolist()


def main():
    golden = {"steps": STEPS, "batch": BATCH, "side": SIDE, "momentum": MOMENTUM, "decay": DECAY, "networks": {}}
    for name, (norm, rate) in NETWORKS.items():
        losses, mean, variance = curve(name, norm, rate, torch.float64)
        single, *_ = curve(name, norm, rate, torch.float32)
        worst = max(abs(a - b) / a for a, b in zip(losses, single))
        print(f"{name}: {losses[0]:.4f} … {losses[-1]:.4f}; float32 PyTorch is off by {worst:.1e}")
        golden["networks"][name] = {
            "rate": rate,
            "losses": losses,
            "norm": norm,
            "running_mean": mean,
            "running_var": variance,
        }
    (GOLDENS / "sgd.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

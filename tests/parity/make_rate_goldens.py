"""What PyTorch, torchvision and timm say about fine-tuning: rates and momenta step by step, what a plateau does, the
factors of timm's layer decay and what it does not decay, CutMix's boxes.

Writes core/tests/fixtures/rates.json:

- schedules: for each, what Rekindle is given (the words of core/src/tune/schedule.rs), and the factor of the base rate
  (and the momentum) of every step. fastai's are computed by its formulas (fastai 2.8, callback/schedule.py: sched_cos,
  combine_scheds, combined_cos, fit_one_cycle, fine_tune; callback/core.py: pct_train).
- plateaus: figures, and the factor after each of them.
- layer_decay: for each network, how many learnable numbers have each power of the decay, and how many of them weight
  decay pulls at.
- cutmix: draws (lambda, row, column, height, width), and torchvision's box and corrected lambda.

    python3 tests/parity/make_rate_goldens.py

Versions: see requirements.txt beside this file.
"""

import json
import math
import pathlib
import re
import unittest.mock

import timm
import timm.optim
import timm.scheduler
import torch
import torchvision.transforms.v2
from torch.optim import lr_scheduler

FIXTURE = pathlib.Path(__file__).resolve().parents[2] / "core/tests/fixtures/rates.json"


def stepped(make, steps, momentum=False):
    """The rates of so many steps, of a base rate of 1."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0, momentum=0.9)
    scheduler = make(optimiser)
    factors, momenta = [], []
    for step in range(steps):
        factors.append(optimiser.param_groups[0]["lr"])
        momenta.append(optimiser.param_groups[0]["momentum"])
        optimiser.step()
        if step + 1 < steps:
            scheduler.step()
    return factors, momenta if momentum else None


def behind_warmup(warm, start, make):
    """A scheduler behind PyTorch's linear warm-up of so many steps."""

    def both(optimiser):
        rise = lr_scheduler.LinearLR(optimiser, start_factor=start, end_factor=1.0, total_iters=warm)
        return lr_scheduler.SequentialLR(optimiser, [rise, make(optimiser)], milestones=[warm])

    return both


def timm_cosine(steps, warm, start, floor):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    scheduler = timm.scheduler.CosineLRScheduler(
        optimiser, t_initial=steps - warm, lr_min=floor, warmup_t=warm, warmup_lr_init=start,
        warmup_prefix=True, t_in_epochs=False)
    factors = []
    for step in range(steps):
        scheduler.step_update(step)
        factors.append(optimiser.param_groups[0]["lr"])
    return factors, None


def sched_cos(start, end, pos):
    return start + (1 + math.cos(math.pi * (1 - pos))) * (end - start) / 2


def fastai_cycle(steps, pct_start, div, div_final=1e5, moms=(0.95, 0.85, 0.95)):
    """fit_one_cycle: combined_cos of the rate and of the momentum at pct_train, the share of the steps taken."""

    def combined(start, middle, end, pos):
        if pos < pct_start:
            return sched_cos(start, middle, pos / pct_start)
        return sched_cos(middle, end, (pos - pct_start) / (1 - pct_start))

    places = [step / steps for step in range(steps)]
    return ([combined(1 / div, 1, 1 / div_final, place) for place in places],
            [combined(*moms, place) for place in places])


def cycle(pct_start=0.3, div=25.0, div_final=1e4, anneal="cosine", momentum=(0.85, 0.95), style="pytorch"):
    return {"kind": "one_cycle", "pct_start": pct_start, "div": div, "div_final": div_final, "anneal": anneal,
            "momentum": momentum, "style": style}


def schedules():
    def case(name, schedule, steps, result, warmup=None, per_epoch=1):
        factors, momenta = result
        return {"name": name, "schedule": schedule, "warmup": warmup, "steps": steps, "per_epoch": per_epoch,
                "factors": factors, "momenta": momenta}

    one = lr_scheduler.OneCycleLR
    for steps in (100, 37, 10, 4, 2):
        yield case(f"OneCycleLR {steps}", cycle(), steps,
                   stepped(lambda o: one(o, max_lr=1.0, total_steps=steps), steps, True))
    yield case("OneCycleLR linear", cycle(anneal="linear"), 50,
               stepped(lambda o: one(o, max_lr=1.0, total_steps=50, anneal_strategy="linear"), 50, True))
    yield case("OneCycleLR other numbers", cycle(0.45, 10.0, 100.0, momentum=(0.8, 0.9)), 33,
               stepped(lambda o: one(o, max_lr=1.0, total_steps=33, pct_start=0.45, div_factor=10.0,
                                     final_div_factor=100.0, base_momentum=0.8, max_momentum=0.9), 33, True))
    yield case("OneCycleLR without momentum", cycle(momentum=None), 20,
               stepped(lambda o: one(o, max_lr=1.0, total_steps=20, cycle_momentum=False), 20))
    for steps in (100, 30, 7):
        yield case(f"fit_one_cycle {steps}", cycle(0.25, 25.0, 1e5, style="fastai"), steps,
                   fastai_cycle(steps, 0.25, 25.0))
        yield case(f"fine_tune {steps}", cycle(0.3, 5.0, 1e5, style="fastai"), steps,
                   fastai_cycle(steps, 0.3, 5.0))
        yield case(f"fine_tune head {steps}", cycle(0.99, 25.0, 1e5, style="fastai"), steps,
                   fastai_cycle(steps, 0.99, 25.0))
    cosine = lr_scheduler.CosineAnnealingLR
    yield case("CosineAnnealingLR", {"kind": "cosine", "floor": 0.01}, 60,
               stepped(lambda o: cosine(o, T_max=60, eta_min=0.01), 60))
    yield case("CosineAnnealingLR behind LinearLR", {"kind": "cosine", "floor": 0.0}, 50,
               stepped(behind_warmup(5, 0.01, lambda o: cosine(o, T_max=45)), 50),
               warmup={"share": 0.1, "start": 0.01})
    yield case("timm cosine", {"kind": "cosine", "floor": 0.001}, 40, timm_cosine(40, 8, 0.05, 0.001),
               warmup={"share": 0.2, "start": 0.05})
    yield case("StepLR", {"kind": "step", "every": 3, "gamma": 0.1}, 10,
               stepped(lambda o: lr_scheduler.StepLR(o, 3, 0.1), 10))
    by_step, _ = stepped(lambda o: lr_scheduler.StepLR(o, 2, 0.5), 7)
    yield case("StepLR by epochs", {"kind": "step", "every": 2, "gamma": 0.5}, 28,
               ([factor for factor in by_step for _ in range(4)], None), per_epoch=4)
    yield case("StepLR behind LinearLR", {"kind": "step", "every": 4, "gamma": 0.3}, 20,
               stepped(behind_warmup(4, 0.1, lambda o: lr_scheduler.StepLR(o, 4, 0.3)), 20),
               warmup={"share": 0.2, "start": 0.1})
    yield case("PolynomialLR", {"kind": "polynomial", "power": 0.9}, 25,
               stepped(lambda o: lr_scheduler.PolynomialLR(o, 25, 0.9), 25))
    yield case("PolynomialLR behind LinearLR", {"kind": "polynomial", "power": 2.0}, 30,
               stepped(behind_warmup(3, 0.5, lambda o: lr_scheduler.PolynomialLR(o, 27, 2.0)), 30),
               warmup={"share": 0.1, "start": 0.5})
    yield case("LinearLR", {"kind": "constant"}, 12,
               stepped(lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, 6), 12),
               warmup={"share": 0.5, "start": 0.25})


def plateaus():
    falling = [1.0, 0.8, 0.7, 0.7, 0.69999, 0.71, 0.72, 0.6, 0.61, 0.61, 0.61, 0.61, 0.61, 0.61, 0.61]
    noisy = [0.5 + 0.3 * math.sin(1.7 * epoch) / (1 + 0.2 * epoch) for epoch in range(40)]
    rising = [0.5, 0.6, 0.65, 0.65, 0.6501, 0.64, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    broken = [1.0, math.nan, math.nan, 0.9, math.nan, math.nan, math.nan]
    negative = [-1.0, -1.05, -1.0, -1.2, -1.2, -1.1, -1.1]
    for figures, mode, options in [
        (falling, "min", dict(factor=0.1, patience=2, threshold=1e-4)),
        (falling, "min", dict(factor=0.5, patience=0, threshold=0.05, cooldown=2)),
        (noisy, "min", dict(factor=0.3, patience=3, threshold=1e-4, cooldown=1, min_lr=0.02)),
        (noisy, "max", dict(factor=0.7, patience=1, threshold=1e-2, cooldown=4)),
        (rising, "max", dict(factor=0.1, patience=1, threshold=1e-3)),
        (broken, "min", dict(factor=0.5, patience=1, threshold=1e-4)),
        (negative, "min", dict(factor=0.5, patience=0, threshold=0.1)),
    ]:
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimiser = torch.optim.SGD([parameter], lr=1.0)
        scheduler = lr_scheduler.ReduceLROnPlateau(optimiser, mode=mode, **options)
        factors = []
        for figure in figures:
            scheduler.step(figure)
            factors.append(optimiser.param_groups[0]["lr"])
        yield {
            "schedule": {"kind": "plateau", "factor": options["factor"], "patience": options["patience"],
                         "threshold": options["threshold"], "cooldown": options.get("cooldown", 0),
                         "floor": options.get("min_lr", 0.0), "better": {"min": "lower", "max": "higher"}[mode]},
            # JSON knows no NaN.
            "figures": [None if math.isnan(figure) else figure for figure in figures],
            "factors": factors,
        }


# Rekindle's networks by timm's names, some of each family. Swin v2's counts are compared where weight decay pulls, as
# timm's keys have no bias. timm's inception_v3 is made without the auxiliary classifier, which would be a layer of its
# own between two blocks.
NETWORKS = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "vit_b_16": "vit_base_patch16_224",
    "vit_tiny_patch16_224": "vit_tiny_patch16_224",
    "convnext_tiny": "convnext_tiny",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenetv4_conv_small": "mobilenetv4_conv_small",
    "mobilenetv4_conv_medium": "mobilenetv4_conv_medium",
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_lite0": "efficientnet_lite0",
    "regnet_y_400mf": "regnety_004",
    "vgg11": "vgg11",
    "vgg11_bn": "vgg11_bn",
    "vgg16_bn": "vgg16_bn",
    "mnasnet0_5": "mnasnet_050",
    "mnasnet1_0": "mnasnet_100",
    "inception_v3": "inception_v3",
    "resnext50_32x4d": "resnext50_32x4d",
    "wide_resnet50_2": "wide_resnet50_2",
    "efficientnet_v2_s": "efficientnetv2_s",
    "regnet_x_400mf": "regnetx_004_tv",
    "vit_b_32": "vit_base_patch32_224",
    "densenet121": "densenet121",
    "coatnet_0_rw_224": "coatnet_0_rw_224",
}
DECAY = 0.75


def layer_decay(name, theirs):
    """For each exponent of timm's factors, how many learnable numbers have it, and how many of those decay.

    The names of tensors differ between the libraries; their sizes do not.
    """
    model = timm.create_model(theirs, pretrained=False)
    groups = timm.optim.param_groups_layer_decay(
        model, weight_decay=0.05, layer_decay=DECAY, no_weight_decay_list=getattr(
            model, "no_weight_decay", lambda: set())())
    counts = {}
    for group in groups:
        exponent = round(math.log(group["lr_scale"]) / math.log(DECAY))
        both = counts.setdefault(exponent, [0, 0])
        numbers = sum(parameter.numel() for parameter in group["params"])
        both[0] += numbers
        both[1] += numbers if group["weight_decay"] else 0
    return {"name": name, "timm": theirs, "numbers": [counts[exponent] for exponent in sorted(counts)]}


def cutmix():
    transform = torchvision.transforms.v2.CutMix(num_classes=2)
    image = torch.zeros(2, 3, 1, 1)
    generator = torch.Generator().manual_seed(4)
    cases = [(224, 224, 0.0, 0, 0), (224, 224, 1.0, 5, 5), (7, 9, 0.5, 6, 8), (1, 1, 0.3, 0, 0)]
    for _ in range(40):
        height, width = torch.randint(1, 300, (2,), generator=generator).tolist()
        share = torch.rand(1, generator=generator, dtype=torch.float64).item()
        row = int(torch.randint(height, (1,), generator=generator))
        column = int(torch.randint(width, (1,), generator=generator))
        cases.append((height, width, share, row, column))
    for height, width, share, row, column in cases:
        draws = [torch.tensor([column]), torch.tensor([row])]
        with unittest.mock.patch.object(transform, "_dist") as dist, \
                unittest.mock.patch("torch.randint", side_effect=draws):
            dist.sample.return_value = share
            params = transform.make_params([image.expand(2, 3, height, width)])
        x1, y1, x2, y2 = params["box"]
        yield {"height": height, "width": width, "share": share, "centre": [row, column],
               "area": [y1, x1, y2 - y1, x2 - x1], "corrected": params["lam_adjusted"]}


def main():
    fixture = {
        "schedules": list(schedules()),
        "plateaus": list(plateaus()),
        "decay": DECAY,
        "layer_decay": [layer_decay(*pair) for pair in NETWORKS.items()],
        "cutmix": list(cutmix()),
    }
    text = json.dumps(fixture)
    # Nine digits are more than the tests ask for.
    text = re.sub(r"-?\d+\.\d{10,}(e[-+]\d+)?", lambda number: f"{float(number[0]):.12g}", text)
    FIXTURE.write_text(text.replace('}, {"', '},\n{"') + "\n")
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()

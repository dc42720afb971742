"""Ten steps of fine-tuning, as PyTorch takes them, in every way that Rekindle has: tests/goldens/tuning.safetensors.

Every case is a whole network with generated weights (generator.py) and a head of ten classes, ten generated batches,
and settings that are said in the golden itself, in PyTorch's words: a test is driven by the data. Computed in float64,
so that it holds nobody's rounding; how far float32 PyTorch itself comes from it is noted with each case. Rates,
mixtures, averages and groups are those of torch's, torchvision's and timm's own classes; fastai's schedule is its
formula.

    python3 tests/parity/make_tuning_goldens.py              all
    python3 tests/parity/make_tuning_goldens.py CASE ...     prints some, writes nothing

The metadata entry `golden` is a JSON object:

    steps, per_epoch     10 steps, 2 of them an epoch
    side, classes        images are [N, 3, side, side]; the head has `classes` outputs
    networks.<network>   library     "torchvision" or "timm"
                         batch       images a step
                         tensors     all parameters and running statistics, sorted by name: the rows of the tensors
                         no_decay    parameters without weight decay where a case says `decays: "matrices"`: those of
                                     one axis, biases, position embeddings and tables, class tokens, layer scales
    cases.<case>
        network          name
        optimizer        name: SGD AdamW Adam RMSprop Lamb; the rest are the arguments of torch.optim's class (timm's
                         for Lamb), `lr` being the base rate that the schedule multiplies
        decays           "all": weight decay of all trained parameters, as PyTorch has it by default;
                         "matrices": not of networks.<network>.no_decay
        scales           null, or for each parameter the factor of the rate: timm's param_groups_layer_decay
        layer_decay      null, or the factor that these follow from
        trains           null: all; or what the names of the trained parameters begin with. The rest takes no gradient,
                         and its batch norms keep to their running statistics
        first_stage      null, or the first stage that `trains` names: what lies before it can be computed once
        batch_norm       of what trains: `statistics` "batch" (training mode) or "running" (frozen);
                         `affine`: whether weight and bias train
        schedule         name, and its numbers:
            constant
            cosine       warmup_steps, warmup_start (factor of the first step), floor (factor): LinearLR, then
                         CosineAnnealingLR with eta_min = floor * lr, whose first step is the first after the warm-up
            one_cycle    pct_start, div_factor, final_div_factor, momentum null or [low, high], anneal "cos" or
                         "linear": OneCycleLR.
                         Of Adam's kind the momentum is the first beta
            one_cycle_fastai   pct_start, div, div_final, momentum [high, low, high]: fit_one_cycle
            step         every (epochs), gamma: StepLR
            polynomial   power: PolynomialLR over all steps
            plateau      mode, factor, patience, threshold, cooldown, floor (factor), metrics (one after each epoch):
                         ReduceLROnPlateau with threshold_mode "rel" and min_lr = floor * lr
        clip             null, or max_norm of clip_grad_norm_ over all gradients
        micro_batches    sizes whose sum is the batch: the gradient is that of the mean over all images of the step.
                         Batch norm sees each by itself
        loss             name, and its numbers:
            cross_entropy   label_smoothing, weight (of each class, or null: then PyTorch's weighted mean)
            bce_with_logits, mse, huber (delta), smooth_l1 (beta): mean over all images and outputs
        mix              null, or for each step what torchvision.transforms.v2.MixUp or CutMix was told:
                         {"lambda": share of the image itself, "box": null or [top, left, height, width]}; the rest
                         is of the image before it in the batch (roll by one); with a box, lambda is the corrected share
        ema              null, or the arguments of timm's ModelEmaV3; its `decays`, one for each step. The first copies
        losses           before each step: the mean over its images, all micro batches
        rates            at each step, of a parameter of scale 1
        momenta          at each step, where the schedule moves them; else null
        gradient_norms   global norm of the trained gradients before clipping
        f32              how far float32 PyTorch is off, but for what the masks leave out: `loss` (worst, relative);
                         `end` (worst element of all tensors, relative to the tensor's largest value); `moved` (worst
                         tensor: L2 norm of the differences at its places over that of how far they have moved)
    schedules.<name>     steps, per_epoch, lr, schedule (as above), rates, momenta: the same over more steps, and no
                         network

Tensors, f32:
    <case>/parameters    [tensors of the network, 28]: a row for each tensor as it is after the last step:
                         0: its largest absolute value; 1: its L2 norm; 2: the largest absolute difference from its
                         generated value; 3: a mask (a whole number of 24 bits) with bit i set where the
                         gradient at place i stayed below 1e-6 of the step's largest gradient of the whole network in
                         all steps (and everywhere in what takes no gradients); 4 + i: the value at place i.
                         Place i is `next_u64() mod n` of the generator's stream "places.<tensor>", i-th number, n
                         being the tensor's size
    <case>/averaged      likewise of the EMA's model, for cases that have one; the mask is the same
Not all cases have them.

Batches: the images of step s are the stream "batch.<s>", each number (2u - 1) * 2; label of image i is (7 s + 3 i) mod
10. Multi-label targets are 1 where u < 0.3, else 0, regression targets (2u - 1) * 2, both [N, 10] of the stream
"targets.<s>".

Versions: see requirements.txt beside this file.
"""

import itertools
import json
import math
import sys
import time

import numpy as np
import safetensors.numpy
import timm
import torch
import torchvision
from timm.optim import Lamb, param_groups_layer_decay
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import v2

import generator
import schedules
import training
from schedules import CONSTANT, COSINE, FASTAI, ONE_CYCLE, PER_EPOCH, PLATEAU, POLYNOMIAL, STEP

STEPS, SIDE, CLASSES, PLACES, TINY = 10, 64, 10, 24, 1e-6
NETWORKS = {
    "resnet18": {"library": "torchvision", "batch": 8},
    "mobilenet_v3_small": {"library": "torchvision", "batch": 8},
    "vit_tiny_patch16_224": {"library": "timm", "batch": 8},
    "convnext_tiny": {"library": "torchvision", "batch": 4},
    "swin_t": {"library": "torchvision", "batch": 4},
}
RESNET, MOBILENET, VIT, CONVNEXT, SWIN = NETWORKS
# The last stage that holds blocks and what lies behind it; of ViT the last two blocks.
LAST = {
    RESNET: ("layer4", ["layer4.", "fc."]),
    MOBILENET: ("stage4", ["features.9.", "features.10.", "features.11.", "features.12.", "classifier."]),
    VIT: ("blocks.10", ["blocks.10.", "blocks.11.", "norm.", "head."]),
    CONVNEXT: ("stage4", ["features.6.", "features.7.", "classifier."]),
    SWIN: ("stage4", ["features.6.", "features.7.", "norm.", "head."]),
}
POSITIONS = ("pos_embed", "cls_token", "relative_position_bias_table", "layer_scale")

SGD = {"name": "SGD", "lr": 1e-3, "momentum": 0.9, "dampening": 0, "weight_decay": 0.05, "nesterov": False}
ADAM = {"name": "Adam", "lr": 1e-4, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.05}
ADAMW = {"name": "AdamW", "lr": 1e-4, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1.0}
RMSPROP = {
    "name": "RMSprop",
    "lr": 1e-4,
    "alpha": 0.99,
    "eps": 1e-8,
    "weight_decay": 0.05,
    "momentum": 0,
    "centered": False,
}
LAMB = {
    "name": "Lamb",
    "lr": 1e-3,
    "bias_correction": True,
    "betas": [0.9, 0.999],
    "eps": 1e-6,
    "weight_decay": 0.01,
    "grad_averaging": True,
    "max_grad_norm": 1.0,
    "trust_clip": False,
    "always_adapt": False,
}
CLASSES_OF = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}
CLASSES_OF |= {"RMSprop": torch.optim.RMSprop, "Lamb": Lamb}

BATCH, RUNNING = "batch", "running"
CROSS_ENTROPY = {"name": "cross_entropy", "label_smoothing": 0.0, "weight": None}
WEIGHTS = [0.5, 2.0, 1.0, 0.25, 4.0, 1.0, 0.75, 1.5, 3.0, 1.25]
EMA = {"decay": 0.7, "use_warmup": True, "warmup_gamma": 1.0, "warmup_power": 2 / 3}


def case(network: str, optimizer: dict, **settings) -> dict:
    """What most cases share; `keeps` says whether parameters go into the golden."""
    last = settings.pop("last", False)
    made = {
        "network": network,
        "optimizer": optimizer,
        "decays": "all",
        "scales": None,
        "layer_decay": None,
        "trains": LAST[network][1] if last else None,
        "first_stage": LAST[network][0] if last else None,
        "batch_norm": {"statistics": RUNNING, "affine": True},
        "schedule": CONSTANT,
        "clip": None,
        "micro_batches": [NETWORKS[network]["batch"]],
        "loss": CROSS_ENTROPY,
        "mix": None,
        "ema": None,
        "keeps": False,
    }
    assert settings.keys() <= made.keys(), settings
    return made | settings


def norms(statistics: str, affine: bool) -> dict:
    return {"batch_norm": {"statistics": statistics, "affine": affine}}


def cross_entropy(smoothing: float = 0.0, weight: list | None = None) -> dict:
    return {"loss": CROSS_ENTROPY | {"label_smoothing": smoothing, "weight": weight}}


def mixes(kind: str, name: str) -> dict:
    """For each step a share and, for CutMix, a box as torchvision draws it; from the generator."""
    made = []
    for step in range(STEPS):
        share, x, y = generator.uniform(generator.seed_of(f"{name}.{step}"), 3).tolist()
        if kind == "mixup":
            made.append({"lambda": share, "box": None})
            continue
        half = int(0.5 * math.sqrt(1.0 - share) * SIDE)
        x, y = int(x * SIDE), int(y * SIDE)
        left, top = max(x - half, 0), max(y - half, 0)
        right, bottom = min(x + half, SIDE), min(y + half, SIDE)
        corrected = 1.0 - (right - left) * (bottom - top) / (SIDE * SIDE)
        made.append({"lambda": corrected, "box": [top, left, bottom - top, right - left]})
    return {"mix": made}


def cases() -> dict[str, dict]:
    short = {name: name.split("_")[0] for name in NETWORKS}
    # Rates at which float32 PyTorch itself stays well within what is asked of us. Batch norm in training mode makes the
    # loss hang on the last bits sooner; a MobileNet of generated weights that uses running statistics hardly hears its
    # images, and bears much.
    sgd = {RESNET: 3e-5, MOBILENET: 2e-3, VIT: 1e-3, CONVNEXT: 1e-3, SWIN: 1e-3}
    deaf = SGD | {"lr": 0.05}
    # Adam's first steps are nearly the signs of gradients, whatever their size, so rounding shows most where a training
    # begins at its full rate.
    gently = ADAMW | {"lr": 2e-5}
    made = {}
    for name in NETWORKS:
        made[f"sgd_{short[name]}"] = case(
            name, SGD | {"lr": sgd[name]}, **norms(BATCH, True), keeps=name in (RESNET, MOBILENET, VIT)
        )
        made[f"adamw_{short[name]}"] = case(
            name, ADAMW, decays="matrices", schedule=COSINE, **norms(RUNNING, False), keeps=True
        )
        made[f"last_{short[name]}"] = case(name, gently, last=True, keeps=name in (RESNET, SWIN))
    # Norms and biases do not decay, as recipes have it: what the trainer itself follows, in the page too.
    made["last_mobilenet_spared"] = case(MOBILENET, gently, last=True, decays="matrices", keeps=True)
    # What is frozen keeps its statistics while those of the last stage move.
    made["last_mobilenet_by_the_batch"] = case(
        MOBILENET, SGD | {"lr": 2e-3}, last=True, **norms(BATCH, True), keeps=True
    )
    for name in (MOBILENET, VIT):
        made[f"adam_{short[name]}"] = case(name, ADAM | {"lr": 3e-5 if name == VIT else 1e-4}, keeps=name == VIT)
        made[f"lamb_{short[name]}"] = case(name, LAMB, decays="matrices", keeps=True)
    made["nesterov_mobilenet"] = case(MOBILENET, deaf | {"nesterov": True}, keeps=True)
    made["nesterov_vit"] = case(VIT, SGD | {"nesterov": True}, keeps=True)
    made["rmsprop_mobilenet"] = case(MOBILENET, RMSPROP, keeps=True)
    made["rmsprop_vit"] = case(VIT, RMSPROP | {"lr": 1e-5})
    made["rmsprop_centered"] = case(VIT, RMSPROP | {"centered": True, "momentum": 0.9, "lr": 3e-6}, keeps=True)
    made["adamw_defaults"] = case(VIT, ADAMW | {"lr": 5e-5, "weight_decay": 0.01})
    made["sgd_plain"] = case(VIT, SGD | {"momentum": 0})
    made["sgd_dampened"] = case(VIT, SGD | {"dampening": 0.1})

    for schedule in (COSINE, ONE_CYCLE, FASTAI, STEP, POLYNOMIAL, PLATEAU):
        made[schedule["name"]] = case(VIT, SGD, schedule=schedule)
    made["one_cycle_adamw"] = case(VIT, ADAMW, schedule=ONE_CYCLE)

    # Batch norm's statistics and its affine parameters, each frozen or not; sgd_mobilenet freezes neither.
    made["statistics_batch_affine_frozen"] = case(MOBILENET, SGD | {"lr": 2e-3}, **norms(BATCH, False), keeps=True)
    made["statistics_running_affine_trained"] = case(MOBILENET, deaf, **norms(RUNNING, True))
    made["statistics_running_affine_frozen"] = case(MOBILENET, deaf, **norms(RUNNING, False))
    made["statistics_running_affine_trained_resnet18"] = case(RESNET, SGD | {"lr": 1e-4}, **norms(RUNNING, True))
    made["statistics_running_affine_frozen_resnet18"] = case(RESNET, SGD | {"lr": 1e-4}, **norms(RUNNING, False))

    decaying = {"decays": "matrices", "layer_decay": 0.75, "schedule": COSINE | {"floor": 0.0}}
    made["layer_decay_vit"] = case(VIT, ADAMW, **decaying, keeps=True)
    made["layer_decay_resnet18"] = case(RESNET, ADAMW | {"lr": 3e-5}, **decaying)
    made["clip"] = case(VIT, SGD, clip=16.0)
    made["clip_adamw"] = case(VIT, gently, clip=1.0)
    made["accumulated"] = case(VIT, gently, micro_batches=[4, 4])
    made["accumulated_unevenly"] = case(VIT, SGD | {"lr": 5e-4}, micro_batches=[3, 4, 1])
    made["accumulated_by_the_batch"] = case(
        MOBILENET, SGD | {"lr": 2e-3}, micro_batches=[4, 4], **norms(BATCH, True)
    )
    made["accumulated_and_clipped"] = case(VIT, SGD, micro_batches=[5, 3], clip=12.0)
    made["mixup"] = case(VIT, SGD, **mixes("mixup", "mixup"))
    made["mixup_smoothed"] = case(VIT, SGD, **mixes("mixup", "mixup"), **cross_entropy(0.1))
    made["cutmix"] = case(VIT, SGD, **mixes("cutmix", "cutmix"))
    made["smoothed"] = case(VIT, SGD, **cross_entropy(0.1))
    made["weighted"] = case(VIT, SGD, **cross_entropy(weight=WEIGHTS))
    made["weighted_smoothed"] = case(VIT, SGD, **cross_entropy(0.1, WEIGHTS))
    made["weighted_mixup"] = case(VIT, SGD, **mixes("mixup", "mixup"), **cross_entropy(0.1, WEIGHTS))
    made["multi_label"] = case(VIT, SGD, loss={"name": "bce_with_logits"})
    made["mse"] = case(VIT, SGD, loss={"name": "mse"})
    made["huber"] = case(VIT, SGD, loss={"name": "huber", "delta": 0.5})
    made["smooth_l1"] = case(VIT, SGD, loss={"name": "smooth_l1", "beta": 0.5})
    made["ema"] = case(MOBILENET, SGD | {"lr": 2e-3, "nesterov": True}, **norms(BATCH, True), ema=EMA, keeps=True)
    made["everything"] = case(
        VIT,
        ADAMW,
        decays="matrices",
        layer_decay=0.75,
        schedule=ONE_CYCLE,
        clip=1.0,
        micro_batches=[5, 3],
        ema=EMA,
        **cross_entropy(0.1),
        keeps=True,
    )
    return made


def no_decay(network: nn.Module) -> list[str]:
    return sorted(
        name
        for name, parameter in network.named_parameters()
        if parameter.ndim <= 1 or name.endswith("bias") or name.endswith(POSITIONS)
    )


def layer_scales(name: str, factor: float) -> dict[str, float]:
    """timm's own grouping; its ResNet bears the same names as torchvision's."""
    network = timm.create_model(name, num_classes=CLASSES)
    names = {id(parameter): key for key, parameter in network.named_parameters()}
    groups = param_groups_layer_decay(network, layer_decay=factor)
    return {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}


def groups_of(network: nn.Module, settings: dict) -> list[dict]:
    """A group for each parameter that trains: its rate and its weight decay."""
    lr, decay = settings["optimizer"]["lr"], settings["optimizer"]["weight_decay"]
    spared = set(no_decay(network)) if settings["decays"] == "matrices" else set()
    scales = settings["scales"]
    # Groups of the same numbers are one, as Lamb and others count steps for each.
    groups = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        key = (scales[name] if scales else 1.0, name in spared)
        group = groups.setdefault(key, {"params": [], "lr": lr * key[0], "weight_decay": 0.0 if key[1] else decay})
        group["params"].append(parameter)
    return list(groups.values())


def prepare(network: nn.Module, settings: dict) -> None:
    """Which parameters take gradients, and which batch norms follow the batch."""
    if settings["batch_norm"]["statistics"] == RUNNING:
        training.freeze_statistics(network)
    prefixes = settings["trains"]
    for name, module in network.named_modules():
        trains = prefixes is None or any(f"{name}.".startswith(prefix) for prefix in prefixes)
        if training.is_batch_norm(module):
            if not trains:
                module.eval()
            if not settings["batch_norm"]["affine"]:
                module.requires_grad_(False)
    if prefixes is not None:
        for name, parameter in network.named_parameters():
            if not name.startswith(tuple(prefixes)):
                parameter.requires_grad_(False)


def targets(loss: dict, step: int, batch: int, dtype: torch.dtype) -> torch.Tensor:
    if loss["name"] == "cross_entropy":
        return torch.tensor([(step * 7 + image * 3) % CLASSES for image in range(batch)])
    u = torch.from_numpy(generator.uniform(generator.seed_of(f"targets.{step}"), batch * CLASSES))
    u = u.reshape(batch, CLASSES)
    return (u < 0.3).to(dtype) if loss["name"] == "bce_with_logits" else ((2 * u - 1) * 2).to(dtype)


def mixed(images: torch.Tensor, labels: torch.Tensor, mix: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """As torchvision mixes, told what to draw."""
    if mix["box"] is None:
        transform, told = v2.MixUp(num_classes=CLASSES), {"lam": mix["lambda"]}
    else:
        top, left, height, width = mix["box"]
        transform = v2.CutMix(num_classes=CLASSES)
        told = {"box": (left, top, left + width, top + height), "lam_adjusted": mix["lambda"]}
    transform.make_params = lambda _: told
    transform.p = 1.0
    images, labels = transform(images, labels)
    return images, labels.to(images.dtype)


def loss_of(loss: dict, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    match loss:
        case {"name": "cross_entropy", "label_smoothing": smoothing, "weight": weight}:
            weight = None if weight is None else torch.tensor(weight, dtype=logits.dtype)
            return F.cross_entropy(logits, wanted, weight=weight, label_smoothing=smoothing)
        case {"name": "bce_with_logits"}:
            return F.binary_cross_entropy_with_logits(logits, wanted)
        case {"name": "mse"}:
            return F.mse_loss(logits, wanted)
        case {"name": "huber", "delta": delta}:
            return F.huber_loss(logits, wanted, delta=delta)
        case {"name": "smooth_l1", "beta": beta}:
            return F.smooth_l1_loss(logits, wanted, beta=beta)
    raise ValueError(loss)


class Ran:
    """What ten steps leave."""

    def __init__(self, settings: dict, dtype: torch.dtype):
        name = settings["network"]
        batch = NETWORKS[name]["batch"]
        network = training.network(name, NETWORKS[name]["library"], SIDE, CLASSES, dtype)
        self.names = training.names_of(network)
        self.start = {key: value.clone() for key, value in network.state_dict().items()}
        prepare(network, settings)
        numbers = {key: value for key, value in settings["optimizer"].items() if key not in ("name", "lr")}
        build = CLASSES_OF[settings["optimizer"]["name"]]
        optimizer = build(groups_of(network, settings), lr=settings["optimizer"]["lr"], **numbers)
        # The group whose factor is the largest shows the schedule's own rate.
        shown = max(optimizer.param_groups, key=lambda group: group["lr"])
        assert shown["lr"] == settings["optimizer"]["lr"]
        schedule = schedules.Schedule(settings["schedule"], optimizer, STEPS, PER_EPOCH)
        ema = settings["ema"] and ModelEmaV3(network, **settings["ema"])
        self.losses, self.rates, self.momenta, self.norms, self.decays = [], [], [], [], []
        trained = {key: p for key, p in network.named_parameters() if p.requires_grad}
        self.reached = {key: torch.zeros_like(p) for key, p in trained.items()}
        for step in range(STEPS):
            images = training.images(f"batch.{step}", batch, SIDE, dtype)
            wanted = targets(settings["loss"], step, batch, dtype)
            if settings["mix"]:
                images, wanted = mixed(images, wanted, settings["mix"][step])
            optimizer.zero_grad()
            whole, sizes = 0.0, settings["micro_batches"]
            assert sum(sizes) == batch and (len(sizes) == 1 or settings["loss"].get("weight") is None)
            for x, y in zip(images.split(sizes), wanted.split(sizes), strict=True):
                loss = loss_of(settings["loss"], network(x), y) * (len(x) / batch)
                loss.backward()
                whole += loss.item()
            gradients = {key: p.grad for key, p in trained.items()}
            largest = max(g.abs().max() for g in gradients.values())
            for key, gradient in gradients.items():
                torch.maximum(self.reached[key], gradient.abs() / largest, out=self.reached[key])
            self.norms.append(torch.stack([g.norm() for g in gradients.values()]).norm().item())
            if settings["clip"] is not None:
                nn.utils.clip_grad_norm_(trained.values(), settings["clip"])
            self.losses.append(whole)
            self.rates.append(shown["lr"])
            self.momenta.append(schedules.momentum_of(shown))
            optimizer.step()
            schedule.advance()
            if ema:
                self.decays.append(ema.get_decay(step + 1))
                ema.update(network, step + 1)
        self.end = network.state_dict()
        self.averaged = ema.module.state_dict() if ema else None
        self.network = network

    def places(self, name: str) -> torch.Tensor:
        drawn = generator.next_u64(generator.seed_of(f"places.{name}"), PLACES)
        return torch.from_numpy((drawn % np.uint64(self.end[name].numel())).astype(np.int64))

    def tiny(self, name: str) -> torch.Tensor:
        """Where the gradient hardly showed; a statistic has none, and is compared everywhere."""
        if name not in self.reached:
            return torch.zeros_like(self.end[name], dtype=torch.bool)
        return self.reached[name] < TINY

    def rows(self, end: dict[str, torch.Tensor]) -> np.ndarray:
        rows = np.zeros((len(self.names), 4 + PLACES), np.float32)
        for row, name in zip(rows, self.names, strict=True):
            value, places = end[name].double(), self.places(name)
            mask = sum(1 << i for i, tiny in enumerate(self.tiny(name).flatten()[places].tolist()) if tiny)
            moved = (value - self.start[name]).abs().max()
            row[:4] = value.abs().max(), value.norm(), moved, mask
            row[4:] = value.flatten()[places]
        return rows


def distances(truth: Ran, single: Ran) -> dict:
    """How far float32 is off, but for places whose gradients hardly show."""
    loss = max(abs(a - b) / abs(a) for a, b in zip(truth.losses, single.losses, strict=True))
    worst = {"loss": loss, "end": 0.0, "moved": 0.0}
    for name in truth.names:
        value, shows = truth.end[name], ~truth.tiny(name)
        off = (single.end[name].double() - value) * shows
        worst["end"] = max(worst["end"], (off.abs().max() / value.abs().max()).item())
        moved = (value - truth.start[name]) * shows
        off, moved = (x.flatten()[truth.places(name)].norm().item() for x in (off, moved))
        if moved > 0.0:
            worst["moved"] = max(worst["moved"], off / moved)
    return {key: float(f"{value:.1e}") for key, value in worst.items()}


def refuse_what_is_alike(made: dict[str, dict]) -> None:
    """Two cases of a network whose losses agree could not tell one rule from the other."""
    for (one, a), (other, b) in itertools.combinations(made.items(), 2):
        if a["network"] == b["network"]:
            apart = max(abs(x - y) / abs(x) for x, y in zip(a["losses"], b["losses"], strict=True))
            if apart < 2e-4:
                print(f"{one} and {other} are alike: {apart:.1e}", file=sys.stderr)


def run(settings: dict) -> tuple[dict, dict[str, np.ndarray], Ran]:
    settings = dict(settings)
    if settings["layer_decay"] is not None:
        settings["scales"] = layer_scales(settings["network"], settings["layer_decay"])
    truth = Ran(settings, torch.float64)
    single = Ran(settings, torch.float32)
    keeps = settings.pop("keeps")
    told = settings | {
        "losses": truth.losses,
        "rates": truth.rates,
        "momenta": truth.momenta if schedules.moves_momentum(settings["schedule"]) else None,
        "gradient_norms": truth.norms,
        "f32": distances(truth, single),
    }
    if settings["ema"]:
        told["ema"] = settings["ema"] | {"decays": truth.decays}
    tensors = {"parameters": truth.rows(truth.end)} if keeps else {}
    if keeps and settings["ema"]:
        tensors["averaged"] = truth.rows(truth.averaged)
    return told, tensors, truth


def main():
    torch.set_num_threads(1)
    asked = sys.argv[1:]
    wanted = cases()
    card = {"steps": STEPS, "per_epoch": PER_EPOCH, "side": SIDE, "classes": CLASSES}
    networks = {name: dict(about) for name, about in NETWORKS.items()}
    card |= {"networks": networks, "cases": {}, "schedules": schedules.over_more_steps()}
    tensors = {}
    print("| case | losses | float32: loss | end | moved | seconds |\n|---|---|---|---|---|---|")
    for name in asked or wanted:
        begun = time.monotonic()
        told, made, ran = run(wanted[name])
        networks[told["network"]] |= {"tensors": ran.names, "no_decay": no_decay(ran.network)}
        card["cases"][name] = told
        tensors |= {f"{name}/{key}": value for key, value in made.items()}
        off, losses = told["f32"], told["losses"]
        spent = time.monotonic() - begun
        print(
            f"| {name} | {losses[0]:.4f} … {losses[-1]:.4f} | {off['loss']:.1e} | {off['end']:.1e} "
            f"| {off['moved']:.1e} | {spent:.1f} |",
            flush=True,
        )
        if asked:
            print("gradient norms", *(f"{norm:.3g}" for norm in told["gradient_norms"]))
    refuse_what_is_alike(card["cases"])
    if asked:
        return
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    card["versions"] = {library: version.split("+")[0] for library, version in versions.items()}
    card = json.loads(json.dumps(card), parse_float=lambda text: float(f"{float(text):.9g}"))
    path = generator.GOLDENS / "tuning.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata={"golden": json.dumps(card, separators=(",", ":"))})
    path.chmod(0o644)  # the writer makes it private
    print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()

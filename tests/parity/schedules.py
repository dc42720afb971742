"""Learning rates and momenta step by step, as torch's own schedulers and fastai's formula set them.

What the settings mean, make_tuning_goldens.py says.

Versions: see requirements.txt beside this file.
"""

import math

import torch
from torch.optim import lr_scheduler

PER_EPOCH = 2
CONSTANT = {"name": "constant"}
COSINE = {"name": "cosine", "warmup_steps": 3, "warmup_start": 0.1, "floor": 0.05}
ONE_CYCLE = {
    "name": "one_cycle",
    "pct_start": 0.3,
    "div_factor": 25.0,
    "final_div_factor": 1e4,
    "momentum": [0.85, 0.95],
    "anneal": "cos",
}
FASTAI = {
    "name": "one_cycle_fastai",
    "pct_start": 0.25,
    "div": 25.0,
    "div_final": 1e5,
    "momentum": [0.95, 0.85, 0.95],
}
STEP = {"name": "step", "every": 2, "gamma": 0.5}
POLYNOMIAL = {"name": "polynomial", "power": 0.9}
PLATEAU = {
    "name": "plateau",
    "mode": "max",
    "factor": 0.5,
    "patience": 1,
    "threshold": 1e-4,
    "cooldown": 0,
    "floor": 0.1,
    "metrics": [0.5, 0.6, 0.6, 0.59, 0.58],
}


class Schedule:
    """The rate and the momentum at each step; the referee's own class moves an optimiser of one number."""

    def __init__(self, settings: dict, optimizer: torch.optim.Optimizer, steps: int, per_epoch: int):
        self.settings = dict(settings)
        self.name = self.settings.pop("name")
        self.optimizer, self.steps, self.per_epoch, self.done = optimizer, steps, per_epoch, 0
        self.bases = [group["lr"] for group in optimizer.param_groups]
        self.scheduler = getattr(self, self.name)(**self.settings)

    def constant(self):
        return None

    def cosine(self, warmup_steps, warmup_start, floor):
        # There is one eta_min for all groups.
        assert floor == 0.0 or len(set(self.bases)) == 1
        least = floor * self.bases[0]
        if warmup_steps == 0:
            return lr_scheduler.CosineAnnealingLR(self.optimizer, self.steps, eta_min=least)
        warm = lr_scheduler.LinearLR(self.optimizer, start_factor=warmup_start, total_iters=warmup_steps)
        cosine = lr_scheduler.CosineAnnealingLR(self.optimizer, self.steps - warmup_steps, eta_min=least)
        return lr_scheduler.SequentialLR(self.optimizer, [warm, cosine], [warmup_steps])

    def one_cycle(self, pct_start, div_factor, final_div_factor, momentum, anneal):
        low, high = momentum or (0.85, 0.95)
        return lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=self.bases,
            total_steps=self.steps,
            pct_start=pct_start,
            anneal_strategy=anneal,
            cycle_momentum=momentum is not None,
            base_momentum=low,
            max_momentum=high,
            div_factor=div_factor,
            final_div_factor=final_div_factor,
        )

    def one_cycle_fastai(self, pct_start, div, div_final, momentum):
        """fastai.callback.schedule: combined_cos of the share of training that is done, step / steps."""
        share = self.done / self.steps

        def at(start, middle, end):
            # combine_scheds takes the last piece whose beginning has been reached.
            first = share < pct_start
            a, b = (start, middle) if first else (middle, end)
            done = share / pct_start if first else (share - pct_start) / (1 - pct_start)
            return a + (1 + math.cos(math.pi * (1 - done))) * (b - a) / 2

        for group, base in zip(self.optimizer.param_groups, self.bases, strict=True):
            group["lr"] = at(base / div, base, base / div_final)
            set_momentum(group, at(*momentum))

    def step(self, every, gamma):
        return lr_scheduler.StepLR(self.optimizer, step_size=every * self.per_epoch, gamma=gamma)

    def polynomial(self, power):
        return lr_scheduler.PolynomialLR(self.optimizer, total_iters=self.steps, power=power)

    def plateau(self, mode, factor, patience, threshold, cooldown, floor, metrics):
        return lr_scheduler.ReduceLROnPlateau(
            self.optimizer,
            mode=mode,
            factor=factor,
            patience=patience,
            threshold=threshold,
            threshold_mode="rel",
            cooldown=cooldown,
            min_lr=[floor * base for base in self.bases],
        )

    def advance(self) -> None:
        """After a step of the optimiser."""
        self.done += 1
        if self.done == self.steps:
            return
        match self.name:
            case "constant":
                pass
            case "one_cycle_fastai":
                self.one_cycle_fastai(**self.settings)
            case "plateau":
                if self.done % self.per_epoch == 0:
                    self.scheduler.step(self.settings["metrics"][self.done // self.per_epoch - 1])
            case _:
                self.scheduler.step()


def momentum_of(group: dict) -> float:
    return group["betas"][0] if "betas" in group else group["momentum"]


def set_momentum(group: dict, momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, group["betas"][1])
    else:
        group["momentum"] = momentum


def moves_momentum(schedule: dict) -> bool:
    return schedule.get("momentum") is not None


def over_more_steps() -> dict[str, dict]:
    """Rates over more steps, and other numbers than the cases have."""
    fine_tune = FASTAI | {"pct_start": 0.3, "div": 5.0}
    metrics = [0.5, 0.6, 0.6, 0.60003, 0.59, 0.7, 0.65, 0.69, 0.7, 0.68]
    metrics += [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.0, 0.0]
    wanted = {
        "constant": CONSTANT,
        "cosine": COSINE | {"warmup_steps": 0, "floor": 0.0},
        "cosine_warmup": COSINE | {"warmup_steps": 8, "warmup_start": 0.01, "floor": 0.1},
        "one_cycle": ONE_CYCLE,
        "one_cycle_linear": ONE_CYCLE | {"anneal": "linear", "pct_start": 0.45, "momentum": None},
        "one_cycle_fastai": FASTAI,
        "fine_tune_fastai": fine_tune,
        "step": STEP | {"every": 3, "gamma": 0.1},
        "polynomial": POLYNOMIAL,
        "polynomial_linear": POLYNOMIAL | {"power": 1.0},
        "plateau_max": PLATEAU | {"metrics": metrics},
        "plateau_min": PLATEAU | {"mode": "min", "patience": 2, "floor": 0.0, "metrics": metrics[::-1]},
        "plateau_cooldown": PLATEAU | {"patience": 0, "cooldown": 2, "factor": 0.1, "floor": 1e-3, "metrics": metrics},
    }
    made, steps = {}, 40
    for name, settings in wanted.items():
        optimizer = torch.optim.SGD([torch.zeros(1, dtype=torch.float64)], lr=0.01, momentum=0.9)
        schedule = Schedule(settings, optimizer, steps, PER_EPOCH)
        rates, momenta = [], []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            momenta.append(momentum_of(optimizer.param_groups[0]))
            optimizer.step()
            schedule.advance()
        made[name] = {"steps": steps, "per_epoch": PER_EPOCH, "lr": 0.01, "schedule": settings, "rates": rates}
        made[name]["momenta"] = momenta if moves_momentum(settings) else None
    return made

"""What fastai's learning-rate range test says of made-up losses.

Writes core/tests/fixtures/finder.json. For each curve: the steps that were to be taken, the loss of each, the smoothed
losses that are numbers up to where the test ends, and the two suggestions (none where fastai would fail for want of
points). Follows the definitions of fastai 2.8 in float64:

- the test: callback/schedule.py, LRFinder (SchedExp over the share of the steps before one; the end above four times
  the best smoothed loss) and learner.py, AvgSmoothLoss (beta 0.98);
- what is looked at: callback/schedule.py, lr_find (from a tenth of the steps to the last five, up to the first NaN);
- the suggestions: callback/schedule.py, valley and steep.

    python3 tests/parity/make_finder_goldens.py

Versions: see requirements.txt beside this file.
"""

import json
import math
import pathlib

import numpy as np

FIXTURE = pathlib.Path(__file__).resolve().parents[2] / "core/tests/fixtures/finder.json"
LOW, HIGH, BETA = 1e-7, 10.0, 0.98


def tested(losses, steps):
    """The rates and smoothed losses that fastai records."""
    rates, smoothed = [], []
    mean, best = 0.0, math.inf
    for step in range(steps):
        rates.append(LOW * (HIGH / LOW) ** (step / steps))
        mean = mean * BETA + losses[step] * (1 - BETA)
        smoothed.append(mean / (1 - BETA ** (step + 1)))
        # A NaN is neither below nor above anything.
        if smoothed[-1] < best:
            best = smoothed[-1]
        if smoothed[-1] > 4 * best:
            break
    return np.array(rates), np.array(smoothed)


def looked_at(rates, smoothed, steps):
    rates, smoothed = rates[steps // 10:-5], smoothed[steps // 10:-5]
    nans = np.flatnonzero(np.isnan(smoothed))
    end = nans[0] if len(nans) else len(smoothed)
    return rates[:end], smoothed[:end]


def valley(rates, losses):
    """Two thirds into the longest chain of falling losses; of several the first."""
    chains = []
    for place, loss in enumerate(losses):
        chains.append(1 + max((chains[before] for before in range(place) if losses[before] > loss), default=0))
    end = int(np.argmax(chains))
    start = end - chains[end] if chains[end] > 1 else 0
    third = (end - start) / 3
    return rates[start + int(third) + int(third / 2)]


def steep(rates, losses):
    return rates[np.argmin(np.diff(losses) / np.diff(np.log(rates)))]


def curves():
    """No curve has equal losses in a row: how their mean is rounded would decide."""
    random = np.random.default_rng(14)
    place = lambda steps: np.arange(steps) / steps
    yield "typical", 100, 2.3 - 1.6 / (1 + np.exp(-14 * (place(100) - 0.6))) + 90 * np.clip(place(100) - 0.85, 0, 1) ** 2
    yield "typical and noisy", 100, 2.3 - 1.6 / (1 + np.exp(-14 * (place(100) - 0.6))) + random.normal(0, 0.3, 100)
    yield "diverging", 100, 2 - place(100) + np.exp(40 * (place(100) - 0.7))
    yield "to infinity", 100, np.where(place(100) < 0.8, 2 - place(100), 3e38)
    yield "NaN late", 100, np.where(place(100) < 0.97, 2 - place(100) ** 3, np.nan)
    yield "NaN in the middle", 100, np.where(place(100) < 0.5, 2 - place(100), np.nan)
    yield "NaN at first", 100, np.full(100, np.nan)
    yield "one NaN", 100, np.where(np.arange(100) == 40, np.nan, 2 - place(100))
    yield "falling", 100, 3 - place(100)
    yield "rising", 100, 1 + 0.5 * place(100)
    yield "zigzag", 100, 2 - place(100) + 0.2 * (np.arange(100) % 2)
    yield "steps", 60, 4.0 - np.floor(place(60) * 5) - 0.1 * place(60)
    for number, steps in enumerate([10, 11, 17, 20, 23, 50, 99, 250]):
        yield f"noise of {steps}", steps, random.exponential(1.0, steps) + number % 3
    yield "short", 10, np.where(np.arange(10) < 3, 1.0, 1e4)


def main():
    fixture = []
    for name, steps, losses in curves():
        losses = [float(f"{loss:.6g}") for loss in losses]
        rates, smoothed = tested(losses, steps)
        numbers = [loss for loss in smoothed.tolist() if not math.isnan(loss)]
        rates, smoothed = looked_at(rates, smoothed, steps)
        fixture.append({
            "name": name,
            "steps": steps,
            "losses": [None if math.isnan(loss) else loss for loss in losses],
            "smoothed": [float(f"{loss:.12g}") for loss in numbers],
            "valley": float(valley(rates, smoothed)) if len(rates) > 0 else None,
            "steep": float(steep(rates, smoothed)) if len(rates) > 1 else None,
        })
    FIXTURE.write_text(json.dumps(fixture).replace('}, {"', '},\n{"') + "\n")
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()

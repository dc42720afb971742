#!/usr/bin/env python3
"""Writes core/tests/fixtures/sklearn/targets.json: what scikit-learn answers where a photo has several labels, or values.

    python3 tests/parity/make_target_goldens.py

Pinned: Python 3.11, numpy 2.4.6, scikit-learn 1.9.1.

- `labels`: OneVsRestClassifier over LogisticRegression on several labels at once, its coefficients and the objective
  summed over the labels, with and without balanced class weights.
- `ridge`: Ridge's coefficients, with fewer images than features and with more, of several values at once.
- `label_metrics`, `value_metrics`: average_precision_score, f1_score, accuracy_score; r2_score, mean errors and log_loss.
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    accuracy_score, average_precision_score, f1_score, log_loss, mean_absolute_error, mean_squared_error,
    precision_score, r2_score, recall_score, root_mean_squared_error,
)
from sklearn.multiclass import OneVsRestClassifier

assert sklearn.__version__ == "1.9.1", sklearn.__version__
OUT = Path(__file__).resolve().parents[2] / "core/tests/fixtures/sklearn/targets.json"
random = np.random.default_rng(14)


def short(values, digits=9):
    return [float(f"{v:.{digits}g}") for v in np.asarray(values, np.float64).ravel()]


def labels(images, width, count, c, balanced):
    x = random.normal(size=(images, width)).astype(np.float32)
    y = (x @ random.normal(size=(width, count)) + random.normal(size=(images, count)) > 0.8).astype(int)
    base = LogisticRegression(C=c, tol=1e-12, max_iter=20000, class_weight="balanced" if balanced else None)
    model = OneVsRestClassifier(base).fit(x.astype(np.float64), y)
    weight = np.concatenate([one.coef_ for one in model.estimators_])
    bias = np.concatenate([one.intercept_ for one in model.estimators_])
    signs, logits = 2 * y - 1, x.astype(np.float64) @ weight.T + bias
    weigh = np.ones_like(logits)
    if balanced:
        weigh = np.where(y > 0, images / (2 * y.sum(0)), images / (2 * (images - y.sum(0))))
    objective = c * np.sum(weigh * np.logaddexp(0, -signs * logits)) + 0.5 * np.sum(weight**2)
    return {"width": width, "c": c, "balanced": balanced, "x": short(x), "y": y.ravel().tolist(), "labels": count,
            "weight": short(weight), "bias": short(bias), "objective": float(objective)}


def ridge(images, width, values, c):
    x = (3 + random.normal(size=(images, width))).astype(np.float32)
    y = (x @ random.normal(size=(width, values)) * [1, 100][:values] + 5).astype(np.float32)
    alpha = 1 / c if c else float(x.astype(np.float64).var(0).sum())
    model = Ridge(alpha=alpha, solver="svd").fit(x.astype(np.float64), y.astype(np.float64))
    return {"width": width, "c": c, "values": values, "x": short(x), "y": short(y),
            "weight": short(model.coef_), "bias": short(model.intercept_)}


def label_metrics():
    y = random.integers(0, 2, size=(40, 4))
    y[:, 3] = y[:, 3] & y[:, 2]
    p = np.round(np.clip(0.35 * y + 0.6 * random.random(y.shape), 0, 1), 2).astype(np.float32)  # with ties
    at = np.array([0.5, 0.4, 0.7, 0.5], np.float32)
    told = (p >= at).astype(int)
    return {"y": y.ravel().tolist(), "p": short(p), "thresholds": short(at),
            "average_precision": short([average_precision_score(y[:, k], p[:, k]) for k in range(4)]),
            "map": float(average_precision_score(y, p, average="macro")),
            "precision": short(precision_score(y, told, average=None)),
            "recall": short(recall_score(y, told, average=None)),
            "f1": short(f1_score(y, told, average=None)),
            "f1_micro": float(f1_score(y, told, average="micro")),
            "f1_macro": float(f1_score(y, told, average="macro")),
            "subset_accuracy": float(accuracy_score(y, told)),
            "log_loss": float(np.mean([log_loss(y[:, k], p[:, k], labels=[0, 1]) for k in range(4)])),
            "best_f1": [max(f1_score(y[:, k], p[:, k] >= t) for t in np.unique(p[:, k])) for k in range(4)]}


def value_metrics():
    y = (random.normal(size=(25, 2)) * [1, 40]).astype(np.float32)
    e = (y + random.normal(size=(25, 2)) * [0.5, 10]).astype(np.float32)
    raw = "raw_values"
    return {"y": short(y), "estimates": short(e),
            "r2": short(r2_score(y, e, multioutput=raw)),
            "mae": short(mean_absolute_error(y, e, multioutput=raw)),
            "rmse": short(root_mean_squared_error(y, e, multioutput=raw)),
            "mse": float(mean_squared_error(y, e)),
            "mean_r2": float(r2_score(y, e))}


OUT.write_text(json.dumps({
    "labels": [labels(60, 6, 3, 1.0, False), labels(60, 6, 3, 0.3, True), labels(20, 40, 2, 0.5, False)],
    "ridge": [ridge(50, 8, 2, 0.5), ridge(12, 30, 2, 2.0), ridge(50, 8, 1, None), ridge(12, 30, 1, None)],
    "label_metrics": label_metrics(),
    "value_metrics": value_metrics(),
}) + "\n")
print(OUT, OUT.stat().st_size)

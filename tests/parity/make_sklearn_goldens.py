#!/usr/bin/env python3
"""Writes core/tests/fixtures/sklearn/*.json: what scikit-learn answers to small problems.

    python3 tests/parity/make_sklearn_goldens.py

Pinned: Python 3.11, numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1.

Each `logistic_*.json` holds a regression (features, labels, C, class weights, scaling) and its
optimum by scikit-learn's LogisticRegression, solved twice (newton-cholesky and lbfgs) to
agreement. The objective is evaluated here, from its definition, at scikit-learn's
coefficients:

    J(W, b) = C sum_i w(y_i) (-log softmax(W x_i + b)[y_i]) + 1/2 |W|^2

With two classes scikit-learn fits one vector v and one intercept a by the binary loss

    B(v, a) = C' sum_i w(y_i) log(1 + exp(-+(v x_i + a))) + 1/2 |v|^2.

The softmax over two classes depends on W only by W_1 - W_0; for a given difference v the penalty
is least at W = [-v/2, v/2], where 1/2 |W|^2 = 1/4 |v|^2. So min J at C is min over v of
C sum(...) + 1/4 |v|^2, half of B at C' = 2C: fit the binary model with 2C, then W = [-v/2, v/2],
b = [-a/2, a/2] minimises J.

A scaled regression is scikit-learn's on features divided by s; its W / s is stored, so that
coefficients always apply to the undivided features. The objective is that of the scaled problem.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
from scipy.special import logsumexp, softmax
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report, confusion_matrix, log_loss, top_k_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

assert sklearn.__version__ == "1.9.1", sklearn.__version__
OUT = Path(__file__).resolve().parents[2] / "core/tests/fixtures/sklearn"
# The last digits that a solve to machine precision still moves.
warnings.filterwarnings("ignore", category=sklearn.exceptions.ConvergenceWarning)


def objective(x, y, weight, bias, c, class_weight):
    logits = x @ weight.T + bias
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return c * np.sum(class_weight[y] * loss) + 0.5 * np.sum(weight**2)


def fit(x, y, c, class_weight, solver):
    classes = len(class_weight)
    model = LogisticRegression(
        C=2 * c if classes == 2 else c,
        class_weight=dict(enumerate(class_weight)),
        solver=solver,
        tol=1e-11,
        max_iter=20000,
    ).fit(x, y)
    weight, bias = model.coef_, model.intercept_
    if classes == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight - weight.mean(0), bias - bias.mean()


def short(values, digits):
    return [float(f"{v:.{digits}g}") for v in np.asarray(values, np.float64).ravel()]


def logistic(name, x, y, c, weights="none", scaling="none"):
    x = x.astype(np.float32)  # what is stored is what is fitted
    wide = x.astype(np.float64)
    classes = int(y.max()) + 1
    if isinstance(weights, str):
        kind = {"none": None, "balanced": "balanced"}[weights]
        class_weight = compute_class_weight(kind, classes=np.arange(classes), y=y)
    else:
        class_weight = np.array(weights)
    scale = {
        "none": lambda: np.ones(x.shape[1]),
        "global": lambda: np.full(x.shape[1], np.sqrt(wide.var(0).mean())),
        "per_feature": lambda: StandardScaler().fit(wide).scale_,
    }[scaling]()
    # Subtracting the mean leaves the optimum where it is and helps the reference solvers.
    mean = wide.mean(0)
    scaled = (wide - mean) / scale
    found = []
    for solver in ("newton-cholesky", "lbfgs"):
        weight, bias = fit(scaled, y, c, class_weight, solver)
        found.append((objective(scaled, y, weight, bias, c, class_weight), weight, bias))
    best, other = sorted(found, key=lambda each: each[0])
    agreement = other[0] / best[0] - 1
    value, weight, bias = best
    weight = weight / scale
    bias = bias - weight @ mean
    document = {
        "features": x.shape[1],
        "classes": classes,
        "c": c,
        "class_weights": weights if isinstance(weights, str) else {"given": weights},
        "scaling": scaling,
        "x": [int(v) if v == int(v) else float(str(v)) for v in x.ravel()],
        "y": y.tolist(),
        "objective": value,
        "weight": short(weight, 10),
        "bias": short(bias, 10),
        "probabilities": short(softmax(wide @ weight.T + bias, axis=1), 7),
    }
    write(f"logistic_{name}", document)
    print(f"{name}: objective {value:.12g}, two solvers apart by {agreement:.1e}")
    assert agreement < 1e-8


def blobs(rng, counts, features, spread):
    centres = rng.normal(size=(len(counts), features))
    y = np.repeat(np.arange(len(counts)), counts)
    x = centres[y] + spread * rng.normal(size=(len(y), features))
    order = rng.permutation(len(y))
    return np.round(x[order], 3), y[order]


def metrics(name, probabilities, y, classes):
    probabilities = probabilities.astype(np.float32)
    predicted = probabilities.argmax(1)
    report = classification_report(y, predicted, output_dict=True, zero_division=0)
    wide = probabilities.astype(np.float64)
    wide /= wide.sum(1, keepdims=True)
    # scikit-learn has no expected calibration error, but its calibration curve of "the top class
    # is right" gives each bin's confidence and accuracy; the bins' sizes weigh them.
    top = np.minimum(probabilities.max(1).astype(np.float64), 1.0)
    right = predicted == y
    accuracy, confidence = calibration_curve(right, top, n_bins=15, strategy="uniform")
    sizes = np.bincount(np.searchsorted(np.linspace(0, 1, 16)[1:-1], top), minlength=15)
    sizes = sizes[sizes > 0]
    document = {
        "classes": classes,
        "probabilities": [float(str(v)) for v in probabilities.ravel()],
        "y": y.tolist(),
        "accuracy": report["accuracy"],
        "top2_accuracy": top_k_accuracy_score(y, wide, k=2, labels=np.arange(classes)),
        "log_loss": log_loss(y, probabilities, labels=np.arange(classes)),
        "calibration_error": float(np.sum(sizes * np.abs(accuracy - confidence)) / len(y)),
        "confusion": confusion_matrix(y, predicted, labels=np.arange(classes)).tolist(),
        "per_class": {k: v for k, v in report.items() if k.isdigit()},
        "macro_average": report["macro avg"],
        "weighted_average": report["weighted avg"],
    }
    write(f"metrics_{name}", document)
    print(f"{name}: accuracy {document['accuracy']:.3f}, ECE {document['calibration_error']:.3f}")


def write(name, document):
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    (OUT / f"{name}.json").write_text(text + "\n")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20)

    x, y = blobs(rng, [25, 25, 25], 8, 1.5)
    logistic("plain", x, y, 1.0)
    x, y = blobs(rng, [30, 20], 6, 2.0)
    logistic("two_classes", x, y, 0.5)
    logistic("two_classes_balanced", x, y, 3.0, "balanced")
    x, y = blobs(rng, [50, 20, 8, 4, 3], 10, 1.5)
    logistic("imbalanced", x, y, 1.0)
    logistic("imbalanced_balanced", x, y, 1.0, "balanced")
    logistic("imbalanced_given", x, y, 2.0, [0.5, 1.0, 2.0, 3.5, 0.25])
    # Far apart and hardly penalised: the weights grow until the penalty stops them.
    x, y = blobs(rng, [12, 12, 12], 5, 0.1)
    logistic("separable", x, y, 1e4)
    # Scales from 0.01 to 100, large offsets, and neighbours that nearly repeat each other.
    x, y = blobs(rng, [20, 20, 20, 20], 12, 1.5)
    x[:, 1::2] = 0.95 * x[:, ::2] + 0.05 * x[:, 1::2]
    x = np.float32(x * 10.0 ** np.linspace(-2, 2, 12) + np.linspace(-50, 50, 12))
    for scaling in ("none", "global", "per_feature"):
        logistic(f"ill_conditioned_{scaling}", x, y, 10.0, scaling=scaling)
    # More features than images, none negative, many zero: what a pooled ReLU gives.
    x, y = blobs(rng, [8, 8, 8, 8, 8], 96, 1.0)
    logistic("wide", np.maximum(x, 0), y, 1.0, scaling="global")

    digits = load_digits()
    take = rng.permutation(len(digits.target))[:240]
    x, y = digits.data[take], digits.target[take]
    logistic("digits", x, y, 0.01)

    confident = softmax(3 * rng.normal(size=(60, 5)), axis=1)
    y = np.array([rng.choice(5, p=p**0.5 / np.sum(p**0.5)) for p in confident])
    metrics("five_classes", confident, y, 5)
    # Class 3 is never answered, class 2 has no images, and of class 4 there is neither.
    logits = rng.normal(size=(40, 5)) + [1, 1, 1, -9, -9]
    y = rng.choice([0, 1, 3], size=40)
    metrics("missing_classes", softmax(2 * logits, axis=1), y, 5)


main()

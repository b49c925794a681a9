"""What makes an accuracy: ingredients left out, ensembles, and how sure a network is beside how
often it is right.
"""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import optimize
from sklearn import metrics as sk

from hw3.figures import labeled, panels
from hw3.metrics import N_CLASSES, proportion
from hw3.runs import Run

ENSEMBLE = ("combined-cnn", "mild-cnn")  # whose recorded runs answer together


def ensemble(members: list[Run]) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return {"vote" and "mean": {part: (true labels, predicted labels)}} of runs that predicted
    the same faces.

    "mean" averages the probabilities; "vote" takes the label that most members chose, of several
    such the one of higher mean. Parts that not all members predicted for the same faces, such as
    held-out parts of different seeds, are left out.
    """
    first, result = members[0], {"vote": {}, "mean": {}}
    for part, (rows, labels, _) in first.predictions.items():
        if all(
            part in m.predictions and np.array_equal(m.predictions[part][0], rows) for m in members
        ):
            p = np.stack([m.predictions[part][2] for m in members])
            votes = np.eye(p.shape[-1])[p.argmax(-1)].sum(0)
            result["mean"][part] = labels, p.mean(0).argmax(1)
            result["vote"][part] = labels, (votes + p.mean(0) / 2).argmax(1)
    return result


BINS = 15  # of confidence, equally wide


def bins_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Return the number of the bin, from 0, that each confidence (n,) in [0, 1] falls into."""
    return np.minimum((confidence * bins).astype(int), bins - 1)


def calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Return, of the predictions in each of so many equal bins of confidence, their mean
    confidence, accuracy and n.

    The confidence of a prediction is its probability, the highest of the seven (n, 7). Bins without
    predictions are left out. Accuracy has its Wilson interval. Source: Guo et al. 2017, arXiv
    1706.04599.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    number = bins_of(confidence, bins)
    rows = []
    for b in np.unique(number):
        inside = number == b
        rows.append(
            (
                confidence[inside].mean(),
                *proportion(right[inside].sum(), inside.sum()),
                inside.sum(),
            )
        )
    return pd.DataFrame(rows, columns=["confidence", "accuracy", "low", "high", "n"])


def calibration_error(right: np.ndarray, confidence: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error of `calibration`: the mean gap of confidence and
    accuracy of the bins, weighted by n.

    right (n,) is true or 1 where a prediction is right, confidence (n,) its probability.
    """
    return float(
        np.abs(np.bincount(bins_of(confidence, bins), confidence - right)).sum() / len(right)
    )


def chance_error(confidence: np.ndarray, n: int = 1000, seed: int = 0) -> float:
    """Return the mean calibration error over n draws in which each prediction is right with exactly
    its confidence (n,).

    It is what chance alone makes of a perfectly calibrated network on so few images.
    """
    draws = np.random.default_rng(seed).random((n, len(confidence))) < confidence
    return float(np.mean([calibration_error(right, confidence) for right in draws]))


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (n, 7) with their logarithms divided by a temperature, normalized: above
    1 less sure, below surer.
    """
    scaled = np.clip(probabilities, 1e-7, 1) ** (
        1 / temperature
    )  # a recorded probability may be 0 as float16
    return scaled / scaled.sum(1, keepdims=True)


def best_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature, from 0.1 to 10, at which the labels (n,) are most likely by
    probabilities (n, 7).

    Fit it on other images than those that it is judged on. It changes no answer. Source: Guo et al.
    2017, arXiv 1706.04599.
    """

    def loss(log):
        return sk.log_loss(
            labels, at_temperature(probabilities, np.exp(log)), labels=range(N_CLASSES)
        )

    return float(
        np.exp(optimize.minimize_scalar(loss, bounds=np.log((0.1, 10)), method="bounded").x)
    )


FEW = 20  # faces: the share of fewer says too little to be drawn


def reliability(found: dict[str, dict], note: str = "") -> Figure:
    """Draw accuracy against confidence, a panel for each key: one line with 95% intervals for each
    `calibration` table.

    found maps titles to tables by name. Bins of fewer than FEW faces are left out.
    """
    figure, axes = panels(3.7, 1, len(found), sharey=True, squeeze=False)
    told = []
    for ax, (title, tables) in zip(axes.flat, found.items(), strict=True):
        ax.plot([0, 1], [0, 1], ":", color="0.5", label="as sure as right")
        for (name, table), mark in zip(tables.items(), "osD^v", strict=False):
            shown = table[table["n"] >= FEW]
            spread = np.abs(shown[["low", "high"]].to_numpy().T - shown["accuracy"].to_numpy())
            ax.errorbar(
                shown["confidence"],
                shown["accuracy"],
                spread,
                marker=mark,
                ms=4,
                lw=1.2,
                capsize=2,
                label=name,
            )
            far = shown.loc[(shown["accuracy"] - shown["confidence"]).abs().idxmax()]
            where = f"where it is {far['confidence']:.0%} sure and {far['accuracy']:.0%} are right"
            told.append(f"{title}, {name} is farthest from it {where}")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
        ax.set(title=title, xlabel="confidence: probability of the prediction", ylim=(0, 1))
    ax.legend(loc="upper left", fontsize=8)
    figure.axes[0].set_ylabel("share of right predictions")
    label = f"Share of right predictions against confidence, beside the line of as sure as right: {'; '.join(told)}."
    return labeled(figure, label, note)

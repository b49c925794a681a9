"""What makes an accuracy: ensembles, and how sure a network is beside how often it is right."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import optimize, special, stats
from sklearn import metrics as sk

from hw3.faces import N_CLASSES
from hw3.figures import labeled, panels
from hw3.metrics import Interval, proportion
from hw3.runs import Run

ENSEMBLE = ("combined-cnn", "mild-cnn")  # whose recorded runs answer together
BINS = 15  # of confidence, equally wide
MIN_FACES = 20  # the share of fewer says too little to be drawn


def ensemble(members: list[Run], part: str) -> dict[str, np.ndarray]:
    """Return the labels (n,) that runs predict together for a part, by "vote" and by "mean".

    "mean" averages the probabilities; "vote" takes the label that most members chose, of several
    such the one of higher mean. Raises ValueError or KeyError where not all members predicted the
    same faces, as of the held-out parts of different seeds.
    """
    rows, _, probabilities = zip(*(m.predictions[part] for m in members), strict=True)
    if not all(np.array_equal(rows[0], other) for other in rows):
        raise ValueError(f"the runs predicted different faces of {part}: there is nothing to vote")
    p = np.stack(probabilities)
    votes = np.eye(p.shape[-1])[p.argmax(-1)].sum(0)
    return {"vote": (votes + p.mean(0) / 2).argmax(1), "mean": p.mean(0).argmax(1)}


def next_seed(values) -> Interval:
    """Return the mean of values, one a seed, and Student's prediction interval of one more seed."""
    n = len(values)
    half = np.std(values, ddof=1) * stats.t.ppf(0.975, n - 1) * np.sqrt(1 + 1 / n)
    return Interval(np.mean(values), np.mean(values) - half, np.mean(values) + half)


def calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Return one row a bin: mean confidence, accuracy with its Wilson interval, and n.

    The confidence of a prediction is its probability, the highest of the seven (n, 7). Bins without
    predictions are left out. Source: Guo et al. 2017, arXiv 1706.04599.
    """
    table = pd.DataFrame({"sure": probabilities.max(1), "right": probabilities.argmax(1) == labels})
    rows = []
    for _, b in table.groupby(_bins(table["sure"], bins)):
        rows.append((b["sure"].mean(), *proportion(b["right"].sum(), len(b)), len(b)))
    return pd.DataFrame(rows, columns=["confidence", "accuracy", "low", "high", "n"])


def _bins(confidence, bins):
    """Return the number of the bin, from 0, that each confidence (n,) in [0, 1] falls into."""
    return np.minimum((confidence * bins).astype(int), bins - 1)


def calibration_error(right: np.ndarray, confidence: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean gap of the bins, weighted by n.

    right (n,) is true or 1 where a prediction is right, confidence (n,) its probability.
    """
    gaps = np.bincount(_bins(confidence, bins), confidence - right)
    return float(np.abs(gaps).sum() / len(right))


def chance_error(confidence: np.ndarray, n: int = 1000, seed: int = 0) -> float:
    """Return the calibration error that chance alone makes: the mean of n draws.

    In each, a prediction is right with exactly its confidence (images,).
    """
    draws = np.random.default_rng(seed).random((n, len(confidence))) < confidence
    return float(np.mean([calibration_error(right, confidence) for right in draws]))


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (n, 7) with their logarithms divided by a temperature, normalized.

    Above 1 they are less sure, below 1 surer.
    """
    # a recorded probability may be 0 as float16
    return special.softmax(np.log(np.clip(probabilities, 1e-7, 1)) / temperature, axis=1)


def best_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature, from 0.1 to 10, at which the labels (n,) are most likely.

    Fit it on other images than those that it is judged on. It changes no answer. Source: Guo et al.
    2017, arXiv 1706.04599.
    """

    def loss(log):
        scaled = at_temperature(probabilities, np.exp(log))
        return sk.log_loss(labels, scaled, labels=range(N_CLASSES))

    best = optimize.minimize_scalar(loss, bounds=np.log((0.1, 10)), method="bounded")
    return float(np.exp(best.x))


def reliability(panel_tables: dict[str, dict[str, pd.DataFrame]], note: str = "") -> Figure:
    """Draw accuracy against confidence: a panel a title, a line a name, 95% intervals.

    panel_tables maps titles to `calibration` tables by name. Bins of fewer than MIN_FACES faces are
    left out.
    """
    figure, axes = panels(3.7, 1, len(panel_tables), sharey=True, squeeze=False)
    readings = []
    for ax, (title, tables) in zip(axes.flat, panel_tables.items(), strict=True):
        ax.plot([0, 1], [0, 1], ":", color="0.5", label="as sure as right")
        for (name, table), mark in zip(tables.items(), "osD^v", strict=False):
            table = table[table["n"] >= MIN_FACES]
            sure, right = table["confidence"], table["accuracy"]
            bars = right - table["low"], table["high"] - right
            ax.errorbar(sure, right, bars, marker=mark, ms=4, lw=1.2, capsize=2, label=name)
            far = (right - sure).abs().idxmax()
            where = f"where it is {sure[far]:.0%} sure and {right[far]:.0%} are right"
            readings.append(f"{title}, {name} is farthest from it {where}")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
        ax.set(title=title, xlabel="confidence: probability of the prediction", ylim=(0, 1))
    ax.legend(loc="upper left", fontsize=8)
    figure.axes[0].set_ylabel("share of right predictions")
    label = (
        "Share of right predictions against confidence, beside the line of as sure as right: "
        f"{'; '.join(readings)}."
    )
    return labeled(figure, label, note)

"""What makes an accuracy: ensembles, and how sure a network is beside how often it is right."""

import numpy as np
from scipy import optimize, special, stats
from sklearn import metrics as sk

from hw3.faces import N_CLASSES
from hw3.metrics import Interval
from hw3.runs import Run

ENSEMBLE = ("combined-cnn", "mild-cnn")  # whose recorded runs answer together
BINS = 15  # of confidence, equally wide


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


def calibration_error(right: np.ndarray, confidence: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean gap of the bins, weighted by n.

    right (n,) is true or 1 where a prediction is right, confidence (n,) its probability. Source:
    Guo et al. 2017, arXiv 1706.04599.
    """
    number = np.minimum((confidence * bins).astype(int), bins - 1)  # of the bin, from 0
    gaps = np.bincount(number, confidence - right)
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

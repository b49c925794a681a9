"""What predictions are worth: accuracy with intervals, the confusion matrix, confused pairs, tested claims.

A matrix of counts has the true emotion in its rows and the predicted one in its columns, in the order of EMOTIONS.
"""

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import optimize, stats
from sklearn import metrics as sk

from hw3.faces import EMOTIONS

N_CLASSES = len(EMOTIONS)


def proportion(hits: int, n: int, level: float = 0.95) -> tuple[float, float, float]:
    """Return hits / n and its Wilson score interval (Wilson 1927), all in [0, 1]. Raises ValueError unless 0 <= hits <= n > 0."""
    interval = stats.binomtest(int(hits), int(n)).proportion_ci(level, method="wilson")
    return hits / n, interval.low, interval.high


def percent(hits: int, n: int) -> str:
    """Return a proportion for prose: "61.3% (95% interval 57.9% to 64.6%, n = 800)"."""
    p, low, high = proportion(hits, n)
    return f"{p:.1%} (95% interval {low:.1%} to {high:.1%}, n = {n:,})"


def in_percent(hits: int, n: int) -> str:
    """Return a proportion for a table in percent: "61.3 (57.9 to 64.6)", with its 95% interval."""
    p, low, high = proportion(hits, n)
    return f"{p * 100:.1f} ({low * 100:.1f} to {high * 100:.1f})"


def difference(labels: np.ndarray, first: np.ndarray, second: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return accuracy of first minus accuracy of second on the same n images, and Agresti and Min's interval (2005).

    It is the normal one for paired data after half a face is added to each of: both right, both wrong, only one right. So it
    stays honest where the two hardly differ or the faces are few; without any faces the value is NaN.
    """
    a, b = first == labels, second == labels
    only_first, only_second, n = (a & ~b).sum() + 0.5, (b & ~a).sum() + 0.5, len(labels) + 2
    middle = (only_first - only_second) / n
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt((only_first + only_second) / n - middle**2) / np.sqrt(n)
    value = a.mean() - b.mean() if n > 2 else np.nan
    return value, max(middle - half, -1.0), min(middle + half, 1.0)


def unpaired(first: tuple[int, int], second: tuple[int, int], level: float = 0.95) -> tuple[float, float, float]:
    """Return the share of first minus that of second, (hits, n) of their own images, and Newcombe's interval (1998)."""
    (p, p_low, p_high), (q, q_low, q_high) = (proportion(*counts, level) for counts in (first, second))
    return p - q, p - q - np.hypot(p - p_low, q_high - q), p - q + np.hypot(p_high - p, q - q_low)


def points(value: float, low: float, high: float) -> str:
    """Return a difference for prose: "+12.5 points (95% interval +9.1 to +15.9)"."""
    return f"{value * 100:+.1f} points (95% interval {low * 100:+.1f} to {high * 100:+.1f})"


def confusion(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the (7, 7) counts, rows true, columns predicted."""
    return sk.confusion_matrix(labels, predicted, labels=range(N_CLASSES))


def shares(counts: np.ndarray) -> np.ndarray:
    """Return each row of counts divided by its sum; a row without faces becomes NaN."""
    totals = counts.sum(1, keepdims=True)
    return np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)


def cells(counts: np.ndarray) -> pd.DataFrame:
    """Return one row a cell of counts (7, 7), row by row: count, n of its true emotion, share count / n and Wilson interval."""
    rows = [(k, n, *(proportion(k, n) if n else (np.nan,) * 3)) for row in counts for n in [row.sum()] for k in row]
    return pd.DataFrame(rows, columns=["count", "n", "share", "low", "high"])


def per_class(labels: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Return precision, recall with its Wilson interval, F1 and n of each emotion, all in [0, 1]."""
    found = sk.precision_recall_fscore_support(labels, predicted, labels=range(N_CLASSES), zero_division=np.nan)
    precision, recall, f1, n = found
    own = cells(confusion(labels, predicted)).iloc[:: N_CLASSES + 1]  # the diagonal
    ends = {"recall low": own["low"].to_numpy(), "recall high": own["high"].to_numpy()}
    columns = {"precision": precision, "recall": recall, **ends, "F1": f1, "n": n}
    return pd.DataFrame(columns, index=pd.Index(EMOTIONS, name="emotion"))


def confused_pairs(counts: np.ndarray) -> pd.DataFrame:
    """Return the 21 pairs of emotions, most confused first.

    The rate of a pair is the share of the faces of either emotion that were taken for the other, with its Wilson interval.
    """
    rows = []
    for i in range(N_CLASSES):
        for j in range(i + 1, N_CLASSES):
            n, k = counts[i].sum() + counts[j].sum(), counts[i, j] + counts[j, i]
            rate, low, high = proportion(k, n) if n else (np.nan,) * 3
            rows.append((f"{EMOTIONS[i]} – {EMOTIONS[j]}", k, n, rate, low, high))  # noqa: RUF001 (an en dash joins the pair)
    table = pd.DataFrame(rows, columns=["pair", "confused", "n", "rate", "low", "high"])
    return table.sort_values("rate", ascending=False, ignore_index=True)


def resample(counts: np.ndarray, n: int = 100_000, seed: int = 0) -> np.ndarray:
    """Return n plausible copies (n, 7, 7) of the counts: each row's shares drawn from their posterior, times its faces.

    The posterior is Dirichlet with Perks' prior (1947), one face spread over the seven cells: unlike a plain bootstrap, it
    stays honest for a rare emotion of which no face, or every face, was recognized.
    """
    p = np.random.default_rng(seed).standard_gamma(counts + 1 / N_CLASSES, size=(n, *counts.shape))
    return p / p.sum(-1, keepdims=True) * counts.sum(1, keepdims=True)


BINS = 15  # of confidence, equally wide


def bins_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Return the number of the bin, from 0, that each confidence (n,) in [0, 1] falls into."""
    return np.minimum((confidence * bins).astype(int), bins - 1)


def calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Return, of the predictions in each of so many equal bins of confidence, their mean confidence, accuracy and n.

    The confidence of a prediction is its probability, the highest of the seven (n, 7). Bins without predictions are left out.
    Accuracy has its Wilson interval. Source: Guo et al. 2017, arXiv 1706.04599.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    number = bins_of(confidence, bins)
    rows = []
    for b in np.unique(number):
        inside = number == b
        rows.append((confidence[inside].mean(), *proportion(right[inside].sum(), inside.sum()), inside.sum()))
    return pd.DataFrame(rows, columns=["confidence", "accuracy", "low", "high", "n"])


def calibration_error(right: np.ndarray, confidence: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error of `calibration`: the mean gap of confidence and accuracy of the bins, weighted by n.

    right (n,) is true or 1 where a prediction is right, confidence (n,) its probability.
    """
    return float(np.abs(np.bincount(bins_of(confidence, bins), confidence - right)).sum() / len(right))


def chance_error(confidence: np.ndarray, n: int = 1000, seed: int = 0) -> float:
    """Return the mean calibration error over n draws in which each prediction is right with exactly its confidence (n,).

    It is what chance alone makes of a perfectly calibrated network on so few images.
    """
    draws = np.random.default_rng(seed).random((n, len(confidence))) < confidence
    return float(np.mean([calibration_error(right, confidence) for right in draws]))


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (n, 7) with their logarithms divided by a temperature, normalized: above 1 less sure, below surer."""
    scaled = np.clip(probabilities, 1e-7, 1) ** (1 / temperature)  # a recorded probability may be 0 as float16
    return scaled / scaled.sum(1, keepdims=True)


def best_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature, from 0.1 to 10, at which the labels (n,) are most likely by probabilities (n, 7).

    Fit it on other images than those that it is judged on. It changes no answer. Source: Guo et al. 2017, arXiv 1706.04599.
    """

    def loss(log):
        return sk.log_loss(labels, at_temperature(probabilities, np.exp(log)), labels=range(N_CLASSES))

    return float(np.exp(optimize.minimize_scalar(loss, bounds=np.log((0.1, 10)), method="bounded").x))


ANGRY, DISGUST, FEAR, HAPPY, SAD, SURPRISE, NEUTRAL = range(N_CLASSES)


def pair_excess(i: int, j: int) -> Callable:
    """Return the statistic "rate of the pair i, j minus the mean rate of all other pairs", on counts (..., 7, 7)."""

    a, b = np.triu_indices(N_CLASSES, 1)
    this = list(zip(a, b, strict=True)).index((min(i, j), max(i, j)))

    def statistic(counts):
        n = counts.sum(-1)
        rates = (counts[..., a, b] + counts[..., b, a]) / (n[..., a] + n[..., b])
        return rates[..., this] - (rates.sum(-1) - rates[..., this]) / (len(a) - 1)

    return statistic


def recalls(counts: np.ndarray) -> np.ndarray:
    """Return the recall of each emotion (..., 7) of counts (..., 7, 7)."""
    return np.diagonal(counts, axis1=-2, axis2=-1) / counts.sum(-1)


def recall_excess(i: int) -> Callable:
    """Return the statistic "recall of i minus the mean recall of the other emotions"."""
    return lambda counts: recalls(counts)[..., i] - np.delete(recalls(counts), i, -1).mean(-1)


def drift_excess(i: int, j: int) -> Callable:
    """Return the statistic "share of i taken for j minus the mean share of i taken for each other wrong emotion"."""
    others = [c for c in range(N_CLASSES) if c not in (i, j)]

    def statistic(counts):
        row = counts[..., i, :] / counts[..., i, :].sum(-1, keepdims=True)
        return row[..., j] - row[..., others].mean(-1)

    return statistic


def lowest_margin(i: int) -> Callable:
    """Return the statistic "lowest recall of the other emotions minus the recall of i": positive where i is the worst."""
    return lambda counts: np.delete(recalls(counts), i, -1).min(-1) - recalls(counts)[..., i]


def highest_margin(*tops: int) -> Callable:
    """Return the statistic "lowest recall of tops minus the highest recall of the rest": positive where tops are the best."""
    return lambda counts: recalls(counts)[..., tops].min(-1) - np.delete(recalls(counts), tops, -1).max(-1)


def pairs(first: int, *others: int) -> dict[str, Callable]:
    """Return the pair statistics of one emotion with each of the others, by name."""
    return {f"{EMOTIONS[first]} – {EMOTIONS[o]}": pair_excess(first, o) for o in others}  # noqa: RUF001


# The original's six observations, and for each the statistics of a confusion matrix that must all be positive for it to hold.
OBSERVATIONS = {
    "Fear is easily confused with Sad, Neutral and Angry": pairs(FEAR, SAD, NEUTRAL, ANGRY),
    "Sad and Neutral are easily confused": pairs(SAD, NEUTRAL),
    "Angry is easily confused with Sad and Neutral": pairs(ANGRY, SAD, NEUTRAL),
    "Neutral is recognized well, while Fear, Sad and Angry are often taken for Neutral": {
        "recall of Neutral": recall_excess(NEUTRAL),
        **{f"{EMOTIONS[i]} taken for Neutral": drift_excess(i, NEUTRAL) for i in (FEAR, SAD, ANGRY)},
    },
    "Fear has the lowest accuracy": {"next lowest recall minus Fear's": lowest_margin(FEAR)},
    "Disgust and Happy have the highest accuracy": {
        "lower of the two minus the best other recall": highest_margin(DISGUST, HAPPY)
    },
}


def verdict(low: np.ndarray, high: np.ndarray) -> str:
    """Return "holds" if all intervals lie above zero, "does not hold" if one lies at or below it, else "undecided"."""
    if np.all(np.asarray(low) > 0):
        return "holds"
    return "does not hold" if np.any(np.asarray(high) <= 0) else "undecided"


def decide(tests: dict[str, tuple[float, float, float]]) -> tuple:
    """Return the verdict on named statistics (value, low, high), and name, value, low and high of the one that decides.

    That is, of a claim that fails, the one with the lowest upper end, else the one with the lowest lower end.
    """
    values, low, high = np.array(list(tests.values())).T
    said = verdict(low, high)
    weakest = int(np.argmin(high if said == "does not hold" else low))
    return said, list(tests)[weakest], values[weakest], low[weakest], high[weakest]


def spread(statistic: Callable, counts: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return a statistic of a matrix of counts and its interval, `percentiles` of resampled counts.

    Where an emotion has no faces the value is NaN and the interval all that a difference of shares can be.
    """
    if (counts.sum(1) == 0).any():
        return np.nan, -1.0, 1.0
    return statistic(counts), *percentiles(statistic(_copies(tuple(counts.ravel().tolist()))), level)


def percentiles(drawn: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentiles of drawn values (n,) that hold so large a share of them between them.

    How many of the values lie beyond an end is up to chance: each end is taken three standard deviations of that number
    further out, so that hardly any verdict rests on the draw.
    """
    beyond = len(drawn) * (1 - level) / 2
    tail = max(beyond - 3 * np.sqrt(beyond), 0) / len(drawn)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


@functools.lru_cache(maxsize=1)  # one matrix has many statistics
def _copies(cells: tuple[int, ...]) -> np.ndarray:
    return resample(np.reshape(cells, (N_CLASSES, N_CLASSES)))

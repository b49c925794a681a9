"""What predictions are worth: accuracy with intervals, the confusion matrix, confused pairs, tested
claims.

A matrix of counts has the true emotion in its rows and the predicted one in its columns, in the
order of EMOTIONS.
"""

import functools
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics as sk

from hw3.faces import EMOTIONS

N_CLASSES = len(EMOTIONS)


def proportion(hits: int, n: int, level: float = 0.95) -> tuple[float, float, float]:
    """Return hits / n and its Wilson score interval (Wilson 1927), all in [0, 1]. Raises ValueError
    unless 0 <= hits <= n > 0.
    """
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


def difference(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, level: float = 0.95
) -> tuple[float, float, float]:
    """Return accuracy of first minus accuracy of second on the same n images, and Agresti and Min's
    interval (2005).

    It is the normal one for paired data after half a face is added to each of: both right, both
    wrong, only one right. So it stays honest where the two hardly differ or the faces are few;
    without any faces the value is NaN.
    """
    a, b = first == labels, second == labels
    only_first, only_second, n = (a & ~b).sum() + 0.5, (b & ~a).sum() + 0.5, len(labels) + 2
    middle = (only_first - only_second) / n
    half = (
        stats.norm.ppf((1 + level) / 2)
        * np.sqrt((only_first + only_second) / n - middle**2)
        / np.sqrt(n)
    )
    value = a.mean() - b.mean() if n > 2 else np.nan
    return value, max(middle - half, -1.0), min(middle + half, 1.0)


def unpaired(
    first: tuple[int, int], second: tuple[int, int], level: float = 0.95
) -> tuple[float, float, float]:
    """Return the share of first minus that of second, (hits, n) of their own images, and Newcombe's
    interval (1998).
    """
    (p, p_low, p_high), (q, q_low, q_high) = (
        proportion(*counts, level) for counts in (first, second)
    )
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
    """Return one row a cell of counts (7, 7), row by row: count, n of its true emotion, share count
    / n and Wilson interval.
    """
    rows = [
        (k, n, *(proportion(k, n) if n else (np.nan,) * 3))
        for row in counts
        for n in [row.sum()]
        for k in row
    ]
    return pd.DataFrame(rows, columns=["count", "n", "share", "low", "high"])


def per_class(labels: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Return precision, recall with its Wilson interval, F1 and n of each emotion, all in [0,
    1].
    """
    found = sk.precision_recall_fscore_support(
        labels, predicted, labels=range(N_CLASSES), zero_division=np.nan
    )
    precision, recall, f1, n = found
    own = cells(confusion(labels, predicted)).iloc[:: N_CLASSES + 1]  # the diagonal
    ends = {"recall low": own["low"].to_numpy(), "recall high": own["high"].to_numpy()}
    columns = {"precision": precision, "recall": recall, **ends, "F1": f1, "n": n}
    return pd.DataFrame(columns, index=pd.Index(EMOTIONS, name="emotion"))


def confused_pairs(counts: np.ndarray) -> pd.DataFrame:
    """Return the 21 pairs of emotions, most confused first.

    The rate of a pair is the share of the faces of either emotion that were taken for the other,
    with its Wilson interval.
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
    """Return n plausible copies (n, 7, 7) of the counts: each row's shares drawn from their
    posterior, times its faces.

    The posterior is Dirichlet with Perks' prior (1947), one face spread over the seven cells:
    unlike a plain bootstrap, it stays honest for a rare emotion of which no face, or every face,
    was recognized.
    """
    p = np.random.default_rng(seed).standard_gamma(counts + 1 / N_CLASSES, size=(n, *counts.shape))
    return p / p.sum(-1, keepdims=True) * counts.sum(1, keepdims=True)


ANGRY, DISGUST, FEAR, HAPPY, SAD, SURPRISE, NEUTRAL = range(N_CLASSES)


def verdict(low: np.ndarray, high: np.ndarray) -> str:
    """Return "holds" if all intervals lie above zero, "does not hold" if one lies at or below it,
    else "undecided".
    """
    if np.all(np.asarray(low) > 0):
        return "holds"
    return "does not hold" if np.any(np.asarray(high) <= 0) else "undecided"


def decide(tests: dict[str, tuple[float, float, float]]) -> tuple:
    """Return the verdict on named statistics (value, low, high), and name, value, low and high of
    the one that decides.

    That is, of a claim that fails, the one with the lowest upper end, else the one with the lowest
    lower end.
    """
    values, low, high = np.array(list(tests.values())).T
    said = verdict(low, high)
    weakest = int(np.argmin(high if said == "does not hold" else low))
    return said, list(tests)[weakest], values[weakest], low[weakest], high[weakest]


def spread(
    statistic: Callable, counts: np.ndarray, level: float = 0.95
) -> tuple[float, float, float]:
    """Return a statistic of a matrix of counts and its interval, `percentiles` of resampled counts.

    Where an emotion has no faces the value is NaN and the interval all that a difference of shares
    can be.
    """
    if (counts.sum(1) == 0).any():
        return np.nan, -1.0, 1.0
    return statistic(counts), *percentiles(
        statistic(_copies(tuple(counts.ravel().tolist()))), level
    )


def percentiles(drawn: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentiles of drawn values (n,) that hold so large a share of them between them.

    How many of the values lie beyond an end is up to chance: each end is taken three standard
    deviations of that number further out, so that hardly any verdict rests on the draw.
    """
    beyond = len(drawn) * (1 - level) / 2
    tail = max(beyond - 3 * np.sqrt(beyond), 0) / len(drawn)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


@functools.lru_cache(maxsize=1)  # one matrix has many statistics
def _copies(cells: tuple[int, ...]) -> np.ndarray:
    return resample(np.reshape(cells, (N_CLASSES, N_CLASSES)))

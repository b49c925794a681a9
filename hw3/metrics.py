"""What predictions are worth: accuracies with their intervals, the confusion matrix, its pairs.

Counts (7, 7) have the true emotion in rows, the predicted one in columns, in EMOTIONS' order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pandas as pd

from hw3.sources.fer2013 import EMOTIONS, N_CLASSES

UNKNOWN = (np.nan,) * 3  # the interval of a share of no faces


@dataclass(frozen=True, repr=False)
class Interval:
    """A share in [0, 1], or if `signed` a difference of shares, with its interval.

    f"{x}" is "61.3% [57.9, 64.6; n = 800]", of a difference "+19.0 points [17.2, 20.7]";
    f"{x:short}" leaves n out, f"{x:cell}" the unit too. It unpacks as value, low, high.
    """

    value: float
    low: float
    high: float
    n: int | None = None  # images of the share
    signed: bool = False

    def __iter__(self) -> Iterator[float]:
        return iter((self.value, self.low, self.high))

    def __repr__(self) -> str:  # as {eval} shows it
        return format(self)

    def __format__(self, kind: str) -> str:
        if kind not in ("", "short", "cell"):
            raise ValueError(f"an interval has no format {kind!r}: say short, cell or nothing")
        value = f"{100 * self.value:{'+' if self.signed else ''}.1f}"
        low, high = f"{100 * self.low:.1f}", f"{100 * self.high:.1f}"
        if kind == "cell":
            return f"{value} [{low}, {high}]"
        if self.signed:
            return f"{value} points [{low}, {high}]"
        n = "" if self.n is None or kind == "short" else f"; n = {self.n:,}"
        return f"{value}% [{low}, {high}{n}]"

    def lies(self, reference: float = 0.0) -> str:
        """Return where it lies from a reference: "above", "below" or "not distinguishable"."""
        if self.low > reference:
            return "above"
        return "below" if self.high < reference else "not distinguishable"

    def __sub__(self, constant: float) -> "Interval":
        return Interval(*(x - constant for x in self), signed=True)

    def __neg__(self) -> "Interval":
        return Interval(-self.value, -self.high, -self.low, signed=True)


def proportion(hits: int, n: int, level: float = 0.95) -> Interval:
    """Return hits / n in its Wilson score interval (1927); ValueError unless 0 <= hits <= n > 0."""
    from scipy import stats  # it and scikit-learn take a second, and most commands need neither

    ends = stats.binomtest(int(hits), int(n)).proportion_ci(level, method="wilson")
    return Interval(hits / n, ends.low, ends.high, int(n))


def accuracy(run, part: str = "held-out", level: float = 0.95) -> Interval:
    """Return the share of the faces of a part that a Run has right."""
    return proportion(*run.hits(part), level)


def difference(labels, first, second, level: float = 0.95) -> Interval:
    """Return accuracy of answers first minus that of second, all (n,) codes; NaN where n is 0.

    The interval is Agresti and Min's (2005), honest for few faces or differences too: the normal
    one for paired data, with half a face more both right, both wrong, and right in each one only.
    """
    a, b, n = first == labels, second == labels, len(labels) + 2
    only_first, only_second = (a & ~b).sum() + 0.5, (b & ~a).sum() + 0.5
    middle = (only_first - only_second) / n
    variance = (only_first + only_second) / n - middle**2
    half = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance) / np.sqrt(n)
    value = a.mean() - b.mean() if n > 2 else np.nan
    return Interval(value, max(middle - half, -1.0), min(middle + half, 1.0), signed=True)


def unpaired(first: tuple[int, int], second: tuple[int, int], level: float = 0.95) -> Interval:
    """Return hits / n of first minus that of second, on different images (Newcombe 1998)."""
    a, b = proportion(*first, level), proportion(*second, level)
    value = a.value - b.value
    low = value - np.hypot(a.value - a.low, b.high - b.value)
    return Interval(value, low, value + np.hypot(a.high - a.value, b.value - b.low), signed=True)


def confusion(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the (7, 7) counts, rows true, columns predicted."""
    from sklearn import metrics as sk

    return sk.confusion_matrix(labels, predicted, labels=range(N_CLASSES))


def shares(counts: np.ndarray) -> np.ndarray:
    """Return each row of counts divided by its sum; a row without faces becomes NaN."""
    totals = counts.sum(1, keepdims=True)
    return np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)


def cells(counts: np.ndarray) -> pd.DataFrame:
    """Return one row a cell, row by row: count, n of its true emotion, Wilson interval of share."""
    pairs = zip(counts.ravel(), np.repeat(counts.sum(1), N_CLASSES), strict=True)
    rows = [(k, n, *(proportion(k, n) if n else UNKNOWN)) for k, n in pairs]
    return pd.DataFrame(rows, columns=["count", "n", "share", "low", "high"])


def per_class(labels: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Return precision, recall with its Wilson interval, F1 and n of each emotion, in [0, 1]."""
    from sklearn import metrics as sk

    options = {"labels": range(N_CLASSES), "zero_division": np.nan}
    precision, recall, f1, n = sk.precision_recall_fscore_support(labels, predicted, **options)
    diagonal = cells(confusion(labels, predicted)).iloc[:: N_CLASSES + 1]
    low, high = diagonal[["low", "high"]].to_numpy().T
    columns = {"precision": precision, "recall": recall, "recall low": low, "recall high": high}
    return pd.DataFrame(columns | {"F1": f1, "n": n}, index=pd.Index(EMOTIONS, name="emotion"))


def confused_pairs(counts: np.ndarray) -> pd.DataFrame:
    """Return the 21 pairs of emotions, as "Fear/Sad", most confused first, with Wilson intervals.

    The rate of a pair is the share of the faces of either emotion that were taken for the other.
    """
    rows = []
    for i, j in combinations(range(N_CLASSES), 2):
        n, k = counts[i].sum() + counts[j].sum(), counts[i, j] + counts[j, i]
        rate = proportion(k, n) if n else UNKNOWN
        rows.append((f"{EMOTIONS[i]}/{EMOTIONS[j]}", k, n, *rate))
    table = pd.DataFrame(rows, columns=["pair", "confused", "n", "rate", "low", "high"])
    return table.sort_values("rate", ascending=False, ignore_index=True)


def percentiles(drawn: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentiles of drawn values (n,) that hold so large a share between them.

    How many lie beyond an end is up to chance: each end is taken three standard deviations of that
    number further out, so that hardly any verdict rests on the draw.
    """
    beyond = len(drawn) * (1 - level) / 2
    tail = max(beyond - 3 * np.sqrt(beyond), 0) / len(drawn)
    return tuple(np.quantile(drawn, [tail, 1 - tail]).tolist())


def bonferroni(tests: int) -> float:
    """Return the level of each of so many intervals that are right together in 95 of 100 cases."""
    return 1 - 0.05 / tests


def decide(tests: dict[str, Interval]) -> tuple[str, str, Interval]:
    """Return the verdict on named statistics, and name and interval of the one that decides.

    "holds": all lie above 0, "does not hold": one is nowhere above it, or "undecided". Then the one
    with the lowest upper end decides if the claim does not hold, else the lowest lower end.
    """
    _, low, high = np.transpose([tuple(interval) for interval in tests.values()])
    verdict, weakest = "holds" if (low > 0).all() else "undecided", low.argmin()
    if (high <= 0).any():
        verdict, weakest = "does not hold", high.argmin()
    return verdict, *list(tests.items())[weakest]

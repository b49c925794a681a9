"""Everything that the original states, as data: each claim with its test, and the verdicts on runs.

An exact claim is a list of numbers: it holds if every one, as stated, equals what is computed here,
else it does not hold. A sampled claim has statistics, each a difference of shares with an interval,
that must all be positive; `metrics.decide` gives the verdict. TESTS counts the statistics of all
sampled claims, and every interval is at the level `metrics.bonferroni(TESTS)`, so that all verdicts
on one set of runs are right together in about 95 of 100 cases. A new claim is one more entry of
CLAIMS.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from math import prod

import numpy as np
import pandas as pd

from beyond import audit
from hw3 import complexity, metrics, original, pca, recipes, runs, trained
from hw3.faces import ANGRY, COUNTS, DISGUST, FEAR, HAPPY, N_CLASSES, NEUTRAL, SAD
from hw3.metrics import Interval
from hw3.runs import Run

MARGIN = 0.05  # a network overfits if it is right so much more often in training than elsewhere
LOSSES = ("stable loss", "clipped loss")
NEW = "PrivateTest without copies"  # the part of a recorded run for claims about new faces
BOTH = "PublicTest and PrivateTest"  # its part for claims about a confusion matrix


@dataclass(frozen=True)
class Evidence:
    """Runs to test claims on, and their parts: for accuracies, of new faces, for the matrix."""

    cnn: Run
    dnn: Run
    original_cnn: Run  # by the original's recipe, as the DNNs below
    original_dnns: dict[str, Run]  # by loss
    part: str
    new: str  # no copy was learned from; the reader's FER2013 may have some on both sides
    matrix: str  # for claims about a confusion matrix


def recorded_evidence() -> Evidence:
    """Return the recorded runs on FER2013's PrivateTest, the matrix on PublicTest too."""
    names = (runs.SHOWN_CNN, runs.SHOWN_DNN, "original-cnn", "original-dnn", "clipped-dnn")
    cnn, dnn, original_cnn, *dnns = (with_new(runs.recorded(name)[0]) for name in names)
    by_loss = dict(zip(LOSSES, dnns, strict=True))
    return Evidence(cnn, dnn, original_cnn, by_loss, "PrivateTest", NEW, BOTH)


def with_new(run: Run) -> Run:
    """Return a recorded run with two more parts: NEW, no copy of what it learned, and BOTH."""
    new = audit.without_copies(run, "PrivateTest").predictions["PrivateTest"]
    tests = zip(run.predictions["PublicTest"], run.predictions["PrivateTest"], strict=True)
    both = tuple(map(np.concatenate, tests))
    return replace(run, predictions=run.predictions | {NEW: new, BOTH: both})


def own_evidence(faces, profile: str) -> Evidence:
    """Return the reader's own runs on their held-out faces; what is not on disk is trained."""
    by_loss = {loss: recipes.own("dnn", profile, loss=loss.partition(" ")[0]) for loss in LOSSES}
    dnns = {loss: trained.obtain("dnn", faces, recipe) for loss, recipe in by_loss.items()}
    cnn = trained.obtain("cnn", faces, recipes.own("cnn", profile))
    return Evidence(cnn, dnns["stable loss"], cnn, dnns, "held-out", "held-out", "held-out")


@dataclass(frozen=True)
class Claim:
    """A claim of the original, exact or sampled."""

    question: str
    text: str
    where: str  # the section that shows it, "chapter#heading"
    # what gives (name, stated, computed) of each number, or the statistics by name: functions of
    # Evidence and level, each of which gives an Interval
    test: Callable[[], list[tuple]] | dict[str, Callable]
    logged: bool = False  # whether its statistics are of the original's log, not of runs


# The six observations of question 3: statistics of emotions i and j on counts (..., 7, 7)


def pair_excess(i: int, j: int, counts: np.ndarray) -> np.ndarray:
    """Return the rate at which i and j are confused minus the mean rate of all other pairs."""
    n, (a, b) = counts.sum(-1), np.triu_indices(N_CLASSES, 1)
    rates = (counts[..., a, b] + counts[..., b, a]) / (n[..., a] + n[..., b])
    pair = (a == min(i, j)) & (b == max(i, j))
    return rates[..., pair].mean(-1) - rates[..., ~pair].mean(-1)


@lru_cache(maxsize=1)  # one matrix has many statistics
def resample(cells: tuple[int, ...], n: int = 100_000, seed: int = 0) -> np.ndarray:
    """Return n plausible copies (n, 7, 7) of 49 counts, whose rows are drawn from the posterior.

    It is Dirichlet with Perks' prior (1947), one face spread over the seven cells of a row: unlike
    a bootstrap, it stays honest for a rare emotion of which no or every face was recognized.
    """
    counts = np.reshape(cells, (N_CLASSES, N_CLASSES))
    p = np.random.default_rng(seed).standard_gamma(counts + 1 / N_CLASSES, size=(n, *counts.shape))
    return p / p.sum(-1, keepdims=True) * counts.sum(1, keepdims=True)


def of_counts(statistic: Callable, counts: np.ndarray, level: float = 0.95) -> Interval:
    """Return a difference that a statistic gives of counts, with `percentiles` of resampled ones.

    It is NaN in [-1, 1] where an emotion has no faces.
    """
    if (counts.sum(1) == 0).any():
        return Interval(np.nan, -1.0, 1.0, signed=True)
    ends = metrics.percentiles(statistic(resample(tuple(counts.ravel().tolist()))), level)
    return Interval(statistic(counts), *ends, signed=True)


def recalls(counts: np.ndarray) -> np.ndarray:
    """Return the recall of each emotion (..., 7)."""
    return np.diagonal(counts, axis1=-2, axis2=-1) / counts.sum(-1)


def recall_excess(i: int, counts: np.ndarray) -> np.ndarray:
    """Return the recall of i minus the mean recall of the other emotions."""
    recall = recalls(counts)
    return recall[..., i] - np.delete(recall, i, -1).mean(-1)


def drift(i: int, j: int, counts: np.ndarray) -> np.ndarray:
    """Return the share of i taken for j minus the mean share taken for each other wrong emotion."""
    row = counts[..., i, :] / counts[..., i, :].sum(-1, keepdims=True)
    return row[..., j] - np.delete(row, [i, j], -1).mean(-1)


def recall_lead(best: list[int], counts: np.ndarray) -> np.ndarray:
    """Return the lowest recall of some emotions minus the highest other: positive if they lead."""
    recall = recalls(counts)
    return recall[..., best].min(-1) - np.delete(recall, best, -1).max(-1)


REST = [e for e in range(N_CLASSES) if e != FEAR]
OBSERVATIONS = {
    "Fear is easily confused with Sad, Neutral and Angry": {
        "Fear/Sad minus the mean of the others": partial(pair_excess, FEAR, SAD),
        "Fear/Neutral minus the mean of the others": partial(pair_excess, FEAR, NEUTRAL),
        "Fear/Angry minus the mean of the others": partial(pair_excess, FEAR, ANGRY),
    },
    "Sad and Neutral are easily confused": {
        "Sad/Neutral minus the mean of the others": partial(pair_excess, SAD, NEUTRAL)
    },
    "Angry is easily confused with Sad and Neutral": {
        "Angry/Sad minus the mean of the others": partial(pair_excess, ANGRY, SAD),
        "Angry/Neutral minus the mean of the others": partial(pair_excess, ANGRY, NEUTRAL),
    },
    "Neutral is recognized well, while Fear, Sad and Angry are often taken for Neutral": {
        "recall of Neutral minus the mean of the others": partial(recall_excess, NEUTRAL),
        "Fear taken for Neutral minus the mean of the others": partial(drift, FEAR, NEUTRAL),
        "Sad taken for Neutral minus the mean of the others": partial(drift, SAD, NEUTRAL),
        "Angry taken for Neutral minus the mean of the others": partial(drift, ANGRY, NEUTRAL),
    },
    "Fear has the lowest accuracy": {"next lowest recall minus Fear's": partial(recall_lead, REST)},
    "Disgust and Happy have the highest accuracy": {
        "lower of the two minus the best other recall": partial(recall_lead, [DISGUST, HAPPY])
    },
}


# The statistics of the other sampled claims


def ended(history: dict[str, list[float]], n: int, name: str = "accuracy") -> tuple[int, int]:
    """Return how many of n images the last epoch of a history had right, and n.

    "accuracy" is that in training, on distorted images and while the weights change.
    """
    return round(history[name][-1] * n), n


def excess_gap(run: Run, part: str = "held-out", level: float = 0.95) -> Interval:
    """Return training accuracy minus that on a part minus MARGIN: positive if a run overfits."""
    return metrics.unpaired(ended(run.history, run.trained_on), run.hits(part), level) - MARGIN


def outcome(run: Run, part: str = "held-out") -> str:
    """Return "collapsed", "has learned nothing yet", "overfits" or "does not overfit", by a part.

    Collapsed is one answer for all its images, with more than twice the held-out loss of an even
    guess; something is learned if the accuracy lies above the share of the most frequent label.
    """
    labels, predicted = run.predicted(part)
    if len(np.unique(predicted)) == 1 and run.history["val_loss"][-1] > 2 * np.log(N_CLASSES):
        return "collapsed"
    if metrics.accuracy(run, part).lies(np.bincount(labels).max() / len(labels)) != "above":
        return "has learned nothing yet"
    return "overfits" if excess_gap(run, part).low > 0 else "does not overfit"


def _gap_by_loss(loss, evidence, level):
    return excess_gap(evidence.original_dnns[loss], evidence.new, level)


def _gap_of_log(evidence, level):
    log = original.history("dnn")
    held_out = ended(log, original.HELD_OUT, "val_accuracy")
    return metrics.unpaired(ended(log, original.TRAINED_ON), held_out, level) - MARGIN


def _better(evidence, level):
    """Compare two networks of one recipe, the original's, under today's loss."""
    cnn, dnn = evidence.original_cnn, evidence.original_dnns["stable loss"]
    labels, by_cnn = cnn.predicted(evidence.part)
    return metrics.difference(labels, by_cnn, dnn.predicted(evidence.part)[1], level)


def _of_matrix(statistic, evidence, level):
    counts = metrics.confusion(*evidence.cnn.predicted(evidence.matrix))
    return of_counts(statistic, counts, level)


# The numbers of exact claims


@cache
def _network(name):
    """Return the original's network called name, built once: nothing here changes it."""
    from hw3 import models

    return models.NETWORKS[name]["original"]()


def _layers():
    layers = [layer for layer in _network("cnn").layers if layer.count_params()]
    stated = zip(layers, original.CNN_LAYERS, strict=True)
    return [(layer.name, number, layer.count_params()) for layer, number in stated]


def _maps():
    layer = _network("cnn").get_layer
    return [(name, size, layer(name).output.shape[1:]) for name, size in original.OUTPUTS.items()]


def _totals(name):
    network, stated = _network(name), (original.PARAMETERS[name], original.TRAINABLE[name])
    whole, trained = network.count_params(), sum(prod(w.shape) for w in network.trainable_weights)
    return [
        ("all", stated[0], whole),
        ("trained", stated[1], trained),
        ("not trained", stated[0] - stated[1], whole - trained),
    ]


def _same_size():
    cnn, dnn = (f"{_network(name).count_params() / 1e6:.2f}" for name in ("cnn", "dnn"))
    return [("parameters in millions, the DNN beside the CNN", cnn, dnn)]


def _ends_at(name):
    last = original.history(name)["val_accuracy"][-1]
    stated = f"{original.ACCURACY[name]:.0%}"
    return [("held-out accuracy of the last epoch", stated, f"{last:.0%}")]


def _matrix_accuracy():
    implied = np.average(original.confusion().diagonal(), weights=COUNTS)
    stated = f"{original.ACCURACY['cnn']:.0%}"
    return [("accuracy, from the diagonal and Training's counts", stated, f"{implied:.0%}")]


def _costs(quantity):
    computed = {}
    for layer, geometry in complexity.LAYERS.items():
        cost = complexity.convolution_cost(**geometry)
        computed[layer] = vars(cost) | {"output": (cost.size, cost.size, geometry["c_out"])}
    stated = {layer: by[quantity] for layer, by in original.COMPLEXITY.items() if quantity in by}
    return [(layer, number, computed[layer][quantity]) for layer, number in stated.items()]


def _bound():
    """Check the bound of (c) on every geometry with few positions and channels."""
    below = loose = 0
    sizes, pads, strides, channels = range(1, 13), range(3), range(1, 5), range(1, 4)
    for n, p, s, c_in, c_out in itertools.product(sizes, pads, strides, channels, channels):
        for k in range(1, n + 2 * p + 1):
            geometry = n, k, c_in, c_out, p, s
            cost = complexity.convolution_cost(*geometry)
            operations = cost.multiplications + cost.additions
            excess = complexity.operation_bound(*geometry) - operations
            below += excess < -1e-6
            loose += abs(excess) > 1e-6 and (n + 2 * p - k) % s == 0
    return [
        ("geometries with more operations than it says", 0, below),
        ("with less, though the stride divides", 0, loose),
    ]


def _pca(quantity):
    table = pca.compare(pca.answers()).query("quantity == @quantity")
    digits = table["original"].str.partition(".")[2].str.len()
    ours = map("{:.{}f}".format, table["ours"], digits)
    return [*zip(table["place"], table["original"], ours, strict=True)]


OVERFITS = {
    "gap less 5 points, stable loss": partial(_gap_by_loss, "stable loss"),
    "gap less 5 points, clipped loss": partial(_gap_by_loss, "clipped loss"),
}
LOG_OVERFITS = {"gap in its log less 5 points": _gap_of_log}
TRAINED, LOG, RERUNS = "cnn#training", "dnn#is-it-overfitting", "dnn#recorded-on-fer2013"
MATRIX = "confusion#the-originals-matrix-and-why-it-looks-better"
A_B, NETWORK = "complexity#layers-a-and-b", "complexity#a-network-of--convolutions"
PCA = "pca#against-the-originals-numbers"
SIX = "confusion#the-originals-six-observations-tested"
OBSERVED = tuple(
    Claim("3", text, SIX, {name: partial(_of_matrix, s) for name, s in statistics.items()})
    for text, statistics in OBSERVATIONS.items()
)
CLAIMS = (
    Claim("1", "The parameters of the CNN's layers", "cnn#architecture", _layers),
    Claim("1", "The sizes of what its blocks give", "cnn#architecture", _maps),
    Claim("1", "The CNN's parameters in all", "cnn#architecture", partial(_totals, "cnn")),
    Claim("1", "Its log ends at 69% of the held-out images", TRAINED, partial(_ends_at, "cnn")),
    Claim("2", "The DNN's parameters in all", "dnn#architecture", partial(_totals, "dnn")),
    Claim("2", "The DNN is of the CNN's size", "dnn#architecture", _same_size),
    Claim("2", "Its log ends at 14% of the held-out images", LOG, partial(_ends_at, "dnn")),
    Claim("2", "The DNN overfitted, in its own log", LOG, LOG_OVERFITS, logged=True),
    Claim("2", "Such a DNN overfits when it is trained again", RERUNS, OVERFITS),
    Claim("2", "Using the structure of images matters", RERUNS, {"CNN minus DNN": _better}),
    *OBSERVED,
    Claim("3", "Its matrix is that of its CNN", MATRIX, _matrix_accuracy),
    Claim("4 (a)", "Parameters of layers A and B", A_B, partial(_costs, "parameters")),
    Claim("4 (b)", "Multiplications of A and B", A_B, partial(_costs, "multiplications")),
    Claim("4 (b)", "Additions of A and B", A_B, partial(_costs, "additions")),
    Claim("4 (b)", "The size of what layer A gives", A_B, partial(_costs, "output")),
    Claim("4 (c)", "The bound on the operations of any layer", NETWORK, _bound),
    Claim("5", "The covariance matrix", PCA, partial(_pca, "covariance")),
    Claim("5", "The eigenvalues", PCA, partial(_pca, "eigenvalues")),
    Claim("5", "The principal axes", PCA, partial(_pca, "axes")),
    Claim("5", "The components of the samples", PCA, partial(_pca, "components")),
    Claim("5", "The errors of the samples", PCA, partial(_pca, "errors")),
)
TESTS = sum(len(claim.test) for claim in CLAIMS if not callable(claim.test))
COLUMNS = ("question", "text", "where", "rerun", "verdict", "evidence", "value", "low", "high")


def verdicts(evidence: Evidence, claims: tuple = CLAIMS, tests: int = TESTS) -> pd.DataFrame:
    """Return a table of COLUMNS with one row a claim.

    rerun says whether the runs decide it, so that the reader's may decide otherwise. Of a sampled
    claim evidence names the statistic that decides, with its value and interval; of an exact one it
    is empty, and value is the share of its numbers that agree: see `numbers`.
    """
    rows, level = [], metrics.bonferroni(tests)
    for claim in claims:
        if callable(claim.test):
            agree = [stated == computed for _, stated, computed in claim.test()]
            verdict = "holds" if all(agree) else "does not hold"
            outcome = verdict, "", np.mean(agree), np.nan, np.nan
        else:
            intervals = {name: of(evidence, level) for name, of in claim.test.items()}
            verdict, name, interval = metrics.decide(intervals)
            text = "no faces of an emotion" if np.isnan(interval.value) else f"{interval}"
            outcome = verdict, f"{name}: {text}", *interval
        rerun = not (callable(claim.test) or claim.logged)
        rows.append((claim.question, claim.text, claim.where, rerun, *outcome))
    return pd.DataFrame(rows, columns=COLUMNS)


def numbers() -> pd.DataFrame:
    """Return one row a number of the exact claims: what it is, as stated, as computed, a slip?"""
    exact = [claim for claim in CLAIMS if callable(claim.test)]
    rows = [(claim.text, *number) for claim in exact for number in claim.test()]
    table = pd.DataFrame(rows, columns=["claim", "number", "stated", "computed"])
    return table.assign(slip=table["stated"] != table["computed"])


def observations(run: Run, part: str = "held-out") -> pd.DataFrame:
    """Return `verdicts` on the six observations of question 3 on a run's predictions for a part."""
    return verdicts(Evidence(run, run, run, {}, part, part, part), OBSERVED)

"""Everything that the original states, as data: each claim with its test, and the verdicts on a set
of runs.

An exact claim is a list of numbers: it holds if every one, as stated, equals what is computed here,
else it does not hold. A sampled claim has statistics, each a difference of shares with an interval,
that must all be positive; `metrics.decide` gives the verdict. TESTS counts the statistics of all
sampled claims, and every interval is at 1 - 0.05 / TESTS (Bonferroni), so that all verdicts on one
set of runs are right together in 95 of 100 cases. A new claim is one more entry of CLAIMS.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from beyond import audit
from hw3 import complexity, metrics, original, pca, runs
from hw3.faces import EMOTIONS
from hw3.metrics import ANGRY, DISGUST, FEAR, HAPPY, N_CLASSES, NEUTRAL, SAD
from hw3.recipes import recipe
from hw3.runs import Run
from hw3.sources.drawn import COUNTS

# a network overfits if its training accuracy is so much above its accuracy on faces that it was not
# trained on
MARGIN = 0.05
ROUNDING = 0.005  # what is stated as 69% may be 68.5%
# the part of a recorded run for claims about new faces, as `audit.unseen`
NEW = "PrivateTest without copies"


@dataclass(frozen=True)
class Evidence:
    """Runs to test claims on: this report's CNN and DNN, the original's CNN and by loss its DNN;
    the part that counts, and of it new faces: those of which no copy was learned from."""

    cnn: Run
    dnn: Run
    again: Run  # the CNN by the original's recipe
    stacks: dict[str, Run]
    part: str
    new: str


def recorded() -> Evidence:
    """Return the recorded runs on FER2013's PrivateTest."""
    names = ("modern-cnn", "modern-dnn", "original-cnn", "original-dnn", "clipped-dnn")
    cnn, dnn, again, stable, clipped = (with_new(runs.recorded(name)[0]) for name in names)
    return Evidence(
        cnn, dnn, again, {"stable loss": stable, "clipped loss": clipped}, "PrivateTest", NEW
    )


def with_new(run: Run) -> Run:
    """Return a recorded run with one more part: the pictures of PrivateTest that do not stand in
    Training as well.
    """
    return replace(
        run,
        predictions=run.predictions
        | {NEW: audit.unseen(run, "PrivateTest").predictions["PrivateTest"]},
    )


def own(faces, profile: str) -> Evidence:
    """Return the reader's own runs on their held-out faces; those that are not on disk are
    trained.
    """
    dnn, clipped = (
        runs.obtain("dnn", faces, recipe("dnn", profile, loss=loss))
        for loss in ("stable", "clipped")
    )
    cnn = runs.obtain("cnn", faces, recipe("cnn", profile))
    return Evidence(
        cnn, dnn, cnn, {"stable loss": dnn, "clipped loss": clipped}, "held-out", "held-out"
    )


@dataclass(frozen=True)
class Claim:
    """A claim of the original: the question that it answers, its text, and the section that shows
    it, as "chapter#heading".

    exact() returns (name, stated, computed) for each number; statistics map names to (Evidence,
    level) -> (value, low, high).
    """

    question: str
    text: str
    where: str
    exact: Callable[[], list[tuple]] | None = None
    statistics: dict[str, Callable] = field(default_factory=dict)
    # whether the statistics depend on the runs, so that the reader's own give another verdict
    runs: bool = True


# The six observations of question 3


def pair_excess(i: int, j: int) -> Callable:
    """Return the statistic "rate of the pair i, j minus the mean rate of all other pairs", on
    counts (..., 7, 7).
    """

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
    """Return the statistic "share of i taken for j minus the mean share of i taken for each other
    wrong emotion".
    """
    others = [c for c in range(N_CLASSES) if c not in (i, j)]

    def statistic(counts):
        row = counts[..., i, :] / counts[..., i, :].sum(-1, keepdims=True)
        return row[..., j] - row[..., others].mean(-1)

    return statistic


def lowest_margin(i: int) -> Callable:
    """Return the statistic "lowest recall of the other emotions minus the recall of i": positive
    where i is the worst.
    """
    return lambda counts: np.delete(recalls(counts), i, -1).min(-1) - recalls(counts)[..., i]


def highest_margin(*tops: int) -> Callable:
    """Return the statistic "lowest recall of tops minus the highest recall of the rest": positive
    where tops are the best.
    """
    return lambda counts: (
        recalls(counts)[..., tops].min(-1) - np.delete(recalls(counts), tops, -1).max(-1)
    )


def pairs(first: int, *others: int) -> dict[str, Callable]:
    """Return the pair statistics of one emotion with each of the others, by name."""
    return {metrics.pair_name(first, o): pair_excess(first, o) for o in others}


# The original's six observations, and for each the statistics of a confusion matrix that must all
# be positive for it to hold.
OBSERVATIONS = {
    "Fear is easily confused with Sad, Neutral and Angry": pairs(FEAR, SAD, NEUTRAL, ANGRY),
    "Sad and Neutral are easily confused": pairs(SAD, NEUTRAL),
    "Angry is easily confused with Sad and Neutral": pairs(ANGRY, SAD, NEUTRAL),
    "Neutral is recognized well, while Fear, Sad and Angry are often taken for Neutral": {
        "recall of Neutral": recall_excess(NEUTRAL),
        **{
            f"{EMOTIONS[i]} taken for Neutral": drift_excess(i, NEUTRAL) for i in (FEAR, SAD, ANGRY)
        },
    },
    "Fear has the lowest accuracy": {"next lowest recall minus Fear's": lowest_margin(FEAR)},
    "Disgust and Happy have the highest accuracy": {
        "lower of the two minus the best other recall": highest_margin(DISGUST, HAPPY)
    },
}


# The tests of sampled claims


def excess_gap(run: Run, part: str = "held-out", level: float = 0.95) -> metrics.Interval:
    """Return training accuracy minus accuracy on a part minus MARGIN, with its interval: a run
    overfits where that is positive.

    Training accuracy is the last epoch's, on distorted images and while the weights change.
    """
    trained = round(run.history["accuracy"][-1] * run.trained_on), run.trained_on
    return metrics.unpaired(trained, run.hits(part), level) - MARGIN


def _log_gap(evidence: Evidence, level: float) -> metrics.Interval:
    log = original.history("dnn")
    counts = [
        (round(log[k][-1] * n), n)
        for k, n in (("accuracy", original.TRAINED_ON), ("val_accuracy", original.HELD_OUT))
    ]
    return metrics.unpaired(*counts, level) - MARGIN


def _better(evidence: Evidence, level: float) -> metrics.Interval:
    labels, by_cnn = evidence.cnn.predicted(evidence.part)
    return metrics.difference(labels, by_cnn, evidence.dnn.predicted(evidence.part)[1], level)


def _of_matrix(statistic: Callable) -> Callable:
    return lambda e, level: metrics.of_counts(
        statistic, metrics.confusion(*e.cnn.predicted(e.part)), level
    )


# The numbers of exact claims


@functools.cache
def _network(name: str):
    """Return the original's network called name, built once: nothing here changes it."""
    from hw3 import models

    return models.NETWORKS[name]["original"]()


def _layers() -> list[tuple]:
    counted = [
        (layer.name, layer.count_params())
        for layer in _network("cnn").layers
        if layer.count_params()
    ]
    return [
        (name, stated, count)
        for stated, (name, count) in zip(original.CNN_LAYERS, counted, strict=True)
    ]


def _maps() -> list[tuple]:
    network = _network("cnn")
    return [
        (name, stated, network.get_layer(name).output.shape[1:])
        for name, stated in original.OUTPUTS.items()
    ]


def _totals(name: str) -> list[tuple]:
    network = _network(name)
    trained = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    whole, stated = network.count_params(), (original.PARAMETERS[name], original.TRAINABLE[name])
    return [
        ("all", stated[0], whole),
        ("trained", stated[1], trained),
        ("not trained", stated[0] - stated[1], whole - trained),
    ]


def _same_size() -> list[tuple]:
    cnn, dnn = (_totals(name)[0][2] for name in ("cnn", "dnn"))
    return [
        ("parameters in millions, the DNN beside the CNN", f"{cnn / 1e6:.2f}", f"{dnn / 1e6:.2f}")
    ]


def _ends_at(name: str) -> list[tuple]:
    last = original.history(name)["val_accuracy"][-1]
    return [
        ("held-out accuracy of the last epoch", f"{original.ACCURACY[name]:.0%}", f"{last:.0%}")
    ]


def _matrix_accuracy() -> list[tuple]:
    implied = np.average(original.confusion().diagonal(), weights=COUNTS)
    return [
        (
            "accuracy, from the diagonal and Training's counts",
            f"{original.ACCURACY['cnn']:.0%}",
            f"{implied:.0%}",
        )
    ]


def _costs(*names: str) -> list[tuple]:
    found = []
    for layer, geometry in complexity.LAYERS.items():
        cost = complexity.convolution_cost(**geometry)
        computed = vars(cost) | {"output": (cost.size, cost.size, geometry["c_out"])}
        stated = original.COMPLEXITY[layer]
        found += [
            (f"{name} of {layer}", stated[name], computed[name]) for name in names if name in stated
        ]
    return found


def _bound() -> list[tuple]:
    """Check the bound of (c) on every geometry with n up to 12, k up to n + 2p, p up to 2, s up to
    4 and few channels.
    """
    below = loose = 0
    for n, p, s, c_in, c_out in np.ndindex(12, 3, 4, 3, 3):
        for k in range(1, n + 1 + 2 * p + 1):
            geometry = {
                "n": n + 1,
                "k": k,
                "c_in": c_in + 1,
                "c_out": c_out + 1,
                "p": p,
                "s": s + 1,
            }
            cost, bound = (
                complexity.convolution_cost(**geometry),
                complexity.operation_bound(**geometry),
            )
            excess = bound - cost.multiplications - cost.additions
            below += excess < -1e-6
            loose += abs(excess) > 1e-6 and (n + 1 + 2 * p - k) % (s + 1) == 0
    return [
        ("geometries with more operations than it says", 0, below),
        ("with less, though the stride divides", 0, loose),
    ]


def _pca(quantity: str) -> list[tuple]:
    rows = pca.compare(pca.answers()).query("quantity == @quantity")
    return [
        (r.place, r.original, f"{r.ours:.{len(r.original.partition('.')[2])}f}")
        for r in rows.itertuples()
    ]


LEAST, MOST = original.ACCURACY["cnn"] - ROUNDING, original.ACCURACY["dnn"] + ROUNDING
REACHED = {
    f"accuracy minus {LEAST:.1%}": lambda e, level: metrics.accuracy(e.again, e.new, level) - LEAST
}
NO_MORE = {
    f"{MOST:.1%} minus accuracy": lambda e, level: (
        -(metrics.accuracy(e.stacks["clipped loss"], e.new, level) - MOST)
    )
}
OVERFITS = {
    f"gap less 5 points, {loss}": lambda e, level, loss=loss: excess_gap(
        e.stacks[loss], e.new, level
    )
    for loss in ("stable loss", "clipped loss")
}
LOG_OVERFITS = {"gap in its log less 5 points": _log_gap}
STRUCTURE = {"CNN minus DNN": _better}
SEEN = "confusion#the-originals-six-observations-tested"
CLAIMS = (
    Claim("1", "The parameters of the CNN's layers", "cnn#architecture", _layers),
    Claim("1", "The sizes of what its blocks give", "cnn#architecture", _maps),
    Claim("1", "The CNN's parameters in all", "cnn#architecture", lambda: _totals("cnn")),
    Claim(
        "1", "Its log ends at 69% of the held-out images", "cnn#training", lambda: _ends_at("cnn")
    ),
    Claim("1", "Such a CNN has 69% or more of new faces right", "cnn#accuracy", statistics=REACHED),
    Claim("2", "The DNN's parameters in all", "dnn#architecture", lambda: _totals("dnn")),
    Claim("2", "The DNN is of the CNN's size", "dnn#architecture", _same_size),
    Claim(
        "2",
        "Its log ends at 14% of the held-out images",
        "dnn#is-it-overfitting",
        lambda: _ends_at("dnn"),
    ),
    Claim(
        "2",
        "With the loss of 2018 such a DNN has at most 14% of new faces right",
        "dnn#recorded-on-fer2013",
        statistics=NO_MORE,
    ),
    Claim(
        "2",
        "The DNN overfitted, in its own log",
        "dnn#is-it-overfitting",
        statistics=LOG_OVERFITS,
        runs=False,
    ),
    Claim(
        "2",
        "Such a DNN overfits when it is trained again",
        "dnn#recorded-on-fer2013",
        statistics=OVERFITS,
    ),
    Claim(
        "2",
        "Using the structure of images matters",
        "dnn#your-own-training-side-by-side",
        statistics=STRUCTURE,
    ),
    *(
        Claim("3", t, SEEN, statistics={k: _of_matrix(s) for k, s in found.items()})
        for t, found in OBSERVATIONS.items()
    ),
    Claim(
        "3",
        "Its matrix is that of its CNN",
        "confusion#the-originals-matrix-and-why-it-looks-better",
        _matrix_accuracy,
    ),
    Claim(
        "4 (a)",
        "Parameters of layers A and B",
        "complexity#42-layers-a-and-b",
        lambda: _costs("parameters"),
    ),
    Claim(
        "4 (b)",
        "Multiplications of A and B",
        "complexity#42-layers-a-and-b",
        lambda: _costs("multiplications"),
    ),
    Claim(
        "4 (b)", "Additions of A and B", "complexity#42-layers-a-and-b", lambda: _costs("additions")
    ),
    Claim(
        "4 (b)",
        "The size of what layer A gives",
        "complexity#42-layers-a-and-b",
        lambda: _costs("output"),
    ),
    Claim(
        "4 (c)",
        "The bound on the operations of any layer",
        "complexity#43-a-network-of--convolutions",
        _bound,
    ),
    *(
        Claim("5", f"PCA: the {q}", "pca#58-against-the-originals-numbers", lambda q=q: _pca(q))
        for q in original.PCA
    ),
)
TESTS = sum(len(claim.statistics) for claim in CLAIMS)


def judge(
    evidence: Evidence, claims: tuple[Claim, ...] = CLAIMS, tests: int = TESTS
) -> pd.DataFrame:
    """Return one row a claim: question, text, where, rerun, verdict, evidence (for prose), value,
    low and high.

    rerun says whether the runs decide it. Of an exact claim value is the share of its numbers that
    agree, of a sampled one the statistic that decides.
    """
    rows = []
    for claim in claims:
        if claim.exact:
            numbers = claim.exact()
            slips = [
                f"{name} is {computed}, not {stated}"
                for name, stated, computed in numbers
                if stated != computed
            ]
            few = (
                ": " + ", ".join(f"{n:,}" if isinstance(n, int) else str(n) for _, _, n in numbers)
                if len(numbers) < 5
                else ""
            )
            told = "; ".join(
                [f"{len(numbers) - len(slips)} of {len(numbers)} agree", *slips]
            ) + few * (not slips)
            said = (
                "does not hold" if slips else "holds",
                told,
                1 - len(slips) / len(numbers),
                np.nan,
                np.nan,
            )
        else:
            level = 1 - 0.05 / tests
            verdict, name, interval = metrics.decide(
                {name: test(evidence, level) for name, test in claim.statistics.items()}
            )
            told = "no faces of an emotion" if np.isnan(interval.value) else f"{interval}"
            said = verdict, f"{name}: {told}", *interval
        rows.append(
            (claim.question, claim.text, claim.where, bool(claim.statistics) and claim.runs, *said)
        )
    return pd.DataFrame(
        rows,
        columns=[
            "question",
            "text",
            "where",
            "rerun",
            "verdict",
            "evidence",
            "value",
            "low",
            "high",
        ],
    )


def observations(run: Run, part: str = "held-out") -> pd.DataFrame:
    """Return `judge` of the six observations of question 3 on the predictions of a run for a
    part.
    """
    return judge(
        Evidence(run, run, run, {}, part, part),
        tuple(claim for claim in CLAIMS if claim.where == SEEN),
    )

"""Intervals, matrices and verdicts, on cases small enough to check by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from beyond import ablation, claims
from hw3 import metrics
from hw3.metrics import DISGUST, FEAR, HAPPY, SAD, Interval

LABELS = np.array([0, 0, 0, 1, 3, 3])
PREDICTED = np.array([0, 0, 3, 1, 3, 0])


def test_wilson_interval_of_8_in_10():
    p, low, high = metrics.proportion(8, 10)  # Wilson 1927: (0.4902, 0.9433)
    assert p == 0.8
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_prose_gives_share_interval_and_n():
    assert f"{metrics.proportion(8, 10)}" == "80.0% [49.0, 94.3], n = 10"
    assert str(Interval(0.125, 0.091, 0.159, signed=True)) == "+12.5 points [9.1, 15.9]"


def test_confusion_has_true_rows_and_predicted_columns():
    c = metrics.confusion(LABELS, PREDICTED)
    assert c[0, 0] == 2
    assert c[0, 3] == 1
    assert c[3, 0] == 1
    assert c[1, 1] == 1
    assert c.sum() == 6
    s = metrics.shares(c)
    assert s[0, 3] == pytest.approx(1 / 3)
    assert np.isnan(s[2]).all()


def test_per_class_precision_recall_f1():
    table = metrics.per_class(LABELS, PREDICTED)
    assert table.loc["Angry", ["precision", "recall", "F1"]].tolist() == pytest.approx([2 / 3] * 3)
    assert table.loc["Happy", ["precision", "recall"]].tolist() == pytest.approx([0.5, 0.5])
    assert table.loc["Fear", "n"] == 0
    assert np.isnan(table.loc["Fear", "recall"])


def test_confused_pairs_are_ranked():
    pairs = metrics.confused_pairs(metrics.confusion(LABELS, PREDICTED))
    assert len(pairs) == 21
    assert pairs.iloc[0]["pair"].split()[::2] == ["Angry", "Happy"]
    assert pairs.iloc[0][["confused", "n", "rate"]].tolist() == [2, 5, 0.4]


def test_paired_difference():
    labels = np.zeros(100, int)
    first, second = np.zeros(100, int), np.r_[np.zeros(80, int), np.ones(20, int)]
    value, low, high = metrics.difference(labels, first, second)
    assert value == pytest.approx(0.2)
    # 20.5 and 0.5 of 102: 0.196, and 1.96 times its standard error, the root of (21 / 102 -
    # 0.196^2) / 102
    assert (low, high) == pytest.approx((0.1961 - 1.96 * 0.0405, 0.1961 + 1.96 * 0.0405), abs=1e-3)


def test_paired_difference_of_few_faces_decides_nothing():
    same = np.zeros(3, int)
    value, low, high = metrics.difference(same, same, same)
    assert value == 0
    assert low < -0.2 < 0.2 < high
    empty = same[:0]
    value, low, high = metrics.difference(empty, empty, empty, 0.999)
    assert np.isnan(metrics.difference(empty, empty, empty).value)
    assert np.isnan(value)
    assert (low, high) == (-1, 1)


def test_difference_of_different_images():
    value, low, high = metrics.unpaired(
        (56, 70), (48, 80)
    )  # Newcombe 1998, table II, method 10: 0.0524 to 0.3339
    assert value == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_resampling_keeps_row_sums_and_means():
    counts = np.diag([50] * 7) + 10
    copies = metrics.resample(counts)
    np.testing.assert_allclose(copies.sum(-1), np.broadcast_to(counts.sum(1), copies.shape[:2]))
    np.testing.assert_allclose(copies.mean(0), counts, atol=1.2)


@pytest.mark.parametrize("seed", range(5))
def test_no_interval_is_narrower_than_the_exact_one_by_the_chance_of_the_draw(seed, monkeypatch):
    """The recall of one emotion has an exact interval, since its share is drawn from a beta
    distribution.
    """
    counts, level = np.diag([30] * 7) + 10, 1 - 0.05 / 18
    monkeypatch.setattr(
        metrics, "_copies", lambda cells: metrics.resample(np.reshape(cells, (7, 7)), seed=seed)
    )
    _, low, high = metrics.of_counts(lambda c: claims.recalls(c)[..., 0], counts, level)
    exact = stats.beta(40 + 1 / 7, 60 + 6 / 7).ppf([(1 - level) / 2, (1 + level) / 2])
    assert exact[0] - 0.02 < low < exact[0]
    assert exact[1] < high < exact[1] + 0.02


def world(n, **confused):
    """Return counts with n faces an emotion: 70% right, the rest spread evenly but for the shares
    in confused.
    """
    p = np.full((7, 7), 0.05)
    np.fill_diagonal(p, 0.70)
    for pair, share in confused.items():
        i, j = (getattr(metrics, name) for name in pair.split("_to_"))
        p[i, i] -= share - p[i, j]
        p[i, j] = share
    return np.round(p * n).astype(int)


def both(a, b, share):
    return {f"{a}_to_{b}": share, f"{b}_to_{a}": share}


def test_statistics_by_hand():
    counts = world(100, **both("FEAR", "SAD", 0.25))
    assert claims.pair_excess(FEAR, SAD)(counts) == pytest.approx(0.25 - 0.05)
    assert claims.recall_excess(HAPPY)(counts) == pytest.approx(0.7 - (4 * 0.7 + 2 * 0.5) / 6)
    assert claims.drift_excess(FEAR, SAD)(counts) == pytest.approx(0.20)
    assert claims.lowest_margin(FEAR)(counts) == pytest.approx(0)
    assert claims.highest_margin(DISGUST, HAPPY)(counts) == pytest.approx(0)


def judged(counts, tests=12):
    """Return verdict, deciding statistic, value, low and high of each observation, at a level for
    so many tests.
    """
    level = 1 - 0.05 / tests
    found = claims.OBSERVATIONS.values()
    return [
        metrics.decide({k: metrics.of_counts(s, counts, level) for k, s in statistics.items()})
        for statistics in found
    ]


@pytest.mark.parametrize(
    ("counts", "claim", "expected"),
    [
        (world(2000, **both("SAD", "NEUTRAL", 0.3)), 2, "holds"),
        (world(2000, **both("FEAR", "HAPPY", 0.3)), 2, "does not hold"),
        (world(20, **both("SAD", "NEUTRAL", 0.1)), 2, "undecided"),
        (world(2000, FEAR_to_SAD=0.3), 5, "holds"),
        (world(2000, SAD_to_FEAR=0.3), 5, "does not hold"),
        (world(2000), 5, "undecided"),
    ],
)
def test_verdicts_follow_the_matrix(counts, claim, expected):
    assert judged(counts)[claim - 1][0] == expected


def test_all_six_claims_hold_in_the_world_that_the_original_describes():
    share = {"FEAR": {"SAD": 0.22, "NEUTRAL": 0.22, "ANGRY": 0.16}, "SAD": {"FEAR": 0.14, "NEUTRAL": 0.24},
             "ANGRY": {"FEAR": 0.14, "SAD": 0.18, "NEUTRAL": 0.22}, "NEUTRAL": {"SAD": 0.12, "ANGRY": 0.1}}  # fmt: skip
    p = np.full((7, 7), 0.01)
    p[5] = 0.02  # Surprise is recognized less well than Disgust and Happy
    for i, row in share.items():
        for j, s in row.items():
            p[getattr(metrics, i), getattr(metrics, j)] = s
    np.fill_diagonal(p, 0)
    np.fill_diagonal(p, 1 - p.sum(1))
    assert [verdict for verdict, *_ in judged(np.round(20_000 * p).astype(int))] == ["holds"] * 6


def test_no_face_of_an_emotion_leaves_claims_undecided():
    counts = world(2000)
    counts[DISGUST] = 0
    assert {verdict for verdict, *_ in judged(counts)} == {"undecided"}


def test_more_tests_widen_the_intervals():
    few, many = ([x.high - x.low for *_, x in judged(world(200), tests)] for tests in (1, 50))
    assert all(a < b for a, b in zip(few, many, strict=True))


def test_verdict_rule():
    assert metrics.verdict([0.1, 0.2], [0.3, 0.4]) == "holds"
    assert metrics.verdict([-0.3, 0.2], [-0.1, 0.4]) == "does not hold"
    assert metrics.verdict([-0.1, 0.2], [0.1, 0.4]) == "undecided"


def test_calibration_by_hand():
    p = np.zeros((4, 7))
    p[:, 0] = (0.9, 0.95, 0.5, 0.52)
    p[:, 1] = 1 - p[:, 0]
    labels = np.array(
        [0, 1, 0, 0]
    )  # of the two sure predictions one is right, of the two unsure ones both are
    table = ablation.calibration(labels, p, bins=10)
    assert table["n"].tolist() == [2, 2]
    np.testing.assert_allclose(table["confidence"], [0.51, 0.925])
    assert table["accuracy"].tolist() == [1, 0.5]
    assert ablation.calibration_error(p.argmax(1) == labels, p.max(1), bins=10) == pytest.approx(
        (0.49 + 0.425) / 2
    )


def test_a_perfect_and_sure_network_is_calibrated():
    assert ablation.calibration_error(np.full(7, True), np.ones(7)) == 0
    assert ablation.chance_error(np.ones(7)) == 0


def test_chance_alone_shows_an_error_that_falls_with_more_images():
    # One bin of confidence 1/2: the mean distance of a share of n from 1/2 is sqrt(1 / (2 pi n))
    # for large n.
    for n in (400, 1600):
        assert ablation.chance_error(np.full(n, 0.5)) == pytest.approx(
            np.sqrt(1 / (2 * np.pi * n)), rel=0.1
        )


def test_temperature_is_found_again_and_changes_no_answer():
    rng = np.random.default_rng(0)
    true = rng.dirichlet(np.ones(7), 20_000)
    labels = (true.cumsum(1) > rng.random((len(true), 1))).argmax(
        1
    )  # drawn from these probabilities
    assert ablation.best_temperature(labels, true) == pytest.approx(1, abs=0.03)
    for t in (0.5, 2.0):
        told = ablation.at_temperature(true, t)
        assert ablation.best_temperature(labels, told) == pytest.approx(1 / t, rel=0.03), (
            "the temperature that undoes it"
        )
        assert np.array_equal(told.argmax(1), true.argmax(1))
        np.testing.assert_allclose(told.sum(1), 1)
    np.testing.assert_allclose(
        ablation.at_temperature(np.array([[0.8, 0.2, 0, 0, 0, 0, 0]]), 0.5)[0, :2],
        [16 / 17, 1 / 17],
    )


def test_a_table_says_percent_with_wilsons_interval():
    assert f"{metrics.proportion(613, 1000):cell}" == "61.3 [58.2, 64.3]"  # by hand: 61.26 +- 3.01


def test_bins_of_a_few_faces_are_not_drawn():
    table = pd.DataFrame(
        {"confidence": [0.2, 0.5], "accuracy": [1.0, 0.5], "low": [0.2, 0.4], "high": [1.0, 0.6]}
    )
    line = (
        ablation.reliability({"": {"CNN": table.assign(n=[ablation.FEW - 1, ablation.FEW])}})
        .axes[0]
        .lines[1]
    )
    assert list(line.get_xdata()) == [0.5]

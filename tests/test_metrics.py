"""Intervals, matrices and verdicts, on cases small enough to check by hand."""

import numpy as np
import pytest

from beyond import claims
from hw3 import metrics
from hw3.metrics import Interval

LABELS = np.array([0, 0, 0, 1, 3, 3])
PREDICTED = np.array([0, 0, 3, 1, 3, 0])


def test_wilson_interval_of_8_in_10():
    p, low, high = metrics.proportion(8, 10)  # Wilson 1927: (0.4902, 0.9433)
    assert p == 0.8
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_prose_gives_share_interval_and_n():
    assert f"{metrics.proportion(8, 10)}" == "80.0% [49.0, 94.3; n = 10]"
    assert str(Interval(0.125, 0.091, 0.159, signed=True)) == "+12.5 points [9.1, 15.9]"
    assert f"{metrics.proportion(8, 10):short}" == "80.0% [49.0, 94.3]"
    assert f"{Interval(0.125, -0.091, 0.159, signed=True):cell}" == "+12.5 [-9.1, 15.9]"
    with pytest.raises(ValueError, match=r"no format '\.1%': say short, cell or nothing"):
        format(metrics.proportion(8, 10), ".1%")


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
    assert pairs.iloc[0]["pair"] == "Angry/Happy"
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
    copies = claims.resample(tuple(counts.ravel()))
    np.testing.assert_allclose(copies.sum(-1), np.broadcast_to(counts.sum(1), copies.shape[:2]))
    np.testing.assert_allclose(copies.mean(0), counts, atol=1.2)


def test_verdict_rule():
    for first, verdict, decides in (
        ((0.1, 0.3), "holds", "first"),
        ((-0.3, -0.1), "does not hold", "first"),
        ((-0.1, 0.1), "undecided", "first"),
        ((0.3, 0.6), "holds", "second"),
    ):
        ends = {"first": first, "second": (0.2, 0.4)}
        tests = {name: metrics.Interval(0.0, *end, signed=True) for name, end in ends.items()}
        assert metrics.decide(tests) == (verdict, decides, tests[decides])


def test_a_table_says_percent_with_wilsons_interval():
    assert f"{metrics.proportion(613, 1000):cell}" == "61.3 [58.2, 64.3]"  # by hand: 61.26 +- 3.01

"""The crowd's votes: read strictly, and set beside labels and predictions on five pictures that one
can count by hand.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from beyond import votes
from beyond.votes import NONE
from hw3 import faces
from hw3.faces import ANGRY, DISGUST, FEAR, HAPPY, NEUTRAL, SAD, SURPRISE

CONTEMPT = 7


def ballot(**counts):
    """Return the votes of one picture, (10,), for answers named in lower case, such as happy=9."""
    names = [name.lower().split()[0] for name in votes.ANSWERS]
    return [counts.get(name, 0) for name in names]


PICTURES = np.array(
    [
        ballot(happy=10),
        ballot(happy=6, neutral=4),
        ballot(sad=5, neutral=5),
        ballot(contempt=6, angry=4),
        ballot(angry=4, sad=3, fear=3),
    ]
)


def write(tmp_path, *rows, header=votes.HEADER):
    (tmp_path / "fer2013new.csv").write_text("\n".join((header, *rows)) + "\n")
    return tmp_path / "fer2013new.csv"


def test_official_columns_come_in_the_order_of_emotions(tmp_path):
    path = write(
        tmp_path, "Training,fer0000000.png,0,1,2,3,0,1,2,0,1,0", "PrivateTest,,0,0,0,0,0,0,0,0,0,10"
    )
    part, found = votes.read(path)
    assert part.tolist() == [0, 2]
    expected = ballot(
        neutral=0, happy=1, surprise=2, sad=3, angry=0, disgust=1, fear=2, contempt=0, unknown=1
    )
    assert found.tolist() == [expected, ballot(**{"not": 10})]
    assert found.dtype == np.uint8
    lines = [
        "Training,fer0000000.png," + ",".join("10" if c == k else "0" for c in range(10))
        for k in range(7)
    ]
    only = [votes.read(write(tmp_path, line)) for line in lines]
    order = [NEUTRAL, HAPPY, SURPRISE, SAD, ANGRY, DISGUST, FEAR]
    assert [int(v.argmax()) for _, v in only] == order


@pytest.mark.parametrize(
    ("row", "header"),
    [
        (
            "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",
            votes.HEADER.replace("sadness,anger", "anger,sadness"),
        ),
        ("Training,fer0000000.png,4,0,0,1,3,2,0,0,0", votes.HEADER),
        ("Training,fer0000000.png,4,0,0,1,3,2,1,0,0,0", votes.HEADER),
        ("Training,fer0000000.png,0,0,0,0,0,0,0,0,0,0", votes.HEADER),
        ("Training,fer0000000.png,-1,0,0,1,3,2,0,0,0,0", votes.HEADER),
        ("Training,fer0000000.png,4.0,0,0,1,3,2,0,0,0,0", votes.HEADER),
        ("Test,fer0000000.png,4,0,0,1,3,2,0,0,0,0", votes.HEADER),
        ("Training,fer0000001.png,4,0,0,1,3,2,0,0,0,0", votes.HEADER),
    ],
    ids=[
        "columns swapped",
        "column missing",
        "11 votes",
        "no vote",
        "negative",
        "fraction",
        "unknown part",
        "moved row",
    ],
)
def test_bad_files_are_one_line_that_names_the_place(tmp_path, row, header):
    with pytest.raises(faces.FacesError) as caught:
        votes.read(write(tmp_path, row, header=header))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("fer2013new.csv, line ")


def test_empty_and_missing_files_are_one_line(tmp_path):
    with pytest.raises(faces.FacesError, match="only a header"):
        votes.read(write(tmp_path))
    (tmp_path / "fer2013new.csv").write_text("")
    with pytest.raises(faces.FacesError, match="expected the header"):
        votes.read(tmp_path / "fer2013new.csv")
    with pytest.raises(faces.FacesError):
        votes.read(tmp_path / "nothing.csv")


def test_only_test_rows_are_recorded_and_found_by_their_row(tmp_path, monkeypatch):
    monkeypatch.setattr(votes, "RECORDED", tmp_path / "test.npz")
    zeros = "0,0,0,0,0,0,0,0,0"
    path = write(
        tmp_path,
        *(f"{part},fer000000{i}.png,{10 - i},{zeros}" for i, part in enumerate(faces.PARTS[:3])),
    )
    with pytest.raises(faces.FacesError, match="found 3 rows, expected the 35,887 of FER2013"):
        votes.record(path)
    assert not votes.RECORDED.exists()
    monkeypatch.setattr(votes, "FER2013", 3)
    assert votes.record(path) == 2
    assert votes.recorded_votes(np.array([2, 1]))[:, NEUTRAL].tolist() == [8, 9]
    for row in (0, 3):
        with pytest.raises(ValueError, match="PublicTest and PrivateTest"):
            votes.recorded_votes(np.array([row]))


def test_majority_is_alone_and_an_emotion():
    assert votes.majority(PICTURES).tolist() == [HAPPY, HAPPY, NONE, NONE, ANGRY]


def test_crowd_sums_votes_by_label():
    counts = votes.crowd(np.array([HAPPY, HAPPY, SAD, SAD, SAD]), PICTURES)
    assert counts[HAPPY].tolist() == ballot(happy=16, neutral=4)
    assert counts[SAD].tolist() == ballot(sad=8, neutral=5, contempt=6, angry=8, fear=3)
    assert counts.sum() == 50


def test_voter_and_network_against_the_same_nine():
    # Picture 0: ten voters, each against nine Happy. Picture 1: six Happy, who find 5 to 4, and
    # four Neutral, who find 6 to 3. Picture 2: without one of the five Sad there are five Neutral
    # against four, and the other way round: all ten are wrong. Picture 3: the other nine always say
    # Contempt. Picture 4: without an Angry, three answers share the first place; without another,
    # Angry has four, whom the six others miss.
    hits, asked = votes.against_nine(PICTURES)
    assert hits.tolist() == [10, 6, 0, 0, 0]
    assert asked.tolist() == [10, 10, 10, 0, 6]
    hits, asked = votes.against_nine(PICTURES, np.array([HAPPY, NEUTRAL, SAD, ANGRY, ANGRY]))
    assert hits.tolist() == [10, 0, 5, 0, 6], (
        "Sad is the majority of nine where one of the five Neutral is left out"
    )
    assert asked.tolist() == [10, 10, 10, 0, 6]


def test_ratio_counts_pictures_not_voters():
    value, low, high = votes.ratio(np.array([10, 0, 10, 0]), np.array([10, 10, 10, 10]))
    assert value == 0.5
    half = 1.96 * 0.25  # sqrt(4 * 5**2) / 40 = 0.25
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-3)


def test_accuracy_by_agreement():
    table = votes.by_agreement(PICTURES, np.array([True, True, False, False, True]))
    assert table.index.tolist() == ["10", "6", "5", "4 or fewer"]
    assert table["accuracy"].tolist() == [1, 0.5, 0, 1]
    assert table["n"].tolist() == [1, 2, 1, 1]
    assert table.loc["6", ["low", "high"]].tolist() == pytest.approx(
        [0.0945, 0.9055], abs=1e-4
    )  # Wilson, 1 in 2
    with pytest.raises(ValueError, match="ten votes"):
        votes.by_agreement(PICTURES - np.eye(10, dtype=int)[3], np.ones(5, bool))


def test_whose_side_the_majority_takes():
    labels = np.array([SAD, HAPPY, SAD, ANGRY, FEAR])
    predicted = np.array([HAPPY, FEAR, FEAR, SAD, SAD])
    expected = {"the prediction": 1, "the label": 1, "no majority": 2, "a third emotion": 1}
    assert votes.sides(labels, predicted, PICTURES) == expected
    assert sum(votes.sides(labels, labels, PICTURES).values()) == 0


def test_correlation_looks_off_the_diagonal_only():
    first, second = np.zeros((7, 7)), np.eye(7)
    first[0, 1], first[2, 3], second[0, 1], second[2, 3] = 0.1, 0.2, 0.2, 0.4
    assert votes.correlation(first, second) == pytest.approx(1)
    second[5] = np.nan
    assert votes.correlation(first, second) == pytest.approx(1)
    assert votes.correlation(first, 1 - first) == pytest.approx(-1)


def test_wrong_answers_that_ignore_the_label_keep_their_frequencies():
    answers, mistaken = np.array([1, 2, 3, 4, 5, 6, 7.0]), np.array([7, 1, 5, 2, 6, 3, 4.0])
    independent = np.outer(mistaken, answers) * (1 - np.eye(7))
    counts = independent + np.diag([10.0, 20, 30, 40, 50, 60, 70])
    shares = independent / counts.sum(1, keepdims=True)
    assert votes.unrelated(counts) == pytest.approx(shares), "it is so already"
    moved = counts.copy()
    moved[[0, 1], [2, 3]] += 9  # Angry as Fear, Disgust as Happy ...
    moved[[0, 1], [3, 2]] -= [9, 2]  # ... and not the other way round
    fit = votes.unrelated(moved) * moved.sum(1, keepdims=True)
    wrong = moved * (1 - np.eye(7))
    assert fit.sum(0) == pytest.approx(wrong.sum(0))
    assert fit.sum(1) == pytest.approx(wrong.sum(1))
    odds = fit[0, 2] * fit[1, 3] / (fit[0, 3] * fit[1, 2])
    assert odds == pytest.approx(1), "the label does not matter"
    assert wrong[0, 2] * wrong[1, 3] > 1.5 * wrong[0, 3] * wrong[1, 2]
    assert not fit.diagonal().any()
    counts[:, 4] = counts[5] = 0  # an answer that nobody gives, a label without pictures
    both = votes.unrelated(np.stack([counts, moved]))
    assert both[1] == pytest.approx(votes.unrelated(moved)), "many at once"
    assert np.isfinite(both).all()
    assert not both[0, :, 4].any()


def test_crowd_that_answers_as_the_network_predicts_is_alike():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 7, 400), rng.integers(0, 7, 400)
    same, other = (10 * np.eye(10, dtype=int)[e] for e in (predicted, rng.integers(0, 7, 400)))
    first = votes.alike(labels, predicted, same, copies=50)
    assert first == pytest.approx(np.ones((2, 3)))
    for value, low, high in votes.alike(labels, predicted, other, copies=200):
        assert low < value < high < 0.7
    again = votes.alike(labels, predicted, same, copies=50)
    assert np.array_equal(again, first), "the same seed"


def test_shared_favorites_alone_correlate_but_what_they_leave_does_not():
    rng = np.random.default_rng(1)
    favorites = np.array([1, 1, 2, 12, 6, 3, 20]) / 45
    labels = rng.integers(0, 7, 4000)
    people, network = (rng.choice(7, 4000, p=favorites) for _ in range(2))
    ballots = 10 * np.eye(10, dtype=int)[people]
    seen, left = votes.alike(labels, network, ballots, copies=100)
    assert seen[1] > 0.9, "nothing but their favorites"
    assert left[1] < 0 < left[2]


def test_recorded_votes_are_ten_people_s_for_every_test_row():
    with np.load(votes.RECORDED, allow_pickle=False) as saved:
        rows, found = saved["rows"], saved["votes"]
        assert set(saved.files) == {"rows", "votes"}
    assert rows.tolist() == list(range(28_709, 35_887))
    assert found.shape == (7178, 10)
    assert found.dtype == np.uint8
    assert (found.sum(1) == votes.VOTERS).all()
    assert votes.RECORDED.stat().st_size < 100_000


@pytest.mark.skipif(
    "HW3_TEST_FER2013" not in os.environ, reason="HW3_TEST_FER2013 names no folder with FER2013"
)
def test_recorded_votes_are_those_of_fer_plus():
    there = Path(os.environ["HW3_TEST_FER2013"])
    part, found = votes.read(there / "fer2013new.csv")
    assert len(found) == 35_887
    rows = np.flatnonzero(part)
    assert np.array_equal(votes.recorded_votes(rows), found[rows])
    data = faces.load(there / "fer2013.csv")
    assert np.array_equal(data.part, part), "the rows are those of fer2013.csv"
    assert (votes.majority(found.astype(int)) == data.labels).mean() > 0.5, (
        "the columns are not shuffled"
    )

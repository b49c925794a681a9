"""The audit: pictures made equal or nearly equal by hand are found, others are not; the counts of
FER2013 come out again.
"""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from beyond import audit
from hw3 import faces, runs
from hw3.faces import Faces

RNG = np.random.default_rng(7)


def pictures(n, levels=6):
    """Return n smooth random pictures (n, 48, 48) uint8, as unlike each other as such pictures
    are.
    """
    small = RNG.integers(30, 200, (n, levels, levels), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(s).resize((48, 48), Image.Resampling.BICUBIC)) for s in small]
    )


def test_identical_is_to_the_last_pixel():
    a, b = pictures(2)
    other = a.copy()
    other[47, 47] += 1
    same = audit.identical(np.stack([a, b, a, other, b]))
    assert same[0] == same[2]
    assert same[1] == same[4]
    assert len(set(same)) == 3


def test_constant_pictures_may_differ_by_a_few_grays():
    images = np.full((3, 48, 48), 120, np.uint8)
    images[1, 0, 0], images[2, 0, 0] = 128, 129
    assert audit.constant(images).tolist() == [True, True, False]
    assert audit.constant(images, 0).tolist() == [True, False, False]


def enlarged(image, side):
    big = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    first = (side - 48) // 2
    return np.asarray(big)[first : first + 48, first : first + 48]


CHANGES = {
    "mirrored": lambda x: x[:, ::-1],
    "shifted": lambda x: np.pad(x, ((2, 0), (0, 1)), mode="edge")[:48, 1:],
    "rescaled": lambda x: enlarged(x, 52),
    "brightened": lambda x: (x * 0.7 + 60).astype(np.uint8),
    "all at once": lambda x: (enlarged(np.roll(x[:, ::-1], 1, axis=0), 50) * 0.8 + 20).astype(
        np.uint8
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(change):
    images = pictures(20)
    images[13] = CHANGES[change](images[4])
    pairs, correlations = audit.near(images)
    assert [tuple(p) for p in pairs] == [(4, 13, int(change in ("mirrored", "all at once")))]
    assert correlations[0] >= audit.FINE


def test_identical_and_constant_pictures_are_no_near_pairs():
    images = pictures(6)
    images[3], images[4], images[5] = images[0], 0, 255
    assert len(audit.near(images)[0]) == 0


def test_families_join_over_a_third_picture():
    same, pairs = np.array([0, 1, 0, 2, 3, 4]), np.array([[0, 3, 0], [3, 4, 1]])
    family = audit.families(same, pairs)  # 0 = 2 by identity, 0 - 3 and 3 - 4 by pairs
    assert len({family[i] for i in (0, 2, 3, 4)}) == 1
    assert len(set(family)) == 3
    assert np.array_equal(
        audit.families(same, np.zeros((0, 3), int))[[0, 1]], audit.families(same, pairs[:0])[[2, 1]]
    )


FAMILY = np.array([0, 0, 1, 2, 3, 0, 4, 1, 5, 4])
PART = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 2], np.uint8)
LABELS = np.array([3, 3, 4, 5, 6, 3, 0, 2, 1, 0], np.uint8)


def test_counts_by_hand():
    assert audit.count(FAMILY, PART, LABELS) == {
        "groups within Training": 1,  # family 0
        "pictures in them": 2,
        "PublicTest also in Training": 1,  # picture 5, of family 0
        "PrivateTest also in Training": 1,  # picture 7, of family 1
        "PrivateTest also in PublicTest": 1,  # picture 9, of family 4
        "groups": 3,  # 0, 1, 4
        "groups with different labels": 1,  # family 1: 4 and 2
        "pictures of the largest group": 3,
    }


def test_a_copy_is_a_member_of_the_family_among_the_trained():
    copied = audit.has_copy_in(FAMILY, np.array([5, 6, 7]), np.array([0, 3]))
    assert copied.tolist() == [True, False, False]


def test_split_leak_of_one_pair_and_two_single_pictures():
    # Of four pictures two are held out: 6 equal splits, 4 of which part the pair, so that 1 of 2
    # held out is seen.
    assert audit.split_leak(np.array([0, 0, 1, 2]), held=2) == pytest.approx(4 / 6 / 2)
    assert audit.split_leak(np.arange(4), held=2) == 0
    drawn = [np.random.default_rng(i).permutation(10) for i in range(4000)]
    simulated = np.mean([audit.has_copy_in(FAMILY, rows[:3], rows[3:]).mean() for rows in drawn])
    assert audit.split_leak(FAMILY, held=3) == pytest.approx(simulated, abs=0.02)


def test_what_is_right_and_leaked_and_what_is_left_without_the_leaked(monkeypatch):
    # rows, labels, probabilities
    part = np.array([5, 6, 7, 8]), np.array([3, 0, 2, 1]), np.eye(7)[[3, 0, 2, 0]]
    run = replace(runs.recorded("modern-cnn")[0], predictions={"PrivateTest": part})
    right, leaked = audit.right_and_leaked(run, "PrivateTest", FAMILY, np.flatnonzero(PART == 0))
    assert right.tolist() == [True, True, True, False]
    # families 0 and 1; 4 and 5 have nobody in Training
    assert leaked.tolist() == [True, False, True, False]
    by_kind = {"near": FAMILY, "identical": np.arange(10)}
    monkeypatch.setattr(audit, "recorded_copies", lambda: ({}, by_kind, PART))
    assert audit.without_copies(run, "PrivateTest").hits("PrivateTest") == (1, 2)
    assert audit.without_copies(run, "PrivateTest", "identical").hits("PrivateTest") == (3, 4)
    run = replace(run, recipe=replace(run.recipe, public=True))
    assert audit.known_rows(run).tolist() == np.flatnonzero(PART < 2).tolist()
    assert audit.without_copies(run, "PrivateTest").hits("PrivateTest") == (0, 1), (
        "families 0, 4 and 1 are known"
    )


def test_inflation_by_hand():
    right = np.array([1, 1, 1, 0, 1, 0, 1, 0], bool)
    leaked = np.array([1, 1, 0, 0, 0, 0, 0, 0], bool)
    value, low, high = audit.inflation(right, leaked)
    assert value == pytest.approx(5 / 8 - 3 / 6)
    # 2 of 8 are leaked, all right; the variance of the mean of the 6 others is 1/2 * 1/2 / 6
    half = 1.96 * 2 / 8 * (1 / 24) ** 0.5
    assert (low, high) == pytest.approx((value - half, value + half), abs=1e-5)
    assert [*audit.inflation(right, np.zeros(8, bool))] == [0, 0, 0]


def test_inflation_at_the_same_mix_by_hand():
    right = np.array([1, 1, 1, 0, 0, 0, 1, 0], bool)
    leaked = np.array([1, 1, 0, 0, 1, 0, 0, 0], bool)
    labels = np.array([3, 3, 3, 3, 0, 0, 0, 0])
    # of label 3 two leaked ones are right instead of one, of label 0 none instead of a third
    value, low, high = audit.inflation(right, leaked, labels)
    assert value == pytest.approx((2 - 1 + 0 - 1 / 3) / 8)
    variance = (2 / 8) ** 2 * (1 / 4) / 2 + (1 / 8) ** 2 * (2 / 9) / 3
    half = 1.96 * variance**0.5
    assert (low, high) == pytest.approx((value - half, value + half), abs=1e-5)
    always = labels == 3  # whoever answers 3 to all remembers nothing
    assert audit.inflation(always, leaked).value > 0
    assert [*audit.inflation(always, leaked, labels)] == [0, 0, 0]


def test_the_interval_of_inflation_holds_the_truth_in_19_of_20_cases():
    rng, leaked, labels = np.random.default_rng(0), np.arange(600) < 100, np.arange(600) % 2
    chance = 0.5 + 0.2 * labels + 0.1 * leaked  # so much more often right are the leaked
    drawn = [audit.inflation(rng.random(600) < chance, leaked, labels) for _ in range(1000)]
    assert np.mean([x.low < 0.1 / 6 < x.high for x in drawn]) == pytest.approx(0.95, abs=0.02)


def test_what_is_recorded_is_read_back_and_the_judgment_by_eye_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "FOLDER", tmp_path)
    audit.record({"constant": 1}, {"identical": FAMILY, "near": FAMILY}, PART)
    (tmp_path / "counts.json").write_text(json.dumps({"constant": 1, "by eye": {"n": 100}}))
    audit.record({"constant": 2}, {"identical": FAMILY, "near": FAMILY}, PART)
    counts, by_kind, part = audit.recorded_copies()
    assert counts == {"constant": 2, "by eye": {"n": 100}}
    assert np.array_equal(part, PART)
    near = np.unique(by_kind["near"], return_inverse=True)[1]
    assert audit.count(near, part, LABELS) == audit.count(FAMILY, PART, LABELS)


def test_only_the_whole_of_fer2013_is_audited(few):
    with pytest.raises(ValueError, match="only runs on the whole of FER2013"):
        audit.recount(few)


def test_other_counts_than_the_recorded_ones_are_said_and_recorded_where_asked(
    few, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(audit, "FOLDER", tmp_path)
    monkeypatch.setattr(audit, "check_recordable", lambda data: None)
    by_kind = dict.fromkeys(("identical", "near"), np.arange(len(few)))
    monkeypatch.setattr(audit, "audit", lambda data: ({"constant": 0}, by_kind))
    audit.recount(few, write=True)
    audit.recount(few)
    (tmp_path / "counts.json").write_text(
        (tmp_path / "counts.json").read_text().replace('"constant": 0', '"constant": 1')
    )
    with pytest.raises(ValueError, match="not the recorded counts"):
        audit.recount(few)


def test_audit_of_few_faces_counts_a_planted_leak(few):
    images = (
        np.random.default_rng(0).integers(0, 256, few.images.shape).astype(np.uint8)
    )  # no two alike
    labels = few.labels.copy()
    images[290], labels[290] = images[0], (labels[0] + 1) % 7
    counts, found = audit.audit(
        Faces(images, labels, few.part.copy(), "test faces", "made by the tests")
    )
    assert counts["constant"] == 0
    assert counts["identical"]["PrivateTest also in Training"] == 1
    assert counts["identical"]["groups with different labels"] == 1
    assert found["near"][0] == found["near"][290]


def test_recorded_counts_follow_from_the_recorded_families():
    counts, found, part = audit.recorded_copies()
    assert np.bincount(part).tolist() == [28_709, 3_589, 3_589]
    for kind, family in found.items():
        again = audit.count(
            np.unique(family, return_inverse=True)[1], part, np.zeros(len(part), np.uint8)
        )
        same = {key for key in again if key != "groups with different labels"}
        assert {key: counts[kind][key] for key in same} == {key: again[key] for key in same}
    first = counts["identical"]
    assert (first["PublicTest also in Training"], first["PrivateTest also in Training"]) == (
        280,
        288,
    )
    assert (first["groups with different labels"], counts["constant"]) == (58, 13)
    assert counts["by eye"]["threshold"] == audit.FINE
    assert counts["by eye"]["random pairs"]["n"] >= 100


def test_recorded_audit_is_small_and_holds_no_pictures():
    files = {p.name: p.stat().st_size for p in audit.FOLDER.iterdir()}
    assert set(files) == {"counts.json", "leaks.npz"}
    assert sum(files.values()) < 100_000
    with np.load(audit.FOLDER / "leaks.npz", allow_pickle=False) as saved:
        assert all(a.ndim == 1 for a in saved.values()), "a picture has 2,304 values a row"


@pytest.fixture(scope="session")
def fer2013():
    if "HW3_TEST_FER2013" not in os.environ:
        pytest.skip("HW3_TEST_FER2013 names no folder with FER2013")
    return faces.load(os.path.join(os.environ["HW3_TEST_FER2013"], "fer2013.csv"))


def test_audit_of_fer2013_gives_the_recorded_counts_and_families(fer2013):
    counts, found = audit.audit(fer2013)
    known, families, part = audit.recorded_copies()
    assert counts == {key: known[key] for key in counts}
    assert np.array_equal(part, fer2013.part)
    for kind, family in found.items():
        pairs = np.unique(np.stack([family, families[kind]]), axis=1)
        assert pairs.shape[1] == len(set(family)) == len(set(families[kind].tolist())), (
            "the same families, numbered anew"
        )


@pytest.mark.parametrize("change", CHANGES)
def test_as_many_changed_copies_of_200_faces_of_fer2013_are_found_as_recorded(fer2013, change):
    rows = np.random.default_rng(0).choice(
        np.flatnonzero(~audit.constant(fer2013.images)), 200, replace=False
    )
    images = np.concatenate(
        [fer2013.images[rows], [CHANGES[change](x) for x in fer2013.images[rows]]]
    )
    pairs, _ = audit.near(images)
    planted = audit.recorded_copies()[0]["planted copies"]
    assert planted["n"] == len(rows)
    assert sum(second - first == 200 for first, second, _ in pairs) == planted["found"][change]

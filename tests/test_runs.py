"""Recorded runs: each accuracy follows from its predictions; one byte a weight is enough; an
ensemble by hand.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from hw3 import faces, machine, metrics, models, runs, show, train, weights
from hw3.recipes import Recipe
from hw3.runs import Run

FOLDERS, DRAWN_FOLDERS = (
    sorted(p.parent for p in place.glob("*/run.json")) for place in (runs.RECORDED, runs.DRAWN)
)


def made_up(probabilities, seed=0, data="FER2013"):
    """Return a Run that predicted these probabilities (n, 7) for faces 0 to n - 1, all of emotion
    0.
    """
    p = np.asarray(probabilities, np.float32)
    predictions = {"PublicTest": (np.arange(len(p)), np.zeros(len(p), np.uint8), p)}
    about = {
        "network": "cnn",
        "recipe": Recipe(name="modern", seed=seed),
        "data": data,
        "fingerprint": "0",
        "trained_on": 1,
    }
    made = {
        "versions": {},
        "device": "none",
        "seconds": 1.0,
        "epoch_seconds": [1.0],
        "date": "2026-01-01",
    }
    return Run(**about, **made, history={"loss": [1.0]}, predictions=predictions)


def test_there_are_recorded_runs():
    assert FOLDERS
    assert [folder.name for folder in DRAWN_FOLDERS] == ["drawn-cnn"]


@pytest.mark.parametrize("folder", FOLDERS + DRAWN_FOLDERS, ids=lambda p: p.name)
def test_every_recorded_accuracy_follows_from_the_recorded_predictions(folder):
    about, run = json.loads((folder / "run.json").read_text()), runs.load(folder)
    assert folder.name == runs.slug(run)
    final = {"PrivateTest"} if not runs.tried(folder.name) else set()
    public = set() if run.recipe.public else {"PublicTest"}
    assert set(about["hits"]) == {"held-out"} | public | final
    for part, (rows, labels, p) in run.predictions.items():
        assert about["hits"][part] == [int((p.argmax(1) == labels).sum()), len(labels)]
        np.testing.assert_allclose(p.sum(1), 1, atol=0.01)
        assert len(set(rows)) == len(rows)
        if part != "held-out":
            assert len(rows) == (1000 if folder in DRAWN_FOLDERS else 3589)
    assert run.fingerprint
    assert len(run.epoch_seconds) == run.recipe.epochs == len(run.history["val_accuracy"])
    assert run.seconds == pytest.approx(sum(run.epoch_seconds), abs=0.0005 * run.recipe.epochs), (
        "each is rounded"
    )
    if run.recipe.views == 1:
        hits, n = run.hits()
        best, second = np.sort(run.predictions["held-out"][2])[:, -1:-3:-1].T
        tied = int(
            (best == second).sum()
        )  # as float16 two probabilities may be equal, and the first one counts
        assert (
            abs(
                round(
                    n
                    * (run.final or {"val_accuracy": run.history["val_accuracy"][-1]})[
                        "val_accuracy"
                    ]
                )
                - hits
            )
            <= tied
        )
    assert "/" not in run.device


def test_all_seeds_of_a_recorded_run_follow_one_recipe():
    for name in runs.recorded_names():
        assert len({json.dumps(runs.changes(run)) for run in runs.recorded(name)}) == 1, name


def test_recorded_runs_are_small_and_hold_no_pictures():
    files = [p for of in (runs.RECORDED, runs.DRAWN) for p in of.rglob("*") if p.is_file()]
    assert {p.name for p in files} <= {"run.json", "history.csv", "predictions.npz", "cnn.npz"}
    assert sum(p.stat().st_size for p in files if p.name != "cnn.npz") < 3e6
    for path in (p for p in files if p.name == "predictions.npz"):
        with np.load(path, allow_pickle=False) as saved:
            assert all(a.shape[1:] in ((), (7,)) for a in saved.values()), (
                "a picture has 2,304 values a row"
            )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_recorded_labels_are_those_of_fer2013(folder):
    where = os.environ.get("HW3_TEST_FER2013")
    if not where:
        pytest.skip("HW3_TEST_FER2013 names no FER2013")
    found, run = faces.load(Path(where) / "fer2013.csv"), runs.load(folder)
    assert run.fingerprint == found.fingerprint
    for part, (rows, labels, _) in run.predictions.items():
        assert np.array_equal(found.labels[rows], labels)
        codes = {faces.TRAINING, faces.PUBLIC} if run.recipe.public else {faces.TRAINING}
        assert set(found.part[rows]) == (codes if part == "held-out" else {faces.PARTS.index(part)})
    if len(run.predictions["held-out"][0]) == round(0.1 * 28709):
        assert np.array_equal(
            run.predictions["held-out"][0], np.sort(train.split(found, run.recipe)[1])
        )


@pytest.mark.keras
def test_recorded_weights_are_the_cnns_and_lose_at_most_three_thousandths():
    assert weights.SMALL.stat().st_size < 8e6
    model, about = weights.load_small()
    assert model.count_params() == 6_040_327
    assert about["hits"] - about["hits in one byte"] <= 0.003 * about["n"]


@pytest.mark.keras
def test_nine_in_ten_drawn_faces_are_read_right_by_the_recorded_weights():
    """They are of the recorded run, on the faces that anyone can draw again."""
    (run,), (model, about) = runs.recorded(runs.DRAWN_CNN), weights.load_small(drawn=True)
    assert (run.data, run.recipe.name, about["label"]) == ("drawn faces", "drawn", run.label())
    assert weights.SMALL_DRAWN.stat().st_size < 5e5
    assert model.count_params() < 4e5
    for part in ("held-out", "PublicTest", "PrivateTest"):
        assert metrics.accuracy(run, part).low > 0.9, part
    assert (about["hits"], about["n"]) == run.hits(about["part"])
    assert metrics.proportion(about["hits in one byte"], about["n"]).low > 0.9
    found = faces.drawn()
    rows, labels, p = run.predictions["PublicTest"]
    assert np.array_equal(rows, np.flatnonzero(found.part == faces.PUBLIC))
    assert np.array_equal(labels, found.labels[rows])
    said = train.predict(model, found.images[rows[:200]])
    np.testing.assert_allclose(said, p[:200], rtol=0, atol=0.1)
    learned, held = train.split(found, run.recipe)
    assert (len(learned), len(held)) == (run.trained_on, run.hits()[1])
    assert not np.isin(rows, learned).any()


@pytest.mark.keras
def test_one_byte_a_weight_is_off_by_at_most_half_a_step(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SMALL", tmp_path / "cnn.npz")
    model = models.cnn()
    weights.save_small(model, {"architecture": "original"})
    again, about = weights.load_small()
    assert about == {"architecture": "original"}
    assert weights.SMALL.stat().st_size < 8e6
    for before, after in zip(model.get_weights(), again.get_weights(), strict=True):
        step = (
            np.abs(before).max(axis=tuple(range(before.ndim - 1))) / 127 if before.ndim > 1 else 0
        )
        assert (np.abs(before - after) <= step / 2 + 1e-7).all()


def test_missing_or_damaged_weights_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SMALL", tmp_path / "cnn.npz")
    with pytest.raises(FileNotFoundError, match="first run python -m hw3 record modern-cnn"):
        weights.load_small()
    weights.SMALL.write_bytes(b"PK half a file")
    with pytest.raises(ValueError, match="damaged"):
        weights.load_small()


def test_recording_keeps_one_folder_a_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RECORDED", tmp_path)
    right, wrong = np.eye(7)[[0]], np.eye(7)[[1]]
    for seed, p in ((0, wrong), (2, right)):
        runs.record(made_up(p, seed))
    assert [r.recipe.seed for r in runs.recorded("modern-cnn")] == [2, 0], (
        "the best on PublicTest first"
    )
    runs.record(made_up(right, 0))  # in place of the earlier one
    assert sorted(p.name for p in tmp_path.iterdir()) == ["modern-cnn", "modern-cnn-seed2"]
    assert runs.recorded_names() == ["modern-cnn"]
    assert [(r.recipe.seed, r.hits("PublicTest")) for r in runs.recorded("modern-cnn")] == [
        (0, (1, 1)),
        (2, (1, 1)),
    ]
    assert runs.recorded("modern-dnn") == []


def test_an_ablation_is_recorded_with_labels_only(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RECORDED", tmp_path)
    whole = made_up(np.array([[0.5, 0.3, 0.2, 0, 0, 0, 0]]))
    both = dict.fromkeys(("PublicTest", "PrivateTest"), whole.predictions["PublicTest"])
    p = whole.predictions["PublicTest"][2]
    for name in ("modern", "fast", "with-sgd", "without-flip"):
        folder = runs.record(
            replace(whole, recipe=replace(whole.recipe, name=name), predictions=both)
        )
        assert set(runs.load(folder).predictions) == set(both)
        assert runs.load(folder).hits("PublicTest") == whole.hits("PublicTest")
        expected = p.astype(np.float16) if name == "modern" else np.eye(7)[p.argmax(1)]
        assert np.array_equal(runs.load(folder).predictions["PublicTest"][2], expected)


def test_a_recording_sorts_rows_and_rounds_what_no_page_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RECORDED", tmp_path)
    rows, p = np.array([35_886, 2, 70_000]), np.eye(7)[[0, 1, 2]]
    run = replace(made_up(p), predictions={"held-out": (rows, np.array([0, 1, 3]), p)})
    again = runs.load(
        runs.record(replace(run, history={"loss": [0.12345678]}, epoch_seconds=[1.23456]))
    )
    assert again.history == {"loss": [0.123457]}
    assert again.epoch_seconds == [1.235]
    for got, expected in zip(
        again.predictions["held-out"], ([2, 35_886, 70_000], [1, 0, 3], p[[1, 0, 2]]), strict=True
    ):
        assert np.array_equal(got, expected)
    runs.save(run, tmp_path / "own")
    assert np.array_equal(runs.load(tmp_path / "own").predictions["held-out"][0], rows), (
        "an own run keeps its order"
    )


@pytest.mark.keras
def test_a_page_says_which_runs_it_shows(capsys):
    def run(profile, date):
        recipe = Recipe(profile=profile)
        return replace(made_up(np.eye(7)[[0]]), recipe=recipe, device="CPU A", date=date)

    dates = [("full", "2026-01-03T03:04:05"), ("cpu", "2026-01-02T03:04:05"), ("cpu", "2026-01-02")]
    recorded = [run(profile, date) for profile, date in dates]
    show.head(recorded)
    facts = json.loads(capsys.readouterr().out)
    assert facts["recorded"] == {
        "data": ["FER2013"],
        "profile": ["cpu", "full"],
        "device": ["CPU A"],
        "date": ["2026-01-02", "2026-01-03"],
    }
    today = datetime.now(UTC).date().isoformat()
    own = {"data": [], "profile": [], "device": [machine.device()], "date": [today]}
    assert facts["own"] == own
    show.head(own=[run("smoke", "2026-02-01T03:04:05")])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    empty = {name: [] for name in own}
    own = {"data": ["FER2013"], "profile": ["smoke"], "device": ["CPU A"], "date": ["2026-02-01"]}
    assert json.loads(out) == {"recorded": empty, "own": own}


def test_a_page_without_keras_was_made_on_the_cpu():
    code = "from hw3 import runs, show, trained, weights; show.head()"
    command, options = [sys.executable, "-c", code], {"capture_output": True, "check": True}
    out = subprocess.run(command, cwd=runs.ROOT, **options).stdout
    assert json.loads(out)["own"]["device"] == ["CPU"]


def test_networks_that_learned_from_public_test_are_not_ranked_by_it():
    right, wrong = made_up(np.eye(7)[[0]], 1), made_up(np.eye(7)[[1]], 0)
    assert runs.rank(right) < runs.rank(wrong)
    right, wrong = (
        replace(run, recipe=replace(run.recipe, public=True), predictions={})
        for run in (right, wrong)
    )
    assert runs.rank(wrong) < runs.rank(right), "by seed alone"


def test_a_run_that_cannot_be_replaced_stays_whole(tmp_path, monkeypatch):
    run, folder = made_up(np.eye(7)[[0]]), tmp_path / "modern-cnn"
    runs.save(run, folder)
    replace = os.replace
    for place, name, effects in (
        (shutil, "rmtree", KeyboardInterrupt),
        (os, "replace", KeyboardInterrupt),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, Mock(wraps=replace, side_effect=effects))
            with pytest.raises(KeyboardInterrupt):
                runs.save(run, folder)
        assert runs.load(folder).hits("PublicTest") == (1, 1)


def test_only_fer2013_in_its_own_order_is_recorded():
    """Audit, votes and ensembles take recorded rows for those of fer2013.csv."""
    part = np.repeat(np.array([0, 1, 2], np.uint8), [28_709, 3_589, 3_589])
    other = faces.Faces(
        np.zeros((len(part), 48, 48), np.uint8),
        np.zeros(len(part), np.uint8),
        part,
        "FER2013",
        "shuffled.csv",
    )
    with pytest.raises(
        ValueError, match=r"not on shuffled\.csv: name fer2013\.csv .* in its own order"
    ):
        runs.check_recordable(other)
    assert {runs.load(folder).fingerprint for folder in FOLDERS} == {faces.FINGERPRINT}


def test_a_run_that_is_just_being_written_is_not_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RECORDED", tmp_path)
    for name in ("modern-cnn", ".modern-cnn.half", "modern-cnn-seed1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").touch()
    assert runs.recorded_names() == ["modern-cnn"]


def test_folders_of_the_environment_hold_in_any_working_folder(tmp_path):
    (tmp_path / "below").mkdir()
    code = "import os, hw3; os.chdir('below'); from hw3.disk import build_dir; "
    code += "print(build_dir()); print(os.environ['HW3_DATA'])"
    env = os.environ | {
        "HW3_BUILD": "made",
        "HW3_DATA": "below/faces",
        "PYTHONPATH": str(runs.ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / "made"), str(tmp_path / "below" / "faces")]

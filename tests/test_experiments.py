"""The experiments for a lent GPU: what is started when, and what it is decided by. The processes
are made up here, as is their time; `test_train.py` trains by the candidates' recipes.
"""

import json
import sys
from time import perf_counter

import experiments
import numpy as np
import pytest

from hw3 import faces, models, recipes, runs, weights
from hw3.recipes import recipe

CANDIDATES = [f"with-{name}-cnn" for name in ("ema", "mixup", "both", "long")]
MODERN = (2575, 2564, 2556, 2553, 2551)  # right of PublicTest; one more seed: up to 2,589


def keep(name, seed, hits, held=400):
    """Record a made-up run with so many of 3,589 and of 574 faces right."""
    parts = {"held-out": (574, held), "PublicTest": (3589, hits)}
    if name.startswith(("next", "original")):
        parts["PrivateTest"] = (3589, hits)
    predictions = {}
    for part, (n, right) in parts.items():
        predicted = np.eye(7, dtype=np.float32)[(np.arange(n) >= right).astype(int)]
        predictions[part] = np.arange(n), np.zeros(n, np.uint8), predicted
    about = {"data": "FER2013", "fingerprint": "0", "trained_on": 1, "history": {"loss": [1.0]}}
    about |= {"versions": {}, "device": "none", "seconds": 1.0, "epoch_seconds": [1.0]}
    made = recipe("cnn", "full", name.removesuffix("-cnn"), seed=seed)
    runs.record(runs.Run("cnn", made, **about, predictions=predictions, date="2026-01-01"))


class Place:
    """A place where made-up processes take made-up time. started: (what, seconds left)."""

    def __init__(self, folder):
        self.started, self.now, self.takes, self.folder = [], 0.0, 100.0, folder
        self.hits, self.broken, self.known = dict.fromkeys(CANDIDATES, 2560), (), []

    def run(self, command, timeout):
        assert command[0] == sys.executable
        decision = self.folder / "experiments" / "decision.json"
        self.known.append(decision.exists())
        if command[1] == "-c":
            self.started.append(("bench", timeout))
            self.now += 60
            path = self.folder / "bench" / "1-gpu-made-up-jax.json"
            path.parent.mkdir()
            path.write_text('{"steps": [{"way": "PyTorch, compiled"}]}')
            return
        module, name, *options = command[2:]
        assert (module, name) == ("hw3", "record")
        name, seed = options[0], int(options[1].partition("=")[2])
        assert options[2] == f"--seeds={seed + 1}"
        self.started.append((f"{name}-seed{seed}", timeout, *options[3:]))
        self.now += self.takes
        if name not in self.broken:
            keep(name, seed, self.hits.get(name, 2600), held=seed * 10)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a Place with five recorded runs of "modern", whose faces are none."""
    made = Place(tmp_path / "results")
    monkeypatch.setattr(runs, "RECORDED", made.folder / "fer2013")
    monkeypatch.setattr(weights, "RECORDED", made.folder / "fer2013")
    monkeypatch.setattr(experiments, "ROOT", tmp_path)
    monkeypatch.setattr(experiments.subprocess, "run", made.run)
    monkeypatch.setattr(experiments, "perf_counter", lambda: made.now)
    few = faces.drawn(4000)
    monkeypatch.setattr(faces, "find", lambda data: few)
    for seed, hits in enumerate(MODERN, 5):
        keep("modern-cnn", seed, hits)
    return made


def go(seconds, together):
    experiments.main(["--seconds", str(seconds), "--together", str(together)])


def names(place):
    return [each[0] for each in place.started]


def test_all_is_done_in_order_and_once(place, capsys):
    place.hits["with-both-cnn"] = 2590
    experiments.main(["--data", "fer2013.csv", "--seconds", "9000", "--together", "1"])
    tried = [f"{name}-seed5" for name in CANDIDATES]
    five = [f"next-both-cnn-seed{seed}" for seed in range(1, 6)]
    last = ["original-cnn-seed1", "original-cnn-seed2"]
    assert names(place) == ["bench", *tried, *five, *last]
    assert place.known == [False] * 5 + [True] * 7, "it is decided before a network is trained"
    assert [more for _, _, *more in place.started[-2:]] == [
        ["--set=dtype=mixed_bfloat16", "--data=fer2013.csv"],
        ["--data=fer2013.csv"],
    ]
    experiments.main(["--seconds", "9000"])
    assert len(place.started) == 12, "nothing is done again"


def test_together_they_give_what_they_give_alone(place):
    place.hits["with-ema-cnn"] = 2600
    go(9000, 4)
    assert names(place)[0] == "bench"
    assert sorted(names(place)[1:5]) == sorted(f"{name}-seed5" for name in CANDIDATES)
    assert sorted(names(place)[5:10]) == [f"next-ema-cnn-seed{seed}" for seed in range(1, 6)]
    assert place.known[5:] == [True] * 7


@pytest.mark.parametrize(
    ("hits", "taken"),
    [
        ({}, None),
        ({"with-long-cnn": 2589}, None),  # less than one more seed of "modern" may have
        ({"with-long-cnn": 2590}, "long"),
        ({"with-mixup-cnn": 2591, "with-long-cnn": 2590}, "mixup"),
    ],
)
def test_a_candidate_is_taken_only_if_it_beats_one_more_seed_of_modern(place, hits, taken):
    for name in CANDIDATES:
        keep(name, 5, hits.get(name, 2560))
    decided = experiments.decide()
    assert decided["taken"] == taken
    assert decided["must exceed"] == pytest.approx(2589.7, abs=0.1)
    assert set(decided["PublicTest and held-out"]) == set(recipes.NEXT)
    place.hits |= hits
    go(9000, 2)
    wanted = {f"next-{taken}-cnn-seed{seed}" for seed in range(1, 6)} if taken else set()
    assert {name for name in names(place) if name.startswith("next")} == wanted


def test_of_equal_candidates_the_one_with_more_held_out_faces_is_taken(place):
    for name, held in zip(CANDIDATES, (400, 401, 402, 399), strict=True):
        keep(name, 5, 2600, held)
    assert experiments.decide()["taken"] == "both"


def test_nothing_is_decided_while_a_candidate_is_missing(place):
    place.broken, place.hits = ("with-mixup-cnn",), dict.fromkeys(CANDIDATES, 2700)
    go(9000, 2)
    assert not (place.folder / "experiments").exists()
    assert not [name for name in names(place) if name.startswith("next")]
    place.broken = ()
    go(9000, 2)
    assert names(place).count("with-mixup-cnn-seed5") == 2
    assert names(place).count("with-ema-cnn-seed5") == 1
    assert (place.folder / "experiments" / "decision.json").exists()


def test_nothing_is_started_that_would_not_end_in_time(place, capsys):
    place.hits["with-both-cnn"] = 2700
    go(79, 2)
    assert names(place) == []
    go(301, 1)  # of which 60 and 100 are taken, 140 needed
    assert place.started == [
        ("bench", 120.0),
        ("with-ema-cnn-seed5", 241.0),
        ("with-mixup-cnn-seed5", 141.0),
    ]
    assert "too long for now: -m hw3 record with-both-cnn --first=5" in capsys.readouterr().out
    place.broken = ("with-both-cnn",)
    go(223, 2)  # two at once take 224, one takes 140
    assert names(place)[3:] == ["with-both-cnn-seed5"]
    place.takes, place.broken = 50.0, ()
    go(300, 2)
    assert sorted(names(place)[4:]) == ["with-both-cnn-seed5", "with-long-cnn-seed5"]
    for _ in range(9):
        go(210, 2)
    assert len(set(names(place))) == 12, "all, each in one of the calls"
    assert len(place.started) == 13, "and but the broken one once"


def test_what_runs_too_long_is_stopped(tmp_path):
    late = tmp_path / "late"
    text = f"import time; time.sleep(60); open({str(late)!r}, 'w')"
    experiments.start(["-c", text], 0.1, perf_counter() + 0.5)
    assert not late.exists()


def test_the_weights_of_the_best_of_the_five_are_kept_where_it_was_trained(
    place, monkeypatch, capsys
):
    monkeypatch.setattr(runs, "run_folder", lambda _, data, made: place.folder / str(made.seed))
    monkeypatch.setattr(weights, "load_model", lambda *_: models.cnn(16))
    monkeypatch.setattr("hw3.train.predict", lambda _, images: np.eye(7)[[0] * len(images)])
    place.hits["with-ema-cnn"] = 2600
    for seed, held in enumerate((400, 450, 430), 1):
        keep("next-ema-cnn", seed, 2600, held)
    go(900, 1)
    assert "weights of seed" not in capsys.readouterr().out
    (place.folder / "2").mkdir()
    go(1, 1)
    assert "weights of seed 2: held-out 574 of 574 right" in capsys.readouterr().out
    with np.load(place.folder / "experiments" / "next-ema-cnn.npz") as kept:
        assert json.loads(str(kept["about"]))["part"] == "held-out"
        assert kept["q0"].dtype == np.int8

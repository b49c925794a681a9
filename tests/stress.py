"""`make stress`: kill -9 and Ctrl-C at 20 random moments of a training and of a book, and two at
once (about 15 minutes).

Not part of `make test`: it takes long, and its moments are random (the seed is printed;
HW3_STRESS_SEED sets it).
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_book import shown
from test_cli import write_train

from hw3.disk import ROOT
from hw3.runs import load

SEED = int(os.environ.get("HW3_STRESS_SEED", time.time_ns() % 10_000))
KILLS = 20


def start(build, *arguments):
    """Start a command of hw3 in a process group of its own."""
    env = {k: v for k, v in os.environ.items() if k != "HW3_DATA"} | {"HW3_BUILD": str(build)}
    command = [
        sys.executable,
        "-c",
        "from hw3 import train; train.SAVE_EVERY = 0; from hw3.__main__ import main; main()",
    ]
    if arguments[0] == "book":
        command = [sys.executable, "-m", "press"]
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "cwd": ROOT,
        "start_new_session": True,
    }
    return subprocess.Popen([*command, *map(str, arguments)], env=env, **options)


def finish(process):
    """Wait for a command that must succeed; return what it printed."""
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out


def broken(build, longest, *arguments):
    """Start a command KILLS times and end it after a random time, with a kill -9, a Ctrl-C, or both
    to its whole group.
    """
    moments = random.Random(SEED)
    print(f"HW3_STRESS_SEED={SEED}")
    for number in range(KILLS):
        process = start(build, *arguments)
        try:
            process.wait(moments.uniform(0.5, longest))
        except subprocess.TimeoutExpired:
            how = (signal.SIGKILL, signal.SIGINT)[number % 2]
            (os.killpg if number % 3 else os.kill)(process.pid, how)
        _, err = process.communicate()
        assert "damaged" not in err
        if process.returncode > 0:  # a Ctrl-C that Python saw; any other failure has another line
            assert "interrupt" in err.lower(), err


def result(build):
    """Return the histories and probabilities of all runs of a build, by folder."""
    runs = {p.parent.name: load(p.parent) for p in (build / "runs").glob("*/run.json")}
    return {
        name: (run.history, {part: p[2].tobytes() for part, p in run.predictions.items()})
        for name, run in runs.items()
    }


def test_a_training_that_is_broken_off_again_and_again_ends_like_an_unbroken_one(tmp_path):
    data = write_train(tmp_path / "train.csv", rows=400)
    options = ["train", "dnn", "--profile", "smoke", "--set", "epochs=30", "--data", data]
    began = time.monotonic()
    finish(start(tmp_path / "whole", *options))
    whole = time.monotonic() - began
    broken(tmp_path / "broken", whole, *options)
    finish(start(tmp_path / "broken", *options))
    assert len(result(tmp_path / "whole")) == 1
    assert result(tmp_path / "broken") == result(tmp_path / "whole")


def test_two_trainings_of_one_run_at_once_do_not_harm_each_other(tmp_path):
    data = write_train(tmp_path / "train.csv", rows=100)
    both = [
        start(tmp_path / "build", "train", "dnn", "--profile", "smoke", "--data", data)
        for _ in range(2)
    ]
    printed = [finish(process).splitlines()[-1] for process in both]
    assert printed[0] == printed[1]
    assert len(result(tmp_path / "build")) == 1


@pytest.fixture(scope="module")
def whole_book(tmp_path_factory):
    build = tmp_path_factory.mktemp("whole") / "_build"
    began = time.monotonic()
    both = [start(build, "book", "--profile", "smoke") for _ in range(2)]
    assert all("done in" in finish(process) for process in both), "two builds at once"
    return build, time.monotonic() - began


def test_a_book_that_is_broken_off_again_and_again_ends_like_an_unbroken_one(whole_book, tmp_path):
    build, seconds = whole_book
    broken(tmp_path / "_build", min(seconds / 4, 30), "book", "--profile", "smoke")
    finish(start(tmp_path / "_build", "book", "--profile", "smoke"))
    expected, found = shown(build / "executed"), shown(tmp_path / "_build" / "executed")
    assert [cell for cell in expected if expected[cell] != found.get(cell)] == []
    assert result(tmp_path / "_build") == result(build)
    pages = [
        sorted(p.name for p in (b / "html" / "book").glob("*.html"))
        for b in (build, tmp_path / "_build")
    ]
    assert pages[0] == pages[1]
    for name in ("index.ipynb", "cnn.ipynb"):
        json.loads((tmp_path / "_build" / "executed" / name).read_text())
    with np.load(
        next((tmp_path / "_build" / "runs").glob("cnn*/predictions.npz")), allow_pickle=False
    ) as saved:
        assert saved.files

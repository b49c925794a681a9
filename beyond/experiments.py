"""What a lent GPU is for, in the order of worth: python -m beyond experiments.

What is recorded is done: the command, started again, goes on from there.
"""

import contextlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np

from beyond import ablation
from hw3 import faces, recipes, runs, weights
from hw3.disk import ROOT, write_atomically

BENCH = ["-c", "from beyond import bench; bench.run(batches=(512, 2048))"]
SHARING = 0.8  # trainings at once take so much of what they take one after another, on an H200


def run(data: str | None, changes: list[str], seconds: float, together: int) -> None:
    """Do what would end in so many seconds, at most so many trainings at once.

    data and, in a rehearsal, changes of all recipes are what `hw3 record` takes.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # they share the GPU's memory
    ends = perf_counter() + seconds
    given = [f"--data={data}"] * bool(data) + [f"--set={change}" for change in changes]

    def train(seconds: float, *wanted: tuple) -> bool:
        """Record each (name, seed, options), in so many seconds alone; return whether all are."""
        todo = [each for each in wanted if not recorded(*each[:2])]
        at_once = max(1, min(together, len(todo)))
        while at_once > 1 and SHARING * at_once * seconds > ends - perf_counter():
            at_once -= 1

        def one(each):
            name, seed, *more = each
            command = ["-m", "hw3", "record", name, f"--first={seed}", f"--seeds={seed + 1}"]
            start([*command, *more, *given], max(1, SHARING * at_once) * seconds, ends)

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(one, todo))
        return all(recorded(*each[:2]) for each in wanted)

    # 1. Training steps, compared fairly.
    kept = (path.read_text() for path in ROOT.glob("results/bench/*gpu*.json"))
    if not any('"batch": 2048' in text for text in kept):
        start(["-m", "beyond", "bench", "--quick"] if changes else BENCH, 80, ends)
    # 2. Candidates, on the faces of one "modern", by its seed. PrivateTest is not predicted.
    decision = runs.RECORDED.parent / "experiments" / "decision.json"
    seed = runs.recorded(runs.SHOWN_CNN)[0].recipe.seed
    if train(140, *((f"with-{name}-cnn", seed) for name in recipes.NEXT)) and not decision.exists():
        text = json.dumps(decide(), indent=1) + "\n"
        write_atomically(decision, lambda file: file.write(text.encode()))
    # 3. If one is taken, five that learn from PublicTest too, for the ensemble; then PrivateTest.
    taken = json.loads(decision.read_text())["taken"] if decision.exists() else None
    if taken:
        name = f"next-{taken}-cnn"
        train(125, *((name, seed) for seed in range(1, 6)))
        keep_best(name, faces.find(data))
    # 4. The original's CNN twice more, once in 32 bits.
    train(200, ("original-cnn", 1, "--set=dtype=mixed_bfloat16"), ("original-cnn", 2))


def recorded(name: str, seed: int) -> list[runs.Run]:
    """Return the recorded run of this name and seed, if any."""
    return [run for run in runs.recorded(name) if run.recipe.seed == seed]


def start(arguments: list[str], needed: float, ends: float) -> None:
    """Run Python with these arguments if it would end in time; stop it where it does not.

    A training that is stopped goes on from what it saved in its last seconds.
    """
    left = ends - perf_counter()
    print("starting" if needed < left else "too long for now:", *arguments, flush=True)
    if needed < left:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([sys.executable, *arguments], timeout=left)


def decide() -> dict:
    """Return which candidate is taken, if any, by the 3,589 faces of PublicTest, and why.

    It is the one with most of them right, of equal ones the one with more of the held-out faces,
    if that is more than one more seed of "modern" would have right in 95 of 100 cases, by its
    recorded seeds on the same faces.
    """
    modern = [run.hits("PublicTest")[0] for run in runs.recorded(runs.SHOWN_CNN)]
    limit = ablation.next_seed(modern).high
    found = {name: runs.recorded(f"with-{name}-cnn")[0] for name in recipes.NEXT}
    hits = {name: (run.hits("PublicTest")[0], run.hits()[0]) for name, run in found.items()}
    best = max(hits, key=hits.get)
    taken = best if hits[best][0] > limit else None
    return {"PublicTest and held-out": hits, "must exceed": limit, "taken": taken}


def keep_best(name: str, data: faces.Faces) -> None:
    """Keep the weights of the recorded run that is best on its held-out faces, if they are here."""
    best = max(runs.recorded(name), key=lambda run: np.divide(*run.hits()), default=None)
    if best and runs.run_folder("cnn", data, best.recipe).exists():
        weights.keep(best, data)

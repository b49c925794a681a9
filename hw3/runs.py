"""Runs on disk: the key of a run, save and load; the recorded runs.

A finished run is a folder `_build/runs/<network>-<profile>-<key>/`:

    run.json           recipe, data, versions, device, seconds; written last, with the checksums of the other files
    history.csv        one row an epoch: accuracy and loss on the training images, val_ ones on the held-out images
    predictions.npz    of each predicted part the rows (as steps from one to the next), true labels and probabilities, no pickles
    model.weights.h5   the trained weights

A recorded run is the same folder, committed as `results/fer2013/<recipe>-<network>/` (with
`-seed<n>` for seeds other than 0), with probabilities as float16, rounded histories and no weights.
`cnn.npz` beside them has the weights of the best "modern" CNN.
"""

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from hw3.disk import ROOT, build_dir, digest, locked, write_atomically
from hw3.recipes import Recipe, recipe

SOURCES = ("models.py", "train.py")  # the code that decides a run, beside the recipe and the faces
RECORDED = ROOT / "results" / "fer2013"
SHOWN = {
    "recorded": [],
    "own": [],
}  # the Runs that this process has used: the head of a page names them
NOT_TRAINED = "no trained {network} for these faces and this recipe: first run python -m hw3 train {network}, same options"


@dataclass(frozen=True)
class Run:
    """What a training gave.

    history maps "loss", "accuracy", "val_loss", "val_accuracy" to one value an epoch. predictions
    maps a part ("held-out", "PublicTest", ...) to (rows in the faces (n,), true labels (n,), 255
    where unlabeled, probabilities (n, 7) float32).
    """

    network: str
    recipe: Recipe
    data: str
    fingerprint: str
    trained_on: int
    history: dict[str, list[float]]
    predictions: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    versions: dict[str, str]
    device: str
    seconds: float
    epoch_seconds: list[float]
    date: str
    final: dict[str, float] = field(
        default_factory=dict
    )  # the same val_ values after "precise_norm", where the recipe has it
    # what a person must know of this run beside all that; printed where the recorded runs are
    # listed
    note: str = ""

    def predicted(self, part: str = "held-out") -> tuple[np.ndarray, np.ndarray]:
        """Return the true and the predicted labels (n,) of a part."""
        _, labels, probabilities = self.predictions[part]
        return labels, probabilities.argmax(1)

    def hits(self, part: str = "held-out") -> tuple[int, int]:
        """Return how many faces of a part were classified correctly, and of how many."""
        labels, predicted = self.predicted(part)
        return int((labels == predicted).sum()), len(labels)

    def label(self) -> str:
        """Return what every figure of results says of its run: data, recipe, profile, images,
        epochs, device.
        """
        r = self.recipe
        return f"{self.data}, recipe {r.name}, profile {r.profile}, {self.trained_on:,} images x {r.epochs} epochs, {self.device}"


def versions() -> dict[str, str]:
    """Return the versions that decide a result: Python, Keras, its backend, NumPy. Imports none of
    them.
    """
    return {
        "python": platform.python_version(),
        **{p: version(p) for p in ("keras", os.environ["KERAS_BACKEND"], "numpy")},
    }


def key(network: str, fingerprint: str, recipe: Recipe, software: dict[str, str]) -> str:
    """Return the key of a run: it changes with everything that decides the result."""
    decides = {
        "network": network,
        "data": fingerprint,
        "recipe": asdict(recipe),
        "versions": software,
    }
    return digest(
        json.dumps(decides, sort_keys=True).encode(),
        *((ROOT / "hw3" / s).read_bytes() for s in SOURCES),
    )


def save(
    run: Run,
    folder: Path,
    write_weights: Callable[[str], None] | None = None,
    precision: type = np.float32,
) -> None:
    """Write a run into a folder that appears whole or not at all; write_weights(path) adds the
    trained weights.

    precision is the type of the saved probabilities. run.json states the accuracies, so that people
    see them there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        temporary = Path(name)
        pd.DataFrame(run.history).to_csv(temporary / "history.csv", index=False)
        arrays = {}
        for part, (rows, labels, probabilities) in run.predictions.items():
            arrays[f"{part}/steps"] = np.diff(
                rows.astype(np.uint32), prepend=np.uint32(0)
            )  # mostly 1, which takes no room
            arrays[f"{part}/labels"], arrays[f"{part}/probabilities"] = (
                labels.astype(np.uint8),
                probabilities.astype(precision),
            )
        np.savez_compressed(temporary / "predictions.npz", **arrays)
        if write_weights:
            write_weights(str(temporary / "model.weights.h5"))
        about = {k: v for k, v in vars(run).items() if k not in ("history", "predictions")} | {
            "recipe": asdict(run.recipe)
        }
        right = {
            part: arrays[f"{part}/probabilities"].argmax(1) == arrays[f"{part}/labels"]
            for part in run.predictions
        }
        about["hits"] = {part: [int(r.sum()), len(r)] for part, r in right.items()}
        about["checksums"] = {f.name: digest(f.read_bytes()) for f in sorted(temporary.iterdir())}
        (temporary / "run.json").write_text(json.dumps(about, indent=1) + "\n")
        if folder.exists():  # set aside, and removed when the new one is there
            os.replace(
                folder, old := Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
            )
            try:
                os.replace(temporary, folder)
            except BaseException:
                os.replace(old, folder)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, folder)


def load(folder: Path) -> Run:
    """Read a run back. Raises FileNotFoundError where there is none and ValueError where a file of
    it is damaged.
    """
    if not (folder / "run.json").exists():
        raise FileNotFoundError(NOT_TRAINED.format(network=folder.name.partition("-")[0]))
    try:
        about = json.loads((folder / "run.json").read_text())
        about.pop("hits")  # computed from the predictions
        for name, expected in about.pop("checksums").items():
            if digest((folder / name).read_bytes()) != expected:
                raise ValueError(f"{name} does not match its checksum")
        history = pd.read_csv(folder / "history.csv").to_dict("list")
        with np.load(folder / "predictions.npz", allow_pickle=False) as saved:
            predictions = {}
            for part in dict.fromkeys(name.split("/")[0] for name in saved.files):
                rows = np.cumsum(saved[f"{part}/steps"], dtype=np.uint32).astype(np.int64)
                predictions[part] = (
                    rows,
                    saved[f"{part}/labels"],
                    saved[f"{part}/probabilities"].astype(np.float32),
                )
        return Run(
            **about | {"recipe": Recipe(**about["recipe"])},
            history=history,
            predictions=predictions,
        )
    except Exception as error:
        raise ValueError(f"the run in {folder.name} is damaged: {error}") from error


def obtain(network: str, faces, recipe: Recipe, fresh: bool = False, verbose: int = 1) -> Run:
    """Return the run of a network on faces by a recipe: the one on disk if nothing that decides it
    changed, else train it.

    fresh trains again in any case. Interrupted trainings go on from the last epoch that was saved;
    a damaged run is set aside.
    """
    folder = run_folder(network, faces, recipe)
    with locked(folder.with_suffix(".lock")):
        if not fresh:
            try:
                SHOWN["own"].append(run := load(folder))
                return run
            except FileNotFoundError:
                pass
            except ValueError as error:
                print(f"hw3: {error}; it is made again", file=sys.stderr)
        checkpoint = folder.with_suffix(".checkpoint.npz")
        if fresh:
            checkpoint.unlink(missing_ok=True)
        from hw3 import (
            train,
        )  # imports Keras, which takes seconds: only where there is something to train

        run, model = train.train(network, faces, recipe, checkpoint, verbose)
        save(run, folder, model.save_weights)
        checkpoint.unlink(missing_ok=True)
        SHOWN["own"].append(run)
        return run


def run_folder(network: str, faces, recipe: Recipe) -> Path:
    """Return the folder that the run of a network on faces by a recipe has, whether it exists or
    not.
    """
    name = f"{network}-{recipe.profile}-{key(network, faces.fingerprint, recipe, versions())}"
    return build_dir() / "runs" / name


def load_model(network: str, faces, recipe: Recipe):
    """Return the trained Keras model of a run that is on disk. Raises FileNotFoundError and
    ValueError as `load`.
    """
    folder = run_folder(network, faces, recipe)
    load(
        folder
    )  # its checksums tell damaged weights, of which HDF5 itself would make another network
    from hw3.models import NETWORKS

    model = NETWORKS[network][recipe.architecture]()
    model.load_weights(folder / "model.weights.h5")
    return model


def shown() -> dict[str, dict[str, list[str]]]:
    """Return for the "recorded" and the "own" Runs that this process has used the different data,
    profile, device and date.

    Without a run of its own, a process has worked on Keras's device or, where it never loaded
    Keras, on the CPU, today.
    """
    told = {}
    for kind, found in SHOWN.items():
        about = [(r.data, r.recipe.profile, r.device, r.date[:10]) for r in found]
        told[kind] = {
            k: sorted({a[i] for a in about})
            for i, k in enumerate(("data", "profile", "device", "date"))
        }
    if not SHOWN["own"]:
        device = "CPU"
        if "keras" in sys.modules:
            from hw3 import train

            device = train.device()
        told["own"] |= {"device": [device], "date": [datetime.now(UTC).date().isoformat()]}
    return told


# Recorded runs


def slug(run: Run) -> str:
    """Return the name of a recorded run: recipe, network, and the seed if it is not 0."""
    return f"{run.recipe.name}-{run.network}" + (
        f"-seed{run.recipe.seed}" if run.recipe.seed else ""
    )


FER2013 = 35_887  # faces
FINGERPRINT = "79c8c790bec80c02"  # of all of them in the order of fer2013.csv


def check_recordable(faces) -> None:
    """Raise ValueError unless the faces are the whole of FER2013 in the order of fer2013.csv, which
    recorded rows count in.
    """
    if faces.fingerprint != FINGERPRINT:
        todo = "name fer2013.csv or icml_face_data.csv, in its own order, with --data"
        raise ValueError(
            f"only runs on the whole of FER2013 are recorded, not on {faces.source}: {todo}"
        )


def tried(name: str) -> bool:
    """Return whether a recipe, or a recorded run of it, was only tried, to choose one: "modern"
    with or without something.
    """
    return name.startswith(("with-", "without-"))


def record(run: Run) -> Path:
    """Save a run under results/fer2013/, in place of an earlier one of its recipe, network and
    seed; return the folder.

    PrivateTest is for final recipes: what is tried to choose one ("without-..." and "with-...") is
    recorded without it. To save room, rows are sorted and numbers rounded to what a page may show;
    of what was tried, and of "fast", which is for the clock, only the predicted label is kept, with
    a probability of 1.
    """
    parts = {}
    for part, (rows, y, p) in run.predictions.items():
        if part != "PrivateTest" or not tried(run.recipe.name):
            p = np.eye(7)[p.argmax(1)] if tried(run.recipe.name) or run.recipe.name == "fast" else p
            order = np.argsort(rows)
            parts[part] = rows[order], y[order], p[order]
    history = {k: [float(f"{v:.6g}") for v in values] for k, values in run.history.items()}
    run = replace(
        run,
        predictions=parts,
        history=history,
        epoch_seconds=[round(s, 3) for s in run.epoch_seconds],
    )
    save(run, RECORDED / slug(run), precision=np.float16)
    return RECORDED / slug(run)


def rank(run: Run) -> tuple[int, int]:
    """Return what sorts runs of one recipe, the best first: by hits on PublicTest, then by seed.

    Those that learned from PublicTest are not chosen among: by seed alone.
    """
    return 0 if run.recipe.public else -run.hits("PublicTest")[0], run.recipe.seed


def recorded(name: str) -> list[Run]:
    """Return the recorded runs called name, such as "modern-cnn", sorted by `rank`: the pages show
    the first.

    `cnn.npz` has the weights of the first "modern-cnn". An empty list where nothing is recorded.
    """
    found = [load(p.parent) for p in RECORDED.glob(f"{name}*/run.json")]
    found = [r for r in found if f"{r.recipe.name}-{r.network}" == name]
    found.sort(key=rank)
    SHOWN["recorded"] += found
    return found


def changes(run: Run) -> dict[str, tuple]:
    """Return the fields in which a run differs from its recipe as it is today: {field: (the run's
    value, today's)}.
    """
    today = vars(recipe(run.network, run.recipe.profile, run.recipe.name, seed=run.recipe.seed))
    return {k: (v, today[k]) for k, v in vars(run.recipe).items() if v != today[k]}


def recorded_names() -> list[str]:
    """Return the names of all recorded runs without their seeds, sorted."""
    return sorted({p.parent.name.partition("-seed")[0] for p in RECORDED.glob("[!.]*/run.json")})


SMALL = RECORDED / "cnn.npz"


def one_byte(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a kernel (..., outputs) rounded to int8, and the float32 scale (1, ..., outputs) of
    each output channel.
    """
    scale = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)), keepdims=True) / 127 + 1e-12
    return np.round(kernel / scale).astype(np.int8), scale.astype(np.float32)


def rounded(model):
    """Return a Keras model like this one with its kernels rounded to one byte, as the page has
    them.
    """
    from hw3.models import NETWORKS

    small = NETWORKS[model.name]["original"]()
    small.set_weights([np.multiply(*one_byte(w)) if w.ndim > 1 else w for w in model.get_weights()])
    return small


def save_small(model, about: dict) -> None:
    """Write a model's weights in one byte each (`one_byte`); vectors, such as biases, stay float32.
    No pickles.

    about (JSON) says where they come from.
    """
    arrays = {"about": np.array(json.dumps(about))}
    for i, w in enumerate(model.get_weights()):
        if w.ndim > 1:
            arrays[f"q{i}"], arrays[f"s{i}"] = one_byte(w)
        else:
            arrays[f"w{i}"] = w
    write_atomically(SMALL, lambda file: np.savez_compressed(file, **arrays))


def _small() -> tuple[dict, dict[str, np.ndarray]]:
    """Return what is said about the recorded weights, and the arrays. Raises FileNotFoundError or
    ValueError in one line.
    """
    if not SMALL.exists():
        raise FileNotFoundError(
            f"no recorded weights at results/fer2013/{SMALL.name}: first run python -m hw3 record modern-cnn"
        )
    try:
        with np.load(SMALL, allow_pickle=False) as saved:
            return json.loads(str(saved["about"])), dict(saved)
    except Exception as error:
        raise ValueError(
            f"the weights in results/fer2013/{SMALL.name} are damaged: {error}"
        ) from error


def about_small() -> dict:
    """Return what is said about the recorded CNN, without Keras. Raises as `load_small`."""
    return _small()[0]


def load_small():
    """Return the recorded CNN (a Keras model) and what is said about it. Raises FileNotFoundError
    or ValueError in one line.
    """
    about, saved = _small()
    from hw3.models import NETWORKS

    model = NETWORKS["cnn"][about["architecture"]]()
    count = len(model.get_weights())
    model.set_weights(
        [
            saved[f"w{i}"] if f"w{i}" in saved else saved[f"q{i}"] * saved[f"s{i}"]
            for i in range(count)
        ]
    )
    return model, about

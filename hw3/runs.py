"""Runs on disk: what a training gave, its key, save and load; and the recorded runs.

A finished run is a folder `_build/runs/<network>-<profile>-<key>/`:
    run.json           recipe, data, versions, device, seconds, checksums of the other files
    history.csv        a row an epoch: accuracy and loss, val_ ones on the held-out images
    predictions.npz    of each part: steps from row to row, true labels, probabilities; no pickles
    model.weights.h5   the trained weights
A recorded one is `results/fer2013/<recipe>-<network>[-seed<n>]/`, rounded and without weights;
those on drawn faces, which say nothing of people, are in `results/drawn/`.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from hw3 import machine
from hw3.disk import ROOT, build_dir, digest
from hw3.recipes import Recipe, recipe
from hw3.sources.fer2013 import FINGERPRINT

# the code that decides a run, beside the recipe and the faces; faces.py tells identical pictures
SOURCES = ("backend.py", "machine.py", "models.py", "train.py")
SOURCES += ("sources/fer2013.py", "sources/images.py")
RECORDED = ROOT / "results" / "fer2013"
DRAWN = ROOT / "results" / "drawn"
SHOWN_CNN, SHOWN_DNN = "modern-cnn", "modern-dnn"  # the recorded runs that pages show
DRAWN_CNN = "drawn-cnn"  # and of the drawn faces
GONE = "blur", "noise"  # distortions that recipes once had, 0 in every recorded run


@dataclass(frozen=True)
class Run:
    """What a training gave.

    predictions maps a part ("held-out", "PublicTest", ...) to rows of the faces (n,), true labels
    (n,), 255 where unlabeled, and probabilities (n, 7) float32.
    """

    network: str
    recipe: Recipe
    data: str
    fingerprint: str
    trained_on: int
    history: dict[str, list[float]]  # "loss", "accuracy" and val_ ones: one value an epoch
    predictions: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    versions: dict[str, str]
    device: str
    seconds: float
    epoch_seconds: list[float]
    date: str
    final: dict[str, float] = field(default_factory=dict)  # val_ values after "precise_norm"
    note: str = ""  # what else a person must know; printed where the recorded runs are listed

    def predicted(self, part: str = "held-out") -> tuple[np.ndarray, np.ndarray]:
        """Return the true and the predicted labels (n,) of a part."""
        _, labels, probabilities = self.predictions[part]
        return labels, probabilities.argmax(1)

    def hits(self, part: str = "held-out") -> tuple[int, int]:
        """Return how many faces of a part were classified correctly, and of how many."""
        labels, predicted = self.predicted(part)
        return int((labels == predicted).sum()), len(labels)

    def label(self) -> str:
        """Return what every figure of results says of its run."""
        r, images = self.recipe, f"{self.trained_on:,} images"  # one text is translated as one
        how = f"recipe {r.name}, profile {r.profile}, {images} x {r.epochs} epochs"
        return f"{self.data}, {how}, {self.device}"


def key(network: str, fingerprint: str, recipe: Recipe, versions: dict[str, str]) -> str:
    """Return the key of a run: it changes with everything that decides the result."""
    # no field at its default: a new one that is off changes no key
    changed = {k: v for k, v in vars(recipe).items() if v != getattr(type(recipe), k)}
    decides = {"network": network, "data": fingerprint, "recipe": changed}
    text = json.dumps(decides | {"versions": versions}, sort_keys=True)
    return digest(text.encode(), *((ROOT / "hw3" / name).read_bytes() for name in SOURCES))


def run_folder(network: str, faces, recipe: Recipe) -> Path:
    """Return the folder of the run of a network on faces by a recipe, whether it exists or not."""
    name = key(network, faces.fingerprint, recipe, machine.versions())
    return build_dir() / "runs" / f"{network}-{recipe.profile}-{name}"


def save(run: Run, folder: Path, write_weights: Callable | None = None, precision=np.float32):
    """Write a run into a folder that appears whole or not at all; run.json states the accuracies.

    write_weights(path) adds the trained weights; precision is the type of the saved probabilities.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        made, arrays, hits = Path(name, "made"), {}, {}
        made.mkdir()
        pd.DataFrame(run.history).to_csv(made / "history.csv", index=False)
        for part, (rows, labels, p) in run.predictions.items():
            labels, p = labels.astype(np.uint8), p.astype(precision)
            steps = np.diff(rows.astype(np.uint32), prepend=np.uint32(0))  # mostly 1: no room
            arrays |= {f"{part}/steps": steps, f"{part}/labels": labels, f"{part}/probabilities": p}
            hits[part] = [int((p.argmax(1) == labels).sum()), len(labels)]
        np.savez_compressed(made / "predictions.npz", **arrays)
        if write_weights:
            write_weights(str(made / "model.weights.h5"))
        about = vars(run) | {"recipe": asdict(run.recipe), "hits": hits}
        del about["history"], about["predictions"]
        about["checksums"] = {f.name: digest(f.read_bytes()) for f in sorted(made.iterdir())}
        (made / "run.json").write_text(json.dumps(about, indent=1) + "\n")
        if folder.exists():
            os.replace(folder, Path(name, "old"))  # it goes with the temporary folder
        os.replace(made, folder)


def load(folder: Path) -> Run:
    """Read a run back. Raises FileNotFoundError without one, ValueError where it is damaged."""
    if not (folder / "run.json").exists():
        name = folder.name.partition("-")[0]
        todo = f"first run python -m hw3 train {name}, same options"
        raise FileNotFoundError(f"no trained {name} for these faces and this recipe: {todo}")
    try:
        about = json.loads((folder / "run.json").read_text())
        about.pop("hits")  # computed from the predictions
        for name, expected in about.pop("checksums").items():
            if digest((folder / name).read_bytes()) != expected:
                raise ValueError(f"{name} does not match its checksum")
        about["recipe"] = Recipe(**{k: v for k, v in about["recipe"].items() if k not in GONE})
        about["history"] = pd.read_csv(folder / "history.csv").to_dict("list")
        about["predictions"] = {}
        with np.load(folder / "predictions.npz", allow_pickle=False) as saved:
            for part in dict.fromkeys(name.split("/")[0] for name in saved.files):
                rows = np.cumsum(saved[f"{part}/steps"], dtype=np.uint32).astype(np.int64)
                p = saved[f"{part}/probabilities"].astype(np.float32)
                about["predictions"][part] = (rows, saved[f"{part}/labels"], p)
        return Run(**about)
    except Exception as error:
        todo = ": take it anew from git" if folder.parent in (RECORDED, DRAWN) else ""
        raise ValueError(f"the run in {folder.name} is damaged: {error}{todo}") from error


def unfinished(since: float) -> list[str]:
    """Return how far each training is saved that began after a time: "cnn-full up to epoch 9"."""
    begun = [p for p in (build_dir() / "runs").glob("*.lock") if p.stat().st_mtime >= since]
    saved = filter(Path.exists, (path.with_suffix(".checkpoint.npz") for path in begun))
    return [f"{p.name.rpartition('-')[0]} up to epoch {len(np.load(p)['history'])}" for p in saved]


def slug(run: Run) -> str:
    """Return the name of a recorded run: recipe, network, and the seed if it is not 0."""
    seed = f"-seed{run.recipe.seed}" if run.recipe.seed else ""
    return f"{run.recipe.name}-{run.network}{seed}"


def check_recordable(faces) -> None:
    """Raise ValueError unless faces are fer2013.csv in its order, which recorded rows count in."""
    if faces.fingerprint != FINGERPRINT:
        what = f"only runs on the whole of FER2013 are recorded, not on {faces.source}"
        todo = "name fer2013.csv or icml_face_data.csv, in its own order, with --data"
        raise ValueError(f"{what}: {todo}")


def tried(name: str) -> bool:
    """Return whether a recipe of this name is only tried out: it is not judged by PrivateTest."""
    return name.startswith(("with-", "without-"))


def record(run: Run) -> Path:
    """Save a run under results/, in place of an earlier one; return the folder.

    Of what was `tried`, and of "fast", only the predicted label is kept, as probability 1.
    """
    parts = {}
    for part, (rows, labels, p) in run.predictions.items():
        if tried(run.recipe.name) or run.recipe.name == "fast":
            p = np.eye(p.shape[1])[p.argmax(1)]
        order = np.argsort(rows)
        parts[part] = rows[order], labels[order], p[order]
    history = {k: [float(f"{v:.6g}") for v in values] for k, values in run.history.items()}
    seconds = [round(s, 3) for s in run.epoch_seconds]
    run = replace(run, predictions=parts, history=history, epoch_seconds=seconds)
    folder = (DRAWN if run.recipe.name == "drawn" else RECORDED) / slug(run)
    save(run, folder, precision=np.float16)
    return folder


def rank(run: Run) -> tuple[int, int]:
    """Return what sorts runs of one recipe: hits on PublicTest, if not learned from; the seed."""
    return 0 if run.recipe.public else -run.hits("PublicTest")[0], run.recipe.seed


def recorded(name: str) -> list[Run]:
    """Return the recorded runs called name, such as SHOWN_CNN, the first by `rank` first; or []."""
    place = DRAWN if name == DRAWN_CNN else RECORDED
    known = [load(path.parent) for path in place.glob(f"{name}*/run.json")]
    return sorted((r for r in known if f"{r.recipe.name}-{r.network}" == name), key=rank)


def recorded_names() -> list[str]:
    """Return the names of all runs recorded on FER2013 without their seeds, sorted."""
    return sorted({p.parent.name.partition("-seed")[0] for p in RECORDED.glob("[!.]*/run.json")})


def changes(run: Run) -> dict[str, tuple]:
    """Return {field: (the run's value, today's)} where a run differs from its recipe of today."""
    today = vars(recipe(run.network, run.recipe.profile, run.recipe.name, seed=run.recipe.seed))
    return {k: (v, today[k]) for k, v in vars(run.recipe).items() if v != today[k]}

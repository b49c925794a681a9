"""The state of a training on disk, from which an interrupted one goes on as if never broken off."""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops

from hw3.disk import write_atomically


def resume(path: Path | None, model: keras.Model) -> tuple[dict[str, list[float]], list[float]]:
    """Return history and seconds of a saved state, put into the model; without one, empty ones.

    A damaged file is removed, and a line on stderr says so.
    """
    if path and path.exists():
        try:
            return load(path, model)
        except ValueError as error:
            print(f"hw3: {error}; the training starts again", file=sys.stderr)
            path.unlink()
    return {}, []


def state(model: keras.Model) -> list:
    """Return all variables that training changes, so not the stored faces.

    They are weights, random generators and what the optimizer remembers.
    """
    return [v for v in model.variables if v.dtype != "uint8"] + model.optimizer.variables


def save(path: Path, model: keras.Model, history: dict, seconds: list[float]) -> None:
    """Write all that a training needs to go on: state, history, seconds of each epoch."""
    arrays = {f"v{i}": ops.convert_to_numpy(v) for i, v in enumerate(state(model))}
    arrays |= {f"history_{name}": np.array(values) for name, values in history.items()}
    write_atomically(path, lambda file: np.savez(file, seconds=seconds, **arrays))


def load(path: Path, model: keras.Model) -> tuple[dict[str, list[float]], list[float]]:
    """Put a saved state into the model; return its history and the seconds of each epoch so far.

    Raises ValueError, in one line and before anything is changed, where the file is damaged; zip's
    own checksums tell.
    """
    try:
        with np.load(path, allow_pickle=False) as zipped:
            saved = {name: zipped[name] for name in zipped.files}
        values = [saved[f"v{i}"] for i in range(len(state(model)))]
        names = [name for name in saved if name.startswith("history_")]
        history = {name.removeprefix("history_"): saved[name].tolist() for name in names}
        seconds = saved["seconds"].tolist()
    except Exception as error:  # whatever NumPy and zipfile raise for odd bytes
        raise ValueError(f"the checkpoint {path.name} is damaged: {error}") from error
    for variable, value in zip(state(model), values, strict=True):
        variable.assign(value)
    return history, seconds

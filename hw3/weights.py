"""Trained networks from disk: of own runs, and at one byte a weight the best of the recorded CNNs:
SMALL of SHOWN_CNN, SMALL_DRAWN of DRAWN_CNN.
"""

import json

import numpy as np

from hw3.disk import write_atomically
from hw3.recipes import Recipe
from hw3.runs import DRAWN, DRAWN_CNN, RECORDED, SHOWN_CNN, load, run_folder

SMALL, SMALL_DRAWN = RECORDED / "cnn.npz", DRAWN / "cnn.npz"


def load_model(network: str, faces, recipe: Recipe):
    """Return the trained Keras model of a run that is on disk. Raises as `runs.load`."""
    folder = run_folder(network, faces, recipe)
    load(folder)  # its checksums tell damaged weights, of which HDF5 would make another network
    model = _build(network, recipe.architecture)
    model.load_weights(folder / "model.weights.h5")
    return model


def _build(network: str, architecture: str):
    from hw3.models import NETWORKS  # imports Keras, which takes seconds

    return NETWORKS[network][architecture]()


def one_byte(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a kernel (..., outputs) as int8, and the scale (1, ..., outputs) of each output."""
    scale = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)), keepdims=True) / 127 + 1e-12
    return np.round(kernel / scale).astype(np.int8), scale.astype(np.float32)


def rounded(model):
    """Return a Keras model like this one with its kernels rounded to one byte, as pages have it."""
    from hw3.backend import keras

    small = keras.models.clone_model(model)
    small.set_weights([np.multiply(*one_byte(w)) if w.ndim > 1 else w for w in model.get_weights()])
    return small


def save_small(model, about: dict, recipe: str = "modern") -> None:
    """Write a model's kernels as `one_byte`, its vectors as float32 and about, which is JSON."""
    arrays = {"about": np.array(json.dumps(about))}
    for i, w in enumerate(model.get_weights()):
        if w.ndim > 1:
            arrays[f"q{i}"], arrays[f"s{i}"] = one_byte(w)
        else:
            arrays[f"w{i}"] = w
    others = RECORDED.parent / "experiments" / f"{recipe}-cnn.npz"
    place = {"modern": SMALL, "drawn": SMALL_DRAWN}.get(recipe, others)
    write_atomically(place, lambda file: np.savez_compressed(file, **arrays))


def load_small(drawn=False):
    """Return the CNN recorded of FER2013 or drawn faces, and its about. Raises as `runs.load`."""
    about, saved = _small(drawn)
    model, arrays = _build("cnn", about["architecture"]), []
    for i in range(len(model.get_weights())):
        whole = f"w{i}" in saved
        arrays.append(saved[f"w{i}"] if whole else saved[f"q{i}"] * saved[f"s{i}"])
    model.set_weights(arrays)
    return model, about


def about_small(drawn=False) -> dict:
    """Return what is said about the recorded CNN, without Keras. Raises as `load_small`."""
    return _small(drawn)[0]


def _small(drawn: bool) -> tuple[dict, dict[str, np.ndarray]]:
    """Return what is said about the recorded weights, and the arrays."""
    path, run = (SMALL_DRAWN, DRAWN_CNN) if drawn else (SMALL, SHOWN_CNN)
    place = f"results/{'drawn' if drawn else 'fer2013'}/{path.name}"
    if not path.exists():
        todo = f"first run python -m hw3 record {run}"
        raise FileNotFoundError(f"no recorded weights at {place}: {todo}")
    try:
        with np.load(path, allow_pickle=False) as saved:
            return json.loads(str(saved["about"])), dict(saved)
    except Exception as error:
        problem = f"the weights in {place} are damaged: {error}"
        raise ValueError(f"{problem}: take them anew from git") from error

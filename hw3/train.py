"""Train a network on faces by a recipe: (network, faces, recipe) -> Run. Pure Keras 3, so any backend."""

import math
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from hw3.faces import PARTS, TRAINING, UNLABELED, Faces, FacesError
from hw3.models import NETWORKS
from hw3.recipes import Recipe
from hw3.runs import Run, versions, write_atomically

CLIP = 1e-7  # Keras clipped probabilities here in 2018
SAVE_EVERY = 20.0  # seconds of training after which the next finished epoch is saved; writing the state takes a second


def split(faces: Faces, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of Training to learn from and the held-out rows, both in random order and capped by the recipe.

    The same faces, seed and share always give the same held-out rows, whatever the caps of learning are.
    Raises FacesError where Training has too few labeled faces to hold any out.
    """
    rows = np.flatnonzero((faces.part == TRAINING) & (faces.labels != UNLABELED))
    n = round(recipe.held_out * len(rows))
    if n < 1:
        raise FacesError(f"{faces.source}: {len(rows)} labeled Training faces are too few to train on and hold some out")
    rows = np.random.default_rng(recipe.seed).permutation(rows)
    return rows[n:][: recipe.train_cap], rows[:n][: recipe.held_out_cap]


def augmentation(recipe: Recipe) -> list[layers.Layer]:
    """Return the recipe's random distortions as Keras layers; they act in training only."""
    s, fill = recipe.seed, {"fill_mode": "nearest"}
    shear = math.tan(math.radians(recipe.shear))
    wanted = [
        (recipe.flip, lambda: layers.RandomFlip("horizontal", seed=s)),
        (recipe.rotation, lambda: layers.RandomRotation(recipe.rotation / 360, seed=s + 1, **fill)),
        (recipe.shear, lambda: layers.RandomShear(x_factor=shear, seed=s + 2, **fill)),
        (recipe.zoom, lambda: layers.RandomZoom(recipe.zoom, recipe.zoom, seed=s + 3, **fill)),
    ]
    return [make() for size, make in wanted if size]


def clipped_loss(labels, probabilities):
    """Return -ln of the true class's probability, clipped to [1e-7, 1 - 1e-7]: beyond the clip its gradient is zero."""
    chosen = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), probabilities.shape[-1])
    true = ops.sum(chosen * probabilities, axis=-1)
    return -ops.log(ops.clip(true, CLIP, 1 - CLIP))


def trainer(network: keras.Model, recipe: Recipe, steps: int) -> keras.Model:
    """Return the compiled model that is fitted: uint8 faces -> [0, 1] -> augmentation -> the network, sharing its weights.

    Under the stable loss it ends at the logits, under the clipped one at the probabilities. steps: of the whole training.
    """
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = recipe.norm_momentum
    stable = recipe.loss == "stable"
    core = keras.Model(network.inputs, network.get_layer("logits").output) if stable else network
    faces = x = keras.Input((48, 48, 1), dtype="uint8")
    for layer in [layers.Rescaling(1 / 255), *augmentation(recipe), core]:
        x = layer(x)
    model = keras.Model(faces, x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if stable else clipped_loss
    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        loss,
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=keras.backend.backend() == "jax",  # XLA is slower than plain TensorFlow on the CPU
    )
    return model


def predict(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the probabilities (N, 7) float32 of uint8 images (N, 48, 48)."""
    batches = [images[i : i + 128, ..., None] / np.float32(255) for i in range(0, len(images), 128)]
    return np.concatenate([ops.convert_to_numpy(network(b, training=False)) for b in batches])


def save_state(path: Path, model: keras.Model, history: dict[str, list[float]], seconds: float) -> None:
    """Write all that a training needs to go on: weights, optimizer, random generators, history."""
    arrays = {f"v{i}": ops.convert_to_numpy(v) for i, v in enumerate(model.variables + model.optimizer.variables)}
    arrays |= {f"history_{name}": np.array(values) for name, values in history.items()}
    write_atomically(path, lambda file: np.savez(file, seconds=seconds, **arrays))


def load_state(path: Path, model: keras.Model) -> tuple[dict[str, list[float]], float]:
    """Put a saved state into the model; return its history and the seconds spent so far."""
    with np.load(path, allow_pickle=False) as saved:
        for i, v in enumerate(model.variables + model.optimizer.variables):
            v.assign(saved[f"v{i}"])
        history = {name.removeprefix("history_"): saved[name].tolist() for name in saved.files if "history_" in name}
        return history, float(saved["seconds"])


def train(name: str, faces: Faces, recipe: Recipe, checkpoint: Path | None = None, verbose: int = 1) -> tuple[Run, keras.Model]:
    """Train the network called name ("cnn" or "dnn") and return its Run and the trained network.

    With a checkpoint path the state is saved after an epoch, at most every SAVE_EVERY seconds, and a training that finds a
    saved state goes on from there.
    Raises FacesError where the faces are too few.
    """
    learn, held = split(faces, recipe)
    keras.utils.set_random_seed(recipe.seed)
    network = NETWORKS[name]()
    model = trainer(network, recipe, recipe.epochs * math.ceil(len(learn) / recipe.batch))
    model.optimizer.build(model.trainable_variables)
    x, y = faces.images[..., None], faces.labels
    history, before, start = {}, 0.0, time.perf_counter()
    saved = start
    if checkpoint and checkpoint.exists():
        history, before = load_state(checkpoint, model)
    elif recipe.first_step:
        model.optimizer.learning_rate = recipe.first_step
        model.train_on_batch(x[learn[: recipe.batch]], y[learn[: recipe.batch]])
        model.optimizer.learning_rate = recipe.learning_rate
    for epoch in range(len(history.get("loss", ())), recipe.epochs):
        order = np.random.default_rng((recipe.seed, epoch)).permutation(learn)
        keras.utils.set_random_seed(recipe.seed + epoch)
        fitted = model.fit(
            x[order],
            y[order],
            batch_size=recipe.batch,
            shuffle=False,
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=(x[held], y[held]),
            validation_batch_size=128,
            verbose=verbose,
        )
        for key, values in fitted.history.items():
            history.setdefault(key, []).extend(values)
        if checkpoint and time.perf_counter() - saved >= SAVE_EVERY:
            save_state(checkpoint, model, history, before + time.perf_counter() - start)
            saved = time.perf_counter()
    seconds = before + time.perf_counter() - start
    parts = {"held-out": held}
    if recipe.tests:
        parts |= {part: np.flatnonzero(faces.part == PARTS.index(part)) for part in ("PublicTest", "PrivateTest", "Test")}
    predictions = {
        part: (rows, faces.labels[rows], predict(network, faces.images[rows])) for part, rows in parts.items() if len(rows)
    }
    run = Run(
        network=name,
        recipe=recipe,
        data=faces.name,
        fingerprint=faces.fingerprint,
        trained_on=len(learn),
        history=history,
        predictions=predictions,
        versions=versions(),
        device=device(),
        seconds=seconds,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return run, network


def logistic(faces: Faces, recipe: Recipe) -> np.ndarray:
    """Return the held-out labels that a logistic regression on the raw pixels predicts, learned from the recipe's images."""
    from sklearn.linear_model import LogisticRegression

    learn, held = split(faces, recipe)
    pixels = faces.images.reshape(len(faces), -1)
    model = LogisticRegression(C=0.01, max_iter=1000).fit(pixels[learn] / np.float32(255), faces.labels[learn])
    return model.predict(pixels[held] / np.float32(255))


def device() -> str:
    """Return the device that Keras trains on, in words, such as "GPU gpu:0" or "CPU AMD EPYC"."""
    gpus = [d for d in keras.distribution.list_devices() if not d.startswith("cpu")]
    if gpus:
        return "GPU " + ", ".join(gpus)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0] if names else platform.processor() or platform.machine()}"

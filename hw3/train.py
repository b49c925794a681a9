"""Train a network on faces by a recipe, in Keras 3 alone: (network, faces, recipe) -> Run."""

import contextlib
import functools
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from hw3 import machine
from hw3.backend import keras, layers, ops
from hw3.disk import write_atomically
from hw3.faces import Faces, FacesError, identical
from hw3.models import NETWORKS, Distortion, Stored
from hw3.recipes import Recipe
from hw3.runs import Run, tried
from hw3.sources.fer2013 import N_CLASSES, PARTS, PRIVATE, PUBLIC, SIDE, TRAINING, UNLABELED

CLIP = 1e-7  # Keras clipped probabilities here in 2018
JIT = keras.backend.backend() == "jax"  # XLA is slower than plain TensorFlow on the CPU
PREDICTION_BATCH = (128, 1024)  # on a CPU and on a GPU: one compiled step serves all faces
ONE_BATCH = 16  # so few faces are predicted at once, not as part of so large a batch
SAVE_EVERY = 20.0  # seconds between saves of the state, each of which takes a second


def train(name: str, faces: Faces, recipe: Recipe, path: Path | None = None) -> tuple:
    """Train the network called name ("cnn" or "dnn"); return its Run and the trained keras.Model.

    An epoch leaves out the faces that fill no last batch, other ones each time. Every SAVE_EVERY
    seconds the state is saved at path, if any, from where an interrupted training goes on. Raises
    FacesError for too few faces and ValueError where the loss is not a number any more.
    """
    job = Job(name, faces, recipe)
    history = resume(path, job.model)
    seconds = history.setdefault("seconds", [])  # of each epoch
    # the build shows such lines, up to a semicolon, while it runs
    print(f"epoch {len(seconds)} of {recipe.epochs}, {name}", flush=True)
    saved = time.perf_counter()
    for epoch in range(len(seconds), recipe.epochs):
        start = time.perf_counter()
        reached = fit_epoch(job, epoch) | score(job)
        both = reached["loss"] + reached["val_loss"]
        if not np.isfinite(both):
            todo = "lower learning_rate or the distortions with --set"
            raise ValueError(f"epoch {epoch + 1}: the loss is {both:g}: {todo}")
        reached["seconds"] = time.perf_counter() - start
        for key, value in reached.items():
            history.setdefault(key, []).append(value)
        accuracy, speed = reached["val_accuracy"], job.steps * job.batch / seconds[-1]
        left = timedelta(seconds=round((recipe.epochs - epoch - 1) * np.median(seconds)))
        said = f"{accuracy:.4f}, {left} left; loss {reached['loss']:.4f}, {speed:,.0f} images/s"
        print(f"epoch {epoch + 1} of {recipe.epochs}, held-out accuracy {said}", flush=True)
        if path and time.perf_counter() - saved >= SAVE_EVERY:
            save_state(path, job.model, history)
            saved = time.perf_counter()
    return finish(job, history), job.network


class Job:
    """What a training works with. Its network predicts, in full precision on one device.

    What is fitted, its twin inside the model, may be in less precision and on several devices.
    """

    def __init__(self, name: str, faces: Faces, recipe: Recipe):
        self.name, self.faces, self.recipe = name, faces, recipe
        self.learn, self.held = split(faces, recipe)
        self.batch = min(recipe.batch, len(self.learn))
        self.steps = len(self.learn) // self.batch  # of an epoch
        self.one_hot = (faces.labels[:, None] == np.arange(N_CLASSES)).astype(np.float32)
        self.devices = data_parallel(self.batch)
        build = NETWORKS[name][recipe.architecture]
        keras.utils.set_random_seed(recipe.seed)
        self.network = build()
        self.logits = without_softmax(self.network)
        with self.devices():
            keras.config.set_dtype_policy(recipe.dtype)
            try:
                self.fitted = build()
                self.model = trainer(self.fitted, faces.images, recipe, recipe.epochs * self.steps)
            finally:
                keras.config.set_dtype_policy("float32")
            self.model.optimizer.build(self.model.trainable_variables)


def fit_epoch(job: Job, epoch: int) -> dict[str, float]:
    """Fit whole batches in this epoch's order; return the means of "loss" and "accuracy"."""
    rng = np.random.default_rng((job.recipe.seed, epoch))
    rows = rng.permutation(job.learn)[: job.steps * job.batch].astype(np.int32)
    host, count = hosts()  # each passes its part of every batch
    mine = np.arange(len(rows)).reshape(-1, count, job.batch // count)[:, host].ravel()
    x, y = rows[mine], job.one_hot[rows]
    if job.recipe.mixup:
        share = rng.beta(job.recipe.mixup, job.recipe.mixup, (len(rows), 1)).astype(np.float32)
        before = np.roll(y.reshape(job.steps, job.batch, N_CLASSES), 1, axis=1).reshape(y.shape)
        x, y = (x, share[mine]), share * y + (1 - share) * before
    given = feed(job.batch // count, x, y[mine])
    trained = Trained()
    callbacks = [trained] if job.recipe.ema else []
    with job.devices():
        means = job.model.fit(shuffle=False, verbose=0, callbacks=callbacks, **given).history
    job.network.set_weights(job.fitted.get_weights())
    if job.recipe.ema:
        for variable, value in zip(job.model.trainable_variables, trained.values, strict=True):
            variable.assign(value)
    return {key: float(values[-1]) for key, values in means.items()}


class Trained(keras.callbacks.Callback):
    """Keeps the weights of an epoch's last step, which fit exchanges for their moving averages."""

    def on_epoch_end(self, epoch, logs=None):
        self.values = [ops.convert_to_numpy(v) for v in self.model.trainable_variables]


def score(job: Job) -> dict[str, float]:
    """Return "val_loss", clipped as the recipe says but never smoothed, and "val_accuracy"."""
    labels = job.faces.labels[job.held]
    z = predict(job.logits, job.faces.images[job.held]).astype(float)
    log_p = log_softmax(z, axis=1)
    if job.recipe.loss == "clipped":
        log_p = np.log(np.clip(np.exp(log_p), CLIP, 1 - CLIP))
    mean = -log_p[np.arange(len(labels)), labels].mean()
    return {"val_loss": float(mean), "val_accuracy": float((z.argmax(1) == labels).mean())}


def finish(job: Job, history: dict) -> Run:
    """Return the Run of a fitted model; the network has its weights, BatchNorm made precise."""
    faces, recipe, final, seconds = job.faces, job.recipe, {}, history.pop("seconds")
    job.model.optimizer.finalize_variable_values(job.model.trainable_variables)  # with ema
    job.network.set_weights(job.fitted.get_weights())  # the last epoch may be a saved one
    if recipe.precise_norm:
        start = time.perf_counter()
        rows = np.random.default_rng(recipe.seed).permutation(job.learn)
        precise_norm(job.network, faces.images[rows], job.batch)
        final = score(job)
        final["seconds"] = time.perf_counter() - start
        what, accuracy = "BatchNorm's statistics of undistorted faces", final["val_accuracy"]
        print(f"with {what}: held-out accuracy {accuracy:.4f}", flush=True)
    about = {"data": faces.name, "fingerprint": faces.fingerprint, "trained_on": len(job.learn)}
    about |= {"versions": machine.versions(), "device": machine.device(), "seconds": sum(seconds)}
    about |= {"epoch_seconds": seconds, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    gave = {"history": history, "predictions": predictions(job), "final": final}
    return Run(network=job.name, recipe=recipe, **about, **gave)


def split(faces: Faces, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to learn from and the held-out rows, in random order, capped by the recipe.

    They are of Training, and of PublicTest where the recipe is `public`. Equal pictures stand on
    both sides as chance has it, or, where the recipe keeps them `together`, on one: a group that
    the cut would divide is held out whole. Raises FacesError where a side or PublicTest is empty.
    """
    source, codes = faces.source, [TRAINING, PUBLIC] if recipe.public else [TRAINING]
    if recipe.public and PUBLIC not in faces.part:
        todo = "take recipe modern, or fer2013.csv"
        raise FacesError(f"{source}: it has no PublicTest to learn from: {todo}")
    rows = np.flatnonzero(np.isin(faces.part, codes) & (faces.labels != UNLABELED))
    n = round(recipe.held_out * len(rows))
    if n < 1:
        problem = f"{len(rows)} labeled faces are too few"
        raise FacesError(f"{source}: {problem} to train on and hold some out")
    rows = np.random.default_rng(recipe.seed).permutation(rows)
    if recipe.together:
        group = identical(faces.images[rows])
        first = np.unique(group, return_index=True)[1][group]  # where the first of a group stands
        order = np.argsort(first, kind="stable")  # all of a group move up to its first
        rows, first = rows[order], first[order]
        n = int(np.searchsorted(first, first[n - 1], side="right"))
    if n == len(rows):
        problem = f"of {n} labeled faces none is left to learn from"
        raise FacesError(f"{source}: {problem}: hold out fewer")
    return rows[n:][: recipe.train_cap], rows[:n][: recipe.held_out_cap]


def trainer(network: keras.Model, images: np.ndarray, recipe: Recipe, steps: int) -> keras.Model:
    """Return the compiled model that is fitted in so many steps, sharing the network's weights.

    Row numbers -> stored faces -> distortion -> the network, to its logits under the stable loss,
    is one compiled step, so that a GPU never waits for Python to prepare a batch.
    """
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = recipe.norm_momentum
    core, loss = network, clipped_loss
    if recipe.loss == "stable":
        core, smoothing = without_softmax(network), recipe.smoothing
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    inputs = rows = keras.Input((), dtype="int32")
    x = Distortion(recipe)(Stored(images)(rows))
    if recipe.mixup:  # with the face before it in its batch (Zhang et al. 2018, arXiv 1710.09412)
        inputs = rows, keras.Input((1,))
        share = inputs[1][..., None, None]
        x = share * x + (1 - share) * ops.roll(x, 1, axis=0)
    outputs = core(x)
    model = keras.Model(inputs, layers.Activation("linear", dtype="float32")(outputs))
    # of a metric's name alone Keras would make it in the first step, which is then traced twice
    metrics = [keras.metrics.CategoricalAccuracy("accuracy")]
    ahead = 8 if JIT and machine.accelerators() else 1  # so that Python stays ahead of the GPU
    calls = {"jit_compile": JIT, "steps_per_execution": ahead}
    model.compile(optimizer(recipe, steps), loss, metrics=metrics, **calls)
    return model


def without_softmax(network: keras.Model) -> keras.Model:
    """Return the network up to its logits, sharing its weights."""
    return keras.Model(network.inputs, network.get_layer("logits").output)


def clipped_loss(labels, probabilities):
    """Return -ln of the true class's probability, clipped, beyond which its gradient is zero."""
    return -ops.log(ops.clip(ops.sum(labels * probabilities, axis=-1), CLIP, 1 - CLIP))


def optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """Return the recipe's optimizer for a training of so many steps."""
    rate, options = recipe.learning_rate, {"weight_decay": recipe.weight_decay or None}
    if recipe.first_step:
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([0], [recipe.first_step, rate])
    if recipe.ema:
        options |= {"use_ema": True, "ema_momentum": recipe.ema}
    if recipe.schedule == "cosine":
        warm = round(recipe.warmup * steps)
        rise = {"initial_learning_rate": 0.0, "warmup_target": rate, "warmup_steps": warm}
        rate = keras.optimizers.schedules.CosineDecay(decay_steps=steps - warm, **rise)
    if recipe.optimizer == "sgd":
        made = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **options)
    else:
        made = keras.optimizers.Adam(rate, **options)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made


def data_parallel(batch: int) -> Callable[[], contextlib.AbstractContextManager]:
    """Return what makes the scope that distributes batches over as many devices as divide them."""
    devices = keras.distribution.list_devices() if JIT else []
    count = max((n for n in range(1, len(devices) + 1) if batch % n == 0), default=1)
    if count == 1:
        return contextlib.nullcontext
    return keras.distribution.DataParallel(devices=devices[:count], auto_shard_dataset=False).scope


def hosts() -> tuple[int, int]:
    """Return the number of this host and how many train together (JAX only); alone (0, 1)."""
    if not JIT:
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def feed(size: int, *arrays: np.ndarray) -> dict:
    """Return what fit() and predict() are given to read arrays in order, in batches of so many."""
    if keras.backend.backend() != "tensorflow":
        return dict(zip("xy", arrays, strict=False), batch_size=size)
    from tensorflow.data import Dataset, Options  # in Keras's own many a step runs on one core

    options = Options()
    options.autotune.enabled = False  # with it fit() was seen to idle after an epoch
    data = Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0])
    return {"x": data.batch(size).with_options(options)}


def resume(path: Path | None, model: keras.Model) -> dict[str, list[float]]:
    """Put a saved state, if whole, into the model; return its history, else an empty one."""
    if not path or not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as zipped:
            saved = dict(zipped)
        values = [saved[f"arr_{i}"] for i in range(len(state(model)))]
        history = pd.DataFrame(saved["history"]).to_dict("list")
    except Exception as error:  # whatever NumPy and zip's checksums raise for odd bytes
        problem = f"the checkpoint {path.name} is damaged: {error}"
        print(f"hw3: {problem}; the training starts again", file=sys.stderr)
        path.unlink()
        return {}
    for variable, value in zip(state(model), values, strict=True):
        variable.assign(value)
    return history


def save_state(path: Path, model: keras.Model, history: dict[str, list[float]]) -> None:
    """Write all that a training needs to go on as if it had never been broken off."""
    values, table = map(ops.convert_to_numpy, state(model)), pd.DataFrame(history)
    write_atomically(path, lambda f: np.savez(f, *values, history=table.to_records(index=False)))


def state(model: keras.Model) -> list:
    """Return all that training changes: weights, random generators, the optimizer's variables."""
    return [v for v in model.variables if v.dtype != "uint8"] + model.optimizer.variables


def precise_norm(network: keras.Model, images: np.ndarray, batch: int) -> None:
    """Let BatchNorm take its means and variances anew, averaged over all batches of these images.

    Those of a training come from distorted faces ("Precise BatchNorm": Wu and Johnson 2021, arXiv
    2105.07576). images: uint8 (N, 48, 48), in random order, at least one batch.
    """
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0  # the moving averages are those of the last batch
    learn = functools.partial(network.stateless_call, training=True)
    if JIT:  # step by step, a GPU would compile each operation alone
        import jax

        learn = jax.jit(learn)
    weights = [v.value for v in network.trainable_variables]
    others = network.non_trainable_variables
    now = [v.value for v in others]
    moving = [i for i, v in enumerate(others) if v.name in ("moving_mean", "moving_variance")]
    total, count = [0.0] * len(moving), len(images) // batch
    for i in range(count):
        x = images[i * batch : (i + 1) * batch, ..., None] / np.float32(255)
        _, now = learn(weights, now, ops.convert_to_tensor(x))
        total = [t + now[m] for t, m in zip(total, moving, strict=True)]
    for m, t in zip(moving, total, strict=True):
        others[m].assign(t / count)


def predictions(job: Job) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return a Run's predictions: held-out and, where its recipe `tests`, unlearned parts."""
    faces, recipe, parts = job.faces, job.recipe, {"held-out": job.held}
    if recipe.tests:
        without = [TRAINING] + [PUBLIC] * recipe.public + [PRIVATE] * tried(recipe.name)
        codes = np.setdiff1d(faces.part, without)
        parts |= {PARTS[code]: np.flatnonzero(faces.part == code) for code in codes}
    return {
        part: (rows, faces.labels[rows], predict(job.network, faces.images[rows], recipe.views))
        for part, rows in parts.items()
    }


def predict(network: keras.Model, images: np.ndarray, views: int = 1) -> np.ndarray:
    """Return the probabilities (N, 7) float32 of uint8 images (N, 48, 48), the mean over views.

    2 views: the face and its mirror image; 10: it, also shifted by 2 pixels along each diagonal,
    and their mirror images. Raises ValueError for another number than 1, 2 and 10.
    """
    if views not in (1, 2, 10):
        raise ValueError(f"{views} views: choose 1, 2 or 10")
    network.jit_compile = JIT
    shifts = [(0, 0), (-2, -2), (-2, 2), (2, -2), (2, 2)] if views == 10 else [(0, 0)]
    size = len(images)
    if size > ONE_BATCH:
        size = PREDICTION_BATCH[machine.accelerators() > 0]
    fill = -len(images) % size  # whole batches: each other size is compiled anew
    padded = np.pad(images, ((0, fill), (2, 2), (2, 2)), "edge")
    total = np.zeros((len(padded), N_CLASSES), np.float32)
    for dy, dx in shifts:
        view = padded[:, 2 + dy : 2 + dy + SIDE, 2 + dx : 2 + dx + SIDE, None]
        for face in (view, view[:, :, ::-1])[: min(views, 2)]:
            total += network.predict(**feed(size, face / np.float32(255)), verbose=0)
    return total[: len(images)] / views

"""Train a network on faces by a recipe: (network, faces, recipe) -> Run. Pure Keras 3, so any
backend.
"""

import contextlib
import functools
import math
import platform
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from keras.optimizers import schedules

from hw3.disk import write_atomically
from hw3.faces import EMOTIONS, PARTS, PUBLIC, TRAINING, UNLABELED, Faces, FacesError, identical
from hw3.models import NETWORKS
from hw3.recipes import Recipe
from hw3.runs import Run, versions

CLIP = 1e-7  # Keras clipped probabilities here in 2018
JIT = keras.backend.backend() == "jax"  # XLA is slower than plain TensorFlow on the CPU
EVALUATED = (
    128,
    1024,
)  # faces at once where none is learned from, on a CPU and on a GPU: one compiled step serves all
FEW = 16  # faces that are predicted at once, not as part of so large a batch
# seconds of training after which the next finished epoch is saved; writing the state takes a second
SAVE_EVERY = 20.0


def split(faces: Faces, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to learn from and the held-out rows, of Training or where the recipe says so
    of PublicTest too.

    Both are in random order and capped by the recipe.

    The same faces, seed and share always give the same held-out rows, whatever the caps of learning
    are. Identical pictures stand on both sides as chance has it, or, where the recipe keeps them
    `together`, on one; a group that the cut would divide is held out whole. Raises FacesError where
    there are too few labeled faces to hold any out and learn from others, or no PublicTest.
    """
    codes = [TRAINING, PUBLIC] if recipe.public else [TRAINING]
    if recipe.public and PUBLIC not in faces.part:
        raise FacesError(
            f"{faces.source}: it has no PublicTest to learn from: take recipe modern, or fer2013.csv"
        )
    rows = np.flatnonzero(np.isin(faces.part, codes) & (faces.labels != UNLABELED))
    n = round(recipe.held_out * len(rows))
    if n < 1:
        raise FacesError(
            f"{faces.source}: {len(rows)} labeled faces are too few to train on and hold some out"
        )
    rows = np.random.default_rng(recipe.seed).permutation(rows)
    if recipe.together:
        same = identical(faces.images[rows])
        first = np.unique(same, return_index=True)[1][same]  # where the first of each group stands
        order = np.argsort(first, kind="stable")  # all of a group move up to its first
        rows, first = rows[order], first[order]
        n = int(np.searchsorted(first, first[n - 1], side="right"))
    if n == len(rows):
        raise FacesError(
            f"{faces.source}: of {n} labeled faces none is left to learn from: hold out fewer"
        )
    return rows[n:][: recipe.train_cap], rows[:n][: recipe.held_out_cap]


class Stored(layers.Layer):
    """The images (N, 48, 48), uint8 and whole on the device: row numbers (n,) -> faces (n, 48, 48,
    1) in [0, 1].
    """

    def __init__(self, images: np.ndarray):
        super().__init__(name="stored")
        self.images = self.add_weight(
            shape=images.shape, dtype="uint8", initializer="zeros", trainable=False, name="images"
        )
        self.images.assign(images)

    def call(self, rows):
        return ops.cast(ops.take(self.images, rows, axis=0)[..., None], self.compute_dtype) / 255


class Distortion(layers.Layer):
    """Other random distortions for each face (n, 48, 48, 1), of the recipe's sizes, in one
    resampling; in training only.

    An output pixel q shows the input at c + R S Z F (q - c) + d: turned, sheared, zoomed and
    mirrored about the center c, and shifted; what comes from outside repeats the border. Then it is
    blurred, its differences to its mean gray grow or shrink, the mean moves, and noise is added;
    what is darker than black or brighter than white is cut off.
    """

    def __init__(self, recipe: Recipe):
        super().__init__(name="distortion")
        self.recipe, self.seeds = recipe, keras.random.SeedGenerator(recipe.seed)

    def call(self, faces, training=False):
        r, n = self.recipe, ops.shape(faces)[0]
        if not training:
            return faces

        def draw(size):
            return keras.random.uniform((n,), -size, size, dtype="float32", seed=self.seeds)

        if r.rotation or r.shear or r.zoom or r.shift or r.flip:
            sizes = (
                math.radians(r.rotation),
                math.radians(r.shear),
                r.zoom,
                r.zoom,
                r.shift,
                r.shift,
            )
            turn, lean, taller, wider, down, right = map(draw, sizes)
            tall, wide = 1 + taller, (1 + wider) * (ops.sign(draw(1.0)) if r.flip else 1)
            c, s = ops.cos(turn), ops.sin(turn)
            a, b, d, e = (
                c * wide,
                -ops.sin(turn + lean) * tall,
                s * wide,
                ops.cos(turn + lean) * tall,
            )
            mid, zero = (faces.shape[1] - 1) / 2, ops.zeros_like(c)
            rows = [a, b, mid - (a + b) * mid + right, d, e, mid - (d + e) * mid + down, zero, zero]
            faces = ops.image.affine_transform(
                ops.cast(faces, "float32"),
                ops.stack(rows, axis=1),
                "bilinear",
                fill_mode="nearest",
                data_format="channels_last",
            )
        faces = ops.cast(faces, "float32")
        # each row and each column becomes a weighted mean of all: a pixel's weights sum to one at
        # the border too
        if r.blur:
            apart = ops.square(
                ops.arange(faces.shape[1], dtype="float32")[:, None]
                - ops.arange(faces.shape[1], dtype="float32")
            )
            weights = ops.softmax(-apart / (2 * ops.square(draw(r.blur)[:, None, None]) + 1e-6))
            faces = ops.einsum("nij,njkc,nlk->nilc", weights, faces, weights)
        if r.contrast or r.brightness:
            mean = ops.mean(faces, (1, 2, 3), keepdims=True)
            contrast, brightness = (
                draw(size)[:, None, None, None] for size in (r.contrast, r.brightness)
            )
            faces = ops.clip(mean + brightness + (faces - mean) * (1 + contrast), 0, 1)
        if r.noise:
            added = keras.random.normal(ops.shape(faces), dtype="float32", seed=self.seeds)
            faces = ops.clip(faces + draw(r.noise)[:, None, None, None] * added, 0, 1)
        return ops.cast(faces, self.compute_dtype)


def clipped_loss(labels, probabilities):
    """Return -ln of the true class's probability, clipped to [1e-7, 1 - 1e-7]: beyond the clip its
    gradient is zero.

    labels: (n, 7), one-hot.
    """
    return -ops.log(ops.clip(ops.sum(labels * probabilities, axis=-1), CLIP, 1 - CLIP))


def optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """Return the recipe's optimizer for a training of so many steps."""
    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        warm = round(recipe.warmup * steps)
        start = {"initial_learning_rate": 0.0, "warmup_target": rate, "warmup_steps": warm}
        start = start if warm else {"initial_learning_rate": rate}
        rate = schedules.CosineDecay(decay_steps=steps - warm, **start)
    decay = {"weight_decay": recipe.weight_decay or None}
    if recipe.optimizer == "sgd":
        made = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **decay)
    else:
        made = keras.optimizers.Adam(rate, **decay)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made


def trainer(network: keras.Model, images: np.ndarray, recipe: Recipe, steps: int) -> keras.Model:
    """Return the compiled model that is fitted: row numbers -> stored faces -> distortion -> the
    network, sharing its weights.

    All of it is one compiled step, so that a GPU never waits for Python to prepare a batch. Under
    the stable loss it ends at the logits, under the clipped one at the probabilities. Labels are
    one-hot. steps: of the whole training.
    """
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = recipe.norm_momentum
    stable = recipe.loss == "stable"
    core = without_softmax(network) if stable else network
    rows = keras.Input((), dtype="int32")
    outputs = core(Distortion(recipe)(Stored(images)(rows)))
    model = keras.Model(rows, layers.Activation("linear", dtype="float32")(outputs))
    loss = (
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.smoothing)
        if stable
        else clipped_loss
    )
    ahead = (
        8 if JIT and accelerators() else 1
    )  # steps per call, so that Python stays ahead of the GPU
    calls = {"jit_compile": JIT, "steps_per_execution": ahead}
    accuracy = keras.metrics.CategoricalAccuracy(
        "accuracy"
    )  # its name alone would make it in the first step, traced twice
    model.compile(optimizer(recipe, steps), loss, metrics=[accuracy], **calls)
    return model


def without_softmax(network: keras.Model) -> keras.Model:
    """Return the network up to its logits, sharing its weights."""
    return keras.Model(network.inputs, network.get_layer("logits").output)


def feed(size: int, *arrays: np.ndarray) -> dict:
    """Return what fit() and predict() are given to read arrays in order, in batches of so many.

    On TensorFlow that is a plain dataset: in the one that Keras makes of arrays, many a step runs
    on a single core. Its tuning is off, as there is nothing to tune in it, and with it on fit() was
    seen to idle for most of a minute after an epoch.
    """
    if keras.backend.backend() != "tensorflow":
        return dict(zip("xy", arrays, strict=False), batch_size=size)
    from tensorflow.data import Dataset, Options

    options = Options()
    options.autotune.enabled = False
    return {
        "x": Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0])
        .batch(size)
        .with_options(options)
    }


def predict(network: keras.Model, images: np.ndarray, views: int = 1) -> np.ndarray:
    """Return the probabilities (N, 7) float32 of uint8 images (N, 48, 48), the mean over so many
    views of each.

    Of 10 views, five are the face itself and shifted by 2 pixels along each diagonal, five their
    mirror images. Of 2 views, the second is the mirror image. Raises ValueError for another number.
    """
    if views not in (1, 2, 10):
        raise ValueError(f"{views} views: choose 1, 2 or 10")
    network.jit_compile = JIT
    shifts = [(0, 0), (-2, -2), (-2, 2), (2, -2), (2, 2)][: max(1, views // 2)]
    size = EVALUATED[accelerators() > 0] if len(images) > FEW else len(images)
    fill = -len(images) % size  # whole batches: each other size is compiled anew
    padded = np.pad(np.pad(images, ((0, fill), (0, 0), (0, 0))), ((0, 0), (2, 2), (2, 2)), "edge")
    total = np.zeros((len(padded), 7), np.float32)
    for dy, dx in shifts:
        seen = padded[:, 2 + dy : 50 + dy, 2 + dx : 50 + dx, None]
        for flipped in (seen, seen[:, :, ::-1])[: min(views, 2)]:
            total += network.predict(**feed(size, flipped / np.float32(255)), verbose=0)
    return total[: len(images)] / views


def state(model: keras.Model) -> list:
    """Return all variables that training changes: weights, random generators, optimizer; not the
    stored faces.
    """
    return [v for v in model.variables if v.dtype != "uint8"] + model.optimizer.variables


def save_state(
    path: Path, model: keras.Model, history: dict[str, list[float]], seconds: list[float]
) -> None:
    """Write all that a training needs to go on: its state, the history and the seconds of each
    epoch.
    """
    arrays = {f"v{i}": ops.convert_to_numpy(v) for i, v in enumerate(state(model))}
    arrays |= {f"history_{name}": np.array(values) for name, values in history.items()}
    write_atomically(path, lambda file: np.savez(file, seconds=seconds, **arrays))


def load_state(path: Path, model: keras.Model) -> tuple[dict[str, list[float]], list[float]]:
    """Put a saved state into the model; return its history and the seconds of each epoch so far.

    Raises ValueError, in one line and before anything is changed, where the file is damaged; zip's
    own checksums tell.
    """
    try:
        with np.load(path, allow_pickle=False) as zipped:
            saved = {name: zipped[name] for name in zipped.files}
        values = [saved[f"v{i}"] for i in range(len(state(model)))]
        history = {
            name.removeprefix("history_"): saved[name].tolist()
            for name in saved
            if "history_" in name
        }
        seconds = saved["seconds"].tolist()
    except Exception as error:  # whatever NumPy and zipfile raise for odd bytes
        raise ValueError(f"the checkpoint {path.name} is damaged: {error}") from error
    for variable, value in zip(state(model), values, strict=True):
        variable.assign(value)
    return history, seconds


def process() -> tuple[int, int]:
    """Return the number of this process and of how many that have joined (several hosts, JAX only);
    alone it is (0, 1).
    """
    if not JIT:
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def spread(batch: int) -> keras.distribution.DataParallel | None:
    """Return Keras's distribution of every batch over all devices, or as many as divide it; None
    for one device (JAX only).
    """
    devices = keras.distribution.list_devices() if JIT else []
    count = max((n for n in range(1, len(devices) + 1) if batch % n == 0), default=1)
    return (
        keras.distribution.DataParallel(devices=devices[:count], auto_shard_dataset=False)
        if count > 1
        else None
    )


def evaluate(
    logits: keras.Model, images: np.ndarray, labels: np.ndarray, loss: str
) -> tuple[float, float]:
    """Return the mean cross-entropy, without smoothing but clipped where the loss is "clipped", and
    the accuracy.
    """
    z = predict(logits, images).astype(float)
    z -= z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    if loss == "clipped":
        log_p = np.log(np.clip(np.exp(log_p), CLIP, 1 - CLIP))
    return float(-log_p[np.arange(len(labels)), labels].mean()), float(
        (z.argmax(1) == labels).mean()
    )


def precise_norm(network: keras.Model, images: np.ndarray, batch: int) -> None:
    """Let BatchNorm take its means and variances anew: the averages over all batches of these
    undistorted images.

    Those of a training come from distorted faces, which the network never sees when it predicts.
    "Precise BatchNorm": Wu and Johnson 2021, arXiv 2105.07576. images: uint8 (N, 48, 48), in random
    order, at least one batch.
    """
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0  # the moving averages are those of the last batch
    learn = functools.partial(network.stateless_call, training=True)
    if JIT:  # step by step, a GPU would compile each operation alone
        import jax

        learn = jax.jit(learn)
    weights, now = (
        [v.value for v in some]
        for some in (network.trainable_variables, network.non_trainable_variables)
    )
    moving = [
        i
        for i, v in enumerate(network.non_trainable_variables)
        if any(v is w for n in norms for w in n.weights)
    ]
    total, count = [0.0] * len(moving), len(images) // batch
    for i in range(count):
        _, now = learn(
            weights,
            now,
            ops.convert_to_tensor(images[i * batch : (i + 1) * batch, ..., None] / np.float32(255)),
        )
        total = [t + now[m] for t, m in zip(total, moving, strict=True)]
    for m, t in zip(moving, total, strict=True):
        network.non_trainable_variables[m].assign(t / count)


def train(
    name: str, faces: Faces, recipe: Recipe, checkpoint: Path | None = None, verbose: int = 1
) -> tuple[Run, keras.Model]:
    """Train the network called name ("cnn" or "dnn") and return its Run and the trained network.

    An epoch leaves out the faces that do not fill a last batch, other ones each time. With a
    checkpoint path the state is saved after an epoch, at most every SAVE_EVERY seconds, and a
    training that finds a saved state goes on from there. What is fitted may be in less than full
    precision and on several devices; the network that predicts is neither. Raises FacesError where
    the faces are too few and ValueError where the loss is not a number any more.
    """
    learn, held = split(faces, recipe)
    batch = min(recipe.batch, len(learn))
    steps = len(learn) // batch
    host, hosts = process()
    keras.utils.set_random_seed(recipe.seed)
    build = NETWORKS[name][recipe.architecture]
    network, devices = build(), spread(batch)
    logits = without_softmax(network)
    with devices.scope() if devices else contextlib.nullcontext():
        keras.config.set_dtype_policy(recipe.dtype)
        try:
            fitted = build()
            model = trainer(fitted, faces.images, recipe, recipe.epochs * steps)
        finally:
            keras.config.set_dtype_policy("float32")
        model.optimizer.build(model.trainable_variables)
    one_hot = np.eye(len(EMOTIONS) + 1, len(EMOTIONS), dtype=np.float32)[
        np.minimum(faces.labels, len(EMOTIONS))
    ]
    history, seconds, saved = {}, [], time.perf_counter()
    if checkpoint and checkpoint.exists():
        try:
            history, seconds = load_state(checkpoint, model)
        except ValueError as error:
            print(f"hw3: {error}; the training starts again", file=sys.stderr)
            checkpoint.unlink()
    if recipe.first_step and not seconds:
        model.optimizer.learning_rate = recipe.first_step
        model.fit(
            **feed(batch, learn[:batch].astype(np.int32), one_hot[learn[:batch]]),
            shuffle=False,
            verbose=0,
        )
        model.optimizer.learning_rate = recipe.learning_rate
    one = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: setattr(model, "stop_training", True)
    )  # and its bar tells all
    still = accelerators() or not (
        sys.stdout.isatty() or "ipykernel" in sys.modules
    )  # too fast for a moving bar, or a file
    shown = 2 if verbose and still else verbose
    for epoch in range(len(seconds), recipe.epochs):
        start = time.perf_counter()
        order = (
            np.random.default_rng((recipe.seed, epoch))
            .permutation(learn)[: steps * batch]
            .astype(np.int32)
        )
        mine = order.reshape(steps, hosts, -1)[
            :, host
        ].ravel()  # each host passes its part of every batch
        options = {
            "shuffle": False,
            "initial_epoch": epoch,
            "epochs": recipe.epochs,
            "callbacks": [one],
            "verbose": shown,
        }
        with devices.scope() if devices else contextlib.nullcontext():
            now = {
                k: v[-1]
                for k, v in model.fit(
                    **feed(batch // hosts, mine, one_hot[mine]), **options
                ).history.items()
            }
        network.set_weights(fitted.get_weights())
        now["val_loss"], now["val_accuracy"] = evaluate(
            logits, faces.images[held], faces.labels[held], recipe.loss
        )
        if not np.isfinite(both := now["loss"] + now["val_loss"]):
            raise ValueError(
                f"epoch {epoch + 1}: the loss is {both:g}: lower learning_rate or the distortions with --set"
            )
        for key, value in now.items():
            history.setdefault(key, []).append(float(value))
        seconds.append(time.perf_counter() - start)
        if verbose:
            print(
                f"held-out accuracy {now['val_accuracy']:.4f}, {len(order) / seconds[-1]:,.0f} images/s",
                flush=True,
            )
        if checkpoint and time.perf_counter() - saved >= SAVE_EVERY:
            save_state(checkpoint, model, history, seconds)
            saved = time.perf_counter()
    network.set_weights(fitted.get_weights())
    final, start = {}, time.perf_counter()
    if recipe.precise_norm:
        precise_norm(
            network, faces.images[np.random.default_rng(recipe.seed).permutation(learn)], batch
        )
        loss, accuracy = evaluate(logits, faces.images[held], faces.labels[held], recipe.loss)
        final = {"val_loss": loss, "val_accuracy": accuracy, "seconds": time.perf_counter() - start}
        if verbose:
            print(
                f"with BatchNorm's statistics of undistorted faces: held-out accuracy {accuracy:.4f}",
                flush=True,
            )
    parts = {"held-out": held}
    if recipe.tests:
        tests = [part for part in PARTS[1:] if not (part == PARTS[PUBLIC] and recipe.public)]
        parts |= {part: np.flatnonzero(faces.part == PARTS.index(part)) for part in tests}
    parts = {part: rows for part, rows in parts.items() if len(rows)}
    predictions = {
        p: (rows, faces.labels[rows], predict(network, faces.images[rows], recipe.views))
        for p, rows in parts.items()
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
        seconds=sum(seconds),
        epoch_seconds=seconds,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        final=final,
    )
    return run, network


def logistic(faces: Faces, recipe: Recipe) -> np.ndarray:
    """Return the held-out labels that a logistic regression on the raw pixels predicts, learned
    from the recipe's images.
    """
    from sklearn.linear_model import LogisticRegression

    learn, held = split(faces, recipe)
    pixels = faces.images.reshape(len(faces), -1)
    center = pixels[learn].mean(
        0, dtype=np.float32
    )  # changes no answer, and the optimizer needs a tenth of the steps
    x, seen = ((pixels[rows] - center) / np.float32(255) for rows in (learn, held))
    return LogisticRegression(C=0.01, max_iter=1000).fit(x, faces.labels[learn]).predict(seen)


def accelerators() -> int:
    """Return how many accelerators Keras sees."""
    if keras.backend.backend() == "torch":  # for which Keras lists no devices
        import torch

        return torch.cuda.device_count()
    return sum(not d.startswith("cpu") for d in keras.distribution.list_devices())


def device() -> str:
    """Return the device that Keras trains on, in words, such as "1 GPU NVIDIA H200" or "CPU AMD
    EPYC".
    """
    if accelerators():
        smi = shutil.which("nvidia-smi")
        query = [smi, "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(query, capture_output=True, text=True).stdout if smi else ""
        return f"{accelerators()} GPU {names.partition(chr(10))[0]}".strip()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0] if names else platform.processor() or platform.machine()}"

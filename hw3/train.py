"""Train a network on faces by a recipe: (network, faces, recipe) -> Run. Pure Keras 3, so any backend."""

import math
import platform
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from hw3.faces import EMOTIONS, PARTS, TRAINING, UNLABELED, Faces, FacesError
from hw3.models import NETWORKS
from hw3.recipes import Recipe
from hw3.runs import Run, versions, write_atomically

CLIP = 1e-7  # Keras clipped probabilities here in 2018
EVALUATED = 256  # faces at once where none is learned from; short batches are filled up, so that one compiled step serves all
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


class Stored(layers.Layer):
    """The images (N, 48, 48), uint8 and whole on the device: row numbers (n,) -> faces (n, 48, 48, 1) in [0, 1]."""

    def __init__(self, images: np.ndarray):
        super().__init__(name="stored")
        self.images = self.add_weight(shape=images.shape, dtype="uint8", initializer="zeros", trainable=False, name="images")
        self.images.assign(images)

    def call(self, rows):
        return ops.cast(ops.take(self.images, rows, axis=0)[..., None], self.compute_dtype) / 255


class Distortion(layers.Layer):
    """Other random distortions for each face (n, 48, 48, 1), of the recipe's sizes, in one resampling; in training only.

    An output pixel q shows the input at c + R S Z F (q - c) + d: turned, sheared, zoomed and mirrored about the center c,
    and shifted; what comes from outside repeats the border.
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
            turn, lean = draw(math.radians(r.rotation)), draw(math.radians(r.shear))
            tall, wide, down, right = 1 + draw(r.zoom), 1 + draw(r.zoom), draw(r.shift), draw(r.shift)
            wide = wide * (ops.sign(draw(1.0)) if r.flip else 1)
            c, s = ops.cos(turn), ops.sin(turn)
            a, b, d, e = c * wide, -ops.sin(turn + lean) * tall, s * wide, ops.cos(turn + lean) * tall
            mid, zero = (faces.shape[1] - 1) / 2, ops.zeros_like(c)
            rows = [a, b, mid - (a + b) * mid + right, d, e, mid - (d + e) * mid + down, zero, zero]
            faces = ops.image.affine_transform(
                ops.cast(faces, "float32"), ops.stack(rows, axis=1), "bilinear", fill_mode="nearest", data_format="channels_last"
            )
        if r.cutout:
            at = ops.arange(faces.shape[1], dtype="float32")
            up, left, maybe = (24 + draw(24.0), 24 + draw(24.0), draw(1.0) > 0)
            inside = (ops.abs(at[:, None] - up[:, None, None]) < r.cutout / 2) & (
                ops.abs(at - left[:, None, None]) < r.cutout / 2
            )
            faces = ops.where((inside & maybe[:, None, None])[..., None], 0.5, faces)
        return ops.cast(faces, self.compute_dtype)


def clipped_loss(labels, probabilities):
    """Return -ln of the true class's probability, clipped to [1e-7, 1 - 1e-7]: beyond the clip its gradient is zero.

    labels: (n, 7), one-hot.
    """
    return -ops.log(ops.clip(ops.sum(labels * probabilities, axis=-1), CLIP, 1 - CLIP))


def optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """Return the recipe's optimizer for a training of so many steps."""
    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        warm = round(recipe.warmup * steps)
        start = {"initial_learning_rate": 0.0, "warmup_target": rate, "warmup_steps": warm} if warm else {"initial_learning_rate": rate}
        rate = keras.optimizers.schedules.CosineDecay(decay_steps=steps - warm, **start)
    decay = {"weight_decay": recipe.weight_decay or None}
    if recipe.optimizer == "sgd":
        made = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **decay)
    else:
        made = keras.optimizers.Adam(rate, **decay)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made


def trainer(network: keras.Model, images: np.ndarray, recipe: Recipe, steps: int) -> keras.Model:
    """Return the compiled model that is fitted: row numbers -> stored faces -> distortion -> the network, sharing its weights.

    All of it is one compiled step, so that a GPU never waits for Python to prepare a batch. Under the stable loss it ends
    at the logits, under the clipped one at the probabilities. Labels are one-hot. steps: of the whole training.
    """
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = recipe.norm_momentum
    stable = recipe.loss == "stable"
    core = keras.Model(network.inputs, network.get_layer("logits").output) if stable else network
    rows = keras.Input((), dtype="int32")
    outputs = core(Distortion(recipe)(Stored(images)(rows)))
    model = keras.Model(rows, layers.Activation("linear", dtype="float32")(outputs))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.smoothing) if stable else clipped_loss
    jax = keras.backend.backend() == "jax"  # elsewhere XLA is not used: it is slower than plain TensorFlow on the CPU
    model.compile(
        optimizer(recipe, steps), loss, metrics=["accuracy"], jit_compile=jax, steps_per_execution=8 if jax and on_gpu() else 1
    )
    return model


def predict(network: keras.Model, images: np.ndarray, views: int = 1) -> np.ndarray:
    """Return the probabilities (N, 7) float32 of uint8 images (N, 48, 48), the mean over so many views of each.

    Of 10 views, five are the face and the face shifted by 2 pixels along each diagonal, five their mirror images. 2: without shifts.
    Raises ValueError for another number.
    """
    if views not in (1, 2, 10):
        raise ValueError(f"{views} views: choose 1, 2 or 10")
    shifts = [(0, 0), (-2, -2), (-2, 2), (2, -2), (2, 2)][: max(1, views // 2)]
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)), "edge")
    total = np.zeros((len(images), 7), np.float32)
    for dy, dx in shifts:
        seen = padded[:, 2 + dy : 50 + dy, 2 + dx : 50 + dx, None]
        for flipped in (seen, seen[:, :, ::-1])[: min(views, 2)]:
            total += network.predict(flipped / np.float32(255), batch_size=256, verbose=0)
    return total / views


def state(model: keras.Model) -> list:
    """Return all variables that training changes: weights, random generators, optimizer; not the stored faces."""
    return [v for v in model.variables if v.dtype != "uint8"] + model.optimizer.variables


def save_state(path: Path, model: keras.Model, history: dict[str, list[float]], seconds: list[float]) -> None:
    """Write all that a training needs to go on: its state, the history and the seconds of each epoch."""
    arrays = {f"v{i}": ops.convert_to_numpy(v) for i, v in enumerate(state(model))}
    arrays |= {f"history_{name}": np.array(values) for name, values in history.items()}
    write_atomically(path, lambda file: np.savez(file, seconds=seconds, **arrays))


def load_state(path: Path, model: keras.Model) -> tuple[dict[str, list[float]], list[float]]:
    """Put a saved state into the model; return its history and the seconds of each epoch so far."""
    with np.load(path, allow_pickle=False) as saved:
        for i, v in enumerate(state(model)):
            v.assign(saved[f"v{i}"])
        history = {name.removeprefix("history_"): saved[name].tolist() for name in saved.files if "history_" in name}
        return history, saved["seconds"].tolist()


def distribute(batch: int) -> None:
    """Let Keras spread every batch over the devices it sees, or as many of them as divide it (JAX; all hosts that joined)."""
    devices = keras.distribution.list_devices() if keras.backend.backend() == "jax" else []
    count = max((n for n in range(1, len(devices) + 1) if batch % n == 0), default=1)
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices[:count]) if count > 1 else None)


def evaluate(model: keras.Model, rows: np.ndarray, labels: np.ndarray, recipe: Recipe) -> tuple[float, float]:
    """Return the mean cross-entropy, clipped as the recipe's loss but without smoothing, and the accuracy of a trainer."""
    outputs = model.predict(np.resize(rows, -(-len(rows) // EVALUATED) * EVALUATED), batch_size=EVALUATED, verbose=0)[: len(rows)]
    outputs = outputs.astype(float)  # logits or probabilities
    if recipe.loss == "stable":
        outputs -= outputs.max(1, keepdims=True)
        log_p = outputs - np.log(np.exp(outputs).sum(1, keepdims=True))
    else:
        log_p = np.log(np.clip(outputs, CLIP, 1 - CLIP))
    return float(-log_p[np.arange(len(rows)), labels].mean()), float((outputs.argmax(1) == labels).mean())


def train(name: str, faces: Faces, recipe: Recipe, checkpoint: Path | None = None, verbose: int = 1) -> tuple[Run, keras.Model]:
    """Train the network called name ("cnn" or "dnn") and return its Run and the trained network.

    An epoch leaves out the faces that do not fill a last batch, other ones each time. With a checkpoint path the state is
    saved after an epoch, at most every SAVE_EVERY seconds, and a training that finds a saved state goes on from there.
    Raises FacesError where the faces are too few.
    """
    learn, held = split(faces, recipe)
    batch = min(recipe.batch, len(learn))
    steps = len(learn) // batch
    distribute(batch)
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(recipe.precision)
    try:
        network = NETWORKS[name][recipe.architecture]()
        model = trainer(network, faces.images, recipe, recipe.epochs * steps)
    finally:
        keras.config.set_dtype_policy("float32")
    model.optimizer.build(model.trainable_variables)
    one_hot = np.eye(len(EMOTIONS) + 1, len(EMOTIONS), dtype=np.float32)[np.minimum(faces.labels, len(EMOTIONS))]
    history, before, start = {}, [], time.perf_counter()
    saved = start
    if checkpoint and checkpoint.exists():
        history, before = load_state(checkpoint, model)
    elif recipe.first_step:
        model.optimizer.learning_rate = recipe.first_step
        model.train_on_batch(learn[:batch].astype(np.int32), one_hot[learn[:batch]])
        model.optimizer.learning_rate = recipe.learning_rate
    for epoch in range(len(before), recipe.epochs):
        began = time.perf_counter()
        order = np.random.default_rng((recipe.seed, epoch)).permutation(learn)[: steps * batch].astype(np.int32)
        keras.utils.set_random_seed(recipe.seed + epoch)
        options = {"batch_size": batch, "shuffle": False, "initial_epoch": epoch, "epochs": epoch + 1}
        now = {k: v[-1] for k, v in model.fit(order, one_hot[order], verbose=verbose, **options).history.items()}
        now["val_loss"], now["val_accuracy"] = evaluate(model, held.astype(np.int32), faces.labels[held], recipe)
        for key, value in now.items():
            history.setdefault(key, []).append(float(value))
        before.append(time.perf_counter() - began)
        if verbose:
            print(f"held-out accuracy {now['val_accuracy']:.4f}, {len(order) / before[-1]:,.0f} images/s", flush=True)
        if checkpoint and time.perf_counter() - saved >= SAVE_EVERY:
            save_state(checkpoint, model, history, before)
            saved = time.perf_counter()
    if recipe.precision != "float32":  # it was trained in less, but predicts in full precision
        weights, network = network.get_weights(), NETWORKS[name][recipe.architecture]()
        network.set_weights(weights)
    parts = {"held-out": held}
    if recipe.tests:
        parts |= {part: np.flatnonzero(faces.part == PARTS.index(part)) for part in ("PublicTest", "PrivateTest", "Test")}
    predictions = {
        part: (rows, faces.labels[rows], predict(network, faces.images[rows], recipe.views)) for part, rows in parts.items() if len(rows)
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
        seconds=sum(before),
        epoch_seconds=before,
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


def on_gpu() -> bool:
    """Return whether Keras sees an accelerator."""
    return any(not d.startswith("cpu") for d in keras.distribution.list_devices())


def device() -> str:
    """Return the device that Keras trains on, in words, such as "1 GPU NVIDIA H200" or "CPU AMD EPYC"."""
    if on_gpu():
        smi = shutil.which("nvidia-smi")
        query = [smi, "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(query, capture_output=True, text=True).stdout.split("\n") if smi else []
        count = len(keras.distribution.list_devices())
        return f"{count} GPU" + f" {names[0].strip()}" * bool(names)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0] if names else platform.processor() or platform.machine()}"

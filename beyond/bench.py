"""How fast: training beside Keras's fit and PyTorch, and reading train.csv, each at its best.

All ways take turns, so that what disturbs slows all; results/bench/ keeps the seconds of each turn.
"""

import itertools
import json
import os
import re
import tempfile
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from unittest import mock

import numpy as np
import pandas as pd

from hw3 import complexity, faces, machine, models, recipes, runs, train
from hw3.backend import keras, ops
from hw3.complexity import seconds
from hw3.disk import ROOT, write_atomically

FOLDER = ROOT / "results" / "bench"
# images: learned from in one repetition, whole batches of each size; faces: in train.csv.
CPU = {"precisions": ("float32", "mixed_bfloat16"), "batches": (128,), "images": 256}
CPU |= {"repeats": 5, "faces": 28_709}  # all of Training
GPU = CPU | {"precisions": ("mixed_bfloat16",), "batches": (512, 2048), "images": 28_672}
QUICK = CPU | {"precisions": ("float32",), "batches": (4,), "images": 8, "repeats": 2, "faces": 200}
OURS, DISTORTING, PRODUCT = "ours", "ours, distorting", "products only"
FIT, FIT_XLA, TORCH, COMPILED = "Keras fit", "Keras fit, XLA", "PyTorch", "PyTorch, compiled"
PEERS = FIT, FIT_XLA, TORCH, COMPILED
RAW, FIRST, AGAIN = "bytes alone", "ours, first time", "ours, again"
PANDAS, LOOP = "pandas and fromstring", "the loop of 2018"
# Dense bfloat16 operations a second, by NVIDIA's data sheets: other models of a chip are slower.
PEAK = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12}
GOAL = 0.69  # held-out accuracy; chapter "How fast" says which trainings end with it


def operations() -> int:
    """Return those of a training step for one image: 2 a multiply-add, 3 times the forward pass."""
    return int(3 * 2 * complexity.layer_table(models.cnn())["multiply-adds"].sum())


def peak(device: str, precision: str) -> float | None:
    """Return the operations a second in the device's data sheet, where PEAK has them."""
    return PEAK.get(device.partition("GPU ")[2]) if precision == "mixed_bfloat16" else None


def ours(images, labels, batch: int, precision: str, distorts: bool = False):
    """What train.train() does in an epoch; with SGD, as the others."""
    changes = recipes.SGD | {"batch": batch, "dtype": precision}
    changes |= {} if distorts else recipes.WITHOUT["cnn"]["distortion"]
    recipe = recipes.recipe("cnn", "full", "modern", **changes)
    model = train.trainer(models.cnn(), images, recipe, recipe.epochs * len(images) // batch)
    rows = np.random.default_rng(0).permutation(len(images)).astype(np.int32)
    y = np.eye(faces.N_CLASSES, dtype=np.float32)[labels[rows]]

    def learn():
        model.fit(**train.feed(batch, rows, y), shuffle=False, verbose=0)
        return model.trainable_variables[-1]

    return learn


def keras_fit(images, labels, batch: int, precision: str, xla: bool = False):
    """What most notebooks do: float images in an array, Keras's own layers."""
    if not xla and train.JIT:
        raise ValueError("without XLA, JAX starts each operation alone")
    plain = {name: getattr(keras.layers, name) for name in ("BatchNormalization", "MaxPooling2D")}
    with mock.patch.multiple(models, **plain):
        model = models.cnn()
    optimizer = keras.optimizers.SGD(0.01, 0.9, nesterov=True)
    options = {"metrics": ["accuracy"], "jit_compile": xla}
    model.compile(optimizer, "categorical_crossentropy", **options)
    x = images[..., None].astype(np.float32) / 255
    y = np.eye(faces.N_CLASSES, dtype=np.float32)[labels]

    def learn():
        model.fit(x, y, batch_size=batch, verbose=0)
        return model.trainable_variables[-1]

    return learn


def torch_loop(images, labels, batch: int, precision: str, compiled: bool = False):
    """PyTorch as its tuning guide says (docs.pytorch.org/tutorials/recipes/recipes/tuning_guide).

    Bytes on the device, channels last, autocast, a fused optimizer; threads as it chooses.
    """
    import torch

    torch.backends.cudnn.benchmark = True
    device = "cuda" if machine.accelerators() else "cpu"
    network = torch_network().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9, nesterov=True, fused=True)
    x = torch.tensor(images, device=device)[:, None]
    y = torch.tensor(labels, dtype=torch.int64, device=device)

    def loss_of(x, y):
        x = (x.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "mixed_bfloat16"):
            return torch.nn.functional.cross_entropy(network(x), y)

    forward = torch.compile(loss_of) if compiled else loss_of

    def learn():
        for rows in torch.randperm(len(x), device=device).split(batch):
            optimizer.zero_grad(set_to_none=True)
            loss = forward(x[rows], y[rows])
            loss.backward()
            optimizer.step()
        return loss.item()

    learn.threads = torch.get_num_threads()  # of a CPU
    return learn


def torch_network():
    """Return the CNN of models.py as a torch.nn.Sequential from (n, 1, 48, 48) to logits (n, 7)."""
    from torch import nn

    relu, dropout = nn.LeakyReLU(models.SLOPE), nn.Dropout(models.DROPOUT)
    layers, width = [], 1
    for filters, depth in models.CNN_BLOCKS:
        for _ in range(depth):
            layers += [nn.Conv2d(width, filters, 3, padding=1), nn.BatchNorm2d(filters), relu]
            width = filters
        layers += [nn.MaxPool2d(2), dropout]
    layers.append(nn.Flatten())
    width *= (faces.SIDE // 2 ** len(models.CNN_BLOCKS)) ** 2
    for units in models.CNN_HEAD:
        layers += [nn.Linear(width, units), nn.BatchNorm1d(units), relu, dropout]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, faces.N_CLASSES))


def products(images, labels, batch: int, precision: str):
    """The ceiling: as many operations as learning takes, to within 2%, in large matrix products."""
    half, side = len(images) * operations() / 2, 8192 if machine.accelerators() else 2048
    count = max(1, round(half / side**3))
    side = 16 * round((half / count) ** (1 / 3) / 16)
    x = ops.cast(keras.random.normal((side, side)), precision.removeprefix("mixed_"))

    def multiply():
        for _ in range(count):
            product = ops.matmul(x, x)
        return ops.cast(product[0, 0], "float32")

    return multiply


# Each takes images uint8 (N, 48, 48) and labels (N,), whole batches, and returns a call that learns
# once from all of them and returns a number that is known when the device has finished.
WAYS = {OURS: ours, DISTORTING: partial(ours, distorts=True), FIT: keras_fit}
WAYS |= {FIT_XLA: partial(keras_fit, xla=True), TORCH: torch_loop}
WAYS |= {COMPILED: partial(torch_loop, compiled=True), PRODUCT: products}


def measure_steps(data: faces.Faces, precision: str, batch: int, repeats: int) -> list[dict]:
    """Return what each way takes, all by turns; RuntimeError where ours cannot run.

    Keys: threads, first (the seconds that compile), seconds (a list); or skipped: why it cannot.
    """
    rows, calls = [], []
    for way, make in WAYS.items():
        row = {"precision": precision, "batch": batch, "way": way}
        rows.append(row)
        keras.config.set_dtype_policy(precision)  # which Keras's networks follow
        try:
            call = make(data.images, data.labels, batch, precision)
            row["threads"] = getattr(call, "threads", None)
            row |= {"first": seconds(call), "seconds": []}
            calls.append((call, row["seconds"]))
        except Exception as error:  # whatever a backend raises, such as for too little memory
            row["skipped"] = str(error).partition("\n")[0][:200]
            if way == OURS:
                raise RuntimeError(f"our own step cannot be measured: {row['skipped']}") from error
        finally:
            keras.config.set_dtype_policy("float32")
    for call, times in calls * repeats:
        times.append(seconds(call))
    return rows


def pandas_load(path: Path, pixels) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 48, 48) and labels (N,); pixels reads the text of one image."""
    table = pd.read_csv(path)
    images = np.array([pixels(text) for text in table["feature"]])
    return images.reshape(-1, faces.SIDE, faces.SIDE), table["label"].to_numpy()


def our_load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images (N, 48, 48) and labels (N,), as faces.load reads them."""
    read = faces.load(path)
    return read.images, read.labels


READERS = {RAW: Path.read_bytes, FIRST: our_load, AGAIN: our_load}
READERS[PANDAS] = partial(pandas_load, pixels=partial(np.fromstring, dtype=np.uint8, sep=" "))
READERS[LOOP] = partial(pandas_load, pixels=lambda text: [float(v) for v in text.split(" ")])


def measure_loading(count: int, repeats: int) -> dict:
    """Time all ways to read a train.csv, by turns; it was just written, so no disk is timed."""
    drawn, times = faces.drawn(count), {way: [] for way in READERS}
    features = [" ".join(map(str, image.ravel())) for image in drawn.images]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.csv")
        pd.DataFrame({"label": drawn.labels, "feature": features}).to_csv(path, index=False)
        for repeat, (way, reader) in itertools.product(range(repeats), READERS.items()):
            if way == LOOP and repeat:  # once is enough: it takes longest, and is a footnote
                continue
            # a folder of its own for each repetition: there is no cache the first time
            with mock.patch.dict(os.environ, HW3_BUILD=f"{folder}/{repeat}"):
                start = perf_counter()
                read = reader(path)
                times[way].append(perf_counter() - start)
            expected = drawn.images, drawn.labels
            if way != RAW and not all(map(np.array_equal, read, expected)):
                raise RuntimeError(f"{way}: the faces read are not those written")
        return {"faces": count, "bytes": path.stat().st_size, "seconds": times}


def run(quick: bool = False, **changes) -> dict:
    """Measure all, with changes of CPU or GPU; unless quick, write the file after each group."""
    # the libraries share one GPU: none may take all its memory
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sizes = (QUICK if quick else GPU if machine.accelerators() else CPU) | changes
    torch = {"torch": version("torch")} if find_spec("torch") else {}
    device, backend = machine.device(), keras.backend.backend()
    result = {"device": device, "backend": backend, "cores": os.cpu_count()}
    result |= {"load": os.getloadavg(), "versions": machine.versions() | torch}
    result |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), "images": sizes["images"]}
    result |= {"steps": [], "loading": measure_loading(sizes["faces"], sizes["repeats"])}
    name = re.sub("[^a-z0-9]+", "-", device.lower()).strip("-")
    path = FOLDER / f"{name}-{backend}.json"
    data = faces.drawn(sizes["images"])
    for precision, batch in itertools.product(sizes["precisions"], sizes["batches"]):
        result["steps"] += measure_steps(data, precision, batch, sizes["repeats"])
        if not quick:
            text = json.dumps(result, indent=1).encode() + b"\n"
            write_atomically(path, lambda file, text=text: file.write(text))
        print(f"measured training: {precision}, batches of {batch}", flush=True)
    tables = table(result), loading_table(result)
    print(*(rows.to_string(index=False) for rows in tables), sep="\n\n")
    return result


def recorded_results() -> list[dict]:
    """Return all recorded results, in the order of their files' names, perhaps none."""
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]


def table(result: dict) -> pd.DataFrame:
    """Return a row for each precision, batch and way; overlapping ranges are not told apart."""
    steps = pd.DataFrame([step for step in result["steps"] if "seconds" in step])
    rates = result["images"] / pd.DataFrame(steps["seconds"].tolist())
    rows = steps[["precision", "batch", "way"]].assign(**{"images/s": rates.median(axis=1)})
    rows["min"], rows["max"], rows["n"] = rates.min(axis=1), rates.max(axis=1), rates.count(axis=1)
    keys = ["precision", "batch"]
    ours = rows[rows["way"] == OURS].set_index(keys)[["images/s", "min", "max"]]
    ours = rows[keys].join(ours, on=keys)
    ratio = ours["images/s"] / rows["images/s"]
    overlap = (ours["min"] <= rows["max"]) & (rows["min"] <= ours["max"])
    tests = [ratio.isna() | (rows["way"] == OURS), overlap, ratio > 1]
    rows["ours is"] = np.select(tests, ["", "not distinguishable", "faster"], "slower")
    rows["times"] = np.maximum(ratio, 1 / ratio).mask(overlap)
    compiling = steps["first"] - result["images"] / rows["images/s"]
    return rows.assign(**{"first call (s)": compiling.clip(lower=0)})


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows for a page: floats as texts of three digits that count, "" for NaN."""
    numbers = rows.select_dtypes("float").map("{:.3g}".format)
    return rows.assign(**numbers.map(lambda x: "" if x == "nan" else f"{float(x):,.12g}"))


def loading_table(result: dict) -> pd.DataFrame:
    """Return one row for each way to read train.csv; "raw reads": how many RAW takes as long."""
    times = pd.DataFrame.from_dict(result["loading"]["seconds"], orient="index").T
    rows = times.agg(["median", "min", "max"]).T.assign(n=times.count())
    rows["raw reads"] = rows["median"] / rows.loc[RAW, "median"]
    return rows.rename(columns={"median": "seconds"}).rename_axis("way").reset_index()


def trainings(recorded: list[runs.Run]) -> pd.DataFrame:
    """Return medians over the Runs of each recipe and network, device and number of epochs.

    reached: how many have GOAL at the end, as the best of many epochs would be so by chance.
    """
    rows, keys = [], ["run", "device", "epochs"]
    for r in recorded:
        key = f"{r.recipe.name}-{r.network}", r.device, r.recipe.epochs
        minutes = (sum(r.epoch_seconds) + r.final.get("seconds", 0)) / 60
        usual = np.median(r.epoch_seconds)
        in_whole_batches = r.trained_on - r.trained_on % min(r.recipe.batch, r.trained_on)
        speeds = minutes, r.epoch_seconds[0], usual, in_whole_batches / usual
        accuracy = r.final.get("val_accuracy", r.history["val_accuracy"][-1])
        rows.append((*key, *speeds, int(accuracy >= GOAL)))
    columns = [*keys, "minutes", "first epoch (s)", "epoch (s)", "images/s", "reached"]
    groups = pd.DataFrame(rows, columns=columns).groupby(keys, sort=False)
    return groups.median().assign(runs=groups.size(), reached=groups["reached"].sum()).reset_index()


def figure(result: dict):
    """Draw medians and ranges of images/s of the ways to train."""
    import seaborn as sns

    from hw3 import figures  # neither is needed to measure

    measured = [step for step in result["steps"] if "seconds" in step and step["way"] != PRODUCT]
    rows = pd.DataFrame(measured).explode("seconds", ignore_index=True)
    rows["images/s"] = result["images"] / rows["seconds"].astype(float)
    rows["batch"] = rows["batch"].astype(str) + "\n" + rows["precision"].str.removeprefix("mixed_")
    figure, ax = figures.panels(2.6)
    known = [*WAYS, "PyTorch, plain loop"]  # which an older record has
    colors = dict(zip(known, sns.color_palette(n_colors=len(known)), strict=True))
    look = {"estimator": "median", "errorbar": ("pi", 100), "saturation": 1, "palette": colors}
    sns.barplot(rows, x="batch", y="images/s", hue="way", ax=ax, **look)
    sns.move_legend(ax, "upper left", bbox_to_anchor=(1, 1), title="")
    label = "Bars: the images a second that each way to train learns from; lines: their ranges."
    return figures.labeled(figure, label, f"{result['device']}, {result['backend']}")

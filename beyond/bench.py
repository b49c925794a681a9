"""How fast: training beside a plain Keras fit and a plain PyTorch loop, and reading train.csv
beside the original's way.

All ways take turns, again and again, so that a disturbance from outside slows all of them and not
one. What is kept are the seconds of every repetition, in results/bench/<device>-<backend>.json;
medians, ranges and ratios are computed from them.
"""

import functools
import itertools
import json
import os
import re
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from time import perf_counter
from unittest import mock

import keras
import numpy as np
import pandas as pd
from keras import ops

from hw3 import complexity, faces, machine, models, recipes, runs, train
from hw3.complexity import seconds
from hw3.disk import ROOT, write_atomically

FOLDER = ROOT / "results" / "bench"
# images: learned from in one repetition, whole batches of each size; faces: in train.csv.
CPU = {
    "precisions": ("float32", "mixed_bfloat16"),
    "batches": (128,),
    "images": 256,
    "repeats": 5,
    "faces": 6000,
}
GPU = CPU | {"batches": (256, 1024), "images": 28_672}
QUICK = CPU | {"precisions": ("float32",), "batches": (4,), "images": 8, "repeats": 2, "faces": 200}
OURS, KERAS, TORCH, PRODUCT = "ours", "Keras fit", "PyTorch loop", "products only"
FIRST, AGAIN, SPLIT = "ours, first time", "ours, again", "split(' ') and float"
# Dense bfloat16 operations a second in NVIDIA's data sheets, by the exact name: other models of the
# same chip are slower.
PEAK = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12}
GOAL = 0.69  # held-out accuracy; chapter "How fast" says which trainings end with it
PLAIN_SGD = {"momentum": 0.9, "nesterov": True}


def operations() -> int:
    """Return the operations of a training step of the CNN for one image: 2 a multiply-add, 3 times
    the forward pass's.
    """
    return int(3 * 2 * complexity.layer_table(models.cnn())["multiply-adds"].sum())


def peak(device: str, precision: str) -> float | None:
    """Return the operations a second in the device's data sheet, where it is known: see PEAK."""
    return PEAK.get(device.partition("GPU ")[2]) if precision == "mixed_bfloat16" else None


def ours(images, labels, batch: int, precision: str):
    """What train.train() does in an epoch: row numbers in, stored faces distorted as in "modern";
    with SGD, as the other ways.
    """
    changes = recipes.SGD | {"batch": batch, "dtype": precision}
    recipe = recipes.recipe("cnn", "full", "modern", **changes)
    model = train.trainer(models.cnn(), images, recipe, recipe.epochs * len(images) // batch)
    y, rows = (
        np.eye(models.CLASSES, dtype=np.float32)[labels],
        np.random.default_rng(0).permutation(len(images)).astype(np.int32),
    )
    return lambda: (
        model.fit(**train.feed(batch, rows, y[rows]), shuffle=False, verbose=0)
        and model.trainable_variables[-1]
    )


def keras_fit(images, labels, batch: int, precision: str):
    """What most notebooks do: float images in an array, fitted with Keras's defaults, not
    distorted.
    """
    plain = {name: getattr(keras.layers, name) for name in ("BatchNormalization", "MaxPooling2D")}
    with mock.patch.multiple(models, **plain):
        model = models.cnn()
    model.compile(
        keras.optimizers.SGD(0.01, **PLAIN_SGD), "categorical_crossentropy", metrics=["accuracy"]
    )
    x, y = (
        images[..., None].astype(np.float32) / 255,
        np.eye(models.CLASSES, dtype=np.float32)[labels],
    )
    return lambda: model.fit(x, y, batch_size=batch, verbose=0) and model.trainable_variables[-1]


def torch_loop(images, labels, batch: int, precision: str):
    """A plain loop in PyTorch over float images on the device, not distorted; on a CPU with the
    fastest number of threads.
    """
    import torch

    device = "cuda" if machine.accelerators() else "cpu"
    network = torch_network().to(device)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, **PLAIN_SGD)
    x = (torch.tensor(images, dtype=torch.float32)[:, None] / 255).to(device)
    y = torch.tensor(labels, dtype=torch.int64, device=device)

    def learn():
        for rows in torch.randperm(len(x), device=device).split(batch):
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=precision == "mixed_bfloat16"):
                loss = torch.nn.functional.cross_entropy(network(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
        return loss.item()

    if device == "cpu":  # beside other programs, many threads wait long for each other
        numbers = {1, os.cpu_count() // 2 or 1, os.cpu_count()}
        learn.threads = min(
            numbers, key=lambda n: torch.set_num_threads(n) or min(seconds(learn), seconds(learn))
        )
        torch.set_num_threads(learn.threads)
    return learn


def torch_network():
    """Return the CNN of models.py as a torch.nn.Sequential from (n, 1, 48, 48) to logits (n, 7),
    with as many parameters.
    """
    from torch import nn

    layers, width = [], 1
    for filters, depth in models.CNN_BLOCKS:
        for _ in range(depth):
            layers += [
                nn.Conv2d(width, filters, 3, padding=1),
                nn.BatchNorm2d(filters),
                nn.LeakyReLU(models.SLOPE),
            ]
            width = filters
        layers += [nn.MaxPool2d(2), nn.Dropout(models.DROPOUT)]
    layers, width = (
        [*layers, nn.Flatten()],
        width * (faces.SIDE // 2 ** len(models.CNN_BLOCKS)) ** 2,
    )
    for units in models.CNN_HEAD:
        layers += [
            nn.Linear(width, units),
            nn.BatchNorm1d(units),
            nn.LeakyReLU(models.SLOPE),
            nn.Dropout(models.DROPOUT),
        ]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, models.CLASSES))


def products(images, labels, batch: int, precision: str):
    """The ceiling: as many operations as learning takes, to within 2%, all in products of large
    square matrices.
    """
    half, side = len(images) * operations() / 2, 8192 if machine.accelerators() else 2048
    count = max(1, round(half / side**3))
    side = 16 * round((half / count) ** (1 / 3) / 16)
    x = ops.cast(keras.random.normal((side, side)), precision.removeprefix("mixed_"))
    return lambda: ops.cast(
        functools.reduce(lambda last, _: ops.matmul(x, x), range(count), x)[0, 0], "float32"
    )


# Each way takes images uint8 (N, 48, 48) and labels (N,), whole batches, and returns a call that
# learns once from all of them and returns a number that is known when the device has finished.
# Keras's networks follow the global precision.
WAYS = {OURS: ours, KERAS: keras_fit, TORCH: torch_loop, PRODUCT: products}


def measure_steps(data: faces.Faces, precision: str, batch: int, repeats: int) -> list[dict]:
    """Return what each way takes, all by turns: threads, first (seconds of the first call, which
    compiles), seconds (a list).

    Of a way that cannot run here, "skipped" says why instead. Raises RuntimeError where ours
    cannot.
    """
    rows, calls = [], []
    for way, make in WAYS.items():
        rows.append(row := {"precision": precision, "batch": batch, "way": way})
        keras.config.set_dtype_policy(precision)
        try:
            call = make(data.images, data.labels, batch, precision)
            row |= {
                "threads": getattr(call, "threads", None),
                "first": seconds(call),
                "seconds": [],
            }
            calls.append((call, row["seconds"]))
        except Exception as error:  # whatever a backend raises, such as for too little memory
            row["skipped"] = str(error).partition("\n")[0][:200]
            if way == OURS:
                raise RuntimeError(f"our own step cannot be measured: {row['skipped']}") from error
        finally:
            keras.config.set_dtype_policy("float32")
    for _ in range(repeats):
        for call, taken in calls:
            taken.append(seconds(call))
    return rows


def split_load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read train.csv the original's way: float by float over split(' '). Returns images float64 (N,
    48, 48) and labels (N,).
    """
    table = pd.read_csv(path)
    images = np.array([[float(v) for v in row.split(" ")] for row in table["feature"]])
    return images.reshape(-1, faces.SIDE, faces.SIDE), table["label"].to_numpy()


def measure_loading(count: int, repeats: int) -> dict:
    """Time the reading of a train.csv of drawn faces, all ways by turns. It was just written, so no
    disk is timed.
    """
    drawn, taken = faces.drawn(count), {FIRST: [], AGAIN: [], SPLIT: []}
    with tempfile.TemporaryDirectory() as folder:
        path, features = (
            Path(folder, "train.csv"),
            [" ".join(map(str, image.ravel())) for image in drawn.images],
        )
        pd.DataFrame({"label": drawn.labels, "feature": features}).to_csv(path, index=False)
        for way, repeat in [(way, repeat) for repeat in range(repeats) for way in taken]:
            with mock.patch.dict(
                os.environ, HW3_BUILD=f"{folder}/{repeat}"
            ):  # where there is no cache the first time
                start = perf_counter()
                images, labels = (
                    split_load(path)
                    if way == SPLIT
                    else attrgetter("images", "labels")(faces.load(path))
                )
                taken[way].append(perf_counter() - start)
            if not (np.array_equal(images, drawn.images) and np.array_equal(labels, drawn.labels)):
                raise RuntimeError(f"{way}: the faces read are not those written")
        return {"faces": count, "bytes": path.stat().st_size, "seconds": taken}


def run(quick: bool = False, **changes) -> dict:
    """Measure all, with changes of the sizes above, print and return it; unless quick, write the
    file after each group.
    """
    os.environ.setdefault(
        "TF_FORCE_GPU_ALLOW_GROWTH", "true"
    )  # the libraries share one GPU: none may take all its memory
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sizes, load = (
        (QUICK if quick else GPU if machine.accelerators() else CPU) | changes,
        os.getloadavg(),
    )
    result = {
        "device": machine.device(),
        "backend": keras.backend.backend(),
        "cores": os.cpu_count(),
        "load": load,
    }
    result["versions"] = machine.versions() | (
        {"torch": version("torch")} if find_spec("torch") else {}
    )
    result |= {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "images": sizes["images"],
        "steps": [],
    }
    result["loading"] = measure_loading(sizes["faces"], sizes["repeats"])
    path = (
        FOLDER
        / f"{re.sub('[^a-z0-9]+', '-', result['device'].lower()).strip('-')}-{result['backend']}.json"
    )
    data = faces.drawn(sizes["images"])
    for precision, batch in itertools.product(sizes["precisions"], sizes["batches"]):
        result["steps"] += measure_steps(data, precision, batch, sizes["repeats"])
        if not quick:
            write_atomically(
                path, lambda file: file.write(json.dumps(result, indent=1).encode() + b"\n")
            )
        print(f"measured training: {precision}, batches of {batch}", flush=True)
    print(
        *(frame.to_string(index=False) for frame in (table(result), loading_table(result))),
        sep="\n\n",
    )
    return result


def recorded() -> list[dict]:
    """Return all recorded results, in the order of their files' names; an empty list where there is
    none.
    """
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]


def table(result: dict) -> pd.DataFrame:
    """Return one row for each precision, batch and way that was measured.

    images/s: median; ours is: so many times as fast as this way, by the medians; first call: how
    much longer it took.
    """
    rows, our, work = [], {}, operations()
    for r in (r for r in result["steps"] if "seconds" in r):
        rates, key = result["images"] / np.array(r["seconds"]), (r["precision"], r["batch"])
        median, top = np.median(rates), peak(result["device"], r["precision"]) or np.nan
        ratio, extra = (
            our.setdefault(key, median) / median,
            max(0.0, r["first"] - result["images"] / median),
        )  # ours comes first
        known = (
            median,
            min(rates),
            max(rates),
            len(rates),
            ratio,
            extra,
            median * work / 1e12,
            median * work / top,
        )
        rows.append((*key, r["way"], *known))
    columns = [
        "precision",
        "batch",
        "way",
        "images/s",
        "min",
        "max",
        "n",
        "ours is",
        "first call (s)",
        "TFLOP/s",
        "of peak",
    ]
    return pd.DataFrame(rows, columns=columns)


def loading_table(result: dict) -> pd.DataFrame:
    """Return one row for each way to read train.csv: way, seconds (median), min, max, n, split
    takes (times as long).
    """
    taken = result["loading"]["seconds"]
    rows = [
        (way, np.median(v), min(v), max(v), len(v), np.median(taken[SPLIT]) / np.median(v))
        for way, v in taken.items()
    ]
    return pd.DataFrame(rows, columns=["way", "seconds", "min", "max", "n", "split takes"])


def trainings(recorded: list[runs.Run]) -> pd.DataFrame:
    """Return one row for each recipe and network, device and number of epochs: medians over the
    Runs, and how many reached GOAL.

    epoch: the median one, which ends with a look at the held-out faces, and images/s in it; first
    epoch: the one that compiles. What counts for GOAL is the accuracy at the end, after precise
    BatchNorm where a run has it, and minutes count its seconds: the best of many looks at the same
    few faces would be too good by chance.
    """
    rows, keys = [], ["run", "device", "epochs"]
    for r in recorded:
        usual, end = (
            np.median(r.epoch_seconds),
            r.final.get("val_accuracy", r.history["val_accuracy"][-1]),
        )
        minutes = (sum(r.epoch_seconds) + r.final.get("seconds", 0)) / 60
        speed = (r.trained_on - r.trained_on % min(r.recipe.batch, r.trained_on)) / usual
        name = f"{r.recipe.name}-{r.network}"
        rows.append(
            (
                name,
                r.device,
                r.recipe.epochs,
                minutes,
                r.epoch_seconds[0],
                usual,
                speed,
                int(end >= GOAL),
            )
        )
    columns = [*keys, "minutes", "first epoch (s)", "epoch (s)", "images/s", "reached"]
    groups = pd.DataFrame(rows, columns=columns).groupby(keys, sort=False)
    return groups.median().assign(runs=groups.size(), reached=groups["reached"].sum()).reset_index()


def figure(result: dict):
    """Draw medians, with lines from minimum to maximum: images/s of the three ways to train, and
    seconds of reading.
    """
    import seaborn as sns

    from hw3 import figures  # none of them is needed to measure

    steps = (
        pd.DataFrame(result["steps"]).query("way != @PRODUCT").explode("seconds", ignore_index=True)
    )
    steps["images/s"] = result["images"] / steps["seconds"].astype(float)
    steps["batch"] = (
        steps["batch"].astype(str) + "\n" + steps["precision"].str.removeprefix("mixed_")
    )
    read = pd.DataFrame(result["loading"]["seconds"]).melt(var_name="way", value_name="seconds")
    figure, (left, right) = figures.panels(3, 1, 2)
    style = {"estimator": "median", "errorbar": ("pi", 100)}
    sns.barplot(
        steps, x="batch", y="images/s", hue="way", saturation=1, ax=left, **style
    ).set_title("training")
    sns.move_legend(
        left, "lower left", bbox_to_anchor=(-0.2, 1.15), ncols=3, title=None, fontsize=8
    )
    sns.pointplot(
        read, x="seconds", y="way", ls="none", color="C3", log_scale=True, ax=right, **style
    )
    right.set(
        title=f"reading {result['loading']['faces']:,} faces",
        xlabel="seconds (logarithmic)",
        ylabel="",
    )
    rates = steps.groupby(["way", "batch"], sort=False)["images/s"].median()
    told = [
        f"{way}: {rate:,.0f} (batch and precision {' '.join(batch.split())})"
        for (way, batch), rate in rates.items()
    ]
    took = [
        f"{way}: {s:.2g} s"
        for way, s in read.groupby("way", sort=False)["seconds"].median().items()
    ]
    label = f"Medians. Training, images a second: {'; '.join(told)}. Reading train.csv: {'; '.join(took)}."
    return figures.labeled(figure, label, f"{result['device']}, {result['backend']}")

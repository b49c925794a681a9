"""What the network looks at: Grad-CAM, input gradients, covered and changed faces, exciting inputs,
the space of its last layer.

A network is a list of built Keras layers up to the logits, which `layers` gives: so any of its
parts can be asked for what it gives and for a gradient. Only `gradient` knows the backend. Faces go
in as floats in [0, 1], shape (n, 48, 48, 1).

`python -m beyond inside --data fer2013.csv` looks into the recorded CNN on PrivateTest and records
averages, predictions and coordinates in results/inside/cnn.npz, never a picture.
"""

import json
from collections.abc import Callable
from itertools import cycle

import keras
import matplotlib as mpl
import numpy as np
import pandas as pd
from keras import ops
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from scipy import ndimage

from beyond import claims
from hw3 import faces, metrics, pca, runs, train
from hw3.disk import ROOT, digest, write_atomically
from hw3.faces import EMOTIONS
from hw3.figures import labeled, panels
from hw3.sources.drawn import EXPRESSIONS

RECORDED = ROOT / "results" / "inside" / "cnn.npz"
LAST_MAPS, LAST_HIDDEN = "relu3_2", "relu_d2"  # of the CNN: 12x12 maps of 256 channels; 256 values
# Rows of a picture, from the brows down: three bands of one size over the whole width, so that none
# covers more than another.
BANDS = {"eyes": (11, 22), "nose": (22, 33), "mouth": (33, 44)}
# Where an action unit of drawn.UNITS shows most; nose is the band of the cheeks too.
SHOWS = {1: "eyes", 2: "eyes", 4: "eyes", 5: "eyes", 6: "nose", 7: "eyes", 9: "nose"}
SHOWS |= dict.fromkeys((12, 15, 16, 20, 23, 26), "mouth")

# What may happen to a picture before a network sees it: functions of pictures (n, 48, 48) float32,
# from 0 to 255.
CHANGES = {
    "moved by 4 pixels": lambda x: ndimage.shift(x, (0, 0, 4), order=1, mode="nearest"),
    "turned by 20 degrees": lambda x: ndimage.rotate(
        x, 20, (1, 2), reshape=False, order=1, mode="nearest"
    ),
    "half the contrast": lambda x: (x + x.mean((1, 2), keepdims=True)) / 2,
    "brighter by a fifth": lambda x: x + 255 / 5,
    "darker by a fifth": lambda x: x - 255 / 5,
    "blurred over a pixel": lambda x: ndimage.gaussian_filter(x, (0, 1, 1)),
    "noise of 10 grays": lambda x: x + np.random.default_rng(0).normal(0, 10, x.shape),
}


def layers(model: keras.Model, last: str = "logits") -> list:
    """Return the layers of a sequential model up to the one named last."""
    names = [layer.name for layer in model.layers]
    return model.layers[: names.index(last) + 1]


def through(stack: list, x):
    """Return what the layers give for x one after the other, as outside of training."""
    for layer in stack:
        x = layer(x, training=False)
    return x


def gradient(objective: Callable, *inputs: np.ndarray) -> list[np.ndarray]:
    """Return the gradient of objective(*inputs), a single number made with keras.ops and built
    layers, for each input.
    """
    inputs = [ops.convert_to_tensor(np.asarray(x, np.float32)) for x in inputs]
    if keras.backend.backend() == "jax":
        import jax

        found = jax.grad(objective, argnums=tuple(range(len(inputs))))(*inputs)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = objective(*inputs)
        found = tape.gradient(value, inputs)
    return [ops.convert_to_numpy(g) for g in found]


def attention(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    last: str = LAST_MAPS,
    batch: int = 64,
) -> tuple:
    """Return Grad-CAM (n, h, w) and the size of the input gradients (n, 48, 48), each scaled to a
    maximum of 1.

    Both ask what raises the logit of the label. Grad-CAM: the maps of the layer named last,
    weighted by the mean gradient of their channel, summed, negative values cut (Selvaraju et al.
    2017, arXiv 1610.02391). Input gradients: Simonyan et al. 2014, arXiv 1312.6034. images: uint8
    (n, 48, 48).
    """
    lower, whole = layers(model, last), layers(model)
    upper, cams, sizes = whole[len(lower) :], [], []
    for start in range(0, len(images), batch):
        x = images[start : start + batch, :, :, None] / np.float32(255)
        chosen = np.eye(whole[-1].output.shape[-1], dtype=np.float32)[labels[start : start + batch]]
        maps = ops.convert_to_numpy(through(lower, x))

        def logits(x, more, chosen=chosen):
            return ops.sum(through(upper, through(lower, x) + more) * chosen)

        by_pixel, by_map = gradient(logits, x, np.zeros_like(maps))
        cams.append(np.maximum((maps * by_map.mean((1, 2), keepdims=True)).sum(-1), 0))
        sizes.append(np.abs(by_pixel[..., 0]))
    return tuple(_to_one(np.concatenate(found)) for found in (cams, sizes))


def _to_one(maps):
    return maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-12)


def averages(maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean map (7, h, w) of each emotion; NaN where it has no face."""
    return np.stack(
        [
            maps[labels == e].mean(0) if (labels == e).any() else np.full(maps.shape[1:], np.nan)
            for e in range(7)
        ]
    )


def by_band(maps: np.ndarray) -> np.ndarray:
    """Return the shares (7, 3) of mean maps (7, h, w) that lie in each of BANDS; h divides 48."""
    rows = np.repeat(maps.astype(float), faces.SIDE // maps.shape[1], axis=1).sum(2)
    return np.stack(
        [rows[:, top:bottom].sum(1) for top, bottom in BANDS.values()], axis=1
    ) / rows.sum(1, keepdims=True)


def cover(images: np.ndarray, band: str) -> np.ndarray:
    """Return the images (n, 48, 48), uint8, with a band painted in each image's own mean gray."""
    covered, (top, bottom) = images.copy(), BANDS[band]
    covered[:, top:bottom] = images.mean((1, 2)).round()[:, None, None]
    return covered


def occlusion(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the predicted labels (n,) of the images as they are ("nothing" covered) and with each
    band covered.
    """
    views = {"nothing": images} | {band: cover(images, band) for band in BANDS}
    return {
        name: train.predict(model, seen).argmax(1).astype(np.uint8) for name, seen in views.items()
    }


def change(images: np.ndarray, name: str) -> np.ndarray:
    """Return the images (n, 48, 48), uint8, changed by one of CHANGES; what leaves the range from
    black to white is cut off.
    """
    return np.clip(np.rint(CHANGES[name](images.astype(np.float32))), 0, 255).astype(np.uint8)


def predictions() -> dict[str, dict[str, int]]:
    """Return, for each emotion that has action units, how many of them show in each band: the most
    is to cost the most.
    """
    shown = {
        e: [SHOWS[unit] for unit in units]
        for e, units in zip(EMOTIONS, EXPRESSIONS, strict=True)
        if units
    }
    return {e: {band: bands.count(band) for band in BANDS} for e, bands in shown.items()}


def claimed() -> list[tuple[int, int]]:
    """Return the pairs of emotions, as codes, that the original's observations 1 to 3 name."""
    names = {name for statistics in list(claims.OBSERVATIONS.values())[:3] for name in statistics}
    return [tuple(EMOTIONS.index(e) for e in name.split()[::2]) for name in sorted(names)]


def apart(found: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return `metrics.confused_pairs` of a look with the distance of each pair's means, and whether
    an observation names it.
    """
    table = metrics.confused_pairs(metrics.confusion(found["labels"], found["covered/nothing"]))
    codes = [sorted(EMOTIONS.index(e) for e in pair.split()[::2]) for pair in table["pair"]]
    marked = [sorted(pair) for pair in claimed()]
    return table.assign(
        distance=[float(found["distances"][i, j]) for i, j in codes],
        claimed=[c in marked for c in codes],
    )


def judge(
    labels: np.ndarray, predicted: dict[str, np.ndarray], level: float = 0.95
) -> dict[str, tuple]:
    """Test for each emotion that covering a band with the most of its action units costs more than
    one with fewer.

    Returns `metrics.decide` of each: verdict, the pair of bands that decides, and how many more of
    the faces are lost, as a share with the paired interval, widened for all pairs of all emotions
    (Bonferroni). predicted as from `occlusion`.
    """
    pairs = {
        e: [(a, b) for a in n if n[a] == max(n.values()) for b in n if n[b] < n[a]]
        for e, n in predictions().items()
    }
    level = 1 - (1 - level) / sum(map(len, pairs.values()))
    found = {}
    for emotion, bands in pairs.items():
        mine = labels == EMOTIONS.index(emotion)
        tests = {
            f"{a} – {b}": metrics.difference(
                labels[mine], predicted[b][mine], predicted[a][mine], level
            )
            for a, b in bands
        }
        found[emotion] = metrics.decide(tests)
    return found


# times that the gradient is averaged over 3x3 pixels, in which it reaches so many pixels further
SMOOTHED = 2


def excite(
    stack: list, filters: list[int], side: int = 36, steps: int = 32, rate: float = 0.02
) -> np.ndarray:
    """Return one input (side, side) in [0, 1] for each filter of the last layer, found by gradient
    ascent on its middle value.

    It starts from gray with a little noise; the gradient is SMOOTHED, else fine noise wins (Olah et
    al. 2017, doi 10.23915/distill.00007).
    """
    x = 0.5 + np.random.default_rng(0).normal(0, 0.02, (len(filters), side, side, 1)).astype(
        np.float32
    )
    chosen = np.eye(stack[-1].output.shape[-1], dtype=np.float32)[filters]

    def middle(x):
        given = through(stack, x)
        return ops.sum(given[:, given.shape[1] // 2, given.shape[2] // 2] * chosen)

    for _ in range(steps):
        (g,) = gradient(middle, x)
        for _ in range(SMOOTHED):
            g = ops.convert_to_numpy(ops.average_pool(g, 3, strides=1, padding="same"))
        x = np.clip(x + rate * g / (np.sqrt((g**2).mean((1, 2, 3), keepdims=True)) + 1e-12), 0, 1)
    return x[..., 0]


def hidden(
    model: keras.Model, images: np.ndarray, last: str = LAST_HIDDEN, batch: int = 128
) -> np.ndarray:
    """Return what the layer named last gives for uint8 images (n, 48, 48): (n, 256) of the CNN."""
    stack = layers(model, last)
    parts = [
        through(stack, images[i : i + batch, :, :, None] / np.float32(255))
        for i in range(0, len(images), batch)
    ]
    return np.concatenate([ops.convert_to_numpy(part) for part in parts])


def space(values: np.ndarray, labels: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Return the "eigenvalues" (d,) of values (n, d), the "distances" (7, 7) of the emotions'
    means, and two maps.

    The maps "pca" and "tsne" (m, 2) are of the rows drawn. Mean, covariance and components are
    those of chapter 5; the axes of a larger matrix come from NumPy. t-SNE (van der Maaten and
    Hinton 2008) starts from the components. Distances are in units of the mean standard deviation
    within an emotion, over all axes; NaN where an emotion has no face.
    """
    from sklearn.manifold import TSNE

    values = values.astype(np.float64)
    eigenvalues, axes = np.linalg.eigh(pca.covariance(values))
    eigenvalues, axes = eigenvalues[::-1], axes[:, ::-1].T
    y = pca.components(values, axes[:30])
    means = averages(values[:, None], labels)[:, 0]
    within = np.sqrt(
        np.mean([((values[labels == e] - means[e]) ** 2).sum(1).mean() for e in np.unique(labels)])
    )
    distances = np.linalg.norm(means[:, None] - means, axis=-1) / within
    tsne = TSNE(init="pca", perplexity=min(30, len(drawn) / 4), random_state=0).fit_transform(
        y[drawn].astype(np.float32)
    )
    return {"eigenvalues": eigenvalues, "distances": distances, "pca": y[drawn, :2], "tsne": tsne}


def look(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, each: int = 100
) -> dict[str, np.ndarray]:
    """Return all that the page shows of a network on labeled faces, without a picture.

    "labels" (n,) and "covered/<band>" (n,), the predictions of `occlusion`; "cam" (7, 12, 12) and
    "gradient" (7, 48, 48), means over the first `each` faces of each emotion; "drawn" (m,), the
    numbers of these faces; and `space` of all, mapped for them.
    """
    drawn = np.sort(np.concatenate([np.flatnonzero(labels == e)[:each] for e in range(7)]))
    cams, sizes = attention(model, images[drawn], labels[drawn])
    found = {"labels": labels.astype(np.uint8), "drawn": drawn.astype(np.uint16)}
    found |= {"cam": averages(cams, labels[drawn]), "gradient": averages(sizes, labels[drawn])}
    found |= {f"covered/{name}": predicted for name, predicted in occlusion(model, images).items()}
    return found | space(hidden(model, images), labels, drawn)


def recorded() -> tuple[dict, dict[str, np.ndarray]]:
    """Return what is said about the recorded look, with the digest of the weights, and the look
    itself.
    """
    with np.load(RECORDED, allow_pickle=False) as saved:
        return json.loads(str(saved["about"])), {
            name: saved[name] for name in saved.files if name != "about"
        }


def record(data) -> int:
    """Look into the recorded CNN on PrivateTest, record what is found, and return of how many
    faces.

    Raises ValueError or FileNotFoundError, in one line, without the whole of FER2013 or the
    recorded CNN.
    """
    runs.check_recordable(data)
    model, about = runs.load_small()
    private = data.only("PrivateTest")
    found = look(model, private.images, private.labels)
    for name in CHANGES:
        found[f"changed/{name}"] = (
            train.predict(model, change(private.images, name)).argmax(1).astype(np.uint8)
        )
    about = {
        "label": about["label"],
        "part": "PrivateTest",
        "weights": digest(runs.SMALL.read_bytes()),
        "n": len(private),
    }
    arrays = {k: v.astype(np.float16) if v.dtype.kind == "f" else v for k, v in found.items()}
    arrays["about"] = np.array(json.dumps(about))
    write_atomically(RECORDED, lambda file: np.savez_compressed(file, **arrays))
    return len(private)


# Figures


def heat_maps(rows: dict, names, bands: dict, note: str = "") -> Figure:
    """Draw maps (7, h, w) of where the network looks, one row of seven for each key, with lines
    around the bands of a face.
    """
    figure, grid = panels(1.25 * len(rows) + 0.3, len(rows), len(names), squeeze=False)
    for axes, (kind, maps) in zip(grid, rows.items(), strict=True):
        for ax, picture, name in zip(axes, maps, names, strict=True):
            ax.imshow(
                picture,
                cmap="magma",
                vmin=0,
                vmax=np.nanquantile(maps, 0.995),
                extent=(0, 48, 48, 0),
            )
            ax.hlines(
                sorted({row for ends in bands.values() for row in ends}),
                0,
                48,
                color="white",
                lw=0.6,
                ls=":",
            )
            ax.set(xticks=[], yticks=[])
            ax.set_title(name, fontsize=8, fontweight="normal", pad=2)
        axes[0].set_ylabel(kind, fontsize=8)
    label = (
        f"Heat maps of the face, brighter where it counts more, for each of {', '.join(names)}: {' and '.join(rows)}. "
        f"Dotted lines bound the bands {', '.join(bands)}, from top to bottom."
    )
    return labeled(figure, label, note)


def groups(tables: dict, value: str, low: str, high: str, label: str, note: str = "") -> Figure:
    """Draw for each row of the tables, which have the same, one dot a table with a bar over its
    interval, all shares.
    """
    first = next(iter(tables.values()))
    (figure, ax), y = panels(0.5 * len(first) + 1.1), np.arange(len(first))[::-1]
    for i, ((name, table), mark) in enumerate(zip(tables.items(), cycle("osD^"), strict=False)):
        at = y + 0.16 * (len(tables) - 1 - 2 * i) / 2
        ax.hlines(at, table[low], table[high], color=f"C{i}", lw=3, alpha=0.4)
        ax.plot(table[value], at, mark, color=f"C{i}", ms=5, label=name)
    ax.set_yticks(y, first.index)
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    ax.set(xlabel=f"{label}, with its 95% interval", xlim=(0, 1))
    figure.legend(
        *ax.get_legend_handles_labels(), loc="outside upper center", ncols=len(tables), fontsize=8
    )
    told = [
        f"{name}: {', '.join(f'{row} {v:.0%}' for row, v in table[value].items())}"
        for name, table in tables.items()
    ]
    return labeled(
        figure, f"{label}, a dot in a bar, its 95% interval, for each. {'; '.join(told)}.", note
    )


def class_maps(maps: dict, labels, names, pairs, note: str = "") -> Figure:
    """Draw maps (n, 2) of faces side by side, colored by their labels (n,), with a line between the
    means of each pair (i, j).
    """
    (figure, axes), middles = panels(4.2, 1, len(maps)), []
    for ax, (title, points) in zip(axes, maps.items(), strict=True):
        means = np.array(
            [
                np.median(points[labels == e], 0) if (labels == e).any() else (np.nan,) * 2
                for e in range(len(names))
            ]
        )
        for e, (name, mark) in enumerate(zip(names, "os^Dvp*", strict=True)):
            ax.scatter(
                *points[labels == e].T,
                s=16,
                marker=mark,
                color=f"C{e}",
                alpha=0.7,
                lw=0,
                label=name,
            )
        for i, j in pairs:
            ax.plot(*means[[i, j]].T, color="0.2", lw=1)
        ax.set(xticks=[], yticks=[], title=title)
        middles.append(
            (ax, [(*means[e], names[e]) for e in np.flatnonzero(np.isfinite(means[:, 0]))])
        )
    handles, told = ax.get_legend_handles_labels()
    figure.legend(
        handles,
        told,
        loc="outside upper center",
        ncols=len(names),
        fontsize=7.5,
        handletextpad=0.1,
        columnspacing=1,
    )
    for ax, named in middles:
        name_points(
            ax, named, ABOVE_EACH_OTHER, bbox={"fc": "white", "alpha": 0.8, "lw": 0, "pad": 1}
        )
    marked = ", ".join(f"{names[i]} and {names[j]}" for i, j in pairs)
    label = (
        f"Maps of {len(labels)} faces as points, near where the last hidden layer is alike: {' and '.join(maps)}. "
        f"A name stands at the median of each emotion or above or below it; lines join {marked}."
    )
    return labeled(figure, label, note)


# Where a name may stand, from its point, in points (1/72 inch).
BESIDE = (5, 3), (5, -9), (-5, 3), (-5, -9)


ABOVE_EACH_OTHER = tuple((0, sign * 3.5 * i - 2.5) for i in range(9) for sign in (1, -1))


def name_points(ax, named: list[tuple[float, float, str]], places, taken=(), **look) -> None:
    """Write the name of each (x, y, name) at the first place where it covers the fewest names and
    taken boxes (in pixels).
    """
    ax.figure.draw_without_rendering()  # from here on boxes are known in pixels
    taken = list(taken)
    for x, y, name in named:
        sides = [
            {"xytext": place, "ha": ("right", "center", "left")[int(np.sign(place[0])) + 1]}
            for place in places
        ]
        tried = [
            ax.annotate(name, (x, y), textcoords="offset points", fontsize=7.5, **side, **look)
            for side in sides
        ]
        boxes = [text.get_window_extent() for text in tried]
        best = min(range(len(tried)), key=lambda i: boxes[i].count_overlaps(taken))
        taken.append(boxes[best])
        for text in tried[:best] + tried[best + 1 :]:
            text.remove()


def pairs_apart(table: pd.DataFrame, note: str = "") -> Figure:
    """Draw the rate of each pair of emotions against the distance of their means; table: pair,
    distance, rate, claimed (bool).
    """
    figure, ax = panels(3.8)
    for claimed, mark, name in (
        (False, "o", "other pairs"),
        (True, "D", "pairs of the original's observations 1 to 3"),
    ):
        rows = table[table["claimed"] == claimed]
        ax.plot(rows["distance"], rows["rate"], mark, color="C1" if claimed else "C0", label=name)
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.set(
        xlabel="distance of the means, in standard deviations",
        ylabel="share confused with each other",
    )
    ax.legend()
    points = table[["distance", "rate"]]
    figure.draw_without_rendering()
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in ax.transData.transform(points)]
    name_points(
        ax,
        list(zip(*points[table["claimed"]].T.values, table["pair"][table["claimed"]], strict=True)),
        BESIDE,
        taken,
    )
    ends = {
        "The nearest": table.loc[table["distance"].idxmin()],
        "the farthest": table.loc[table["distance"].idxmax()],
    }
    told = "; ".join(
        f"{what}, {r['pair']} at {r['distance']:.2f}: {r['rate']:.1%}" for what, r in ends.items()
    )
    label = f"The share confused against the distance of their means, {len(table)} pairs of emotions. {told}."
    return labeled(figure, label, note)

"""What the network looks at: heat maps, covered and changed faces, exciting inputs, its last layer.

`part` cuts a piece out of a network: so it can be asked for what it gives and for a gradient. Only
`gradient` knows the backend. Faces go in as floats in [0, 1], shape (n, 48, 48, 1). Recorded of the
recorded CNN on PrivateTest are averages, predictions and coordinates, never a picture.
"""

import json
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import Bbox
from scipy import ndimage

from beyond import claims
from hw3 import metrics, pca, runs, train, weights
from hw3.backend import keras, ops
from hw3.disk import ROOT, digest, write_atomically
from hw3.faces import EMOTIONS, SIDE
from hw3.metrics import N_CLASSES, Interval
from hw3.show import GRAY, labeled, panels
from hw3.sources.drawn import EXPRESSIONS

RECORDED = ROOT / "results" / "inside" / "cnn.npz"
LAST_MAPS, LAST_HIDDEN = "relu3_2", "relu_d2"  # of the CNN: 12x12 maps of 256 channels; 256 values
# Rows of a picture, from the brows down: bands of one size, so that none covers more than another.
BANDS = {"eyes": (11, 22), "nose": (22, 33), "mouth": (33, 44)}
# Where an action unit of drawn.UNITS shows most; nose is the band of the cheeks too.
SHOWS = {1: "eyes", 2: "eyes", 4: "eyes", 5: "eyes", 6: "nose", 7: "eyes", 9: "nose"}
SHOWS |= dict.fromkeys((12, 15, 16, 20, 23, 26), "mouth")

# What may happen to a picture: functions of pictures (n, 48, 48) float32, from 0 to 255.
LINEAR = {"order": 1, "mode": "nearest"}
CHANGES = {
    "moved by 4 pixels": lambda x: ndimage.shift(x, (0, 0, 4), **LINEAR),
    "turned by 20 degrees": lambda x: ndimage.rotate(x, 20, (1, 2), reshape=False, **LINEAR),
    "half the contrast": lambda x: (x + x.mean((1, 2), keepdims=True)) / 2,
    "brighter by a fifth": lambda x: x + 255 / 5,
    "darker by a fifth": lambda x: x - 255 / 5,
    "blurred over a pixel": lambda x: ndimage.gaussian_filter(x, (0, 1, 1)),
    "noise of 10 grays": lambda x: x + np.random.default_rng(0).normal(0, 10, x.shape),
}


def part(model: keras.Model, last: str = "logits", after: str | None = None) -> keras.Sequential:
    """Return the layers of a sequential model up to the one named last, from the start or after."""
    names = [layer.name for layer in model.layers]
    first = names.index(after) + 1 if after else 0
    return keras.Sequential(model.layers[first : names.index(last) + 1])


def gradient(objective: Callable, *inputs: np.ndarray) -> list[np.ndarray]:
    """Return the gradient for each input of objective(*inputs), one number made with keras.ops."""
    inputs = [ops.convert_to_tensor(np.asarray(x, np.float32)) for x in inputs]
    if keras.backend.backend() == "jax":
        import jax

        gradients = jax.grad(objective, argnums=tuple(range(len(inputs))))(*inputs)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = objective(*inputs)
        gradients = tape.gradient(value, inputs)
    return [ops.convert_to_numpy(g) for g in gradients]


def attention(model, images, labels, last=LAST_MAPS, batch=64) -> tuple[np.ndarray, np.ndarray]:
    """Return Grad-CAM (n, h, w) and the size of the input gradients (n, 48, 48) of uint8 images.

    Both ask what raises the logit of the label (n,), and are scaled to a maximum of 1. Grad-CAM:
    the maps of the layer named last, weighted by the mean gradient of their channel, summed,
    negative values cut (Selvaraju et al. 2017, arXiv 1610.02391). Input gradients: Simonyan et al.
    2014, arXiv 1312.6034.
    """
    lower, upper = part(model, last), part(model, after=last)
    one_hot = np.eye(upper.layers[-1].output.shape[-1], dtype=np.float32)
    cams, sizes = [], []
    for start in range(0, len(images), batch):
        x = images[start : start + batch, :, :, None] / np.float32(255)
        chosen = one_hot[labels[start : start + batch]]
        maps = ops.convert_to_numpy(lower(x))

        def logits(x, more, chosen=chosen):
            return ops.sum(upper(lower(x) + more) * chosen)

        by_pixel, by_map = gradient(logits, x, np.zeros_like(maps))
        cams.append(np.maximum((maps * by_map.mean((1, 2), keepdims=True)).sum(-1), 0))
        sizes.append(np.abs(by_pixel[..., 0]))
    kinds = np.concatenate(cams), np.concatenate(sizes)
    return tuple(maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-12) for maps in kinds)


def averages(maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean map (7, ...) of each emotion, of maps (n, ...); NaN where it has no face."""
    means = pd.DataFrame(maps.reshape(len(maps), -1)).groupby(labels).mean()
    return means.reindex(range(N_CLASSES)).to_numpy().reshape(N_CLASSES, *maps.shape[1:])


def by_band(maps: np.ndarray) -> np.ndarray:
    """Return the shares (7, 3) of mean maps (7, h, w) that lie in each of BANDS; h divides 48."""
    rows = np.repeat(maps.astype(float), SIDE // maps.shape[1], axis=1).sum(2)
    bands = [rows[:, top:bottom].sum(1) for top, bottom in BANDS.values()]
    return np.stack(bands, axis=1) / rows.sum(1, keepdims=True)


def cover(images: np.ndarray, band: str) -> np.ndarray:
    """Return the images (n, 48, 48), uint8, with a band painted in each image's own mean gray."""
    covered, (top, bottom) = images.copy(), BANDS[band]
    covered[:, top:bottom] = images.mean((1, 2)).round()[:, None, None]
    return covered


def occlusion(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the predicted labels (n,) with "nothing" and with each of BANDS covered."""
    views = {"nothing": images} | {band: cover(images, band) for band in BANDS}
    return {name: _labels(model, view) for name, view in views.items()}


def _labels(model, images):
    return train.predict(model, images).argmax(1).astype(np.uint8)


def change(images: np.ndarray, name: str) -> np.ndarray:
    """Return the images (n, 48, 48), uint8, changed by one of CHANGES and cut to black to white."""
    return np.clip(np.rint(CHANGES[name](images.astype(np.float32))), 0, 255).astype(np.uint8)


def units_by_band() -> dict[str, dict[str, int]]:
    """Return how many action units of each emotion that has any show in each band.

    The prediction: the band with the most of them costs the most when it is covered.
    """
    bands = {e: [SHOWS[u] for u in units] for e, units in zip(EMOTIONS, EXPRESSIONS, strict=True)}
    return {e: {band: mine.count(band) for band in BANDS} for e, mine in bands.items() if mine}


def judge(labels, predicted: dict[str, np.ndarray], net: bool = False) -> pd.DataFrame:
    """Test that covering a band with the most action units costs more than one with fewer.

    Returns of each emotion n and `metrics.decide`: verdict, deciding pair of bands, and the share
    of faces lost more, a paired Interval widened for all pairs of all emotions (Bonferroni), or
    None without a face. net: the share of other faces that get this answer is subtracted (Youden
    1950), or a usual answer would seem to lose little. predicted as from `occlusion`.
    """
    pairs = {
        emotion: [(a, b) for a, b in permutations(n, 2) if n[a] == max(n.values()) > n[b]]
        for emotion, n in units_by_band().items()
    }
    level, rows = metrics.bonferroni(sum(map(len, pairs.values()))), []
    for emotion, bands in pairs.items():
        code, costs = EMOTIONS.index(emotion), {}
        its, said = labels == code, {band: answers == code for band, answers in predicted.items()}
        for a, b in bands:
            ways = [metrics.difference(its[w], said[b][w], said[a][w], level) for w in (its, ~its)]
            costs[f"{a} – {b}"] = total(ways) if net else ways[0]
        verdict, pair, lost = metrics.decide(costs)
        rows.append((emotion, its.sum(), verdict, pair, lost if its.any() else None))
    names = ["emotion", "n", "prediction", "decided by", "lost more with the first"]
    return pd.DataFrame(rows, columns=names)


def total(parts: list[Interval], share: float = 1.0) -> Interval:
    """Return share times the sum of differences found on different faces (Newcombe 1998)."""
    value, low, high = np.transpose([tuple(part) for part in parts])
    ends = np.array([0, -np.linalg.norm(value - low), np.linalg.norm(high - value)])
    return Interval(*(share * (value.sum() + ends)), signed=True)


def excite(model, last: str, filters: list[int], side=36, steps=32, rate=0.02) -> np.ndarray:
    """Return one input (side, side) in [0, 1] for each filter of the layer named last.

    It is found by gradient ascent on the filter's middle value, from gray with a little noise; the
    gradient is blurred, else fine noise wins (Olah et al. 2017, doi 10.23915/distill.00007).
    """
    noise = np.random.default_rng(0).normal(0, 0.02, (len(filters), side, side, 1))
    x = 0.5 + noise.astype(np.float32)
    lower = part(model, last)
    chosen = np.eye(lower.layers[-1].output.shape[-1], dtype=np.float32)[filters]

    def middle(x):
        maps = lower(x)
        return ops.sum(maps[:, maps.shape[1] // 2, maps.shape[2] // 2] * chosen)

    for _ in range(steps):
        g = ndimage.gaussian_filter(*gradient(middle, x), 1.15, axes=(1, 2), radius=2)
        x = np.clip(x + rate * g / (np.sqrt((g**2).mean((1, 2, 3), keepdims=True)) + 1e-12), 0, 1)
    return x[..., 0]


def space(values: np.ndarray, labels: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Return what lies where among values (n, d) of faces with labels (n,).

    "eigenvalues" (d,) of their covariance, and "distances" (7, 7) of the emotions' means in units
    of the mean standard deviation within an emotion, over all axes; NaN where an emotion has no
    face. "pca" and "tsne" (m, 2): maps of the rows drawn. Mean, covariance and components are those
    of chapter 5; t-SNE (van der Maaten and Hinton 2008) starts from the components.
    """
    from sklearn.manifold import TSNE

    values = values.astype(np.float64)
    eigenvalues, axes = np.linalg.eigh(pca.covariance(values))
    eigenvalues, axes = eigenvalues[::-1], axes[:, ::-1].T
    y = pca.components(values, axes[:30])[drawn]
    means = averages(values, labels)
    within = [((values[labels == e] - means[e]) ** 2).sum(1).mean() for e in np.unique(labels)]
    distances = np.linalg.norm(means[:, None] - means, axis=-1) / np.sqrt(np.mean(within))
    tsne = TSNE(init="pca", perplexity=min(30, len(drawn) / 4), random_state=0)
    tsne = tsne.fit_transform(y.astype(np.float32))
    return {"eigenvalues": eigenvalues, "distances": distances, "pca": y[:, :2], "tsne": tsne}


def look(model: keras.Model, images, labels, each: int = 100) -> dict[str, np.ndarray]:
    """Return all that the page shows of a network on labeled faces, without a picture.

    "labels" (n,) and "covered/<band>" (n,), the predictions of `occlusion`; "cam" (7, 12, 12) and
    "gradient" (7, 48, 48), means over the first `each` faces of each emotion; "drawn" (m,), the
    numbers of these faces; and `space` of all, mapped for them.
    """
    drawn = np.sort(np.concatenate([np.flatnonzero(labels == e)[:each] for e in np.unique(labels)]))
    cams, sizes = attention(model, images[drawn], labels[drawn])
    arrays = {"labels": labels.astype(np.uint8), "drawn": drawn.astype(np.uint16)}
    arrays |= {"cam": averages(cams, labels[drawn]), "gradient": averages(sizes, labels[drawn])}
    arrays |= {f"covered/{name}": answers for name, answers in occlusion(model, images).items()}
    hidden = keras.Model(model.inputs, model.get_layer(LAST_HIDDEN).output)
    values = hidden.predict(images[..., None] / np.float32(255), verbose=0)
    return arrays | space(values, labels, drawn)


def claimed_pairs() -> list[tuple[int, int]]:
    """Return the pairs of emotions, as codes, that the original's observations 1 to 3 name."""
    tests = [test for tests in list(claims.OBSERVATIONS.values())[:3] for test in tests.values()]
    return sorted({test.args for test in tests})


def pair_distances(arrays: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return `metrics.confused_pairs` of a look with two more columns.

    distance of the pair's means; claimed: whether an observation names it.
    """
    table = metrics.confused_pairs(metrics.confusion(arrays["labels"], arrays["covered/nothing"]))
    codes = [tuple(map(EMOTIONS.index, pair.split("/"))) for pair in table["pair"]]
    claimed = {tuple(sorted(pair)) for pair in claimed_pairs()}
    distances = [float(arrays["distances"][pair]) for pair in codes]
    return table.assign(distance=distances, claimed=[pair in claimed for pair in codes])


def recorded_look() -> tuple[dict, dict[str, np.ndarray]]:
    """Return what the recorded look is of, with the digest of the weights, and the look itself."""
    with np.load(RECORDED, allow_pickle=False) as saved:
        arrays = dict(saved)
    return json.loads(str(arrays.pop("about"))), arrays


def record(data) -> int:
    """Look into the recorded CNN on PrivateTest and record it; return of how many faces.

    Raises ValueError or FileNotFoundError without the whole of FER2013 or the recorded CNN.
    """
    runs.check_recordable(data)
    model, about = weights.load_small()
    faces = data.only("PrivateTest")
    arrays = look(model, faces.images, faces.labels)
    for name in CHANGES:
        arrays[f"changed/{name}"] = _labels(model, change(faces.images, name))
    arrays = {k: v.astype(np.float16) if v.dtype.kind == "f" else v for k, v in arrays.items()}
    about = {"label": about["label"], "part": "PrivateTest"}
    about |= {"weights": digest(weights.SMALL.read_bytes()), "n": len(faces)}
    arrays["about"] = np.array(json.dumps(about))
    write_atomically(RECORDED, lambda file: np.savez_compressed(file, **arrays))
    return len(faces)


# Figures

# Where the name of a point may stand, from the point, in points (1/72 inch), and how aligned.
BESIDE = {(5, 3): "left", (5, -9): "left", (-5, 3): "right", (-5, -9): "right"}
ABOVE_EACH_OTHER = {(0, sign * 3.5 * i - 2.5): "center" for i in range(9) for sign in (1, -1)}


def heat_maps(rows: dict, face, note: str = "") -> Figure:
    """Draw maps (7, h, w), a row for each key, beside BANDS over a gray face (48, 48)."""
    names, edges = ["bands", *EMOTIONS], np.unique([*BANDS.values()])
    figure, grid = panels(1.2 * len(rows) + 0.3, len(rows), len(names), squeeze=False)
    for axes, (kind, maps) in zip(grid, rows.items(), strict=True):
        dark = {"cmap": "gray", "vmin": face.min(), "vmax": 1.3 * face.max() + 1}
        axes[0].imshow(face, **dark, extent=(0, SIDE, SIDE, 0))
        axes[0].set_ylabel(kind, fontsize=8, color=GRAY)
        for band, ends in BANDS.items():
            axes[0].text(1, np.mean(ends), band, color="w", va="center", fontsize=6)
        most = np.nanquantile(maps, 0.995)
        for ax, picture in zip(axes[1:], maps, strict=True):
            shown = ax.imshow(picture, "magma", vmin=0, vmax=most, extent=(0, SIDE, SIDE, 0))
        figure.colorbar(shown, ax=axes).ax.tick_params(labelsize=7, colors=GRAY)
        for ax, name in zip(axes, names, strict=True):
            ax.hlines(edges, 0, SIDE, color="white", lw=0.6, ls=":")
            ax.set(xticks=[], yticks=[])
            ax.set_title(name, fontsize=8, fontweight="normal", pad=2, color=GRAY)
    return labeled(figure, "Heat maps, brighter where it counts more, beside a face's bands.", note)


def recalls(labels, predicted: dict[str, np.ndarray], note: str = "") -> Figure:
    """Draw the share of each emotion's faces recognized: a dot in its interval for each view."""
    (figure, ax), y = panels(0.5 * N_CLASSES + 1.1), np.arange(N_CLASSES)[::-1]
    for i, ((name, answers), mark) in enumerate(zip(predicted.items(), "osD^", strict=True)):
        table, at = metrics.per_class(labels, answers), y + 0.16 * (1.5 - i)
        ax.hlines(at, table["recall low"], table["recall high"], color=f"C{i}", lw=3, alpha=0.4)
        ax.plot(table["recall"], at, mark, color=f"C{i}", ms=5, label=f"{name} covered")
    ax.set_yticks(y, EMOTIONS)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="share of the emotion's faces recognized, with its 95% interval", xlim=(0, 1))
    figure.legend(loc="outside upper center", ncols=len(predicted), fontsize=8)
    return labeled(figure, "The share recognized of each emotion, a dot in its interval.", note)


def class_maps(maps: dict, labels, names, pairs, note: str = "") -> Figure:
    """Draw maps (n, 2) of faces colored by labels (n,), and lines between the medians of pairs."""
    figure, axes = panels(4.2, 1, len(maps))
    medians = [pd.DataFrame(points).groupby(labels).median() for points in maps.values()]
    for ax, (title, points), middles in zip(axes, maps.items(), medians, strict=True):
        for e, (name, mark) in enumerate(zip(names, "os^Dvp*", strict=True)):
            style = {"marker": mark, "color": f"C{e}", "label": name}
            ax.scatter(*points[labels == e].T, s=16, alpha=0.7, lw=0, **style)
        for i, j in pairs:
            ax.plot(*middles.reindex([i, j]).to_numpy().T, color="0.2", lw=1)
        ax.set(xticks=[], yticks=[], title=title)
    style = {"ncols": len(names), "fontsize": 7.5, "handletextpad": 0.1, "columnspacing": 1}
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", **style)
    box = {"fc": "white", "alpha": 0.8, "lw": 0, "pad": 1}
    for ax, middles in zip(axes, medians, strict=True):
        named = [(x, y, names[e]) for e, x, y in middles.itertuples()]
        name_points(ax, named, ABOVE_EACH_OTHER, bbox=box)
    joined = ", ".join(f"{names[i]}/{names[j]}" for i, j in pairs)
    label = (
        f"Maps of {len(labels)} faces as points, near where the last hidden layer is alike: "
        f"{', '.join(maps)}. A name stands at the median of each emotion or above or below it; "
        f"lines join: {joined}."
    )
    return labeled(figure, label, note)


def name_points(ax, named, places: dict, marks=(), **style) -> None:
    """Write each (x, y, name) where it covers the fewest names and marks (n, 2), as data."""
    ax.figure.draw_without_rendering()  # from here on boxes are known in pixels
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in ax.transData.transform(marks)]
    style |= {"textcoords": "offset points", "fontsize": 7.5}
    for x, y, name in named:
        texts = [ax.annotate(name, (x, y), at, ha=side, **style) for at, side in places.items()]
        texts.sort(key=lambda text: text.get_window_extent().count_overlaps(taken))
        taken.append(texts[0].get_window_extent())
        for text in texts[1:]:
            text.remove()


def pairs_apart(table: pd.DataFrame, note: str = "") -> Figure:
    """Draw the rate of each pair against the distance of its means, both of `pair_distances`."""
    figure, ax = panels(3.8)
    claimed, others = table[table["claimed"]], table[~table["claimed"]]
    ax.plot(others["distance"], others["rate"], "o", color="C0", label="other pairs")
    name = "pairs of the original's observations 1 to 3"
    ax.plot(claimed["distance"], claimed["rate"], "D", color="C1", label=name)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="distance of the means, in standard deviations", ylabel="share confused")
    ax.legend()
    place = ["distance", "rate"]
    name_points(ax, claimed[[*place, "pair"]].to_numpy(), BESIDE, table[place])
    return labeled(figure, "The share confused of pairs against the distance of their means.", note)

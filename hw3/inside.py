"""What the network looks at: Grad-CAM, input gradients, covered and changed faces, exciting inputs, the space of its last layer.

A network is a list of built Keras layers up to the logits, which `layers` gives: so any of its parts can be asked for what it
gives and for a gradient. Only `gradient` knows the backend. Faces go in as floats in [0, 1], shape (n, 48, 48, 1).

`python -m hw3 inside --data fer2013.csv` looks into the recorded CNN on PrivateTest and records averages, predictions and
coordinates in results/inside/cnn.npz, never a picture.
"""

import json
from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
from keras import ops
from scipy import ndimage

from hw3 import faces, metrics, pca, runs, train
from hw3.disk import ROOT, digest, write_atomically
from hw3.drawn import EXPRESSIONS
from hw3.faces import EMOTIONS

RECORDED = ROOT / "results" / "inside" / "cnn.npz"
LAST_MAPS, LAST_HIDDEN = "relu3_2", "relu_d2"  # of the CNN: 12x12 maps of 256 channels; 256 values
# Rows of a picture, from the brows down: three bands of one size over the whole width, so that none covers more than another.
BANDS = {"eyes": (11, 22), "nose": (22, 33), "mouth": (33, 44)}
# Where an action unit of drawn.UNITS shows most; nose is the band of the cheeks too.
SHOWS = {1: "eyes", 2: "eyes", 4: "eyes", 5: "eyes", 6: "nose", 7: "eyes", 9: "nose"}
SHOWS |= dict.fromkeys((12, 15, 16, 20, 23, 26), "mouth")

# What may happen to a picture before a network sees it: functions of pictures (n, 48, 48) float32, from 0 to 255.
CHANGES = {
    "moved by 4 pixels": lambda x: ndimage.shift(x, (0, 0, 4), order=1, mode="nearest"),
    "turned by 20 degrees": lambda x: ndimage.rotate(x, 20, (1, 2), reshape=False, order=1, mode="nearest"),
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
    """Return the gradient of objective(*inputs), a single number made with keras.ops and built layers, for each input."""
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


def attention(model: keras.Model, images: np.ndarray, labels: np.ndarray, last: str = LAST_MAPS, batch: int = 64) -> tuple:
    """Return Grad-CAM (n, h, w) and the size of the input gradients (n, 48, 48), each scaled to a maximum of 1.

    Both ask what raises the logit of the label. Grad-CAM: the maps of the layer named last, weighted by the mean gradient of
    their channel, summed, negative values cut (Selvaraju et al. 2017, arXiv 1610.02391). Input gradients: Simonyan et al. 2014,
    arXiv 1312.6034. images: uint8 (n, 48, 48).
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
    return np.stack([maps[labels == e].mean(0) if (labels == e).any() else np.full(maps.shape[1:], np.nan) for e in range(7)])


def by_band(maps: np.ndarray) -> np.ndarray:
    """Return the shares (7, 3) of mean maps (7, h, w) that lie in each of BANDS; h divides 48."""
    rows = np.repeat(maps.astype(float), faces.SIDE // maps.shape[1], axis=1).sum(2)
    return np.stack([rows[:, top:bottom].sum(1) for top, bottom in BANDS.values()], axis=1) / rows.sum(1, keepdims=True)


def cover(images: np.ndarray, band: str) -> np.ndarray:
    """Return the images (n, 48, 48), uint8, with a band painted in each image's own mean gray."""
    covered, (top, bottom) = images.copy(), BANDS[band]
    covered[:, top:bottom] = images.mean((1, 2)).round()[:, None, None]
    return covered


def occlusion(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the predicted labels (n,) of the images as they are ("nothing" covered) and with each band covered."""
    views = {"nothing": images} | {band: cover(images, band) for band in BANDS}
    return {name: train.predict(model, seen).argmax(1).astype(np.uint8) for name, seen in views.items()}


def change(images: np.ndarray, name: str) -> np.ndarray:
    """Return the images (n, 48, 48), uint8, changed by one of CHANGES; what leaves the range from black to white is cut off."""
    return np.clip(np.rint(CHANGES[name](images.astype(np.float32))), 0, 255).astype(np.uint8)


def predictions() -> dict[str, dict[str, int]]:
    """Return, for each emotion that has action units, how many of them show in each band: the most is to cost the most."""
    shown = {e: [SHOWS[unit] for unit in units] for e, units in zip(EMOTIONS, EXPRESSIONS, strict=True) if units}
    return {e: {band: bands.count(band) for band in BANDS} for e, bands in shown.items()}


def claimed() -> list[tuple[int, int]]:
    """Return the pairs of emotions, as codes, that the original's observations 1 to 3 name."""
    names = {name for statistics in list(metrics.OBSERVATIONS.values())[:3] for name in statistics}
    return [tuple(EMOTIONS.index(e) for e in name.split()[::2]) for name in sorted(names)]


def apart(found: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return `metrics.confused_pairs` of a look with the distance of each pair's means, and whether an observation names it."""
    table = metrics.confused_pairs(metrics.confusion(found["labels"], found["covered/nothing"]))
    codes = [sorted(EMOTIONS.index(e) for e in pair.split()[::2]) for pair in table["pair"]]
    marked = [sorted(pair) for pair in claimed()]
    return table.assign(distance=[float(found["distances"][i, j]) for i, j in codes], claimed=[c in marked for c in codes])


def judge(labels: np.ndarray, predicted: dict[str, np.ndarray], level: float = 0.95) -> dict[str, tuple]:
    """Test for each emotion that covering a band with the most of its action units costs more than one with fewer.

    Returns `metrics.decide` of each: verdict, the pair of bands that decides, and how many more of the faces are lost, as a
    share with the paired interval, widened for all pairs of all emotions (Bonferroni). predicted as from `occlusion`.
    """
    pairs = {e: [(a, b) for a in n if n[a] == max(n.values()) for b in n if n[b] < n[a]] for e, n in predictions().items()}
    level = 1 - (1 - level) / sum(map(len, pairs.values()))
    found = {}
    for emotion, bands in pairs.items():
        mine = labels == EMOTIONS.index(emotion)
        tests = {f"{a} – {b}": metrics.difference(labels[mine], predicted[b][mine], predicted[a][mine], level) for a, b in bands}  # noqa: RUF001
        found[emotion] = metrics.decide(tests)
    return found


SMOOTHED = 2  # times that the gradient is averaged over 3x3 pixels, in which it reaches so many pixels further


def excite(stack: list, filters: list[int], side: int = 36, steps: int = 32, rate: float = 0.02) -> np.ndarray:
    """Return one input (side, side) in [0, 1] for each filter of the last layer, found by gradient ascent on its middle value.

    It starts from gray with a little noise; the gradient is SMOOTHED, else fine noise wins (Olah et al.
    2017, doi 10.23915/distill.00007).
    """
    x = 0.5 + np.random.default_rng(0).normal(0, 0.02, (len(filters), side, side, 1)).astype(np.float32)
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


def hidden(model: keras.Model, images: np.ndarray, last: str = LAST_HIDDEN, batch: int = 128) -> np.ndarray:
    """Return what the layer named last gives for uint8 images (n, 48, 48): (n, 256) of the CNN."""
    stack = layers(model, last)
    parts = [through(stack, images[i : i + batch, :, :, None] / np.float32(255)) for i in range(0, len(images), batch)]
    return np.concatenate([ops.convert_to_numpy(part) for part in parts])


def space(values: np.ndarray, labels: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Return the "eigenvalues" (d,) of values (n, d), the "distances" (7, 7) of the emotions' means, and two maps.

    The maps "pca" and "tsne" (m, 2) are of the rows drawn. Mean, covariance and components are those of chapter 5; the axes of
    a larger matrix come from NumPy. t-SNE (van der Maaten and Hinton 2008) starts from the components. Distances are in units
    of the mean standard deviation within an emotion, over all axes; NaN where an emotion has no face.
    """
    from sklearn.manifold import TSNE

    values = values.astype(np.float64)
    eigenvalues, axes = np.linalg.eigh(pca.covariance(values))
    eigenvalues, axes = eigenvalues[::-1], axes[:, ::-1].T
    y = pca.components(values, axes[:30])
    means = averages(values[:, None], labels)[:, 0]
    within = np.sqrt(np.mean([((values[labels == e] - means[e]) ** 2).sum(1).mean() for e in np.unique(labels)]))
    distances = np.linalg.norm(means[:, None] - means, axis=-1) / within
    tsne = TSNE(init="pca", perplexity=min(30, len(drawn) / 4), random_state=0).fit_transform(y[drawn].astype(np.float32))
    return {"eigenvalues": eigenvalues, "distances": distances, "pca": y[drawn, :2], "tsne": tsne}


def look(model: keras.Model, images: np.ndarray, labels: np.ndarray, each: int = 100) -> dict[str, np.ndarray]:
    """Return all that the page shows of a network on labeled faces, without a picture.

    "labels" (n,) and "covered/<band>" (n,), the predictions of `occlusion`; "cam" (7, 12, 12) and "gradient" (7, 48, 48), means
    over the first `each` faces of each emotion; "drawn" (m,), the numbers of these faces; and `space` of all, mapped for them.
    """
    drawn = np.sort(np.concatenate([np.flatnonzero(labels == e)[:each] for e in range(7)]))
    cams, sizes = attention(model, images[drawn], labels[drawn])
    found = {"labels": labels.astype(np.uint8), "drawn": drawn.astype(np.uint16)}
    found |= {"cam": averages(cams, labels[drawn]), "gradient": averages(sizes, labels[drawn])}
    found |= {f"covered/{name}": predicted for name, predicted in occlusion(model, images).items()}
    return found | space(hidden(model, images), labels, drawn)


def recorded() -> tuple[dict, dict[str, np.ndarray]]:
    """Return what is said about the recorded look, with the digest of the weights, and the look itself."""
    with np.load(RECORDED, allow_pickle=False) as saved:
        return json.loads(str(saved["about"])), {name: saved[name] for name in saved.files if name != "about"}


def record(data) -> int:
    """Look into the recorded CNN on PrivateTest, record what is found, and return of how many faces.

    Raises ValueError or FileNotFoundError, in one line, without the whole of FER2013 or the recorded CNN.
    """
    runs.check_recordable(data)
    model, about = runs.load_small()
    private = data.only("PrivateTest")
    found = look(model, private.images, private.labels)
    for name in CHANGES:
        found[f"changed/{name}"] = train.predict(model, change(private.images, name)).argmax(1).astype(np.uint8)
    about = {"label": about["label"], "part": "PrivateTest", "weights": digest(runs.SMALL.read_bytes()), "n": len(private)}
    arrays = {k: v.astype(np.float16) if v.dtype.kind == "f" else v for k, v in found.items()}
    arrays["about"] = np.array(json.dumps(about))
    write_atomically(RECORDED, lambda file: np.savez_compressed(file, **arrays))
    return len(private)

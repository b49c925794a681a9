"""An audit of FER2013: identical and nearly identical pictures, in Training and between the parts.

Identical is to the last pixel. Nearly identical, `near`, is found in two steps. A coarse one: faces
of 12x12 pixels, the means of 4x4, each less its mean and of length 1, every one against every other
and its mirror image; a pair goes on if their product, the correlation, exceeds COARSE. A fine one:
the middle 42x42 pixels of one against every window of the other that is shifted by up to 3 pixels
each way, as they are and with either of them enlarged by ZOOM; the best correlation must reach
FINE. A correlation does not change with brightness and contrast. Pictures that pairs join, also
over a third one, make a family: numbers (N,), the same for the pictures of a family.
"""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from scipy import sparse, stats

from hw3 import faces
from hw3.disk import ROOT, write_atomically
from hw3.faces import SIDE, identical
from hw3.metrics import Interval
from hw3.runs import Run, check_recordable

FOLDER = ROOT / "results" / "audit"  # counts.json and leaks.npz
COARSE, FINE, SHIFT, ZOOM = 0.88, 0.94, 3, 1.08
FLAT = 8  # gray levels between the darkest and the brightest pixel of a constant picture, at most


def constant(images: np.ndarray, flat: int = FLAT) -> np.ndarray:
    """Return which (N,) of the images (N, 48, 48) show nothing: `flat` gray levels or fewer."""
    return np.ptp(images.reshape(len(images), -1), axis=1) <= flat


def near(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (m, 3) of nearly identical images and their correlations (m,), float32.

    A pair is two rows, the lower one first, and 1 if one of the two is mirrored, else 0. Of
    identical images only the first is looked at; constant ones are left out.
    """
    rows = np.sort(np.unique(identical(images), return_index=True)[1])
    rows = rows[~constant(images[rows])]
    small = images[rows].reshape(-1, 12, 4, 12, 4).mean((2, 4), dtype=np.float32)
    units, pairs = _unit(small), []
    for mirrored, query in enumerate((units, _unit(small[:, :, ::-1]))):
        for start in range(0, len(rows), 2048):
            close = np.argwhere(query[start : start + 2048] @ units[start:].T > COARSE)
            joined = rows[start:][close[close[:, 0] < close[:, 1]]]
            pairs.append(np.insert(joined, 2, mirrored, axis=1))
    pairs = np.concatenate(pairs)
    best = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), 500):
        best[start : start + 500] = _match(images, pairs[start : start + 500])
    return pairs[best >= FINE], best[best >= FINE]


def _unit(images):
    """Return each of the images (m, h, w) less its mean and of length 1, (m, h w), or zeros."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3)


def _match(images, pairs):
    """Return the best correlation (m,) of each pair over shifts and enlargements."""
    a, b = images[pairs[:, 0]].astype(np.float32), images[pairs[:, 1]].astype(np.float32)
    a = np.where(pairs[:, 2, None, None] == 1, a[:, :, ::-1], a)
    middle = (SIDE - 1) / 2
    place = (np.arange(SIDE) - middle) / ZOOM + middle  # linear interpolation about the middle
    zoom = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(SIDE))).astype(np.float32)
    larger_a, larger_b = zoom @ a @ zoom.T, zoom @ b @ zoom.T
    return np.max([_slide(a, b), _slide(larger_a, b), _slide(a, larger_b)], axis=0)


def _slide(a, b):
    """Return the best correlation (m,) of the middle of a with the windows of b (m, 48, 48)."""
    middle = _unit(a[:, SHIFT:-SHIFT, SHIFT:-SHIFT])
    windows = sliding_window_view(b, (SIDE - 2 * SHIFT,) * 2, (1, 2))
    places = np.ndindex(windows.shape[1:3])
    return np.max([np.vecdot(middle, _unit(windows[:, y, x])) for y, x in places], axis=0)


def families(same: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the families (N,) of images that `identical` numbers or pairs (m, 3) of rows join."""
    n, (first, second) = same.max() + 1, same[pairs[:, :2]].T
    joined = sparse.coo_array((np.ones(len(pairs)), (first, second)), (n, n))
    return sparse.csgraph.connected_components(joined, directed=False)[1][same]


def has_copy_in(family: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which (n,) of the rows have a copy, a member of their family, among other rows."""
    return np.isin(family[rows], family[others])


def known_rows(run: Run) -> np.ndarray:
    """Return the rows that a recorded run learned from or held out: Training, or PublicTest too."""
    part = recorded_copies()[2]
    return np.flatnonzero((part == faces.TRAINING) | (run.recipe.public & (part == faces.PUBLIC)))


def right_and_leaked(run: Run, part: str, family: np.ndarray, trained: np.ndarray) -> tuple:
    """Return which faces (n,) of a part a run has right, and which have a copy in trained rows."""
    labels, predicted = run.predicted(part)
    return predicted == labels, has_copy_in(family, run.predictions[part][0], trained)


def without_copies(run: Run, part: str, kind: str = "near") -> Run:
    """Return a recorded run with its predictions of the pictures without copies in `known_rows`."""
    _, leaked = right_and_leaked(run, part, recorded_copies()[1][kind], known_rows(run))
    kept = tuple(array[~leaked] for array in run.predictions[part])
    return replace(run, predictions={part: kept})


def split_leak(family: np.ndarray, held: int) -> float:
    """Return the expected share of so many held-out images, of n, that have a copy in the rest."""
    n, sizes = len(family), np.bincount(family)  # held-out ones are drawn at random
    all_others_held = [np.prod((held - np.arange(1, s)) / (n - np.arange(1, s))) for s in sizes]
    return float((sizes * (1 - np.array(all_others_held))).sum() / n)


def count(family: np.ndarray, part: np.ndarray, labels: np.ndarray) -> dict[str, int]:
    """Return the counts of families (N,): within Training, between the parts, by labels."""
    training, public, private = (np.flatnonzero(part == code) for code in range(faces.TEST))
    repeats, groups = np.bincount(family[training]), pd.Series(labels).groupby(family)
    counts = {
        "groups within Training": (repeats > 1).sum(),
        "pictures in them": repeats[repeats > 1].sum(),
        "PublicTest also in Training": has_copy_in(family, public, training).sum(),
        "PrivateTest also in Training": has_copy_in(family, private, training).sum(),
        "PrivateTest also in PublicTest": has_copy_in(family, private, public).sum(),
        "groups": (groups.size() > 1).sum(),
        "groups with different labels": (groups.nunique() > 1).sum(),
        "pictures of the largest group": groups.size().max(),
    }
    return {name: int(value) for name, value in counts.items()}


def audit(data: faces.Faces) -> tuple[dict, dict[str, np.ndarray]]:
    """Return all counts and {"identical" and "near": families (N,)} of labeled faces."""
    same = identical(data.images)
    pairs, _ = near(data.images)
    family = families(same, pairs)
    alike = {"pairs": len(pairs), "mirrored pairs": int(pairs[:, 2].sum())}
    alike |= count(family, data.part, data.labels)
    counts = {"constant": int(constant(data.images).sum())}
    counts["of one gray"] = int(constant(data.images, 0).sum())
    counts |= {"identical": count(same, data.part, data.labels), "near": alike}
    return counts, {"identical": same, "near": family}


def inflation(right: np.ndarray, leaked: np.ndarray, labels: np.ndarray | None = None) -> Interval:
    """Return the accuracy minus what it were if the leaked were right as often as the others.

    right, leaked: bool (n,). With labels (n,): as often as the others of the same label, so that
    another mix of labels among the leaked plays no part.
    """
    labels, value, variance = np.zeros(len(right)) if labels is None else labels, 0.0, 0.0
    for label in np.unique(labels[leaked]):
        copied, others = (right[which & (labels == label)] for which in (leaked, ~leaked))
        weight = len(copied) / len(right)
        value += weight * (copied.mean() - others.mean())
        variance += weight**2 * (copied.var() / len(copied) + others.var() / len(others))
    half = stats.norm.ppf(0.975) * np.sqrt(variance)
    return Interval(value, value - half, value + half, signed=True)


def record(counts: dict, by_kind: dict[str, np.ndarray], part: np.ndarray) -> None:
    """Write counts.json, keeping what was judged by eye, and part and families to leaks.npz."""
    path, arrays = FOLDER / "counts.json", {"part": part}
    besides = json.loads(path.read_text()) if path.exists() else {}
    for kind, family in by_kind.items():
        rows = np.flatnonzero(np.bincount(family)[family] > 1)  # in a family of 2 or more
        numbered = np.unique(family[rows], return_inverse=True)[1]
        arrays[f"{kind}/rows"] = rows.astype(np.uint16)
        arrays[f"{kind}/family"] = numbered.astype(np.uint16)
    text = json.dumps(besides | counts, indent=1) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
    write_atomically(FOLDER / "leaks.npz", lambda file: np.savez_compressed(file, **arrays))


def recorded_copies() -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """Return what `record` wrote, in the order of fer2013.csv: counts, families by kind, part.

    Raises ValueError where it is damaged.
    """
    try:
        counts = json.loads((FOLDER / "counts.json").read_text())
        with np.load(FOLDER / "leaks.npz", allow_pickle=False) as saved:
            part, by_kind = saved["part"], {}
            for kind in ("identical", "near"):
                by_kind[kind] = len(part) + np.arange(len(part))  # alone: a number of its own
                by_kind[kind][saved[f"{kind}/rows"]] = saved[f"{kind}/family"]
    except Exception as error:  # whatever json, NumPy and zip's checksums raise for odd bytes
        raise ValueError(f"results/audit is damaged: {error}: take it anew from git") from error
    return counts, by_kind, part


def recount(data: faces.Faces, write: bool = False) -> None:
    """Count anew, print the counts, and record them, or raise ValueError if the recorded differ."""
    check_recordable(data)
    counts, by_kind = audit(data)
    print(json.dumps(counts, indent=1))
    if write:
        record(counts, by_kind, data.part)
    elif any(recorded_copies()[0].get(key) != value for key, value in counts.items()):
        raise ValueError("these are not the recorded counts; audit --record writes them")

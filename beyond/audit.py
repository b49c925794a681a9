"""An audit of FER2013: identical and nearly identical pictures, within Training and between the
parts.

Identical is to the last pixel. Nearly identical, `near`, is found in two steps. A coarse one: faces
of 12x12 pixels, the means of 4x4, each less its mean and of length 1, every one against every other
and its mirror image; a pair goes on if their product, the correlation, exceeds COARSE. A fine one:
the middle 42x42 pixels of one against every window of the other that is shifted by up to 3 pixels
each way, as they are and with either of them enlarged by ZOOM; the best correlation must reach
FINE. A correlation does not change with brightness and contrast. Pictures that pairs join, also
over a third one, make a family.

`python -m beyond audit --data fer2013.csv` runs it and says whether the recorded counts come out
again; `--record` writes them.
"""

import json
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import sparse, stats

from hw3 import faces
from hw3.disk import ROOT, write_atomically
from hw3.faces import identical
from hw3.runs import Run, check_recordable

FOLDER = ROOT / "results" / "audit"  # counts.json and leaks.npz
COARSE, FINE, SHIFT, ZOOM = 0.88, 0.94, 3, 1.08
FLAT = 8  # gray levels between the darkest and the brightest pixel of a constant picture, at most


def constant(images: np.ndarray, flat: int = FLAT) -> np.ndarray:
    """Return which (N,) of the images (N, 48, 48) show nothing: darkest and brightest pixel at most
    `flat` gray levels apart.
    """
    return np.ptp(images.reshape(len(images), -1), axis=1) <= flat


def near(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (m, 3) of nearly identical, not identical images and their correlations (m,),
    float32.

    A pair is two rows, the lower one first, and 1 if one of the two is mirrored, else 0. Of
    identical images only the first is looked at; constant ones are left out.
    """
    rows = np.sort(np.unique(identical(images), return_index=True)[1])
    rows = rows[~constant(images[rows])]
    small = images[rows].reshape(-1, 12, 4, 12, 4).mean((2, 4), dtype=np.float32)
    pairs = []
    for mirrored, query in enumerate((_unit(small), _unit(small[:, :, ::-1]))):
        other = _unit(small)
        for start in range(0, len(rows), 2048):
            first, second = np.nonzero(query[start : start + 2048] @ other[start:].T > COARSE)
            first, second = (
                rows[start:][first[first < second]],
                rows[start:][second[first < second]],
            )
            pairs.append(np.stack([first, second, np.full(len(first), mirrored)], axis=1))
    pairs = np.concatenate(pairs)
    best = np.concatenate(
        [
            np.zeros(0, np.float32),
            *(_match(images, pairs[i : i + 500]) for i in range(0, len(pairs), 500)),
        ]
    )
    return pairs[best >= FINE], best[best >= FINE]


def _unit(images):
    """Return each of the images (m, h, w) less its mean and of length 1, (m, h w); one without any
    contrast becomes zeros.
    """
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3)


def _match(images, pairs):
    """Return the best correlation (m,) of each pair over shifts and enlargements."""
    a, b = images[pairs[:, 0]].astype(np.float32), images[pairs[:, 1]].astype(np.float32)
    a = np.where(pairs[:, 2, None, None] == 1, a[:, :, ::-1], a)
    place = (np.arange(faces.SIDE) - (faces.SIDE - 1) / 2) / ZOOM + (
        faces.SIDE - 1
    ) / 2  # linear interpolation about the middle
    zoom = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(faces.SIDE))).astype(np.float32)
    return np.max(
        [_slide(a, b), _slide(zoom @ a @ zoom.T, b), _slide(a, zoom @ b @ zoom.T)], axis=0
    )


def _slide(a, b):
    """Return the best correlation (m,) of the middle of a with the windows of b, both (m, 48, 48)
    float32.
    """
    middle = _unit(a[:, SHIFT:-SHIFT, SHIFT:-SHIFT])
    windows = sliding_window_view(b, (faces.SIDE - 2 * SHIFT,) * 2, (1, 2))
    return np.max(
        [np.vecdot(middle, _unit(windows[:, y, x])) for y, x in np.ndindex(windows.shape[1:3])],
        axis=0,
    )


def families(same: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return a number (N,) for each image, the same for those that `identical` numbers or pairs (m,
    3) of rows join.
    """
    n, numbered = len(same), np.unique(same, return_index=True)[1]
    first, second = np.r_[np.arange(n), pairs[:, 0]], np.r_[numbered[same], pairs[:, 1]]
    joined = sparse.coo_array((np.ones(len(first)), (first, second)), (n, n))
    return sparse.csgraph.connected_components(joined, directed=False)[1]


def seen(family: np.ndarray, rows: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Return which (n,) of the rows have a member of their family among the rows trained on."""
    return np.isin(family[rows], family[trained])


def learned(run: Run) -> np.ndarray:
    """Return the rows that a recorded run learned from or held out: all of Training, or all of
    Training and PublicTest.
    """
    part = recorded()[2]
    return np.flatnonzero((part == faces.TRAINING) | (run.recipe.public & (part == faces.PUBLIC)))


def right_and_leaked(
    run: Run, part: str, family: np.ndarray, trained: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which (n,) faces of a part a run has right, and which are `seen` among the rows
    trained on.
    """
    rows, labels, probabilities = run.predictions[part]
    return probabilities.argmax(1) == labels, seen(family, rows, trained)


def unseen(run: Run, part: str, kind: str = "near") -> Run:
    """Return a recorded run with its predictions of the pictures of a part that have no copy, of
    that kind, in `learned`.
    """
    _, leaked = right_and_leaked(run, part, recorded()[1][kind], learned(run))
    return replace(
        run, predictions={part: tuple(array[~leaked] for array in run.predictions[part])}
    )


def split_leak(family: np.ndarray, held: int) -> float:
    """Return the expected share of a held-out part that is seen as well, if `held` of the images
    (n,) are drawn at random.
    """
    n, sizes = len(family), np.bincount(family)
    all_others_held = [np.prod((held - np.arange(1, s)) / (n - np.arange(1, s))) for s in sizes]
    return float((sizes * (1 - np.array(all_others_held))).sum() / n)


def count(family: np.ndarray, part: np.ndarray, labels: np.ndarray) -> dict[str, int]:
    """Return the counts of one kind of family (N,): repeats within Training, leaks between the
    parts, differing labels.
    """
    training, public, private = (np.flatnonzero(part == code) for code in (0, 1, 2))
    sizes = np.bincount(family[training])
    _, inverse, members = np.unique(family, return_inverse=True, return_counts=True)
    kinds = np.unique(np.stack([inverse, labels]), axis=1)[
        0
    ]  # a family once for each of its labels
    return {
        "groups within Training": int((sizes > 1).sum()),
        "pictures in them": int(sizes[sizes > 1].sum()),
        "PublicTest also in Training": int(seen(family, public, training).sum()),
        "PrivateTest also in Training": int(seen(family, private, training).sum()),
        "PrivateTest also in PublicTest": int(seen(family, private, public).sum()),
        "groups": int((members > 1).sum()),
        "groups with different labels": int((np.bincount(kinds) > 1).sum()),
        "pictures of the largest group": int(members.max()),
    }


def exact(data: faces.Faces) -> dict:
    """Return the counts that need no near-duplicates: seconds, where `audit` takes most of a
    minute.
    """
    flat = {
        "constant": int(constant(data.images).sum()),
        "of one gray": int(constant(data.images, 0).sum()),
    }
    return flat | {"identical": count(identical(data.images), data.part, data.labels)}


def audit(data: faces.Faces) -> tuple[dict, dict[str, np.ndarray]]:
    """Return all counts and {"identical" and "near": families (N,)} of labeled faces."""
    same = identical(data.images)
    pairs, _ = near(data.images)
    family = families(same, pairs)
    found = {"pairs": len(pairs), "mirrored pairs": int(pairs[:, 2].sum())} | count(
        family, data.part, data.labels
    )
    return exact(data) | {"near": found}, {"identical": same, "near": family}


def inflation(
    right: np.ndarray, leaked: np.ndarray, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the accuracy on all n images minus that on those not leaked, and its normal interval;
    right, leaked: bool (n,).
    """
    clean, n = ~leaked, len(right)
    each = (right - right.mean()) / n - clean * (right - right[clean].mean()) / clean.sum()
    value, half = (
        right.mean() - right[clean].mean(),
        stats.norm.ppf((1 + level) / 2) * np.sqrt((each**2).sum()),
    )
    return value, value - half, value + half


def record(counts: dict, found: dict[str, np.ndarray], part: np.ndarray) -> None:
    """Write counts.json, keeping what it has besides (judged by eye), and leaks.npz: part (N,) and
    the families of 2 or more.
    """
    path, arrays = FOLDER / "counts.json", {"part": part}
    besides = json.loads(path.read_text()) if path.exists() else {}
    for kind, family in found.items():
        rows = np.flatnonzero(np.bincount(family)[family] > 1)
        numbered = np.unique(family[rows], return_inverse=True)[1]
        arrays |= {
            f"{kind}/rows": rows.astype(np.uint16),
            f"{kind}/family": numbered.astype(np.uint16),
        }
    write_atomically(
        path, lambda file: file.write((json.dumps(besides | counts, indent=1) + "\n").encode())
    )
    write_atomically(FOLDER / "leaks.npz", lambda file: np.savez_compressed(file, **arrays))


def recorded() -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """Return what record wrote: counts, {"identical" and "near": families (N,)} and part (N,), rows
    as in fer2013.csv.
    """
    with np.load(FOLDER / "leaks.npz", allow_pickle=False) as saved:
        part, found = saved["part"], {}
        for kind in ("identical", "near"):
            found[kind] = len(part) + np.arange(
                len(part)
            )  # a number of its own for each picture that is alone
            found[kind][saved[f"{kind}/rows"]] = saved[f"{kind}/family"]
    return json.loads((FOLDER / "counts.json").read_text()), found, part


def again(data: faces.Faces, write: bool = False) -> None:
    """Count anew, print the counts, and record them or compare. Raises ValueError where they are
    not the recorded ones.
    """
    check_recordable(data)
    counts, found = audit(data)
    print(json.dumps(counts, indent=1))
    if write:
        record(counts, found, data.part)
    elif any(recorded()[0].get(key) != value for key, value in counts.items()):
        raise ValueError("these are not the recorded counts; audit --record writes them")

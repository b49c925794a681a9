"""What ten people saw: FER+'s votes for each picture, beside labels and a network's predictions.

FER+ (Barsoum et al. 2016, arXiv 1608.01041; MIT license) gave each picture to ten people. Its file
fer2013new.csv has a row for each row of fer2013.csv. They could answer ten things: the seven
EMOTIONS and three more, OTHERS. Answers outside the seven stay answers: a voter who gave one did
not name an emotion, and a picture whose most frequent answer is one of them, or is shared by two,
has no majority. Only where seven classes are compared with seven are they left out.

Votes are (n, 10), whole numbers, in the order of ANSWERS. Those of PublicTest and PrivateTest are
recorded, so that readers without FER2013 can set them beside recorded predictions.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from hw3 import metrics
from hw3.disk import ROOT, write_atomically
from hw3.faces import EMOTIONS, FER2013, N_CLASSES, PARTS, TEST
from hw3.metrics import Interval
from hw3.sources import csvs, errors

OTHERS = ("Contempt", "Unknown", "Not a face")
ANSWERS = (*EMOTIONS, *OTHERS)
VOTERS = 10
HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)
ORDER = [6, 7, 8, 3, 5, 4, 2, 9, 10, 11]  # where each of ANSWERS stands in HEADER
RECORDED = ROOT / "results" / "votes" / "test.npz"
NONE = 255  # no majority
OWN = "take FER+'s own file, in its own order"


def read(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return part (N,) and votes (N, 10), both uint8, of fer2013new.csv. Raises FacesError."""
    path, part, votes = Path(path), [], []
    with errors.one_line(path):
        rows = csvs.rows(path)
        where, header = next(rows, (path.name, []))
        if ",".join(header) != HEADER:
            found = ascii(",".join(header)[:40])
            raise errors.bad(where, found, f"the header {HEADER}", OWN)
        for where, fields in rows:
            name = f"fer{len(part):07d}.png"  # a row that is moved would vote for another picture
            row = f"({'|'.join(PARTS[:TEST])}),({name})?(,[0-9]{{1,2}}){{10}}"
            whole = re.fullmatch(row, ",".join(fields))
            if not whole or not 0 < sum(map(int, fields[2:])) <= VOTERS:
                expected = f"a part, {name} or no name, and 1 to 10 votes in all"
                raise errors.bad(where, ascii(",".join(fields)[:60]), expected, OWN)
            part.append(PARTS.index(fields[0]))
            votes.append([int(fields[i]) for i in ORDER])
    if not votes:
        raise errors.bad(path.name, "only a header", "a row for each face", "copy it anew")
    return np.array(part, np.uint8), np.array(votes, np.uint8)


def record(path: str | Path) -> int:
    """Write the votes of PublicTest and PrivateTest and their rows to RECORDED; return how many.

    Raises FacesError, with nothing written, unless the file has a row for each row of fer2013.csv.
    """
    part, votes = read(path)
    if len(part) != FER2013 or set(np.unique(part)) != {0, 1, 2}:
        found, expected = f"{len(part):,} rows", f"the {FER2013:,} of FER2013"
        raise errors.bad(Path(path).name, found, expected, OWN)
    rows = np.flatnonzero(part)
    arrays = {"rows": rows.astype(np.uint16), "votes": votes[rows]}
    write_atomically(RECORDED, lambda file: np.savez_compressed(file, **arrays))
    return len(rows)


def recorded_votes(rows: np.ndarray) -> np.ndarray:
    """Return the recorded votes (n, 10) of rows of fer2013.csv. ValueError: a row of Training."""
    with np.load(RECORDED, allow_pickle=False) as saved:
        votes = pd.DataFrame(saved["votes"].astype(int), saved["rows"])
    if not np.isin(rows, votes.index).all():
        raise ValueError("votes are recorded for the rows of PublicTest and PrivateTest only")
    return votes.loc[rows].to_numpy()


def majority(votes: np.ndarray) -> np.ndarray:
    """Return the most frequent answer (n,) as a label; NONE where it is shared or one of OTHERS."""
    top = votes.argmax(1)
    alone = (votes == votes.max(1, keepdims=True)).sum(1) == 1
    return np.where(alone & (top < N_CLASSES), top, NONE)


def crowd(labels: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Return the votes (7, 10) for each answer, column, summed over each label's pictures, row."""
    return np.eye(N_CLASSES, dtype=int)[labels].T @ votes


def against_nine(votes: np.ndarray, predicted: np.ndarray | None = None) -> tuple:
    """Return how often (n,) an answer is the majority of nine voters, and how often they have one.

    The nine are all but one, each left out once. The answer is that of the one left out, or a
    network's label in predicted (n,).
    """
    without_one = (votes[:, None] - np.eye(len(ANSWERS), dtype=int)).reshape(-1, len(ANSWERS))
    nine = majority(without_one).reshape(votes.shape)
    answer = np.arange(len(ANSWERS)) if predicted is None else predicted[:, None]
    return (votes * (nine == answer)).sum(1), (votes * (nine < N_CLASSES)).sum(1)


def ratio(hits: np.ndarray, asked: np.ndarray, signed: bool = False) -> Interval:
    """Return sum(hits) / sum(asked); its normal interval is of pictures (n,) drawn, not voters."""
    value = hits.sum() / asked.sum()
    half = stats.norm.ppf(0.975) * np.sqrt(((hits - value * asked) ** 2).sum()) / asked.sum()
    return Interval(value, value - half, value + half, signed=signed)


def by_agreement(votes: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """Return accuracy, low, high (Wilson) and n for each number of voters, of ten, who agree.

    right (n,) is true where a prediction is. Numbers below 4 stand with 4; numbers that do not
    occur are left out. Raises ValueError where a picture has not ten votes.
    """
    if (votes.sum(1) != VOTERS).any():
        raise ValueError("not every picture has ten votes")
    found = pd.Series(right).groupby(np.maximum(votes.max(1), 4)).agg(["sum", "size"])[::-1]
    rows = [(*metrics.proportion(k, n), n) for k, n in found.to_numpy()]
    names = found.index.astype(str).str.replace("4", "4 or fewer")
    return pd.DataFrame(rows, names, columns=["accuracy", "low", "high", "n"])


def sides(labels: np.ndarray, predicted: np.ndarray, votes: np.ndarray) -> dict[str, int]:
    """Return what the majority of voters backs where prediction and label differ: its counts."""
    wrong = labels != predicted
    backed = majority(votes)[wrong]
    backs = {"the prediction": predicted[wrong], "the label": labels[wrong], "no majority": NONE}
    counts = {name: int((backed == which).sum()) for name, which in backs.items()}
    return counts | {"a third emotion": len(backed) - sum(counts.values())}


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation of (7, 7) matrices of shares, off the diagonal, without NaN."""
    use = ~np.eye(N_CLASSES, dtype=bool) & np.isfinite(first) & np.isfinite(second)
    return float(np.corrcoef(first[use], second[use])[0, 1])


def unrelated(counts: np.ndarray) -> np.ndarray:
    """Return the shares of counts (..., 7, 7), rows labels, if wrong answers ignored the label.

    How often each label is mistaken and how often each emotion is a wrong answer stays as it is:
    quasi-independence (Goodman 1968), fitted to rows and columns in turn. The diagonal is 0.
    """
    wrong = counts * (1 - np.eye(N_CLASSES))
    fit = np.broadcast_to(1 - np.eye(N_CLASSES), wrong.shape)
    for axis in (-1, -2) * 100:
        now, goal = fit.sum(axis, keepdims=True), wrong.sum(axis, keepdims=True)
        fit = fit * np.divide(goal, now, out=np.zeros_like(now), where=now > 0)
    return fit / np.maximum(counts.sum(-1, keepdims=True), 1)


def alike(labels: np.ndarray, predicted: np.ndarray, votes: np.ndarray, copies=1000) -> np.ndarray:
    """Return `correlation` of the crowd's and the network's confusions, and its 95% interval (3,).

    A second row is that of their differences from `unrelated`. The interval is the basic one of so
    many bootstrap samples of the pictures (Davison and Hinkley 1997, section 5.2), the same each
    time: sampling alone lowers a correlation, so the samples' quantiles are mirrored about it.
    """
    n, classes, counts = len(labels), np.eye(N_CLASSES), []
    samples = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), copies)
    for weights in (np.ones(n), *samples):
        weighted = (classes[labels] * weights[:, None]).T
        counts += weighted @ votes[:, :N_CLASSES], weighted @ classes[predicted]
    shares = np.array([metrics.shares(c) for c in counts])
    kinds = shares, shares - unrelated(np.array(counts))
    r = [[correlation(*both) for both in zip(k[::2], k[1::2], strict=True)] for k in kinds]
    value, drawn = np.split(np.array(r), [1], axis=1)
    ends = 2 * value - np.nanquantile(drawn, [0.975, 0.025], axis=1).T
    return np.hstack([value, np.minimum(ends, 1)])

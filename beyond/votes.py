"""What ten people saw: the votes of FER+ for each picture of FER2013, beside the labels and a
network's predictions.

FER+ (Barsoum et al. 2016, arXiv 1608.01041; MIT license) gave each picture to ten people. Its file
fer2013new.csv has a row for each row of fer2013.csv. They could answer ten things: the seven
EMOTIONS and three more, OTHERS. Answers outside the seven stay answers: a voter who gave one did
not name an emotion, and a picture whose most frequent answer is one of them, or is shared by two,
has no majority. Only where seven classes are compared with seven are they left out.

Votes are (n, 10), whole numbers, in the order of ANSWERS. `python -m beyond votes fer2013new.csv`
records those of PublicTest and PrivateTest in results/votes/test.npz, so that readers without
FER2013 can set them beside recorded predictions.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from hw3 import metrics
from hw3.disk import ROOT, write_atomically
from hw3.faces import EMOTIONS, PARTS
from hw3.runs import FER2013
from hw3.sources import csvs, errors

OTHERS = ("Contempt", "Unknown", "Not a face")
ANSWERS = (*EMOTIONS, *OTHERS)
SEVEN = len(EMOTIONS)
VOTERS = 10
HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)
ORDER = [
    6,
    7,
    8,
    3,
    5,
    4,
    2,
    9,
    10,
    11,
]  # where in HEADER each of ANSWERS stands: anger, disgust, fear, happiness, ...
RECORDED = ROOT / "results" / "votes" / "test.npz"
NONE = 255  # no majority


def read(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return part (N,), index into PARTS, and votes (N, 10), both uint8, of fer2013new.csv. Raises
    FacesError in one line.
    """
    path, part, votes = Path(path), [], []
    with errors.one_line(path):
        rows = csvs.rows(path)
        where, header = next(rows, (path.name, []))
        if ",".join(header) != HEADER:
            raise errors.bad(
                where, ascii(",".join(header)[:40]), f"the header {HEADER}", "take FER+'s own file"
            )
        for where, fields in rows:
            cells = [fields[i] for i in ORDER] if len(fields) == 12 else []
            numbers = [int(c) if c.isascii() and c.isdigit() and len(c) < 3 else 99 for c in cells]
            if not cells or fields[0] not in PARTS[:3] or not 0 < sum(numbers) <= VOTERS:
                found = ascii(",".join(fields)[:60])
                raise errors.bad(
                    where, found, "a part, a name and 1 to 10 votes in all", "correct the row"
                )
            if fields[1] not in (
                "",
                name := f"fer{len(part):07d}.png",
            ):  # a row that is moved would vote for another picture
                raise errors.bad(
                    where, ascii(fields[1][:40]), name, "take FER+'s own file, in its own order"
                )
            part.append(PARTS.index(fields[0]))
            votes.append(numbers)
    if not votes:
        raise errors.bad(path.name, "only a header", "a row for each face", "copy it anew")
    return np.array(part, np.uint8), np.array(votes, np.uint8)


def record(path: str | Path) -> int:
    """Write the votes of PublicTest and PrivateTest and their row numbers to RECORDED; return how
    many.

    Raises FacesError, with nothing written, unless the file has a row for each row of fer2013.csv.
    """
    part, votes = read(path)
    if len(part) != FER2013 or set(np.unique(part)) != {0, 1, 2}:
        raise errors.bad(
            Path(path).name,
            f"{len(part):,} rows",
            f"the {FER2013:,} of FER2013",
            "take FER+'s own file",
        )
    rows = np.flatnonzero(part)
    write_atomically(
        RECORDED,
        lambda file: np.savez_compressed(file, rows=rows.astype(np.uint16), votes=votes[rows]),
    )
    return len(rows)


def recorded(rows: np.ndarray) -> np.ndarray:
    """Return the recorded votes (n, 10), int64, of these rows of fer2013.csv. Raises ValueError for
    rows of other parts.
    """
    with np.load(RECORDED, allow_pickle=False) as saved:
        known, votes = saved["rows"].astype(int), saved["votes"].astype(int)
    place = np.searchsorted(known, rows)
    if (known[np.minimum(place, len(known) - 1)] != rows).any():
        raise ValueError("votes are recorded for the rows of PublicTest and PrivateTest only")
    return votes[place]


def majority(votes: np.ndarray) -> np.ndarray:
    """Return the most frequent answer (n,) as a label; NONE where two share that place or where it
    is one of OTHERS.
    """
    top = votes.argmax(1)
    alone = (votes == votes.max(1, keepdims=True)).sum(1) == 1
    return np.where(alone & (top < SEVEN), top, NONE)


def crowd(labels: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Return the votes (7, 10) for each answer, column, summed over the pictures of each label,
    row.
    """
    return np.eye(SEVEN, dtype=int)[labels].T @ votes


def other_nine(votes: np.ndarray) -> np.ndarray:
    """Return (n, 10): the majority of the others if one voter of each answer is left out; NONE
    where nobody gave that answer.
    """
    rest = [
        np.where(votes[:, a] > 0, majority(votes - np.eye(len(ANSWERS), dtype=int)[a]), NONE)
        for a in range(len(ANSWERS))
    ]
    return np.stack(rest, axis=1)


def one_voter(votes: np.ndarray) -> np.ndarray:
    """Return the counts (7, 10) of one voter's answer, column, against the majority of the other
    nine, row: each voter once.
    """
    rest, counts = other_nine(votes), np.zeros((SEVEN, len(ANSWERS)), int)
    image, answer = np.nonzero(rest < SEVEN)
    np.add.at(counts, (rest[image, answer], answer), votes[image, answer])
    return counts


def against_nine(
    votes: np.ndarray, predicted: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return per picture (n,) how often an answer is the majority of nine voters, and how often
    nine voters have one.

    The nine are all but one, each left out once. The answer is that of the one left out, or a
    network's label in predicted (n,).
    """
    rest = other_nine(votes)
    answer = np.arange(len(ANSWERS)) if predicted is None else predicted[:, None]
    return (votes * (rest == answer)).sum(1), (votes * (rest < SEVEN)).sum(1)


def ratio(hits: np.ndarray, asked: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return sum(hits) / sum(asked) and its normal interval for pictures (n,) drawn independently,
    not voters.
    """
    value = hits.sum() / asked.sum()
    half = (
        stats.norm.ppf((1 + level) / 2) * np.sqrt(((hits - value * asked) ** 2).sum()) / asked.sum()
    )
    return value, value - half, value + half


def by_agreement(votes: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """Return the share of right (n,) with its Wilson interval and n, for each number of voters, of
    ten, who agree.

    Numbers below 4 stand with 4; numbers that do not occur are left out. Raises ValueError where a
    picture has not ten votes.
    """
    if (votes.sum(1) != VOTERS).any():
        raise ValueError("not every picture has ten votes")
    top, rows = np.maximum(votes.max(1), 4), {}
    for k in range(VOTERS, 3, -1):
        if n := int((top == k).sum()):
            rows[f"{k} of 10" if k > 4 else "4 or fewer"] = (
                *metrics.proportion(right[top == k].sum(), n),
                n,
            )
    return pd.DataFrame.from_dict(rows, orient="index", columns=["accuracy", "low", "high", "n"])


def sides(labels: np.ndarray, predicted: np.ndarray, votes: np.ndarray) -> dict[str, int]:
    """Return, of the predictions that differ from the label, how many the majority of voters backs,
    or what it says instead.
    """
    wrong = labels != predicted
    said, label, guess = majority(votes)[wrong], labels[wrong], predicted[wrong]
    counts = {
        "the prediction": (said == guess).sum(),
        "the label": (said == label).sum(),
        "no majority": (said == NONE).sum(),
    }
    counts = {name: int(count) for name, count in counts.items()}
    return counts | {"a third emotion": int(wrong.sum()) - sum(counts.values())}


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation of the 42 cells off the diagonal of two (7, 7) matrices of
    shares; NaN cells are left out.
    """
    use = ~np.eye(SEVEN, dtype=bool) & np.isfinite(first) & np.isfinite(second)
    return float(np.corrcoef(first[use], second[use])[0, 1])


def alike(
    labels: np.ndarray, predicted: np.ndarray, votes: np.ndarray, copies: int = 1000, seed: int = 0
) -> tuple:
    """Return the correlation of the crowd's and the network's confusions (row shares of the seven),
    and its 95% interval.

    It is the basic one of so many bootstrap samples of the pictures (Davison and Hinkley 1997,
    section 5.2), the same for the same seed: sampling alone lowers a correlation, so the samples'
    quantiles are mirrored about the value.
    """
    rows, guess = np.eye(SEVEN)[labels], np.eye(SEVEN)[predicted]
    rng, values = np.random.default_rng(seed), []
    for weights in (
        np.ones(len(labels)),
        *rng.multinomial(len(labels), np.full(len(labels), 1 / len(labels)), copies),
    ):
        weighted = (rows * weights[:, None]).T
        values.append(
            correlation(
                metrics.shares(weighted @ votes[:, :SEVEN]), metrics.shares(weighted @ guess)
            )
        )
    return values[0], *np.minimum(2 * values[0] - np.nanquantile(values[1:], [0.975, 0.025]), 1)

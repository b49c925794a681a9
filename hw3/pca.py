"""The worked example of PCA: ten samples in three dimensions, one small function a step.

The steps are those of a hand calculation: the characteristic polynomial of the 3x3 covariance; its
roots by Viete's formula; each eigenvector as a cross product. Nothing has a unit.
"""

import numpy as np
import pandas as pd

from hw3 import original

_TEXT = "1 2 3, 4 8 5, 3 12 9, 1 8 5, 5 14 2, 7 4 1, 9 8 9, 3 8 1, 11 5 6, 10 11 7"
SAMPLES = np.array([sample.split() for sample in _TEXT.split(", ")], float)


def covariance(x: np.ndarray) -> np.ndarray:
    """Return the (3, 3) covariance of samples x (N, 3), divided by N as the original does."""
    centered = x - x.mean(axis=0)
    return centered.T @ centered / len(x)


def characteristic(c: np.ndarray) -> np.ndarray:
    """Return (1, -a, b, -d) of det(lambda I - C) = lambda^3 - a lambda^2 + b lambda - d.

    C is 3x3: a is its trace, b the sum of the three principal 2x2 minors, d the determinant.
    """
    minors = [c[i, i] * c[j, j] - c[i, j] * c[j, i] for i, j in ((0, 1), (0, 2), (1, 2))]
    return np.array([1.0, -np.trace(c), sum(minors), -c[0] @ np.cross(c[1], c[2])])


def eigenvalues(polynomial: np.ndarray) -> np.ndarray:
    """Return the three real roots of (1, -a, b, -d), largest first, by the trigonometric formula.

    With m = a / 3, r = sqrt(m^2 - b / 3) and cos(phi) = (m^3 - m b / 2 + d / 2) / r^3 they are
    m + 2 r cos((phi - 2 pi j) / 3) for j = 0, 1, 2. Raises ValueError where the three are equal.
    """
    _, a, b, d = polynomial * (1, -1, 1, -1)
    m = a / 3
    r = np.sqrt(max(m**2 - b / 3, 0))
    if r <= 1e-7 * abs(m):
        raise ValueError("the three eigenvalues are equal: every direction is a principal axis")
    phi = np.arccos(np.clip((m**3 - m * b / 2 + d / 2) / r**3, -1, 1))
    return np.sort(m + 2 * r * np.cos((phi - 2 * np.pi * np.arange(3)) / 3))[::-1]


def eigenvector(c: np.ndarray, value: float) -> np.ndarray:
    """Return the unit v (3,) with C v = value v for a simple root; its largest entry is positive.

    v is orthogonal to every row of C - value I, so it is the cross product of two of them; of the
    three products the longest is taken, since rows that are nearly parallel lose digits.
    """
    rows = c - value * np.eye(3)
    v = max((np.cross(rows[i], rows[j]) for i, j in ((0, 1), (0, 2), (1, 2))), key=np.linalg.norm)
    v = v / np.linalg.norm(v)
    return v * np.sign(v[np.abs(v).argmax()])


def principal_axes(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a covariance's eigenvalues (3,), largest first, and axes (3, 3), one a row."""
    values = eigenvalues(characteristic(c))
    return values, np.array([eigenvector(c, value) for value in values])


def components(x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return the (N, 3) coordinates of the centered samples along the axes, one column an axis."""
    return (x - x.mean(axis=0)) @ axes.T


def reconstruct(x: np.ndarray, axes: np.ndarray, dimensions: int = 2) -> np.ndarray:
    """Return the (N, 3) samples rebuilt from their mean and their first components."""
    kept = axes[:dimensions]
    return x.mean(axis=0) + components(x, kept) @ kept


def errors(x: np.ndarray, rebuilt: np.ndarray) -> np.ndarray:
    """Return the (N,) L2 distances between samples and their reconstructions."""
    return np.linalg.norm(x - rebuilt, axis=1)


def align(axes: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the axes (3, 3), each signed to point as the same row of the reference does."""
    return axes * np.sign(np.sum(axes * reference, axis=1, keepdims=True))


def answers(x: np.ndarray = SAMPLES) -> dict[str, np.ndarray]:
    """Return ours of all that original.PCA has, under the same names and with its signs of axes."""
    c = covariance(x)
    values, axes = principal_axes(c)
    axes = align(axes, np.array(original.PCA["axes"], float))
    ours = {"covariance": c, "eigenvalues": values, "axes": axes}
    return ours | {"components": components(x, axes), "errors": errors(x, reconstruct(x, axes))}


def compare(ours: dict[str, np.ndarray], stated: dict[str, list] = original.PCA) -> pd.DataFrame:
    """Return a row a stated number: quantity, place (from 1), original, ours, slip.

    A number is a slip if it is not ours rounded to the digits that it was written with.
    """
    rows = []
    for quantity, written in stated.items():
        for index, text in np.ndenumerate(np.array(written)):
            place = ", ".join(str(i + 1) for i in index)
            value, digits = float(ours[quantity][index]), len(text.partition(".")[2])
            slip = f"{value:.{digits}f}" != text
            rows.append((quantity, place, str(text), value, slip))
    return pd.DataFrame(rows, columns=["quantity", "place", "original", "ours", "slip"])


def latex(a: np.ndarray, digits: int) -> str:
    """Return a matrix (a vector as a column) as LaTeX, with so many digits after the point."""
    rows = np.asarray(a, float).reshape(len(a), -1)
    body = r" \\ ".join(" & ".join(f"{v:.{digits}f}" for v in row) for row in rows)
    return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"

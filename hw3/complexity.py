"""Question 4: what a convolution costs, by formula, by counting while it runs, and by the clock.

The input has n x n positions and c_in channels; c_out kernels of k x k move over it with stride s,
after p zeros were put on every side. Values are 32-bit floats.
"""

from collections import namedtuple
from dataclasses import dataclass
from math import prod
from time import perf_counter

import numpy as np
import pandas as pd
from scipy import stats

BYTES = 4  # of one 32-bit float
Slope = namedtuple("Slope", ["value", "low", "high", "intercept"])  # of a line, with an interval

LAYERS = {  # the question's two, both without padding, on an image of 8 x 8 x 5
    "A": {"n": 8, "k": 2, "c_in": 5, "c_out": 6, "s": 3},
    "B": {"n": 3, "k": 2, "c_in": 6, "c_out": 4, "s": 2},
}


def output_size(n: int, k: int, p: int = 0, s: int = 1) -> int:
    """Return the positions along one side of the output: floor((n + 2p - k) / s) + 1.

    Raises ValueError for a value that is not whole or too small, or a kernel that does not fit.
    """
    for name, value, least in (("n", n, 1), ("k", k, 1), ("p", p, 0), ("s", s, 1)):
        _whole(name, value, least)
    if k > n + 2 * p:
        problem = f"a kernel of {k} does not fit in an input of {n} with padding {p}"
        raise ValueError(f"{problem}: k must be at most n + 2p")
    return (n + 2 * p - k) // s + 1


def _whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}")


@dataclass(frozen=True)
class Cost:
    """What one convolution costs for one image. Multiplying by a zero of the padding counts too."""

    size: int  # positions along one side of the output
    parameters: int  # weights and biases
    multiplications: int
    additions: int  # without the bias, as the original counts
    bias_additions: int  # one a value of the output; with them, as many as multiplications
    parameter_bytes: int
    output_bytes: int


def convolution_cost(n: int, k: int, c_in: int, c_out: int, p: int = 0, s: int = 1) -> Cost:
    """Return the cost of one convolution by formula; ValueError as in `output_size`."""
    size = output_size(n, k, p, s)
    _whole("c_in", c_in, 1)
    _whole("c_out", c_out, 1)
    values, window = size**2 * c_out, k**2 * c_in
    parameters = window * c_out + c_out
    operations = values * window, values * (window - 1), values
    return Cost(size, parameters, *operations, BYTES * parameters, BYTES * values)


def operation_bound(n: int, k: int, c_in: int, c_out: int, p: int = 0, s: int = 1) -> float:
    """Return the original's bound on operations: c_out ((n + 2p - k + s) / s)^2 (2 c_in k^2 - 1).

    Exact where s divides n + 2p - k, else below 4 times too large: x / floor(x) < 2 for x >= 1.
    """
    convolution_cost(n, k, c_in, c_out, p, s)  # raises on bad geometry
    return c_out * ((n + 2 * p - k + s) / s) ** 2 * (2 * c_in * k**2 - 1)


def counting_convolution(image, kernels, bias=None, p: int = 0, s: int = 1) -> tuple:
    """Convolve one operation at a time; return the result (size, size, c_out) and {kind: count}.

    image: (n, n, c_in); kernels: (k, k, c_in, c_out), as Keras keeps them; bias: (c_out,) or None.
    Raises ValueError for shapes that do not belong together.
    """
    image, kernels = np.asarray(image, float), np.asarray(kernels, float)
    n, (k, _, c_in, c_out) = len(image), kernels.shape
    if image.shape != (n, n, c_in) or kernels.shape != (k, k, c_in, c_out):
        need = "need a square image (n, n, c_in) and kernels (k, k, c_in, c_out)"
        raise ValueError(f"{need}, not {image.shape}, {kernels.shape}")
    size = output_size(n, k, p, s)
    padded = np.pad(image, ((p, p), (p, p), (0, 0)))
    result = np.empty((size, size, c_out))
    count = {"multiplications": 0, "additions": 0, "bias_additions": 0}
    for row, column, out in np.ndindex(result.shape):
        total = None
        for i, j, c in np.ndindex(k, k, c_in):
            product = padded[row * s + i, column * s + j, c] * kernels[i, j, c, out]
            count["multiplications"] += 1
            if total is not None:  # the first product is kept; each later one costs an addition
                product += total
                count["additions"] += 1
            total = product
        if bias is not None:
            total += bias[out]
            count["bias_additions"] += 1
        result[row, column, out] = total
    return result, count


def layer_table(model) -> pd.DataFrame:
    """Return one row a layer of a built Keras model (channels last), for one image.

    output is its shape without the batch, bytes its size. multiply-adds: each weight of a kernel is
    used once for every position of the output, of which dense layers have one; other layers are 0.
    """
    rows = []
    for layer in model.layers:
        shape = layer.output.shape[1:]
        kernel = getattr(layer, "kernel", None)
        work = 0 if kernel is None else prod(shape[:-1]) * prod(kernel.shape)
        row = layer.name, type(layer).__name__, shape, layer.count_params(), work
        rows.append((*row, BYTES * prod(shape)))
    columns = ["layer", "kind", "output", "parameters", "multiply-adds", "bytes"]
    return pd.DataFrame(rows, columns=columns)


def loglog_slope(x, y, level: float = 0.95) -> Slope:
    """Fit log y = intercept + slope log x by least squares, with Student's interval of the slope.

    It covers the scatter of the points about the line, not a bend of the truth away from a line.
    """
    fit = stats.linregress(np.log(x), np.log(y))
    half = stats.t.ppf((1 + level) / 2, len(x) - 2) * fit.stderr
    return Slope(fit.slope, fit.slope - half, fit.slope + half, fit.intercept)


# What is timed: one 3x3 convolution with padding "same" and C_in = C_out = C. Its 9 n^2 C^2
# multiplications predict slope 2 in n and in C. The sizes start where a call takes milliseconds,
# well above the fixed cost of calling the backend.
FIXED = {"n": 48, "C": 64}
SMOKE = (96, 128, 192, 256)
QUICK = (*SMOKE, 384, 512)
FULL = (128, 192, 256, 384, 512, 768, 1024)
# by profile: the sizes, and how often each is timed
SIZES = {"smoke": (SMOKE, 5), "quick": (QUICK, 7), "full": (FULL, 15), "cpu": (FULL, 15)}


def measure(profile: str = "quick") -> pd.DataFrame:
    """Time Keras's convolution on the current backend and device, with the sizes of a profile.

    Returns one row a size: varied ("n" or "C"), n, C, multiplications and the median seconds.
    """
    sizes, repeats = SIZES[profile]
    rows = [("n", n, FIXED["C"]) for n in sizes] + [("C", FIXED["n"], c) for c in sizes]
    calls = [_convolution(n, c) for _, n, c in rows]
    # By turns, so that a disturbance from outside slows all sizes, and not one; the first compile.
    taken = [[seconds(call) for call in calls] for _ in range(repeats + 1)][1:]
    costs = [convolution_cost(n, 3, c, c, p=1).multiplications for _, n, c in rows]
    times = pd.DataFrame(rows, columns=["varied", "n", "C"])
    return times.assign(multiplications=costs, seconds=np.median(taken, axis=0))


def _convolution(n: int, c: int):
    """Return a function that convolves a random (n, n, c) image and returns one value of it."""
    from hw3.backend import ops

    random = np.random.default_rng(0)
    image = ops.convert_to_tensor(random.standard_normal((1, n, n, c), dtype=np.float32))
    kernels = ops.convert_to_tensor(random.standard_normal((3, 3, c, c), dtype=np.float32))
    return lambda: ops.conv(image, kernels, padding="same")[0, 0, 0, 0]


def seconds(call) -> float:
    """Return the seconds until the one number a call returns is read; more would time a copy."""
    from hw3.backend import ops

    start = perf_counter()
    ops.convert_to_numpy(call())
    return perf_counter() - start

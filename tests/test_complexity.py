"""Chapter 4: the numbers of the question, by formula, Keras, counting and the page's calculator."""

import json
import re
import shutil
import subprocess
from dataclasses import asdict

import keras
import numpy as np
import pytest

from hw3 import complexity, figures, models, original, recipes

A, B = complexity.LAYERS["A"], complexity.LAYERS["B"]
GEOMETRIES = [
    (8, 2, 0, 3),
    (3, 2, 0, 2),
    (5, 3, 1, 1),
    (7, 3, 0, 2),
    (6, 3, 1, 2),
    (4, 1, 0, 1),
    (5, 5, 2, 3),
    (1, 3, 1, 1),
]


@pytest.mark.parametrize(
    ("layer", "size", "parameters", "multiplications", "additions"),
    [(A, 3, 126, 1080, 1026), (B, 1, 100, 96, 92)],
)
def test_the_formula_answers_the_question(layer, size, parameters, multiplications, additions):
    cost = complexity.convolution_cost(**layer)
    assert (cost.size, cost.parameters) == (size, parameters)
    assert (cost.multiplications, cost.additions) == (multiplications, additions)
    assert cost.additions + cost.bias_additions == cost.multiplications
    assert (cost.parameter_bytes, cost.output_bytes) == (
        4 * parameters,
        4 * size**2 * layer["c_out"],
    )


def test_layer_b_takes_what_layer_a_gives():
    assert (B["n"], B["c_in"]) == (complexity.convolution_cost(**A).size, A["c_out"])


@pytest.mark.keras
def test_keras_counts_the_same_parameters_and_shapes():
    model = keras.Sequential(
        [keras.Input((8, 8, 5)), *(keras.layers.Conv2D(v["c_out"], v["k"], v["s"]) for v in (A, B))]
    )
    table = complexity.layer_table(model)
    assert list(table["parameters"]) == [126, 100]
    assert list(table["output"]) == [(3, 3, 6), (1, 1, 4)]
    assert list(table["multiply-adds"]) == [1080, 96]
    assert list(table["bytes"]) == [4 * 54, 4 * 4]


def test_the_original_slipped_once_in_the_output_of_a():
    slips = []
    for name, layer in complexity.LAYERS.items():
        cost = asdict(complexity.convolution_cost(**layer))
        cost["output"] = (cost["size"], cost["size"], layer["c_out"])
        slips += [
            (name, what, cost[what])
            for what, written in original.COMPLEXITY[name].items()
            if cost[what] != written
        ]
    assert slips == [("A", "output", (3, 3, 6))]


@pytest.mark.keras
@pytest.mark.parametrize(("n", "k", "p", "s"), GEOMETRIES)
@pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (3, 2)])
def test_counting_finds_what_the_formula_says_and_keras_the_same_result(n, k, p, s, c_in, c_out):
    random = np.random.default_rng(n + k)
    image, kernels = (
        random.standard_normal((n, n, c_in)),
        random.standard_normal((k, k, c_in, c_out)),
    )
    bias = random.standard_normal(c_out)
    result, count = complexity.counting_convolution(image, kernels, bias, p, s)
    cost = asdict(complexity.convolution_cost(n, k, c_in, c_out, p, s))
    assert count == {name: cost[name] for name in count}
    padded = np.pad(image, ((p, p), (p, p), (0, 0)))[None].astype("float32")
    expected = keras.ops.convert_to_numpy(
        keras.ops.conv(padded, kernels.astype("float32"), strides=s, padding="valid")
    )[0]
    np.testing.assert_allclose(result, expected + bias, atol=1e-4)


def test_without_a_bias_no_bias_is_added():
    _, count = complexity.counting_convolution(np.ones((3, 3, 1)), np.ones((2, 2, 1, 1)))
    assert count == {"multiplications": 16, "additions": 12, "bias_additions": 0}


@pytest.mark.parametrize(("n", "k", "p", "s"), GEOMETRIES)
def test_output_size_counts_the_places_where_the_kernel_fits(n, k, p, s):
    assert complexity.output_size(n, k, p, s) == len(
        [start for start in range(0, n + 2 * p, s) if start + k <= n + 2 * p]
    )


def test_the_bound_is_exact_where_the_stride_divides_and_never_four_times_too_large():
    for n in range(1, 12):
        for k in range(1, n + 1):
            for s in range(1, 6):
                cost = complexity.convolution_cost(n, k, 3, 2, s=s)
                ratio = complexity.operation_bound(n, k, 3, 2, s=s) / (
                    cost.multiplications + cost.additions
                )
                assert ratio == pytest.approx(1) if (n - k) % s == 0 else 1 < ratio < 4
    assert complexity.operation_bound(**B) / (96 + 92) == pytest.approx(2.25)


BAD = [
    ({"n": 0, "k": 1}, "n must be a whole number of at least 1"),
    ({"n": 8, "k": 0}, "k must be a whole number of at least 1"),
    ({"n": 8, "k": 2, "p": -1}, "p must be a whole number of at least 0"),
    ({"n": 8, "k": 2, "s": 0}, "s must be a whole number of at least 1"),
    ({"n": 8, "k": 2.5}, "k must be a whole number of at least 1"),
    ({"n": 8, "k": 2, "c_in": 0}, "c_in must be a whole number of at least 1"),
    ({"n": 8, "k": 2, "c_out": -3}, "c_out must be a whole number of at least 1"),
    (
        {"n": 3, "k": 6, "p": 1},
        "a kernel of 6 does not fit in an input of 3 with padding 1: k must be at most n + 2p",
    ),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_bad_geometry_gets_one_clear_line(given, message):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        complexity.convolution_cost(**{"c_in": 1, "c_out": 1, **given})


@pytest.mark.parametrize(
    ("image", "kernels", "message"),
    [
        ((4, 4, 2), (2, 2, 3, 1), r"not \(4, 4, 2\), \(2, 2, 3, 1\)"),
        ((4, 5, 2), (2, 2, 2, 1), "need an? "),
        ((4, 4), (2, 2, 1, 1), "need an? "),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(image, kernels, message):
    with pytest.raises(ValueError, match=message):
        complexity.counting_convolution(np.ones(image), np.ones(kernels))


@pytest.mark.keras
def test_the_table_holds_for_every_convolution_of_the_cnn():
    cnn = models.cnn()
    table = complexity.layer_table(cnn).set_index("layer")
    convolutions = [layer for layer in cnn.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 7
    for layer in convolutions:
        _, n, _, c_in = layer.input.shape
        cost = complexity.convolution_cost(n, 3, c_in, layer.filters, p=1)
        row = table.loc[layer.name]
        found = row["output"], row["parameters"], row["multiply-adds"], row["bytes"]
        assert found == (
            (cost.size, cost.size, layer.filters),
            cost.parameters,
            cost.multiplications,
            cost.output_bytes,
        )
    assert table["parameters"].sum() == 6_040_327
    assert table["multiply-adds"].sum() == 430_851_840
    assert table.loc["dense1", "multiply-adds"] == 9216 * 512
    by_kind = table.groupby("kind")[["parameters", "multiply-adds"]].sum()
    assert by_kind["multiply-adds"].idxmax() == "Conv2D"
    assert by_kind["parameters"].idxmax() == "Dense"


def test_the_fitted_slope_is_the_power_of_a_power_law():
    x = np.array([16, 32, 64, 128])
    slope = complexity.loglog_slope(x, 3e-6 * x**2.0)
    assert slope.value == pytest.approx(2)
    assert np.exp(slope.intercept) == pytest.approx(3e-6)
    scattered = complexity.loglog_slope(x, 3e-6 * x**2.0 * [1.1, 0.9, 1.1, 0.9])
    assert scattered.low < scattered.value < scattered.high
    assert scattered.low < 2 < scattered.high


def test_the_interval_of_the_slope_covers_the_truth_as_often_as_it_says():
    random, x = np.random.default_rng(0), np.array([1, 2, 4, 8, 16, 32])
    fits = [
        complexity.loglog_slope(x, x**2.0 * np.exp(random.normal(0, 0.1, 6))) for _ in range(1000)
    ]
    assert np.mean([fit.low < 2 < fit.high for fit in fits]) == pytest.approx(0.95, abs=0.02)


def test_every_profile_has_its_sizes():
    assert set(complexity.SIZES) == set(recipes.PROFILES)


@pytest.mark.keras
def test_every_size_is_measured_and_drawn(monkeypatch):
    monkeypatch.setitem(complexity.SIZES, "tiny", ((4, 6, 8), 2))
    times = complexity.measure("tiny")
    assert list(times["n"]) == [4, 6, 8, 48, 48, 48]
    assert list(times["C"]) == [64, 64, 64, 4, 6, 8]
    assert list(times["multiplications"]) == [
        9 * n**2 * c**2 for n, c in zip(times["n"], times["C"], strict=True)
    ]
    assert (times["seconds"] > 0).all()
    slopes = {
        axis: complexity.loglog_slope(rows[axis], rows["seconds"])
        for axis, rows in times.groupby("varied", sort=False)
    }
    for ax, axis in zip(figures.timing(times, slopes).axes, ("n", "C"), strict=True):
        measured = ax.lines[0]
        assert tuple(measured.get_xdata()) == (4, 6, 8)
        np.testing.assert_allclose(
            measured.get_ydata(), 1e3 * times.loc[times["varied"] == axis, "seconds"]
        )


def test_the_bars_of_the_layers_are_their_shares():
    table = complexity.layer_table(models.cnn())
    figure = figures.layer_costs(table)
    for ax, column in zip(figure.axes, ("parameters", "multiply-adds"), strict=True):
        rows = table[table["multiply-adds"] > 0]
        widths = [bar.get_width() for bar in ax.containers[0]]
        np.testing.assert_allclose(widths, 100 * rows[column] / table[column].sum())


def calculator():
    """Return the HTML of the calculator, which starts with layer A."""
    return figures.calculator({"p": 0, **A}, complexity.convolution_cost(**A)).data


def in_page(cases):
    """Return what the calculator's script answers to each case: numbers, or its error's line."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed, so the calculator's script cannot be run")
    script = re.search(r"<script>(.*?)</script>", calculator(), re.DOTALL)[1]
    ask = """
        const answer = (given) => {
            try { return hw3ConvolutionCost(given); } catch (problem) { return problem.message; }
        };
        const plain = (key, value) => (typeof value === "bigint" ? String(value) : value);
        console.log(JSON.stringify(CASES.map(answer), plain));"""
    program = script + ask.replace("CASES", json.dumps(cases))
    run = subprocess.run(
        ["node", "-e", program], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(run.stdout)


def test_the_calculator_in_the_page_agrees_with_python():
    cases = [{"n": n, "k": k, "p": p, "s": s, "c_in": 3, "c_out": 7} for n, k, p, s in GEOMETRIES]
    cases += [
        {"p": 0, **A},
        {"p": 0, **B},
        {"n": 99_999, "k": 999, "p": 12, "s": 1, "c_in": 99_999, "c_out": 99_999},
    ]
    expected = [
        {name: str(v) for name, v in asdict(complexity.convolution_cost(**case)).items()}
        for case in cases
    ]
    assert in_page(cases) == expected


def test_the_calculator_in_the_page_refuses_bad_geometry_in_the_same_words():
    cases = [{"p": 0, "s": 1, "c_in": 1, "c_out": 1, **given} for given, _ in BAD]
    assert in_page(cases) == [message for _, message in BAD]
    empty, text = in_page([{**cases[0], "n": ""}, {**cases[0], "n": "1e2"}])
    assert empty == text == "n must be a whole number of at least 1"


def test_every_input_of_the_calculator_has_a_label_and_nothing_comes_from_another_host():
    page = calculator()
    inputs = re.findall(r"<input [^>]*>", page)
    labels = re.findall(r"<label>[^\n]*?<input [^>]*name=\"(\w+)\"[^>]*></label>", page)
    assert labels == ["n", "k", "p", "s", "c_in", "c_out"]
    assert len(inputs) == len(labels)
    assert "//" not in re.sub(r"(?m)//[^\n]*$", "", page)
    assert not re.search(r"https?:|src=|@import|url\(", page)

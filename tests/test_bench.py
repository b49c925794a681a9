"""The benchmark: what it compares is the same, what it keeps are repetitions, what it says follows
from them. No test times.
"""

import copy
import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import keras
import numpy as np
import pandas as pd
import pytest

from beyond import bench
from hw3 import faces, models, recipes, runs
from hw3.disk import ROOT, build_dir
from hw3.metrics import N_CLASSES

pytestmark = pytest.mark.keras
needs_torch = pytest.mark.skipif(
    find_spec("torch") is None,
    reason="PyTorch is not a dependency: only the benchmark compares with it",
)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Return the result of a quick benchmark, which may write nothing under results/."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HW3_BUILD", str(tmp_path_factory.mktemp("bench") / "_build"))
        patch.setattr(bench, "FOLDER", tmp_path_factory.mktemp("results"))
        result = bench.run(quick=True)
        assert not list(bench.FOLDER.iterdir())
    assert keras.config.dtype_policy().name == "float32"
    return result


@pytest.fixture
def made_up(quick):
    """Return a result of a GPU whose rates are known: ours 1,000, 2,000 and 4,000 images/s, Keras
    500, PyTorch none.
    """
    result = copy.deepcopy(quick) | {
        "device": "1 GPU NVIDIA H200",
        "images": 4000,
        "load": [0.1, 0.1, 0.1],
    }
    taken = {
        bench.OURS: [4.0, 1.0, 2.0],
        bench.DISTORTING: [4.0, 4.0, 4.0],
        bench.FIT_XLA: [8.0, 8.0, 8.0],
        bench.PRODUCT: [0.5, 0.5, 0.5],
    }
    about = {"precision": "mixed_bfloat16", "batch": 256}
    result["steps"] = [
        about | {"way": w, "threads": None, "first": 10.0, "seconds": s} for w, s in taken.items()
    ]
    result["steps"].append(about | {"way": bench.TORCH, "skipped": "PyTorch is not installed"})
    result["loading"] = {
        "faces": 3000,
        "bytes": 10**6,
        "seconds": {bench.RAW: [0.1], bench.FIRST: [0.5], bench.LOOP: [5.0]},
    }
    return result


def test_quick_run_measures_every_way_and_keeps_every_repetition(quick):
    assert {
        "device",
        "backend",
        "cores",
        "load",
        "versions",
        "date",
        "images",
        "steps",
        "loading",
    } == set(quick)
    assert quick["backend"] == keras.backend.backend() in quick["versions"]
    assert [row["way"] for row in quick["steps"]] == list(bench.WAYS)
    for row in quick["steps"]:
        if row["way"] in (bench.TORCH, bench.COMPILED) and find_spec("torch") is None:
            assert "torch" in row["skipped"]
        elif row["way"] == bench.FIT and quick["backend"] == "jax":
            assert "each operation alone" in row["skipped"]
        else:
            assert len(row["seconds"]) == bench.QUICK["repeats"]
            assert min(row["seconds"]) > 0
    assert list(quick["loading"]["seconds"]) == list(bench.READERS)
    repeats = {way: len(seconds) for way, seconds in quick["loading"]["seconds"].items()}
    assert repeats.pop(bench.LOOP) == 1
    assert set(repeats.values()) == {bench.QUICK["repeats"]}
    assert list(bench.loading_table(quick)["n"]) == [*repeats.values(), 1]
    assert json.loads(json.dumps(quick))["steps"] == quick["steps"]


def test_a_whole_run_is_written_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "FOLDER", tmp_path / "bench")
    monkeypatch.setattr(bench, "WAYS", {bench.OURS: lambda *_: lambda: 0})
    monkeypatch.setattr(bench.machine, "device", lambda: "CPU Some (R) Chip")
    result = bench.run(**bench.QUICK)
    assert [path.name for path in bench.FOLDER.iterdir()] == [
        f"cpu-some-r-chip-{keras.backend.backend()}.json"
    ]
    assert bench.recorded_results() == [json.loads(json.dumps(result))]


def test_a_run_that_is_cut_off_keeps_the_groups_that_it_finished(tmp_path, monkeypatch):
    def until_batch_8(images, labels, batch, precision):
        if batch == 8:
            raise KeyboardInterrupt
        return lambda: 0

    monkeypatch.setattr(bench, "FOLDER", tmp_path / "bench")
    monkeypatch.setattr(bench, "WAYS", {bench.OURS: until_batch_8})
    with pytest.raises(KeyboardInterrupt):
        bench.run(**bench.QUICK | {"batches": (4, 8)})
    (kept,) = bench.recorded_results()
    assert [row["batch"] for row in kept["steps"]] == [4]
    assert len(bench.table(kept)) == 1
    assert len(bench.loading_table(kept)) == 5


def test_measuring_needs_no_library_for_figures():
    code = (
        "import sys, beyond.bench; print({'seaborn', 'plotly', 'hw3.figures'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "set()\n"


def test_without_our_own_step_nothing_is_written(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("no kettle\nsecond line")

    monkeypatch.setattr(bench, "FOLDER", tmp_path / "bench")
    monkeypatch.setattr(bench, "WAYS", {bench.OURS: broken})
    with pytest.raises(RuntimeError, match=r"cannot be measured: no kettle$"):
        bench.run(**bench.QUICK)
    assert not bench.FOLDER.exists()


@pytest.mark.parametrize("path", sorted(bench.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_the_tables_of_recorded_results_follow_from_their_repetitions(path):
    result = json.loads(path.read_text())
    assert path.stem.endswith(result["backend"])
    rows = bench.table(result).set_index(["precision", "batch", "way"])
    measured = [row for row in result["steps"] if "seconds" in row]
    assert len(rows) == len(measured)
    for row in measured:
        speeds = result["images"] / np.array(row["seconds"])
        found = rows.loc[
            (row["precision"], row["batch"], row["way"]), ["images/s", "min", "max", "n"]
        ]
        assert list(found) == pytest.approx(
            [np.median(speeds), speeds.min(), speeds.max(), len(speeds)]
        )
    assert "/" not in result["device"]


def test_table_compares_medians_and_ranges(made_up):
    rows = bench.table(made_up)
    columns = ["precision", "batch", "way", "images/s", "min", "max", "n", "ours is", "times"]
    assert list(rows) == [*columns, "first call (s)"]
    rows = rows.set_index("way")
    columns = ["images/s", "min", "max", "n", "ours is", "first call (s)"]
    assert list(rows.loc[bench.OURS, columns]) == [2000, 1000, 4000, 3, "", 8]
    assert list(rows.loc[bench.FIT_XLA, ["ours is", "times"]]) == ["faster", 4]
    assert list(rows.loc[bench.PRODUCT, ["ours is", "times"]]) == ["slower", 4]
    assert bench.TORCH not in rows.index


def test_ways_whose_ranges_overlap_are_not_distinguishable(made_up):
    keras = next(step for step in made_up["steps"] if step["way"] == bench.FIT_XLA)
    for seconds, expected in (
        ([8.0, 8.0, 3.9], "not distinguishable"),  # 1,026 images/s: ours has 1,000 to 4,000
        ([8.0, 8.0, 4.1], "faster"),
        ([0.9, 0.5, 1.1], "not distinguishable"),  # 3,636 images/s
        ([0.9, 0.5, 0.5], "slower"),
    ):
        keras["seconds"] = seconds
        row = bench.table(made_up).set_index("way").loc[bench.FIT_XLA]
        assert row["ours is"] == expected
        assert np.isnan(row["times"]) == (expected == "not distinguishable")
        if expected != "not distinguishable":
            assert row["times"] > 1, "so many times faster, or slower"


def test_floats_are_shown_with_three_digits_that_count():
    rows = pd.DataFrame({"way": ["a", "b"], "n": [5, 1234], "x": [87623.9, np.nan]})
    rows["y"], rows["z"] = [0.0017753, 1234567.0], [0.671337, 99.95]
    assert bench.shown(rows).to_numpy().tolist() == [
        ["a", 5, "87,600", "0.00178", "0.671"],
        ["b", 1234, "", "1,230,000", "100"],
    ]


def test_the_peak_is_known_only_for_the_exact_chip_and_precision():
    assert (
        bench.peak("1 GPU NVIDIA H200", "mixed_bfloat16")
        == bench.peak("8 GPU NVIDIA H100 80GB HBM3", "mixed_bfloat16")
        == 989e12
    )
    for device, precision in (
        ("1 GPU NVIDIA H200", "float32"),
        ("1 GPU NVIDIA H100 PCIe", "mixed_bfloat16"),
        ("CPU", "float32"),
    ):
        assert bench.peak(device, precision) is None


def test_operations_are_those_of_chapter_4():
    assert bench.operations() == 6 * 430_851_840


@pytest.mark.parametrize("precision", bench.GPU["precisions"])
def test_products_do_the_operations_of_learning(precision, few, monkeypatch):
    shapes, matmul = [], keras.ops.matmul
    monkeypatch.setattr(
        bench.ops,
        "matmul",
        lambda x, y: shapes.append((x.shape, y.shape, str(x.dtype))) or matmul(x, y),
    )
    assert bench.seconds(bench.products(few.images[:1], few.labels[:1], 1, precision)) > 0
    ((n, k), (_, m), dtype) = shapes[0]
    assert precision.removeprefix("mixed_") in dtype
    assert sum(2 * n * k * m for _ in shapes) == pytest.approx(bench.operations(), rel=0.02)


@needs_torch
def test_the_network_in_torch_is_the_cnn():
    import torch

    network, cnn = bench.torch_network(), models.cnn()
    statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    assert (
        sum(p.numel() for p in network.parameters()) + statistics == cnn.count_params() == 6_040_327
    )
    kernels = [
        tuple(p.shape[2:] + p.shape[1::-1]) if p.ndim == 4 else tuple(p.shape[::-1])
        for p in network.parameters()
    ]
    assert [k for k in kernels if len(k) > 1] == [
        tuple(w.shape) for w in cnn.trainable_weights if len(w.shape) > 1
    ]
    assert network(torch.zeros(2, 1, 48, 48)).shape == (2, N_CLASSES)


@pytest.mark.parametrize("way", [bench.OURS, bench.DISTORTING, bench.FIT_XLA])
def test_a_repetition_fits_all_images_once_in_batches_of_the_same_size(way, few, monkeypatch):
    seen = []

    def fit(self, x, y=None, batch_size=None, **options):
        seen.extend(
            [batch_size] * (len(x) // batch_size) if batch_size else [len(rows) for rows, _ in x]
        )

    monkeypatch.setattr(keras.Model, "fit", fit)
    bench.WAYS[way](few.images[:8], few.labels[:8], 4, "float32")()
    assert seen == [4, 4]


def test_only_ours_uses_the_fused_normalization(few, monkeypatch):
    used = []
    monkeypatch.setattr(keras.Model, "fit", lambda self, *xy, **given: used.append(kinds(self)))

    def kinds(model):
        return {
            type(x)
            for layer in model.layers
            for x in getattr(layer, "layers", [layer])
            if "norm" in x.name
        }

    for way in (bench.OURS, bench.FIT_XLA):
        bench.WAYS[way](few.images[:8], few.labels[:8], 4, "float32")()
    assert used == [{models.BatchNormalization}, {keras.layers.BatchNormalization}]


@needs_torch
def test_the_loop_in_torch_takes_a_step_for_each_batch(few, monkeypatch):
    import torch

    steps, step = [], torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: steps.append(step(self)))
    learn = bench.torch_loop(few.images[:8], few.labels[:8], 4, "float32")
    assert isinstance(learn(), float)
    assert len(steps) == 2
    assert learn.threads == torch.get_num_threads()


@needs_torch
def test_torch_learns_in_channels_last_from_bytes_and_in_the_precision_asked_for(few, monkeypatch):
    import torch

    seen, network = [], bench.torch_network()
    convolution = network[6]  # behind the first one, whose input has one channel
    assert isinstance(convolution, torch.nn.Conv2d)
    convolution.register_forward_hook(lambda layer, x, y: seen.append((x[0], layer.weight, y)))
    monkeypatch.setattr(bench, "torch_network", lambda: network)
    for precision, dtype in (("float32", torch.float32), ("mixed_bfloat16", torch.bfloat16)):
        bench.torch_loop(few.images[:4], few.labels[:4], 4, precision)()
        faces, weights, maps = seen.pop()
        assert maps.dtype == dtype, precision
        for tensor in (faces, weights, maps):
            assert tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("way", [bench.OURS, bench.DISTORTING])
def test_one_of_our_two_steps_distorts(way, few, monkeypatch):
    given, trainer = [], bench.train.trainer

    def spy(network, images, recipe, steps):
        given.append(recipe)
        return trainer(network, images, recipe, steps)

    monkeypatch.setattr(bench.train, "trainer", spy)
    bench.WAYS[way](few.images[:4], few.labels[:4], 4, "float32")
    distorts = {name: getattr(given[0], name) for name in recipes.WITHOUT["cnn"]["distortion"]}
    assert any(distorts.values()) == (way == bench.DISTORTING)


@pytest.mark.parametrize(("way", "xla"), [(bench.FIT, False), (bench.FIT_XLA, True)])
def test_keras_fits_with_and_without_xla(way, xla, few, monkeypatch):
    monkeypatch.setattr(bench.train, "JIT", False)  # under JAX there is no other way
    compiled = []
    monkeypatch.setattr(keras.Model, "compile", lambda *_, **given: compiled.append(given))
    bench.WAYS[way](few.images[:4], few.labels[:4], 4, "float32")
    assert [given["jit_compile"] for given in compiled] == [xla]


@pytest.mark.parametrize("way", [bench.FIRST, bench.PANDAS, bench.LOOP])
def test_all_ways_of_loading_read_the_same(way, tmp_path, few):
    path = tmp_path / "train.csv"
    lines = [
        f"{label},{' '.join(map(str, image.ravel()))}"
        for label, image in zip(few.labels[:5], few.images[:5], strict=True)
    ]
    path.write_text("\n".join(["label,feature", *lines]))
    images, labels = bench.READERS[way](path)
    np.testing.assert_array_equal(images, few.images[:5])
    np.testing.assert_array_equal(labels, few.labels[:5])
    assert (images.dtype == np.uint8) == (way != bench.LOOP)


def test_a_reader_that_reads_something_else_is_caught(monkeypatch):
    wrong = lambda path: (np.zeros((20, 48, 48)), np.zeros(20))  # noqa: E731
    monkeypatch.setitem(bench.READERS, bench.PANDAS, wrong)
    with pytest.raises(RuntimeError, match="the faces read are not those written"):
        bench.measure_loading(20, 2)


def test_loading_leaves_the_build_folder_alone(monkeypatch):
    faces.drawn(20)
    before = sorted((build_dir() / "cache").iterdir())
    bench.measure_loading(20, 2)
    assert sorted((build_dir() / "cache").iterdir()) == before


def fake(seed, seconds, accuracy):
    recipe = recipes.recipe("cnn", "full", "modern", epochs=len(seconds), batch=100, seed=seed)
    about = dict.fromkeys(("data", "fingerprint", "date"), "") | {"device": "CPU", "versions": {}}
    about |= {"seconds": sum(seconds), "epoch_seconds": seconds, "trained_on": 1050}
    history = {"val_accuracy": accuracy}
    return runs.Run(network="cnn", recipe=recipe, history=history, predictions={}, **about)


def test_trainings_are_summed_up_by_medians_over_seeds():
    first, second = (
        fake(0, [9.0, 4.0, 4.0], [0.5, 0.6, 0.7]),
        fake(1, [11.0, 6.0, 6.0], [0.5, 0.7, 0.6]),
    )
    other = replace(first, network="dnn", history={"val_accuracy": [0.2, 0.3, 0.4]})
    rows = bench.trainings([first, second, other])
    assert list(rows["run"]) == ["modern-cnn", "modern-dnn"]
    row = rows.iloc[0]
    assert (row["epochs"], row["runs"], 60 * row["minutes"]) == (3, 2, pytest.approx(20))
    assert row["images/s"] == pytest.approx((1000 / 4 + 1000 / 6) / 2), (
        "the 50 faces that fill no batch are left out"
    )
    assert (row["first epoch (s)"], row["epoch (s)"]) == (10, 5)
    assert list(rows["reached"]) == [1, 0], "at the end, not on the way"
    assert bench.trainings([]).empty
    later = bench.trainings(
        [
            replace(
                first,
                history={"val_accuracy": [0.1] * 3},
                final={"val_accuracy": 0.7, "seconds": 3.0},
            )
        ]
    )
    assert (later.iloc[0]["reached"], 60 * later.iloc[0]["minutes"]) == (1, pytest.approx(20)), (
        "precise BatchNorm takes time"
    )


def test_the_figure_shows_medians_and_ranges(made_up):
    figure = bench.figure(made_up)
    (training,) = figure.axes
    assert [bar.get_height() for bar in training.patches if bar.get_height() > 0][:3] == [
        2000,
        1000,
        500,
    ]
    assert sorted(training.lines[0].get_ydata()) == [1000, 4000]
    assert [label.get_text() for label in training.get_xticklabels()] == ["256\nbfloat16"]
    assert "NVIDIA H200" in figure.get_supxlabel()


def test_a_way_has_the_same_color_in_every_figure(made_up):
    both = made_up, made_up | {"steps": made_up["steps"][1:]}
    first, second = (bench.figure(result).axes[0].get_legend() for result in both)
    colors = [
        {text.get_text(): patch.get_facecolor() for text, patch in zip(*found, strict=True)}
        for found in ((legend.texts, legend.legend_handles) for legend in (first, second))
    ]
    assert bench.DISTORTING in colors[0].keys() & colors[1].keys()
    assert colors[1].items() <= colors[0].items()
    assert len(set(colors[0].values())) == len(colors[0]) == 3

"""The chapters are prose: what of them stands where, and that what they say of recorded runs holds.

A chapter writes plainly what the recorded runs and the worked examples show; each such sentence has
a test here that computes it and names it. Where one fails, somebody rewrites the sentence.
"""

from dataclasses import replace

import nbformat
import numpy as np
import pytest
from prose import measure
from sklearn.decomposition import PCA

from beyond import ablation, claims
from hw3 import complexity, faces, metrics, models, original, pca, recipes, runs, train, weights
from hw3.disk import ROOT
from hw3.faces import ANGRY, DISGUST, EMOTIONS, FEAR, HAPPY, NEUTRAL, SAD, SURPRISE

CONVERTED = ("index", "cnn", "complexity", "dnn", "pca", "confusion")  # the others follow


@pytest.mark.parametrize("name", CONVERTED)
def test_no_sentence_stands_in_a_code_cell_and_cells_are_short(name):
    markdown, coded, longest, functions = measure(ROOT / "book" / f"{name}.ipynb")
    assert coded == 0
    assert markdown > 150
    assert longest <= 12
    assert functions == []


# The front page.


@pytest.fixture(scope="module")
def recorded():
    """Return the runs that the pages show as recorded: the CNN and the DNN."""
    return [runs.recorded(name)[0] for name in (runs.SHOWN_CNN, runs.SHOWN_DNN)]


def test_fer2013_has_so_many_faces(recorded):  # the first sentence
    parts = [len(recorded[0].predicted(part)[0]) for part in ("PublicTest", "PrivateTest")]
    assert sum(faces.COUNTS) + sum(parts) == 35_887


def test_both_networks_of_the_original_have_six_million_parameters():  # the second sentence
    assert {round(number / 1e6) for number in original.PARAMETERS.values()} == {6}


def test_the_recorded_cnn_leads_the_dnn(recorded):  # answer 2
    labels, by_cnn = recorded[0].predicted("PrivateTest")
    assert metrics.difference(labels, by_cnn, recorded[1].predicted("PrivateTest")[1]).low > 0


def test_the_emotions_that_the_front_page_names_are_those(recorded):  # answer 3 and the table
    matrix = metrics.confusion(*claims.with_new(recorded[0]).predicted(claims.BOTH))
    first = metrics.confused_pairs(matrix)["pair"].head(3).tolist()
    assert first == ["Sad/Neutral", "Fear/Sad", "Angry/Sad"]
    right = metrics.shares(matrix).diagonal()
    assert (right.argmax(), right.argmin()) == (faces.HAPPY, faces.FEAR)


def test_the_dnn_of_the_original_collapsed_and_did_not_overfit():  # what the original states
    log = original.history("dnn")
    assert max(log["accuracy"][-1], log["val_accuracy"][-1]) < 1 / faces.N_CLASSES
    assert abs(log["accuracy"][-1] - log["val_accuracy"][-1]) < 0.01


def test_the_matrix_of_the_original_is_no_matrix_of_new_faces():  # what the original states
    implied = np.average(original.confusion().diagonal(), weights=faces.COUNTS)
    assert implied > original.ACCURACY["cnn"] + 0.1


# Chapter 1.


@pytest.fixture(scope="module")
def recorded_cnns():
    """Return the recorded CNN, and the one by the original's recipe."""
    found = (runs.recorded(f"{name}-cnn")[0] for name in ("modern", "original"))
    return [claims.with_new(run) for run in found]


def test_the_answer_stands_after_the_question_and_says_optimizer_rate_overfitting_accuracy():
    cells = nbformat.read(ROOT / "book" / "cnn.ipynb", as_version=4).cells
    answer = [cell.source for cell in cells if cell.cell_type == "markdown"][1]
    assert answer.startswith("**Answer.**")
    for said in ("Adam", "{eval}`rate`", "overfits", "{eval}`parameters`", "{eval}`accuracy`"):
        assert said in answer
    shown = [cell.source for cell in cells if "figures.source" in cell.source]
    assert shown == ["figures.source(models.cnn)", "figures.source(train.fit_epoch)"]


def test_seven_convolutions_in_three_blocks_and_three_dense_layers_are_the_originals():  # Answer
    layers = models.cnn().layers
    names = [type(layer).__name__ for layer in layers]
    assert (names.count("Conv2D"), names.count("MaxPooling2D"), names.count("Dense")) == (7, 3, 3)
    assert {layer.kernel_size for layer in layers if hasattr(layer, "kernel_size")} == {(3, 3)}
    counts = tuple(layer.count_params() for layer in layers if layer.count_params())
    assert counts == original.CNN_LAYERS
    assert sum(counts) == original.PARAMETERS["cnn"]
    trained = sum(np.prod(w.shape) for layer in layers for w in layer.trainable_weights)
    assert trained == original.TRAINABLE["cnn"]


def test_adam_rises_and_falls_to_zero_and_is_constant_in_the_original(recorded_cnns):  # Answer
    modern, again = recorded_cnns
    assert (modern.recipe.optimizer, modern.recipe.schedule) == ("adam", "cosine")
    assert modern.recipe.warmup > 0
    assert (again.recipe.optimizer, again.recipe.schedule) == ("adam", "constant")
    assert runs.changes(modern) == {}
    # "run again in mixed_bfloat16", and nothing else
    assert runs.changes(again) == {"dtype": ("mixed_bfloat16", "float32")}


def test_both_recipes_overfit_the_originals_more(recorded_cnns):  # Answer; How the training goes
    modern, again = (claims.excess_gap(run, claims.NEW) for run in recorded_cnns)
    assert f"{modern}" == "+2.0 points [0.3, 3.7]"
    assert f"{again}" == "+8.8 points [7.1, 10.6]"
    assert 0 < modern.low < modern.high < again.low


def test_the_held_out_loss_rises_again_only_in_the_originals_log(recorded_cnns):  # as before
    log, modern = original.history("cnn"), recorded_cnns[0].history
    least = int(np.argmin(log["val_loss"]))
    assert (least + 1, f"{log['val_loss'][least]:.3f}") == (100, "0.883")
    assert f"{log['val_loss'][-1]:.3f}" == "1.041"
    assert log["loss"][-1] < log["loss"][least]
    assert modern["val_loss"][-1] - min(modern["val_loss"]) < 0.01


def test_the_training_loss_lies_above_the_held_out_one_at_the_end(recorded_cnns):  # as before
    modern, again = recorded_cnns
    assert modern.history["loss"][-1] > modern.history["val_loss"][-1]
    assert modern.recipe.smoothing > 0 == again.recipe.smoothing
    assert again.history["loss"][-1] < again.history["val_loss"][-1]


def test_all_mirror_faces_and_the_short_profiles_do_nothing_else():  # Training
    full = [recipes.recipe("cnn", "full", name) for name in ("modern", "original")]
    short = [recipes.recipe("cnn", profile) for profile in ("smoke", "quick")]
    assert all(recipe.flip for recipe in full + short)
    assert all(recipe.rotation > 0 for recipe in full)
    assert not any(getattr(recipe, what) for recipe in short for what in recipes.DISTORTIONS)


def test_what_the_accuracies_of_the_recorded_network_count(recorded_cnns):  # Accuracy
    modern, small = recorded_cnns[0], weights.about_small()
    parts = "PrivateTest", claims.NEW, "PublicTest"
    assert [f"{100 * metrics.accuracy(modern, part).value:.1f}" for part in parts] == [
        *("72.6", "69.9", "71.7")
    ]
    assert modern.recipe.views == 10
    assert f"{100 * small['hits in one byte'] / small['n']:.1f}" == "71.1"
    assert small["part"] == "PublicTest"
    assert modern.label() == small["label"]
    others = runs.recorded("modern-cnn")[1:]
    assert modern.hits("PublicTest") > max(run.hits("PublicTest") for run in others)


def test_happy_is_the_answer_to_beat_and_disgust_the_rarest():  # Accuracy
    shares = np.array(faces.COUNTS) / sum(faces.COUNTS)
    assert (shares.argmax(), shares.argmin()) == (faces.HAPPY, faces.DISGUST)
    assert f"{shares.max():.0%}" == "25%"


# Chapter 2. What it shows: the recorded runs, the one chosen by PublicTest first.


@pytest.fixture(scope="module")
def dense():
    names = {"stable": "original-dnn", "clipped": "clipped-dnn", "residual": "modern-dnn"}
    return {name: runs.recorded(recorded) for name, recorded in names.items()}


@pytest.fixture(scope="module")
def cnn():
    return runs.recorded("original-cnn")[0]


def ahead(first, second, part="PrivateTest"):
    labels, answers = first.predicted(part)
    return metrics.difference(labels, answers, second.predicted(part)[1])


def test_the_convolutional_network_leads_the_dense_one(cnn, dense):  # Answer, Recorded
    best = dense["stable"][0]
    assert f"{metrics.accuracy(cnn, 'PrivateTest')}" == "68.3% [66.7, 69.8; n = 3,589]"
    assert f"{metrics.accuracy(best, 'PrivateTest')}" == "39.3% [37.7, 40.9; n = 3,589]"
    assert f"{ahead(cnn, best)}" == "+29.0 points [27.1, 30.8]"
    assert ahead(cnn, dense["residual"][0]).low > 0, "still less than the convolutional one"
    assert ahead(claims.with_new(cnn), claims.with_new(best), claims.NEW).low > 0, "still leads"


def test_both_were_trained_by_one_recipe(cnn, dense):  # Answer, Recorded
    a, b = vars(cnn.recipe), vars(dense["stable"][0].recipe)
    assert (a["name"], a["epochs"], a["loss"]) == ("original", 200, "stable")
    assert {field for field in a if a[field] != b[field]} == {"dtype", "seed"}
    assert (a["dtype"], b["dtype"]) == ("mixed_bfloat16", "float32"), "computed with 16 bits"


def test_both_have_as_many_parameters():  # Answer
    assert models.dnn().count_params() == pytest.approx(models.cnn().count_params(), rel=0.001)
    assert models.residual_dnn().count_params() == pytest.approx(6_036_839, rel=0.005)


def test_the_dense_network_shown_is_the_best_of_three(dense):  # Answer, Recorded
    by_part = [
        [run.hits(part)[0] for run in dense["stable"]] for part in ("PublicTest", "PrivateTest")
    ]
    assert [len(hits) for hits in by_part] == [3, 3]
    assert [int(np.argmax(hits)) for hits in by_part] == [0, 0]


def test_what_became_of_each_training(dense):  # Answer, Recorded
    verdicts = {k: [claims.outcome(run, "PrivateTest") for run in v] for k, v in dense.items()}
    assert sorted(verdicts["stable"]) == ["does not overfit"] * 2 + ["has learned nothing yet"]
    assert verdicts["clipped"] == ["collapsed"] * 3
    assert verdicts["residual"] == ["overfits"] * 3


def test_of_the_dense_networks_only_the_residual_one_overfits(dense):  # Answer, Is it overfitting?
    of_new = {k: claims.excess_gap(claims.with_new(v[0]), claims.NEW) for k, v in dense.items()}
    assert {name for name, gap in of_new.items() if gap.low > 0} == {"residual"}
    assert {name for name, gap in of_new.items() if gap.high < 0} == {"stable", "clipped"}


def test_the_residual_network_is_above_the_best_of_the_course(dense):  # Recorded
    accuracy = metrics.accuracy(dense["residual"][0], "PrivateTest")
    assert accuracy.lies(max(original.COURSE_DNN)) == "above"


def test_the_original_collapsed_in_epoch_3():  # Answer, Is it overfitting?
    log = original.history("dnn")
    last, loss = log["val_accuracy"][-1], log["val_loss"][-1]
    learned, held_out = claims.ended(log, 25_839), claims.ended(log, 2870, "val_accuracy")
    assert (original.TRAINED_ON, original.HELD_OUT) == (25_839, 2870)
    assert f"{last:.0%}" == f"{original.ACCURACY['dnn']:.0%}" == "14%"
    assert metrics.unpaired(learned, held_out).lies() == "not distinguishable", "no gap at all"
    assert [set(log["val_loss"][:2]) & {loss}, set(log["val_loss"][2:])] == [set(), {loss}]
    assert loss == pytest.approx(-(1 - last) * np.log(train.CLIP), abs=5e-5)


# Chapter 4. Its one slip of the original and the seven convolutions are in test_complexity.py.


def test_the_answer_to_c_stands_before_the_first_section():  # Answer
    cells = nbformat.read(ROOT / "book" / "complexity.ipynb", as_version=4).cells
    before = "\n".join(cell.source for cell in cells).partition("## 4.1")[0]
    assert r"$$ T = O\!\left( \sum_{i=1}^{l} m_i^2\, C_i\, C_{i-1}\, k_i^2 \right)" in before
    assert '"parameters", "multiplications", "additions"' in before


def test_formula_check_and_original_agree_in_all_six_numbers():  # 4.2
    value, random = np.ones((8, 8, 5)), np.random.default_rng(0)
    for name, layer in complexity.LAYERS.items():
        n, k, c_in, c_out, s = layer.values()
        kernels = random.standard_normal((k, k, c_in, c_out))
        assert value.shape == (n, n, c_in)
        value, counted = complexity.counting_convolution(value, kernels, np.zeros(c_out), s=s)
        counted["parameters"] = kernels.size + c_out
        cost = vars(complexity.convolution_cost(**layer))
        for quantity in ("parameters", "multiplications", "additions"):
            assert cost[quantity] == counted[quantity] == original.COMPLEXITY[name][quantity]


def test_the_original_is_exact_for_layer_a_and_a_bound_for_layer_b():  # 4.3
    over = {}
    for name, layer in complexity.LAYERS.items():
        cost = complexity.convolution_cost(**layer)
        over[name] = complexity.operation_bound(**layer) - cost.multiplications - cost.additions
    assert over["A"] == 0
    assert over["B"] > 0


def test_two_and_minus_one_may_go_but_leave_x_squared_not_m_squared():  # 4.3
    for n, k, p, s, c_in in np.ndindex(9, 5, 3, 4, 3):
        n, k, s, c_in = n + 1, k + 1, s + 1, c_in + 1
        if n + 2 * p < k:
            with pytest.raises(ValueError, match="k must be at most n"):
                complexity.output_size(n, k, p, s)
            continue
        m, x = complexity.output_size(n, k, p, s), (n + 2 * p - k + s) / s
        bound, window = complexity.operation_bound(n, k, c_in, 1, p, s), c_in * k**2
        assert window * x**2 <= bound < 2 * window * x**2
        assert m == np.floor(x)
        assert m <= x < 2 * m


def test_dense1_holds_most_parameters_and_four_convolutions_do_equal_work():  # 4.4
    table = complexity.layer_table(models.cnn()).set_index("layer")
    share = table[["parameters", "multiply-adds"]] / table[["parameters", "multiply-adds"]].sum()
    assert share["parameters"].idxmax() == "dense1"
    assert share.loc["dense1", "parameters"] > 0.5 > 0.05 > share.loc["dense1", "multiply-adds"]
    most = table["multiply-adds"] == table["multiply-adds"].max()
    assert list(table.index[most]) == ["conv1_2", "conv1_3", "conv2_2", "conv3_2"]


# Chapter 5.


def test_scikit_learn_and_the_svd_agree_with_the_hand_calculation():  # 5.10
    x, n = pca.SAMPLES, len(pca.SAMPLES)
    values, axes = pca.principal_axes(pca.covariance(x))
    full = PCA(3).fit(x)
    _, s, vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    for variances, found in (
        (full.explained_variance_ * (n - 1) / n, full.components_),
        (s**2 / n, vt),
    ):
        found = pca.align(found, axes)
        assert np.abs(variances - values).max() < 1e-12
        assert np.abs(found - axes).max() < 1e-12
        back = pca.reconstruct(x, found)
        assert np.abs(back - pca.reconstruct(x, axes)).max() < 1e-12
        assert np.abs(pca.components(x, found) - pca.components(x, axes)).max() < 1e-12


def test_none_of_the_slips_is_among_the_errors():  # 5.9
    slips = pca.compare(pca.answers()).groupby("quantity")["slip"].sum()
    assert slips["errors"] == 0
    assert slips.sum() > 0


def test_axes_1_and_3_of_the_original_point_the_other_way():  # 5.9
    _, axes = pca.principal_axes(pca.covariance(pca.SAMPLES))
    turned = np.sum(axes * np.array(original.PCA["axes"], float), axis=1) < 0
    assert turned.tolist() == [True, False, True]


# Chapter 3.


@pytest.fixture(scope="module")
def networks():
    """Return the recorded CNNs of modern, the one shown first, and of mild."""
    named = [runs.recorded(name) for name in ("modern-cnn", "mild-cnn")]
    return [[claims.with_new(run) for run in group] for group in named]


@pytest.fixture(scope="module")
def counts(networks):
    """Return the confusion matrix that the chapter shows."""
    return metrics.confusion(*networks[0][0].predicted(claims.BOTH))


@pytest.fixture(scope="module")
def verdicts(networks):
    """Return what each of the nine networks says of the six observations."""
    return [claims.observations(run, claims.BOTH) for group in networks for run in group]


def share(counts, true, taken):
    return metrics.proportion(counts[true, taken], counts[true].sum())


def test_the_most_confused_pairs(counts):  # Answer; The most confused pairs
    pairs = metrics.confused_pairs(counts)
    first = [{EMOTIONS.index(name) for name in pair.split("/")} for pair in pairs["pair"][:7]]
    four = {ANGRY, FEAR, SAD, NEUTRAL}
    assert [pair <= four for pair in first] == [True] * 4 + [False] + [True] * 2
    assert ((pairs["low"] > pairs["rate"].mean()).to_numpy() == (np.arange(21) < 7)).all()
    assert pairs["low"][0] < pairs["high"][1], "the first two cannot be told apart"


def test_the_best_and_the_worst_emotion(counts):  # Answer; Emotion by emotion
    table = metrics.per_class(*claims.recorded_evidence().cnn.predicted(claims.BOTH))
    others = table.drop(index=["Happy", "Fear"])
    assert table["recall low"]["Happy"] > others["recall high"].max()
    assert table["recall high"]["Fear"] < others["recall low"].min()
    assert (table["recall high"] - table["recall low"]).idxmax() == table["n"].idxmin() == "Disgust"


def test_no_share_off_the_diagonal_is_the_largest(counts):  # The matrix
    mistakes = counts - np.diag(counts.diagonal())
    assert np.unravel_index(mistakes.argmax(), mistakes.shape) == (SAD, NEUTRAL)
    three = ((SAD, NEUTRAL), (FEAR, SAD), (DISGUST, ANGRY))
    shares = [share(counts, *cell) for cell in three]
    assert max(x.low for x in shares) < min(x.high for x in shares)
    others = [(i, j) for i in range(7) for j in range(7) if i != j and (i, j) not in three]
    assert max(share(counts, *cell).value for cell in others) < min(x.value for x in shares)


def test_what_the_six_observations_come_to(verdicts):  # Answer; The original's six observations
    shown = verdicts[0]
    assert shown["verdict"].tolist() == ["holds"] * 3 + ["undecided"] * 2 + ["does not hold"]
    ends = shown[["value", "low", "high"]].mul(100).round(1)
    assert ends.loc[[0, 2]].to_numpy().tolist() == [[2.3, 0.7, 4.0]] * 2
    assert ends.loc[5].tolist() == [-20.8, -36.1, -7.2]


def test_what_leaves_claims_4_and_5_open_and_half_of_6_right(counts, verdicts):  # claims-read
    assert verdicts[0]["evidence"][3].startswith("Fear taken for Neutral")
    assert share(counts, FEAR, SAD).low > share(counts, FEAR, NEUTRAL).high
    more = counts.copy()
    more[DISGUST] *= 10
    level = metrics.bonferroni(claims.TESTS)
    (worst,) = claims.OBSERVATIONS["Fear has the lowest accuracy"].values()
    assert metrics.of_counts(worst, more, level).lies() == "above"
    right = {e: share(counts, e, e) for e in range(7)}
    assert max(right, key=lambda e: right[e].value) == HAPPY
    assert right[DISGUST].high < right[SURPRISE].low


def test_privatetest_alone_leaves_five_observations_undecided(networks):  # The matrix
    alone = claims.observations(networks[0][0], "PrivateTest")["verdict"]
    assert (alone == "undecided").sum() == 5


def test_the_choice_by_publictest_decides_nothing(networks, verdicts):  # The matrix
    modern = networks[0]
    assert len(modern) == 5
    assert not any(run.recipe.public for run in modern)
    chosen = [run.hits("PublicTest")[0] for run in modern]
    assert chosen[0] == max(chosen) > np.mean(chosen)
    said = np.array([found["verdict"] for found in verdicts[:5]])
    differ = (said != said[0]).any(axis=0)
    assert said[0][differ].tolist() == ["undecided"]


def test_other_networks_agree_on_all_claims_but_the_fifth(
    networks, verdicts
):  # With other networks
    said = np.array([found["verdict"] for found in verdicts])
    assert said.shape == (9, 6)
    assert (said == said[0]).all(axis=0).tolist() == [True] * 4 + [False, True]
    assert [len(group) for group in networks] == [5, 4]
    assert "does not hold" not in said[:, 4]


def test_the_mean_of_all_agrees_with_the_network_shown(networks, verdicts):  # With other networks
    shown = networks[0][0]
    rows, labels, _ = shown.predictions[claims.BOTH]
    answers = ablation.ensemble([*networks[0], *networks[1]], claims.BOTH)["mean"]
    mean = replace(shown, predictions={claims.BOTH: (rows, labels, np.eye(7)[answers])})
    assert claims.observations(mean, claims.BOTH)["verdict"].equals(verdicts[0]["verdict"])


def test_by_the_original_recipe_all_claims_but_the_sixth_hold():  # With other networks
    run = claims.with_new(runs.recorded("original-cnn")[0])
    said = claims.observations(run, claims.BOTH)["verdict"].tolist()
    assert said == ["holds"] * 5 + ["does not hold"]


def test_the_diagonal_of_the_original_is_no_69_percent():  # The original's matrix
    diagonal, most = original.confusion().diagonal(), original.ACCURACY["cnn"]
    assert diagonal.min() > most + 0.1

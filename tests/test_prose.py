"""The chapters are prose: what of them stands where, and that what they say of recorded runs holds.

A chapter writes plainly what the recorded runs and the worked examples show; each such sentence has
a test here that computes it and names it. Where one fails, somebody rewrites the sentence.
"""

import nbformat
import numpy as np
import pytest
from prose import measure
from scipy import stats
from sklearn.decomposition import PCA

from beyond import ablation, audit, claims
from hw3 import complexity, faces, metrics, models, original, pca, recipes, runs, train, weights
from hw3.disk import ROOT

CONVERTED = ("cnn", "complexity", "dnn", "pca", "results")  # the others follow


@pytest.mark.parametrize("name", CONVERTED)
def test_no_sentence_stands_in_a_code_cell_and_cells_are_short(name):
    markdown, coded, longest, functions = measure(ROOT / "book" / f"{name}.ipynb")
    assert coded == 0
    assert markdown > 150
    assert longest <= 12
    assert functions == []


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


# The page results.


@pytest.fixture(scope="module")
def recorded():
    return {name: runs.recorded(name) for name in runs.recorded_names()}


def percent(found, part="PrivateTest"):
    return [100 * np.divide(*run.hits(part)) for run in found]


def published():
    shares = original.PUBLISHED["CNN"] + original.PUBLISHED["ensemble"]
    return [f"{share:.2%}" for share in shares]


def test_the_ensemble_and_the_published_ones_cannot_be_told_apart(recorded):  # Answer
    members = [run for name in ablation.ENSEMBLE for run in recorded[name]]
    assert len(members) == 9
    assert [run.recipe.name for run in members] == ["combined"] * 5 + ["mild"] * 4  # The ensemble
    mean = ablation.ensemble(members, "PrivateTest")["mean"]
    hits = int((mean == members[0].predicted("PrivateTest")[0]).sum())
    together = metrics.proportion(hits, 3589)
    assert f"{together}" == "74.2% [72.7, 75.6; n = 3,589]"
    assert published() == ["73.28%", "73.70%", "75.20%", "76.82%"]
    vgg, resnet, fair, with_others = (0.7328, 0.7370, 0.752, 0.7682)
    cnn = metrics.accuracy(recorded["modern-cnn"][0], "PrivateTest")
    assert {cnn.lies(vgg), cnn.lies(resnet), together.lies(fair)} == {"not distinguishable"}
    assert together.lies(with_others) == "below"


def test_one_more_seed_would_have_what_vgg_has_but_not_what_the_resnet_has(recorded):  # Reading
    for name, said in {"modern": "72.0% to 73.3%", "combined": "73.0% to 73.4%"}.items():
        found = recorded[f"{name}-cnn"]
        seed = ablation.next_seed([np.divide(*run.hits("PrivateTest")) for run in found])
        assert f"{seed.low:.1%} to {seed.high:.1%}" == said
        assert seed.low < 0.7328 < seed.high < 0.7370
        faces_too = metrics.accuracy(found[0], "PrivateTest")
        assert faces_too.low < 0.7328 < 0.7370 < faces_too.high, "by the faces both are possible"
        assert found[0].recipe.public == (name == "combined")


def test_the_original_run_again_ends_where_its_log_ends(recorded):  # How the trainings went
    (again,) = recorded["original-cnn"]
    log, n = original.history("cnn"), (again.hits()[1], original.HELD_OUT)
    assert n == (2871, 2870)
    last = [np.mean(h["val_accuracy"][-5:]) for h in (again.history, log)]
    gap = metrics.unpaired(*((round(share * k), k) for share, k in zip(last, n, strict=True)))
    assert gap.lies() == "not distinguishable"


def ingredients(recorded, network):
    """Return what each ingredient of a network gives, at the level of all comparisons."""
    tested = {n: [w for w in recipes.WITHOUT[n] if w != "nothing"] for n in ("cnn", "dnn")}
    level, gains = metrics.bonferroni(sum(map(len, tested.values()))), {}
    for what in tested[network]:
        runs_of = [recorded[f"without-{w}-{network}"][0] for w in ("nothing", what)]
        answers = [
            np.hstack([run.predicted(part) for part in ("held-out", "PublicTest")])
            for run in runs_of
        ]
        gains[what] = metrics.difference(answers[0][0], answers[0][1], answers[1][1], level)
    return gains


def test_of_the_dense_networks_ingredients_two_pass_and_of_the_cnns_none(recorded):  # Ingredients
    passed = {
        network: [what for what, gain in ingredients(recorded, network).items() if gain.low > 0]
        for network in ("cnn", "dnn")
    }
    assert passed == {"cnn": [], "dnn": ["distortion", "residual"]}
    whole = [recorded[f"without-nothing-{network}"][0] for network in passed]
    assert {run.hits()[1] + run.hits("PublicTest")[1] for run in whole} == {6460}
    epochs = [run.recipe.epochs for run in whole]
    assert epochs == [30, 100]
    gain = ahead(recorded["modern-cnn"][0], recorded["original-cnn"][0])
    assert gain.low > 0, "so the gain over original stays unexplained"
    assert recorded["modern-cnn"][0].recipe.epochs == 250


def test_what_helps_at_full_length(recorded):  # At full length
    modern, mild, combined = (recorded[f"{name}-cnn"] for name in ("modern", "mild", "combined"))
    for part in ("PublicTest", "PrivateTest"):
        ends = stats.ttest_ind(percent(modern, part), percent(mild, part), equal_var=False)
        assert ends.pvalue > 0.05, "the accuracy does not clearly differ"
    losses = [[run.final["val_loss"] for run in found] for found in (modern, mild)]
    assert stats.ttest_ind(*losses, equal_var=False).confidence_interval().high < 0, (
        "the loss falls"
    )
    assert [found[0].trained_on for found in (combined, modern)] == [31_651, 28_135]
    assert stats.ttest_ind(percent(combined), percent(modern), equal_var=False).pvalue < 0.05
    clean = audit.without_copies(combined[0], "PrivateTest").predictions["PrivateTest"][0]
    of_training = audit.without_copies(modern[0], "PrivateTest").predictions["PrivateTest"][0]
    assert (len(clean), len(np.setdiff1d(of_training, clean))) == (2892, 48)
    which = np.isin(combined[0].predictions["PrivateTest"][0], clean)
    shares = [
        [np.equal(*run.predicted("PrivateTest"))[which].mean() for run in found]
        for found in (combined, modern)
    ]
    assert stats.ttest_ind(*shares, equal_var=False).pvalue > 0.05, "not clear"
    seed = ablation.next_seed(percent(modern, "PublicTest"))
    for what, field, value in (("sgd", "learning_rate", 0.1), ("decay", "weight_decay", 0.02)):
        (tried,) = recorded[f"with-{what}-cnn"]
        assert getattr(tried.recipe, field) == value
        assert seed.low < percent([tried], "PublicTest")[0] < seed.high


def test_only_the_cnn_is_too_modest_and_only_the_original_gains(recorded):  # when it is right
    lean, gains = [], []
    for name in ("modern-cnn", "modern-dnn", "original-cnn"):
        run = recorded[name][0]
        _, labels, p = run.predictions["PrivateTest"]
        right, t = (
            p.argmax(1) == labels,
            ablation.best_temperature(*run.predictions["PublicTest"][1:]),
        )
        sure = p.max(1), ablation.at_temperature(p, t).max(1)
        lean.append(sure[0].mean() - right.mean())
        before, after = (ablation.calibration_error(right, confidence) for confidence in sure)
        gains.append(before - after)
    assert [value > 0 for value in lean] == [False, True, True]
    assert max(gains[:2]) < 0.02 < 0.1 < gains[2]
    assert ablation.BINS == 15


def test_what_is_recorded_is_told_of_all_runs(recorded):  # What is recorded
    final = [run for name, found in recorded.items() if not runs.tried(name) for run in found]
    assert {run.recipe.name for run in final} == {
        *("modern", "mild", "combined", "fast", "original", "clipped")
    }
    changed = {runs.slug(run): runs.changes(run) for run in final if runs.changes(run)}
    assert changed == {"original-cnn": {"dtype": ("mixed_bfloat16", "float32")}}
    assert sum("shared the GPU" in run.note for run in final) > len(final) / 2, "most shared it"
    for run in final:
        reasons = "shared the GPU", "compil"  # a step compiled first, or before
        assert not run.note or any(reason in run.note for reason in reasons)
        accuracy = metrics.accuracy(run, "PrivateTest")
        assert accuracy.n == 3589
        assert max(accuracy.high - accuracy.value, accuracy.value - accuracy.low) < 0.0175

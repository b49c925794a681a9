"""The chapters are prose: what of them stands where, and that what they say of recorded runs holds.

A chapter writes plainly what the recorded runs and the worked examples show; each such sentence has
a test here that computes it and names it. Where one fails, somebody rewrites the sentence.
"""

import nbformat
import numpy as np
import pytest
from prose import measure

from beyond import claims
from hw3 import faces, metrics, models, original, pca, recipes, runs, weights
from hw3.disk import ROOT

CONVERTED = ("cnn", "pca")  # the others follow


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


# Chapter 5.


def test_none_of_the_slips_is_among_the_errors():  # 5.9
    slips = pca.compare(pca.answers()).groupby("quantity")["slip"].sum()
    assert slips["errors"] == 0
    assert slips.sum() > 0


def test_axes_1_and_3_of_the_original_point_the_other_way():  # 5.9
    _, axes = pca.principal_axes(pca.covariance(pca.SAMPLES))
    turned = np.sum(axes * np.array(original.PCA["axes"], float), axis=1) < 0
    assert turned.tolist() == [True, False, True]

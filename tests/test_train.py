"""Training: what is held out, what decides a run, that it is reused, repeatable and resumable."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

from hw3 import runs, train
from hw3.faces import Faces, FacesError
from hw3.recipes import Recipe, recipe

TINY = Recipe(epochs=2, batch=20, train_cap=60, held_out_cap=20)


def test_held_out_images_are_a_tenth_of_training_and_never_learned_from(few):
    learn, held = train.split(few, Recipe())
    assert len(held) == 24
    assert len(learn) == 216
    assert not set(learn) & set(held)
    assert set(learn) | set(held) == set(np.flatnonzero(few.part == 0))


def test_caps_keep_the_held_out_images_of_a_seed(few):
    _, held = train.split(few, Recipe())
    learn, capped = train.split(few, Recipe(train_cap=50, held_out_cap=10))
    assert len(learn) == 50
    assert list(capped) == list(held[:10])
    assert list(train.split(few, Recipe(seed=1))[1]) != list(held)


def test_unlabeled_faces_cannot_be_trained_on(few):
    blank = Faces(few.images, np.full(len(few), 255, np.uint8), few.part, few.name, few.source)
    with pytest.raises(FacesError, match="0 labeled Training faces"):
        train.split(blank, Recipe())


def test_losses_agree_until_the_clip_and_only_the_stable_one_has_a_gradient_beyond():
    logits = np.array([[0.0, 10, 0, 0, 0, 0, 0], [0, 40, 0, 0, 0, 0, 0]], np.float32)
    labels = np.array([0, 0])
    p = keras.ops.softmax(logits)
    clipped = keras.ops.convert_to_numpy(train.clipped_loss(labels, p))
    stable = keras.ops.convert_to_numpy(keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))
    np.testing.assert_allclose(clipped[0], stable[0], rtol=1e-4)
    np.testing.assert_allclose(clipped[1], -np.log(1e-7), rtol=1e-5)
    np.testing.assert_allclose(stable[1], 40, rtol=1e-5)


def test_augmentation_acts_in_training_only_and_has_the_originals_sizes():
    layers = train.augmentation(Recipe())
    assert [type(layer).__name__ for layer in layers] == ["RandomFlip", "RandomRotation", "RandomShear", "RandomZoom"]
    images = np.random.default_rng(0).random((4, 48, 48, 1), np.float32)
    for layer in layers:
        assert np.array_equal(keras.ops.convert_to_numpy(layer(images, training=False)), images)
    assert not np.allclose(keras.ops.convert_to_numpy(layers[1](images, training=True)), images)
    assert train.augmentation(replace(Recipe(), rotation=0, shear=0, zoom=0, flip=False)) == []


@pytest.mark.parametrize("loss", ["stable", "clipped"])
def test_dnn_run_describes_itself(few, loss):
    run, network = train.train("dnn", few, replace(TINY, loss=loss), verbose=0)
    assert {k: len(v) for k, v in run.history.items()} == dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), 2)
    rows, labels, p = run.predictions["held-out"]
    assert p.shape == (20, 7)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    assert np.array_equal(labels, few.labels[rows])
    assert np.array_equal(p, train.predict(network, few.images[rows]))
    assert set(run.predictions) == {"held-out", "PublicTest", "PrivateTest"}
    assert run.hits() == (int((p.argmax(1) == labels).sum()), 20)
    assert run.history["val_accuracy"][-1] == pytest.approx(run.hits()[0] / 20)
    assert run.trained_on == 60
    assert {"python", "keras", "numpy"} < set(run.versions)


def test_cnn_trains_repeatably(few):
    small = replace(TINY, epochs=1, train_cap=40, batch=10, held_out_cap=8, tests=False)
    first, second = (train.train("cnn", few, small, verbose=0)[0] for _ in range(2))
    assert first.history == second.history
    assert np.array_equal(first.predictions["held-out"][2], second.predictions["held-out"][2])


def test_cnn_learns_what_is_easy(few):
    easy = replace(TINY, epochs=3, batch=10, train_cap=100, rotation=0, zoom=0, norm_momentum=0.9, tests=False)
    run, _ = train.train("cnn", few, easy, verbose=0)
    assert run.history["loss"][-1] < run.history["loss"][0]
    assert run.history["accuracy"][-1] > 2 / 7


def test_moving_averages_remember_as_long_as_the_recipe_says():
    network = keras.Sequential(
        [keras.Input((48, 48, 1)), keras.layers.BatchNormalization(), keras.layers.Dense(7, name="logits")]
    )
    train.trainer(network, replace(TINY, norm_momentum=0.9), steps=1)
    assert network.layers[0].momentum == 0.9


def test_cosine_schedule_falls_to_zero_and_a_constant_one_does_not(few):
    network = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Dense(7, name="logits")])
    cosine = train.trainer(network, replace(TINY, schedule="cosine"), steps=100).optimizer
    cosine.iterations.assign(100)
    assert float(keras.ops.convert_to_numpy(cosine.learning_rate)) == pytest.approx(0)
    constant = train.trainer(network, TINY, steps=100).optimizer
    constant.iterations.assign(100)
    assert float(keras.ops.convert_to_numpy(constant.learning_rate)) == pytest.approx(0.001)


def test_logistic_regression_learns_what_is_easy(few):
    _, held = train.split(few, Recipe())
    assert (train.logistic(few, Recipe()) == few.labels[held]).mean() > 0.5


def test_run_is_saved_loaded_and_reused_and_made_again_where_it_is_damaged(few, monkeypatch, capsys):
    first = runs.obtain("dnn", few, TINY, verbose=0)
    with monkeypatch.context() as patch:
        patch.setattr(train, "train", lambda *a, **k: pytest.fail("trained again although nothing changed"))
        again = runs.obtain("dnn", few, TINY)
    assert again.history == first.history
    assert again.recipe == TINY
    for part, arrays in first.predictions.items():
        for a, b in zip(arrays, again.predictions[part], strict=True):
            assert np.array_equal(a, b)
    network = runs.load_model("dnn", few, TINY)
    rows, _, p = again.predictions["held-out"]
    np.testing.assert_allclose(train.predict(network, few.images[rows]), p, atol=1e-6)

    (runs.run_folder("dnn", few, TINY) / "history.csv").write_text("loss\n0.0\n")
    assert runs.obtain("dnn", few, TINY, verbose=0).history == first.history
    said = capsys.readouterr().err
    assert "damaged" in said
    assert said.count("\n") == 1


def test_key_changes_with_all_that_decides_a_result(few):
    key = runs.key("dnn", few.fingerprint, TINY, {"keras": "3"})
    assert key == runs.key("dnn", few.fingerprint, replace(TINY), {"keras": "3"})
    others = [
        runs.key("cnn", few.fingerprint, TINY, {"keras": "3"}),
        runs.key("dnn", few.only("Training").fingerprint, TINY, {"keras": "3"}),
        runs.key("dnn", few.fingerprint, replace(TINY, seed=1), {"keras": "3"}),
        runs.key("dnn", few.fingerprint, TINY, {"keras": "4"}),
    ]
    assert len({key, *others}) == 5


def test_failed_write_leaves_nothing_behind(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        runs.write_atomically(target, fail)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["file"]


KILLED = """
import numpy as np, sys
from hw3 import faces, recipes, runs, train
train.SAVE_EVERY = 0
rng = np.random.default_rng(0)
few = faces.Faces(rng.integers(0, 255, (200, 48, 48)).astype(np.uint8), rng.integers(0, 7, 200).astype(np.uint8),
                  np.zeros(200, np.uint8), "test faces", "made by the tests")
recipe = recipes.Recipe(epochs=4, batch=20, train_cap=80, shear=0, zoom=0, tests=False)
print(runs.run_folder("dnn", few, recipe).with_suffix(".checkpoint.npz"), flush=True)
import json
for fresh in json.loads(sys.argv[1]):
    print(json.dumps(runs.obtain("dnn", few, recipe, fresh, verbose=0).history), flush=True)
"""


def test_killed_training_goes_on_and_ends_like_an_unbroken_one():
    def start(*fresh):
        return subprocess.Popen([sys.executable, "-c", KILLED, json.dumps(fresh)], stdout=subprocess.PIPE, text=True)

    broken = start(False)
    checkpoint = broken.stdout.readline().strip()
    while not os.path.exists(checkpoint) and broken.poll() is None:
        time.sleep(0.005)
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    assert broken.returncode == -signal.SIGKILL
    with np.load(checkpoint) as state:
        assert 1 <= len(state["history_loss"]) < 4
    _, resumed, unbroken = start(False, True).communicate()[0].splitlines()
    assert json.loads(resumed) == json.loads(unbroken)
    assert not os.path.exists(checkpoint)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_each_installed_backend_trains(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    code = KILLED.replace("epochs=4, batch=20, train_cap=80", "epochs=1, batch=8, train_cap=24, held_out_cap=8, rotation=0")
    env = os.environ | {"KERAS_BACKEND": backend}
    command = [sys.executable, "-c", code, "[false]"]
    out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    history = json.loads(out.splitlines()[-1])
    assert len(history["loss"]) == 1
    assert np.isfinite(history["loss"][0])


def test_smoke_and_quick_take_enough_steps_for_batch_normalization():
    for profile in ("smoke", "quick"):
        r = recipe("cnn", profile)
        steps_of_an_epoch = r.train_cap // r.batch
        assert r.norm_momentum**steps_of_an_epoch < 0.02, "the moving averages would remember more than the last epoch"

"""Training: what is held out, what decides a run, that it is reused, repeatable and resumable."""

import functools
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest

from hw3 import machine, models, runs, train, trained, weights
from hw3.disk import write_atomically
from hw3.faces import Faces, FacesError
from hw3.models import NETWORKS
from hw3.recipes import PROFILES, RECIPES, Recipe, recipe

pytestmark = pytest.mark.keras
NO_FACES = np.zeros((1, 48, 48), np.uint8)
TINY = Recipe(
    architecture="residual", epochs=2, batch=20, train_cap=60, held_out_cap=20
)  # fewer layers are sooner traced


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Make the residual network narrow, which is sooner trained and saved."""
    monkeypatch.setattr(models, "RESIDUAL_WIDTH", 64)
    monkeypatch.setattr(models, "RESIDUAL_HEAD", 32)


def test_held_out_images_are_a_tenth_of_training_and_never_learned_from(few):
    learn, held = train.split(few, Recipe())
    assert len(held) == 24
    assert len(learn) == 216
    assert not set(learn) & set(held)
    assert set(learn) | set(held) == set(np.flatnonzero(few.part == 0))


def test_what_is_only_tried_never_looks_at_private_test(few, monkeypatch):
    looked, predict = [], train.predict

    def watched(network, images, *views):
        looked.extend(image.tobytes() for image in images)
        return predict(network, images, *views)

    monkeypatch.setattr(train, "predict", watched)
    private = {image.tobytes() for image in few.only("PrivateTest").images}
    for name in ("with-ema", "without-flip"):
        run, _ = train.train("dnn", few, replace(TINY, name=name, epochs=1))
        assert set(run.predictions) == {"held-out", "PublicTest"}
        assert not private & set(looked)
    run, _ = train.train("dnn", few, replace(TINY, name="next-ema", epochs=1))
    assert "PrivateTest" in run.predictions
    assert private <= set(looked)


def test_public_test_is_learned_from_where_the_recipe_says_so(few):
    learn, held = train.split(few, Recipe(public=True))
    assert sorted([*learn, *held]) == list(range(270))
    assert len(held) == 27
    assert set(few.part[held]) == set(few.part[learn]) == {0, 1}
    run, _ = train.train("dnn", few, replace(TINY, public=True, epochs=1))
    assert set(run.predictions) == {"held-out", "PrivateTest"}, "PublicTest tests nothing any more"
    for name in ("ema", "mixup", "both", "long"):
        assert recipe("cnn", "full", f"next-{name}") == replace(
            recipe("cnn", "full", f"with-{name}"), name=f"next-{name}", public=True
        )
    with pytest.raises(FacesError, match="no PublicTest to learn from: take recipe modern"):
        train.split(few.only("Training"), Recipe(public=True))
    assert recipe("cnn", "full", "combined") == replace(
        recipe("cnn", "full", "modern"), name="combined", public=True
    )


def test_identical_pictures_stay_on_one_side_of_the_split():
    images = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((48, 48), np.uint8)
    images[50:] = images[7]  # half of the faces are one picture
    faces = Faces(
        images, np.zeros(100, np.uint8), np.zeros(100, np.uint8), "test faces", "made by the tests"
    )
    group = np.r_[7, 50:100]
    for seed in range(10):
        learn, held = train.split(faces, Recipe(seed=seed, together=True))
        assert sorted([*learn, *held]) == list(range(100))
        assert len(set(group) & set(held)) in (0, len(group))
        both = replace(faces, part=np.repeat(np.array([0, 1], np.uint8), 50))
        assert np.array_equal(
            train.split(both, Recipe(seed=seed, together=True, public=True))[1], held
        ), "across both parts"
        assert len(held) >= 10
        assert len(held) == 10 or set(group) <= set(held), "it is longer only to keep a group whole"
        plain = train.split(faces, Recipe(seed=seed))
        assert len(plain[1]) == 10
        assert 0 < len(set(group) & set(plain[1])) < len(group)


def test_caps_keep_the_held_out_images_of_a_seed(few):
    _, held = train.split(few, Recipe())
    learn, capped = train.split(few, Recipe(train_cap=50, held_out_cap=10))
    assert len(learn) == 50
    assert list(capped) == list(held[:10])
    assert list(train.split(few, Recipe(seed=1))[1]) != list(held)


def test_unlabeled_faces_cannot_be_trained_on(few):
    blank = Faces(few.images, np.full(len(few), 255, np.uint8), few.part, few.name, few.source)
    with pytest.raises(FacesError, match="0 labeled faces are too few"):
        train.split(blank, Recipe())


def test_a_split_that_leaves_nothing_to_learn_from_is_refused(few):
    with pytest.raises(FacesError, match="none is left to learn from"):
        train.split(few, Recipe(held_out=0.999))
    alike = Faces(np.zeros_like(few.images), few.labels, few.part, few.name, few.source)
    with pytest.raises(FacesError, match="none is left to learn from"):
        train.split(alike, Recipe(together=True))


def test_losses_agree_until_the_clip_and_only_the_stable_one_has_a_gradient_beyond():
    logits = np.array([[0.0, 10, 0, 0, 0, 0, 0], [0, 40, 0, 0, 0, 0, 0]], np.float32)
    labels = np.array([0, 0])
    p = keras.ops.softmax(logits)
    clipped = keras.ops.convert_to_numpy(train.clipped_loss(np.eye(7, dtype=np.float32)[labels], p))
    stable = keras.ops.convert_to_numpy(
        keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    )
    np.testing.assert_allclose(clipped[0], stable[0], rtol=1e-4)
    np.testing.assert_allclose(clipped[1], -np.log(1e-7), rtol=1e-5)
    np.testing.assert_allclose(stable[1], 40, rtol=1e-5)


STILL = replace(Recipe(), flip=False, rotation=0, shear=0, zoom=0)


def distorted(recipe, images, training=True):
    """Return what Distortion makes of images (n, 48, 48)."""
    layer = models.Distortion(recipe)
    out = layer(images[..., None].astype(np.float32), training=training)
    return keras.ops.convert_to_numpy(out)[..., 0]


def dot(n, y, x):
    """Return n images that are black but for a soft dot at (y, x)."""
    at = np.arange(48)
    image = np.exp(-((at[:, None] - y) ** 2 + (at - x) ** 2) / 4)
    return np.repeat(image[None], n, axis=0)


def centers(images):
    """Return the center of brightness (n, 2) of images, from the middle of the picture."""
    at, total = np.arange(48) - 23.5, images.sum((1, 2))
    return (
        np.stack([(images.sum(2) * at).sum(1), (images.sum(1) * at).sum(1)], axis=1)
        / total[:, None]
    )


def test_distortion_acts_in_training_only():
    images = np.random.default_rng(0).random((4, 48, 48), np.float32)
    assert np.array_equal(distorted(Recipe(), images, training=False), images)
    assert not np.allclose(distorted(Recipe(), images), images)
    assert np.array_equal(distorted(STILL, images), images)


def test_flip_mirrors_about_half_of_the_faces_exactly():
    images = np.random.default_rng(0).random((200, 48, 48), np.float32)
    out = distorted(replace(STILL, flip=True), images)
    mirrored = np.isclose(out, images[:, :, ::-1], atol=1e-4).all((1, 2))
    kept = np.isclose(out, images, atol=1e-4).all((1, 2))
    assert (mirrored ^ kept).all()
    assert 70 < mirrored.sum() < 130


def test_rotation_keeps_the_distance_from_the_middle_and_reaches_its_largest_angle():
    found = centers(distorted(replace(STILL, rotation=20.0), dot(300, 23.5, 35.5)))
    np.testing.assert_allclose(np.hypot(*found.T), 12, atol=0.15)
    angles = np.degrees(np.arctan2(*found.T))
    assert np.abs(angles).max() < 20.5
    assert angles.min() < -17
    assert angles.max() > 17


def test_zoom_shear_and_shift_move_a_point_as_far_as_they_say():
    tall, wide = centers(distorted(replace(STILL, zoom=0.2), dot(300, 33.5, 33.5))).T
    for found in (tall, wide):
        assert found.min() == pytest.approx(10 / 1.2, abs=0.3)
        assert found.max() == pytest.approx(10 / 0.8, abs=0.3)
    assert np.abs(tall - wide).max() > 2, "height and width are zoomed apart"
    _, x = centers(distorted(replace(STILL, shear=20.0), dot(300, 33.5, 23.5))).T
    assert np.abs(x).max() == pytest.approx(10 * np.tan(np.radians(20)), abs=0.4)
    moved = centers(distorted(replace(STILL, shift=4.0), dot(300, 23.5, 23.5)))
    assert np.abs(moved).max() == pytest.approx(4, abs=0.1)
    assert np.abs(moved.mean(0)).max() < 0.5


def test_contrast_and_brightness_change_a_face_about_its_own_mean_as_far_as_they_say():
    images = np.random.default_rng(0).uniform(0.35, 0.65, (300, 48, 48)).astype(np.float32)
    mean, differences = images.mean((1, 2)), images - images.mean((1, 2), keepdims=True)
    out = distorted(replace(STILL, contrast=0.3, brightness=0.15), images)
    moved = out.mean((1, 2)) - mean
    stretched = (out - out.mean((1, 2), keepdims=True))[:, 0, 0] / differences[:, 0, 0]
    for found, size in ((moved, 0.15), (stretched - 1, 0.3)):
        assert -size - 1e-3 < found.min() < -0.9 * size
        assert 0.9 * size < found.max() < size + 1e-3
    np.testing.assert_allclose(
        out, (mean + moved)[:, None, None] + stretched[:, None, None] * differences, atol=1e-3
    )
    assert abs(np.corrcoef(moved, stretched)[0, 1]) < 0.2, "drawn apart"
    cut = distorted(
        replace(STILL, brightness=0.15), np.stack([np.zeros((48, 48)), np.ones((48, 48))] * 20)
    )
    assert (cut.min(), cut.max()) == (0, 1)


def test_precise_norm_takes_the_statistics_of_all_undistorted_batches_alike():
    images = np.random.default_rng(0).integers(0, 256, (23, 48, 48), dtype=np.uint8)
    network = NETWORKS["dnn"]["residual"]()
    network.get_layer("norm1").moving_mean.assign(np.full(64, 9.0))  # of a training: forgotten
    kernels = network.get_layer("stem").get_weights()
    train.precise_norm(network, images, 10)
    pixels = images[:20].reshape(20, -1) / 255  # three do not fill a batch
    standard = (pixels - pixels.mean(1, keepdims=True)) / np.sqrt(
        pixels.var(1, keepdims=True) + 1e-3
    )  # Keras's epsilon
    seen = (standard @ kernels[0] + kernels[1]).reshape(2, 10, -1)
    _, _, mean, variance = network.get_layer("norm1").get_weights()
    np.testing.assert_allclose(mean, seen.mean((0, 1)), atol=1e-3)
    np.testing.assert_allclose(variance, seen.var(1).mean(0), rtol=1e-3)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(kernels, network.get_layer("stem").get_weights(), strict=True)
    )


def test_a_run_with_precise_norm_says_what_it_reached_after_it(few, tmp_path):
    precise = replace(TINY, precise_norm=True, tests=False)
    run, _ = train.train("dnn", few, precise)
    assert run.final["val_accuracy"] == pytest.approx(run.hits()[0] / 20)
    assert run.final["seconds"] > 0
    again, _ = train.train("dnn", few, precise)
    assert np.array_equal(run.predictions["held-out"][2], again.predictions["held-out"][2])
    without, _ = train.train("dnn", few, replace(precise, precise_norm=False))
    assert without.final == {}
    assert without.history == run.history
    assert without.history["val_loss"][-1] != run.final["val_loss"]
    runs.save(run, tmp_path / "run")
    assert runs.load(tmp_path / "run").final == run.final


@pytest.mark.parametrize("precise", [False, True])
def test_with_ema_the_average_is_judged_and_the_training_goes_on_as_without(
    few, monkeypatch, precise
):
    fitted, score = [], train.score

    def keep(job):
        fitted.append([keras.ops.convert_to_numpy(v) for v in job.fitted.trainable_variables])

    monkeypatch.setattr(train, "score", lambda job: keep(job) or score(job))
    plain = replace(TINY, batch=60, epochs=4, precise_norm=precise)  # one step an epoch
    history = train.train("dnn", few, plain)[0].history
    steps, fitted[:] = fitted[:4], []
    run, network = train.train("dnn", few, replace(plain, ema=0.75))
    assert run.history["loss"] == history["loss"]
    assert run.history["val_loss"][1:] != history["val_loss"][1:]
    for got, wanted in zip(fitted[:4], steps, strict=True):
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(one, other)
    for variable, *values in zip(network.trainable_variables, *steps, strict=True):
        average = values[0]
        for now in values[1:]:
            average = 0.75 * average + 0.25 * now
        np.testing.assert_allclose(variable.numpy(), average, rtol=1e-4, atol=1e-6)
    assert run.final["val_loss"] != run.history["val_loss"][-1] if precise else not run.final


def test_mixup_mixes_faces_and_labels_of_a_batch_by_one_share(few, monkeypatch):
    given, feed = [], train.feed
    note = lambda size, x, *y: (given.append((x, *y)) if y else None) or feed(size, x, *y)  # noqa: E731
    monkeypatch.setattr(train, "feed", note)
    recipe = replace(TINY, epochs=1, mixup=0.5)
    train.train("dnn", few, recipe)
    [((rows, share), labels)] = given
    assert len(set(rows)) == 60
    assert share.shape == (60, 1)
    assert share.min() < 0.1 < 0.3 < share.mean() < 0.7 < 0.9 < share.max()
    before = np.concatenate([np.roll(batch, 1) for batch in rows.reshape(3, 20)])
    one_hot, pixels = np.eye(7)[few.labels], few.images.reshape(len(few), -1) / 255
    wanted = share * one_hot[rows] + (1 - share) * one_hot[before]
    np.testing.assert_allclose(labels, wanted, atol=1e-6)
    stack = [keras.Input((48, 48, 1)), keras.layers.Flatten(name="logits"), keras.layers.Softmax()]
    model = train.trainer(keras.Sequential(stack), few.images, recipe, steps=1)
    seen = model((rows[:20], share[:20]), training=False)
    wanted = share[:20] * pixels[rows[:20]] + (1 - share[:20]) * pixels[before[:20]]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(seen), wanted, atol=1e-5)


def test_more_views_are_averaged_and_other_numbers_refused(few):
    network = keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(7, activation="softmax"),
        ]
    )
    images = few.images[:5]
    plain, two = train.predict(network, images), train.predict(network, images, 2)
    np.testing.assert_allclose(
        two, (plain + train.predict(network, images[:, :, ::-1])) / 2, atol=1e-6
    )
    flat = np.full((3, 48, 48), 77, np.uint8)  # looks the same from everywhere
    np.testing.assert_allclose(
        train.predict(network, flat, 10), train.predict(network, flat), atol=1e-6
    )
    with pytest.raises(ValueError, match="3 views"):
        train.predict(network, images, 3)


def test_few_faces_are_predicted_alone_and_the_same(few, monkeypatch):
    network, sizes, feed = NETWORKS["dnn"]["residual"](), [], train.feed
    monkeypatch.setattr(
        train,
        "feed",
        lambda size, *arrays: sizes.append((size, len(arrays[0]))) or feed(size, *arrays),
    )
    many = train.predict(network, few.images[:20])
    np.testing.assert_allclose(train.predict(network, few.images[:3]), many[:3], atol=1e-6)
    assert sizes == [(128, 128), (3, 3)]


def test_the_larger_batches_of_a_gpu_predict_the_same(monkeypatch):
    network, images = (
        NETWORKS["dnn"]["original"](),
        np.random.default_rng(0).integers(0, 256, (130, 48, 48), dtype=np.uint8),
    )
    small, sizes, feed = train.predict(network, images), [], train.feed
    monkeypatch.setattr(machine, "accelerators", lambda: 1)
    monkeypatch.setattr(
        train, "feed", lambda size, *arrays: sizes.append(size) or feed(size, *arrays)
    )
    np.testing.assert_allclose(train.predict(network, images), small, atol=1e-6)
    assert sizes == [train.PREDICTION_BATCH[1]]


@pytest.mark.parametrize("loss", ["stable", "clipped"])
def test_dnn_run_describes_itself(few, loss, capsys):
    run, network = train.train("dnn", few, replace(TINY, loss=loss))
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(", ")[0] for line in said] == [f"epoch {i} of 2" for i in range(3)]
    assert said[0].endswith(", dnn")
    reached = f"held-out accuracy {run.history['val_accuracy'][-1]:.4f}, 0:00:00 left; loss "
    assert said[2].split(", ", 1)[1].startswith(reached + f"{run.history['loss'][-1]:.4f}, ")
    assert {k: len(v) for k, v in run.history.items()} == dict.fromkeys(
        ("loss", "accuracy", "val_loss", "val_accuracy"), 2
    )
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
    small = replace(
        TINY, architecture="original", epochs=1, train_cap=40, batch=10, held_out_cap=8, tests=False
    )
    first, second = (train.train("cnn", few, small)[0] for _ in range(2))
    assert first.history == second.history
    assert np.array_equal(first.predictions["held-out"][2], second.predictions["held-out"][2])


def test_cnn_learns_what_is_easy(few):
    easy = replace(
        TINY,
        architecture="narrow",
        epochs=3,
        batch=10,
        train_cap=100,
        held_out_cap=10,
        rotation=0,
        zoom=0,
        norm_momentum=0.9,
        tests=False,
    )
    run, _ = train.train("cnn", few, easy)
    assert run.history["loss"][-1] < run.history["loss"][0]
    assert run.history["accuracy"][-1] > 2 / 7


def test_moving_averages_remember_as_long_as_the_recipe_says():
    network = keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(7, name="logits"),
        ]
    )
    train.trainer(network, NO_FACES, replace(TINY, norm_momentum=0.9), steps=1)
    assert network.layers[0].momentum == 0.9


def rates(recipe, at):
    """Return the learning rates of a recipe of 100 steps after the numbers of steps in `at`."""
    made = train.optimizer(recipe, 100)
    found = []
    for step in at:
        made.iterations.assign(step)
        found.append(float(keras.ops.convert_to_numpy(made.learning_rate)))
    return found


def test_schedules_rise_and_fall_as_their_names_say():
    assert rates(TINY, [0, 100]) == pytest.approx([0.001, 0.001])
    assert rates(replace(TINY, schedule="cosine"), [0, 50, 100]) == pytest.approx(
        [0.001, 0.0005, 0], abs=1e-9
    )
    assert rates(
        replace(TINY, schedule="cosine", warmup=0.1), [0, 5, 10, 55, 100]
    ) == pytest.approx([0, 0.0005, 0.001, 0.0005, 0], abs=1e-9)
    assert rates(replace(TINY, first_step=0.5), [0, 1, 100]) == pytest.approx([0.5, 0.001, 0.001])


def test_weight_decay_shrinks_kernels_but_not_biases_or_normalization():
    network = keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(7),
            keras.layers.BatchNormalization(),
        ]
    )
    made = train.optimizer(replace(TINY, optimizer="sgd", learning_rate=0.1, weight_decay=0.5), 1)
    before = [keras.ops.convert_to_numpy(v) for v in network.trainable_variables]
    made.apply(
        [keras.ops.zeros(v.shape) for v in network.trainable_variables], network.trainable_variables
    )
    after = [keras.ops.convert_to_numpy(v) for v in network.trainable_variables]
    np.testing.assert_allclose(after[0], before[0] * (1 - 0.1 * 0.5), rtol=1e-5)
    for a, b in zip(after[1:], before[1:], strict=True):
        assert np.array_equal(a, b)


def test_fit_and_predict_are_fed_every_row_once_and_in_order():
    rows, labels = np.arange(10), np.eye(10)
    given = train.feed(4, rows, labels)
    if keras.backend.backend() == "tensorflow":
        batches = [[part.numpy() for part in batch] for batch in given["x"]]
        assert [len(x) for x, _ in batches] == [4, 4, 2]
        assert given["x"].options().autotune.enabled is False, "with it, fit() was seen to wait"
        given = dict(zip("xy", map(np.concatenate, zip(*batches, strict=True)), strict=True))
        assert np.array_equal(
            np.concatenate([part.numpy() for part in train.feed(4, rows)["x"]]), rows
        )
    assert np.array_equal(given["x"], rows)
    assert np.array_equal(given["y"], labels)


def test_a_loss_that_is_no_number_ends_the_training_in_one_line(few, tmp_path):
    with pytest.raises(ValueError, match=r"^epoch 1: the loss is (nan|inf): lower learning_rate"):
        train.train("dnn", few, replace(TINY, learning_rate=1e30), tmp_path / "x.checkpoint.npz")
    assert list(tmp_path.iterdir()) == []


def test_run_is_saved_loaded_and_reused_and_made_again_where_it_is_damaged(
    few, monkeypatch, capsys
):
    first = trained.obtain("dnn", few, TINY)
    with monkeypatch.context() as patch:
        patch.setattr(
            train, "train", lambda *a, **k: pytest.fail("trained again although nothing changed")
        )
        again = trained.obtain("dnn", few, TINY)
    assert again.history == first.history
    assert again.recipe == TINY
    for part, arrays in first.predictions.items():
        for a, b in zip(arrays, again.predictions[part], strict=True):
            assert np.array_equal(a, b)
    network = weights.load_model("dnn", few, TINY)
    rows, _, p = again.predictions["held-out"]
    np.testing.assert_allclose(train.predict(network, few.images[rows]), p, atol=1e-6)

    (runs.run_folder("dnn", few, TINY) / "history.csv").write_text("loss\n0.0\n")
    assert trained.obtain("dnn", few, TINY).history == first.history
    said = capsys.readouterr().err
    assert "damaged" in said
    assert said.count("\n") == 1


def test_a_damaged_checkpoint_changes_nothing_and_is_set_aside_with_one_line(
    few, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(train, "SAVE_EVERY", 0)
    path = tmp_path / "run.checkpoint.npz"
    whole = train.train("dnn", few, TINY, path)[0]
    saved = path.read_bytes()
    model = train.trainer(NETWORKS["dnn"]["residual"](), few.images, TINY, steps=1)
    model.optimizer.build(model.trainable_variables)
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in train.state(model)]
    for damaged in (b"", saved[:5000] + bytes([saved[5000] ^ 1]) + saved[5001:], saved[:-100]):
        path.write_bytes(damaged)
        assert train.resume(path, model) == {}
        problem = r"hw3: the checkpoint run\.checkpoint\.npz is damaged: [^\n]*"
        assert re.fullmatch(problem + "; the training starts again\n", capsys.readouterr().err)
        assert not path.exists()
        assert all(
            np.array_equal(keras.ops.convert_to_numpy(v), a)
            for v, a in zip(train.state(model), before, strict=True)
        )
    path.write_bytes(damaged)
    assert train.train("dnn", few, TINY, path)[0].history == whole.history
    said = capsys.readouterr().err
    assert "run.checkpoint.npz is damaged" in said
    assert said.count("\n") == 1


@dataclass(frozen=True)
class Newer(Recipe):
    clipnorm: float = 0.0  # a field of a later version, which is off


def test_a_new_field_changes_a_key_only_where_it_is_on():
    key = functools.partial(runs.key, "cnn", "faces", versions={})
    assert key(recipe=Newer(epochs=5)) == key(recipe=Recipe(epochs=5))
    assert key(recipe=Newer(epochs=5, clipnorm=1.0)) != key(recipe=Newer(epochs=5))


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
        write_atomically(target, fail)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["file"]


KILLED = """
import contextlib, numpy as np, sys
from hw3 import faces, recipes, runs, train, trained
train.SAVE_EVERY = 0
rng = np.random.default_rng(0)
images = rng.integers(0, 255, (200, 48, 48)).astype(np.uint8)
labels, part = rng.integers(0, 7, 200).astype(np.uint8), np.zeros(200, np.uint8)
few = faces.Faces(images, labels, part, "test faces", "made by the tests")
changes = dict(epochs=4, schedule="cosine", batch=20, train_cap=80, ema=0.5, mixup=0.5)
changes |= dict(architecture="residual", shear=0, zoom=0, tests=False)
recipe = recipes.Recipe(**changes)
print(runs.run_folder("dnn", few, recipe).with_suffix(".checkpoint.npz"), flush=True)
import json
for fresh in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(sys.stderr):
        history = trained.obtain("dnn", few, recipe, fresh).history
    print(json.dumps(history), flush=True)
"""


def test_killed_training_goes_on_and_ends_like_an_unbroken_one():
    def start(*fresh):
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, json.dumps(fresh)], stdout=subprocess.PIPE, text=True
        )

    broken = start(False)
    checkpoint = broken.stdout.readline().strip()
    while not os.path.exists(checkpoint) and broken.poll() is None:
        time.sleep(0.005)
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    assert broken.returncode == -signal.SIGKILL
    with np.load(checkpoint) as state:
        assert 1 <= len(state["history"]) < 4
    _, resumed, unbroken = start(False, True).communicate()[0].splitlines()
    assert json.loads(resumed) == json.loads(unbroken)
    assert not os.path.exists(checkpoint)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_each_other_installed_backend_trains(backend):
    if backend in (keras.backend.backend(), "tensorflow"):
        pytest.skip("`make test` trains on TensorFlow, and the other tests on this one")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    code = KILLED.replace(
        'epochs=4, schedule="cosine", batch=20, train_cap=80',
        "epochs=1, batch=8, train_cap=24, held_out_cap=8",
    )
    env = os.environ | {"KERAS_BACKEND": backend}
    command = [sys.executable, "-c", code, "[false]"]
    out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    history = json.loads(out.splitlines()[-1])
    assert len(history["loss"]) == 1
    assert np.isfinite(history["loss"][0])


TWO_DEVICES = """
import sys, json, numpy as np
from hw3 import faces, recipes, train
from hw3.__main__ import join_hosts
import keras
join_hosts()
rng = np.random.default_rng(0)
images = rng.integers(0, 255, (300, 48, 48)).astype(np.uint8)
labels, part = rng.integers(0, 7, 300).astype(np.uint8), np.zeros(300, np.uint8)
few = faces.Faces(images, labels, part, "test faces", "made by the tests")
made, trainer = [], train.trainer
train.trainer = lambda *a: made.append(trainer(*a)) or made[-1]
changes = {"epochs": 2, "batch": 30, "train_cap": 90, "views": 1, "precise_norm": True}
changes |= {"mixup": 0.5, "ema": 0.5}
changes["learning_rate"] = 0.01  # at 0.1 float error grows step by step
recipe = recipes.recipe("dnn", "full", "modern", **changes)
run, _ = train.train("dnn", few, recipe)
shards = {len(v.value.sharding.device_set) for v in made[0].trainable_variables}
history = run.history | {"final": run.final["val_loss"]}
print(json.dumps([len(keras.distribution.list_devices()), sorted(shards), history]))
"""


def histories(devices, hosts):
    """Train on so many devices in each of so many processes; return what each of them printed."""
    env = os.environ | {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    if hosts > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            addresses = ",".join([f"127.0.0.1:{free.getsockname()[1]}"] * hosts)
        env |= {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": addresses,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(hosts),
        }
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    environments = [env | {"KERAS_DISTRIBUTION_PROCESS_ID": str(i)} for i in range(hosts)]
    started = [
        subprocess.Popen([sys.executable, "-c", TWO_DEVICES], env=e, **options)
        for e in environments
    ]
    return [json.loads(process.communicate(timeout=200)[0].splitlines()[-1]) for process in started]


def test_two_devices_and_two_hosts_give_the_history_of_one_device():
    if keras.backend.backend() != "jax":
        pytest.skip("runs under `make test BACKEND=jax`, as CI does")
    [(seen, shards, one)] = histories(1, 1)
    assert (seen, shards) == (1, [1])
    for devices, hosts in ((2, 1), (1, 2)):
        for seen, shards, two in histories(devices, hosts):
            assert (seen, shards) == (2, [2]), "the weights do not lie on both devices"
            for name, values in one.items():
                np.testing.assert_allclose(
                    two[name], values, rtol=1e-5, err_msg=f"{name}, {hosts} hosts"
                )


def test_several_steps_a_call_as_on_a_gpu_give_the_same_history(few, monkeypatch):
    if keras.backend.backend() != "jax":
        pytest.skip("runs under `make test BACKEND=jax`, as CI does")
    recipe, made, trainer = replace(TINY, train_cap=200, tests=False), [], train.trainer
    monkeypatch.setattr(train, "trainer", lambda *a: made.append(trainer(*a)) or made[-1])
    one = train.train("dnn", few, recipe)[0].history
    monkeypatch.setattr(machine, "accelerators", lambda: 1)
    several = train.train("dnn", few, recipe)[
        0
    ].history  # 10 steps an epoch: a call of 8, then one of 2
    assert [model.steps_per_execution for model in made] == [1, 8]
    for name, values in one.items():
        np.testing.assert_allclose(several[name], values, rtol=1e-4, err_msg=name)


def test_the_device_is_named_also_where_nobody_knows_the_accelerators_name(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "accelerators", lambda: 0)
    assert machine.device().startswith("CPU")
    monkeypatch.setattr(machine, "accelerators", lambda: 2)
    monkeypatch.setenv("PATH", str(tmp_path))  # without nvidia-smi
    assert machine.device() == "2 GPU"
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA H200'; echo 'NVIDIA H200'\n")
    smi.chmod(0o755)
    assert machine.device() == "2 GPU NVIDIA H200"
    smi.write_text("#!/bin/sh\nexit 9\n")  # no driver
    assert machine.device() == "2 GPU"


def test_every_recipe_is_valid_under_every_profile():
    for name, networks in RECIPES.items():
        for network in networks:
            for profile in PROFILES:
                assert recipe(network, profile, name).profile == profile


def test_smoke_and_quick_take_enough_steps_for_batch_normalization():
    for profile in ("smoke", "quick"):
        r = recipe("cnn", profile)
        steps_of_an_epoch = r.train_cap // r.batch
        assert r.norm_momentum**steps_of_an_epoch < 0.02, (
            "the moving averages would remember more than the last epoch"
        )

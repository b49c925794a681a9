"""The two networks are the original's, layer by layer."""

import keras
import numpy as np
import pytest

from hw3 import models, original
from hw3.recipes import recipe

pytestmark = pytest.mark.keras


def trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


@pytest.mark.parametrize(
    ("name", "parameters"), [("cnn", (6_040_327, 6_036_871)), ("dnn", (6_036_839, 6_036_839))]
)
def test_parameters_are_the_originals(name, parameters):
    model = models.NETWORKS[name]["original"]()
    assert (
        (model.count_params(), trainable(model))
        == (original.PARAMETERS[name], original.TRAINABLE[name])
        == parameters
    )


def test_cnn_parameters_layer_by_layer():
    found = tuple(layer.count_params() for layer in models.cnn().layers if layer.count_params())
    assert found == original.CNN_LAYERS


def test_narrow_cnn_has_a_quarter_of_the_filters_and_units():
    sizes = [
        [w.shape[-1] for w in build().trainable_weights if w.ndim > 1]
        for build in models.NETWORKS["cnn"].values()
    ]
    assert len(sizes) == 2
    assert [4 * size for size in sizes[1][:-1]] == sizes[0][:-1]
    assert sizes[1][-1] == 7


def test_residual_dnn_is_dense_of_the_same_size_and_normalizes_each_face():
    model = models.residual_dnn()
    assert model.count_params() == pytest.approx(original.PARAMETERS["dnn"], rel=0.01)
    assert {type(x).__name__ for x in model.layers if x.count_params()} == {
        "Dense",
        "BatchNormalization",
    }
    face = np.random.default_rng(0).random((1, 48, 48, 1), np.float32)
    brighter = keras.ops.convert_to_numpy(
        model(0.4 * face + 0.5)
    )  # brightness and contrast say nothing about emotions
    np.testing.assert_allclose(brighter, keras.ops.convert_to_numpy(model(face)), atol=0.02)


def test_cnn_shapes_after_each_block():
    model = models.cnn()
    assert [tuple(model.get_layer(f"drop{b}").output.shape[1:]) for b in (1, 2, 3)] == [
        (24, 24, 64),
        (12, 12, 128),
        (6, 6, 256),
    ]
    assert tuple(model.get_layer("flatten").output.shape[1:]) == (9216,)


def test_every_convolution_and_hidden_dense_layer_is_followed_by_normalization_and_leaky_relu():
    kinds = [type(layer).__name__ for layer in models.cnn().layers]
    weighty = [i for i, kind in enumerate(kinds) if kind in ("Conv2D", "Dense")]
    assert len(weighty) == 10
    for i in weighty[:-1]:
        assert kinds[i + 1 : i + 3] == ["BatchNormalization", "LeakyReLU"]
    assert kinds[-1] == "Softmax"


def test_dnn_has_only_dense_layers_and_leaky_relu():
    kinds = {type(layer).__name__ for layer in models.dnn().layers}
    assert kinds == {"Flatten", "Dense", "LeakyReLU", "Softmax"}


@pytest.mark.parametrize("name", ["cnn", "dnn"])
def test_outputs_are_probabilities(name):
    images = np.random.default_rng(0).random((3, 48, 48, 1), np.float32)
    p = keras.ops.convert_to_numpy(models.NETWORKS[name]["original"]()(images))
    assert p.shape == (3, 7)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)


def test_batch_normalization_learns_as_keras_own_does_whatever_operation_it_uses():
    weights = np.random.default_rng(0).normal(size=(8, 6, 6, 5)).astype(np.float32)
    found = []
    for kind in (models.BatchNormalization, keras.layers.BatchNormalization):
        norm = kind(momentum=0.5, name="norm")
        model = keras.Sequential([keras.Input((6, 6, 5)), norm])
        model.compile(keras.optimizers.SGD(0.1), lambda y, outputs: keras.ops.sum(y * outputs))
        norm.gamma.assign([1, 2, 3, 4, 5])
        model.train_on_batch(
            np.random.default_rng(1).normal(1, 2, weights.shape).astype(np.float32), weights
        )
        found.append(
            [
                keras.ops.convert_to_numpy(w)
                for w in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
            ]
        )
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(
            ours, theirs, rtol=4e-3
        )  # the fused operation's variance is the sample's: n / (n - 1) times


def test_max_pooling_pools_and_learns_as_keras_own_does_whatever_operation_it_uses():
    rng = np.random.default_rng(0)
    images, weights = (
        rng.normal(size=(8, 4, 6, 2)).astype(np.float32),
        rng.normal(size=(8, 2, 3, 5)).astype(np.float32),
    )
    kernel, found = rng.normal(size=(2, 5)).astype(np.float32), []
    for kind in (models.MaxPooling2D, keras.layers.MaxPooling2D):
        before = keras.layers.Dense(5)
        model = keras.Sequential(
            [keras.Input((4, 6, 2)), before, kind(2, strides=2, padding="same")]
        )
        model.compile(keras.optimizers.SGD(0.1), lambda y, outputs: keras.ops.sum(y * outputs))
        before.set_weights([kernel, np.zeros(5)])
        pooled = model.predict(images, verbose=0)
        model.train_on_batch(images, weights)
        found.append([pooled, *before.get_weights()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    odd = rng.normal(size=(1, 5, 4, 2)).astype(np.float32)
    assert models.MaxPooling2D(2, strides=2, padding="same")(odd).shape == (1, 3, 2, 2)


def test_leaky_relu_multiplies_negative_values_by_0_3():
    layer = models.cnn().get_layer("relu1_1")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer(np.array([-1.0, 2.0], np.float32))), [-0.3, 2], rtol=1e-6
    )


def test_full_recipe_is_the_originals():
    full = recipe("cnn", "full")
    assert (full.epochs, full.batch, full.learning_rate, full.held_out) == (200, 100, 0.001, 0.1)
    assert (full.rotation, full.shear, full.zoom, full.flip) == (20, 0.2, 0.2, True)
    assert full.train_cap is None
    assert full.held_out_cap is None


@pytest.mark.parametrize(("network", "profile"), [("cnn", "huge"), ("rnn", "quick")])
def test_unknown_names_are_refused_in_one_line(network, profile):
    with pytest.raises(ValueError, match=r"choose one of|it has cnn, dnn") as caught:
        recipe(network, profile)
    assert "\n" not in str(caught.value)


def test_original_log_ends_where_the_facts_say():
    log = original.history("dnn")
    assert len(log["loss"]) == 200
    assert log["val_accuracy"][-1] == pytest.approx(0.138676, abs=1e-6)
    assert -(1 - log["val_accuracy"][-1]) * np.log(1e-7) == pytest.approx(
        log["val_loss"][-1], abs=1e-4
    )
    cnn = original.history("cnn")["val_accuracy"]
    assert max(cnn) == pytest.approx(0.6962, abs=1e-4)
    assert cnn.index(max(cnn)) + 1 == 167


def test_original_confusion_rows_are_shares():
    assert original.confusion().shape == (7, 7)
    np.testing.assert_allclose(original.confusion().sum(1), 1, atol=0.025)

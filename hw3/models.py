"""The networks of the report, readable as its own tables; below them, Keras layers of our own.

They take gray faces as floats in [0, 1], shape (batch, 48, 48, 1), and return the probabilities of
the seven emotions, shape (batch, 7); training takes the logits before the softmax. Architectures
and sizes: the original report of 2018, questions 1 and 2. The residual dense network is ours.
"""

import math

import numpy as np

from hw3.backend import keras, layers, ops
from hw3.sources.fer2013 import N_CLASSES, SIDE

SLOPE = 0.3  # of LeakyReLU below zero
DROPOUT = 0.3
CNN_BLOCKS = ((64, 3), (128, 2), (256, 2))  # (filters, number of 3x3 convolutions) of each block
CNN_HEAD = (512, 256)
DNN_WIDTHS = np.repeat([1024, 512, 256, 128, 64, 32, 16, 8], [3, 4, 2, 2, 2, 3, 3, 3]).tolist()
RESIDUAL_WIDTH, RESIDUAL_BLOCKS, RESIDUAL_HEAD, RESIDUAL_DROPOUT = 1024, 3, 512, 0.1


def cnn(part: int = 1) -> keras.Model:
    """Return the convolutional network: 6,040,327 parameters, 6,036,871 of them trainable.

    part: how many times fewer filters and units each layer has, as in "narrow"; a divisor of 64.
    """
    stack = [keras.Input((SIDE, SIDE, 1))]
    for block, (filters, depth) in enumerate(CNN_BLOCKS, 1):
        for i in range(1, depth + 1):
            stack.append(layers.Conv2D(filters // part, 3, padding="same", name=f"conv{block}_{i}"))
            stack.append(BatchNormalization(name=f"norm{block}_{i}"))
            stack.append(layers.LeakyReLU(SLOPE, name=f"relu{block}_{i}"))
        stack.append(MaxPooling2D(2, strides=2, padding="same", name=f"pool{block}"))
        stack.append(layers.Dropout(DROPOUT, name=f"drop{block}"))
    stack.append(layers.Flatten(name="flatten"))
    for i, width in enumerate(CNN_HEAD, 1):
        stack.append(layers.Dense(width // part, name=f"dense{i}"))
        stack.append(BatchNormalization(name=f"norm_d{i}"))
        stack.append(layers.LeakyReLU(SLOPE, name=f"relu_d{i}"))
        stack.append(layers.Dropout(DROPOUT, name=f"drop_d{i}"))
    stack += [layers.Dense(N_CLASSES, name="logits"), layers.Softmax(name="softmax")]
    return keras.Sequential(stack, name="cnn")  # add() would build the whole again each time


def dnn() -> keras.Model:
    """Return the dense network of 6,036,839 parameters, without normalization and dropout."""
    stack = [keras.Input((SIDE, SIDE, 1)), layers.Flatten(name="flatten")]
    for i, width in enumerate(DNN_WIDTHS, 1):
        stack += [layers.Dense(width, name=f"dense{i}"), layers.LeakyReLU(SLOPE, name=f"relu{i}")]
    stack += [layers.Dense(N_CLASSES, name="logits"), layers.Softmax(name="softmax")]
    return keras.Sequential(stack, name="dnn")


def residual_dnn() -> keras.Model:
    """Return a dense network of 6,055,943 parameters that trains well, as it has residual blocks.

    Each adds a dense layer of its normalized input to that input, with dropout (He et al. 2016,
    arXiv 1603.05027, without convolutions).
    """
    faces = x = keras.Input((SIDE, SIDE, 1))
    x = layers.Flatten(name="flatten")(x)
    # each face: mean 0, variance 1
    x = layers.LayerNormalization(center=False, scale=False, name="standardize")(x)
    x = layers.Dense(RESIDUAL_WIDTH, name="stem")(x)
    widths = *[RESIDUAL_WIDTH] * RESIDUAL_BLOCKS, RESIDUAL_HEAD, N_CLASSES
    for i, width in enumerate(widths, 1):
        y = layers.BatchNormalization(name=f"norm{i}")(x)
        y = layers.LeakyReLU(SLOPE, name=f"relu{i}")(y)
        y = layers.Dropout(RESIDUAL_DROPOUT, name=f"drop{i}")(y)
        y = layers.Dense(width, name="logits" if width == N_CLASSES else f"dense{i}")(y)
        x = layers.Add(name=f"add{i}")([x, y]) if i <= RESIDUAL_BLOCKS else y
    return keras.Model(faces, layers.Softmax(name="softmax")(x), name="dnn")


# by network and architecture
NETWORKS = {"cnn": {"original": cnn, "narrow": lambda: cnn(4)}}
NETWORKS |= {"dnn": {"original": dnn, "residual": residual_dnn}}


class BatchNormalization(layers.BatchNormalization):
    """Keras's, faster where it learns from pictures (n, h, w, c).

    On TensorFlow one fused operation, whose moving variance is the sample's, over n - 1; on JAX
    mean and variance come from one reading of the pictures, not two.
    """

    def call(self, inputs, training=None, mask=None):
        if not training or not self.trainable or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        if keras.backend.backend() == "tensorflow":
            from tensorflow import raw_ops

            options = {"mean": [], "variance": [], "epsilon": self.epsilon, "is_training": True}
            options |= {"x": inputs, "scale": self.gamma, "offset": self.beta}
            outputs, mean, variance, *_ = raw_ops.FusedBatchNormV3(**options)
        else:
            x = ops.cast(inputs, "float32")
            mean = ops.mean(x, (0, 1, 2))
            variance = ops.maximum(ops.mean(ops.square(x), (0, 1, 2)) - ops.square(mean), 0)
            scale = self.gamma * ops.rsqrt(variance + self.epsilon)
            outputs = ops.cast(x * scale + (self.beta - mean * scale), self.compute_dtype)
        for average, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + now * (1 - self.momentum))
        return outputs


class MaxPooling2D(layers.MaxPooling2D):
    """Keras's over 2x2 windows of pictures; on JAX, where sides are even, by two comparisons."""

    def call(self, inputs):  # XLA scatters the gradient of Keras's own, which is slow on a GPU
        h, w, c = inputs.shape[1:]
        if keras.backend.backend() != "jax" or h % 2 or w % 2:
            return super().call(inputs)
        x = ops.reshape(inputs, (-1, h // 2, 2, w // 2, 2, c))
        x = ops.maximum(x[:, :, 0], x[:, :, 1])
        return ops.maximum(x[..., 0, :], x[..., 1, :])


class Stored(layers.Layer):
    """uint8 images (N, 48, 48), all on the device: rows (n,) -> faces (n, 48, 48, 1) in [0, 1]."""

    def __init__(self, images: np.ndarray):
        super().__init__(name="stored")
        options = {"dtype": "uint8", "initializer": "zeros", "trainable": False}
        self.images = self.add_weight(shape=images.shape, name="images", **options)
        self.images.assign(images)

    def call(self, rows):
        return ops.cast(ops.take(self.images, rows, axis=0)[..., None], self.compute_dtype) / 255


class Distortion(layers.Layer):
    """Random distortions of a Recipe's sizes, others for each face (n, 48, 48, 1); training only.

    All moves are one resampling: an output pixel q shows the input at c + R S Z F (q - c) + d,
    turned, sheared, zoomed and mirrored about the center c, and shifted, the border repeated. Then
    come the contrast to a face's mean gray, and that mean, cut off at black and white.
    """

    def __init__(self, recipe):
        super().__init__(name="distortion")
        self.recipe, self.seeds = recipe, keras.random.SeedGenerator(recipe.seed)

    def call(self, faces, training=False):
        if not training:
            return faces
        r, faces = self.recipe, ops.cast(faces, "float32")
        if r.rotation or r.shear or r.zoom or r.shift or r.flip:
            faces = self._move(faces)
        if r.contrast or r.brightness:
            mean = ops.mean(faces, (1, 2, 3), keepdims=True)
            contrast, brightness = self._draw(faces, r.contrast), self._draw(faces, r.brightness)
            stretched = (faces - mean) * (1 + contrast[:, None, None, None])
            faces = ops.clip(mean + brightness[:, None, None, None] + stretched, 0, 1)
        return ops.cast(faces, self.compute_dtype)

    def _draw(self, faces, size):
        """Return a number from [-size, size] for each face (n,)."""
        n = ops.shape(faces)[0]
        return keras.random.uniform((n,), -size, size, dtype="float32", seed=self.seeds)

    def _move(self, faces):
        r = self.recipe
        sizes = (math.radians(r.rotation), math.radians(r.shear), r.zoom, r.zoom, r.shift, r.shift)
        turn, lean, taller, wider, down, right = (self._draw(faces, size) for size in sizes)
        tall, wide = 1 + taller, 1 + wider
        if r.flip:
            wide = wide * ops.sign(self._draw(faces, 1.0))
        a, b = ops.cos(turn) * wide, -ops.sin(turn + lean) * tall
        d, e = ops.sin(turn) * wide, ops.cos(turn + lean) * tall
        mid, zero = (faces.shape[1] - 1) / 2, ops.zeros_like(turn)
        rows = [a, b, mid - (a + b) * mid + right, d, e, mid - (d + e) * mid + down, zero, zero]
        options = {"fill_mode": "nearest", "data_format": "channels_last"}
        return ops.image.affine_transform(faces, ops.stack(rows, axis=1), "bilinear", **options)

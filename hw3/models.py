"""The networks of the report, readable as its own tables.

All take gray faces as floats in [0, 1], shape (batch, 48, 48, 1), and return the probabilities of
the seven emotions, shape (batch, 7). The softmax is a layer of its own, so that training can take
the logits before it. Architectures and sizes: the original report of 2018, questions 1 and 2. The
residual dense network is ours.
"""

import keras
from keras import layers, ops

CNN_BLOCKS = ((64, 3), (128, 2), (256, 2))  # (filters, number of 3x3 convolutions) of each block
CNN_HEAD = (512, 256)
DNN_WIDTHS = (
    (1024,) * 3
    + (512,) * 4
    + (256,) * 2
    + (128,) * 2
    + (64,) * 2
    + (32,) * 3
    + (16,) * 3
    + (8,) * 3
)
CLASSES = 7
SLOPE = 0.3  # of LeakyReLU below zero
DROPOUT = 0.3


class BatchNormalization(layers.BatchNormalization):
    """Keras's batch normalization, faster where it learns from pictures (n, h, w, c) on TensorFlow
    or JAX.

    On TensorFlow one fused operation, where Keras's own makes several; the moving variance is the
    sample's, over n - 1. On JAX mean and variance come from one reading of the pictures, not two.
    """

    def call(self, inputs, training=None, mask=None):
        backend = keras.backend.backend()
        if not (
            training
            and self.trainable
            and len(inputs.shape) == 4
            and backend in ("tensorflow", "jax")
        ):
            return super().call(inputs, training=training, mask=mask)
        if backend == "tensorflow":
            from tensorflow import raw_ops

            options = {"mean": [], "variance": [], "epsilon": self.epsilon, "is_training": True}
            outputs, mean, variance, *_ = raw_ops.FusedBatchNormV3(
                x=inputs, scale=self.gamma, offset=self.beta, **options
            )
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
    """Keras's max pooling of pictures (n, h, w, c) over 2x2 windows; on JAX of even sides by two
    comparisons.

    XLA scatters the gradient of Keras's own into place, which is slow on a GPU.
    """

    def call(self, inputs):
        h, w, c = inputs.shape[1:]
        if keras.backend.backend() != "jax" or h % 2 or w % 2:
            return super().call(inputs)
        x = ops.reshape(inputs, (-1, h // 2, 2, w // 2, 2, c))
        x = ops.maximum(x[:, :, 0], x[:, :, 1])
        return ops.maximum(x[..., 0, :], x[..., 1, :])


def cnn() -> keras.Model:
    """Return the convolutional network: 6,040,327 parameters, 6,036,871 of them trainable."""
    stack = [keras.Input((48, 48, 1))]
    for block, (filters, depth) in enumerate(CNN_BLOCKS, 1):
        for i in range(1, depth + 1):
            stack.append(layers.Conv2D(filters, 3, padding="same", name=f"conv{block}_{i}"))
            stack.append(BatchNormalization(name=f"norm{block}_{i}"))
            stack.append(layers.LeakyReLU(SLOPE, name=f"relu{block}_{i}"))
        stack.append(MaxPooling2D(2, strides=2, padding="same", name=f"pool{block}"))
        stack.append(layers.Dropout(DROPOUT, name=f"drop{block}"))
    stack.append(layers.Flatten(name="flatten"))
    for i, width in enumerate(CNN_HEAD, 1):
        stack.append(layers.Dense(width, name=f"dense{i}"))
        stack.append(BatchNormalization(name=f"norm_d{i}"))
        stack.append(layers.LeakyReLU(SLOPE, name=f"relu_d{i}"))
        stack.append(layers.Dropout(DROPOUT, name=f"drop_d{i}"))
    stack += [layers.Dense(CLASSES, name="logits"), layers.Softmax(name="softmax")]
    return keras.Sequential(
        stack, name="cnn"
    )  # at once: Keras builds the whole again after each add()


def dnn() -> keras.Model:
    """Return the dense network of about the same size: 6,036,839 parameters, no normalization, no
    dropout.
    """
    stack = [keras.Input((48, 48, 1)), layers.Flatten(name="flatten")]
    for i, width in enumerate(DNN_WIDTHS, 1):
        stack += [layers.Dense(width, name=f"dense{i}"), layers.LeakyReLU(SLOPE, name=f"relu{i}")]
    stack += [layers.Dense(CLASSES, name="logits"), layers.Softmax(name="softmax")]
    return keras.Sequential(stack, name="dnn")


RESIDUAL_WIDTH, RESIDUAL_BLOCKS, RESIDUAL_HEAD, RESIDUAL_DROPOUT = 1024, 3, 512, 0.1


def residual_dnn() -> keras.Model:
    """Return a dense network of the same size that trains well: 6,055,943 parameters, residual
    blocks, normalization, dropout.

    A block adds a dense layer of its normalized input to that input (He et al. 2016, arXiv
    1603.05027, without convolutions).
    """
    faces = x = keras.Input((48, 48, 1))
    x = layers.Flatten(name="flatten")(x)
    x = layers.LayerNormalization(center=False, scale=False, name="standardize")(
        x
    )  # each face: mean 0, variance 1
    x = layers.Dense(RESIDUAL_WIDTH, name="stem")(x)
    for i in range(1, RESIDUAL_BLOCKS + 1):
        y = layers.BatchNormalization(name=f"norm{i}")(x)
        y = layers.LeakyReLU(SLOPE, name=f"relu{i}")(y)
        y = layers.Dropout(RESIDUAL_DROPOUT, name=f"drop{i}")(y)
        y = layers.Dense(RESIDUAL_WIDTH, name=f"dense{i}")(y)
        x = layers.Add(name=f"add{i}")([x, y])
    for i, width in enumerate((RESIDUAL_HEAD, CLASSES), RESIDUAL_BLOCKS + 1):
        x = layers.BatchNormalization(name=f"norm{i}")(x)
        x = layers.LeakyReLU(SLOPE, name=f"relu{i}")(x)
        x = layers.Dropout(RESIDUAL_DROPOUT, name=f"drop{i}")(x)
        x = layers.Dense(width, name="logits" if width == CLASSES else f"dense{i}")(x)
    return keras.Model(faces, layers.Softmax(name="softmax")(x), name="dnn")


NETWORKS = {
    "cnn": {"original": cnn},
    "dnn": {"original": dnn, "residual": residual_dnn},
}  # by network and architecture

"""The networks of the report, readable as its own tables.

All take gray faces as floats in [0, 1], shape (batch, 48, 48, 1), and return the probabilities of
the seven emotions, shape (batch, 7). The softmax is a layer of its own, so that training can take
the logits before it. Architectures and sizes: the original report of 2018, questions 1 and 2. The
residual dense network is ours.
"""

import keras
from keras import layers

from hw3.faces import EMOTIONS, SIDE
from hw3.layers import BatchNormalization, MaxPooling2D

# a person's keras.json may say otherwise, where Keras was imported before hw3
keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")
keras.config.set_dtype_policy("float32")
keras.config.set_epsilon(1e-7)
CLASSES = len(EMOTIONS)
SLOPE = 0.3  # of LeakyReLU below zero
DROPOUT = 0.3
CNN_BLOCKS = ((64, 3), (128, 2), (256, 2))  # (filters, number of 3x3 convolutions) of each block
CNN_HEAD = (512, 256)
DNN_WIDTHS = (
    *(1024, 1024, 1024, 512, 512, 512, 512, 256, 256, 128, 128),
    *(64, 64, 32, 32, 32, 16, 16, 16, 8, 8, 8),
)
RESIDUAL_WIDTH, RESIDUAL_BLOCKS, RESIDUAL_HEAD, RESIDUAL_DROPOUT = 1024, 3, 512, 0.1


def cnn() -> keras.Model:
    """Return the convolutional network: 6,040,327 parameters, 6,036,871 of them trainable."""
    stack = [keras.Input((SIDE, SIDE, 1))]
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
    return keras.Sequential(stack, name="cnn")  # add() would build the whole again each time


def dnn() -> keras.Model:
    """Return the dense network, without normalization and dropout: 6,036,839 parameters."""
    stack = [keras.Input((SIDE, SIDE, 1)), layers.Flatten(name="flatten")]
    for i, width in enumerate(DNN_WIDTHS, 1):
        stack += [layers.Dense(width, name=f"dense{i}"), layers.LeakyReLU(SLOPE, name=f"relu{i}")]
    stack += [layers.Dense(CLASSES, name="logits"), layers.Softmax(name="softmax")]
    return keras.Sequential(stack, name="dnn")


def residual_dnn() -> keras.Model:
    """Return a dense network of the same size that trains well: 6,055,943 parameters.

    It has normalization, dropout and residual blocks: each adds a dense layer of its normalized
    input to that input (He et al. 2016, arXiv 1603.05027, without convolutions).
    """
    faces = x = keras.Input((SIDE, SIDE, 1))
    x = layers.Flatten(name="flatten")(x)
    standardize = layers.LayerNormalization(center=False, scale=False, name="standardize")
    x = standardize(x)  # each face: mean 0, variance 1
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


# by network and architecture
NETWORKS = {"cnn": {"original": cnn}, "dnn": {"original": dnn, "residual": residual_dnn}}

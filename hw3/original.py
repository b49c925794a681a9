"""What the original report of 2018 states or recorded, as data, for the comparison. Questions 4 and
5: complexity.py, pca.py.
"""

import numpy as np
import pandas as pd

from hw3.disk import ROOT

FOLDER = ROOT / "results" / "original"
HELD_OUT = 2870  # images, a random 10% of Training
TRAINED_ON = 28_709 - HELD_OUT
PARAMETERS = {"cnn": 6_040_327, "dnn": 6_036_839}
TRAINABLE = {"cnn": 6_036_871, "dnn": 6_036_839}
# Parameters of each layer that has any, in the order of the layers.
CNN_LAYERS = (
    *(640, 256, 36928, 256, 36928, 256),  # block 1: convolution, normalization, ...
    *(73856, 512, 147584, 512),  # block 2
    *(295168, 1024, 590080, 1024),  # block 3
    *(4719104, 2048, 131328, 1024, 1799),  # head
)
OUTPUTS = {
    "pool1": (24, 24, 64),
    "pool2": (12, 12, 128),
    "pool3": (6, 6, 256),
    "flatten": (9216,),
    "softmax": (7,),
}
ACCURACY = {"cnn": 0.69, "dnn": 0.14}  # as its text says, on the held-out images
ENSEMBLE = 9  # networks behind its confusion matrix
# For the comparison: the best other reports of the course (on the public and private halves of its
# test.csv), and what is published on PrivateTest: Khaireddin and Chen 2021 (arXiv 2105.03588), a
# ResNet-18, the Residual Masking Network.
COURSE = {"CNN": (0.703, 0.725), "ensemble": (0.716, 0.736), "DNN": (0.487,)}
PUBLISHED = {"CNN": (0.7328, 0.7370), "ensemble": (0.7682,), "DNN": ()}
HUMANS = 0.65  # published estimate of human accuracy on FER2013
COURSE_DNN = (
    0.29,
    0.37,
    0.40,
    0.42,
    0.48,
    0.487,
)  # accuracies of other reports' DNNs of similar size


def history(network: str) -> dict[str, list[float]]:
    """Return the recorded "loss", "accuracy", "val_loss" and "val_accuracy" of the 200 epochs of a
    network.
    """
    return pd.read_csv(FOLDER / f"{network}_history.csv").drop(columns="epoch").to_dict("list")


def confusion() -> np.ndarray:
    """Return the printed confusion matrix (7, 7): row shares with two decimals, rows true."""
    return np.loadtxt(
        FOLDER / "confusion_matrix.csv", delimiter=",", skiprows=1, usecols=range(1, 8)
    )

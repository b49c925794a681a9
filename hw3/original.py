"""What the original report of 2018 states or recorded, as data, for the comparison."""

import json

import numpy as np
import pandas as pd

from hw3.disk import ROOT

FOLDER = ROOT / "results" / "original"
HELD_OUT = 2870  # images, a random 10% of Training
TRAINED_ON = 28_709 - HELD_OUT
PARAMETERS = {"cnn": 6_040_327, "dnn": 6_036_839}
TRAINABLE = {"cnn": 6_036_871, "dnn": 6_036_839}
CNN_LAYERS = (  # parameters of each layer that has any, in the order of the layers
    *(640, 256, 36928, 256, 36928, 256),  # block 1: convolution, normalization, ...
    *(73856, 512, 147584, 512),  # block 2
    *(295168, 1024, 590080, 1024),  # block 3
    *(4719104, 2048, 131328, 1024, 1799),  # head
)
OUTPUTS = {"pool1": (24, 24, 64), "pool2": (12, 12, 128), "pool3": (6, 6, 256)}
OUTPUTS |= {"flatten": (9216,), "softmax": (7,)}
ACCURACY = {"cnn": 0.69, "dnn": 0.14}  # as its text says, on the held-out images
ENSEMBLE = 9  # networks behind its confusion matrix

# Question 4: what the convolutions of complexity.LAYERS cost.
COMPLEXITY = {
    "A": {"output": (3, 3, 5), "parameters": 126, "multiplications": 1080, "additions": 1026},
    "B": {"parameters": 100, "multiplications": 96, "additions": 92},
}
# Question 5, as written: text, so that the digits it gave are known. It lists components as (third
# axis, second, first); here they are in the order of the axes.
PCA = json.loads((FOLDER / "pca.json").read_text())

# Accuracies of others: the best other reports of the course (public and private half of test.csv),
# its DNNs of similar size, and what is published: Khaireddin and Chen (arXiv 2105.03588), LetheSec;
# Pramerdorfer and Kampel (arXiv 1612.02903), Residual Masking Network (other pictures, too).
COURSE = {"CNN": (0.703, 0.725), "ensemble": (0.716, 0.736)}
COURSE_DNN = (0.29, 0.37, 0.40, 0.42, 0.48, 0.487)
PUBLISHED = {"CNN": (0.7328, 0.7370), "ensemble": (0.752, 0.7682)}
HUMANS = 0.65  # published estimate of human accuracy on FER2013


def history(network: str) -> dict[str, list[float]]:
    """Return "loss", "accuracy", "val_loss" and "val_accuracy" of a network's 200 epochs."""
    return pd.read_csv(FOLDER / f"{network}_history.csv").drop(columns="epoch").to_dict("list")


def confusion() -> np.ndarray:
    """Return the printed confusion matrix (7, 7): row shares with two decimals, rows true."""
    return pd.read_csv(FOLDER / "confusion_matrix.csv", index_col=0).to_numpy()

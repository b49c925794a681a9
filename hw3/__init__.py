"""hw3: the helper of an executable homework report on emotions in 48x48 gray faces (FER2013).

Read it along the way of the data: sources/ (files, drawn faces), faces, recipes, models and layers,
train, runs, metrics, figures, show (what pages get). trained: a run from disk, else a training;
weights: a trained network. complexity and pca answer questions 4 and 5, original is what we compare
with; machine, disk, commands and __main__ serve all. KERAS_BACKEND names what Keras 3 runs on.
"""

import os

os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
for _name in ("HW3_BUILD", "HW3_DATA"):  # whole, as chapters run in another folder
    if os.environ.get(_name):
        os.environ[_name] = os.path.abspath(os.path.expanduser(os.environ[_name]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up notes are no report

"""hw3: the helper of an executable homework report on emotions in 48x48 gray faces (FER2013).

Read it along the way of the data: sources/ (readers, drawn faces), faces, recipes, models (with
layers), train, runs (trained takes one from disk or trains it, weights its network), metrics,
figures (with show). Then complexity and pca answer questions 4 and 5, original is what we compare
with; disk, machine, commands serve all. Keras 3 trains, on the backend that KERAS_BACKEND names.
"""

import os

os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
for _name in ("HW3_BUILD", "HW3_DATA"):  # whole, as chapters run in another folder
    if os.environ.get(_name):
        os.environ[_name] = os.path.abspath(os.path.expanduser(os.environ[_name]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up notes are no report

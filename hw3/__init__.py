"""hw3: the helper of an executable homework report on emotions in 48x48 gray faces (FER2013).

Read it along the way of the data: faces, recipes, models, train, runs, metrics, figures. Then
complexity and pca answer questions 4 and 5, original is what we compare with; sources/ reads files
and draws faces where there is no FER2013, disk, commands and __main__ serve all. Networks are
trained by Keras 3 alone, so the backend is whatever KERAS_BACKEND names.
"""

import os

os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
for _name in ("HW3_BUILD", "HW3_DATA"):  # whole, as chapters run in another folder
    if os.environ.get(_name):
        os.environ[_name] = os.path.abspath(os.path.expanduser(os.environ[_name]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up notes are no report

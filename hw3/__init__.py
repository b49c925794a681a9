"""hw3: the helper of an executable homework report on emotions in 48x48 gray faces (FER2013).

Read it along the way of the data: sources/ (files, drawn faces), faces, recipes, models, train,
runs, metrics, figures, show (what pages get). trained: a run from disk, else from a training;
weights: a trained network. complexity and pca answer questions 4 and 5, original is what we compare
with; backend (Keras), machine, disk, commands and __main__ serve all. KERAS_BACKEND names Keras's.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
for _name in ("HW3_BUILD", "HW3_DATA"):  # whole, as chapters run in another folder
    if os.environ.get(_name):
        os.environ[_name] = os.path.abspath(os.path.expanduser(os.environ[_name]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up notes are no report
# Every process of the report begins here: what a person has set for other work decides nothing. No
# file of theirs is read, and the packages that this Python brings come before those of PYTHONPATH.
os.environ |= {"DOCUTILSCONFIG": "", "MATPLOTLIBRC": os.devnull}
_root = os.path.dirname(__path__[0])
os.environ["KERAS_HOME"] = f"{os.environ.get('HW3_BUILD') or _root + '/_build'}/cache/keras"
for _name in list(os.environ):
    if _name.startswith(("KERAS_MAX_", "KERAS_NNX_", "PANDAS_", "SCIPY_", "SKLEARN_")):
        del os.environ[_name]
_theirs = {os.path.abspath(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p}
sys.path.sort(key=(_theirs - {_root}).__contains__)

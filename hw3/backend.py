"""Keras on the backend that KERAS_BACKEND names, set as the report wants it; it takes seconds."""

import logging
import os
import subprocess
import sys

from hw3.disk import stderr_to

# TensorFlow's notes on its start, which it writes whatever this level says; anything else that it
# writes passes, also the last words of one that dies, and all where a person asked for more.
NOTES = ("I0000 ", "WARNING: All log messages before absl::", "To enable the following instr")
_hidden = NOTES if os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3" else ()
_code = f"import sys; sys.stderr.writelines(n for n in sys.stdin if not n.startswith({_hidden}))"
_options = {"stdin": subprocess.PIPE, "start_new_session": True}  # where no Ctrl-C reaches it
_passing = subprocess.Popen([sys.executable, "-ISc", _code], **_options)
with _passing, stderr_to(_passing.stdin):
    import keras
    from keras import layers, ops  # noqa: F401  for those who import them from here

# in a notebook it would print notes on its tracing into the page
logging.getLogger("tensorflow").setLevel(logging.ERROR)
# a person's keras.json and variables may say otherwise, where Keras was imported before hw3
if keras.backend.backend() != os.environ["KERAS_BACKEND"]:
    raise ImportError("Keras was imported before hw3, on another backend: import hw3 first")
_settings = {"image_data_format": "channels_last", "floatx": "float32", "dtype_policy": "float32"}
_settings |= {"epsilon": 1e-7, "max_epochs": None, "max_steps_per_epoch": None}
for _name, _value in _settings.items():
    getattr(keras.config, f"set_{_name}")(_value)

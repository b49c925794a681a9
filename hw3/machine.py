"""The machine: its accelerators, its device in words, the versions of its software."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path


def accelerators() -> int:
    """Return how many accelerators Keras sees; imports Keras, which takes seconds."""
    import keras

    if keras.backend.backend() == "torch":  # for which Keras lists no devices
        import torch

        return torch.cuda.device_count()
    return sum(not d.startswith("cpu") for d in keras.distribution.list_devices())


def device() -> str:
    """Return what Keras trains on, in words: "1 GPU NVIDIA H200" or "CPU AMD EPYC"."""
    if accelerators():
        smi = shutil.which("nvidia-smi")
        query = [smi, "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(query, capture_output=True, text=True).stdout if smi else ""
        return f"{accelerators()} GPU {names.partition(chr(10))[0]}".strip()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0] if names else platform.processor() or platform.machine()}"


def versions() -> dict[str, str]:
    """Return the versions that decide a result: Python, Keras, its backend, NumPy; imports none."""
    packages = {p: version(p) for p in ("keras", os.environ["KERAS_BACKEND"], "numpy")}
    return {"python": platform.python_version(), **packages}

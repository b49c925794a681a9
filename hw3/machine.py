"""The machine: its accelerators, its device in words, the versions of its software."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

# variables that change what backends and NumPy compute: not those of memory, nor Terraform's TF_
_TF = "AUTO|CONV|CU|DETERMINISTIC|DISABLE|ENABLE|FP16|FUNCTION|JIT|MATMUL|MKL|ONEDNN|SET|USE|XLA"
_IDLE = "(?!.*(ALLOC|CACHE|LOG|MEM|PLATFORM|THREAD|VERSION))"
NUMBERS = re.compile(f"(CU(BLAS|DNN)_|DNNL_|JAX_|NPY_|NVIDIA_TF|ONEDNN_|XLA_|TF_({_TF})){_IDLE}")


def accelerators() -> int:
    """Return how many accelerators Keras sees; imports Keras, which takes seconds."""
    from hw3.backend import keras

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
    """Return the versions of Python, Keras, its backend and NumPy, and NUMBERS that are set."""
    packages = {p: version(p) for p in ("keras", os.environ["KERAS_BACKEND"], "numpy")}
    settings = {name: v for name, v in sorted(os.environ.items()) if v and NUMBERS.match(name)}
    return {"python": platform.python_version(), **packages, **settings}

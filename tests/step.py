"""Where the time of our training step goes on a GPU: run
PYTHONPATH=. KERAS_BACKEND=jax python tests/step.py there (three minutes of an H200).

Each way runs in a process of its own: within one, XLA keeps which kernels it found the fastest, so
that the first way pays for the search and later ones with the same convolutions seem to compile
sooner. Of the step itself it prints the kernels that take longest, and how long the GPU waits.
"""

import collections
import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from beyond import bench
from hw3 import faces
from hw3.backend import keras
from hw3.complexity import seconds

FIT = [way for way in bench.WAYS if way.startswith("Keras fit")][-1]
RUNS = [(bench.OURS, ""), (FIT, ""), (bench.OURS, "--xla_gpu_enable_triton_gemm=false")]
RUNS += [(bench.OURS, "--xla_gpu_autotune_level=0")]  # takes kernels by rule, does not search
BATCH, IMAGES, PRECISION = 512, 28_672, "mixed_bfloat16"


def main() -> None:
    """Measure all ways one after another."""
    for way, flags in RUNS:
        env = os.environ | {"XLA_FLAGS": flags, "HW3_STEP": way}
        subprocess.run([sys.executable, __file__], env=env, check=True)


def measure(way: str, batch=BATCH, images=IMAGES, precision=PRECISION, repeats=5) -> None:
    """Print what a way takes to compile, its images a second, and of ours its kernels."""
    data = faces.drawn(images)
    keras.config.set_dtype_policy(precision)
    call = bench.WAYS[way](data.images, data.labels, batch, precision)
    keras.config.set_dtype_policy("float32")
    first, later = seconds(call), min(seconds(call) for _ in range(repeats))
    flags = os.environ.get("XLA_FLAGS") or "no flags"
    print(f"{way}, {flags}: {first - later:.1f} s to compile, {images / later:,.0f} images/s")
    if way == bench.OURS:
        print(*kernels(call), sep="\n", flush=True)


def kernels(call, most: int = 15) -> list[str]:
    """Return lines on what a device does during a call: how long it works, and its kernels."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            whole = seconds(call)
        (path,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    named = {e["pid"]: e["args"]["name"] for e in events if e.get("name") == "process_name"}
    lanes = {
        (e["pid"], e["tid"])
        for e in events
        if e.get("name") == "thread_name" and "Stream" in e["args"]["name"]
    }
    taken = collections.Counter()
    for event in events:
        if event.get("ph") == "X" and (event["pid"], event["tid"]) in lanes:
            taken[event["name"].partition("<")[0][:70]] += event["dur"] / 1e6
    device = ", ".join(sorted({named[pid] for pid, _ in lanes})) or "no GPU"
    busy = f"{device}: {sum(taken.values()):.3f} of {whole:.3f} s at work"
    return [busy, *(f"{100 * s / whole:5.1f}%  {name}" for name, s in taken.most_common(most))]


if __name__ == "__main__":
    measure(os.environ["HW3_STEP"]) if "HW3_STEP" in os.environ else main()

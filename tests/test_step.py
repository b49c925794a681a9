"""What is read of a profile; the profile itself is made up, as it wants a GPU."""

import contextlib
import gzip
import json
from pathlib import Path

import pytest
import step

jax = pytest.importorskip("jax")

NAMES = [
    {"name": "process_name", "pid": 1, "args": {"name": "/device:GPU:0"}},
    {"name": "thread_name", "pid": 1, "tid": 7, "args": {"name": "Stream #13(Compute)"}},
    {"name": "thread_name", "pid": 1, "tid": 8, "args": {"name": "XLA Ops"}},
]


def test_kernels_of_one_name_are_summed_and_others_than_the_device_s_left_out(monkeypatch):
    ran = [("conv<64>", 7, 2000), ("conv<128>", 7, 1000), ("gemm", 7, 500), ("whole step", 8, 9000)]
    events = [
        {"ph": "X", "name": name, "pid": 1, "tid": tid, "ts": 0, "dur": dur}
        for name, tid, dur in ran
    ]

    @contextlib.contextmanager
    def trace(folder):
        yield
        text = json.dumps({"traceEvents": NAMES + events})
        (Path(folder) / "one.trace.json.gz").write_bytes(gzip.compress(text.encode()))

    monkeypatch.setattr(jax.profiler, "trace", trace)
    monkeypatch.setattr(step, "seconds", lambda call: 0.01)
    busy, *rest = step.kernels(None, most=2)
    assert busy == "/device:GPU:0: 0.004 of 0.010 s at work"
    assert rest == [" 30.0%  conv", "  5.0%  gemm"]

"""Shared by all tests: a build folder of their own, small faces to train on, and the smoke book,
built once.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from hw3.disk import ROOT, locked
from hw3.faces import Faces

# The files that take longest, first: the others fill the other worker meanwhile.
FIRST = "train settings machine cli bench book every_page page"
FIRST = [f"test_{name}.py" for name in FIRST.split()]


def pytest_configure(config):
    """On JAX, let all processes of the tests share what one of them has compiled."""
    if os.environ["KERAS_BACKEND"] == "jax" and "PYTEST_XDIST_WORKER" not in os.environ:
        compiled = tempfile.TemporaryDirectory(prefix="hw3-jax-")
        config.add_cleanup(compiled.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def pytest_collection_modifyitems(items):
    """Mark what looks at the smoke book, which `make test-book` runs, take what is marked keras
    where that is not on TensorFlow, and start with what takes longest.
    """
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        items[:] = [item for item in items if item.get_closest_marker("keras")]
    for item in items:
        if "built" in item.fixturenames:
            item.add_marker("book")
    items.sort(
        key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST)
    )


@pytest.fixture(autouse=True)
def own_build(tmp_path, monkeypatch):
    """Keep every test away from the reader's own _build and data."""
    monkeypatch.setenv("HW3_BUILD", str(tmp_path / "_build"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "_build" / "ipython"))
    monkeypatch.delenv("HW3_DATA", raising=False)
    monkeypatch.delenv("HW3_SET", raising=False)


@pytest.fixture(scope="session")
def few():
    """Return 300 faces that are easy to tell apart: the brightness of a patch is the label."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 300).astype(np.uint8)
    images = rng.integers(0, 60, (300, 48, 48)).astype(np.uint8)
    images[:, 12:36, 12:36] += (25 * labels)[:, None, None]
    part = np.repeat(np.array([0, 1, 2], np.uint8), [240, 30, 30])
    return Faces(images, labels, part, "test faces", "made by the tests")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Build the smoke book; return its _build folder, what the build printed, and the memory of its
    largest process in bytes.

    It is built under bad conditions: from the bare files without .git, in a folder with spaces and
    other letters, under LANG=C, with a home and variables that hold `hostile` settings, and where
    the system lets us, by a user without any privilege in a network namespace that has nothing but
    loopback.
    """
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        pytest.skip("the book is built once, on TensorFlow; on other backends the other tests run")
    shared = tmp_path_factory.getbasetemp()
    shared = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "book"
    place, printed = shared / "Übung 3, faces 臉", shared / "printed"
    with locked(shared / "lock"):  # the workers share it
        if not printed.exists():
            for name in sources():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, place / name)
            said = make(place)
            used = resource.getrusage(
                resource.RUSAGE_CHILDREN
            ).ru_maxrss  # kB on Linux, bytes on macOS
            (shared / "memory").write_text(str(used * (1 if sys.platform == "darwin" else 1024)))
            printed.write_text(said, encoding="utf-8")
            if os.environ.get("HW3_TEST_KEEP"):
                shutil.copytree(
                    place / "_build" / "executed", os.environ["HW3_TEST_KEEP"], dirs_exist_ok=True
                )
    return (
        place / "_build",
        printed.read_text(encoding="utf-8"),
        int((shared / "memory").read_text()),
    )


def sources():
    """Return the files of the project, as a source archive has them."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        return [name for name in listed if (ROOT / name).is_file()]
    made = {".venv", "_build", "data", "__pycache__", ".pytest_cache", ".ruff_cache"}
    return [
        p.relative_to(ROOT)
        for p in ROOT.rglob("*")
        if p.is_file() and not made & set(p.relative_to(ROOT).parts)
    ]


# Switches loopback on (SIOCSIFFLAGS: up, running), proves that nothing else is there, and becomes
# the command, run by a user who may do nothing special.
ALONE = """
import fcntl, os, socket, struct, sys
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x41))
if [name for _, name in socket.if_nameindex()] != ["lo"]:  # no assert, which PYTHONOPTIMIZE drops
    sys.exit("there is a network")
os.execvp("unshare", ["unshare", "--user", "--map-user=1000", "--map-group=1000", *sys.argv[1:]])
"""
ISOLATE = ["unshare", "--map-root-user", "--net", sys.executable, "-c", ALONE]
CAN_ISOLATE = (
    bool(shutil.which("unshare"))
    and not subprocess.run([*ISOLATE, "/bin/true"], capture_output=True).returncode
)


# What builds the book: it first says who it is and what network it sees.
BUILD = """
import json, os, socket
who = {"user": os.getuid(), "interfaces": [name for _, name in socket.if_nameindex()]}
who["status"] = open("/proc/self/status").read() if os.path.exists("/proc") else ""
open("who.json", "w").write(json.dumps(who))
from press.__main__ import main
if __name__ == "__main__":
    main(["book", "--profile", "smoke"])
"""


# What people have in their home folders for other work.
HOSTILE = {
    ".keras/keras.json": '{"image_data_format": "channels_first", "floatx": "float64"}',
    ".config/matplotlib/matplotlibrc": "text.usetex: True\nimage.origin: lower\n",
    ".ipython/profile_default/ipython_config.py": "c.InteractiveShellApp.pylab = 'inline'\n"
    "c.InlineBackend.figure_formats = {'svg'}\n",
    ".docutils": "[general]\ninitial_header_level: 4\n",
    "start.py": "sum = len\n",
    "kernels/python3/kernel.json": '{"argv": ["false"], "display_name": "3", "language": "python"}',
    "packages/hw3/__init__.py": "raise SystemExit('another hw3')\n",
    ".jupyter/jupyter_nbconvert_config.py": "c.NbConvertApp.export_format = 'pdf'\n"
    "c.ExecutePreprocessor.timeout = 1\n",
    ".jupyter/jupyter_nbclient_config.py": "c.NotebookClient.timeout = 1\n",
}
# And their variables; not TF_ and XLA_ ones, which change numbers on purpose and are in the keys.
VARIABLES = dict.fromkeys(("MPLBACKEND", "PLOTLY_RENDERER"), "theirs")
VARIABLES |= {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1", "SCIPY_ARRAY_API": "1"}
VARIABLES |= {"PANDAS_FUTURE_INFER_STRING": "1", "JUPYTER_PREFER_ENV_PATH": "0"}
VARIABLES |= {"SOURCE_DATE_EPOCH": "315532800"}
VARIABLES |= {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error"}


def hostile(home):
    """Return the variables of a person with that home, full of HOSTILE settings."""
    for name, text in HOSTILE.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")
    paths = {
        "HOME": ".",
        "JUPYTER_PATH": ".",
        "PYTHONPATH": "packages",
        "PYTHONSTARTUP": "start.py",
        "MATPLOTLIBRC": ".config/matplotlib/matplotlibrc",
        "KERAS_HOME": ".keras",
        "IPYTHONDIR": ".ipython",
    }
    return VARIABLES | {name: str(home / path) for name, path in paths.items()}


def make(place):
    odd = ("HW3_DATA", "HW3_BUILD", "LC_ALL", "LC_CTYPE", "PYTHONUTF8", "PYTHONIOENCODING")
    odd += ("DOCUTILSCONFIG", "JUPYTER_CONFIG_DIR", "XDG_CONFIG_HOME")
    env = {k: v for k, v in os.environ.items() if k not in odd} | {"LANG": "C"}
    env |= hostile(place.parent / "home")
    command = [*ISOLATE * CAN_ISOLATE, sys.executable, "-c", BUILD]
    result = subprocess.run(
        command, env=env, cwd=place, capture_output=True, text=True, encoding="utf-8"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout

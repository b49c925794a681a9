"""What a person has set for other work decides no result: files in the home folder, variables.

Every test starts processes of the report with a hostile home or environment.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from test_cli import write_train

from hw3 import machine, runs
from hw3.disk import ROOT
from hw3.recipes import recipe
from press import chapters

# the environment as a person has it: without what the report itself sets for its processes
SET = {"DOCUTILSCONFIG", "IPYTHONDIR", "JUPYTER_PATH", "KERAS_HOME", "MATPLOTLIBRC", "PYTHONUTF8"}
CLEAN = {name: value for name, value in os.environ.items() if name not in SET}


def environment(home, **variables):
    """Return the environment of a person with a home of their own and these variables."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"  # Matplotlib's fonts
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    own |= {"HW3_BUILD": os.environ.get("HW3_BUILD", str(home))}  # the test's
    return CLEAN | own | {name: str(value) for name, value in variables.items()}


def python(*arguments, env, cwd=ROOT):
    """Run Python; return what it printed, without the line's end."""
    command = [sys.executable, *map(str, arguments)]
    ended = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.strip()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# Keras's own file


@pytest.fixture
def hostile_keras(tmp_path):
    """Return a home with another Keras in it, the same as KERAS_HOME, and a table of faces."""
    settings = {"image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.1}
    write(tmp_path / "home/.keras/keras.json", json.dumps(settings))
    rng = np.random.default_rng(0)
    pixels = [" ".join(map(str, row)) for row in rng.integers(0, 255, (40, 48 * 48))]
    table = {"emotion": np.arange(40) % 7, "pixels": pixels, "Usage": "Training"}
    pd.DataFrame(table).to_csv(tmp_path / "fer2013.csv", index=False)
    return tmp_path


ASK = """
import keras
keras.layers.Dense(1)  # takes what Keras has read
from hw3 import weights
model, _ = weights.load_small()
config = keras.config
print(config.image_data_format(), config.floatx(), config.epsilon(), config.dtype_policy().name)
print(model.count_params(), model.layers[5].output.shape, model.outputs[0].dtype)
"""


@pytest.mark.keras
def test_networks_are_those_of_the_report_even_where_keras_has_read_its_file_before(hostile_keras):
    env = environment(hostile_keras / "home")
    said = python("-c", ASK, env=env).splitlines()[-2:]
    last = "6040327 (None, 48, 48, 64) float32"
    assert said == ["channels_last float32 1e-07 float32", last]


def test_keras_that_began_on_another_backend_is_refused(tmp_path):
    """Else a run on it would be kept under the key of the backend that hw3 names."""
    code = "import os; os.environ['KERAS_BACKEND'] = 'jax'; import keras; "
    code += "del os.environ['KERAS_BACKEND']; from hw3 import models"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "import hw3 first" in done.stderr.splitlines()[-1]


def test_what_keras_keeps_for_other_work_can_still_be_fetched(tmp_path):
    code = "import os, hw3; place = os.environ['KERAS_HOME']; os.makedirs(place); print(place)"
    assert python("-c", code, env=environment(tmp_path, HW3_BUILD=tmp_path)).strip() == str(
        tmp_path / "cache" / "keras"
    )


@pytest.mark.keras
def test_a_training_is_the_same_whatever_keras_reads(hostile_keras):
    tiny = ("architecture=residual", "epochs=2", "tests=False", "batch=9")
    tiny = ("--profile", "smoke", *(f"--set={change}" for change in tiny))
    command = ("-m", "hw3", "train", "dnn", *tiny, "--data", hostile_keras / "fer2013.csv")
    hostile = {"KERAS_HOME": hostile_keras / "home/.keras", "KERAS_MAX_EPOCHS": 1}
    trained = {}
    for name, variables in (("clean", {}), ("hostile", hostile)):
        env = environment(hostile_keras / name, HW3_BUILD=hostile_keras / name, **variables)
        python(*command, env=env)
        [folder] = (hostile_keras / name / "runs").glob("*/")
        trained[folder.name, (folder / "history.csv").read_text()] = name
    assert len(trained) == 1, "the same key and the same numbers"


# Variables that change numbers on purpose

KEY = "from hw3 import machine, recipes, runs; "
KEY += "print(runs.key('cnn', 'faces', recipes.recipe('cnn', 'smoke'), machine.versions()))"


def key(*names):
    """Return the key of a run where variables of these names are set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setenv(name, "0")
        return runs.key("cnn", "faces", recipe("cnn", "smoke"), machine.versions())


def test_the_key_of_a_run_holds_the_variables_that_change_numbers_and_no_others(tmp_path):
    plain = key()
    assert python("-c", KEY, env=environment(tmp_path)) == plain, "as each process has it"
    idle = ("TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_MEM_FRACTION")
    idle += ("XLA_PYTHON_CLIENT_PREALLOCATE", "JAX_COMPILATION_CACHE_DIR", "TF_NUM_INTRAOP_THREADS")
    idle += ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "CUDNN_VERSION", "JAX_PLATFORMS")
    idle += ("TF_VAR_region", "TF_CLI_CONFIG_FILE", "TF_WORKSPACE", "TF_DATA_DIR")  # Terraform's
    assert python("-c", KEY, env=environment(tmp_path, **dict.fromkeys(idle, 1))) == plain
    numbers = ("TF_ENABLE_ONEDNN_OPTS", "TF_DETERMINISTIC_OPS", "NVIDIA_TF32_OVERRIDE", "XLA_FLAGS")
    numbers += ("JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "CUBLAS_WORKSPACE_CONFIG")
    made = [key(name) for name in numbers]
    assert len({plain, *made}) == 1 + len(numbers)


@pytest.mark.keras
def test_keys_without_such_variables_are_of_versions_alone(monkeypatch):
    for name in [name for name in os.environ if machine.NUMBERS.match(name)]:
        monkeypatch.delenv(name)
    backend = os.environ["KERAS_BACKEND"]
    assert list(machine.versions()) == ["python", "keras", backend, "numpy"]
    chapter, parameters = ROOT / "book" / "pca.ipynb", {"PROFILE": "smoke"}
    keys = {chapters.chapter_key(chapter, parameters, "faces")}
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert machine.versions()["TF_ENABLE_ONEDNN_OPTS"] == "0", "run.json states it"
    assert len({*keys, chapters.chapter_key(chapter, parameters, "faces")}) == 2
    folder = runs.run_folder("cnn", type("Faces", (), {"fingerprint": ""}), recipe("cnn", "smoke"))
    assert not folder.exists()


# Kernels

RUN = """
import sys
from pathlib import Path
from press.build import run_chapter
source, target = map(Path, sys.argv[1:])
run_chapter(source, target, {"PROFILE": "smoke", "DATA": None}, "key")
"""


def outputs(folder, env, *cells):
    """Run cells as a chapter of the build in an environment; return the outputs of each."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(notebook, folder / "tiny.ipynb")
    python("-c", RUN, folder / "tiny.ipynb", folder / "made.ipynb", env=env)
    made = nbformat.read(folder / "made.ipynb", as_version=4).cells
    return [cell.outputs for cell in made[-len(cells) :]]


def printed(folder, env, cell):
    [[output]] = outputs(folder, env, cell)
    return output.text.strip()


RC = "text.usetex: True\nimage.origin: lower\nfigure.facecolor: red\ntimezone: Asia/Taipei\n"
STYLE = "import matplotlib as mpl; print([mpl.rcParams['image.origin'], mpl.rcParams['text.usetex']"
STYLE += ", mpl.rcParams['figure.facecolor'], mpl.rcParams['font.family']])"
LOOK = "['upper', False, 'white', ['DejaVu Sans']]"


@pytest.mark.parametrize("how", ["file in the home", "file named", "folder named"])
def test_figures_look_the_same_whatever_matplotlibrc_says(tmp_path, how):
    file = write(tmp_path / ".config/matplotlib/matplotlibrc", RC)
    named = {"file named": {"MATPLOTLIBRC": file}, "folder named": {"MATPLOTLIBRC": file.parent}}
    env = environment(tmp_path, **named.get(how, {}))
    env.pop("XDG_CONFIG_HOME", None)
    plain = "import matplotlib; print(matplotlib.rcParams['timezone'])"  # style() leaves it
    assert printed(tmp_path, env, plain) == "UTC", "Matplotlib reads nothing of theirs"
    code = f"import matplotlib; from hw3 import show; show.style(); {STYLE}"
    assert python("-c", code, env=env) == LOOK, "even where Matplotlib has read it before"


FIGURE = """
from hw3 import show
show.style()
figure, axes = show.panels(2)
axes.plot([1, 2])
show.labeled(figure, "a line")
"""


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """Return what of a chapter's run is under another person's IPython profile."""
    home = tmp_path_factory.mktemp("profile")
    lines = ["c.InteractiveShellApp.pylab = 'inline'", "c.InlineBackend.figure_formats = {'svg'}"]
    write(home / ".ipython/profile_default/ipython_config.py", "\n".join(lines))
    write(home / ".ipython/profile_default/startup/start.py", "sum = len")
    return home


@pytest.fixture(scope="module")
def chapter(profile, tmp_path_factory):
    """Return the outputs of a chapter's cells, by name, run under that profile, a startup file,
    names of backends, and a locale of few letters.
    """
    folder = tmp_path_factory.mktemp("chapter")
    cells = {"names": "print(max.__module__, sum([1, 2]), 'np' in dir())"}
    cells |= {"startup": "print(any([0, 1]))", "figure": FIGURE}
    cells |= {"libraries": "import matplotlib, plotly.io, pandas; print(1)"}
    cells |= {"letters": f"print(open({str(write(folder / 'note.txt', '臉'))!r}).read())"}
    theirs = {"PYTHONSTARTUP": write(folder / "start.py", "any = all")}
    theirs |= {"MPLBACKEND": "theirs", "PLOTLY_RENDERER": "theirs", "PANDAS_FUTURE": "no"}
    theirs |= {"PYTHONUTF8": 0, "LC_ALL": "C", "PYTHONCOERCECLOCALE": 0}
    ran = outputs(folder, environment(profile, **theirs), *cells.values())
    return dict(zip(cells, ran, strict=True))


def test_a_chapter_has_the_names_of_python_whatever_the_ipython_profile_imports(chapter):
    [output] = chapter["names"]
    assert output.text == "builtins 3 False\n"


def test_no_startup_file_of_python_runs_before_a_chapter(chapter):
    [output] = chapter["startup"]
    assert output.text == "True\n"


def test_a_figure_is_a_png_with_its_label_whatever_the_ipython_profile_draws(chapter):
    [output] = chapter["figure"]
    assert [kind for kind in output.data if kind.startswith("image/")] == ["image/png"]
    assert output.metadata["image/png"]["alt"] == "a line"


def test_libraries_of_figures_take_no_backend_from_the_environment(chapter):
    [output] = chapter["libraries"]
    assert output.text == "1\n"


def test_chapters_read_utf_8_whatever_the_locale(chapter):
    [output] = chapter["letters"]
    assert output.text == "臉\n"


WHO = "import os, sys; print(sys.prefix, 'OTHER' in os.environ)"


KERNELS = ("JUPYTER_PATH", "JUPYTER_PREFER_ENV_PATH", "JUPYTER_DEFAULT_PROVISIONER_NAME")


@pytest.mark.parametrize("name", KERNELS)
def test_this_pythons_kernel_runs_the_chapters(tmp_path, name):
    argv = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python", "env": {"OTHER": "1"}}
    jupyter = tmp_path / ".local/share/jupyter"
    write(jupyter / "kernels/python3/kernel.json", json.dumps(spec))
    values = dict(zip(KERNELS, (jupyter, 0, "theirs"), strict=True))
    env = environment(tmp_path, **{name: values[name]})
    env.pop("XDG_DATA_HOME", None)
    assert printed(tmp_path, env, WHO) == f"{sys.prefix} False"


def test_chapters_and_commands_import_this_hw3_and_the_installed_packages(tmp_path):
    faces = write_train(tmp_path / "train.csv")
    for name in ("hw3", "press", "seaborn", "PIL"):
        write(tmp_path / "theirs" / name / "__init__.py", "raise SystemExit('another package')")
    env = environment(tmp_path, PYTHONPATH=tmp_path / "theirs")
    code = "import hw3, PIL, seaborn; print(hw3.__path__)"
    assert printed(tmp_path, env, code) == f"['{ROOT}/hw3']"
    assert "fingerprint" in python("-m", "hw3", "data", "--data", faces, env=env)


# JupyterLab


def ask(port, path, data=None):
    """Ask the JupyterLab of a test, whose owner chose the token."""
    url, token = f"http://127.0.0.1:{port}/api/{path}", {"Authorization": "token theirs"}
    body = json.dumps(data).encode() if data else None
    with urllib.request.urlopen(urllib.request.Request(url, body, token), timeout=60) as answer:
        return json.load(answer)


def test_lab_keeps_a_persons_settings_but_its_kernels_compute_as_the_builds(profile, tmp_path):
    from jupyter_client import BlockingKernelClient

    home = tmp_path / "home"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shutil.copytree(profile / ".ipython", home / ".ipython")
    write(home / ".config/matplotlib/matplotlibrc", RC)
    write(home / ".keras/keras.json", '{"image_data_format": "channels_first"}')
    lines = ["IdentityProvider.token = 'theirs'", f"ServerApp.port = {port}"]
    lines += ["ServerApp.open_browser = False", "ServerApp.allow_root = True"]
    settings = "\n".join(f"c.{line}" for line in lines)
    write(home / ".jupyter/jupyter_server_config.py", settings)
    env = environment(home, JUPYTER_RUNTIME_DIR=tmp_path / "runtime", MPLBACKEND="theirs")
    env = {name: v for name, v in env.items() if not name.startswith(("XDG_CONFIG", "JUPYTER_CON"))}
    command = [sys.executable, "-m", "press", "lab"]
    lab = subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        for _ in range(120):
            try:
                kernel = ask(port, "kernels", {"name": "python3"})["id"]
                break
            except OSError:
                assert lab.poll() is None, "it has ended"
                time.sleep(0.5)
        file = tmp_path / "runtime" / f"kernel-{kernel}.json"
        client = BlockingKernelClient(connection_file=str(file))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(60)
        code = "import os; print(max.__module__, os.environ['KERAS_HOME'])\n"
        code += "from hw3 import show; show.style(); " + STYLE
        texts = []
        keep = lambda message: texts.append(message["content"].get("text", ""))  # noqa: E731
        client.execute_interactive(code, output_hook=keep, timeout=60)
        client.stop_channels()
    finally:
        lab.terminate()
        lab.wait(60)
    assert "".join(texts).splitlines()[0].startswith("builtins ")
    assert "".join(texts).splitlines()[0].endswith("/keras"), "not a person's ~/.keras"
    assert "".join(texts).splitlines()[1:] == [LOOK]


# Pages


HOSTILE = {
    "home": {},
    "file": {"DOCUTILSCONFIG": "docutils.conf"},
    "clock": {"SOURCE_DATE_EPOCH": 315532800},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_pages_are_the_same_whatever_docutils_and_the_clock_of_packages_say(tmp_path, what):
    source, year = (
        write(tmp_path / "source/index.md", "# A\n\nText.\n").parent,
        time.gmtime().tm_year,
    )
    write(source / "_toc.yml", "format: jb-book\nroot: index\n")
    write(source / "_config.yml", f'title: T\nauthor: A\ncopyright: "{year}"\n')
    file = {"home": ".docutils", "file": "docutils.conf"}.get(what, "none")
    write(tmp_path / file, "[general]\ninitial_header_level: 4\n")
    code = "import sys; from pathlib import Path; from press.build import jupyter_book; "
    code += "jupyter_book(Path(sys.argv[1]), Path(sys.argv[2]))"
    python("-c", code, source, tmp_path, env=environment(tmp_path, **HOSTILE[what]), cwd=tmp_path)
    page = (tmp_path / "html/index.html").read_text()
    assert "<h1>A<a" in page
    assert f"© Copyright {year}" in page


# make


def test_make_takes_variables_from_its_command_line_alone(tmp_path):
    names = ("PROFILE", "DATA", "FRESH", "BACKEND")
    env = environment(tmp_path, PYTHONPATH=tmp_path, **dict.fromkeys(names, "theirs"))
    env = {name: value for name, value in env.items() if not name.startswith(("MAKE", "MFLAGS"))}
    asked = ["make", "-n", "-o", ".venv/.book", "book"]
    told = subprocess.run(asked, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split()[1:] == ["-m", "press", "book", "--profile", '"quick"']
    asked += ["PROFILE=smoke"]
    told = subprocess.run(asked, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert '"smoke"' in told.stdout


def test_tensorflow_prints_no_notes_on_its_tracing_into_a_notebook():
    """Where Python is interactive, as a kernel is, TensorFlow's logger writes to stdout."""
    traces = (
        "from hw3.backend import keras, ops\n"
        "f = lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])\n"
        "for n in range(6): f().predict(ops.zeros((n + 1, 2)), verbose=0)\n"
        "print('traced')\n"
    )
    done = subprocess.run(
        [sys.executable, "-ic", traces], capture_output=True, text=True, check=True, input=""
    )
    assert done.stdout.strip() == "traced"

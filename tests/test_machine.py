"""Whoever's machine it is: the checkout moves, git changes line ends, pip, make and Python are set
up for other work. Real processes in hostile environments.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import sources
from PIL import Image
from test_cli import NAMESPACE, write_train

from hw3 import runs
from hw3.disk import ROOT

OURS = ("PIP_", "HW3_", "JUPYTER", "MAKE", "MFLAGS", "PYTHON", "TMPDIR", "XDG_", "LC_", "LANG")
CAN_MOUNT = (
    bool(shutil.which("unshare"))
    and not subprocess.run([*NAMESPACE, "/bin/true"], capture_output=True).returncode
)


def run(*command, cwd, check=True, **settings):
    """Run a command as a person would, with no settings but these; return the finished process."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(OURS)} | settings
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, encoding="utf-8"
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def write_wheel(folder, version, size=0):
    """Write a wheel of a package tiny, of random bytes, into a folder; return its requirement."""
    about = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"VERSION = {version!r}".encode(),
        "tiny.bin": np.random.default_rng(0).bytes(size),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in files).encode()
    wheel = folder / f"tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return f"tiny=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def write_checkout(place, size=0):
    """Write the project whose locks want one package, which lies in the folder wheels beside it."""
    for name in sources():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place / name)
    wheels = place.parent / "wheels"
    wheels.mkdir()
    write_wheel(wheels, "2.0")
    wanted = write_wheel(wheels, "1.0", size)
    for lock in ("requirements.txt", "requirements-test.txt"):
        (place / lock).write_text(wanted)
    return wheels


INSTALL = ("make", ".venv/.test", f"PYTHON={sys.executable}")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Return a checkout with its environment, which also sees the packages of this one."""
    place = tmp_path_factory.mktemp("machine") / "first"
    wheels = write_checkout(place)
    run(*INSTALL, cwd=place, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))
    packages = next((place / ".venv").glob("lib/python*/site-packages"))
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib"))
    kernels = Path("share", "jupyter", "kernels")
    shutil.copytree(Path(sys.prefix) / kernels, place / ".venv" / kernels)
    return place


@pytest.fixture
def moved(checkout, tmp_path):
    """Return a copy of that checkout whose data/ has 40 faces."""
    place = tmp_path / "Übung 3, faces 臉"
    shutil.copytree(checkout, place, symlinks=True)
    (place / "data").mkdir()
    write_train(place / "data" / "train.csv")
    return place


@pytest.mark.parametrize("settings", [{}, {"LC_ALL": "C"}], ids=str)
def test_a_copy_uses_its_own_code_data_and_build_from_any_folder(checkout, moved, settings):
    python = moved / ".venv" / "bin" / "python"
    for cwd in (moved, moved / "book", moved.parent):
        for switches in ((), ("-I",)):
            out = run(python, *switches, "-m", "hw3", "data", cwd=cwd, **settings).stdout
            assert "40 faces from train.csv" in out
    code = "import beyond, hw3, press; print(*(ascii(p.__file__) for p in (beyond, hw3, press)))"
    out = run(python, "-c", code, cwd=moved.parent, **settings).stdout
    assert out.count(ascii(str(moved))[1:-1]) == 3
    assert (moved / "_build").exists()
    assert not (checkout / "_build").exists()


KERNEL = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3")
client.execute_interactive("import sys, hw3; print(sys.prefix); print(hw3.__file__)")
manager.shutdown_kernel(now=True)
"""


def test_the_kernel_of_a_moved_checkout_is_its_own(checkout, moved):
    place = moved.rename(moved.with_name("moved"))
    out = run(place / ".venv" / "bin" / "python", "-c", KERNEL, cwd=place / "book").stdout
    assert out.splitlines() == [str(place / ".venv"), str(place / "hw3" / "__init__.py")]


CHAPTER = """import warnings
from hw3 import figures
figures.style()
warnings.warn("of no weight", stacklevel=1)
print(__debug__, figures.style.__doc__ is None)"""


def write_small_book(place):
    """Replace the chapters of a checkout by three small ones."""
    for chapter in (place / "book").glob("*.ipynb"):
        chapter.unlink()
    code = {"cell_type": "code", "execution_count": None, "outputs": [], "metadata": {}}
    given = code | {"id": "a", "metadata": {"tags": ["parameters"]}, "source": "PROFILE = DATA = 0"}
    about = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    for name in ("index", "pca", "claims"):
        title = {"cell_type": "markdown", "id": "b", "metadata": {}, "source": f"# Page {name}"}
        cells = [title, given, code | {"id": "c", "source": CHAPTER}]
        book = {"nbformat": 4, "nbformat_minor": 5, "metadata": about, "cells": cells}
        (place / "book" / f"{name}.ipynb").write_text(json.dumps(book))
    parts = [{"caption": n, "chapters": [{"file": f"book/{n}"}]} for n in ("pca", "claims")]
    toc = {"format": "jb-book", "root": "book/index", "parts": parts}
    (place / "_toc.yml").write_text(json.dumps(toc))


@pytest.mark.book
def test_a_book_is_built_where_it_stands_whatever_python_is_told(moved):
    write_small_book(moved)
    hostile = {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "TMPDIR": "/nowhere"}
    for place in (moved, moved.with_name("elsewhere")):
        if place != moved:
            moved.rename(place)
            chapter = place / "book" / "pca.ipynb"
            chapter.write_text(chapter.read_text().replace("# Page pca", "# Changed"))
        command = (place / ".venv" / "bin" / "python", "-m", "press", "book", "--profile", "smoke")
        out = run(*command, cwd=place.parent, LC_ALL="C", **hostile).stdout
        assert out.rstrip().endswith(str(place / "_build" / "html" / "index.html"))
        assert "True False" in (place / "_build" / "html" / "book" / "pca.html").read_text("utf-8")
    assert out.count("unchanged") == 2
    assert "Changed" in (place / "_build" / "html" / "book" / "pca.html").read_text("utf-8")
    assert not moved.exists()


def test_git_changes_no_byte_whatever_a_person_set(tmp_path):
    (tmp_path / "attributes").write_text("*.csv text eol=crlf\n* text=auto\n")
    config = (
        "[user]\nname = a\nemail = a@b\n[core]\nautocrlf = true\neol = crlf\nsafecrlf = false\n"
    )
    config += f"attributesFile = {tmp_path / 'attributes'}\n"
    (tmp_path / "config").write_text(config)
    first, names = tmp_path / "first", sources()
    for name in names:
        (first / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, first / name)
    settings = {"GIT_CONFIG_GLOBAL": str(tmp_path / "config"), "GIT_CONFIG_NOSYSTEM": "1"}
    for command in ("init -q", "add -A", "commit -qm all", "clone -q . ../second"):
        run("git", *command.split(), cwd=first, **settings)
    for name in names:
        assert (tmp_path / "second" / name).read_bytes() == (ROOT / name).read_bytes(), name


def test_a_run_that_was_changed_says_so(tmp_path):
    folder = shutil.copytree(runs.RECORDED / "clipped-dnn", tmp_path / "clipped-dnn")
    history = folder / "history.csv"
    history.write_bytes(history.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(ValueError, match=r"history\.csv does not match its checksum$"):
        runs.load(folder)


def pip_settings(folder, wheels):
    """Return {name: value} of what a person may have set for pip, harmful but for the last two."""
    (folder / "constraints.txt").write_text("tiny==2.0\n")
    (folder / "wanted.txt").write_text("nonsense\n")
    return {
        "user": "yes",
        "target": folder / "elsewhere",
        "constraint": folder / "constraints.txt",
        "requirement": folder / "wanted.txt",
        "require-virtualenv": "yes",
        "dry-run": "yes",
        "no-binary": ":all:",
        "python": "/bin/false",
        "verbose": "2",
        "no-index": "yes",
        "find-links": wheels,
    }


@pytest.mark.parametrize("kind", ["environment", "file"])
def test_no_setting_of_pip_decides_what_is_installed_and_where(tmp_path, kind):
    wheels, home = write_checkout(tmp_path / "project"), tmp_path / "home"
    set_up = pip_settings(tmp_path, wheels) | ({} if kind == "file" else {"prefix": tmp_path / "p"})
    (home / ".config" / "pip").mkdir(parents=True)
    env = {"HOME": str(home)}
    if kind == "environment":
        env |= {f"PIP_{k.upper().replace('-', '_')}": str(v) for k, v in set_up.items()}
    else:
        lines = "".join(f"{key} = {value}\n" for key, value in set_up.items())
        lines = f"[global]\n{lines}[install]\nroot = {tmp_path / 'root'}\n"
        (home / ".config" / "pip" / "pip.conf").write_text(lines)
    run(*INSTALL, cwd=tmp_path / "project", **env)
    found = [path.relative_to(tmp_path) for path in tmp_path.rglob("tiny.py")]
    assert [str(path).split("/")[:3] for path in found] == [["project", ".venv", "lib"]]
    assert "1.0" in (tmp_path / found[0]).read_text()
    assert not (tmp_path / "project" / ".venv" / "tmp").exists()


@pytest.mark.skipif(not CAN_MOUNT, reason="this system lets us mount no small disk")
def test_packages_larger_than_the_folder_for_temporary_files_are_installed(tmp_path):
    wheels, small = write_checkout(tmp_path / "project", size=4_000_000), tmp_path / "small"
    small.mkdir()
    script = f'mount -t tmpfs -o size=1m none "{small}" && exec "$@"'
    env = {"TMPDIR": str(small), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    run(*NAMESPACE, "sh", "-c", script, "sh", *INSTALL, cwd=tmp_path / "project", **env)
    assert list((tmp_path / "project" / ".venv").rglob("tiny.bin"))


def test_make_lists_variables_and_commands_with_nothing_but_posix(tmp_path):
    real = shutil.which("sed")
    posix = "--posix" * ("GNU" in run(real, "--version", cwd=ROOT, check=False).stdout)
    (tmp_path / "sed").write_text(f'#!/bin/sh\nexec {real} {posix} "$@"\n')
    (tmp_path / "sed").chmod(0o755)
    out = run("make", cwd=ROOT, PATH=f"{tmp_path}:{os.environ['PATH']}", POSIXLY_CORRECT="1").stdout
    for line in ("PROFILE=smoke|quick|cpu|full", "DATA=path", "SEEDS=5", "make book", "make clean"):
        assert f"\n  {line} " in f"\n{out}"


@pytest.mark.parametrize("word", ["1", "yes", "true", "0", "no", "false", "", "maybe"])
def test_yes_and_no_are_words(word):
    for target, name, option in (
        ("book", "FRESH", "--fresh"),
        ("translations", "UPDATE", "--update"),
    ):
        done = run("make", "-n", target, f"{name}={word}", cwd=ROOT, check=False)
        if word == "maybe":
            assert done.returncode == 2
            assert done.stderr.count("\n") == 1
            assert f"hw3: {name}=maybe: say yes or no" in done.stderr
        else:
            assert (option in done.stdout) == (word in ("1", "yes", "true"))


def test_lab_takes_the_data_and_says_where_the_profile_is_chosen(checkout, tmp_path):
    (tmp_path / "home").mkdir()
    config = "import os\nprint('data:', os.environ.get('HW3_DATA'), flush=True)\nos._exit(0)\n"
    (tmp_path / "jupyter_server_config.py").write_text(config)
    home = {"HOME": str(tmp_path / "home"), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    relative, own = os.path.relpath(tmp_path / "a b.csv", checkout), str(tmp_path / "own.csv")
    out = run("make", "lab", f"DATA={relative}", "PROFILE=smoke", cwd=checkout, **home).stdout
    assert f"data: {tmp_path / 'a b.csv'}\n" in out
    assert "hw3: PROFILE and FRESH are chosen in a chapter's first cell\n" in out
    out = run("make", "lab", cwd=checkout, HW3_DATA=own, **home).stdout
    assert out.endswith(f"data: {own}\n")
    assert "PROFILE" not in out


@pytest.fixture
def face(tmp_path):
    Image.fromarray(np.arange(2304, dtype=np.uint16).astype(np.uint8).reshape(48, 48)).save(
        tmp_path / "face.png"
    )
    return tmp_path / "face.png"


def predict(face, *switches, **settings):
    settings = {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)} | settings
    command = (sys.executable, *switches, "-m", "hw3", "predict", face)
    return run(*command, cwd=face.parent, check=False, **settings)


@pytest.mark.parametrize("switches", [("-OO", "-W", "error", "-X", "dev"), ("-O",)], ids=" ".join)
def test_the_answer_is_printed_whatever_python_is_told(face, switches):
    """In test_cli.py it is told nothing."""
    done = predict(face, *switches)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert f"{face}: " in done.stdout


def test_help_needs_no_docstrings():
    out = run(sys.executable, "-OO", "-m", "press", "--help", cwd=ROOT).stdout
    assert "translations" in out

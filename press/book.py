"""Build the book: run each chapter with papermill where something that decides it changed, then
jupyter-book.
"""

import ast
import contextlib
import filecmp
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path

import yaml

from hw3 import faces
from hw3.disk import ROOT, build_dir, digest, locked, write_atomically

# Chapters of a group may run side by side; what takes the time of trainings or convolutions runs
# alone. The first two train the networks that others show. The front page comes last: it shows the
# others' results.
GROUPS = (
    ("cnn",),
    ("dnn",),
    ("confusion",),
    ("complexity",),
    ("pca", "results", "claims", "inside", "audit", "humans", "speed", "try", "index"),
)
ORDER = tuple(name for group in GROUPS for name in group)
SIDE_BY_SIDE = {
    "smoke": 2,
    "quick": 2,
}  # chapters at once; longer trainings have the machine to themselves
BESIDE = {
    "try": ("runtime.js", "recorded.js")
}  # what a chapter leaves in the build's demo/: without it, it runs again
CHINESE = "zh"  # folder of the other edition in the finished HTML
SETTINGS = ("_config.yml", "_toc.yml", "requirements.txt")


class BuildError(RuntimeError):
    """A chapter or the page failed; the message's last line says where and why."""


def read_cells(chapter: Path) -> list[tuple[str, str]]:
    """Return type and source of a chapter's cells. Raises BuildError, in one line, where it is no
    notebook or no plain Python.
    """
    try:
        read = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in read]
    except (ValueError, KeyError, TypeError) as error:
        raise BuildError(
            f"book/{chapter.name} is no whole notebook ({error!r}): take it anew from git or an archive"
        ) from None
    for number, (kind, source) in enumerate(cells, 1):
        try:
            ast.parse(source if kind == "code" else "")
        except (ValueError, SyntaxError) as error:
            where = f"book/{chapter.name}, cell {number}, line {getattr(error, 'lineno', 1)}"
            todo = "correct it; chapters are plain Python, without % and !"
            raise BuildError(f"{where}: {getattr(error, 'msg', error)}: {todo}") from None
    return cells


PACKAGES = ("hw3", "beyond", "press")


@functools.cache
def rooms(source: str) -> frozenset[str]:
    """Return the modules of PACKAGES that Python source imports, wherever in it, as paths below
    ROOT: "hw3/runs.py".
    """
    paths = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
            paths |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            paths |= {
                alias.name for alias in node.names if alias.name.partition(".")[0] in PACKAGES
            }
    places = {path.replace(".", "/") for path in paths}
    files = {file for place in places for file in (f"{place}.py", f"{place}/__init__.py")}
    return frozenset(file for file in files if (ROOT / file).is_file())


def decides(source: str) -> list[Path]:
    """Return the files of the project that decide what Python source computes.

    They are hw3's start, the modules that it imports, also over others, and what these name in
    quotes: the other files of the packages, and the folders of recorded numbers.
    """
    known, new = {"hw3/__init__.py"}, set(rooms(source))
    while new:
        known |= new
        new = {
            name for room in new for name in rooms((ROOT / room).read_text(encoding="utf-8"))
        } - known
    files = {ROOT / name for name in known}
    text = "".join(p.read_text(encoding="utf-8") for p in files)
    beside = [p for package in PACKAGES for p in (ROOT / package).rglob("*") if p.is_file()]
    files |= {p for p in beside if f'"{p.name}"' in text}
    folders = [folder for folder in (ROOT / "results").iterdir() if f'"{folder.name}"' in text]
    files |= {p for folder in folders for p in folder.rglob("*") if p.is_file()}
    return sorted(files)


def chapter_key(chapter: Path, parameters: dict, fingerprint: str) -> str:
    """Return the key of an executed chapter: it changes with the chapter, what it uses of the code
    and of the recorded numbers, the lock, the faces and the parameters."""
    code = "\n".join(source for kind, source in read_cells(chapter) if kind == "code")
    files = [chapter, ROOT / "requirements.txt", *decides(code)]
    outside = json.dumps(
        [parameters["PROFILE"], fingerprint, os.environ.get("KERAS_BACKEND", "tensorflow")]
    )
    return digest(*(p.read_bytes() for p in files), outside.encode())


def executed_key(path: Path) -> str | None:
    """Return the key that an executed chapter carries, or None where there is none or it is
    damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))["metadata"]["hw3"]["key"]
    except (OSError, ValueError, KeyError):
        return None


@contextlib.contextmanager
def quiet(log: Path):
    """Send what this process and the kernels that it starts write to stderr into a log file:
    start-up notes of libraries.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(2)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# Run after a chapter's own cells: what it used, for the head of its page. The executed chapter does
# not keep this cell.
ASK = "import json\n\nfrom hw3 import runs\n\nprint(json.dumps(runs.shown()))"


def run_chapter(chapter: Path, target: Path, parameters: dict, key: str, data: str = "") -> float:
    """Run one chapter with papermill, put the result in target and return the seconds it took.

    data is the name of the faces of this build. The metadata "hw3" of the result say what
    `runs.shown` does, profile and key. Raises BuildError naming chapter, cell and error.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    start = time.perf_counter()
    notebook = nbformat.read(chapter, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(ASK))
    failed = target.with_suffix(".failed.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "kernel_name": "python3",
        "cwd": ROOT / "book",
        "progress_bar": False,
        "log_output": False,
    }
    try:
        with quiet(build_dir() / "kernels.log"):
            papermill.execute_notebook(notebook, failed, parameters, **options)
    except papermill.PapermillExecutionError as error:
        trace = "\n".join(error.traceback[-3:])
        where = f"book/{chapter.name}, cell {error.cell_index + 1} (In [{error.exec_count}])"
        raise BuildError(f"{trace}\nhw3: {where}: {error.ename}: {error.evalue}") from None
    except DeadKernelError:
        raise BuildError(
            f"book/{chapter.name}: its kernel died, perhaps for want of memory; run this again"
        ) from None
    notebook = nbformat.read(failed, as_version=4)
    notebook.metadata.pop("papermill", None)  # paths of this machine
    told = json.loads(
        next(out.text for out in notebook.cells.pop().outputs if out.name == "stdout")
    )
    told["own"] |= {
        "profile": [parameters["PROFILE"]],
        "data": told["own"]["data"] or [data] * bool(data),
    }
    notebook.metadata["hw3"] = {"key": key, **told}
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if (
            cell.cell_type == "code"
        ):  # what goes to stderr are warnings of libraries, with paths of this machine
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.metadata.tags.append("remove-cell")
            cell.id = "injected-parameters"  # papermill gives it another one each time
            if parameters["DATA"]:
                cell.source = cell.source.replace(parameters["DATA"], Path(parameters["DATA"]).name)
    write_atomically(target, lambda file: file.write(nbformat.writes(notebook).encode()))
    failed.unlink()
    return time.perf_counter() - start


def as_worker(count: int) -> None:
    """Leave Ctrl-C to the process that started this one, and end when that is gone, even where it
    was killed.

    Of several workers none takes the whole memory of a GPU, as JAX and TensorFlow would on their
    own.
    """

    def watch():
        parent_process().join()
        os._exit(1)

    if count > 1:
        os.environ |= {
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def workers(count: int):
    """Give an executor of so many processes. Where anything fails they end at once; an interrupted
    chapter starts again.
    """
    pool = ProcessPoolExecutor(count, get_context("spawn"), as_worker, (count,))
    try:
        yield pool
    except BaseException:
        for process in active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def run_chapters(profile: str, data: str | None, fresh: bool) -> list[Path]:
    """Run all chapters that are not up to date, one progress line each; return the executed ones in
    order.
    """
    parameters = {
        "PROFILE": profile,
        "DATA": str(Path(data).resolve()) if data else None,
        "FRESH": fresh,
    }
    found = faces.find(parameters["DATA"])
    print(
        f"faces: {found.name} ({len(found):,} images from {found.source}), profile {profile}",
        flush=True,
    )
    chapters = {name: ROOT / "book" / f"{name}.ipynb" for name in ORDER}
    targets = {name: build_dir() / "executed" / f"{name}.ipynb" for name in ORDER}
    keys = {
        name: chapter_key(chapter, parameters, found.fingerprint)
        for name, chapter in chapters.items()
    }
    whole = {
        name
        for name in ORDER
        if all((build_dir() / "demo" / file).exists() for file in BESIDE.get(name, ()))
    }
    due = {
        name
        for name in ORDER
        if fresh or name not in whole or executed_key(targets[name]) != keys[name]
    }
    with workers(min(SIDE_BY_SIDE.get(profile, 1), os.cpu_count() or 1)) as pool:
        for group in GROUPS:
            given = {
                name: (chapters[name], targets[name], parameters, keys[name], found.name)
                for name in group
                if name in due
            }
            started = {
                name: pool.submit(run_chapter, *arguments) for name, arguments in given.items()
            }
            for name in group:
                print(
                    f"[{ORDER.index(name) + 1}/{len(ORDER)}] {name + '.ipynb':17}",
                    end=" ",
                    flush=True,
                )
                print(
                    f"{started[name].result():5.0f} s" if name in started else "unchanged",
                    flush=True,
                )
    return list(targets.values())


def read_config() -> dict:
    """Return what _config.yml says. Raises BuildError, in one line, where it is no YAML or lacks
    what is used of it.
    """
    try:
        read = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
        read["title"], read["author"], read["execute"]["execute_notebooks"]
        read["sphinx"]["config"], read["sphinx"]["extra_extensions"]
    except yaml.YAMLError as error:
        raise BuildError(f"_config.yml: {' '.join(str(error).split())}: correct the file") from None
    except (KeyError, TypeError) as error:
        raise BuildError(
            f"_config.yml: not what is expected ({error!r}): take it anew from git or an archive"
        ) from None
    return read


def write_source(
    executed: list[Path], name: str = "source", texts: dict | None = None, **sphinx
) -> Path:
    """Put executed chapters, _config.yml and _toc.yml together for jupyter-book; return the folder,
    `name` in the build's.

    Texts, such as the title, and Sphinx's settings may be given that differ from those of
    _config.yml.
    """
    source = build_dir() / name
    (source / "book").mkdir(parents=True, exist_ok=True)
    for path in executed:
        shutil.copyfile(path, source / "book" / path.name)
    config = read_config() | (texts or {})
    config["execute"]["execute_notebooks"] = "off"
    config["sphinx"]["config"] |= sphinx
    config["sphinx"]["extra_extensions"] += ["press.translate"] * ("language" in sphinx)
    (source / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    shutil.copyfile(ROOT / "_toc.yml", source / "_toc.yml")
    return source


def jupyter_book(source: Path, output: Path, builder: str) -> Path:
    """Build source into the folder `_build/<builder>` of output, and return that. Raises BuildError
    where jupyter-book fails.
    """
    start = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = [
        "build",
        str(source),
        "--path-output",
        str(output),
        "--builder",
        builder,
        "-W",
        "--keep-going",
    ]
    result = subprocess.run([sys.executable, "-c", start, *options], capture_output=True, text=True)
    if result.returncode:
        raise BuildError(
            f"{(result.stdout + result.stderr)[-3000:]}\nhw3: jupyter-book could not build the page (above)"
        )
    return output / "_build" / builder


def build_page(executed: list[Path]) -> Path:
    """Build the HTML from executed chapters with jupyter-book; return its first page. Raises
    BuildError where that fails.
    """
    page = build_dir() / "html" / "index.html"
    files = [*executed, *(ROOT / s for s in SETTINGS), *decides("from press import page")]
    files += sorted(
        (build_dir() / "demo").glob("*.js")
    )  # networks, which the executed chapters do not hold
    key = digest(*(p.read_bytes() for p in files))
    stamp = build_dir() / "html" / ".key"
    if page.exists() and stamp.exists() and stamp.read_text() == key:
        return page
    stamp.unlink(missing_ok=True)  # a build that is broken off leaves mixed pages
    # it appends _build to the output path itself
    jupyter_book(write_source(executed, hw3_other=f"{CHINESE}/"), build_dir().parent, "html")
    if not page.exists():
        raise BuildError(f"jupyter-book wrote no {page}")
    stamp.write_text(key)
    return page


def build_chinese(executed: list[Path]) -> None:
    """Build the Chinese edition into the folder CHINESE of the finished HTML. Raises BuildError
    where that fails.
    """
    english = build_dir() / "html"
    translation = [ROOT / "book" / "locale" / "zh_TW.po", *decides("from press import translate")]
    key = digest((english / ".key").read_bytes(), *(p.read_bytes() for p in translation))
    stamp = english / CHINESE / ".key"
    if stamp.exists() and stamp.read_text() == key:
        return
    from press import translate

    missing = translate.write_concrete(build_dir() / "locale")
    if missing:
        print(f"{missing} texts are not translated, see: python -m press translations", flush=True)
    chinese = translate.read_catalog()
    options = {
        "language": translate.LANGUAGE,
        "locale_dirs": [str(build_dir() / "locale")],
        "hw3_other": "../",
    }
    options |= {"nb_code_prompt_show": "顯示程式碼", "nb_code_prompt_hide": "隱藏程式碼"}
    texts = {name: chinese.get(text, text) for name, text in translate.config().items()}
    made = jupyter_book(
        write_source(executed, "source-zh", texts, **options), build_dir() / CHINESE, "html"
    )
    share(
        made,
        english / CHINESE,
        english,
        {text: chinese.get(text, text) for text in translate.THEME},
    )
    stamp.write_text(key)


def share(made: Path, target: Path, english: Path, theme: dict[str, str]) -> None:
    """Put an edition made apart into the folder target of the English one, but for files that are
    the same in both.

    Its pages ask for those where the English edition has them. theme are words of the theme in the
    edition's language.
    """
    from press.translate import translate_html

    files = {p.relative_to(made).as_posix(): p for p in made.rglob("*") if p.is_file()}
    same = {
        n
        for n, p in files.items()
        if n[0] == "_" and (english / n).is_file() and filecmp.cmp(p, english / n, shallow=False)
    }
    shutil.rmtree(target, ignore_errors=True)
    for name in files.keys() - same:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".html"):
            up = "../" * name.count("/")
            asked = re.compile(rf"""(?<=["'(]){re.escape(up)}(_\w+/[^"'()?#\s]+)""")
            moved = asked.sub(
                lambda found: "../" * (found[1] in same) + found[0],
                files[name].read_text(encoding="utf-8"),
            )
            (target / name).write_text(
                translate_html(moved, lambda text: theme.get(text, text)), encoding="utf-8"
            )
        else:
            shutil.copyfile(files[name], target / name)


def build(profile: str = "quick", data: str | None = None, fresh: bool = False) -> Path:
    """Run the chapters, build the page, and return its path. Raises BuildError or FacesError with
    one clear last line.
    """
    start = time.perf_counter()
    if build_dir().name != "_build":  # which jupyter-book appends itself
        raise BuildError(
            f"HW3_BUILD is {build_dir()}: the book can be built only into a folder called _build; name {build_dir()}/_build"
        )
    with locked(build_dir() / "book.lock"):
        executed = run_chapters(profile, data, fresh)
        page = build_page(executed)
        build_chinese(executed)
    print(f"done in {time.perf_counter() - start:.0f} s; open {page}", flush=True)
    return page

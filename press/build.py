"""Build the book: run the chapters that changed with papermill, then jupyter-book, once a language.

A chapter runs again where something that decides it changed (see chapters.chapter_key).
"""

import contextlib
import filecmp
import io
import json
import os
import re
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from types import SimpleNamespace

from hw3 import faces, recipes
from hw3.disk import ROOT, build_dir, digest, locked, stderr_to, write_atomically
from press import chapters, translate, values
from press.chapters import BuildError

# The homework's chapters, which train and time, run alone, and those that show the trained networks
# after them, some at once; the front page shows the others' results.
GROUPS = (*([name] for name in chapters.HOMEWORK), chapters.BEYOND, [chapters.FRONT])
RUNNING_ORDER = tuple(name for group in GROUPS for name in group)
AT_ONCE = {"smoke": 2, "quick": 2}  # longer trainings have the machine to themselves
EVERY = 20.0  # seconds between two lines about a chapter that runs
# What a chapter leaves in the build's demo/: without it, it runs again.
BESIDE = {"try": ("runtime.js", "recorded.js", "drawn.js", "own.js")}
PLOTLY = "application/vnd.plotly.v1+json"
CHINESE = "zh"  # folder of the other edition in the finished HTML
EDITIONS = ("", CHINESE)
SPHINX = ("jupyter_book.sphinx", "myst_nb.sphinx_ext")  # they take seconds to import
SOURCES = "book/references.bib"
SETTINGS = ("_config.yml", "_toc.yml", "requirements.txt", SOURCES)


def build(
    profile: str = "quick",
    data: str | None = None,
    fresh: bool = False,
    chapter: str | None = None,
    changes: Sequence[str] = (),
) -> Path:
    """Run the chapters, or one of them, build the pages, and return the first one's path.

    changes are those of own trainings' recipes, as "epochs=5". Raises BuildError, FacesError or
    ValueError with one clear last line.
    """
    start = time.perf_counter()
    if chapter not in (None, *RUNNING_ORDER):
        known = ", ".join(RUNNING_ORDER)
        raise BuildError(f"chapter {chapter!r} is unknown: choose one of {known}")
    os.environ[recipes.CHANGES] = " ".join(changes)  # whatever stood there
    for network in ("cnn", "dnn"):
        recipes.own(network, profile)  # says what is wrong with the changes
    with locked(build_dir() / "book.lock"), workers(2) as pages:
        executed = run_chapters(profile, data, fresh, pages, chapter)
        page = build_pages(executed, pages)
    print(f"done in {time.perf_counter() - start:.0f} s; open {page}", flush=True)
    return page


# Running the chapters.


def run_chapters(
    profile: str, data: str | None, fresh: bool, pages=None, only: str | None = None
) -> list[Path]:
    """Run what is not up to date, one line a chapter; return all executed chapters.

    pages is an executor that will build the pages, and starts its processes meanwhile. The chapters
    beside `only`, if that names one, run where they never ran.
    """
    data = str(Path(data).resolve()) if data else None
    parameters = {"PROFILE": profile, "DATA": data, "FRESH": fresh}
    used = faces.find(data)
    about = f"{used.name} ({len(used):,} images from {used.source})"
    print(f"faces: {about}, profile {profile}", flush=True)
    due, targets = {}, {}
    for name in RUNNING_ORDER:
        chapter = ROOT / "book" / f"{name}.ipynb"
        targets[name] = build_dir() / "executed" / chapter.name
        key = chapters.chapter_key(chapter, parameters, used.fingerprint)
        whole = all((build_dir() / "demo" / file).exists() for file in BESIDE.get(name, ()))
        if fresh or not whole or chapters.executed_key(targets[name]) != key:
            due[name] = (chapter, targets[name], parameters, key, used.name)
    left = [name for name in due if only and name != only and targets[name].exists()]
    if left:
        due = {name: due[name] for name in due if name not in left}
        print(f"left as they are, though not up to date: {', '.join(left)}", flush=True)
    for module in SPHINX if due and pages else ():
        for _ in EDITIONS:  # a process each
            pages.submit(import_module, module)
    with workers(min(AT_ONCE.get(profile, 1), os.cpu_count() or 1)) as pool:
        for group in GROUPS:
            started = []
            for name in group:
                place = f"[{RUNNING_ORDER.index(name) + 1}/{len(RUNNING_ORDER)}]"
                place = f"{place} {name + '.ipynb':17}"
                if name in due:
                    started.append((place, pool.submit(run_chapter, *due[name])))
                elif name not in left:
                    print(f"{place} unchanged", flush=True)
            for place, running in started:
                print(f"{place} {running.result():5.0f} s", flush=True)
    return list(targets.values())


def run_chapter(chapter: Path, target: Path, parameters: dict, key: str, data: str = "") -> float:
    """Run one chapter with papermill, put the result in target and return the seconds it took.

    data is the name of the faces of this build. The metadata "hw3" of the result hold the key and
    what the head of its page says. Raises BuildError naming chapter, cell and error.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    start = time.perf_counter()
    notebook = nbformat.read(chapter, as_version=4)
    failed = target.with_suffix(".failed.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    build_dir().mkdir(parents=True, exist_ok=True)
    numbers = {cell.id: number for number, cell in enumerate(notebook.cells, 1)}
    values.ask(notebook)
    options = {"kernel_name": "python3", "progress_bar": False, "cwd": ROOT / "book"}
    options |= telling(chapter.name, len(notebook.cells) + 1)  # one of the parameters
    try:
        with open(build_dir() / "kernels.log", "ab") as log, stderr_to(log):
            papermill.execute_notebook(notebook, failed, parameters, **options)
    except papermill.PapermillExecutionError as error:
        ran = nbformat.read(failed, as_version=4)
        values.keep(ran, chapter.name)  # raises where it was an expression of the prose
        broken = next(c.id for c in ran.cells if c.get("execution_count") == error.exec_count)
        trace = "\n".join(error.traceback[-3:])
        where = f"book/{chapter.name}, cell {numbers[broken]} (In [{error.exec_count}])"
        raise BuildError(f"{trace}\nhw3: {where}: {error.ename}: {error.evalue}") from None
    except DeadKernelError:
        why = "its kernel died, perhaps for want of memory; run this again"
        raise BuildError(f"book/{chapter.name}: {why}") from None
    notebook = nbformat.read(failed, as_version=4)
    told = {"values": values.keep(notebook, chapter.name)}
    told |= page_head(notebook, parameters["PROFILE"], data)
    check_figures(notebook, chapter.name, numbers)
    notebook.metadata["hw3"] = {"key": key, **told}
    tidy(notebook, parameters["DATA"])
    write_atomically(target, lambda file: file.write(nbformat.writes(notebook).encode()))
    failed.unlink()
    return time.perf_counter() - start


def telling(name: str, cells: int) -> dict:
    """Return options of papermill that print, at most EVERY seconds, how far a chapter has come."""
    start = told = time.monotonic()
    doing = ""

    def tell(text: str = "", cell=None, cell_index: int = 0) -> None:
        nonlocal told, doing
        if cell:
            doing = f"cell {cell_index + 1} of {cells}"
        epochs = re.findall(r"^epoch \d[^;\n]*", text, re.MULTILINE)  # as train.train prints them
        now = time.monotonic()
        if (cell or epochs) and now - told >= EVERY:
            told = now
            said = ", ".join([doing, *epochs[-1:]])
            print(f"  {name:23} {now - start:5.0f} s: {said}", flush=True)

    return {"on_cell_start": tell, "stdout_file": SimpleNamespace(write=tell, flush=lambda: None)}


def page_head(notebook, profile: str, data: str) -> dict[str, dict[str, list[str]]]:
    """Return what the head of a page says: what the chapter's cell tagged "head" printed.

    It is JSON, as of show.head. To the "own" runs come profile and faces of this build. Without
    such a cell the page shows no runs, and the head says nothing of them.
    """
    for cell in notebook.cells:
        if "head" in cell.metadata.get("tags", ()):
            printed = next(out.text for out in cell.outputs if out.get("name") == "stdout")
            head = json.loads(printed)
            changed = os.environ.get(recipes.CHANGES)
            head["own"]["profile"] = [f"{profile} ({changed})" if changed else profile]
            if data and not head["own"]["data"]:
                head["own"]["data"] = [data]
            return head
    return {}


def check_figures(notebook, name: str, numbers: dict[str, int]) -> None:
    """Raise BuildError where a figure has no alternative text; numbers are of cells, by id."""
    for cell in notebook.cells:
        for out in (out for out in cell.get("outputs", ()) if "data" in out):
            pictures = [kind for kind in out.data if kind.startswith("image/")]
            plain = PLOTLY in out.data and "aria-label" not in out.data.get("text/html", "")
            if plain or not all(out.metadata.get(kind, {}).get("alt") for kind in pictures):
                use = f"show.{'Interactive' if plain else 'labeled'}(figure, 'what it shows')"
                where = f"book/{name}, cell {numbers[cell.id]}"
                raise BuildError(f"{where}: a figure without alternative text: use {use}")


def tidy(notebook, data: str | None) -> None:
    """Take out of an executed chapter what is of this machine or moment; data is a path in it."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "code":  # warnings of libraries name paths
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.metadata.tags.append("remove-cell")
            cell.id = "injected-parameters"  # papermill gives it another one each time
            if data:
                cell.source = cell.source.replace(data, Path(data).name)


@contextlib.contextmanager
def workers(count: int):
    """Give an executor of so many processes, which end at once where anything fails."""
    pool = ProcessPoolExecutor(count, get_context("spawn"), as_worker, (count,))
    try:
        yield pool
    except BaseException:
        for process in active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def as_worker(count: int) -> None:
    """Leave Ctrl-C to the process that started this one, and end when that is gone, even killed.

    Of several workers none takes the whole memory of a GPU, as JAX and TensorFlow would.
    """

    def watch():
        parent_process().join()
        os._exit(1)

    warnings.resetwarnings()  # a person's PYTHONWARNINGS=error would end Sphinx
    if count > 1:
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


# Building the pages.


def build_pages(executed: list[Path], pool) -> Path:
    """Build each edition from executed chapters, unless it is there; return the first page.

    Sphinx works in the pool's processes. Where nothing but chapters changed, it reads and writes
    only those. Raises BuildError where it fails.
    """
    html, made, keys = build_dir() / "html", {}, {}
    ran = digest(*(path.read_bytes() for path in executed))
    pages = ["index.html", *(f"book/{path.stem}.html" for path in executed)]
    printed = html / "report.pdf"  # pages link to it
    for edition, frame in zip(EDITIONS, frames(executed), strict=True):
        stamp, key = html / edition / ".key", f"{frame} {ran}"
        old = stamp.read_text() if stamp.exists() else ""
        whole = all((html / edition / page).exists() for page in pages)
        if old != key or not whole or made:  # the Chinese pages ask for files of the English ones
            stamp.unlink(missing_ok=True)  # a build that is broken off leaves mixed pages
            sphinx = chinese() if edition else {"hw3_other": f"{CHINESE}/"}
            new = old.partition(" ")[0] != frame or printed.exists()
            given = write_source(executed), build_dir() / edition, new
            made[edition], keys[stamp] = pool.submit(jupyter_book, *given, **sphinx), key
    places = {edition: job.result() for edition, job in made.items()}
    if "" in made:
        printed.unlink(missing_ok=True)  # of other pages
    if made:
        catalog = translate.read_catalog()
        theme = {text: catalog.get(text, text) for text in translate.THEME}
        share(places[CHINESE], html / CHINESE, html, theme)
        missing = len(translate.check(catalog)[0])
        if missing:
            said = f"{missing} texts are not translated"
            print(f"{said}, see: python -m press translations", flush=True)
    for stamp, key in keys.items():
        stamp.write_text(key)
    return html / "index.html"


def frames(executed: list[Path]) -> tuple[str, str]:
    """Return for each edition a key of all that decides its pages beside what chapters hold.

    Of that only headings count: they stand on other pages too.
    """
    cells = [cell for path in executed for cell in json.loads(path.read_text())["cells"]]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    headings = [re.findall("^#.*", text, re.MULTILINE) for text in texts]
    networks = (build_dir() / "demo").glob("*.js")  # the executed chapters hold none
    files = [*(ROOT / name for name in SETTINGS), *sorted(networks)]
    english = [path.read_bytes() for path in files] + [json.dumps(headings).encode()]
    english += chapters.decides("from press.page import setup")
    chinese = chapters.decides("from press.translate import setup")
    return digest(*english), digest(*english, translate.CATALOG.read_bytes(), *chinese)


def write_source(executed: list[Path]) -> Path:
    """Put executed chapters, settings and the catalog together for Sphinx; return their folder.

    A file that is there as it should be keeps its time, by which Sphinx knows what to read.
    """
    source = build_dir() / "source"
    files = {name: ROOT / name for name in ("_config.yml", "_toc.yml", SOURCES)}
    files |= {f"book/{path.name}": path for path in executed}
    files[f"locale/{translate.CATALOG.stem}/LC_MESSAGES/book.po"] = translate.CATALOG
    for name, file in files.items():
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists() or copy.read_bytes() != file.read_bytes():
            shutil.copyfile(file, copy)
    return source


def chinese() -> dict[str, object]:
    """Return the settings of Sphinx that the Chinese edition has beside those of _config.yml."""
    catalog = translate.read_catalog()
    texts = chapters.read_settings("_config.yml", "title", "author")
    title, author = (catalog.get(text) or text for text in texts)
    options = {"language": translate.CATALOG.stem, "locale_dirs": ["locale"], "hw3_other": "../"}
    options |= {"nb_code_prompt_show": "顯示程式碼", "nb_code_prompt_hide": "隱藏程式碼"}
    return options | {"html_title": title, "author": author}


def jupyter_book(source: Path, output: Path, new: bool = True, **sphinx) -> Path:
    """Build source as jupyter-book does into the folder html of output, and return that.

    new builds all of it anew; sphinx: settings beside those of _config.yml. Raises BuildError where
    it fails.
    """
    from jupyter_book.sphinx import build_sphinx  # takes seconds

    settings = {"external_toc_path": str(source / "_toc.yml"), "latex_individualpages": False}
    settings |= {"nb_execution_mode": "off"} | sphinx  # the chapters ran before
    options = {"noconfig": True, "path_config": source / "_config.yml", "confoverrides": settings}
    options |= {"warningiserror": True, "keep_going": True, "freshenv": new, "force_all": new}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        failed = build_sphinx(source, output / "html", **options)
    if failed:
        said = printed.getvalue()[-3000:]
        raise BuildError(f"{said}\nhw3: jupyter-book could not build the page (above)")
    return output / "html"


def share(made: Path, target: Path, english: Path, theme: dict[str, str]) -> None:
    """Put an edition made apart into the folder target of the English one.

    Files that are the same in both are left out: its pages ask for those where the English edition
    has them. theme are words of the theme in the edition's language.
    """
    files = {path.relative_to(made).as_posix(): path for path in made.rglob("*") if path.is_file()}
    static = [name for name in files if name[0] == "_" and (english / name).is_file()]
    same = {n for n in static if filecmp.cmp(files[n], english / n, shallow=False)}

    def moved(match: re.Match) -> str:
        return f"../{match[0]}" if match[1] in same else match[0]

    shutil.rmtree(target, ignore_errors=True)
    for name in files.keys() - same:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith(".html"):
            shutil.copyfile(files[name], target / name)
            continue
        up = re.escape("../" * name.count("/"))
        asked = rf"""(?<=["'(]){up}(_\w+/[^"'()?#\s]+)"""
        page = re.sub(asked, moved, files[name].read_text(encoding="utf-8"))
        page = translate.translate_html(page, lambda text: theme.get(text, text))
        (target / name).write_text(page, encoding="utf-8")

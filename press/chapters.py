"""The chapters: their order, which _toc.yml alone knows, their cells, and what decides a result."""

import ast
import functools
import json
import re
from pathlib import Path

import yaml

from hw3 import machine
from hw3.disk import ROOT, digest

PACKAGES = ("hw3", "beyond", "press")
USED = ("title", "author", "execute.execute_notebooks", "sphinx.config", "sphinx.extra_extensions")
USED = {"_config.yml": USED, "_toc.yml": ("root", "parts")}  # keys of the settings


class BuildError(RuntimeError):
    """A chapter or the page failed; the message's last line says where and why."""


def read_settings(name: str) -> dict:
    """Return what _config.yml or _toc.yml says; BuildError where it is no YAML or lacks USED."""
    try:
        settings = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
        for keys in USED[name]:
            functools.reduce(lambda inner, key: inner[key], keys.split("."), settings)
    except yaml.YAMLError as error:
        raise BuildError(f"{name}: {' '.join(str(error).split())}: correct the file") from None
    except (KeyError, TypeError) as error:
        todo = "take it anew from git or an archive"
        raise BuildError(f"{name}: not what is expected ({error!r}): {todo}") from None
    return settings


_toc = read_settings("_toc.yml")
FRONT = Path(_toc["root"]).stem
HOMEWORK, BEYOND = ([Path(c["file"]).stem for c in part["chapters"]] for part in _toc["parts"])
ORDER = (FRONT, *HOMEWORK, *BEYOND)  # in which the chapters are read


def settings_texts() -> dict[str, str]:
    """Return the texts of the settings that stand on the pages, each with its file."""
    config = read_settings("_config.yml")
    captions = [part["caption"] for part in read_settings("_toc.yml")["parts"]]
    texts = dict.fromkeys((config["title"], config["author"]), "_config.yml")
    return texts | dict.fromkeys(captions, "_toc.yml")


def read_cells(chapter: Path) -> list[tuple[str, str]]:
    """Return type and source of a chapter's cells.

    Raises BuildError, in one line, where it is no notebook or no plain Python.
    """
    try:
        cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        todo = "take it anew from git or an archive"
        raise BuildError(f"book/{chapter.name} is no whole notebook ({error!r}): {todo}") from None
    for number, (kind, source) in enumerate(cells, 1):
        try:
            ast.parse(source if kind == "code" else "")
        except (ValueError, SyntaxError) as error:
            where = f"book/{chapter.name}, cell {number}, line {getattr(error, 'lineno', 1)}"
            todo = "correct it; chapters are plain Python, without % and !"
            raise BuildError(f"{where}: {getattr(error, 'msg', error)}: {todo}") from None
    return cells


@functools.cache
def modules(source: str) -> frozenset[str]:
    """Return the files of PACKAGES that Python source imports, wherever in it: "hw3/runs.py"."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = {name.replace(".", "/") for name in names if name.partition(".")[0] in PACKAGES}
    files = {file for path in paths for file in (f"{path}.py", f"{path}/__init__.py")}
    return frozenset(file for file in files if (ROOT / file).is_file())


def mentioned(node: ast.AST) -> set[str]:
    """Return all names in a piece of Python: variables, attributes, and what it imports."""
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            found.add(inner.id)
        elif isinstance(inner, ast.Attribute):
            found.add(inner.attr)
        elif isinstance(inner, ast.alias):
            found.add(inner.name)
    return found


@functools.cache
def pieces(source: str) -> list[tuple[set[str], set[str], str]]:
    """Return names that each statement of a module defines, names that it mentions, its source.

    One that defines no name, as a loop or os.environ[...] = ..., acts where the module is imported.
    """
    found, lines = [], source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):  # each name of it is one
            for alias in node.names:
                text = f"{getattr(node, 'module', '')} {ast.unparse(alias)}"
                found.append(({alias.asname or alias.name}, {alias.name}, text))
            continue
        defines = {node.name} if isinstance(node, ast.FunctionDef | ast.ClassDef) else set()
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            targets = [t for of in targets for t in (of.elts if isinstance(of, ast.Tuple) else [of])]
            if all(isinstance(target, ast.Name) for target in targets):
                defines = {target.id for target in targets}
        first = min(n.lineno for n in (node, *getattr(node, "decorator_list", ())))
        found.append((defines, mentioned(node), "\n".join(lines[first - 1 : node.end_lineno])))
    return found[ast.get_docstring(ast.parse(source)) is not None :]


def decides(source: str) -> list[bytes]:
    """Return what of the project decides what Python source computes.

    Of hw3's start and of the modules that it imports, also over others, these are the statements
    that it reaches: those that define a name which it or what it reaches mentions (whatever that
    means there: rather too many), and those that act by themselves. What these name in quotes
    counts whole: other files of the packages, and folders of recorded numbers.
    """
    files, new = set(), {"hw3/__init__.py", *modules(source)}
    while new:
        files |= new
        new = {m for name in new for m in modules((ROOT / name).read_text(encoding="utf-8"))}
        new -= files
    every = [piece for name in sorted(files) for piece in pieces((ROOT / name).read_text("utf-8"))]
    names, known = mentioned(ast.parse(source)), -1
    while known < len(names):
        known = len(names)
        reached = [piece for piece in every if not piece[0] or piece[0] & names]
        names = names.union(*(mentions for _, mentions, _ in reached))
    text = "\n".join(source for *_, source in reached)
    quoted = set(re.findall(r'([\w.-]+)"', text))
    folders = [path for path in (ROOT / "results").iterdir() if path.name in quoted]
    beside = [path for package in PACKAGES for path in (ROOT / package).rglob("*")]
    beside = [path for path in beside if path.name in quoted]
    beside += [path for folder in folders for path in folder.rglob("*")]
    return [text.encode(), *(path.read_bytes() for path in sorted(beside) if path.is_file())]


def chapter_key(chapter: Path, parameters: dict, fingerprint: str) -> str:
    """Return the key of an executed chapter.

    It changes with the chapter (but not with what JupyterLab saves beside sources and tags), what
    it uses of the code and of the recorded numbers, the lock, the versions and settings that decide
    numbers, the faces (by their fingerprint) and the profile.
    """
    code = "\n".join(source for kind, source in read_cells(chapter) if kind == "code")
    lock = (ROOT / "requirements.txt").read_bytes()
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    cells = [(cell["cell_type"], cell["source"], cell["metadata"].get("tags")) for cell in cells]
    about = json.dumps([cells, parameters["PROFILE"], fingerprint, machine.versions()])
    return digest(lock, *decides(code), about.encode())


def executed_key(path: Path) -> str | None:
    """Return the key in an executed chapter, or None where there is none or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["metadata"]["hw3"]["key"]
    except (OSError, ValueError, KeyError):
        return None

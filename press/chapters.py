"""The chapters: their order, which _toc.yml alone knows, their cells, and what decides a result."""

import ast
import functools
import json
import os
import re
from pathlib import Path

import yaml

from hw3 import machine, recipes
from hw3.disk import ROOT, digest

PACKAGES = ("hw3", "beyond", "press")


class BuildError(RuntimeError):
    """A chapter or the page failed; the message's last line says where and why."""


def read_settings(name: str, *keys: str) -> list:
    """Return the values of keys in _config.yml or _toc.yml; BuildError where it lacks one."""
    try:
        settings = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
        return [settings[key] for key in keys]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        problem, todo = " ".join(str(error).split()), "correct it, or take it anew from git"
        raise BuildError(f"{name} is not what is expected ({problem}): {todo}") from None


_root, _parts = read_settings("_toc.yml", "root", "parts")
FRONT = Path(_root).stem
HOMEWORK, BEYOND = ([Path(c["file"]).stem for c in part["chapters"]] for part in _parts)
ORDER = (FRONT, *HOMEWORK, *BEYOND)  # in which the chapters are read


def settings_texts() -> dict[str, str]:
    """Return the texts of the settings that stand on the pages, each with its file."""
    texts = dict.fromkeys(read_settings("_config.yml", "title", "author"), "_config.yml")
    return texts | dict.fromkeys([part["caption"] for part in _parts], "_toc.yml")


def read_cells(chapter: Path) -> list[tuple]:
    """Return type, source and tags of a chapter's cells.

    Raises BuildError, in one line, where it is no notebook or no plain Python.
    """
    try:
        cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
        cells = [(c["cell_type"], "".join(c["source"]), c["metadata"].get("tags")) for c in cells]
    except (ValueError, KeyError, TypeError) as error:
        todo = "take it anew from git or an archive"
        raise BuildError(f"book/{chapter.name} is no whole notebook ({error!r}): {todo}") from None
    for number, (kind, source, _) in enumerate(cells, 1):
        try:
            ast.parse(source if kind == "code" else "")
        except (ValueError, SyntaxError) as error:
            where = f"book/{chapter.name}, cell {number}, line {getattr(error, 'lineno', 1)}"
            todo = "correct it; chapters are plain Python, without % and !"
            raise BuildError(f"{where}: {getattr(error, 'msg', error)}: {todo}") from None
    return cells


@functools.cache
def names(source: str) -> frozenset[str]:
    """Return all names in Python source: variables, attributes, and imports, such as "hw3.runs"."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                found.add(name)
            case ast.ImportFrom(module=module):
                found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


@functools.cache
def statements(source: str) -> list[tuple[set[str], str]]:
    """Return the statements of a module, each with the names that it defines; imports one by one.

    One that defines no plain name, such as os.environ[...] = ..., acts where the module is loaded.
    """
    found, lines = [], source.splitlines()
    for node in ast.parse(source).body:
        first = min(part.lineno for part in (node, *getattr(node, "decorator_list", ())))
        text = "\n".join(lines[first - 1 : node.end_lineno])
        match node:
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                for alias in aliases:
                    node.names = [alias]
                    found.append(({alias.asname or alias.name}, ast.unparse(node)))
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.append(({name}, text))
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AugAssign(target=ast.Name(id=name)):
                found.append(({name}, text))
            case ast.Expr(ast.Constant()):  # a docstring
                pass
            case _:
                found.append((set(), text))
    return found


def decides(source: str) -> list[bytes]:
    """Return what of the project decides what Python source computes.

    Of hw3's start and of the modules that it imports, also over others, these are the statements
    that it reaches: those that define a name which it or what it reaches mentions (whatever that
    means there: rather too many), and those that act by themselves. What these name in quotes
    counts whole: other files of the packages, and folders of recorded numbers.
    """
    beside = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.*"))]
    modules = {
        path.relative_to(ROOT).with_suffix(""): path for path in beside if path.suffix == ".py"
    }
    modules = {".".join(m.parts).removesuffix(".__init__"): path for m, path in modules.items()}
    mentioned, loaded = names(source) | {"hw3"}, {}
    while new := mentioned & modules.keys() - loaded.keys():
        loaded |= {name: modules[name].read_text("utf-8") for name in new}
        mentioned = mentioned.union(*(names(loaded[name]) for name in new))
    known = [statement for name in sorted(loaded) for statement in statements(loaded[name])]
    mentioned, reached, before = names(source), [], -1
    while len(reached) > before:
        before = len(reached)
        reached = [text for defined, text in known if not defined or defined & mentioned]
        mentioned = mentioned.union(*map(names, reached))
    quoted = set(re.findall(r'["/]([\w.-]+)"', "\n".join(reached)))
    used = [path for path in beside if path.name in quoted]
    for folder in sorted((ROOT / "results").iterdir()):
        if folder.name in quoted:
            used += sorted(path for path in folder.rglob("*") if path.is_file())
    return ["\n".join(reached).encode(), *(path.read_bytes() for path in used)]


def chapter_key(chapter: Path, parameters: dict, fingerprint: str) -> str:
    """Return the key of an executed chapter.

    It changes with the chapter (but not with what JupyterLab saves beside sources and tags), what
    it uses of the code and of the recorded numbers, the lock, the versions and settings that decide
    numbers, the faces (by their fingerprint), the profile, and changes of own recipes.
    """
    cells, lock = read_cells(chapter), (ROOT / "requirements.txt").read_bytes()
    reached = decides("\n".join(source for kind, source, _ in cells if kind == "code"))
    changes = os.environ.get(recipes.CHANGES, "") if b"CHANGES" in reached[0] else ""
    about = json.dumps([cells, parameters["PROFILE"], changes, fingerprint, machine.versions()])
    return digest(lock, *reached, about.encode())


def executed_key(path: Path) -> str | None:
    """Return the key in an executed chapter, or None where there is none or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["metadata"]["hw3"]["key"]
    except (OSError, ValueError, KeyError):
        return None

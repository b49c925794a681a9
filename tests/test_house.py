"""The house: which room may import which, that no import runs in a circle, and how many lines each
room may have, so that it cannot grow back unseen.
"""

import ast
import tomllib
from graphlib import CycleError, TopologicalSorter

import pytest

from hw3.disk import ROOT

ROOMS = ("hw3", "beyond", "press")
FORBIDDEN = {"hw3": ("beyond", "press"), "beyond": ("press",), "press": ()}
# Most lines of Python at 100 columns.
CEILINGS = {
    ("hw3/*.py",): 2640,
    ("hw3/sources/**/*.py",): 800,
    ("beyond/**/*.py",): 1730,
    ("press/**/*.py",): 1205,
    ("press/translate.py",): 149,
    ("hw3/**/*.py", "beyond/**/*.py", "press/**/*.py"): 6375,
}


def modules(root):
    """Return {name: path} of all modules in the rooms below a folder."""
    paths = [path for room in ROOMS for path in (root / room).rglob("*.py")]
    names = [path.relative_to(root).with_suffix("").as_posix().replace("/", ".") for path in paths]
    return dict(zip((name.removesuffix(".__init__") for name in names), paths, strict=True))


def imports(root):
    """Return {module: the modules of the rooms that it imports}, inside functions too."""
    known = modules(root)
    graph = {}
    for module, path in known.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) + 1 - node.level]
                source = ".".join(filter(None, [*(above if node.level else ()), node.module]))
                for name in (f"{source}.{alias.name}" for alias in node.names):
                    names.add(name if name in known else source)
        graph[module] = names & known.keys()
    return graph


def forbidden(graph):
    """Return the imports from a room that must not know the other one."""
    found = []
    for module, others in graph.items():
        rooms = FORBIDDEN[module.partition(".")[0]]
        found += [f"{module}: {name}" for name in others if name.partition(".")[0] in rooms]
    return sorted(found)


def circle(graph):
    """Return a circle of imports, its first module again at its end, or [] where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_hw3_imports_neither_beyond_nor_press_and_beyond_no_press():
    graph = imports(ROOT)
    assert len(graph) > 20
    assert "hw3.disk" in graph["press.build"]
    assert forbidden(graph) == []


def test_no_import_runs_in_a_circle():
    assert circle(imports(ROOT)) == []


@pytest.mark.parametrize(
    ("line", "wrong", "ring"),
    [
        ("from hw3.disk import ROOT", [], set()),
        ("import press.page", ["hw3.faces: press.page"], set()),
        (
            "def f():\n    from beyond import audit",
            ["hw3.faces: beyond.audit"],
            {"hw3.faces", "beyond.audit", "hw3.runs"},
        ),
        ("from press import NAME", ["hw3.faces: press"], set()),
        ("from hw3 import runs", [], {"hw3.faces", "hw3.runs"}),
        ("def f():\n    import hw3.runs as r", [], {"hw3.faces", "hw3.runs"}),
        ("from . import runs", [], {"hw3.faces", "hw3.runs"}),
        ("from .sources.cache import get", [], {"hw3.faces", "hw3.sources.cache"}),
    ],
)
def test_a_forbidden_import_and_a_circle_are_found(tmp_path, line, wrong, ring):
    files = {"hw3/__init__.py": "", "hw3/disk.py": "ROOT = 1", "press/__init__.py": "NAME = 1"}
    files |= {"hw3/faces.py": line, "hw3/runs.py": "from hw3.faces import find"}
    files |= {"hw3/sources/cache.py": "from ..faces import find", "press/page.py": ""}
    files |= {"beyond/audit.py": "from hw3 import runs"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    graph = imports(tmp_path)
    assert forbidden(graph) == wrong
    assert set(circle(graph)) == ring


def test_lines_are_counted_at_100_columns():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["ruff"]["line-length"] == 100


@pytest.mark.parametrize(("rooms", "most"), CEILINGS.items(), ids=map(" ".join, CEILINGS))
def test_rooms_stay_small(rooms, most):
    files = [path for room in rooms for path in ROOT.glob(room)]
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in files
    }
    assert 100 < sum(lines.values()) <= most, sorted(lines.items(), key=lambda item: -item[1])

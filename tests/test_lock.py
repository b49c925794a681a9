"""The lock: every direct dependency, pinned with hashes, for each promised Python and system; no
registry's address.
"""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from hw3.disk import ROOT

SYSTEMS = {
    "Linux": {
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_system": "Linux",
        "os_name": "posix",
    },
    "macOS": {
        "sys_platform": "darwin",
        "platform_machine": "arm64",
        "platform_system": "Darwin",
        "os_name": "posix",
    },
}
PYTHONS = ("3.11", "3.12", "3.13")  # what the README and the Makefile promise


def entries(name):
    """Return the [(Requirement, number of hashes)] of a lock file."""
    blocks = re.split(
        r"\n(?=[a-z0-9])", re.sub(r"^\s*#.*\n", "", (ROOT / name).read_text(), flags=re.M)
    )
    return [
        (Requirement(block.split("\\")[0].strip()), block.count("--hash=sha256:"))
        for block in blocks
        if "==" in block
    ]


def pinned(name, python, system):
    """Return {package: version} of what pip installs from a lock under a Python and a system."""
    where = {
        "python_version": python,
        "python_full_version": f"{python}.5",
        "implementation_name": "cpython",
    } | SYSTEMS[system]
    where |= {"platform_python_implementation": "CPython", "extra": ""}
    valid = [r for r, _ in entries(name) if r.marker is None or r.marker.evaluate(where)]
    assert len({r.name for r in valid}) == len(valid), "two pins of one package"
    return {r.name: str(next(iter(r.specifier)).version) for r in valid}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", ["requirements", "requirements-test"])
def test_every_direct_dependency_is_pinned_everywhere(name, python, system):
    found = pinned(f"{name}.txt", python, system)
    lines = [line.split("#")[0].strip() for line in (ROOT / f"{name}.in").read_text().splitlines()]
    wanted = [Requirement(line) for line in lines if line and not line.startswith("-")]
    assert wanted
    for requirement in wanted:
        assert requirement.name in found, (
            f"{requirement.name} is not locked for Python {python} on {system}"
        )
        assert Version(found[requirement.name]) in requirement.specifier


def test_both_locks_agree_where_they_overlap():
    for python in PYTHONS:
        book, test = (
            pinned(f"{name}.txt", python, "Linux") for name in ("requirements", "requirements-test")
        )
        assert {p: v for p, v in test.items() if p in book} == {
            p: book[p] for p in test if p in book
        }


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-test.txt"])
def test_every_pin_has_hashes_and_the_lock_names_no_registry(name):
    assert all(
        hashes >= 1 and str(r.specifier).startswith("==") and r.url is None
        for r, hashes in entries(name)
    )
    assert not re.search(r"https?://|index-url|find-links", (ROOT / name).read_text())


def test_readme_makefile_and_workflow_promise_the_same_versions():
    oldest, newest = PYTHONS[0], PYTHONS[-1]
    assert f"Python {oldest} to {newest}" in (ROOT / "README.md").read_text()
    assert re.search(r"\(3, 11\) <= sys.version_info < \(3, 14\)", (ROOT / "Makefile").read_text())
    workflow = Path(ROOT / ".github" / "workflows" / "ci.yml").read_text()
    for word in (oldest, newest, "macos", "ubuntu"):
        assert word in workflow

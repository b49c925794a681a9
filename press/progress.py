"""What a build shows of the chapters that run: cells, and how far a training in one has come."""

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from types import SimpleNamespace

from rich.console import Console
from rich.live import Live
from rich.text import Text

from hw3.disk import build_dir, write_atomically

EVERY = 60.0  # seconds between two lines of a chapter where no terminal can show it move


def tell(name: str, cells: int) -> dict:
    """Return options of papermill: they keep in a file what a chapter of so many cells does."""
    path, start, doing = build_dir() / "doing" / name, time.time(), []

    def write(text: str = "", cell=None, cell_index: int = 0) -> None:
        if cell:
            doing[:] = [f"cell {cell_index + 1} of {cells}"]
        # as train.train prints it
        doing[1:] = re.findall(r"^epoch \d[^;\n]*", text, re.MULTILINE)[-1:] or doing[1:]
        said = f"{start} {', '.join(doing)}"
        write_atomically(path, lambda file: file.write(said.encode()))

    stdout = SimpleNamespace(write=write, flush=lambda: None)
    return {"on_cell_start": write, "stdout_file": stdout}


def follow(running: dict[str, tuple[str, Future]]) -> Iterator[tuple[str, float]]:
    """Give, in order, how the line of each chapter that runs starts, and the seconds it took.

    Meanwhile each has a moving line, or without a terminal one every EVERY seconds.
    """

    def lines() -> str:
        found = []
        for name, (place, future) in running.items():
            path = build_dir() / "doing" / name
            if path.exists() and not future.done():
                start, _, doing = path.read_text().partition(" ")
                found.append(f"  {place} {time.time() - float(start):5.0f} s: {doing}\n")
        return "".join(found)

    terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    look = {"console": Console(force_terminal=True, color_system=None), "transient": True}
    live = Live(get_renderable=lambda: Text(lines(), end=""), refresh_per_second=2, **look)
    with live if terminal else contextlib.nullcontext():
        for place, future in running.values():
            while wait([future], None if terminal else EVERY).not_done:
                print(lines(), end="", flush=True)
            yield place, future.result()

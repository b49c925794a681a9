"""The command line of the press: python -m press COMMAND."""

import os
import socket
import sys

from hw3.commands import CHANGES, DATA, FRESH, PROFILE, Commands
from hw3.disk import ROOT, build_dir


def main(arguments: list[str] | None = None) -> None:
    """Run a command."""
    made = Commands("press", "Seven emotions: the pages of the report.")
    text = "bring the catalog up to date: what is missing is to be translated, what is stale goes"
    made.add(translations).add_argument("--update", action="store_true", help=text)
    add = made.add(book, DATA, PROFILE, FRESH, CHANGES).add_argument
    add("--chapter", metavar="NAME", help="run only this one; the others stay as they are")
    made.add(pdf, DATA, PROFILE, FRESH, CHANGES)
    add = made.add(live, DATA, PROFILE, CHANGES).add_argument
    add("--port", type=int, default=5500, help="where the browser finds it (default: 5500)")
    made.add(lab)
    made.run(arguments)


def book(options) -> None:
    """Run the chapters and build the HTML (what `make book` calls)."""
    from press.build import build

    build(options.profile, options.data, options.fresh, options.chapter, options.set)


def translations(options) -> None:
    """List what the Chinese edition of the built book lacks, and what its catalog has in vain."""
    from press import translate

    catalog = translate.read_catalog()
    missing, stale = translate.check(catalog)
    for kind, entries in (("missing", missing), ("stale", stale)):
        for english, where in entries.items():
            print(f"{kind}: {english}\n    {where}")
    counts = f"{len(missing)} texts have no translation, {len(stale)} translations are stale"
    if not missing and not stale:
        print(f"{len(catalog)} translations, none missing, none stale")
    elif options.update:
        translate.update(missing, stale)
        todo = "translate the empty entries, correct the fuzzy ones and take that word away"
        print(f"book/locale/zh_TW.po is up to date ({counts}): {todo}")
    else:
        raise ValueError(f"book/locale/zh_TW.po: {counts}")


def pdf(options) -> None:
    """Build the book, then print it into one PDF through Chromium (what `make pdf` calls)."""
    from press.pdf import build

    build(options.profile, options.data, options.fresh, options.set)


def live(options) -> None:
    """Build the book, show it, and after each save below book/ build what changed and reload."""
    from livereload import Server

    from press import build

    def again() -> None:
        try:
            build.build(options.profile, options.data, changes=options.set)
        except (ValueError, RuntimeError, OSError) as error:  # it is corrected, and saved again
            print(error, file=sys.stderr)

    try:
        socket.create_server(("127.0.0.1", options.port)).close()
    except (OSError, OverflowError) as error:  # in use, or no port
        raise ValueError(f"--port {options.port}: {error}; name another") from None
    again()
    server = Server()
    for files in ("*.ipynb", "*.bib", "locale/*.po"):
        server.watch(str(ROOT / "book" / files), again)
    server.serve(port=options.port, root=str(build_dir() / "html"), open_url_delay=1)


def lab(options) -> None:
    """Open the chapters in JupyterLab: its kernels compute as those of a build do."""
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", f"--notebook-dir={ROOT}/book"])


if __name__ == "__main__":
    main()

"""What the three command lines share (python -m hw3, beyond and press): options, and an error as
one line and exit status 1.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec

from hw3 import recipes
from hw3.disk import build_dir


def path(text: str) -> str:
    """Return a path as typed, with the home folder for ~, as not every shell puts it in; argparse
    refuses an empty one.
    """
    if not text:
        raise argparse.ArgumentTypeError(
            "the path is empty: name a file or folder, or leave the option out"
        )
    return os.path.expanduser(text)


def option(*names, **settings) -> argparse.ArgumentParser:
    """Return an option or argument that several commands share, as a parent of their parsers."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(*names, **settings)
    return parent


DATA_HELP = (
    "faces: a file or folder of FER2013 (default: HW3_DATA, then data/, then the drawn faces)"
)
DATA = option("--data", metavar="PATH", type=path, help=DATA_HELP)
PROFILE = option(
    "--profile",
    choices=recipes.PROFILES,
    default="quick",
    help="how much to train (default: quick)",
)
FRESH = option("--fresh", action="store_true", help="train again even if nothing changed")


class Commands:
    """The commands of one package: each is a function of the parsed options, and the first line of
    its docstring is its help.
    """

    def __init__(self, package: str, description: str):
        self.top = argparse.ArgumentParser(prog=f"python -m {package}", description=description)
        self.commands = self.top.add_subparsers(required=True, metavar="COMMAND")

    def add(self, function: Callable, *shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """Add a command with the shared options; return its parser, for options of its own."""
        text = function.__doc__.partition("\n")[0].rstrip(".")
        sub = self.commands.add_parser(
            function.__name__, help=text, description=text, parents=shared
        )
        sub.set_defaults(run=function)
        return sub

    def run(self, arguments=None) -> None:
        """Run a command; turn every expected error into one line on stderr and exit status 1."""
        for name in ("stdin", "stdout", "stderr"):
            if (
                getattr(sys, name) is None
            ):  # closed, as in >&-: the next file to be opened would get what is printed
                setattr(
                    sys,
                    name,
                    os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"),
                )
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # names of files may be of any letters
        options = self.top.parse_args(arguments)
        try:
            check_backend()
            options.run(options)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads has enough, as in `results | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(
                options.run.__name__ not in ("results", "data")
            )  # of the others something may not have been made
        except KeyboardInterrupt:
            sys.exit("hw3: interrupted; start it again to go on")
        except (
            ValueError,
            RuntimeError,
            OSError,
            ImportError,
        ) as error:  # FacesError, BuildError among them
            if (
                isinstance(error, OSError) and error.errno
            ):  # what the system refused; libraries wrap it in many words
                where = error.filename or f"while writing to {build_dir()}"
                error = f"{os.strerror(error.errno)}: {where}; {todo(error.errno)}"
            sys.exit(f"hw3: {error}" if not str(error).count("\n") else str(error))


def check_backend() -> None:
    """Raise ValueError, in one line, unless KERAS_BACKEND names a backend that is installed;
    imports none.
    """
    backend = os.environ["KERAS_BACKEND"]
    if backend not in ("tensorflow", "jax", "torch"):
        raise ValueError(f"KERAS_BACKEND is {backend!r}: name tensorflow or jax, or leave it out")
    if not find_spec(backend):
        raise ValueError(
            f"KERAS_BACKEND is {backend!r}, which is not installed: install it, or leave KERAS_BACKEND out"
        )


def todo(code: int) -> str:
    """Return what to do about an error of the system."""
    elsewhere = "or name another folder in the environment variable HW3_BUILD"
    known = {
        errno.ENOSPC: f"free some space, {elsewhere}",
        errno.EROFS: f"make it writable, {elsewhere}",
    }
    return known.get(code, "check the path and its permissions")

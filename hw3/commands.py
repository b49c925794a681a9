"""What python -m hw3, beyond and press share: options, and an error as one line and status 1."""

import errno
import os
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from importlib.util import find_spec

from hw3 import recipes, runs
from hw3.disk import build_dir


def option(*names, **settings) -> ArgumentParser:
    """Return an option or argument that several commands share, as a parent of their parsers."""
    parent = ArgumentParser(add_help=False)
    parent.add_argument(*names, **settings)
    return parent


def path(text: str) -> str:
    """Return a path, the home folder put in for ~ (not every shell does); refuse an empty one."""
    if not text:
        raise ArgumentTypeError("the path is empty: name a file or folder, or leave the option out")
    return os.path.expanduser(text)


FACES = "faces: a file or folder of FER2013 (default: HW3_DATA, then data/, then the drawn faces)"
DATA = option("--data", metavar="PATH", type=path, help=FACES)
MUCH = {"choices": recipes.PROFILES, "help": "how much to train (default: %(default)s)"}
PROFILE = option("--profile", default="quick", **MUCH)
FRESH = option("--fresh", action="store_true", help="train again even if nothing changed")
SET = "change a field of the recipe, as in --set epochs=5; may be repeated"
CHANGES = option("--set", action="append", default=[], metavar="FIELD=VALUE", help=SET)
OTHER = "or name another folder in the environment variable HW3_BUILD"
NO_ROOM = {errno.ENOSPC: f"free some space, {OTHER}", errno.EROFS: f"make it writable, {OTHER}"}


class Commands:
    """The commands of a package: each a function of the options, whose docstring is its help."""

    def __init__(self, package: str, description: str):
        self.top = ArgumentParser(prog=f"python -m {package}", description=description)
        self.commands = self.top.add_subparsers(required=True, metavar="COMMAND")

    def add(self, function, *shared: ArgumentParser) -> ArgumentParser:
        """Add a command with the shared options; return its parser, for options of its own."""
        name, text = function.__name__, (function.__doc__ or "").partition("\n")[0].rstrip(".")
        parser = self.commands.add_parser(name, help=text, description=text, parents=shared)
        parser.set_defaults(run=function)
        return parser

    def run(self, arguments: list[str] | None = None) -> None:
        """Run a command; turn every expected error into one line on stderr and exit status 1."""
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:  # closed, as by >&-: the next file would take its place
                setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # names of files may be of any letters
        options = self.top.parse_args(arguments)
        began = time.time() - 1  # a disk's clock may be behind
        try:
            check_backend()
            options.run(options)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads has enough, as in `results | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(options.run.__name__ not in ("results", "data"))  # others may be half done
        except KeyboardInterrupt:
            kept = ", ".join(["finished chapters and trainings", *runs.unfinished(began)])
            fresh = " without --fresh (FRESH=yes)" if getattr(options, "fresh", False) else ""
            sys.exit(f"hw3: interrupted; kept: {kept}; start it again{fresh} to go on")
        except (ValueError, RuntimeError, OSError, ImportError) as error:
            text = str(error)
            if isinstance(error, OSError) and error.errno:  # libraries wrap it in many words
                where = error.filename or f"while printing, or writing to {build_dir()}"
                todo = NO_ROOM.get(error.errno, "check the path and its permissions")
                text = f"{os.strerror(error.errno)}: {where}; {todo}"
            sys.exit(text if "\n" in text else f"hw3: {text}")


def check_backend() -> None:
    """Raise ValueError unless KERAS_BACKEND names a backend that is installed; imports none."""
    backend = os.environ["KERAS_BACKEND"]
    if backend not in ("tensorflow", "jax"):
        raise ValueError(f"KERAS_BACKEND is {backend!r}: name tensorflow or jax, or leave it out")
    if not find_spec(backend):
        todo = "install it, or leave KERAS_BACKEND out"
        raise ValueError(f"KERAS_BACKEND is {backend!r}, which is not installed: {todo}")

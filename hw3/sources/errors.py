"""How bad data are refused: by a FacesError, in one line."""

import contextlib
import zipfile
import zlib
from pathlib import Path


class FacesError(ValueError):
    """Bad data, in one line: where, what was found, what was expected, what to do."""


def bad(where: str, found: str, expected: str, to_do="correct or remove the row") -> FacesError:
    return FacesError(f"{where}: found {found}, expected {expected}; {to_do}")


def quoted(text: str) -> str:
    """Return what was found, short, quoted and in ASCII."""
    return ascii(text if len(text) <= 40 else f"{text[:37]}...")


def name(path, last: int = 1) -> str:
    """Return the last names of a path, printable on one line."""
    text = "/".join(Path(str(path)).parts[-last:]) or "."
    return text if text.isprintable() else ascii(text)


@contextlib.contextmanager
def one_line(path):
    """Turn what the system, gzip or zipfile refuse into a FacesError."""
    try:
        yield
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        where = name(getattr(error, "filename", None) or path)
        reason = quoted(getattr(error, "strerror", None) or str(error))
        raise bad(where, f"it unreadable ({reason})", "a whole file to read", "check it") from None

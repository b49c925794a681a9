"""The disk: where built things lie, the atomic write of a file, the digest of keys, the lock."""

import contextlib
import fcntl
import hashlib
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build_dir() -> Path:
    """Return the folder of everything made: HW3_BUILD, else `_build` beside hw3."""
    return Path(os.environ.get("HW3_BUILD") or ROOT / "_build")


def write_atomically(path: Path, write: Callable) -> None:
    """Make the file `path`, and its folder, by `write(file)`, where file is open for bytes.

    A reader sees the old file or the whole new one, also after a kill or two writers at once.
    Raises what `write` raises, and OSError of the disk; nothing is left behind then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # else a crash could leave a whole name on half a file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def digest(*contents: bytes) -> str:
    """Return 16 hex digits that change with any of the contents."""
    whole = hashlib.blake2b(digest_size=8)
    for content in contents:
        whole.update(len(content).to_bytes(8, "big") + content)
    return whole.hexdigest()


@contextlib.contextmanager
def stderr_to(file) -> Iterator[None]:
    """Send into an open file what this process, and those that it starts, write to stderr."""
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on path; a second process says so and waits for the first's end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"hw3: another process works on {path.stem}; waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""The cache of faces: files of key (32 bytes), images, labels, part, and the SHA-256 of all."""

import contextlib
import hashlib
import os
import sys

import numpy as np

from hw3.disk import ROOT, build_dir, write_atomically
from hw3.sources.fer2013 import PIXELS, SIDE

CODE = ROOT / "hw3/faces.py", *sorted(ROOT.glob("hw3/sources/*.py"))  # decides what is read


def kept(name, what, make):
    """Return images, labels and part: kept ones, if made from `what` by CODE as it is, or new."""
    path, key = build_dir() / "cache" / name, sha(what, *(file.read_bytes() for file in CODE))
    with contextlib.suppress(OSError):
        data = np.fromfile(path, np.uint8)
        if sha(data[:-32]) != data[-32:].tobytes():
            print(f"hw3: the cache {name} is damaged; it is made again", file=sys.stderr)
        elif data[:32].tobytes() == key:
            n = (len(data) - 64) // (PIXELS + 2)
            images, labels, part = np.split(data[32:-32], [n * PIXELS, n * (PIXELS + 1)])
            return images.reshape(n, SIDE, SIDE), labels, part
    arrays = make()
    pieces = (key, *map(np.ascontiguousarray, arrays))
    try:
        write_atomically(path, lambda file: file.writelines((*pieces, sha(*pieces))))
    except OSError as error:
        print(f"hw3: the faces are not cached: {error.strerror or error}", file=sys.stderr)
    return arrays


def sha(*pieces) -> bytes:
    """Return the SHA-256 of texts, bytes and arrays, one after another."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(os.fsencode(piece) if isinstance(piece, str) else piece)
    return digest.digest()

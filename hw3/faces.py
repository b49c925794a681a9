"""Faces: FER2013 in any layout that its users have, else the drawn faces; and FER2013's words.

course   train.csv label,feature           test.csv id,feature (unlabeled, its part is Test)
kaggle   fer2013.csv emotion,pixels,Usage  icml_face_data.csv emotion, Usage, pixels
contest  train.csv emotion,pixels          test.csv pixels
folder   train/<emotion>/*.png|jpg         test/ (PublicTest_*, PrivateTest_*), validation/ (Public)
"""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw3.disk import ROOT
from hw3.sources import cache, errors, layouts
from hw3.sources import drawn as painter
from hw3.sources.csvs import parse_test  # noqa: F401
from hw3.sources.errors import FacesError  # noqa: F401 (offered here too)
from hw3.sources.fer2013 import *  # noqa: F403 (all words of FER2013 are offered here too)
from hw3.sources.fer2013 import EMOTIONS, PARTS, PRIVATE, PUBLIC, UNLABELED
from hw3.sources.images import identical, picture  # noqa: F401


@dataclass(frozen=True, eq=False)
class Faces:
    """Images with their labels and parts; read-only, so that the fingerprint stays true."""

    images: np.ndarray  # uint8 (N, 48, 48), 0 is black, 255 is white
    labels: np.ndarray  # uint8 (N,), index into EMOTIONS, or UNLABELED
    part: np.ndarray  # uint8 (N,), index into PARTS
    name: str  # "FER2013" or "drawn faces"
    source: str  # for people: names of files and folders, never a machine's paths

    def __post_init__(self):
        for array in (self.images, self.labels, self.part):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.images)

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the SHA-256 of images, labels and part, in the order of the faces."""
        arrays = map(np.ascontiguousarray, (self.images, self.labels, self.part))
        return cache.sha(*arrays).hex()[:16]

    def only(self, part_name: str) -> "Faces":
        """Return the Faces of one of PARTS, perhaps none. Raises ValueError for another name."""
        rows = self.part == PARTS.index(part_name)
        return Faces(self.images[rows], self.labels[rows], self.part[rows], self.name, self.source)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return {part: {emotion: number of faces}} of the parts there; last, if any, unlabeled."""
        table = {}
        for code in np.unique(self.part):
            n = np.bincount(self.labels[self.part == code], minlength=UNLABELED + 1).tolist()
            table[PARTS[code]] = dict(zip(EMOTIONS, n, strict=False))
            if n[UNLABELED]:
                table[PARTS[code]]["unlabeled"] = n[UNLABELED]
        return table


def find(data: str | Path | None = None) -> Faces:
    """Return the Faces of `data` or HW3_DATA, else of data/ beside hw3 if not empty, else drawn.

    Raises FacesError; a path that is named is never passed over.
    """
    path, usual = data or os.environ.get("HW3_DATA"), ROOT / "data"
    with errors.one_line(usual):
        if not path and os.path.lexists(usual) and (not usual.is_dir() or layouts.children(usual)):
            path = usual
    return load(path) if path else drawn()


def load(path: str | Path) -> Faces:
    """Return the Faces in a CSV of any layout, or a folder or zip with them. Raises FacesError.

    Of several the first of these is read, and `source` says so: fer2013.csv, icml_face_data.csv,
    train.csv (with test.csv), image folder, test.csv. Faces keep the order of the CSV; in a folder
    it is part, file name, emotion. They are cached until a file or the code that reads it changes.
    """
    path = Path(path)
    with errors.one_line(path):
        source, files, read = layouts.discover(path)
        stamp, place = layouts.stamp(files), os.path.realpath(path)

        def make():
            arrays = read(files)
            if layouts.stamp(layouts.discover(path)[1]) != stamp:
                change = "that it changed while it was read"
                raise errors.bad(errors.name(path), change, "it at rest", "load it again")
            return arrays

        file = f"faces-{cache.sha(place).hex()[:16]}"
        return Faces(*cache.kept(file, f"{place}\n{stamp}", make), "FER2013", source)


def drawn(n: int = 10_000, seed: int = 0) -> Faces:
    """Return n drawn faces of a seed: 80% Training, 10% PublicTest, then 10% PrivateTest."""

    def make():
        images, labels, _ = painter.draw(n, seed)
        part = np.zeros(n, np.uint8)
        part[n * 8 // 10 :], part[n * 9 // 10 :] = PUBLIC, PRIVATE
        return images, labels, part

    arrays = cache.kept(f"drawn-{n}-{seed}", f"{n} {seed} NumPy {np.__version__}", make)
    return Faces(*arrays, "drawn faces", f"drawn by hw3, seed {seed}")

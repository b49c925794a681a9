"""The strict reader of CSVs, also gzipped or zipped; columns go by name, in any order.
All else is refused, but for what cannot be seen: a course CSV cut off inside its very last number.
"""

import csv
import gzip
import io
import itertools
import re
import zipfile
from pathlib import Path

import numpy as np

from hw3.sources.errors import bad, name, one_line, quoted
from hw3.sources.fer2013 import FER2013, N_CLASSES, PARTS, PIXELS, SIDE, TEST, TRAINING, UNLABELED

COLUMNS = {"kaggle": ("emotion", "usage", "pixels"), "train": ("label", "feature")}
COLUMNS |= {"test": ("id", "feature"), "contest": ("emotion", "pixels"), "pixels": ("pixels",)}
TESTS, ALONE = ("test", "pixels"), ("contest", "pixels")  # ALONE: may have no more columns
HIDDEN = re.compile(r"(?i)(^|/)(\..*|thumbs\.db|desktop\.ini|__macosx)(/|$)")  # and desktops' own
LABELS = {str(code): code for code in range(N_CLASSES)}
CODES = {"emotion": LABELS, "label": LABELS, "usage": {part: i for i, part in enumerate(PARTS)}}
MAX_FACES = 100_000  # bounds the memory, also for a small zip of a huge file
MAX_LINE = 20_000  # bytes; a row of FER2013 has at most 9,240
BATCH = 16  # rows parsed at once: 130 kB of text, so that each step stays in the processor's cache


def parse_test(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Return ids (or none) and images, uint8 (N, 48, 48), of a test CSV; or FacesError."""
    with one_line(path):
        images, _, _, ids = read_one(Path(path), TESTS)
        return ids, images


def read(files):
    """Return images, labels and part of CSVs, (path, layouts it may have), one after another."""
    tables = zip(*(read_one(*file)[:3] for file in files), strict=True)
    return [arrays[0] if len(arrays) == 1 else np.concatenate(arrays) for arrays in tables]


def read_one(path, layouts):
    """Return images, labels, part, and ids (list of str, empty if the layout has none) of a CSV."""
    table = rows(path)
    where, header = next(table, (None, None))
    if where is None:
        raise bad(name(path), "an empty file", "a CSV", "copy it anew")
    names = [column.strip(" ").lower() for column in header]
    fitting = [k for k in layouts if all(names.count(column) == 1 for column in COLUMNS[k])]
    fitting = [k for k in fitting if k not in ALONE or len(COLUMNS[k]) == len(names)]
    if not fitting:
        expected = " or ".join(",".join(COLUMNS[layout]) for layout in layouts)
        raise bad(where, f"the header {quoted(','.join(header))}", expected, "name the columns so")
    *keys, pixels = COLUMNS[fitting[0]]
    values, first, blocks = {key: [] for key in keys}, {}, []
    while batch := list(itertools.islice(table, BATCH)):
        for where, fields in batch:
            if len(fields) != len(names):
                raise bad(where, f"{len(fields)} columns", f"{len(names)} as in the header")
            for key in keys:
                values[key].append(_value(where, key, fields[names.index(key)].strip(" "), first))
        texts = [fields[names.index(pixels)].strip(" ") for _, fields in batch]
        block = _parse(texts)
        if block is None:
            places = [f"{where}, column {pixels}" for where, _ in batch]
            block = np.array(list(map(_parse_slowly, places, texts)))
        blocks.append(block)
        if len(blocks) * BATCH > MAX_FACES:
            raise bad(where, f"over {MAX_FACES} rows", f"FER2013 ({FER2013:,})", "check the file")
    if not blocks:
        raise bad(name(path), "only a header", "a row for each face", "copy it anew")
    images = np.concatenate(blocks).reshape(-1, SIDE, SIDE)
    labels = values.get("emotion") or values.get("label") or [UNLABELED] * len(images)
    part = values.get("usage") or [TEST if fitting[0] in TESTS else TRAINING] * len(images)
    return images, np.array(labels, np.uint8), np.array(part, np.uint8), values.get("id", [])


def rows(path):
    """Yield ("file, line n", fields) of a CSV in UTF-8; blank lines may only end it."""
    file_name, blank = name(path), None
    with _open(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            where = f"{file_name}, line {number}"
            if len(line) == MAX_LINE:
                raise bad(where, f"{MAX_LINE} bytes without an end", "a row of pixels", "check it")
            if b"\0" in line:
                found = "a NUL byte" if number > 1 else "UTF-16 text, or no text"
                raise bad(where, found, "UTF-8 text", "save it as CSV in UTF-8, or copy it anew")
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                fields = next(csv.reader([line], strict=True)) if '"' in line else line.split(",")
            except UnicodeDecodeError as error:
                byte = f"byte {error.object[error.start]:#04x}"
                raise bad(where, byte, "UTF-8 text", "save it as UTF-8, or copy it anew") from None
            except csv.Error:
                raise bad(where, "a quote out of place", "quotes around whole fields") from None
            if not line.strip():
                blank = blank or where
            elif blank:
                raise bad(blank, "a blank line", "a row", "remove the line")
            else:
                yield where, fields


def _open(path):
    """Return a file for reading bytes, unpacked if it is gzipped, or the one CSV of a zip."""
    if top := unzipped(path):
        tables = [n for n in top.root.namelist() if n.endswith(".csv") and not HIDDEN.search(n)]
        if len(tables) != 1:
            raise bad(name(path), f"{len(tables)} CSV files", "one", "unpack it")
        path = top / tables[0]
    file = path.open("rb")
    gzipped = file.peek(2)[:2] == b"\x1f\x8b"
    return io.BufferedReader(gzip.open(file) if gzipped else file, 1 << 20)


def unzipped(path):
    """Return the top folder of a zip, a zipfile.Path, or None if it is another file."""
    with path.open("rb") as file:
        if file.read(2) != b"PK" or isinstance(path, zipfile.Path):
            return None
    top = zipfile.Path(path)
    plain = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others may grow without bounds
    if any(m.compress_type not in plain or m.flag_bits & 1 for m in top.root.infolist()):
        raise bad(name(path), "a password or a rare method", "a zip of deflated files", "unpack it")
    return top


def _value(where, key, cell, first):
    """Return the code of a cell, or the id that it is; first: the place of each id so far."""
    codes = CODES.get(key, ())
    if cell in codes:
        return codes[cell]
    place = f"{where}, column {key}"
    if codes or not cell:
        raise bad(place, quoted(cell), ", ".join(codes or ["an id"]))
    if cell in first:
        raise bad(place, f"{quoted(cell)} as in {first[cell]}", "each id once")
    first[cell] = where
    return cell


def _parse(texts):
    """Return rows of pixels, uint8 (n, 2304), if each is 2,304 numbers, one space apart, else None.

    All rows at once, byte by byte, with three spaces in front to look back: the number before a
    space is its last two digits plus 100 times a third before them. A digit is its character less
    48; as uint8 every other character comes out above 9, and is made 0.
    """
    text = np.frombuffer(f"   {' '.join(texts)} ".encode(), np.uint8)
    digits = text - np.uint8(ord("0"))
    is_digit = digits < 10
    digits *= is_digit
    spaces = np.flatnonzero(text[3:] == ord(" "))
    row_ends = np.cumsum([len(row) + 1 for row in texts]) - 1
    if len(spaces) != PIXELS * len(texts) or (spaces[PIXELS - 1 :: PIXELS] != row_ends).any():
        return None
    pairs = is_digit[1:] & is_digit[:-1]
    two_spaces = not (is_digit[3:] | is_digit[2:-1]).all()
    four_digits = (pairs[2:] & pairs[:-2]).any()
    if np.count_nonzero(is_digit) + len(spaces) + 3 != len(text) or two_spaces or four_digits:
        return None
    numbers = digits[:-3] * pairs[:-2] * np.uint16(100)
    numbers += digits[1:-2] * np.uint8(10) + digits[2:-1]
    numbers = numbers[spaces]
    return numbers.astype(np.uint8).reshape(-1, PIXELS) if numbers.max() <= 255 else None


def _parse_slowly(where, text):
    """Return a row of pixels, uint8 (2304,), also with doubled spaces; say what is wrong if not."""
    values = [value for value in text.split(" ") if value]
    for i, value in enumerate(values, 1):
        if not (value.isascii() and value.isdigit() and len(value) <= 3 and int(value) <= 255):
            raise bad(where, f"{quoted(value)} as pixel {i}", "0 to 255")
    if len(values) != PIXELS:
        raise bad(where, f"{len(values)} pixels", f"{PIXELS} ({SIDE} x {SIDE})")
    return np.array([int(value) for value in values], np.uint8)

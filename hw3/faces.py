"""Faces: FER2013 in any layout that its users have, else the drawn faces. One strict reader for each layout.

    course   train.csv label,feature          test.csv id,feature (no labels: its part is Test)
    kaggle   fer2013.csv emotion,pixels,Usage          icml_face_data.csv emotion, Usage, pixels
    folder   train/<emotion>/*.png|jpg        test/<emotion>/*.png|jpg (names may begin with PublicTest_, PrivateTest_)

What is not exactly such data is refused with a FacesError of one line. Columns go by the names in the header (any
case, order and blanks; others are ignored); a CSV may be gzipped, or alone in a zip. Links are followed, but only
regular files are read, and folders only at the depth above, so that a link cannot make a loop. One thing cannot be
seen: a course CSV cut off inside its very last number.
"""

import contextlib
import csv
import functools
import gzip
import hashlib
import io
import itertools
import lzma
import os
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

from hw3 import runs

EMOTIONS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
UNLABELED = 255
PARTS = ("Training", "PublicTest", "PrivateTest", "Test")  # Test: the layout does not tell Public from Private
TRAINING, TEST = 0, 3

SIDE, PIXELS = 48, 48 * 48
MAX_LINE = 20_000  # bytes; a row of FER2013 has at most 9,240
MAX_FACES = 100_000  # FER2013 has 35,887; the limit keeps memory bounded, also for a small zip of a huge file
MAX_IMAGE = 1_000_000  # bytes read of an image file
BATCH = 128  # rows parsed at once: about 1 MB, which stays in the processor's cache

# Needed columns of the CSV layouts, the pixels last; a header is tried against them in this order.
LAYOUTS = {"kaggle": ("emotion", "usage", "pixels"), "train": ("label", "feature"), "test": ("id", "feature")}
LABELS = {b"%d" % code: code for code in range(len(EMOTIONS))}
CODES = {"emotion": LABELS, "label": LABELS, "usage": {part.encode(): i for i, part in enumerate(PARTS[:TEST])}}
STRAY = {"thumbs.db", "desktop.ini", "__macosx"}  # and hidden files: left by desktops, no data


class FacesError(ValueError):
    """Bad data, in one line: file, row, column, what was found, what was expected, what to do."""


@dataclass(frozen=True, eq=False)
class Faces:
    """Images with their labels and parts; the arrays are read-only, so that the fingerprint stays true."""

    images: np.ndarray  # uint8 (N, 48, 48), 0 black to 255 white
    labels: np.ndarray  # uint8 (N,), index into EMOTIONS, or UNLABELED
    part: np.ndarray  # uint8 (N,), index into PARTS
    name: str  # "FER2013" or "drawn faces"
    source: str  # for people: file and folder names, never a machine's paths

    def __post_init__(self):
        for field in ("images", "labels", "part"):
            array = getattr(self, field).view()
            array.flags.writeable = False
            object.__setattr__(self, field, array)

    def __len__(self):
        return len(self.images)

    @functools.cached_property
    def fingerprint(self):
        """16 hex digits of the SHA-256 of images, labels and part; the order of the faces matters."""
        digest = hashlib.sha256()
        for array in (self.images, self.labels, self.part):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()[:16]

    def take(self, index):
        """Return the Faces at `index`, a boolean mask (N,) or an array of positions."""
        return Faces(self.images[index], self.labels[index], self.part[index], self.name, self.source)

    def only(self, part_name):
        """Return the Faces of one of PARTS, perhaps none; ValueError for another name."""
        return self.take(self.part == PARTS.index(part_name))

    def counts(self):
        """Return {part: {emotion: number of faces}} of the parts that are there, "unlabeled" last where there are any."""
        table = {}
        for code in np.unique(self.part):
            count = np.bincount(self.labels[self.part == code], minlength=UNLABELED + 1)
            row = {emotion: int(n) for emotion, n in zip(EMOTIONS, count, strict=False)}
            table[PARTS[code]] = row | ({"unlabeled": int(count[UNLABELED])} if count[UNLABELED] else {})
        return table


def find(data=None):
    """Return the Faces of `data`, else of HW3_DATA, else of data/ beside the book if it holds something, else drawn().

    A relative path counts from the working directory. Raises FacesError; a path that is named is never passed over.
    """
    path = data or os.environ.get("HW3_DATA")
    if path:
        return load(path)
    default = runs.ROOT / "data"
    if default.is_dir() and any(not entry.name.startswith(".") for entry in default.iterdir()):
        return load(default)
    return drawn()


def load(path):
    """Return the Faces in `path`: a CSV of any layout, or a directory that holds a layout.

    Of several layouts in a directory one is taken, in the order fer2013.csv, icml_face_data.csv, train.csv (with
    test.csv), image folder, test.csv; `source` says so. Images keep the order of the file; those of a folder are
    ordered by part, file name and emotion. The arrays are cached under the build directory. Raises FacesError.
    """
    path = Path(path)
    with _one_line(path):
        source, files, read = _discover(path)
        stamp = _stamp(files)

        def make():
            arrays = read(files)
            if _stamp(_discover(path)[1]) != stamp:
                raise FacesError(f"{_name(path)}: changed while it was read; load it again when it is complete")
            return arrays

        place = str(path.resolve())
        name = f"{read.__name__.removeprefix('_read_')}-{_sha(place).hex()[:16]}.faces"
        code = Path(__file__).read_bytes()
        return Faces(*_cached(name, _sha(f"{place}\n{stamp}\n{_sha(code).hex()}"), make), "FER2013", source)


def parse_test(path):
    """Return the ids (list of str, as in the file) and images, uint8 (N, 48, 48), of a test CSV id,feature.

    Raises FacesError, also for an id that comes twice.
    """
    path = Path(path)
    with _one_line(path):
        if not path.is_file():
            raise FacesError(f"{_name(path)}: found no such file, expected a CSV with the columns id,feature; check it")
        images, columns = _read_csv(path, ("test",))
        return columns["id"], images


def drawn(n=10_000, seed=0):
    """Return n drawn faces: 80% Training, then 10% PublicTest and 10% PrivateTest; always the same for one seed."""
    from hw3 import drawn as painter

    def make():
        images, labels, _ = painter.draw(n, seed)
        part = np.zeros(n, np.uint8)
        part[n * 8 // 10 :], part[n * 9 // 10 :] = 1, 2
        return images, labels, part

    key = f"{_sha(Path(painter.__file__).read_bytes()).hex()} {n} {seed} NumPy {np.__version__}"
    return Faces(*_cached(f"drawn-{n}-{seed}.faces", _sha(key), make), "drawn faces", f"drawn by hw3, seed {seed}")


# ---- which files


def _discover(path):
    """Return (source, files, reader) of a path; each of files is a tuple that begins with its path."""
    if path.is_file():
        return _name(path), [(path, tuple(LAYOUTS))], _read_csvs
    if not path.is_dir():
        raise FacesError(f"{_show(path)}: found nothing there, expected a file or a directory; check the path")
    there = _entries(path)

    def table(stem, layout):
        names = [f"{stem}.csv{end}" for end in ("", ".gz", ".zip") if f"{stem}.csv{end}" in there]
        return [(Path(there[name].path), (layout,)) for name in names[:1]]

    train, test = table("train", "train"), table("test", "test")
    tables = [table("fer2013", "kaggle"), table("icml_face_data", "kaggle"), train and train + test]
    folders = [there[name] for name in ("train", "test") if name in there and there[name].is_dir()]
    choices = [(" and ".join(_name(f) for f, _ in files), files) for files in tables if files]
    choices += [("the image folder " + " and ".join(_name(f) + "/" for f in folders), None)] if folders else []
    choices += [(_name(test[0][0]), test)] if test and not train else []
    if not choices:
        found = ", ".join(sorted(_show(name) for name in there)[:4]) or "nothing"
        expected = "fer2013.csv, icml_face_data.csv, train.csv, test.csv or folders train and test"
        raise FacesError(f"{_name(path)}: found {found}, expected {expected}; put the data there, or name another path")
    (source, files), *others = choices
    if others:
        source += f" (not read: {', '.join(name for name, _ in others)})"
    return (source, files, _read_csvs) if files else (source, _images(folders), _read_images)


def _entries(folder):
    """Return {lower-case name: entry} of a folder without hidden and stray files."""
    with os.scandir(folder) as scan:
        entries = [e for e in scan if not e.name.startswith(".") and e.name.lower() not in STRAY]
    there = {e.name.lower(): e for e in entries}
    if len(there) < len(entries):
        names = ", ".join(_name(e) for e in entries if e is not there[e.name.lower()])
        raise FacesError(f"{_name(folder)}: found {names} twice but for the case, expected it once; rename or remove one")
    return there


def _images(folders):
    """Return (path, part, label) of every image in the folders train and test, ordered by part, file name, label."""
    emotions = [emotion.lower() for emotion in EMOTIONS]
    files = []
    for top in folders:
        parts = PARTS[:1] if top.name.lower() == "train" else PARTS[1:]
        there = _entries(top)
        for name in sorted(set(there) ^ set(emotions)):
            found = "found it" if name in there else "not found"
            raise FacesError(f"{_name(top)}/{_show(name)}: {found}, expected the folders {' '.join(emotions)}; correct it")
        for label, emotion in enumerate(emotions):
            if not there[emotion].is_dir():
                raise FacesError(f"{_name(top)}/{emotion}: found a file, expected a folder of images; replace it")
            with os.scandir(there[emotion]) as scan:
                images = [e for e in scan if not e.name.startswith(".") and e.name.lower() not in STRAY]
            for image in images:
                where = f"{_name(top)}/{emotion}/{_name(image)}"
                if not image.is_file() or not image.name.lower().endswith((".png", ".jpg", ".jpeg")):
                    raise FacesError(f"{where}: found no image file, expected .png or .jpg files only; remove it")
                prefix = image.name.partition("_")[0]
                if prefix in PARTS and prefix not in parts:
                    raise FacesError(f"{where}: found {prefix} in {_name(top)}, expected {' or '.join(parts)}; move it")
                part = PARTS.index(prefix if prefix in PARTS else parts[-1])
                files.append((part, image.name, label, image.path))
    if not 0 < len(files) <= MAX_FACES:
        raise FacesError(f"{_name(folders[0])}: found {len(files)} images, expected 1 to {MAX_FACES}; check the folder")
    return [(path, part, label) for part, _, label, path in sorted(files)]


def _stamp(files):
    """Return a digest of what tells that a file has changed: size and times, of every file."""
    stats = ((path, os.stat(path)) for path, *_ in files)
    lines = (f"{path} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}\n" for path, s in stats)
    return _sha("".join(lines)).hex()


# ---- one reader for each kind of file; each returns images, labels, part


def _read_csvs(files):
    tables = [_read_csv(path, layouts) for path, layouts in files]
    images, labels, part = [], [], []
    for pixels, columns in tables:
        n = len(pixels)
        images.append(pixels)
        labels.append(columns.get("emotion") or columns.get("label") or [UNLABELED] * n)
        part.append(columns.get("usage") or [TEST if "id" in columns else TRAINING] * n)
    join = itertools.chain.from_iterable
    images = images[0] if len(images) == 1 else np.concatenate(images)
    return images, np.array([*join(labels)], np.uint8), np.array([*join(part)], np.uint8)


def _read_csv(path, layouts):
    """Return the images, uint8 (n, 48, 48), and {column: list of codes or ids} of a CSV in one of the layouts."""
    lines = _lines(path)
    where, header = next(lines, (None, None))
    if where is None:
        raise FacesError(f"{_name(path)}: found an empty file, expected a CSV; replace it")
    names = [field.decode().strip().lower() for field in _fields(header, where)]
    fits = [LAYOUTS[layout] for layout in layouts if all(names.count(name) == 1 for name in LAYOUTS[layout])]
    if not fits:
        expected = " or ".join(",".join(LAYOUTS[layout]) for layout in layouts)
        raise FacesError(f"{where}: found the header {_show(header)}, expected {expected}; name the columns so, with commas")
    *keys, pixels = fits[0]
    columns, ids, blocks = {key: [] for key in keys}, {}, []
    while batch := list(itertools.islice(lines, BATCH)):
        texts = []
        for where, line in batch:
            fields = _fields(line, where)
            if len(fields) != len(names):
                raise FacesError(f"{where}: found {len(fields)} columns, expected {len(names)} as in the header; correct it")
            cells = dict(zip(names, fields, strict=True))
            texts.append(cells[pixels].strip(b" "))
            for key in keys:
                cell = cells[key].strip(b" ")
                if key == "id":
                    if not cell or ids.setdefault(cell, where) is not where:
                        found = f"{_show(cell)} again, as in {ids[cell]}" if cell else "no id"
                        raise FacesError(f"{where}, column id: found {found}, expected one id a row; correct it")
                    columns[key].append(cell.decode())
                elif cell in CODES[key]:
                    columns[key].append(CODES[key][cell])
                else:
                    expected = "0 to 6" if key != "usage" else ", ".join(PARTS[:TEST])
                    raise FacesError(f"{where}, column {key}: found {_show(cell)}, expected {expected}; correct the row")
        block = _parse(texts)
        if block is None:
            block = np.array([_parse_row(text, f"{w}, column {pixels}") for text, (w, _) in zip(texts, batch, strict=True)])
        blocks.append(block)
        if len(blocks) * BATCH > MAX_FACES + BATCH:
            raise FacesError(f"{where}: found more than {MAX_FACES} rows, expected FER2013 (35,887); check the file")
    if not blocks:
        raise FacesError(f"{_name(path)}: found no row below the header, expected one face a row; replace the file")
    return np.concatenate(blocks).reshape(-1, SIDE, SIDE), columns


def _parse(texts):
    """Return rows of pixels as uint8 (n, 2304); None unless each is 2,304 numbers of 1 to 3 digits, one space apart.

    All rows at once: a number ends before each space, and its value is that of its last two digits and 100 times its
    third last, if it has three. A digit is its character less 48, in uint8, so every other character is above 9.
    """
    text = np.frombuffer(b"  " + b" ".join(texts) + b" ", np.uint8)  # two in front: a number may look three back
    spaces = np.flatnonzero(text == ord(" "))[2:]
    row_ends = 1 + np.cumsum([len(row) + 1 for row in texts])
    digits = text - np.uint8(ord("0"))
    other = digits > 9
    if len(spaces) != PIXELS * len(texts) or (spaces[PIXELS - 1 :: PIXELS] != row_ends).any():
        return None
    width = np.diff(spaces, prepend=1) - 1
    if np.count_nonzero(other) != len(spaces) + 2 or width.min() < 1 or width.max() > 3:
        return None
    digits[other] = 0
    low = (digits[1:] + np.uint8(10) * digits[:-1])[spaces - 2]
    high = digits[spaces - 3] * (width == 3)
    if ((high > 2) | ((high == 2) & (low > 55))).any():
        return None
    return (low + np.uint8(100) * high).reshape(-1, PIXELS)


def _parse_row(text, where):
    """Return one row of pixels, slowly: spaces may be doubled, and what is wrong is named."""
    values = [value for value in text.split(b" ") if value]
    for number, value in enumerate(values, 1):
        if not value.isdigit() or len(value) > 3 or int(value) > 255:
            raise FacesError(f"{where}: found pixel {number} {_show(value)}, expected a number 0 to 255; correct the row")
    if len(values) != PIXELS:
        raise FacesError(f"{where}: found {len(values)} pixels, expected 2304 (48 x 48); correct or remove the row")
    return np.array([int(value) for value in values], np.uint8)


def _lines(path):
    """Yield ("file, line n", the line as bytes without its end) of a text file; blank lines may only end it."""
    blank = None
    with _open(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            where = f"{_name(path)}, line {number}"
            if len(line) == MAX_LINE:
                raise FacesError(f"{where}: found over {MAX_LINE} bytes, expected a row of 2304 pixels; check the file")
            try:
                line.decode()
            except UnicodeDecodeError as error:
                found = f"byte {line[error.start]:#04x} at {error.start + 1}"
                raise FacesError(f"{where}: found {found}, expected UTF-8 text; save it as UTF-8, or copy it anew") from None
            if b"\0" in line:
                raise FacesError(f"{where}: found a NUL byte, expected text; the file is damaged or no CSV: copy it anew")
            line = line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").rstrip(b"\r\n")
            if not line.strip(b" "):
                blank = blank or where
            elif blank:
                raise FacesError(f"{blank}: found a blank line, expected a row; remove it")
            else:
                yield where, line


def _fields(line, where):
    """Return the fields of a CSV line, as bytes."""
    if b'"' not in line:
        return line.split(b",")
    try:
        return [field.encode() for field in next(csv.reader([line.decode()], strict=True))]
    except csv.Error:
        raise FacesError(f"{where}: found a quote out of place, expected quotes around whole fields; correct it") from None


@contextlib.contextmanager
def _open(path):
    """Open a plain, gzipped or zipped file (what it is, its first bytes say) for buffered binary reading."""
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "rb"))
            magic = file.peek(4)[:4]
            if magic[:2] == b"\x1f\x8b":
                file = stack.enter_context(gzip.open(file))
            elif magic[:4] in (b"PK\3\4", b"PK\5\6"):
                archive = stack.enter_context(zipfile.ZipFile(file))
                names = [n for n in archive.namelist() if n.lower().endswith(".csv") and not n.startswith("__MACOSX")]
                if len(names) != 1:
                    raise FacesError(f"{_name(path)}: found {len(names)} CSV files in it, expected one; unpack it")
                file = stack.enter_context(archive.open(names[0]))
            yield stack.enter_context(io.BufferedReader(file, 1 << 20))
    # RuntimeError is zipfile's word for a password, NotImplementedError for a method that it does not know.
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise FacesError(f"{_name(path)}: found a damaged archive ({error}), expected a whole one; copy it anew") from None


def _read_images(files):
    canvas = Image.new("L", (SIDE, SIDE * len(files)))  # pasting is quicker than one array an image
    for i, (path, _, _) in enumerate(files):
        canvas.paste(_read_image(path, "/".join(_name(p) for p in path.split(os.sep)[-3:])), (0, SIDE * i))
    images = np.array(canvas).reshape(-1, SIDE, SIDE)
    return images, *(np.array([file[i] for file in files], np.uint8) for i in (2, 1))


def _read_image(path, where):
    """Return a grey 48 x 48 Pillow image; colors are read only if they are all grey."""
    with open(path, "rb") as file:
        data = file.read(MAX_IMAGE)
    png = data.startswith(b"\x89PNG")
    try:
        # Twice as quick as Image.open, which tries each format; nothing is decoded before the size is known.
        image = (PngImagePlugin.PngImageFile if png else JpegImagePlugin.JpegImageFile)(io.BytesIO(data))
        found = "16-bit" if png and data[24] == 16 else image.mode
        if image.size == (SIDE, SIDE):
            image.load()
    except Exception:  # for a broken file Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
        raise FacesError(f"{where}: found no readable image, expected a whole PNG or JPEG; copy it anew") from None
    if image.size != (SIDE, SIDE):
        raise FacesError(f"{where}: found {'x'.join(map(str, image.size))} pixels, expected 48x48; crop or remove it")
    if found in ("RGB", "RGBA", "LA", "P"):
        red, green, blue, alpha = image.convert("RGBA").split()
        if red == green == blue and alpha.getextrema() == (255, 255):
            return red
        found = "colors or transparency"
    if found != "L":
        raise FacesError(f"{where}: found {found}, expected 8-bit grey; convert or remove it")
    return image


# ---- cache and small helpers


def _cached(name, key, make):
    """Return images, labels and part from the cache file `name` if it was made under `key`, else make and keep them.

    The file: key (32 bytes), the three arrays, SHA-256 of all that. It holds bytes only, so reading it runs no code.
    """
    path = runs.build_dir() / "cache" / name
    with contextlib.suppress(OSError):
        data = memoryview(path.read_bytes())
        body, row = data[32:-32], PIXELS + 2
        if len(data) < 64 or _sha(data[:-32]) != data[-32:]:
            print(f"{_name(path)}: the cache is damaged; it is made again", file=sys.stderr)
        elif data[:32] == key:
            images, labels, part = np.split(np.frombuffer(body, np.uint8), np.array([PIXELS, row - 1]) * (len(body) // row))
            return images.reshape(-1, SIDE, SIDE), labels, part
    arrays = make()
    digest = hashlib.sha256()

    def write(file):
        for piece in (key, *map(np.ascontiguousarray, arrays)):
            digest.update(piece)
            file.write(piece)
        file.write(digest.digest())

    try:
        runs.write_atomically(path, write)
    except OSError as error:
        print(f"{_name(path)}: the faces are not cached ({error.strerror})", file=sys.stderr)
    return arrays


def _sha(data):
    return hashlib.sha256(data.encode(errors="surrogateescape") if isinstance(data, str) else data).digest()


def _show(found):
    """Return what was found, short, quoted and printable."""
    text = found.decode(errors="backslashreplace") if isinstance(found, bytes) else str(found)
    return ascii(text if len(text) <= 40 else text[:37] + "...")


def _name(path):
    """Return the last name of a path or entry, printable on one line."""
    return "".join(c if c.isprintable() else "?" for c in os.path.basename(path) or str(path))


@contextlib.contextmanager
def _one_line(path):
    """Turn what the system refuses (no permission, a disk error) into a FacesError."""
    try:
        yield
    except OSError as error:
        name = _name(error.filename or path)
        raise FacesError(f"{name}: cannot be read ({error.strerror or error}); check the file's permissions") from None

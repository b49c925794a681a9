"""Faces: FER2013 in any layout that its users have, else the drawn faces. One strict reader for
CSVs, one for images.

    course   train.csv label,feature          test.csv id,feature (unlabeled, its part is Test)
    kaggle   fer2013.csv emotion,pixels,Usage          icml_face_data.csv emotion, Usage, pixels
    folder   train/<emotion>/*.png|jpg        test/<emotion>/*.png|jpg (names may begin with PublicTest_ or PrivateTest_)

Columns go by the names in the header: any case, order and blanks; other columns are ignored. A CSV
may be gzipped, or alone in a zip. All else is refused with a FacesError. Links are followed, but
only to regular files and folders, and never deeper than above. One thing cannot be seen: a course
CSV that is cut off inside its very last number.
"""

import contextlib
import csv
import functools
import gzip
import hashlib
import io
import itertools
import os
import sys
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hw3.disk import ROOT, build_dir, write_atomically

EMOTIONS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
UNLABELED = 255
PARTS = (
    "Training",
    "PublicTest",
    "PrivateTest",
    "Test",
)  # Test: the layout does not tell Public from Private
TRAINING, PUBLIC, TEST = 0, 1, 3

SIDE, PIXELS = 48, 48 * 48
MAX_LINE = 20_000  # bytes; a row of FER2013 has at most 9,240
MAX_FACES = (
    100_000  # FER2013 has 35,887; this bounds the memory, also for a small zip of a huge file
)
# rows parsed at once: about 130 kB of text, so that every step stays in the processor's cache
BATCH = 16

LAYOUTS = {
    "kaggle": ("emotion", "usage", "pixels"),
    "train": ("label", "feature"),
    "test": ("id", "feature"),
}  # pixels last
LABELS = {str(code): code for code in range(len(EMOTIONS))}
CODES = {
    "emotion": LABELS,
    "label": LABELS,
    "usage": {part: code for code, part in enumerate(PARTS[:TEST])},
}
STRAY = ("thumbs.db", "desktop.ini", "__macosx")  # left by desktops; ignored, like hidden files


class FacesError(ValueError):
    """Bad data, in one line: where, what was found, what was expected, what to do."""


@dataclass(frozen=True, eq=False)
class Faces:
    """Images with their labels and parts. The arrays are made read-only, so that the fingerprint
    stays true.
    """

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
        """16 hex digits of the SHA-256 of images, labels and part; the order of the faces
        matters.
        """
        return _sha(*map(np.ascontiguousarray, (self.images, self.labels, self.part))).hex()[:16]

    def only(self, part_name: str) -> "Faces":
        """Return the Faces of one of PARTS, perhaps none. Raises ValueError for another name."""
        rows = self.part == PARTS.index(part_name)
        return Faces(self.images[rows], self.labels[rows], self.part[rows], self.name, self.source)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return {part: {emotion: number of faces}} of the parts that are there; "unlabeled" is
        last, if there are any.
        """
        table = {}
        for code in np.unique(self.part):
            n = np.bincount(self.labels[self.part == code], minlength=UNLABELED + 1).tolist()
            table[PARTS[code]] = dict(zip(EMOTIONS, n, strict=False)) | (
                {"unlabeled": n[-1]} if n[-1] else {}
            )
        return table


def find(data: str | Path | None = None) -> Faces:
    """Return the Faces of `data`, else of HW3_DATA, else of data/ beside hw3 if it holds something,
    else the drawn ones.

    A relative path counts from the working directory. Raises FacesError; a path that is named is
    never passed over.
    """
    path, usual = data or os.environ.get("HW3_DATA"), ROOT / "data"
    with _one_line(usual):
        if not path and os.path.lexists(usual) and not (usual.is_dir() and not _children(usual)):
            path = usual
    return load(path) if path else drawn()


def load(path: str | Path) -> Faces:
    """Return the Faces in a CSV of any layout, or in a directory that holds a layout. Raises
    FacesError.

    Of several layouts in a directory the first of these is read, and `source` says so: fer2013.csv,
    icml_face_data.csv, train.csv (with test.csv), image folder, test.csv. Faces keep the order of
    the file; those of a folder are in the order of part, file name, emotion. The arrays are cached
    under build_dir() until a file or this one changes.
    """
    path = Path(path)
    with _one_line(path):
        source, files, read = _discover(path)
        stamp = _stamp(files)

        def make():
            arrays = read(files)
            if _stamp(_discover(path)[1]) != stamp:
                raise _bad(
                    _name(path), "that it changed while it was read", "it at rest", "load it again"
                )
            return arrays

        place = os.path.realpath(path)
        key = _sha(f"{place}\n{stamp}\n{Path(__file__).read_bytes()}")
        return Faces(*_cached(f"faces-{_sha(place).hex()[:16]}", key, make), "FER2013", source)


def identical(images: np.ndarray) -> np.ndarray:
    """Return a number (N,) for each of the images (N, 48, 48), the same for those that are equal to
    the last pixel.
    """
    prints = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    return np.unique(prints, return_inverse=True)[1]


def parse_test(path: str | Path) -> tuple[list[str], np.ndarray]:
    """Return the ids, as in the file, and the images, uint8 (N, 48, 48), of a test CSV id,feature.
    Raises FacesError.
    """
    path = Path(path)
    with _one_line(path):
        images, _, _, ids = _read_csv(path, ("test",))
        return ids, images


def is_table(path: str | Path) -> bool:
    """Return whether a file's name is that of a CSV, perhaps packed, rather than of a picture."""
    return Path(path).suffix.lower() in (".csv", ".gz", ".zip")


def picture(path: str | Path) -> np.ndarray:
    """Return any picture as a face, uint8 (48, 48): its middle square, turned upright, in gray.
    Raises FacesError.
    """
    with _one_line(path), open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = ImageOps.exif_transpose(Image.open(file))
            if image.mode.startswith("I;16"):  # 16 bits a pixel
                image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
            if image.mode in "IF":
                raise ValueError("32 bits a pixel, of which nothing says what is white")
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert(
                "L"
            )  # as a browser does
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise _bad(
                _name(path), f"over {Image.MAX_IMAGE_PIXELS:,} pixels", "fewer", "shrink it"
            ) from None
        except Exception:  # as in _read_image
            expected = "a PNG, JPEG or another format of Pillow's, of 8 or 16 bits"
            raise _bad(_name(path), "no readable picture", expected, "convert it") from None
    return np.asarray(ImageOps.fit(image, (SIDE, SIDE)))


def drawn(n: int = 10_000, seed: int = 0) -> Faces:
    """Return n drawn faces, the same for the same seed: 80% Training, 10% PublicTest, 10%
    PrivateTest, in this order.
    """
    from hw3.sources import drawn as painter

    def make():
        images, labels, _ = painter.draw(n, seed)
        part = np.zeros(n, np.uint8)
        part[n * 8 // 10 :], part[n * 9 // 10 :] = 1, 2
        return images, labels, part

    key = _sha(
        f"{n} {seed} NumPy {np.__version__} {Path(painter.__file__).read_bytes()} {Path(__file__).read_bytes()}"
    )
    return Faces(
        *_cached(f"drawn-{n}-{seed}", key, make), "drawn faces", f"drawn by hw3, seed {seed}"
    )


def _discover(path):
    """Return (source, files, reader) of a path; files is a list of tuples that begin with a path,
    as the reader wants them.
    """
    if path.is_file():
        return _name(path), [(path, tuple(LAYOUTS))], _read_csvs
    if not path.exists():
        raise _bad(ascii(str(path)), "nothing there", "a file or a directory", "check the path")
    names = sorted(child.name for child in _children(path))

    def table(stem, layout):
        return [
            (path / f, (layout,))
            for f in (f"{stem}.csv", f"{stem}.csv.gz", f"{stem}.csv.zip")
            if f in names
        ][:1]

    train, test = table("train", "train"), table("test", "test")
    folders = [path / f for f in ("train", "test") if f in names and (path / f).is_dir()]
    choices = [
        table("fer2013", "kaggle"),
        table("icml_face_data", "kaggle"),
        train and train + test,
        folders,
        not train and test,
    ]
    titles = [
        " and ".join(f"{f.name}/" if f in folders else f[0].name for f in choice)
        for choice in choices
        if choice
    ]
    if not titles:
        expected = "fer2013.csv, icml_face_data.csv, train.csv, test.csv, or folders train and test"
        raise _bad(
            _name(path), ", ".join(map(_show, names[:3])) or "nothing", expected, "put one there"
        )
    source = titles[0] + (f" (not read: {', '.join(titles[1:])})" if titles[1:] else "")
    choice = next(filter(None, choices))
    return (
        (source, _images(folders), _read_images)
        if choice is folders
        else (source, choice, _read_csvs)
    )


def _children(folder):
    """Return the entries of a folder, in any order, without hidden and stray ones."""
    with os.scandir(folder) as entries:
        return [e for e in entries if not e.name.startswith(".") and e.name.lower() not in STRAY]


def _images(folders):
    """Return (path, part, label) of every image in the folders train and test, ordered by part,
    file name, label.
    """
    wanted, files = [emotion.lower() for emotion in EMOTIONS], []
    for top in folders:
        parts, default = (PARTS[1:], TEST) if top.name == "test" else (PARTS[:1], TRAINING)
        emotions = sorted(_children(top), key=lambda entry: entry.name.lower())
        names = [entry.name.lower() for entry in emotions]
        odd = [
            _show(name)
            for name in sorted({*names, *wanted})
            if (names.count(name), wanted.count(name)) != (1, 1)
        ]
        if odd:
            expected = f"one folder for each of {', '.join(wanted)}"
            raise _bad(
                f"{top.name}/",
                f"missing, unknown or twice: {', '.join(odd[:3])}",
                expected,
                "correct the names",
            )
        for emotion in emotions:
            label = wanted.index(emotion.name.lower())
            for image in _children(emotion.path):
                if not image.is_file() or not image.name.lower().endswith(
                    (".png", ".jpg", ".jpeg")
                ):
                    raise _bad(
                        _name(image, 3), "no image file", "only .png and .jpg files", "move it away"
                    )
                usage = image.name.partition("_")[0]
                if usage in PARTS and usage not in parts:
                    raise _bad(
                        _name(image, 3),
                        f"{usage} in {top.name}/",
                        " or ".join(parts),
                        "move or rename it",
                    )
                files.append(
                    (
                        PARTS.index(usage) if usage in parts else default,
                        image.name,
                        label,
                        image.path,
                    )
                )
    if not 0 < len(files) <= MAX_FACES:
        raise _bad(
            f"{folders[0].name}/", f"{len(files)} images", f"1 to {MAX_FACES}", "check the folder"
        )
    return [(path, part, label) for part, _, label, path in sorted(files)]


def _stamp(files):
    """Return text that tells whether a file has changed: its path, size and times."""
    stats = ((path, os.stat(path)) for path, *_ in files)
    return "\n".join(f"{path} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}" for path, s in stats)


def _read_csvs(files):
    """Return images, labels and part of CSVs, one after another; files are (path, layouts that it
    may have).
    """
    tables = [_read_csv(*file)[:3] for file in files]
    return (
        tables[0]
        if len(tables) == 1
        else [np.concatenate(arrays) for arrays in zip(*tables, strict=True)]
    )


def _read_csv(path, layouts):
    """Return images, labels, part, and the ids (list of str, empty if the layout has none) of a CSV
    in one of the layouts.
    """
    rows = _rows(path)
    where, header = next(rows, (None, None))
    if where is None:
        raise _bad(_name(path), "an empty file", "a CSV", "copy it anew")
    names = [name.strip(" ").lower() for name in header]
    layout = next(
        (LAYOUTS[key] for key in layouts if all(names.count(name) == 1 for name in LAYOUTS[key])),
        None,
    )
    if layout is None:
        expected = " or ".join(",".join(LAYOUTS[key]) for key in layouts)
        raise _bad(
            where,
            f"the header {_show(','.join(header))}",
            expected,
            "name the columns so, with commas between",
        )
    *keys, pixels = layout
    columns, lines, blocks = {key: [] for key in keys}, {}, []
    while batch := list(itertools.islice(rows, BATCH)):
        for where, fields in batch:
            if len(fields) != len(names):
                raise _bad(where, f"{len(fields)} columns", f"{len(names)} as in the header")
            for key in keys:
                cell, codes = fields[names.index(key)].strip(" "), CODES.get(key)
                if cell not in codes if codes else not cell:
                    raise _bad(f"{where}, column {key}", _show(cell), ", ".join(codes or ["an id"]))
                if not codes and lines.setdefault(cell, where) != where:
                    raise _bad(
                        f"{where}, column {key}",
                        f"{_show(cell)} as in {lines[cell]}",
                        "each id once",
                    )
                columns[key].append(codes[cell] if codes else cell)
        texts = [
            (f"{where}, column {pixels}", fields[names.index(pixels)].strip(" "))
            for where, fields in batch
        ]
        block = _parse([text for _, text in texts])
        blocks.append(
            np.array([_parse_slowly(*text) for text in texts]) if block is None else block
        )
        if len(blocks) * BATCH > MAX_FACES:
            raise _bad(where, f"over {MAX_FACES} rows", "FER2013 (35,887)", "check the file")
    if not blocks:
        raise _bad(_name(path), "only a header", "a row for each face", "copy it anew")
    images = np.concatenate(blocks).reshape(-1, SIDE, SIDE)
    labels = columns.get("emotion") or columns.get("label") or [UNLABELED] * len(images)
    part = columns.get("usage") or [TEST if "id" in columns else TRAINING] * len(images)
    return images, np.array(labels, np.uint8), np.array(part, np.uint8), columns.get("id", [])


def _parse(texts):
    """Return rows of pixels as uint8 (n, 2304); None unless each is 2,304 numbers of 1 to 3 digits,
    one space apart.

    All rows at once, byte by byte: the number before a space is its last two digits plus 100 times
    a third before them. A digit is its character less 48; as uint8 every other character comes out
    above 9, and is made 0.
    """
    text = np.frombuffer(
        f"   {' '.join(texts)} ".encode(), np.uint8
    )  # three in front: one can always look three back
    digits = text - np.uint8(ord("0"))
    is_digit = digits < 10
    digits *= is_digit
    spaces = np.flatnonzero(text[3:] == ord(" "))
    row_ends = np.cumsum([len(row) + 1 for row in texts]) - 1
    if len(spaces) != PIXELS * len(texts) or (spaces[PIXELS - 1 :: PIXELS] != row_ends).any():
        return None
    pairs = is_digit[1:] & is_digit[:-1]
    other = np.count_nonzero(is_digit) + len(spaces) + 3 != len(text)
    if (
        other or not (is_digit[3:] | is_digit[2:-1]).all() or (pairs[2:] & pairs[:-2]).any()
    ):  # two spaces, or four digits
        return None
    numbers = digits[:-3] * pairs[:-2] * np.uint16(100)
    numbers += digits[1:-2] * np.uint8(10) + digits[2:-1]
    numbers = numbers[spaces]
    return numbers.astype(np.uint8).reshape(-1, PIXELS) if numbers.max() <= 255 else None


def _parse_slowly(where, text):
    """Return one row of pixels, uint8 (2304,), also if spaces are doubled; a FacesError names what
    is wrong.
    """
    values = [value for value in text.split(" ") if value]
    for i, value in enumerate(values, 1):
        if not (value.isascii() and value.isdigit() and len(value) <= 3 and int(value) <= 255):
            raise _bad(where, f"{_show(value)} as pixel {i}", "0 to 255")
    if len(values) != PIXELS:
        raise _bad(where, f"{len(values)} pixels", "2304 (48 x 48)")
    return np.array([int(value) for value in values], np.uint8)


def _rows(path):
    """Yield ("file, line n", list of fields) of a CSV in UTF-8; blank lines may only end it."""
    name, blank = _name(path), None
    with _open(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            where = f"{name}, line {number}"
            if len(line) == MAX_LINE:
                raise _bad(
                    where,
                    f"{MAX_LINE} bytes without an end",
                    "a row of 2304 pixels",
                    "check the file",
                )
            if b"\0" in line:
                raise _bad(where, "a NUL byte", "text", "copy the file anew, or unpack it")
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                fields = next(csv.reader([line], strict=True)) if '"' in line else line.split(",")
            except UnicodeDecodeError as error:
                byte = f"byte {error.object[error.start]:#04x}"
                raise _bad(where, byte, "UTF-8 text", "save it as UTF-8, or copy it anew") from None
            except csv.Error:
                raise _bad(where, "a quote out of place", "quotes around whole fields") from None
            if blank and line.strip():
                raise _bad(blank, "a blank line", "a row", "remove the line")
            if line.strip():
                yield where, fields
            else:
                blank = blank or where


def _open(path):
    """Return a file for reading bytes, unpacked if its first bytes are those of gzip or zip."""
    with open(path, "rb") as file:
        magic = file.read(2)
    if magic != b"PK":
        return io.BufferedReader((gzip.open if magic == b"\x1f\x8b" else open)(path, "rb"), 1 << 20)
    archive = zipfile.ZipFile(path)
    members = [
        m
        for m in archive.infolist()
        if m.filename.endswith(".csv") and not m.filename.startswith("__MACOSX/")
    ]
    plain = [
        m
        for m in members
        if m.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not m.flag_bits & 1
    ]
    if len(members) != 1 or not plain:
        raise _bad(
            _name(path),
            f"{len(members)} CSV files, {len(plain)} of them readable",
            "one, deflated, no password",
            "unpack it",
        )
    return io.BufferedReader(archive.open(members[0]), 1 << 20)


def _read_images(files):
    """Return images, labels and part of image files, given as (path, part, label)."""
    canvas = Image.new(
        "L", (SIDE, SIDE * len(files))
    )  # one picture of all is quicker than an array of each
    for i, (path, _, _) in enumerate(files):
        canvas.paste(_read_image(path), (0, SIDE * i))
    part, labels = np.array([file[1:] for file in files], np.uint8).T.copy()
    return np.asarray(canvas).reshape(-1, SIDE, SIDE), labels, part


def _read_image(path):
    """Return the image as Pillow's 8-bit gray; one with colors is read only if all of them are gray
    and opaque.
    """
    with open(path, "rb") as file:
        data = file.read(100_000)  # far more than 48 x 48 pixels need
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if image.size == (SIDE, SIDE):  # else nothing is decoded
            image.load()
    except (
        Exception
    ):  # for a broken file Pillow raises OSError, SyntaxError, ValueError, struct.error and others
        raise _bad(
            _name(path, 3),
            "no readable image",
            "a whole PNG or JPEG",
            "copy it anew, or move it away",
        ) from None
    found = f"{image.width}x{image.height} {'16-bit' if image.format == 'PNG' and data[24] == 16 else image.mode}"
    if found in ("48x48 P", "48x48 LA", "48x48 RGB", "48x48 RGBA"):
        red, green, blue, alpha = image.convert("RGBA").split()
        if red == green == blue and alpha.getextrema() == (255, 255):
            return red
        found += " with colors or transparency"
    if found != "48x48 L":
        raise _bad(_name(path, 3), found, "48x48 L (8-bit gray)", "convert it, or move it away")
    return image


def _cached(name, key, make):
    """Return images, labels and part from the cache file `name` if it was made under `key`; else
    make and keep them.

    The file is key (32 bytes), the three arrays, SHA-256 of all that: bytes only, so that reading
    it can run no code.
    """
    path = build_dir() / "cache" / name
    with contextlib.suppress(OSError):
        data = np.fromfile(path, np.uint8)
        if _sha(data[:-32]) != data[-32:].tobytes():
            print(f"hw3: the cache {name} is damaged; it is made again", file=sys.stderr)
        elif data[:32].tobytes() == key:
            n = (len(data) - 64) // (PIXELS + 2)
            images, labels, part = np.split(data[32:-32], [n * PIXELS, n * (PIXELS + 1)])
            return images.reshape(n, SIDE, SIDE), labels, part
    arrays = make()
    pieces = (key, *map(np.ascontiguousarray, arrays))
    try:
        write_atomically(path, lambda file: file.writelines((*pieces, _sha(*pieces))))
    except OSError as error:
        print(f"hw3: the faces are not cached: {error.strerror or error}", file=sys.stderr)
    return arrays


def _sha(*pieces):
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(os.fsencode(piece) if isinstance(piece, str) else piece)
    return digest.digest()


def _bad(where, found, expected, to_do="correct or remove the row"):
    return FacesError(f"{where}: found {found}, expected {expected}; {to_do}")


def _show(found):
    """Return what was found, short, quoted and in ASCII."""
    return ascii(str(found) if len(str(found)) <= 40 else f"{str(found)[:37]}...")


def _name(path, last=1):
    """Return the last names of a path, printable on one line."""
    name = "/".join(Path(path).parts[-last:]) or "."
    return name if name.isprintable() else ascii(name)


@contextlib.contextmanager
def _one_line(path):
    """Turn what the system, gzip or zipfile refuse into a FacesError."""
    try:
        yield
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        name, reason = (
            _name(getattr(error, "filename", None) or path),
            getattr(error, "strerror", None) or error,
        )
        raise _bad(
            name, f"it unreadable ({_show(reason)})", "a whole file that may be read", "check it"
        ) from None

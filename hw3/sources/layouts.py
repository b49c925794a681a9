"""Which layout of hw3/faces.py lies at a path. Links are followed to regular files and folders."""

import os
import zipfile
from pathlib import Path

from hw3.disk import write_atomically
from hw3.sources import csvs, images
from hw3.sources.errors import bad, name, one_line, quoted
from hw3.sources.fer2013 import EMOTIONS, FOLDERS, PARTS, SPELLINGS, TEST


def discover(path):
    """Return (source, files, reader) of a path; files are tuples, path first, that reader takes."""
    if not path.exists():
        raise bad(ascii(str(path)), "nothing there", "a file or a directory", "check the path")
    top = csvs.unzipped(path) if path.is_file() else path
    if top is None:
        return name(path), [(path, tuple(csvs.COLUMNS))], csvs.read
    source = f"{name(path)}: " if path.is_file() else ""
    expected = "fer2013.csv, icml_face_data.csv, train.csv, test.csv, or folders train and test"
    entries = children(top)
    while not (chosen := _choose(entries)):
        names = [entry.name for entry in entries]
        if {"FER2013Train", "FER2013Valid", "FER2013Test"} & {path.name, *names}:
            raise bad(name(path), "FER+, without FER2013's labels", expected, "use fer2013.csv")
        if len(entries) != 1 or not entries[0].is_dir():
            found = ", ".join(map(quoted, names[:3])) or "nothing"
            raise bad(name(path), found, expected, "put one there")
        source, entries = source + _title(entries[0]), children(entries[0])
    source += " and ".join(_title(entry) for entry, _ in chosen)
    files, told, reader = chosen, "", csvs.read
    if isinstance(chosen[0][1], int):
        (files, told), reader = _images(chosen), images.read
    beside = [_title(entry) for entry in entries if entry not in dict(chosen)]
    beside = [*beside[:8], f"{len(beside) - 8} more"] if len(beside) > 8 else beside
    return source + told + (f" (not read: {', '.join(beside)})" if beside else ""), files, reader


def children(folder):
    """Return the entries of a folder, on disk or in a zip, by name; no hidden and stray ones."""
    if not folder.is_dir():
        raise NotADirectoryError(0, "no folder", str(folder))
    seen = (entry for entry in folder.iterdir() if not csvs.HIDDEN.search(entry.name))
    return sorted(seen, key=lambda entry: entry.name)


def stamp(files):
    """Return text that tells whether a file has changed: its path, size and times."""
    stats = ((p, os.stat(p.root.filename if isinstance(p, zipfile.Path) else p)) for p, *_ in files)
    return "\n".join(f"{path} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}" for path, s in stats)


def _title(entry):
    return name(entry.name) + ("/" if entry.is_dir() else "")


def _choose(entries):
    """Return what to read of a folder: CSVs, each with its layouts, or folders, with their part."""

    def table(stem, layouts=tuple(csvs.COLUMNS)):
        packed = (f"{stem}.csv", f"{stem}.csv.gz", f"{stem}.csv.zip")
        return [(entry, layouts) for entry in entries if entry.name in packed][:1]

    parts = {FOLDERS.get(entry.name.lower()): entry for entry in entries if entry.is_dir()}
    folders = [(parts[part], part) for part in range(len(PARTS)) if part in parts]
    train, test = table("train"), table("test", csvs.TESTS)
    known = table("fer2013") or table("icml_face_data") or (train and train + test)
    data = [entry for entry in entries if entry.name.endswith((".csv", ".png", ".jpg"))]
    single = table(data[0].name.removesuffix(".csv")) if len(data) == 1 else []
    return known or folders or test or single


def _images(tops):
    """Return (path, part, label) of images, by part, name, label, and what odd names stand for."""
    listed, files = [(top, part, children(top)) for top, part in tops], []
    names = {entry.name.lower() for *_, entries in listed for entry in entries}
    wanted = [next((word for word in words if word in names), words[0]) for words in SPELLINGS]
    for top, part, entries in listed:
        emotions = [entry.name.lower() for entry in entries]
        odd = [n for n in {*emotions, *wanted} if (emotions.count(n), wanted.count(n)) != (1, 1)]
        if odd:
            found = f"missing, unknown or twice: {', '.join(map(quoted, sorted(odd)[:3]))}"
            expected = f"one folder for each of {', '.join(wanted)}"
            raise bad(_title(top), found, expected, "correct the names")
        for label, folder in zip(map(wanted.index, emotions), entries, strict=True):
            files += [(_part(file, top, part), file.name, label, file) for file in children(folder)]
    if not 0 < len(files) <= csvs.MAX_FACES:
        raise bad(_title(tops[0][0]), f"{len(files)} images", f"1 to {csvs.MAX_FACES}", "check it")
    files.sort(key=lambda file: file[:3])
    usual = {"train", "test", *(words[0] for words in SPELLINGS)}
    meant = [*((top.name, PARTS[part]) for top, part in tops), *zip(wanted, EMOTIONS, strict=True)]
    told = [f", {name(word)} as {meaning}" for word, meaning in meant if word not in usual]
    return [(path, part, label) for part, _, label, path in files], "".join(told)


def _part(image, top, part):
    """Return the code of the part of an image below the folder of a part; refuse another file."""
    if not image.is_file() or not image.name.lower().endswith((".png", ".jpg", ".jpeg")):
        raise bad(name(image, 3), "no image file", "only .png and .jpg files", "move it away")
    parts, usage = PARTS[1:] if part == TEST else (PARTS[part],), image.name.partition("_")[0]
    if usage in PARTS and usage not in parts:
        raise bad(name(image, 3), f"{usage} in {top.name}/", " or ".join(parts), "rename it")
    return PARTS.index(usage) if usage in parts else part


def resize(folder: Path) -> Path:
    """Write each image's `picture` into FOLDER-resized.csv beside FOLDER; return its path."""
    made = Path(f"{os.path.abspath(folder)}-resized.csv")
    with one_line(folder):
        source, files, reader = discover(folder)
    if reader is csvs.read or made.exists():
        raise bad(name(folder), source, f"emotion folders, no {name(made)} beside", "use that CSV")
    lines = [b"emotion,pixels,Usage\n"]
    for path, part, label in files:
        pixels = " ".join(map(str, images.picture(path).flat))
        lines.append(f"{label},{pixels},{PARTS[part]}\n".encode())
    write_atomically(made, lambda file: file.writelines(lines))
    return made

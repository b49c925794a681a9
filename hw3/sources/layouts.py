"""Which layout of hw3/faces.py lies at a path. Links are followed to regular files and folders."""

import os

from hw3.sources import csvs, images
from hw3.sources.errors import bad, name, quoted
from hw3.sources.fer2013 import EMOTIONS, PARTS, TEST, TRAINING

STRAY = ("thumbs.db", "desktop.ini", "__macosx")  # left by desktops; ignored, like hidden files


def discover(path):
    """Return (source, files, reader) of a path; files are tuples, path first, that reader takes."""
    if path.is_file():
        return name(path), [(path, tuple(csvs.COLUMNS))], csvs.read
    if not path.exists():
        raise bad(ascii(str(path)), "nothing there", "a file or a directory", "check the path")
    names = sorted(child.name for child in children(path))

    def table(stem, layout):
        packed = (f"{stem}.csv", f"{stem}.csv.gz", f"{stem}.csv.zip")
        return [(path / file, (layout,)) for file in packed if file in names][:1]

    def title(files):
        return " and ".join(f"{file.name}/" if file in folders else file.name for file, *_ in files)

    train, test = table("train", "train"), table("test", "test")
    folders = [path / f for f in ("train", "test") if f in names and (path / f).is_dir()]
    kaggle = [table("fer2013", "kaggle"), table("icml_face_data", "kaggle")]
    listed = [(folder,) for folder in folders]
    others = [train + test, listed] if train else [listed, test]
    choices = [files for files in kaggle + others if files]
    if not choices:
        found = ", ".join(map(quoted, names[:3])) or "nothing"
        expected = "fer2013.csv, icml_face_data.csv, train.csv, test.csv, or folders train and test"
        raise bad(name(path), found, expected, "put one there")
    source = title(choices[0])
    if len(choices) > 1:
        source += f" (not read: {', '.join(map(title, choices[1:]))})"
    if choices[0][0][0] in folders:
        return source, _images(folders), images.read
    return source, choices[0], csvs.read


def children(folder):
    """Return the entries of a folder, in any order, without hidden and stray ones."""
    with os.scandir(folder) as entries:
        return [e for e in entries if not e.name.startswith(".") and e.name.lower() not in STRAY]


def _images(folders):
    """Return (path, part, label) of all images, in the order of part, file name, label."""
    wanted, files = [emotion.lower() for emotion in EMOTIONS], []
    for top in folders:
        emotions = sorted((entry.name.lower(), entry.path) for entry in children(top))
        names = [emotion for emotion, _ in emotions]
        odd = [n for n in {*names, *wanted} if (names.count(n), wanted.count(n)) != (1, 1)]
        if odd:
            found = f"missing, unknown or twice: {', '.join(map(quoted, sorted(odd)[:3]))}"
            expected = f"one folder for each of {', '.join(wanted)}"
            raise bad(f"{top.name}/", found, expected, "correct the names")
        for emotion, folder in emotions:
            for file in children(folder):
                files.append((_part(file, top.name), file.name, wanted.index(emotion), file.path))
    if not 0 < len(files) <= csvs.MAX_FACES:
        expected = f"1 to {csvs.MAX_FACES}"
        raise bad(f"{folders[0].name}/", f"{len(files)} images", expected, "check the folder")
    return [(path, part, label) for part, _, label, path in sorted(files)]


def _part(image, top):
    """Return the code of the part of an image below train or test; what is no image is refused."""
    if not image.is_file() or not image.name.lower().endswith((".png", ".jpg", ".jpeg")):
        raise bad(name(image, 3), "no image file", "only .png and .jpg files", "move it away")
    parts, default = (PARTS[1:], TEST) if top == "test" else (PARTS[:1], TRAINING)
    usage = image.name.partition("_")[0]
    if usage in PARTS and usage not in parts:
        raise bad(name(image, 3), f"{usage} in {top}/", " or ".join(parts), "move or rename it")
    return PARTS.index(usage) if usage in parts else default

"""The loaders: every layout gives the same faces, and every bad input is refused in one line."""

import csv
import gzip
import io
import os
import re
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hw3 import faces
from hw3.faces import EMOTIONS, PARTS, TEST, UNLABELED, FacesError, load
from hw3.sources import cache, csvs, images

RNG = np.random.default_rng(2013)
IMAGES = RNG.integers(0, 256, (12, 48, 48), dtype=np.uint8)
IMAGES[0, 0, :3], IMAGES[1], IMAGES[2] = (
    (0, 9, 99),
    0,
    255,
)  # numbers of one, two and three digits; extremes
LABELS = np.array([0, 1, 2, 3, 4, 5, 6, 3, 3, 4, 2, 0], np.uint8)
PART = np.array([0] * 8 + [1] * 2 + [2] * 2, np.uint8)
HEADERS = {
    "train": ["label", "feature"],
    "test": ["id", "feature"],
    "kaggle": ["emotion", "pixels", "Usage"],
    "icml": ["emotion", " Usage", " pixels"],
}


def table(layout, keep=slice(None)):
    """Return the faces as the rows of a CSV, lists of strings with the header first."""
    cells = {
        "pixels": [" ".join(map(str, image.ravel())) for image in IMAGES[keep]],
        "label": [str(label) for label in LABELS[keep]],
        "usage": [PARTS[part] for part in PART[keep]],
        "id": [str(i) for i in range(len(IMAGES[keep]))],
    }
    same = {"feature": "pixels", "emotion": "label"}
    names = [name.strip().lower() for name in HEADERS[layout]]
    return [
        HEADERS[layout],
        *map(list, zip(*(cells[same.get(name, name)] for name in names), strict=True)),
    ]


def dump(rows, comma=",", end="\n", quote=""):
    return "".join(
        comma.join(f"{quote}{cell}{quote}" for cell in row) + end for row in rows
    ).encode()


def write_folder(root):
    for i, (image, label, part) in enumerate(zip(IMAGES, LABELS, PART, strict=True)):
        for emotion in EMOTIONS:
            (root / "train" / emotion.lower()).mkdir(parents=True, exist_ok=True)
            (root / "test" / emotion.lower()).mkdir(parents=True, exist_ok=True)
        folder = root / ("test" if part else "train") / EMOTIONS[label].lower()
        Image.fromarray(image).save(folder / f"{PARTS[part]}_{i:05}.png")
    return root


def same(found, images, labels, part):
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.part, part)
    assert (found.images.dtype, found.labels.dtype, found.part.dtype) == (np.uint8,) * 3


def expected(layout):
    """Return images, labels and part that a CSV of table(layout) holds."""
    unlabeled, unknown = np.full(12, UNLABELED), np.full(12, TEST)
    return {"train": (IMAGES, LABELS, PART * 0), "test": (IMAGES, unlabeled, unknown)}.get(
        layout, (IMAGES, LABELS, PART)
    )


def refused(path, message, read=load):
    """Check that a path is refused in one line that says what and what to do."""
    with pytest.raises(FacesError, match=message) as caught:
        read(path)
    line = str(caught.value)
    assert "\n" not in line
    assert re.search(r"found .+, expected .+; \w+", line), line


# ---- every layout, the same faces


@pytest.mark.parametrize("layout", HEADERS)
def test_a_csv_gives_its_faces(tmp_path, layout):
    (tmp_path / "any name.csv").write_bytes(dump(table(layout)))
    found = load(tmp_path / "any name.csv")
    same(found, *expected(layout))
    assert (found.name, found.source, len(found)) == ("FER2013", "any name.csv", 12)


def test_all_layouts_with_parts_give_the_same_fingerprint(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name, layout in (("fer2013.csv", "kaggle"), ("icml_face_data.csv", "icml")):
        (data / name).write_bytes(dump(table(layout)))
    found = [
        load(data / "fer2013.csv"),
        load(data / "icml_face_data.csv"),
        load(write_folder(tmp_path / "folder")),
    ]
    assert len({f.fingerprint for f in found}) == 1
    assert load(data).source == "fer2013.csv (not read: icml_face_data.csv)"


@pytest.fixture
def at(tmp_path):
    """Return a folder that is empty, unlike tmp_path, where the build lies."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def zip_of(folder):
    """Return a zip of what lies in a folder, beside it."""
    made = folder.with_suffix(".zip")
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return made


def contest(folder):
    """Write what the competition's zip holds: its train.csv and test.csv have no Usage, no id."""
    rows = [row[:2] for row in table("kaggle")]
    (folder / "train.csv").write_bytes(
        dump([r for r, p in zip(rows, [0, *PART], strict=True) if p == 0])
    )
    tests = [row[1:] for row, part in zip(rows[1:], PART, strict=True) if part]
    (folder / "test.csv").write_bytes(dump([["pixels"], *tests], quote='"'))
    (folder / "example_submission.csv").write_text("id,emotion\n0,0\n")


def test_the_competitions_own_train_and_test_are_read_also_from_its_zip(at):
    contest(at)
    labels = np.where(PART == 0, LABELS, UNLABELED)
    for path, before in ((at, ""), (zip_of(at), "data.zip: ")):
        same(load(path), IMAGES, labels, np.where(PART == 0, 0, TEST))
        told = "train.csv and test.csv (not read: example_submission.csv)"
        assert load(path).source == before + told
    refused(zip_of(at), "data.zip: found 3 CSV files", faces.parse_test)
    ids, images = faces.parse_test(at / "test.csv")
    assert ids == []
    np.testing.assert_array_equal(images, IMAGES[PART > 0])
    (at / "icml_face_data.csv").write_bytes(dump(table("icml")))
    whole = "icml_face_data.csv (not read: example_submission.csv, test.csv, train.csv)"
    for path, before in ((at, ""), (zip_of(at), "data.zip: ")):
        same(load(path), IMAGES, LABELS, PART)
        assert load(path).source == before + whole


def test_labels_and_parts_are_never_taken_for_columns_more(at):
    """A table of labels that lost or misspelled a column is no table of pixels alone."""
    for header in (["emotion", "pixels", "Use"], ["labels", "pixels", "Usage"]):
        (at / "some.csv").write_bytes(dump([header, *table("kaggle")[1:]]))
        refused(at / "some.csv", "line 1: found the header")
    (at / "test.csv").write_bytes(dump([row[:2] for row in table("kaggle")]))
    refused(at, "test.csv, line 1: found the header .*, expected id,feature or pixels; ")


def test_hidden_names_do_not_count_in_a_zip(at):
    (at / "fer2013.csv").write_bytes(dump(table("kaggle")))
    for stray in ("._fer2013.csv", "__MACOSX/._fer2013.csv", "sub/._fer2013.csv"):
        (at / stray).parent.mkdir(exist_ok=True)
        (at / stray).write_bytes(b"\0\5\x16\7")
    same(load(zip_of(at)), IMAGES, LABELS, PART)
    assert load(zip_of(at)).source == "data.zip: fer2013.csv (not read: sub/)"


def test_a_zip_of_an_image_folder_is_read_and_its_refusals_name_the_place(tmp_path):
    root = write_folder(tmp_path / "faces")
    assert load(zip_of(root)).fingerprint == load(root).fingerprint
    assert load(zip_of(root)).source == "faces.zip: train/ and test/"
    one(lambda path: path.write_bytes(b"x"))(root)
    refused(zip_of(root), HAPPY + "found no readable image")
    (root / "test/disgust").rmdir()
    (root / "test/disgust").touch()
    refused(zip_of(root), "disgust: ")


def test_a_zip_is_seen_to_change(at):
    (at / "fer2013.csv").write_bytes(dump(table("kaggle")))
    assert load(zip_of(at)).labels[1] == 1
    (at / "fer2013.csv").write_bytes(put(LABEL, "6")(table("kaggle")))
    assert load(zip_of(at)).labels[1] == 6


@pytest.mark.parametrize("name", ["validation", "val", "Valid", "PublicTest"])
def test_a_validation_folder_is_public_test(tmp_path, name):
    root = write_folder(tmp_path / "folder")
    (root / name).mkdir()
    for emotion in EMOTIONS:
        (root / name / emotion.lower()).mkdir()
    for path in root.glob("test/*/PublicTest_*"):
        path.rename(root / name / path.parent.name / path.name.partition("_")[2])
    for path in root.glob("test/*/PrivateTest_*"):
        path.rename(path.with_name(path.name.partition("_")[2]))
    same(load(root), IMAGES, LABELS, np.where(PART == 2, TEST, PART))
    assert load(root).source == f"train/ and {name}/ and test/, {name} as PublicTest"
    one(lambda path: path.rename(root / name / "happy" / path.name))(root)
    refused(root, f"found Training in {name}/, expected PublicTest")


def test_what_lies_beside_what_is_read_is_named(at):
    write_folder(at)
    for name in ("train", "Validate"):
        (at / name).mkdir(exist_ok=True)
    for name in ("a.csv", "b.png", "test.csv", ".hidden", "Thumbs.db"):
        (at / name).touch()
    found = load(at)
    assert found.source == "train/ and test/ (not read: Validate/, a.csv, b.png, test.csv)"
    for i in range(9):
        (at / f"{i}.png").touch()
    named = ", ".join(f"{i}.png" for i in range(8))
    assert load(at).source == f"train/ and test/ (not read: {named}, 5 more)"


def test_a_folder_in_a_folder_is_found(tmp_path):
    root = write_folder(tmp_path / "deep/images")
    assert load(tmp_path / "deep").source == "images/train/ and test/"
    (root / "images").mkdir()
    assert load(tmp_path / "deep").source == "images/train/ and test/ (not read: images/)"
    assert load(zip_of(tmp_path / "deep")).source == (
        "deep.zip: images/train/ and test/ (not read: images/)"
    )


WORDS = ["anger disgusted fearful happiness sadness surprised neutral", "0 1 2 3 4 5 6"]
WORDS += ["Angry Disgust Fear Happy Sad suprise Neutral"]


@pytest.mark.parametrize("words", WORDS)
def test_other_words_for_emotions_are_read_and_said(tmp_path, words):
    root, words = write_folder(tmp_path / "folder"), words.split()
    for word, emotion in zip(words, EMOTIONS, strict=True):
        for part in ("train", "test"):
            (root / part / emotion.lower()).rename(root / part / word)
    found = load(root)
    same(found, IMAGES, LABELS, PART)
    unlike = [
        f", {word} as {emotion}"
        for word, emotion in zip(words, EMOTIONS, strict=True)
        if word.lower() != emotion.lower()
    ]
    assert found.source == "train/ and test/" + "".join(unlike)


def test_two_words_for_one_emotion_are_refused(tmp_path):
    root = write_folder(tmp_path / "folder")
    (root / "train/sadness").mkdir()
    refused(root, "train/: found missing, unknown or twice: 'sadness', expected one folder")
    (root / "train/sad").rename(tmp_path / "away")
    refused(root, "train/: found missing, unknown or twice: 'sad', 'sadness'")


def test_ferplus_is_called_by_its_name(at):
    for name in ("FER2013Train", "FER2013Valid", "FER2013Test"):
        (at / name).mkdir()
        (at / name / "label.csv").touch()
        (at / name / "fer0000000.png").touch()
    refused(at, "found FER., .* use fer2013.csv")
    refused(at / "FER2013Test", "found FER., .* use fer2013.csv")
    (at / "fer2013.csv").write_bytes(dump(table("kaggle")))
    named = "FER2013Test/, FER2013Train/, FER2013Valid/"
    assert load(at).source == f"fer2013.csv (not read: {named})"


def test_a_crop_is_a_square_of_the_upright_picture(tmp_path):
    picture = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1)))
    picture.save(tmp_path / "a.png")
    square = faces.picture(tmp_path / "a.png", "7,3,48")
    np.testing.assert_array_equal(square, np.tile(np.arange(7, 55, dtype=np.uint8), (48, 1)))
    middle = faces.picture(tmp_path / "a.png", "50,0,100")
    np.testing.assert_array_equal(middle, faces.picture(tmp_path / "a.png"))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: its rows grow to the left of what is shown
    picture.save(tmp_path / "turned.png", exif=exif)
    turned = faces.picture(tmp_path / "turned.png", "0,7,48")
    np.testing.assert_array_equal(turned, np.tile(np.arange(7, 55, dtype=np.uint8), (48, 1)).T)
    for crop in ("153,0,48", "0,53,48", "0,0,101", "0,0,0", "-1,0,9", "1,2", "a,b,c", "1,2,3,4"):
        message = f"a.png: found '{crop}' for 200x100 pixels, expected X,Y,SIZE"
        refused(tmp_path / "a.png", message, lambda p, crop=crop: faces.picture(p, crop))


def test_course_files_are_read_together(at):
    (at / "train.csv").write_bytes(dump(table("train", PART == 0)))
    (at / "test.csv").write_bytes(dump(table("test", PART > 0)))
    labels = np.where(PART == 0, LABELS, UNLABELED)
    same(load(at), IMAGES, labels, np.where(PART == 0, 0, TEST))
    assert load(at).source == "train.csv and test.csv"
    (at / "train.csv").unlink()
    same(load(at), IMAGES[8:], labels[8:], [TEST] * 4)


def test_a_folder_may_lack_a_part_and_its_names_may_tell_nothing(tmp_path):
    root = write_folder(tmp_path / "folder")
    for path in root.glob("*/*/*.png"):
        path.rename(path.with_name(path.name.partition("_")[2]))
    same(load(root), IMAGES, LABELS, np.where(PART == 0, 0, TEST))
    (root / "test").rename(tmp_path / "elsewhere")
    same(load(root), IMAGES[:8], LABELS[:8], PART[:8])


def test_jpegs_are_read_like_pillow_reads_them(tmp_path):
    root = write_folder(tmp_path / "folder")
    for path in root.glob("*/*/*.png"):
        Image.open(path).save(path.with_suffix(".jpg"), quality=90)
        path.unlink()
    truth = [
        np.asarray(Image.open(path))
        for path in sorted(root.glob("train/*/*.jpg"), key=lambda path: path.name)
    ]
    same(load(root).only("Training"), truth, LABELS[:8], PART[:8])


def test_parse_test_keeps_the_ids(tmp_path):
    rows = table("test")
    for row, name in zip(rows[1:], ["007", "a b", "é", *"abcdefghi"], strict=True):
        row[0] = name
    (tmp_path / "test.csv").write_bytes(dump(rows))
    ids, images = faces.parse_test(tmp_path / "test.csv")
    assert ids == ["007", "a b", "é", *"abcdefghi"]
    np.testing.assert_array_equal(images, IMAGES)
    (tmp_path / "train.csv").write_bytes(dump(table("train")))
    refused(tmp_path / "train.csv", "header", faces.parse_test)
    refused(tmp_path / "none.csv", "none.csv", faces.parse_test)


@pytest.mark.skipif(
    "HW3_TEST_FER2013" not in os.environ, reason="HW3_TEST_FER2013 names no folder with FER2013"
)
def test_fer2013_is_the_same_in_every_layout(tmp_path):
    there = Path(os.environ["HW3_TEST_FER2013"])
    for top in ("train", "test", "train.csv", "test.csv"):
        folder = tmp_path / ("course" if "." in top else "folder")
        folder.mkdir(exist_ok=True)
        (folder / top).symlink_to(there / top)
    kaggle = load(there / "fer2013.csv")
    assert kaggle.counts()["Training"] == dict(
        zip(EMOTIONS, (3995, 436, 4097, 7215, 4830, 3171, 4965), strict=True)
    )
    assert [len(kaggle.only(part)) for part in PARTS] == [28_709, 3_589, 3_589, 0]
    assert load(there / "icml_face_data.csv").fingerprint == kaggle.fingerprint
    assert load(tmp_path / "folder").fingerprint == kaggle.fingerprint
    course = load(tmp_path / "course")
    np.testing.assert_array_equal(course.images, kaggle.images)
    np.testing.assert_array_equal(course.only("Training").labels, kaggle.only("Training").labels)
    assert (course.only("Test").labels == UNLABELED).all()


# ---- odd and malformed inputs


def put(column, value, line=3):
    """Return what puts a value (or a function of the old one) into a line of a CSV, in the column
    so named.
    """

    def change(rows):
        at = [name.strip().lower() in column for name in rows[0]].index(True)
        rows[line - 1][at] = value(rows[line - 1][at]) if callable(value) else value
        return dump(rows)

    return change


def moved(rows):
    """Move a pixel from line 4 to line 3, so that the two have as many as two good ones."""
    put(PIXEL, lambda old: old + " 1", 3)(rows)
    return put(PIXEL, lambda old: old.rpartition(" ")[0], 4)(rows)


def zipped(*names, password=False, method=zipfile.ZIP_DEFLATED):
    def change(rows):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for name in names:
                archive.writestr(name, dump(rows))
        data = bytearray(file.getvalue())
        for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)) if password else ():
            data[data.index(mark) + offset] |= 1  # the flag of an encrypted member
        return bytes(data)

    return change


def flipped(data, at):
    data = bytearray(data)
    data[at] ^= 0xFF
    return bytes(data)


PIXEL, LABEL = ("pixels", "feature"), ("emotion", "label")
ALL, LABELED, USAGE, ID = tuple(HEADERS), ("train", "kaggle", "icml"), ("kaggle", "icml"), ("test",)
READ = None  # the verdict of an odd input that is read; a string is what the refusal must say
CSVS = [  # what, in which layouts, how to make the file from the rows, verdict
    ("CRLF", ALL, lambda rows: dump(rows, end="\r\n"), READ),
    ("byte order mark", ALL, lambda rows: b"\xef\xbb\xbf" + dump(rows), READ),
    ("quoted fields", ALL, lambda rows: dump(rows, quote='"'), READ),
    ("byte order mark and quotes", ALL, lambda rows: b"\xef\xbb\xbf" + dump(rows, quote='"'), READ),
    (
        "header in capitals and blanks",
        ALL,
        lambda rows: dump([[f" {n.upper()} " for n in rows[0]], *rows[1:]]),
        READ,
    ),
    ("columns in another order", ALL, lambda rows: dump([row[::-1] for row in rows]), READ),
    ("more columns", ALL, lambda rows: dump([["", *row, "é <b>x</b>"] for row in rows]), READ),
    (
        "blanks around cells",
        ALL,
        lambda rows: dump([[f" {cell} " for cell in row] for row in rows]),
        READ,
    ),
    ("doubled spaces", ALL, put(PIXEL, lambda old: old.replace(" ", "  ")), READ),
    (
        "numbers with zeros in front",
        ALL,
        put(PIXEL, lambda old: re.sub(r"\b(\d)\b", r"00\1", old)),
        READ,
    ),
    ("blank lines at the end", ALL, lambda rows: dump(rows) + b"\r\n  \n\n", READ),
    ("no end of the last line", ALL, lambda rows: dump(rows)[:-1], READ),
    ("gzip", ALL, lambda rows: gzip.compress(dump(rows)), READ),
    ("zip", ALL, zipped("some/train.csv"), READ),
    ("zip from a Mac", ALL, zipped("train.csv", "__MACOSX/._train.csv"), READ),
    ("zip of two CSVs", ALL, zipped("a.csv", "b.csv"), "found 'a.csv', 'b.csv', expected"),
    ("zip of a test with labels", LABELED, zipped("train.csv", "test.csv"), "test.csv, line 1"),
    ("zip without a CSV", ALL, zipped("train/happy/1.png"), "train/: found missing"),
    (
        "zip with a password",
        ALL,
        zipped("train.csv", password=True),
        "found a password or a rare method, expected a zip of deflated",
    ),
    (
        "zip by bzip2",
        ALL,
        zipped("train.csv", method=zipfile.ZIP_BZIP2),
        "found a password or a rare method, expected a zip of deflated",
    ),
    ("zip cut off", ALL, lambda rows: zipped("train.csv")(rows)[:-30], "unreadable"),
    (
        "zip damaged",
        ALL,
        lambda rows: flipped(zipped("train.csv")(rows), 2000),
        "unreadable|pixel|columns|byte|line",
    ),
    ("gzip cut off", ALL, lambda rows: gzip.compress(dump(rows))[:-9], "unreadable"),
    ("gzip damaged", ALL, lambda rows: flipped(gzip.compress(dump(rows)), -6), "unreadable"),
    ("empty", ALL, lambda rows: b"", "empty"),
    ("only a header", ALL, lambda rows: dump(rows[:1]), "only a header"),
    ("no header", ALL, lambda rows: dump(rows[1:]), "line 1: found the header"),
    ("repeated header", ALL, lambda rows: dump([*rows[:2], *rows]), "line [34], column"),
    ("semicolons", ALL, lambda rows: dump(rows, comma=";"), "line 1: found the header"),
    ("tabs", ALL, lambda rows: dump(rows, comma="\t"), "line 1: found the header"),
    (
        "semicolons below the header",
        ALL,
        lambda rows: dump(rows[:1]) + dump(rows[1:], ";"),
        "line 2: found 1 columns",
    ),
    (
        "pixels in columns",
        ALL,
        put(PIXEL, lambda old: old.replace(" ", ",")),
        "line 3: found 230. columns",
    ),
    (
        "a column twice",
        ALL,
        lambda rows: dump([row + row[:1] for row in rows]),
        "line 1: found the header",
    ),
    (
        "a column missing",
        ALL,
        lambda rows: dump([row[1:] for row in rows]),
        "line 1: found the header",
    ),
    (
        "a cell missing",
        ALL,
        lambda rows: dump([*rows[:2], rows[2][1:], *rows[3:]]),
        "line 3: found . columns",
    ),
    ("cut off in a row", ALL, lambda rows: dump(rows[:4])[:-4000], "line 4"),
    (
        "cut off in a character",
        ALL,
        lambda rows: dump(rows[:4])[:-50] + "é".encode()[:1],
        "line 4: found byte 0xc3",
    ),
    (
        "Latin-1",
        ALL,
        lambda rows: dump([[*row, "é"] for row in rows]).decode().encode("latin1"),
        "line 1: found byte 0xe9",
    ),
    ("UTF-16", ALL, lambda rows: dump(rows).decode().encode("utf-16"), "line 1: found UTF-16"),
    ("UTF-16, no mark", ALL, lambda rows: dump(rows).decode().encode("utf-16-be"), "found UTF-16"),
    ("NUL byte", ALL, put(PIXEL, lambda old: old[:99] + "\0" + old[100:]), "line 3: found a NUL"),
    ("old Mac line ends", ALL, lambda rows: dump(rows[:3], end="\r"), "line 1: found the header"),
    (
        "blank line between",
        ALL,
        lambda rows: dump(rows[:2]) + b"\n" + dump(rows[2:]),
        "line 3: found a blank line",
    ),
    ("quote that never ends", ALL, put(PIXEL, lambda old: '"' + old), "line 3: found a quote"),
    (
        "2,303 pixels",
        ALL,
        put(PIXEL, lambda old: old.rpartition(" ")[0]),
        "line 3, column .*: found 2303 pixels",
    ),
    (
        "2,305 pixels",
        ALL,
        put(PIXEL, lambda old: old + " 1"),
        "line 3, column .*: found 2305 pixels",
    ),
    ("no pixels", ALL, put(PIXEL, ""), "line 3, column .*: found 0 pixels"),
    ("one more, then one less", ALL, moved, "line 3, column .*: found 2305 pixels"),
    (
        "negative",
        ALL,
        put(PIXEL, lambda old: "-1" + old[1:]),
        "line 3, column .*: found '-1.*' as pixel 1, ",
    ),
    (
        "floating",
        ALL,
        put(PIXEL, lambda old: old + ".0"),
        "line 3, column .*: found '.*.0' as pixel 2304, ",
    ),
    (
        "256",
        ALL,
        put(PIXEL, lambda old: "256" + old[old.index(" ") :]),
        "found '256' as pixel 1, expected 0 to 255",
    ),
    (
        "999",
        ALL,
        put(PIXEL, lambda old: "999" + old[old.index(" ") :]),
        "found '999' as pixel 1, expected 0 to 255",
    ),
    (
        "four digits",
        ALL,
        put(PIXEL, lambda old: "0001" + old[old.index(" ") :]),
        "found '0001' as pixel 1",
    ),
    ("words", ALL, put(PIXEL, lambda old: "nan" + old[old.index(" ") :]), "found 'nan' as pixel 1"),
    (
        "digits of another script",
        ALL,
        put(PIXEL, lambda old: "٣" + old[old.index(" ") :]),
        "as pixel 1",
    ),
    (
        "tab between pixels",
        ALL,
        put(PIXEL, lambda old: old.replace(" ", "\t", 1)),
        "line 3, column .*as pixel 1",
    ),
    (
        "brackets",
        ALL,
        put(PIXEL, lambda old: f"[{old}]"),
        r"line 3, column .*: found '\[.*' as pixel 1",
    ),
    (
        "a very long line",
        ALL,
        put(PIXEL, lambda old: old + " " * 20_000),
        "line 3: found 20000 bytes",
    ),
    ("label 7", LABELED, put(LABEL, "7"), "line 3, column .*: found '7', expected 0, 1"),
    ("label -1", LABELED, put(LABEL, "-1"), "line 3, column .*: found '-1'"),
    ("label as a word", LABELED, put(LABEL, "Happy"), "line 3, column .*: found 'Happy'"),
    ("label as a float", LABELED, put(LABEL, "3.0"), "line 3, column .*: found '3.0'"),
    ("label missing", LABELED, put(LABEL, ""), "line 3, column .*: found ''"),
    ("label as HTML", LABELED, put(LABEL, "<script>"), "line 3, column .*: found '<script>'"),
    ("label as a formula", LABELED, put(LABEL, "=1+2"), "line 3, column .*: found '=1.2'"),
    (
        "label as a line of control characters",
        LABELED,
        put(LABEL, "\x1b[2J\x85"),
        r"found '\\x1b\[2J\\x85'",
    ),
    (
        "unknown Usage",
        USAGE,
        put("usage", "Validation"),
        "line 3, column usage: found 'Validation', expected Training",
    ),
    ("Usage missing", USAGE, put("usage", ""), "line 3, column usage: found ''"),
    ("duplicate id", ID, put("id", "0"), "line 3, column id: found '0' as in test.csv, line 2"),
    ("id missing", ID, put("id", ""), "line 3, column id: found ''"),
]


@pytest.mark.parametrize(
    ("layout", "make", "verdict"),
    [
        pytest.param(layout, make, verdict, id=f"{what}-{layout}")
        for what, layouts, make, verdict in CSVS
        for layout in layouts
    ],
)
def test_an_odd_csv_is_read_or_refused(tmp_path, layout, make, verdict):
    path = tmp_path / ("test.csv" if layout == "test" else "data.csv")
    rows = table(layout)
    path.write_bytes(make(rows))
    if verdict is READ:
        same(load(path), *expected(layout))
    else:
        refused(path, verdict)


def test_the_same_row_is_named_wherever_the_fault_is(tmp_path):
    """Faults in the first, a middle and the last row of several batches."""
    for line in (2, 17, 18, 19, 40):
        rows = [list(row) for row in [HEADERS["train"], *table("train")[1:] * 4][:40]]
        (tmp_path / "train.csv").write_bytes(put(PIXEL, lambda old: old[:-1] + "x", line)(rows))
        refused(tmp_path / "train.csv", f"line {line}, column feature")


def one(change):
    """Return what changes one picture of the folder."""
    return lambda root: change(next(iter(sorted(root.glob("train/happy/*.png")))))


def resave(convert, **options):
    def change(path):
        with Image.open(path) as image:
            convert(image.copy()).save(path, "PNG", **options)

    return one(change)


def sixteen_bits(path):
    Image.fromarray(IMAGES[3].astype(np.uint16) * 257).save(path)


def tinted(image):
    image = image.convert("RGB")
    image.putpixel((5, 5), (1, 2, 3))
    return image


def linked(path):
    path.rename(path.parents[3] / "elsewhere.png")
    path.symlink_to(path.parents[3] / "elsewhere.png")


def strays(root):
    for stray in (
        ".DS_Store",
        "train/Thumbs.db",
        "test/angry/.hidden.png",
        "train/sad/desktop.ini",
        "notes.txt",
    ):
        (root / stray).write_text("x")
    (root / "train" / ".git").mkdir()


HAPPY = "train/happy/Training_00003.png: "
FOLDERS = [  # what, how to change a good folder, verdict
    ("stray files", strays, READ),
    ("folders with capitals", lambda root: (root / "train/sad").rename(root / "train/SAD"), READ),
    ("gray in three channels", resave(lambda image: image.convert("RGB")), READ),
    ("gray in four channels", resave(lambda image: image.convert("RGBA")), READ),
    ("gray with opacity", resave(lambda image: image.convert("LA")), READ),
    ("gray in a palette", resave(lambda image: image.convert("P")), READ),
    ("interlaced or optimized", resave(lambda image: image, optimize=True), READ),
    ("link to an image", one(linked), READ),
    ("colors", resave(tinted), HAPPY + "found 48x48 RGB with colors"),
    (
        "transparency",
        resave(lambda image: image.convert("LA").point(lambda v: min(v, 254))),
        HAPPY + "found 48x48 LA with",
    ),
    ("black and white", resave(lambda image: image.convert("1")), HAPPY + "found 48x48 1,"),
    ("16 bits", one(sixteen_bits), HAPPY + "found 48x48 16-bit, expected 48x48 L"),
    ("224x224", resave(lambda image: image.resize((224, 224))), HAPPY + "found 224x224 L"),
    ("48x47", resave(lambda image: image.crop((0, 0, 48, 47))), HAPPY + "found 48x47 L"),
    (
        "not an image",
        one(lambda path: path.write_text("x" * 5000)),
        HAPPY + "found no readable image",
    ),
    ("empty image", one(lambda path: path.write_bytes(b"")), HAPPY + "found no readable image"),
    (
        "image cut off",
        one(lambda path: path.write_bytes(path.read_bytes()[:1000])),
        HAPPY + "found no readable image",
    ),
    (
        "damaged header",
        one(lambda path: path.write_bytes(flipped(path.read_bytes(), 18))),
        HAPPY + "found no readable image",
    ),
    (
        "damaged pixels",
        one(lambda path: path.write_bytes(flipped(path.read_bytes(), 45))),
        HAPPY + "found no readable image",
    ),
    (
        "broken link",
        one(lambda path: (path.unlink(), path.symlink_to("nowhere"))),
        HAPPY + "found no image file",
    ),
    (
        "folder with an image's name",
        one(lambda path: (path.unlink(), path.mkdir())),
        HAPPY + "found no image file",
    ),
    (
        "pipe with an image's name",
        one(lambda path: (path.unlink(), os.mkfifo(path))),
        HAPPY + "found no image file",
    ),
    (
        "text among the images",
        one(lambda path: path.with_name("list.txt").write_text("x")),
        "train/happy/list.txt: ",
    ),
    (
        "emotion folder missing",
        lambda root: (root / "test/disgust").rmdir(),
        "test/: found missing.*: 'disgust'",
    ),
    (
        "emotion folder misspelt",
        lambda root: (root / "train/sad").rename(root / "train/sadd"),
        "train/: .*'sad', 'sadd'",
    ),
    ("emotion folder twice", lambda root: (root / "train/Sad").mkdir(), "train/: .*twice: 'sad'"),
    ("an eighth emotion", lambda root: (root / "train/contempt").mkdir(), "train/: .*'contempt'"),
    (
        "file for an emotion",
        lambda root: ((root / "test/disgust").rmdir(), (root / "test/disgust").touch()),
        "disgust: ",
    ),
    (
        "test face in train",
        one(lambda path: path.rename(path.with_name("PrivateTest_1.png"))),
        "found PrivateTest in train/",
    ),
    (
        "no images",
        lambda root: [path.unlink() for path in root.glob("*/*/*.png")],
        "train/: found 0 images",
    ),
]


@pytest.mark.parametrize(
    ("change", "verdict"), [pytest.param(*case[1:], id=case[0]) for case in FOLDERS]
)
def test_an_odd_image_folder_is_read_or_refused(tmp_path, change, verdict):
    root = write_folder(tmp_path / "folder")
    change(root)
    if verdict is READ:
        same(load(root), IMAGES, LABELS, PART)
    else:
        refused(root, verdict)


PLACES = [  # what, how to make what is at the path, verdict
    ("nothing", lambda path: None, "nothing there"),
    ("empty directory", lambda path: path.mkdir(), "found nothing, expected fer2013.csv"),
    (
        "directory of other files",
        lambda path: (path.mkdir(), (path / "a.txt").touch()),
        "found 'a.txt', expected",
    ),
    (
        "directory for a CSV",
        lambda path: (path / "fer2013.csv").mkdir(parents=True),
        "fer2013.csv: found it unreadable",
    ),
    (
        "test.csv with labels",
        lambda path: (path.mkdir(), (path / "test.csv").write_bytes(dump(table("train")))),
        "header",
    ),
    ("a pipe", os.mkfifo, "unreadable"),
    ("an image", lambda path: Image.fromarray(IMAGES[0]).save(path, "PNG"), "found byte 0x89"),
    ("a link to itself", lambda path: path.symlink_to(path), "nothing there|unreadable"),
]


@pytest.mark.parametrize(
    ("make", "verdict"), [pytest.param(*case[1:], id=case[0]) for case in PLACES]
)
def test_a_wrong_path_is_refused(tmp_path, make, verdict):
    make(tmp_path / "data")
    refused(tmp_path / "data", verdict)


def test_what_may_not_be_read_is_refused(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    tmp_path.chmod(0o755)
    here, root = os.getcwd(), os.geteuid() == 0
    os.chdir(tmp_path)  # an ordinary user may not come here through the folders above
    try:
        if root:  # root may read all, so be somebody else for a moment
            os.seteuid(65534)
        refused("locked", "locked: found it unreadable .'Permission denied'")
    finally:
        if root:
            os.seteuid(0)
        os.chdir(here)
        (tmp_path / "locked").chmod(0o755)


@pytest.mark.parametrize("layout", ["kaggle", "folder"])
def test_data_that_change_while_they_are_read_are_refused(tmp_path, monkeypatch, layout):
    path, changed = tmp_path / "fer2013.csv", tmp_path / "fer2013.csv"
    path.write_bytes(dump(table("kaggle")))
    if layout == "folder":
        path = write_folder(tmp_path / "folder")
        changed = path / "train/angry/Training_00000.png"
    reader = csvs if layout == "kaggle" else images
    read = reader.read

    def read_while_changing(files):
        arrays = read(files)
        os.utime(changed, (1, 1))
        return arrays

    monkeypatch.setattr(reader, "read", read_while_changing)
    refused(path, "changed while it was read")


@pytest.mark.parametrize("packed", [False, True])
def test_a_huge_line_is_refused_without_reading_it(tmp_path, packed):
    path = tmp_path / "train.csv"
    path.write_bytes(b"label,feature\n0,")
    if packed:
        path.write_bytes(gzip.compress(b"label,feature\n0," + bytes(50_000_000), 1))
    else:
        os.truncate(path, 2 << 30)  # 2 GB that take no room on the disk
    tracemalloc.start()
    refused(path, "line 2: found 20000 bytes")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_too_many_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csvs, "MAX_FACES", 32)
    rows = table("train")
    (tmp_path / "train.csv").write_bytes(dump([rows[0], *rows[1:] * 3]))
    refused(tmp_path / "train.csv", "over 32 rows")


# ---- the fast reader against a simple slow one


def test_the_fast_way_reads_every_number_after_every_other():
    values = np.array([(a, b) for a in range(256) for b in range(256)]).ravel()
    rows = np.append(values, np.zeros(-len(values) % 2304, int)).reshape(-1, 2304)
    np.testing.assert_array_equal(csvs._parse([" ".join(map(str, row)) for row in rows]), rows)


def slow_reader(data, layout):
    """Return images, labels and parts of a CSV, or None where it must be refused; written for
    clarity alone.
    """
    columns = {"train": ("label", "feature"), "kaggle": ("emotion", "usage", "pixels")}[layout]
    try:
        lines = data.decode("utf-8-sig").split("\n")
        while lines and not lines[-1].strip():
            lines.pop()
        rows = [next(csv.reader([line.rstrip("\r")], strict=True)) for line in lines]
        names = [name.strip(" ").lower() for name in rows[0]]
        if "\0" in "".join(lines) or any(names.count(c) != 1 for c in columns) or len(rows) < 2:
            return None
        images, labels, parts = [], [], []
        for row in rows[1:]:
            label, *usage, feature = [row[names.index(c)].strip(" ") for c in columns]
            values = [value for value in feature.split(" ") if value]
            right = all(re.fullmatch("[0-9]{1,3}", value) and int(value) < 256 for value in values)
            if (
                len(row) != len(names)
                or label not in list("0123456")
                or len(values) != 2304
                or not right
            ):
                return None
            images.append([int(value) for value in values])
            labels.append(int(label))
            parts.append(PARTS.index(usage[0]) if usage else 0)
        return np.array(images).reshape(-1, 48, 48), labels, parts
    except (UnicodeDecodeError, csv.Error, StopIteration, IndexError, ValueError):
        return None


PIECES = [
    b"0",
    b"7",
    b"25",
    b" ",
    b"  ",
    b"",
    b",",
    b"\n",
    b"\r",
    b"\r\n",
    b'"',
    b"-",
    b".",
    b"\t",
    b"\0",
    b"\xc3",
    b"\xc3\xa9",
]
HARMLESS = st.sampled_from(
    PIECES[:5]
)  # more often than the others, so that many damaged files are still readable
DAMAGE = st.tuples(
    st.booleans(), st.integers(0, 1 << 30), HARMLESS | st.sampled_from(PIECES), st.integers(0, 1)
)


@pytest.mark.parametrize("layout", ["train", "kaggle"])
def test_the_fast_reader_agrees_with_a_slow_one_on_random_damage(tmp_path, layout):
    path, good, accepted = tmp_path / f"{layout}.csv", dump(table(layout, slice(7, 10))), []

    @settings(max_examples=120, derandomize=True, deadline=None, database=None)
    @given(st.lists(DAMAGE, min_size=1, max_size=2))
    def agrees(damages):
        data = good
        for at_edge, place, piece, cut in damages:
            # half of the damage falls on the edges of rows and cells, where readers go wrong
            edges = (
                [match.start() for match in re.finditer(rb"[,\n]|(?<=[,\n])", data)]
                if at_edge
                else range(len(data))
            )
            at = edges[place % len(edges)] if edges else 0
            data = data[:at] + piece + data[at + cut :]
        path.write_bytes(data)
        truth = slow_reader(data, layout)
        accepted.append(truth is not None)
        if truth is None:
            refused(path, path.name)
        else:
            same(load(path), *truth)

    agrees()
    assert 0.1 < np.mean(accepted) < 0.9, "else the comparison would say little"


# ---- the cache


@pytest.fixture
def reads(monkeypatch):
    """Count how often files are really parsed."""
    calls, read = [], csvs.read
    monkeypatch.setattr(csvs, "read", lambda files: calls.append(files) or read(files))
    return calls


def test_a_second_load_comes_from_the_cache(tmp_path, reads):
    (tmp_path / "fer2013.csv").write_bytes(dump(table("kaggle")))
    first, second = load(tmp_path / "fer2013.csv"), load(tmp_path / "fer2013.csv")
    assert len(reads) == 1
    assert first.fingerprint == second.fingerprint
    same(second, IMAGES, LABELS, PART)
    assert [path.parent for path in tmp_path.glob("_build/**/*") if path.is_file()] == [
        tmp_path / "_build" / "cache"
    ]


@pytest.mark.parametrize("at", [0, 5_000, -33, -1])
@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_cache_is_made_again(tmp_path, reads, capsys, at, cut):
    (tmp_path / "fer2013.csv").write_bytes(dump(table("kaggle")))
    load(tmp_path / "fer2013.csv")
    (cache,) = tmp_path.glob("_build/cache/*")
    whole = cache.read_bytes()
    cache.write_bytes(whole[:at] if cut else flipped(whole, at))
    same(load(tmp_path / "fer2013.csv"), IMAGES, LABELS, PART)
    assert len(reads) == 2
    assert re.fullmatch("hw3: the cache .* is damaged; it is made again\n", capsys.readouterr().err)
    assert cache.read_bytes() == whole


def test_an_edited_file_is_read_again(tmp_path, reads, capsys):
    path = tmp_path / "train.csv"
    path.write_bytes(dump(table("train")))
    before, stat = load(path), path.stat()
    path.write_bytes(put(LABEL, "6")(table("train")))
    os.utime(
        path, ns=(stat.st_atime_ns, stat.st_mtime_ns)
    )  # of the same size, and it hides when it changed
    assert (before.labels[1], load(path).labels[1]) == (1, 6)
    assert len(reads) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("module", ["faces", "layouts", "csvs", "images", "fer2013", "errors"])
def test_an_edited_loader_reads_again(tmp_path, reads, monkeypatch, module):
    (tmp_path / "train.csv").write_bytes(dump(table("train")))
    load(tmp_path / "train.csv")
    (old,) = (path for path in cache.CODE if path.stem == module)
    (tmp_path / old.name).write_bytes(old.read_bytes() + b"# changed\n")
    code = [tmp_path / old.name if path == old else path for path in cache.CODE]
    monkeypatch.setattr(cache, "CODE", code)
    load(tmp_path / "train.csv")
    assert len(reads) == 2


def test_an_image_more_or_changed_is_seen(tmp_path):
    root = write_folder(tmp_path / "folder")
    assert len(load(root)) == 12
    Image.fromarray(IMAGES[5]).save(root / "train/sad/Training_00099.png")
    assert len(load(root)) == 13
    Image.fromarray(IMAGES[6]).save(root / "train/sad/Training_00099.png")
    np.testing.assert_array_equal(load(root).images[8], IMAGES[6])


def test_without_a_place_for_the_cache_faces_still_load(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HW3_BUILD", str(tmp_path / "file" / "build"))
    (tmp_path / "train.csv").write_bytes(dump(table("train")))
    same(load(tmp_path / "train.csv"), *expected("train"))
    assert re.fullmatch("hw3: the faces are not cached: .*\n", capsys.readouterr().err)


# ---- where the data come from, and what Faces can do


def test_data_come_from_the_argument_then_the_environment_then_data_then_the_drawn_faces(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(faces, "ROOT", tmp_path)
    monkeypatch.setattr(faces, "drawn", lambda: "the drawn faces")
    assert faces.find() == faces.find("") == "the drawn faces"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".gitkeep").touch()
    assert faces.find() == "the drawn faces"
    for folder, name in (
        ("data", "train.csv"),
        ("environment", "fer2013.csv"),
        ("argument", "icml_face_data.csv"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(
            dump(table({"t": "train", "f": "kaggle", "i": "icml"}[name[0]]))
        )
    assert faces.find().source == "train.csv"
    monkeypatch.setenv("HW3_DATA", str(tmp_path / "environment"))
    assert faces.find().source == "fer2013.csv"
    assert faces.find(tmp_path / "argument").source == "icml_face_data.csv"
    refused(tmp_path / "typo", "nothing there", faces.find)


def test_data_that_hold_something_else_are_refused_and_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(faces, "ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").touch()
    refused(None, "notes.txt", faces.find)


def test_drawn_faces_have_parts_and_are_drawn_once(tmp_path, monkeypatch):
    first = faces.drawn(40, seed=3)
    assert [len(first.only(part)) for part in PARTS] == [32, 4, 4, 0]
    assert (first.name, first.images.shape) == ("drawn faces", (40, 48, 48))
    monkeypatch.setattr("hw3.sources.drawn.draw", None)
    assert faces.drawn(40, seed=3).fingerprint == first.fingerprint


def test_faces_count_select_and_stay_as_they_are(tmp_path):
    (tmp_path / "train.csv").write_bytes(dump(table("train", PART == 0)))
    (tmp_path / "test.csv").write_bytes(dump(table("test", PART > 0)))
    found = load(tmp_path)
    assert found.counts() == {
        "Training": dict(zip(EMOTIONS, (1, 1, 1, 2, 1, 1, 1), strict=True)),
        "Test": dict.fromkeys(EMOTIONS, 0) | {"unlabeled": 4},
    }
    assert len(found.only("Test")) == 4
    assert len(found.only("PublicTest")) == 0
    assert re.fullmatch("[0-9a-f]{16}", found.fingerprint)
    turned = faces.Faces(
        found.images[::-1], found.labels[::-1], found.part[::-1], found.name, found.source
    )
    assert turned.fingerprint != found.fingerprint
    with pytest.raises(ValueError, match="read-only"):
        found.images[0] = 0

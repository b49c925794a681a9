"""The command line: what it prints, and one clear line for every mistake."""

import csv
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from beyond import __main__ as beyond
from beyond import audit
from hw3 import __main__ as cli
from hw3 import commands, faces, models, runs, trained, weights
from hw3.disk import ROOT, locked
from hw3.recipes import recipe
from hw3.sources import download, drawn, layouts
from press import __main__ as press
from press import build, chapters, translate


def write_train(path, rows=40, seed=0):
    """Write a small course train.csv of random pixels."""
    rng = np.random.default_rng(seed)
    lines = [f"{i % 7}," + " ".join(map(str, rng.integers(0, 256, 2304))) for i in range(rows)]
    path.write_text("label,feature\n" + "\n".join(lines) + "\n")
    return path


def fails(capsys, *arguments):
    """Run a command that must fail; return its one line."""
    main = press.main if arguments[0] in ("book", "translations") else cli.main
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    line = stopped.value.code
    assert isinstance(line, str), "exit status 1 and a message"
    assert line.startswith("hw3: ")
    assert "\n" not in line
    return line


def test_help_and_data_do_not_import_keras(tmp_path):
    code = "import sys; from hw3.__main__ import main\n"
    code += "try: main(sys.argv[1:])\nexcept SystemExit: pass\nprint('keras' in sys.modules)"
    path = write_train(tmp_path / "train.csv")
    for arguments, said in ((["--help"], "evaluate"), (["data", "--data", str(path)], "40 faces")):
        out = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        ).stdout
        assert said in out
        assert out.endswith("False\n")


def test_every_command_is_summed_up_in_a_whole_sentence(monkeypatch):
    made = []
    monkeypatch.setattr(commands.Commands, "run", lambda self, _: made.append(self))
    for package in (cli, beyond, press):
        package.main([])
    functions = [p.get_default("run") for m in made for p in m.commands.choices.values()]
    assert len(functions) == 15
    assert all(f.__doc__.partition("\n")[0].endswith(".") for f in functions)


def test_data_describes_what_it_found(tmp_path, capsys):
    cli.main(["data", "--data", str(write_train(tmp_path / "train.csv"))])
    out = capsys.readouterr().out
    assert "40 faces" in out
    assert "train.csv" in out
    assert "Training: 40 (Angry 6" in out


def test_missing_path_is_one_line(tmp_path, capsys):
    assert "nowhere.csv" in fails(capsys, "data", "--data", tmp_path / "nowhere.csv")


def test_home_is_found_where_the_shell_does_not_put_it_in(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_train(tmp_path / "train.csv")
    cli.main(["data", "--data", "~/train.csv"])
    assert "40 faces" in capsys.readouterr().out
    env = os.environ | {"HW3_DATA": "~/train.csv"}
    done = subprocess.run(
        [sys.executable, "-m", "hw3", "data"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "40 faces" in done.stdout


def test_an_empty_path_is_refused_not_taken_for_the_drawn_faces(capsys):
    with pytest.raises(SystemExit):
        cli.main(["data", "--data", ""])
    assert "the path is empty" in capsys.readouterr().err


def test_unknown_and_missing_backends_are_one_line(capsys, monkeypatch):
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    for backend, said in (("nonsense", "name tensorflow or jax"), ("jax", "not installed")):
        monkeypatch.setenv("KERAS_BACKEND", backend)
        assert said in fails(capsys, "results")


def test_bad_row_is_named(tmp_path, capsys):
    path = write_train(tmp_path / "train.csv", rows=3)
    path.write_text(path.read_text().replace("\n1,", "\n9,"))
    assert "train.csv, line 3, column label" in fails(capsys, "data", "--data", path)


def test_a_download_that_is_broken_off_leaves_nothing_that_is_taken_for_fer2013(
    tmp_path, monkeypatch, capsys
):
    def got(name):
        for i in range(3):
            place = tmp_path / "kaggle" / ("train", "test")[i % 2] / "happy" / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"picture")
        return str(tmp_path / "kaggle")

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=got))
    monkeypatch.setattr(download, "ROOT", tmp_path)
    copy = shutil.copytree

    def broken_off(*arguments):
        copy(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", broken_off)
        assert "interrupted" in fails(capsys, "data", "--download")
    assert layouts.children(tmp_path / "data") == []
    with monkeypatch.context() as patched:
        patched.setattr(
            shutil, "copyfile", Mock(side_effect=OSError(28, "No space left on device"))
        )
        assert "No space left on device" in fails(capsys, "data", "--download")
    assert list((tmp_path / "data").iterdir()) == []
    cli.download()
    pictures = sorted((tmp_path / "data").rglob("*.png"))
    assert [p.relative_to(tmp_path / "data").as_posix() for p in pictures] == [
        "test/happy/1.png",
        "train/happy/0.png",
        "train/happy/2.png",
    ]
    assert {p.name for p in (tmp_path / "data").iterdir()} == {"train", "test"}
    (tmp_path / "data" / "train" / "mine.png").write_bytes(b"mine")
    assert "is there already" in fails(capsys, "data", "--download")
    assert (tmp_path / "data" / "train" / "mine.png").exists()


def test_a_chapter_that_is_no_plain_python_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (tmp_path / "book").mkdir()
    magic = '[{"cell_type": "raw", "metadata": {}, "source": "%"}, '
    magic += '{"cell_type": "code", "metadata": {}, "source": ["x = 1\\n", "%time x"]}]'
    for cells, said in (
        (magic, "cell 2, line 2"),
        ('[{"cell_type": "code"', "no whole notebook"),
        ('[{"cell_type": "code"}]', "no whole notebook"),
    ):
        (tmp_path / "book" / "cnn.ipynb").write_text(f'{{"cells": {cells}}}')
        line = fails(
            capsys, "book", "--profile", "smoke", "--data", write_train(tmp_path / "train.csv")
        )
        assert line.startswith("hw3: book/cnn.ipynb")
        assert said in line


def test_broken_settings_are_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    (build.build_dir() / ".doctrees").mkdir(parents=True)
    for text in ("title: [", "title: x", "- title", ""):
        (tmp_path / "_config.yml").write_text(text)
        assert "_config.yml is not what is expected" in fails(capsys, "translations")


def test_a_notebook_beside_the_chapters_disturbs_no_translation(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "book", tmp_path / "book")
    for name in ("hw3", "beyond", "press", "results", "_config.yml", "_toc.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setattr(translate, "ROOT", tmp_path)
    texts = translate.source()
    (tmp_path / "book" / "Untitled.ipynb").write_text(
        '{"cells": [{"cell_type": "code", "source": ["%time"]}]}'
    )
    assert translate.source() == texts


def test_download_without_kagglehub_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    assert "kagglehub is not installed" in fails(capsys, "data", "--download")


def test_evaluate_and_predict_need_a_trained_network(tmp_path, capsys):
    path = write_train(tmp_path / "train.csv")
    assert "train dnn" in fails(capsys, "evaluate", "dnn", "--data", path, "--profile", "smoke")
    test = tmp_path / "test.csv"
    test.write_text("id,feature\n0," + " ".join(["7"] * 2304) + "\n")
    assert "train dnn" in fails(
        capsys, "predict", test, "-o", tmp_path / "r.csv", "--data", path, "--network", "dnn"
    )
    assert not (tmp_path / "r.csv").exists()


@pytest.mark.keras
def test_train_evaluate_predict(tmp_path, capsys):
    path = write_train(tmp_path / "train.csv")
    options = ["--data", str(path), "--profile", "smoke"]
    cli.main(["train", "dnn", *options])
    trained = capsys.readouterr().out.splitlines()[-1]
    cli.main(["evaluate", "dnn", *options])
    assert capsys.readouterr().out.splitlines()[-1] == trained
    assert trained.startswith("held-out: accuracy")

    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (5, 2304))
    test = tmp_path / "test.csv"
    test.write_text(
        "id,feature\n"
        + "".join(f"{i + 10},{' '.join(map(str, row))}\n" for i, row in enumerate(images))
    )
    result = tmp_path / "result.csv"
    cli.main(["predict", str(test), "-o", str(result), "--network", "dnn", *options])
    lines = result.read_text().splitlines()
    assert lines[0] == "id,label"
    assert [line.split(",")[0] for line in lines[1:]] == ["10", "11", "12", "13", "14"]
    model = weights.load_model("dnn", faces.load(path), recipe("dnn", "smoke"))
    from hw3 import train

    expected = train.predict(model, images.reshape(-1, 48, 48).astype(np.uint8)).argmax(1)
    assert [int(line.split(",")[1]) for line in lines[1:]] == expected.tolist()

    saved = runs.run_folder("dnn", faces.load(path), recipe("dnn", "smoke")) / "model.weights.h5"
    whole = saved.read_bytes()
    saved.write_bytes(whole[: len(whole) // 2] + bytes(1000) + whole[len(whole) // 2 + 1000 :])
    line = fails(capsys, "predict", test, "-o", result, "--network", "dnn", *options)
    assert "damaged: model.weights.h5" in line


def test_result_that_cannot_be_written_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(weights, "load_small", lambda: (None, {"label": "nothing"}))
    from hw3 import train

    monkeypatch.setattr(train, "predict", lambda model, images, views: np.eye(7)[:1])
    test = tmp_path / "test.csv"
    test.write_text("id,feature\n0," + " ".join(["7"] * 2304) + "\n")
    (tmp_path / "file").write_text("not a folder")
    fails(capsys, "predict", test, "-o", tmp_path / "file" / "r.csv")
    train = write_train(tmp_path / "train.csv")
    for taken in (test, tmp_path, train, os.devnull):
        assert "name a new file" in fails(capsys, "predict", test, "-o", taken)
    assert test.read_text().startswith("id,feature")
    assert train.read_text().startswith("label,feature")
    for _ in range(2):  # an earlier submission may be replaced
        cli.main(["predict", str(test), "-o", str(tmp_path / "r.csv")])


def test_ids_with_commas_and_quotes_stay_one_column(tmp_path, monkeypatch):
    cli.write_submission(str(tmp_path / "r.csv"), ["a,b", 'c"d', "3"], np.array([0, 1, 2]))
    with open(tmp_path / "r.csv", newline="") as file:
        assert list(csv.reader(file)) == [["id", "label"], ["a,b", "0"], ['c"d', "1"], ["3", "2"]]


def test_own_networks_predict_by_the_views_of_their_recipe(tmp_path, monkeypatch):
    from hw3 import train

    seen = []
    monkeypatch.setattr(weights, "load_model", lambda *_: None)
    monkeypatch.setattr(weights, "load_small", lambda: (None, {"label": "nothing"}))
    monkeypatch.setattr(
        train, "predict", lambda model, images, views: seen.append(views) or np.eye(7)[:1]
    )
    Image.new("L", (48, 48)).save(tmp_path / "gray.png")
    data = ["--data", str(write_train(tmp_path / "train.csv"))]
    for options in (["--network", "dnn", "--recipe", "modern", "--profile", "full", *data], []):
        cli.main(["predict", str(tmp_path / "gray.png"), *options])
    assert seen == [2, 1]


@pytest.mark.keras
def test_predict_prints_the_probabilities_of_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(weights, "SMALL", tmp_path / "cnn.npz")
    weights.save_small(models.cnn(), {"label": "untrained", "architecture": "original"})
    for name, mode, size in (("color.jpg", "RGB", (200, 120)), ("gray.png", "L", (48, 48))):
        Image.new(mode, size).save(tmp_path / name)
    cli.main(["predict", str(tmp_path / "color.jpg"), str(tmp_path / "gray.png")])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "recorded CNN: untrained"
    assert len(lines) == 2
    for line, name in zip(lines, ("color.jpg", "gray.png"), strict=True):
        assert line.startswith(f"{tmp_path / name}: ")
        shares = [float(share) for share in re.findall(r"([0-9.]+)%", line.rpartition(": ")[2])]
        assert sum(shares) == pytest.approx(100, abs=0.5)
        assert shares == sorted(shares, reverse=True)


def test_predict_wants_either_pictures_or_one_table(tmp_path, capsys, monkeypatch):
    assert "-o result.csv" in fails(capsys, "predict", "test.csv")
    assert "either pictures" in fails(capsys, "predict", "face.png", "test.csv")
    assert "either pictures" in fails(capsys, "predict", "face.png", "-o", "r.csv")
    (tmp_path / "face.png").write_bytes(b"not a picture")
    assert "no readable picture" in fails(capsys, "predict", tmp_path / "face.png")
    assert "missing.png" in fails(capsys, "predict", tmp_path / "missing.png")
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 100
    )  # Pillow warns of more, and refuses twice as many
    for width in (11, 48):
        Image.new("L", (width, 10)).save(tmp_path / "huge.png")
        assert "over 100 pixels" in fails(capsys, "predict", tmp_path / "huge.png")
    for option in (
        ("--recipe", "modern"),
        ("--set", "epochs=3"),
        ("--seed", "1"),
        ("--profile", "smoke"),
    ):
        assert "add --network cnn" in fails(capsys, "predict", tmp_path / "face.png", *option)


def test_predict_refuses_a_bad_picture_or_test_before_it_loads_keras(tmp_path):
    code = "import sys; from hw3.__main__ import main\n"
    code += "try: main(['predict', *sys.argv[1:]])\nexcept SystemExit as stop: print(stop.code)\n"
    code += "print('keras' in sys.modules, 'tensorflow' in sys.modules)"
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    Image.new("L", (60, 50)).save(tmp_path / "good.png")
    (tmp_path / "test.csv").write_text("id,feature\n0,1 2 3\n")
    for arguments, said in (
        (["bad.png"], "bad.png: found no readable picture"),
        (["good.png", "--crop", "13,0,48"], "found '13,0,48' for 60x50 pixels"),
        (["test.csv", "-o", "r.csv"], "test.csv, line 2, column feature: found 3 pixels"),
        (["test.csv", "-o", "r.csv", "--crop", "0,0,48"], "no --crop"),
    ):
        command = [sys.executable, "-c", code, *arguments]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert said in done.stdout, done.stderr
        assert done.stdout.endswith("False False\n")


def test_predict_crops_each_picture(tmp_path, monkeypatch):
    from hw3 import train

    seen = []
    monkeypatch.setattr(weights, "load_small", lambda: (None, {"label": "nothing"}))
    wide = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    for name in ("a.png", "b.png"):
        Image.fromarray(wide).save(tmp_path / name)
    files = [str(tmp_path / name) for name in ("a.png", "b.png")]
    monkeypatch.setattr(train, "predict", lambda _, x, views: seen.append(x) or np.eye(7)[: len(x)])
    cli.main(["predict", *files, "--crop", "10,20,48"])
    np.testing.assert_array_equal(seen[0], np.broadcast_to(wide[:48, 10:58], (2, 48, 48)))
    cli.main(["predict", *files, "--crop", "50,0,100"])
    cli.main(["predict", *files])
    np.testing.assert_array_equal(seen[1], seen[2], "the middle square is the default")


def test_help_says_what_of_a_picture_is_looked_at(capsys):
    with pytest.raises(SystemExit):
        cli.main(["predict", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "middle square" in said
    assert "--crop X,Y,SIZE" in said


def test_a_test_without_ids_is_numbered_from_0_and_that_is_said(tmp_path, capsys, monkeypatch):
    from hw3 import train

    monkeypatch.setattr(weights, "load_small", lambda: (None, {"label": "nothing"}))
    monkeypatch.setattr(train, "predict", lambda _, images, views: np.eye(7)[[3, 5]])
    row = " ".join(["7"] * 2304)
    (tmp_path / "test.csv").write_text(f'pixels\n"{row}"\n"{row}"\n')
    result = tmp_path / "r.csv"
    cli.main(["predict", str(tmp_path / "test.csv"), "-o", str(result)])
    assert result.read_text() == "id,label\n0,3\n1,5\n"
    assert "no ids, so its rows are numbered from 0" in capsys.readouterr().out
    (tmp_path / "test.csv").write_text(f"id,feature\n7,{row}\n4,{row}\n")
    cli.main(["predict", str(tmp_path / "test.csv"), "-o", str(result)])
    assert result.read_text() == "id,label\n7,3\n4,5\n"
    assert "numbered" not in capsys.readouterr().out


def test_pictures_of_other_sizes_are_resized_into_a_csv(tmp_path, capsys):
    rng, root = np.random.default_rng(0), tmp_path / "my faces"
    for i, emotion in enumerate(faces.EMOTIONS):
        for part, shape in (
            ("train", (90, 60 + i, 3)),
            ("validation", (48, 48)),
            ("test", (30, 30)),
        ):
            folder = root / part / emotion.lower()
            folder.mkdir(parents=True)
            picture = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
            picture.save(folder / f"{i}.png")
    line = fails(capsys, "data", "--data", root)
    assert "train/angry/0.png: found 60x90 RGB, expected 48x48 L" in line
    command = f"python -m hw3 data --data '{root}' --resize"
    assert f"; run {command}, " in line
    made = tmp_path / "my faces-resized.csv"
    cli.main(shlex.split(command)[3:])
    told = capsys.readouterr().out
    assert f"wrote {made}" in told
    assert "21 faces from my faces-resized.csv, " in told
    found = faces.load(made)
    assert [len(found.only(part)) for part in faces.PARTS] == [7, 7, 0, 7]
    paths = sorted(root.glob("train/*/*"), key=lambda path: path.name)
    expected = [faces.picture(path) for path in paths]
    np.testing.assert_array_equal(found.only("Training").images, expected)
    kept = np.asarray(Image.open(root / "validation/angry/0.png"))
    np.testing.assert_array_equal(found.only("PublicTest").images[0], kept)
    assert found.only("Test").labels.tolist() == list(range(7))
    whole = made.read_bytes()
    assert "no my faces-resized.csv beside" in fails(capsys, *shlex.split(command)[3:])
    assert made.read_bytes() == whole
    made.unlink()
    (root / "test/sad/4.png").write_bytes(b"x")
    assert "4.png: found no readable picture" in fails(capsys, *shlex.split(command)[3:])
    assert {path.name for path in tmp_path.iterdir()} <= {"my faces", "_build"}
    path = write_train(tmp_path / "train.csv")
    assert "expected emotion folders" in fails(capsys, "data", "--data", path, "--resize")


def test_changes_of_a_recipe_are_checked(tmp_path, capsys):
    path = write_train(tmp_path / "train.csv")
    for change, said in (
        ("epoch=5", "changes no field"),
        ("epochs=two", "wrong type"),
        ("epochs=0", "at least 1"),
        ("epochs={[]: 1}", "wrong type"),
        ("loss=soft", "choose"),
        ("warmup=1", "less than 1"),
        ("held_out=0", "at least 0.001"),
        ("first_step=1", "add --set schedule=constant"),
    ):
        assert said in fails(capsys, "train", "dnn", "--data", path, "--set", change)
    assert f"less than {2**32} " in fails(capsys, "train", "dnn", "--data", path, "--seed", 2**32)
    assert "only the dnn" in fails(
        capsys, "train", "cnn", "--data", path, "--set", "architecture=residual"
    )


def test_only_the_whole_of_fer2013_is_recorded(tmp_path, capsys):
    for name in ("original-dnn", "modern-cnn"):
        command = "record", name, "--data", write_train(tmp_path / "train.csv")
        assert "only runs on the whole of FER2013" in fails(capsys, *command)
        for change in (("--profile", "smoke"), ("--set", "tests=False")):
            assert "without the tests is not recorded" in fails(capsys, *command, *change)


@pytest.mark.keras
def test_what_was_recorded_stays_where_a_later_seed_is_broken_off(tmp_path, monkeypatch, capsys):
    """Seed 1 is worse on PublicTest than seed 0, seed 2 is broken off, seed 3 is better, and seed 5
    has an earlier recipe.
    """
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    monkeypatch.setattr(runs, "RECORDED", tmp_path / "results")
    monkeypatch.setattr(weights, "SMALL", tmp_path / "cnn.npz")
    few = np.zeros((4, 48, 48), np.uint8), np.zeros(4, np.uint8), np.ones(4, np.uint8)
    monkeypatch.setattr(faces, "find", lambda _: faces.Faces(*few, "FER2013", "the tests"))
    monkeypatch.setattr(runs, "check_recordable", lambda _: None)
    monkeypatch.setattr(weights, "load_model", lambda *_: models.cnn())
    monkeypatch.setattr("hw3.train.predict", lambda model, images: np.eye(7)[: len(images)])

    def obtain(network, data, chosen):
        if chosen.seed == 2:
            raise KeyboardInterrupt
        p = np.eye(7, dtype=np.float32)[
            [0, 0, chosen.seed % 3, chosen.seed < 3]
        ]  # 3 right of 4, 2 for seed 1, 4 for seed 3
        made = {
            "versions": {},
            "device": "none",
            "seconds": 1.0,
            "epoch_seconds": [1.0],
            "date": "2026-01-01",
        }
        return runs.Run(
            network,
            chosen,
            "FER2013",
            "0",
            1,
            {"loss": [1.0]},
            {"PublicTest": (np.arange(4), np.zeros(4, np.uint8), p)},
            **made,
        )

    monkeypatch.setattr(trained, "obtain", obtain)
    runs.record(obtain("cnn", None, recipe("cnn", "full", "modern", seed=5, epochs=9)))
    assert "interrupted" in fails(capsys, "record", "modern-cnn", "--seeds", "3")
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == [
        "modern-cnn",
        "modern-cnn-seed1",
        "modern-cnn-seed5",
    ]
    assert weights.load_small()[1]["n"] == 4
    assert capsys.readouterr().out.count("weights of seed 0") == 1
    cli.main(["record", "modern-cnn", "--seeds", "2"])
    out = capsys.readouterr().out
    assert "weights of seed 1" not in out
    assert "results/modern-cnn-seed5 comes from another recipe: remove it" in out
    cli.main(["record", "modern-cnn", "--first", "1", "--seeds", "2"])
    assert "weights of" not in capsys.readouterr().out, "seed 0 is recorded and better"
    cli.main(["record", "modern-cnn", "--first", "3", "--seeds", "4"])
    assert "weights of seed 3" in capsys.readouterr().out, "better than all recorded ones"
    assert "at least 0" in fails(capsys, "record", "modern-cnn", "--first", "-1")
    for first, seeds in ((2, 2), (0, 10**12)):
        assert "--seeds larger" in fails(
            capsys, "record", "modern-cnn", "--first", first, "--seeds", seeds
        )


@pytest.mark.keras
def test_the_network_of_the_drawn_faces_is_recorded_apart_and_needs_no_data(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    monkeypatch.setattr(runs, "DRAWN", tmp_path / "drawn")
    monkeypatch.setattr(weights, "SMALL_DRAWN", tmp_path / "drawn" / "cnn.npz")
    few = faces.Faces(*drawn.draw(6)[:2], np.arange(6, dtype=np.uint8) % 3, "drawn faces", "tests")
    monkeypatch.setattr(faces, "drawn", lambda: few)
    changes = [f"--set={x}" for x in ("epochs=1", "batch=2", "held_out=0.5", "norm_momentum=0.5")]
    cli.main(["record", "drawn-cnn", *changes])
    out = capsys.readouterr().out
    assert "recorded in drawn/drawn-cnn\n" in out
    assert "weights of seed 0: PublicTest" in out
    (run,) = runs.recorded("drawn-cnn")
    assert (run.data, run.hits("PublicTest")[1]) == ("drawn faces", 2)
    assert "drawn-cnn" not in runs.recorded_names()
    network, about = weights.load_small(drawn=True)
    assert about["label"] == run.label()
    assert network.get_layer("conv1_1").filters == 16


def test_results_lists_every_recorded_run_with_its_command(capsys):
    cli.main(["results"])
    out = capsys.readouterr().out
    names = [*runs.recorded_names(), runs.DRAWN_CNN]
    assert len(names) > 1
    commands = [
        line.partition(": ")[2].partition("python -m hw3 record ")
        for line in out.splitlines()
        if line.startswith("made by: ")
    ]
    made = [["record", *words.split()] for _, _, words in commands]
    told = [cli.commands().top.parse_args(words) for words in made]
    found = [run for name in names for run in runs.recorded(name)]
    for options, run in zip(
        told, found, strict=True
    ):  # each command, read as if typed, gives the run's own recipe
        options.recipe = options.name.removesuffix(f"-{run.network}")
        options.seed = options.seeds - 1
        assert cli.chosen(options, run.network) == run.recipe
    assert [before for before, *_ in commands] == [
        "KERAS_BACKEND=jax " * ("jax" in run.versions) for run in found
    ]
    final = [name for name in names if not runs.tried(name)]
    assert out.count("PublicTest: accuracy") == sum(not run.recipe.public for run in found)
    assert out.count("PrivateTest: accuracy") == sum(len(runs.recorded(name)) for name in final)


def test_a_reader_who_has_enough_ends_it_without_a_word():
    command = [sys.executable, "-m", "hw3", "results"]
    listing = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    listing.stdout.close()
    assert listing.stderr.read() == ""
    assert listing.wait() == 0


def test_closed_streams_and_letters_that_cannot_be_shown_break_nothing(tmp_path):
    name = write_train(tmp_path / "臉.csv").name
    call = f"{shlex.quote(sys.executable)} -m hw3 data --data {name}"
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    for command, said in (
        (f"{call} >&-", ""),
        (f"{call} 2>&-", "\\u81c9.csv"),
        (f"{call} | cat", "\\u81c9.csv"),
    ):
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0
        assert said in done.stdout
        assert "Traceback" not in done.stderr


NAMESPACE = ["unshare", "--map-root-user", "--mount"]
TRAIN = "mount -t tmpfs -o {options} none {build} || exit 9; "
TRAIN += "{python} -m hw3 train dnn --profile smoke --set architecture=residual --set epochs=1 "
TRAIN += "--data {data}; code=$?; "
LOOK = "find {build} -type f >&2; exit $code"


@pytest.mark.parametrize(
    ("options", "said"),
    [("size=4m", "No space left on device"), ("size=4m,ro", "Read-only file system")],
)
def test_a_full_or_read_only_disk_is_one_line_and_leaves_nothing_half_written(
    tmp_path, options, said
):
    if (
        not shutil.which("unshare")
        or subprocess.run([*NAMESPACE, "/bin/true"], capture_output=True).returncode
    ):
        pytest.skip("this system lets us mount no small disk")
    build, data = tmp_path / "small", write_train(tmp_path / "train.csv")
    build.mkdir()
    script = (TRAIN + LOOK).format(options=options, build=build, python=sys.executable, data=data)
    env = os.environ | {"HW3_BUILD": str(build)}
    result = subprocess.run(
        [*NAMESPACE, "sh", "-c", script], env=env, capture_output=True, text=True
    )
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("hw3: ")]
    assert "Traceback" not in result.stderr
    assert said in lines[-1]
    assert "HW3_BUILD" in lines[-1]
    left = [line for line in result.stderr.splitlines() if line.startswith(str(build))]
    assert all(path.endswith(".lock") or "/cache/" in path for path in left), (
        "a run that is not whole"
    )


def alone(*arguments, code="from hw3.__main__ import main; main()", **variables):
    """Start a command as a person does who has set nothing for TensorFlow."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TF_")} | variables
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=env, cwd=ROOT, text=True, **pipes)


# fewer layers are sooner traced
TINY = ("dnn", "--profile", "smoke", "--set", "architecture=residual", "--set")


@pytest.mark.skipif(os.environ["KERAS_BACKEND"] != "tensorflow", reason="of TensorFlow's own notes")
def test_commands_say_nothing_of_how_tensorflow_starts_but_what_else_it_says(tmp_path):
    data = "--data", write_train(tmp_path / "train.csv")
    face = tmp_path / "face.png"
    Image.new("L", (48, 48), 100).save(face)
    for arguments in (
        ("train", *TINY, "epochs=2", *data),
        ("evaluate", *TINY, "epochs=2", *data),
        ("predict", face),
    ):
        command = alone(*arguments)
        out, err = command.communicate()
        assert (command.returncode, err) == (0, "")
    assert len(out.splitlines()) == 2
    assert f"{face}: " in out
    died = "import os; os.write(2, b'F0000 no AVX\\nI0000 hello\\n'); os.abort()"
    (tmp_path / "tensorflow.py").write_text(died)
    load = "import sys; sys.path.insert(0, sys.argv[1]); from hw3 import train"
    command = alone(tmp_path, code=load)
    assert command.communicate()[1] == "F0000 no AVX\n"
    assert command.returncode < 0
    assert "I0000" in alone(tmp_path, code=load, TF_CPP_MIN_LOG_LEVEL="0").communicate()[1]


STEADY = "from hw3 import train; train.SAVE_EVERY = 0; from hw3.__main__ import main; "
STEADY += "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); main()"


@pytest.mark.keras
def test_a_training_that_is_interrupted_says_what_is_kept_and_goes_on_from_there(
    tmp_path, capsys, monkeypatch
):
    from hw3 import train

    training = "train", *TINY, "epochs=1000", "--data", write_train(tmp_path / "t.csv")
    kept = r"hw3: interrupted; kept: finished chapters and trainings, dnn-smoke up to epoch (\d+); "
    epoch = 0
    for fresh, again in ((["--fresh"], " without --fresh (FRESH=yes)"), ([], "")):
        command = alone(*training, *fresh, code=STEADY)
        assert command.stdout.readline() == f"epoch {epoch} of 1000, dnn\n"
        third = f"epoch {epoch + 3} of 1000, held-out accuracy "
        while not command.stdout.readline().startswith(third):
            assert command.poll() is None
        command.send_signal(signal.SIGINT)
        *notes, line = command.communicate()[1].splitlines()
        assert not notes or os.environ["KERAS_BACKEND"] == "jax", "Keras loads TensorFlow late"
        told = re.fullmatch(kept + re.escape(f"start it again{again} to go on"), line)
        assert int(told[1]) >= epoch + 2, "it may have been told while it saved the third"
        epoch = int(told[1])
    monkeypatch.setattr(train, "score", Mock(side_effect=KeyboardInterrupt))  # at an epoch's end
    assert fails(capsys, *training) == line
    assert capsys.readouterr().out == f"epoch {epoch} of 1000, dnn\n"


def test_an_interrupted_build_names_only_trainings_of_its_own(tmp_path, capsys, monkeypatch):
    place = tmp_path / "_build" / "runs"
    place.mkdir(parents=True)
    for name in ("cnn-full-old", "dnn-full-new", "dnn-full-done"):
        (place / f"{name}.lock").touch()
        np.savez(place / f"{name}.checkpoint.npz", history=np.ones(7))
    (place / "dnn-full-done.checkpoint.npz").unlink()
    for lock in place.glob("*.lock"):
        os.utime(lock, (1, 1))

    def build_book(*options):
        for name in ("new", "done"):
            with locked(place / f"dnn-full-{name}.lock"):
                pass
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "build", build_book)
    kept = "kept: finished chapters and trainings, dnn-full up to epoch 7"
    assert fails(capsys, "book") == f"hw3: interrupted; {kept}; start it again to go on"


def test_hosts_without_a_number_or_jax_are_one_line(capsys, monkeypatch):
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    assert "KERAS_DISTRIBUTION_PROCESS_ID on each" in fails(capsys, "train", "dnn")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", "0")
    assert "set KERAS_BACKEND=jax" in fails(capsys, "record", "modern-cnn")


def test_damaged_records_say_what_to_do(tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(runs.RECORDED / "clipped-dnn", tmp_path / "clipped-dnn")
    monkeypatch.setattr(runs, "RECORDED", tmp_path)
    for name in ("run.json", "predictions.npz", "history.csv"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:100])
        line = fails(capsys, "results")
        assert "the run in clipped-dnn is damaged" in line
        assert line.endswith("take it anew from git")
        (folder / name).write_bytes(whole)
    monkeypatch.setattr(weights, "SMALL", tmp_path / "cnn.npz")
    (tmp_path / "cnn.npz").write_bytes(b"PK")
    Image.new("L", (48, 48), 100).save(tmp_path / "face.png")
    line = fails(capsys, "predict", tmp_path / "face.png")
    assert line.endswith("take them anew from git")
    monkeypatch.setattr(audit, "FOLDER", tmp_path)
    for counts, leaks in ((b"{}", b"PK"), (b"{", (ROOT / "results/audit/leaks.npz").read_bytes())):
        (tmp_path / "counts.json").write_bytes(counts)
        (tmp_path / "leaks.npz").write_bytes(leaks)
        with pytest.raises(ValueError, match=r"^results/audit is damaged: .*: take it"):
            audit.recorded_copies()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
def test_a_full_disk_behind_the_output_is_not_taken_for_the_builds(tmp_path):
    data = write_train(tmp_path / "train.csv")
    command = [sys.executable, "-m", "hw3", "data", "--data", data]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 1
    said = "hw3: No space left on device: while printing, or writing to .*\n"
    assert re.fullmatch(said, done.stderr)

"""What figures that answer to pointing are made of; what a reader sees of them: test_page.py."""

import base64
import io
import re
from itertools import combinations
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from hw3 import figures, metrics, show
from hw3.faces import EMOTIONS
from hw3.figures import FACES

HISTORIES = {
    "first": {
        "loss": [2.0, 1.5],
        "val_loss": [1.9, 1.4],
        "accuracy": [0.2, 0.3],
        "val_accuracy": [0.25, 0.35],
    },
    "second": {
        "loss": [40.0, 1],
        "val_loss": [30.0, 2],
        "accuracy": [0.1, 0.9],
        "val_accuracy": [0.1, 0.4],
    },
}


@pytest.fixture
def counted():
    """Return labels, probabilities and images: 12 Angry faces called Sad, ever surer, 2 called
    Angry; one Happy face.
    """
    labels = np.array([0] * 14 + [3], np.uint8)
    probabilities = np.full((15, 7), 0.01)
    probabilities[np.arange(15), [4] * 12 + [0] * 2 + [3]] = np.linspace(0.3, 0.9, 15)
    images = np.repeat(np.arange(15, dtype=np.uint8) * 16, 48 * 48).reshape(15, 48, 48)
    return labels, probabilities, images


def test_matrix_holds_count_share_interval_and_note(counted):
    labels, probabilities, _ = counted
    cells = metrics.cells(metrics.confusion(labels, probabilities.argmax(1)))
    shown = figures.confusion_matrix(cells, EMOTIONS, "a title", "a note")
    matrix = shown.figure.data[0]
    assert np.array(matrix.z, float)[0] == pytest.approx([2 / 14, 0, 0, 0, 12 / 14, 0, 0], abs=1e-4)
    assert np.isnan(np.array(matrix.z, float)[1]).all()
    assert matrix.customdata[0][4] == ["12", "14", f"{metrics.proportion(12, 14):short}"]
    assert matrix.customdata[1][4] == ["0", "0", "–"], "no faces"
    assert matrix.hovertemplate == figures.HOVER
    page = shown._repr_mimebundle_()["text/html"]
    assert "a note" in page
    assert "choose([0, 4])" in page, "the mistake made most often comes first"
    assert not re.search(r"\[\[[a-z]", page), "a gap of cell.html that nothing filled"


def test_faces_of_a_cell_are_those_that_the_network_was_surest_of(counted):
    labels, probabilities, images = counted
    sheet = Image.open(
        io.BytesIO(base64.b64decode(figures._face_sheet(7, labels, probabilities, images)))
    ).convert("L")
    seen = np.asarray(sheet).reshape(7, 7, 48, FACES, 48)[:, :, 24, :, 24].astype(int)
    assert seen[0, 4] == pytest.approx([16 * i for i in (11, 10, 9, 8, 7, 6)], abs=6)
    assert seen[0, 0] == pytest.approx([16 * 13, 16 * 12, 0, 0, 0, 0], abs=6)
    assert seen[3, 3, 0] == pytest.approx(16 * 14, abs=6)
    assert seen[[1, 2, 4, 5, 6]].max() < 6


def test_curves_hold_the_histories_and_their_label_and_a_legend_entry_hides_a_run_in_both_panels():
    shown = figures.history_curves(HISTORIES, "a note")
    lines = {
        (t.name, t.hovertemplate.split(", ")[1].split("<")[0], t.yaxis): t
        for t in shown.figure.data
    }
    for name, history in HISTORIES.items():
        for part, prefix in (("held-out", "val_"), ("training", "")):
            for axis, quantity in (("y", "loss"), ("y2", "accuracy")):
                line = lines[name, part, axis]
                assert list(line.y) == history[prefix + quantity]
                assert list(line.x) == [1, 2]
                assert (line.legendgroup, line.line.dash) == (
                    name,
                    "solid" if part == "held-out" else "dash",
                )
    assert sum(line.showlegend is not False for line in lines.values()) == len(HISTORIES)
    assert len({line.line.color for line in lines.values()}) == len(HISTORIES)
    assert shown.figure.layout.yaxis.type == "log", "from 40 to 1"
    assert shown.figure.layout.yaxis2.rangemode == "tozero", (
        "so that a difference of hundredths does not look large"
    )
    assert "held-out accuracy from 25.0% to 35.0%" in shown.label


def test_curves_are_compared_with_the_most_frequent_emotion_of_all_faces_of_the_first_run():
    labels = {"held-out": [3, 3, 0, 1], "PublicTest": [3, 255, 2, 3]}  # 255: no label
    parts = {
        part: (np.arange(4), np.array(y, np.uint8), np.zeros((4, 7))) for part, y in labels.items()
    }
    runs = [
        SimpleNamespace(history=h, predictions=parts, label=lambda: "a run")
        for h in HISTORIES.values()
    ]
    runs[1].predictions = None
    shown = figures.training_curves(dict(zip("ab", runs, strict=True))).figure
    (line,) = shown.layout.shapes
    assert line.y0 == line.y1 == 4 / 7
    assert (line.name, line.showlegend) == ("most frequent emotion", True)


def test_same_figure_gives_the_same_page_and_no_number_is_hidden_in_base64():
    first, again = (figures.history_curves(HISTORIES, "note")._repr_mimebundle_() for _ in range(2))
    assert first == again
    assert "bdata" not in first["text/html"]


def test_words_from_outside_are_text_in_the_page():
    shown = show.Interactive(go.Figure(), 'a "label" <b>', "<script>note</script>")
    page = shown._repr_mimebundle_()["text/html"]
    assert len(re.findall('[">]a &quot;label&quot; &lt;b&gt; ', page)) == 2
    assert "<script>note" not in page


def test_intervals_stand_on_axes_that_are_given():
    figure, (_, right) = figures.panels(3, 1, 2)
    table = pd.DataFrame({"share": [0.5, 0.3], "low": [0.4, 0.2], "high": [0.6, 0.4]}, ["a", "b"])
    assert figures.intervals(table, "share", "low", "high", "accuracy", ax=right) is figure
    assert list(right.lines[0].get_xdata()) == [0.5, 0.3]
    assert "highest: a, 50.0% [40.0, 60.0]" in figure.get_label()


# Machado, Oliveira and Fernandes 2009: linear RGB as the color-blind see it.
SIGHTS = {
    "all": np.eye(3),
    "no red": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.052]],
    "no green": [[0.3673, 0.8606, -0.228], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color):
    """Return linear RGB (3,) of a hexadecimal color."""
    values = np.array(matplotlib.colors.to_rgb(color))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(color, sight):
    """Return CIE L*a*b* (3,) of a color."""
    xyz = TO_XYZ @ np.clip(np.array(SIGHTS[sight]) @ linear(color), 0, 1) / (0.9505, 1, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(("sight", "least"), [("all", 25), ("no red", 18), ("no green", 18)])
def test_the_first_seven_colors_are_told_apart(sight, least):  # a color for each emotion
    pairs = combinations(show.COLORS[: len(EMOTIONS)], 2)
    apart = {(a, b): np.linalg.norm(lab(a, sight) - lab(b, sight)) for a, b in pairs}
    assert min(apart.values()) > least, min(apart, key=apart.get)


@pytest.mark.parametrize("ground", ["#ffffff", "#121212"])  # of a page, light and dark
def test_the_words_beside_pictures_are_legible_on_both_grounds(ground):
    dark, light = sorted(TO_XYZ[1] @ linear(color) for color in (show.GRAY, ground))
    assert (light + 0.05) / (dark + 0.05) > 4


def shown(figure):
    """Return the picture that a page gets of a figure, and its metadata."""
    data, about = show.png(figure)
    return Image.open(io.BytesIO(base64.b64decode(data))), about


def test_pictures_have_no_ground_and_keep_their_grays_and_charts_are_named_for_the_dark_theme():
    faces = np.linspace(0, 255, 48 * 48).round().astype(np.uint8).reshape(1, 48, 48)
    picture, about = shown(figures.face_sheet(faces, ["Sad"], columns=7))
    assert about["classes"] == []
    alpha, gray = np.asarray(picture.getchannel("A")), np.asarray(picture.convert("L"))
    assert (alpha[0] == 0).all()
    assert len(np.unique(gray[alpha == 255])) > 200
    top = int(((alpha == 255).sum(axis=1) > 100).argmax())  # of the picture, below its title
    assert set(gray[:top][alpha[:top] == 255]) == {int(show.GRAY[1:3], 16)}
    table = pd.DataFrame({"share": [0.5, 0.3], "low": [0.4, 0.2], "high": [0.6, 0.4]}, ["a", "b"])
    chart, about = shown(figures.intervals(table, "share", "low", "high", "accuracy"))
    assert about["classes"] == ["hw3-chart"]
    assert chart.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    assert about["alt"].startswith("accuracy. 2 rows, each a dot in a bar, its 95% interval. ")

"""What the network looks at, on networks so small that one can say what they look at."""

import os

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers, ops

from beyond import inside
from beyond.inside import BANDS
from hw3 import faces, models, runs, train, weights
from hw3.disk import digest
from hw3.faces import FEAR, HAPPY, NEUTRAL, SAD
from hw3.metrics import Interval
from hw3.sources import drawn


def network(*parts, side=48):
    """Return a sequential network of these layers with one gray channel."""
    return keras.Sequential([keras.Input((side, side, 1)), *parts])


@pytest.mark.keras
def test_gradient_of_a_linear_network_is_its_weights():
    model = network(layers.Flatten(), layers.Dense(3, use_bias=False, name="logits"), side=2)
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    model.set_weights([weights])
    x = np.ones((1, 2, 2, 1), np.float32)
    by_x, by_more = inside.gradient(
        lambda x, more: ops.sum((model(x) + 2 * more)[:, 1]),
        x,
        np.zeros((1, 3)),
    )
    np.testing.assert_allclose(by_x.reshape(4), weights[:, 1])
    np.testing.assert_allclose(by_more, [[0, 2, 0]])


@pytest.mark.keras
def test_attention_of_one_convolution():
    # The maps are x and 2x. The logits: the mean of the first; minus the mean of the second; half
    # the first.
    model = network(
        layers.Conv2D(2, 1, use_bias=False, name="maps"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, use_bias=False, name="logits"),
        layers.Softmax(),
    )
    model.set_weights(
        [np.array([[[[1, 2]]]], np.float32), np.array([[1, 0, 0.5], [0, -1, 0]], np.float32)]
    )
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.uint8)
    cam, size = inside.attention(model, images, np.arange(3), last="maps", batch=2)
    for image, found, expected in zip(images, cam, (1, 0, 1), strict=True):
        np.testing.assert_allclose(
            found, expected * image / image.max(), atol=1e-6
        )  # minus the second raises nothing
    np.testing.assert_allclose(size, np.ones((3, 48, 48)), rtol=1e-5)  # every pixel counts the same


def test_averages_and_shares_of_bands():
    maps = np.zeros((3, 12, 12))
    maps[0, 3:5] = 1  # rows 12 to 19: within the eyes
    maps[1] = 3
    mean = inside.averages(maps, np.array([0, 0, 6]))
    assert (mean[0, 4, 0], mean[0, 0, 0]) == (2, 1.5)
    assert np.isnan(mean[1]).all()
    np.testing.assert_allclose(inside.by_band(np.stack([maps[0]] * 7))[0], [1, 0, 0])
    np.testing.assert_allclose(inside.by_band(np.ones((7, 48, 48))), 11 / 48)


def test_bands_are_of_one_size_and_every_unit_shows_in_one():
    assert {bottom - top for top, bottom in BANDS.values()} == {11}
    rows = [row for ends in BANDS.values() for row in range(*ends)]
    assert len(set(rows)) == len(rows)
    assert set(inside.SHOWS) == set(drawn.UNITS)
    assert set(inside.SHOWS.values()) == set(BANDS)


def mouth_reader():
    """Return a network that says Happy where the mouth is bright, else Neutral."""
    model = network(layers.Flatten(), layers.Dense(7, name="logits"), layers.Softmax())
    weights = np.zeros((48, 48, 7), np.float32)
    weights[36:40, :, HAPPY] = 1 / 192
    bias = np.full(7, -9, np.float32)
    bias[HAPPY], bias[NEUTRAL] = 0, 0.5
    model.set_weights([weights.reshape(-1, 7), bias])
    return model


@pytest.mark.keras
def test_only_covering_the_mouth_matters_to_a_reader_of_mouths():
    image = np.zeros((2, 48, 48), np.uint8)
    image[0, 36:40] = 200
    covered = inside.cover(image, "mouth")
    assert set(covered[0, 33:44].ravel()) == {round(200 * 4 / 48)}
    assert (covered[:, :33] == image[:, :33]).all()
    assert (image[0, 36:40] == 200).all()  # untouched
    found = inside.occlusion(mouth_reader(), image)
    right = {name: [HAPPY, NEUTRAL] for name in ("nothing", "eyes", "nose")}
    answers = {name: labels.tolist() for name, labels in found.items()}
    assert answers == right | {"mouth": [NEUTRAL, NEUTRAL]}


def test_units_by_band_follow_the_action_units():
    found = inside.units_by_band()
    assert found["Sad"] == {"eyes": 2, "nose": 0, "mouth": 1}  # 1 and 4; 15
    assert found["Happy"] == {"eyes": 0, "nose": 1, "mouth": 1}  # 6, the cheeks; 12
    assert "Neutral" not in found
    assert sum(map(sum, (n.values() for n in found.values()))) == sum(map(len, drawn.EXPRESSIONS))


def lost(n=400, **shares):
    """Return n faces of each of three emotions, and predictions that are right but where a band,
    named here, is covered.
    """
    labels = np.repeat([FEAR, HAPPY, SAD], n)
    wrong = {
        band: np.tile(np.arange(n) < shares.get(band, 0) * n, 3) for band in ("nothing", *BANDS)
    }
    return labels, {band: np.where(w, NEUTRAL, labels) for band, w in wrong.items()}


THREE = ("Fear", "Happy", "Sad")


def test_verdicts_follow_what_is_lost():
    table = inside.judge(*lost(eyes=0.5, mouth=0.1, nose=0.1)).set_index("emotion")
    verdicts = table["prediction"].to_dict()
    without_faces = dict.fromkeys(("Angry", "Disgust", "Surprise"), "undecided")
    expected = {"Fear": "holds", "Sad": "holds", "Happy": "does not hold"} | without_faces
    assert verdicts == expected
    assert table["n"].to_dict() == dict.fromkeys(verdicts, 0) | dict.fromkeys(THREE, 400)
    assert table.index[table["lost more with the first"].isna()].tolist() == list(without_faces)
    assert set(inside.judge(*lost())["prediction"]) == {"undecided"}
    found = inside.judge(*lost(mouth=0.5, nose=0.3)).set_index("emotion")
    assert found.loc["Happy", "prediction"] == "holds"
    assert found.loc["Sad", "decided by"].split()[::2] == ["eyes", "mouth"]
    assert found.loc["Sad", "lost more with the first"].value == pytest.approx(-0.5)


def test_a_usual_answer_does_not_pass_for_evidence():
    labels, answers = lost(mouth=0.5)  # the eyes are of no use to a network that is right
    sure = inside.judge(labels, answers).set_index("emotion")
    assert sure.loc["Sad", "prediction"] == "does not hold"
    blind = answers | {"mouth": np.full_like(labels, SAD)}  # every answer is Sad: no face is lost
    for net, value in ((False, 0), (True, -1)):
        table = inside.judge(labels, blind, net).set_index("emotion")
        found = table.loc["Sad", "lost more with the first"]
        assert found.value == pytest.approx(value), "eyes – mouth"
    assert table.loc["Sad", "prediction"] == "does not hold"
    assert (table.loc["Fear"] == inside.judge(labels, blind).set_index("emotion").loc["Fear"])[
        ["prediction", "decided by"]
    ].all()


def test_the_total_of_differences_is_as_wide_as_their_squares_say():
    parts = [Interval(0.2, 0.1, 0.3, signed=True), Interval(-0.1, -0.1 - 0.075, 0.3, signed=True)]
    found = inside.total(parts)
    np.testing.assert_allclose([*found], [0.1, 0.1 - 0.125, 0.1 + np.hypot(0.1, 0.4)])
    np.testing.assert_allclose([*inside.total(parts, 1 / 2)], np.array([*found]) / 2)
    assert f"{found:cell}" == "+10.0 [-2.5, 51.2]"


@pytest.mark.keras
def test_exciting_input_looks_like_the_filter():
    kernel = np.ones((5, 5, 1, 2), np.float32)
    kernel[:, 3:, :, 0] = kernel[:, :2, :, 1] = -1
    kernel[:, 2] = 0
    model = network(layers.Conv2D(2, 5, padding="same", use_bias=False, name="edges"))
    model.set_weights([kernel])
    left, right = inside.excite(model, "edges", [0, 1], side=9)
    assert left[2:7, 2:4].mean() > 0.9 > 0.1 > left[2:7, 5:7].mean()
    assert right[2:7, 2:4].mean() < 0.1 < 0.9 < right[2:7, 5:7].mean()
    assert left[0].mean() == pytest.approx(0.5, abs=0.1)  # what the filter does not see stays gray


def test_space_of_two_groups():
    rng = np.random.default_rng(0)
    labels = np.repeat([FEAR, SAD], 30)
    values = rng.normal(0, 1, (60, 5))
    values -= np.where(labels == FEAR, 1, 0)[:, None] * values[labels == FEAR].mean(0)
    values -= np.where(labels == SAD, 1, 0)[:, None] * values[labels == SAD].mean(0)
    values[labels == SAD, 0] += 8
    found = inside.space(values, labels, np.arange(0, 60, 2))
    within = np.sqrt(
        ((values - np.where(labels == SAD, 8, 0)[:, None] * np.eye(5)[0]) ** 2).sum(1).mean()
    )
    assert found["distances"][FEAR, SAD] == pytest.approx(8 / within)
    assert np.isnan(found["distances"][HAPPY, SAD])
    np.testing.assert_allclose(
        found["eigenvalues"], np.sort(np.linalg.eigvalsh(np.cov(values.T, bias=True)))[::-1]
    )
    for points in (found["pca"], found["tsne"]):
        assert points.shape == (30, 2)
        groups = points[:15].mean(0), points[15:].mean(0)
        assert np.linalg.norm(groups[0] - groups[1]) > points[:15].std()


@pytest.mark.keras
def test_a_look_holds_all_that_the_page_shows():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), 3).astype(np.uint8)
    model = network(
        layers.Conv2D(2, 3, strides=4, padding="same", name=inside.LAST_MAPS),
        layers.GlobalAveragePooling2D(),
        layers.Dense(8, name=inside.LAST_HIDDEN),
        layers.Dense(7, name="logits"),
        layers.Softmax(),
    )
    found = inside.look(model, rng.integers(0, 256, (21, 48, 48)).astype(np.uint8), labels, each=2)
    shapes = {"cam": (7, 12, 12), "gradient": (7, 48, 48), "pca": (14, 2), "tsne": (14, 2)}
    shapes |= {"distances": (7, 7), "drawn": (14,), "covered/eyes": (21,)}
    assert {name: found[name].shape for name in shapes} == shapes
    table = inside.pair_distances(found)
    assert table["claimed"].sum() == len(inside.claimed_pairs()) == 6
    assert {"Sad", "Neutral"} in [set(p.split("/")) for p in table[table["claimed"]]["pair"]]


@pytest.mark.keras
def test_the_cnn_has_the_layers_that_are_asked():
    model = models.cnn()
    assert inside.part(model, inside.LAST_MAPS).layers[-1].output.shape[1:] == (12, 12, 256)
    assert inside.part(model, inside.LAST_HIDDEN).layers[-1].output.shape[1:] == (256,)
    assert inside.part(model).layers[-1].output.shape[1:] == (7,)


def test_the_record_is_of_the_recorded_weights_and_holds_no_picture():
    about, found = inside.recorded_look()
    remedy = "run python -m beyond inside --data fer2013.csv"
    assert about["weights"] == digest(weights.SMALL.read_bytes()), (
        f"the recorded weights are others now: {remedy}"
    )
    assert about["label"] == weights.load_small()[1]["label"]
    assert inside.RECORDED.stat().st_size < 300_000
    assert [name for name, array in found.items() if array.ndim > 2] == [
        "cam",
        "gradient",
    ]  # means over many faces
    assert np.bincount(found["labels"][found["drawn"]]).min() >= 50
    assert np.array_equal(
        found["labels"], runs.recorded("modern-cnn")[0].predicted("PrivateTest")[0]
    )


def test_the_weights_are_those_of_the_network_that_the_pages_show():
    _, found = inside.recorded_look()
    said = [run.predicted("PrivateTest")[1] for run in runs.recorded("modern-cnn")]
    alike = [(found["covered/nothing"] == labels).mean() for labels in said]
    assert alike[0] == max(alike)


def test_every_change_is_recorded_and_does_what_it_says():
    _, found = inside.recorded_look()
    assert {f"changed/{name}" for name in inside.CHANGES} == {
        name for name in found if name.startswith("changed/")
    }
    images = np.full((2, 48, 48), 100, np.uint8)
    images[:, 10:14, 20:24] = 180
    mean = images.mean()
    after = {name: inside.change(images, name) for name in inside.CHANGES}
    assert all(x.shape == images.shape and x.dtype == np.uint8 for x in after.values())
    assert np.array_equal(after["moved by 4 pixels"][:, :, 4:], images[:, :, :-4])
    assert np.array_equal(after["brighter by a fifth"], images + 51)
    assert np.array_equal(after["darker by a fifth"], images - 51)
    assert (inside.change(np.full((1, 48, 48), 230, np.uint8), "brighter by a fifth") == 255).all()
    np.testing.assert_allclose(after["half the contrast"], (images + mean) / 2, atol=0.5)
    assert after["blurred over a pixel"].mean() == pytest.approx(mean, abs=0.5)
    assert after["blurred over a pixel"].max() < 175
    assert np.std(after["noise of 10 grays"] - images.astype(float)) == pytest.approx(10, abs=0.3)
    y, x = (np.argwhere(after["turned by 20 degrees"][0] > 140).mean(0) - 23.5).round(1)
    assert np.hypot(y, x) == pytest.approx(np.hypot(-12, -2), abs=0.3)
    assert abs(np.degrees(np.arctan2(y, x) - np.arctan2(-12, -2))) == pytest.approx(20, abs=2)


def test_only_the_whole_of_fer2013_is_recorded(tmp_path, monkeypatch, few):
    monkeypatch.setattr(inside, "RECORDED", tmp_path / "cnn.npz")
    with pytest.raises(ValueError, match="only runs on the whole of FER2013"):
        inside.record(few)
    assert not inside.RECORDED.exists()


def test_recording_writes_the_look_and_whose_it_is(tmp_path, monkeypatch, few):
    monkeypatch.setattr(inside, "RECORDED", tmp_path / "cnn.npz")
    monkeypatch.setattr(runs, "check_recordable", lambda data: None)
    monkeypatch.setattr(
        inside,
        "look",
        lambda model, images, labels: {"labels": labels, "cam": images.astype(float) / 3},
    )
    monkeypatch.setattr(inside, "CHANGES", {"gray": lambda x: 0 * x + 66})
    monkeypatch.setattr(train, "predict", lambda model, images: np.eye(7)[images[:, 0, 0] % 7])
    assert inside.record(few) == 30
    about, found = inside.recorded_look()
    assert found["changed/gray"].tolist() == [66 % 7] * 30, "what is answered to the changed faces"
    assert (about["part"], about["n"]) == ("PrivateTest", 30)
    assert found["cam"].dtype == np.float16
    assert found["labels"].tolist() == few.only("PrivateTest").labels.tolist()


@pytest.mark.keras
def test_fer2013_gives_the_recorded_predictions():
    if "HW3_TEST_FER2013" not in os.environ:
        pytest.skip("HW3_TEST_FER2013 names no folder with FER2013")
    private = faces.load(os.path.join(os.environ["HW3_TEST_FER2013"], "fer2013.csv")).only(
        "PrivateTest"
    )
    predicted = train.predict(weights.load_small()[0], private.images[:256]).argmax(1)
    assert (
        predicted == inside.recorded_look()[1]["covered/nothing"][:256]
    ).mean() > 0.98  # ties may fall otherwise elsewhere


def test_names_of_crowded_pairs_do_not_overlap():
    distance, rate = [0.5, 0.52, 0.55, 0.6, 0.62, 1.5], [0.1, 0.1, 0.09, 0.1, 0.09, 0.02]
    table = pd.DataFrame(
        {
            "pair": [f"pair {i}" for i in range(6)],
            "distance": distance,
            "rate": rate,
            "claimed": [True] * 5 + [False],
        }
    )
    ax = inside.pairs_apart(table).axes[0]
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == [f"pair {i}" for i in range(5)]
    assert [box.count_overlaps(boxes) for box in boxes] == [1] * 5, "each overlaps itself only"


def test_names_of_emotions_whose_middles_lie_together_do_not_overlap():
    points = np.random.default_rng(0).normal(size=(140, 2))  # seven emotions in one cloud
    for ax in inside.class_maps(
        {"one": points, "two": points}, np.arange(140) % 7, faces.EMOTIONS, [(0, 1)]
    ).axes:
        boxes = [text.get_window_extent() for text in ax.texts]
        assert [text.get_text() for text in ax.texts] == list(faces.EMOTIONS)
        assert [box.count_overlaps(boxes) for box in boxes] == [1] * 7


def test_heat_maps_have_a_scale_and_the_bands_over_a_face():
    maps = np.random.default_rng(0).random((7, 12, 12))
    maps[1] = np.nan  # no face of Disgust
    face = np.full((48, 48), 99.0)
    figure = inside.heat_maps({"one way": maps, "the other": 3 * maps}, face)
    pictured = [ax for ax in figure.axes if ax.get_images()]
    assert [ax.get_title() for ax in pictured] == ["bands", *faces.EMOTIONS] * 2
    for row, most in ((pictured[:8], 1), (pictured[8:], 3)):
        np.testing.assert_array_equal(row[0].get_images()[0].get_array(), face)
        heights = {text.get_text(): text.get_position()[1] for text in row[0].texts}
        assert heights == {band: np.mean(ends) for band, ends in BANDS.items()}
        for ax in row[1:]:
            assert ax.get_images()[0].get_clim() == pytest.approx((0, most), rel=0.05)
    scales = [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]
    assert [round(ax.get_ylim()[1]) for ax in scales] == [1, 3]


def test_recalls_are_drawn_of_each_emotion_for_each_view():
    labels, answers = lost(eyes=0.5, mouth=0.25)
    ax = inside.recalls(labels, answers).axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == list(faces.EMOTIONS)
    shown = {line.get_label(): line.get_xdata()[FEAR] for line in ax.lines}
    assert shown == {"nothing covered": 1, "eyes covered": 0.5} | {
        "nose covered": 1,
        "mouth covered": 0.75,
    }

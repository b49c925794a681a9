"""The drawn faces: the same for the same seed, FER2013's frequencies, and every action unit where a
face has it.
"""

import numpy as np
import pytest

from hw3.sources.drawn import BLOCK, COUNTS, EXPRESSIONS, NEUTRAL, TRAITS, UNITS, activations, draw

MANY = 96  # faces: enough for an average over poses, drawn in a few hundredths of a second


def distance(images, others):
    """The mean absolute difference of each pair of pictures."""
    return np.abs(images.astype(float) - others).mean((1, 2))


def test_images_labels_and_intensity_have_their_types_and_shapes():
    images, labels, intensity = draw(5)
    assert (images.dtype, images.shape) == (np.uint8, (5, 48, 48))
    assert (labels.dtype, labels.shape) == (np.uint8, (5,))
    assert (intensity.dtype, intensity.shape) == (np.float32, (5,))
    assert draw(0)[0].shape == (0, 48, 48)


def test_a_seed_always_draws_the_same_faces_and_another_seed_draws_others():
    for first, second in zip(draw(MANY, seed=3), draw(MANY, seed=3), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (distance(draw(MANY, seed=3)[0], draw(MANY, seed=4)[0]) > 5).all()


@pytest.mark.parametrize("m", [1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_fewer_faces_are_the_first_of_more(m):
    for few, many in zip(draw(m, seed=1), draw(2 * BLOCK + 5, seed=1), strict=True):
        np.testing.assert_array_equal(few, many[:m])


def test_no_two_faces_are_alike_not_even_neutral_ones():
    images = draw(2 * BLOCK, labels=NEUTRAL)[0].reshape(2 * BLOCK, -1).astype(float)
    gaps = np.abs(images[:, None, ::7] - images[None, :, ::7]).mean(2)
    assert gaps[~np.eye(len(gaps), dtype=bool)].min() > 5


def test_the_emotions_come_with_the_frequencies_of_fer2013():
    n = 3000
    found = np.bincount(draw(n, seed=2)[1], minlength=7)
    share = np.array(COUNTS) / sum(COUNTS)
    assert (np.abs(found - n * share) < 4 * np.sqrt(n * share * (1 - share))).all()


def test_intensity_runs_from_faint_to_full_and_is_0_for_neutral_faces():
    _, labels, intensity = draw(500)
    assert (intensity[labels == NEUTRAL] == 0).all()
    shown = intensity[labels != NEUTRAL]
    assert 0.2 <= shown.min() < 0.35
    assert 0.95 < shown.max() <= 1


def test_the_emotions_are_the_prototypes_of_facs():
    full = activations(np.arange(7), 1)
    names = [[unit for unit, on in zip(UNITS, row, strict=True) if on] for row in full]
    assert names == [
        [4, 5, 7, 23],
        [9, 15, 16],
        [1, 2, 4, 5, 7, 20, 26],
        [6, 12],
        [1, 4, 15],
        [1, 2, 5, 26],
        [],
    ]
    np.testing.assert_allclose(activations([3, 3], [0.5, 0]).sum(1), [1, 0])


@pytest.mark.parametrize("label", range(7))
def test_an_emotion_at_intensity_0_is_the_neutral_face_of_the_same_person(label):
    np.testing.assert_array_equal(draw(9, labels=label, intensity=0)[0], draw(9, labels=NEUTRAL)[0])


@pytest.mark.parametrize("label", range(6))
def test_faint_faces_are_nearer_to_neutral_than_full_ones(label):
    neutral, faint, full = (draw(MANY, labels=label, intensity=force)[0] for force in (0, 0.25, 1))
    assert (distance(faint, neutral) < distance(full, neutral)).all()
    assert (distance(full, neutral) > 0.5).all()


@pytest.mark.parametrize("unit", UNITS)
def test_every_action_unit_changes_its_own_region_of_the_picture(unit):
    """The mean row of what changes, over many poses: brows above, eyes, nose, then the mouth."""
    regions = {
        (1, 2, 4): (11, 17),
        (5, 6, 7): (17, 23.5),
        (9,): (21, 27),
        (12, 15, 16, 20, 23, 26): (33, 41),
    }
    low, high = next(rows for units, rows in regions.items() if unit in units)
    alone = [u == unit for u in UNITS]
    change = np.abs(
        draw(MANY, units=alone)[0].astype(float) - draw(MANY, units=np.zeros(len(UNITS)))[0]
    ).mean((0, 2))
    assert change.sum() > 10
    assert low < change @ np.arange(48) / change.sum() < high


def test_a_smile_changes_the_mouth_and_not_the_brows():
    smile = [unit == 12 for unit in UNITS]
    change = np.abs(
        draw(MANY, units=smile)[0].astype(float) - draw(MANY, units=np.zeros(len(UNITS)))[0]
    )
    assert change[:, 30:].mean() > 50 * change[:, :15].mean()


def test_units_replace_those_of_the_label():
    surprise = activations(5, 1)
    images, labels, _ = draw(8, labels=3, units=surprise)
    np.testing.assert_array_equal(images, draw(8, labels=0, units=np.tile(surprise, (8, 1)))[0])
    assert (labels == 3).all()


def test_shared_units_bring_faces_closer():
    """Fear shares five units with surprise and none with happiness."""
    fear, surprise, happy = (draw(MANY, labels=label, intensity=1)[0] for label in (2, 5, 3))
    assert distance(fear, surprise).mean() < distance(fear, happy).mean()


def test_tables_agree():
    assert len(EXPRESSIONS) == len(COUNTS) == NEUTRAL + 1
    assert {unit for units in EXPRESSIONS for unit in units} == set(UNITS)
    assert all(low < high for low, high in TRAITS.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "n must be a whole number"),
        ({"n": 2.5}, "n must be a whole number"),
        ({"n": "3"}, "n must be a whole number"),
        ({"n": 3, "labels": 7}, "labels must be whole numbers from 0 to 6"),
        ({"n": 3, "labels": [0, 1.5, 2]}, "labels must be whole numbers from 0 to 6"),
        ({"n": 3, "labels": [0, 1]}, r"labels must be numbers of shape \(3,\)"),
        ({"n": 3, "labels": "happy"}, r"labels must be numbers of shape \(3,\)"),
        ({"n": 3, "intensity": 1.1}, "intensity must be numbers from 0 to 1"),
        ({"n": 3, "intensity": float("nan")}, "intensity must be numbers from 0 to 1"),
        ({"n": 3, "units": np.zeros(12)}, r"units must be numbers of shape \(3, 13\)"),
        ({"n": 3, "units": np.full(13, -0.1)}, "units must be numbers from 0 to 1"),
    ],
)
def test_a_bad_argument_gets_one_clear_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        draw(**arguments)
    assert "\n" not in str(error.value)

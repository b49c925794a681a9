"""Ensembles, calibration and temperature, on cases small enough to check by hand."""

from dataclasses import replace

import numpy as np
import pytest

from beyond import ablation
from hw3 import runs


def run_of(probabilities, seed):
    """Return a Run that predicted probabilities (n, 7) for faces 0 to n - 1, all of emotion 0."""
    p = np.asarray(probabilities, np.float32)
    predictions = {"PublicTest": (np.arange(len(p)), np.zeros(len(p), np.uint8), p)}
    run = runs.recorded("modern-cnn")[0]
    return replace(run, recipe=replace(run.recipe, seed=seed), predictions=predictions)


def test_ensemble_votes_and_averages():
    # Three networks, two faces of emotion 0. Face 0: two mild votes for 0, one sure one for 1. Face
    # 1: three different votes.
    first = [[0.6, 0.4, 0], [0.6, 0.4, 0], [0, 1, 0]]
    second = [[0.5, 0.3, 0.2], [0.4, 0.5, 0.1], [0.3, 0.1, 0.6]]
    p = np.pad([*zip(first, second, strict=True)], ((0, 0), (0, 0), (0, 4)))
    members = [run_of(probabilities, seed) for seed, probabilities in enumerate(p)]
    both = ablation.ensemble(members, "PublicTest")
    assert both["vote"].tolist() == [0, 0], "a tie goes to the highest sum, 1.2, 0.9, 0.9"
    assert both["mean"].tolist() == [1, 0]
    _, labels, probabilities = members[0].predictions["PublicTest"]
    elsewhere = {"PublicTest": (np.array([5, 6]), labels, probabilities)}
    for predictions, error in ((elsewhere, ValueError), ({}, KeyError)):
        other = replace(members[0], predictions=predictions)
        with pytest.raises(error, match="PublicTest"):  # other faces cannot be voted on
            ablation.ensemble([members[0], other], "PublicTest")


def test_calibration_by_hand():
    p = np.zeros((4, 7))
    p[:, 0] = (0.9, 0.95, 0.5, 0.52)
    p[:, 1] = 1 - p[:, 0]
    # of the two sure predictions, 0.925 on average, one is right; of the two unsure, 0.51, both are
    labels = np.array([0, 1, 0, 0])
    error = ablation.calibration_error(p.argmax(1) == labels, p.max(1), bins=10)
    assert error == pytest.approx((0.49 + 0.425) / 2)


def test_a_perfect_and_sure_network_is_calibrated():
    assert ablation.calibration_error(np.full(7, True), np.ones(7)) == 0
    assert ablation.chance_error(np.ones(7)) == 0


def test_chance_alone_shows_an_error_that_falls_with_more_images():
    # One bin of confidence 1/2: the mean distance of a share of n from 1/2 is sqrt(1 / (2 pi n))
    # for large n.
    for n in (400, 1600):
        expected = np.sqrt(1 / (2 * np.pi * n))
        assert ablation.chance_error(np.full(n, 0.5)) == pytest.approx(expected, rel=0.1)


def test_temperature_is_found_again_and_changes_no_answer():
    rng = np.random.default_rng(0)
    true = rng.dirichlet(np.ones(7), 20_000)
    # drawn from these probabilities
    labels = (true.cumsum(1) > rng.random((len(true), 1))).argmax(1)
    assert ablation.best_temperature(labels, true) == pytest.approx(1, abs=0.03)
    for t in (0.5, 2.0):
        scaled = ablation.at_temperature(true, t)
        assert ablation.best_temperature(labels, scaled) == pytest.approx(1 / t, rel=0.03), (
            "the temperature that undoes it"
        )
        assert np.array_equal(scaled.argmax(1), true.argmax(1))
        np.testing.assert_allclose(scaled.sum(1), 1)
    surer = ablation.at_temperature(np.array([[0.8, 0.2, 0, 0, 0, 0, 0]]), 0.5)
    np.testing.assert_allclose(surer[0, :2], [16 / 17, 1 / 17])


def test_one_more_seed_falls_into_its_prediction_interval_in_95_of_100_cases():
    draws = np.random.default_rng(0).normal(0.7, 0.01, (4000, 6))
    inside = []
    for *seeds, new in draws:
        seed = ablation.next_seed(seeds)
        inside.append(seed.low < new < seed.high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)

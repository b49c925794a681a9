"""Shared by all tests: a build folder of their own, and small faces to train on."""

import numpy as np
import pytest

from hw3.faces import Faces


@pytest.fixture(autouse=True)
def own_build(tmp_path, monkeypatch):
    """Keep every test away from the reader's own _build and data."""
    monkeypatch.setenv("HW3_BUILD", str(tmp_path / "_build"))
    monkeypatch.delenv("HW3_DATA", raising=False)


@pytest.fixture(scope="session")
def few():
    """Return 300 faces that are easy to tell apart: the brightness of a patch is the label."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 300).astype(np.uint8)
    images = rng.integers(0, 60, (300, 48, 48)).astype(np.uint8)
    images[:, 12:36, 12:36] += (25 * labels)[:, None, None]
    part = np.repeat(np.array([0, 1, 2], np.uint8), [240, 30, 30])
    return Faces(images, labels, part, "test faces", "made by the tests")

"""The chapters are prose: what of them stands where, and that what they say of recorded runs holds.

A chapter writes plainly what the recorded runs and the worked examples show; each such sentence has
a test here that computes it and names it. Where one fails, somebody rewrites the sentence.
"""

import numpy as np
import pytest
from prose import measure

from hw3 import original, pca
from hw3.disk import ROOT

CONVERTED = ("pca",)  # the others follow


@pytest.mark.parametrize("name", CONVERTED)
def test_no_sentence_stands_in_a_code_cell_and_cells_are_short(name):
    markdown, coded, longest, functions = measure(ROOT / "book" / f"{name}.ipynb")
    assert coded == 0
    assert markdown > 150
    assert longest <= 12
    assert functions == []


# Chapter 5.


def test_none_of_the_slips_is_among_the_errors():  # 5.9
    slips = pca.compare(pca.answers()).groupby("quantity")["slip"].sum()
    assert slips["errors"] == 0
    assert slips.sum() > 0


def test_axes_1_and_3_of_the_original_point_the_other_way():  # 5.9
    _, axes = pca.principal_axes(pca.covariance(pca.SAMPLES))
    turned = np.sum(axes * np.array(original.PCA["axes"], float), axis=1) < 0
    assert turned.tolist() == [True, False, True]

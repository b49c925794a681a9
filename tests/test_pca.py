"""Chapter 5: every number of the worked example, and that it holds by other roads too."""

import re

import numpy as np
import pytest
from sklearn.decomposition import PCA

from hw3 import figures, pca
from press.page import FIGURE

X = pca.SAMPLES


@pytest.fixture(scope="module")
def ours():
    return pca.answers()


def test_the_covariance_divides_by_n():
    np.testing.assert_allclose(X.mean(axis=0), [5.4, 8.0, 4.8], atol=1e-14)
    np.testing.assert_allclose(
        pca.covariance(X), [[12.04, 0.5, 3.28], [0.5, 12.2, 2.9], [3.28, 2.9, 8.16]], atol=1e-14
    )
    np.testing.assert_allclose(pca.covariance(X), np.cov(X.T, bias=True), atol=1e-14)


def test_the_characteristic_polynomial_is_that_of_the_determinant():
    c = pca.covariance(X)
    polynomial = pca.characteristic(c)
    np.testing.assert_allclose(polynomial, [1, -32.4, 325.268, -973.5692], rtol=1e-12)
    for value in (-3.0, 0.0, 1.5, 20.0):
        assert np.polyval(polynomial, value) == pytest.approx(
            np.linalg.det(value * np.eye(3) - c), rel=1e-10
        )


def test_the_eigenvalues_are_the_roots():
    values = pca.eigenvalues(pca.characteristic(pca.covariance(X)))
    np.testing.assert_array_equal(np.round(values, 8), [15.2974434, 11.63052369, 5.47203291])
    assert values.sum() == pytest.approx(32.4, abs=1e-12)
    assert values.prod() == pytest.approx(973.5692, abs=1e-9)


@pytest.mark.parametrize("roots", [(3, 2, 1), (5, 0, -5), (2, 2, 1), (9, 1, 1), (1e6, 1.0, 1e-3)])
def test_the_trigonometric_formula_finds_any_three_real_roots(roots):
    # A double root keeps only half of the digits, and all errors are relative to the largest root.
    np.testing.assert_allclose(
        pca.eigenvalues(np.poly(roots)), roots, rtol=0, atol=1e-7 * max(roots)
    )


def test_equal_eigenvalues_have_no_principal_axes():
    with pytest.raises(ValueError, match="every direction is a principal axis"):
        pca.eigenvalues(pca.characteristic(2 * np.eye(3)))


def test_the_axes_are_orthonormal_eigenvectors_with_the_sign_of_the_convention():
    c = pca.covariance(X)
    values, axes = pca.principal_axes(c)
    np.testing.assert_allclose(c @ axes.T, axes.T * values, atol=1e-12)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-13)
    assert (axes[range(3), np.abs(axes).argmax(axis=1)] > 0).all()
    expected = [
        (0.6165947, 0.58881629, 0.52259579),
        (-0.67817891, 0.73439013, -0.02728563),
        (-0.39985541, -0.33758926, 0.85214385),
    ]
    np.testing.assert_array_equal(np.round(axes, 8), expected)


def test_random_covariances_give_the_same_axes_as_numpy():
    for seed in range(50):
        c = pca.covariance(np.random.default_rng(seed).standard_normal((20, 3)) * [3, 2, 1])
        values, axes = pca.principal_axes(c)
        expected, vectors = np.linalg.eigh(c)
        np.testing.assert_allclose(values, expected[::-1], atol=1e-10)
        np.testing.assert_allclose(axes, pca.align(vectors.T[::-1], axes), atol=1e-8)


def test_components_errors_and_their_mean_square(ours):
    expected = (
        [7.1866, -0.7587, -3.0703],
        [-1.3732, 0.9440, 4.4506],
    )  # the first three samples along axes 1 and 2
    np.testing.assert_array_equal(
        np.round(np.abs(ours["components"][:3, :2]), 4), np.abs(np.transpose(expected))
    )
    np.testing.assert_array_equal(
        np.round(ours["errors"], 2), [2.25, 0.73, 3.19, 1.93, 4.25, 2.53, 2.14, 2.28, 0.2, 0.98]
    )
    np.testing.assert_allclose(ours["errors"], np.abs(ours["components"][:, 2]), atol=1e-12)
    assert np.linalg.norm(ours["errors"]) == pytest.approx(7.397319, abs=5e-7)
    assert np.mean(ours["errors"] ** 2) == pytest.approx(ours["eigenvalues"][2], abs=1e-12)
    np.testing.assert_allclose(ours["components"].var(axis=0), ours["eigenvalues"], atol=1e-12)


def test_all_three_dimensions_rebuild_the_samples_and_two_give_their_feet_on_the_plane():
    _, axes = pca.principal_axes(pca.covariance(X))
    np.testing.assert_allclose(pca.reconstruct(X, axes, 3), X, atol=1e-12)
    left = X - pca.reconstruct(X, axes, 2)
    np.testing.assert_allclose(left @ axes[:2].T, 0, atol=1e-12)


def test_scikit_learn_and_the_svd_agree_to_the_twelfth_digit(ours):
    full, flat, centered = PCA(3).fit(X), PCA(2).fit(X), X - X.mean(axis=0)
    _, singular, rows = np.linalg.svd(centered, full_matrices=False)
    rebuilt = pca.reconstruct(X, ours["axes"])
    for values, axes in (
        (full.explained_variance_ * 9 / 10, full.components_),
        (singular**2 / 10, rows),
    ):
        axes = pca.align(axes, ours["axes"])
        np.testing.assert_allclose(values, ours["eigenvalues"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(axes, ours["axes"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(centered @ axes.T, ours["components"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        flat.inverse_transform(flat.transform(X)), rebuilt, rtol=0, atol=1e-12
    )


def test_the_original_slipped_in_four_of_its_61_numbers(ours):
    table = pca.compare(ours)
    slips = table[table["slip"]]
    assert len(table) == 61
    assert list(zip(slips["quantity"], slips["place"], slips["original"], strict=True)) == [
        ("eigenvalues", "1", "15.2979434"),
        ("eigenvalues", "3", "5.49203291"),
        ("axes", "1, 1", "-0.6165147"),
        ("components", "2, 1", "0.75"),
    ]


def test_a_slip_is_a_number_that_is_not_ours_rounded_to_its_own_digits():
    table = pca.compare(
        {"a": np.array([0.5, 0.7587, 0.7587, 0.2038])}, {"a": ["0.5", "0.76", "0.75", "0.20"]}
    )
    assert list(table["slip"]) == [False, False, True, False]


def test_latex_writes_rows_and_columns():
    assert (
        pca.latex(np.array([[1, 2.5], [3, 4]]), 1)
        == r"\begin{bmatrix} 1.0 & 2.5 \\ 3.0 & 4.0 \end{bmatrix}"
    )
    assert pca.latex(np.array([1.0, 2.0]), 0) == r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}"


def test_the_plot_in_space_holds_samples_residuals_and_plane_and_asks_no_other_host():
    values, axes = pca.principal_axes(pca.covariance(X))
    rebuilt = pca.reconstruct(X, axes)
    shown = figures.pca_space(X, X.mean(axis=0), axes, rebuilt, np.sqrt(values))
    traces = {trace.name: trace for trace in shown.figure.data}
    points = {name: np.stack([t.x, t.y, t.z], axis=1).astype(float) for name, t in traces.items()}
    np.testing.assert_array_equal(points["samples"], X)
    residuals = points["residuals"].reshape(10, 3, 3)  # foot, sample, gap
    np.testing.assert_allclose(residuals[:, 0], rebuilt)
    np.testing.assert_allclose(residuals[:, 1], X)
    assert np.isnan(residuals[:, 2]).all()
    np.testing.assert_allclose(
        (points["plane of axes 1 and 2"] - X.mean(axis=0)) @ axes[2], 0, atol=1e-12
    )
    for i in range(3):
        start, end, _ = points[f"axis {i + 1}"]
        np.testing.assert_allclose(end - start, 4 * np.sqrt(values[i]) * axes[i])
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/html", "text/plain"}
    assert FIGURE in bundle["text/html"], "where the page puts plotly's script"
    assert "cdn" not in re.sub('base64,[^"]*', "", bundle["text/html"])
    assert len(bundle["text/html"]) < 150_000  # the script itself is not in the page
    assert bundle == shown._repr_mimebundle_()  # the same figure gives the same page

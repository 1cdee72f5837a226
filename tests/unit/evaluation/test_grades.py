"""Grades: which one probabilities say, and how far off it is."""

import numpy as np
import pytest

from wsi.evaluation.bootstrap import Bootstrap
from wsi.evaluation.grades import grade_agreement, median_grade


def test_the_median_grade_makes_the_expected_error_least() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), 200)
    apart = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    expected_error = probabilities @ apart
    np.testing.assert_array_equal(median_grade(probabilities), expected_error.argmin(1))


def test_a_mass_split_between_high_grades_outweighs_one_low_grade() -> None:
    assert median_grade(np.array([[0.4, 0.0, 0.3, 0.3]])).tolist() == [2]


def test_figures_of_known_grades() -> None:
    labels = np.array([0, 1, 2, 2])
    certain = np.eye(3)[[0, 1, 2, 0]]
    patients = np.array(["a", "b", "c", "d"])
    found = grade_agreement(labels, certain, patients, Bootstrap(replicates=200))
    error = found["mean_absolute_error"]
    assert error.value == pytest.approx(0.5)  # one of four is two grades off
    assert error.low is not None
    assert error.high is not None
    assert error.low < 0.5 < error.high
    # 1 - observed / by chance, where each label meets each grade: 26 in 16 pairs.
    assert found["quadratic_kappa"].value == pytest.approx(1 - (4 / 4) / (26 / 16))

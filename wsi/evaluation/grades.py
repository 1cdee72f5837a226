"""Ordinal grades: which grade probabilities say, and how far off it is."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi.evaluation.agreement import cohen_kappa
from wsi.evaluation.bootstrap import Bootstrap, Estimate, interval, resample


def median_grade(probabilities_nk: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """The grade that probabilities say: how many grades k have P(grade > k) above a half.

    That is the median, which makes the expected absolute error least (the rule of CORN too: Shi,
    Cao & Raschka 2021). The likeliest grade would let a mass split between high grades lose to one
    low grade.

    Args:
        probabilities_nk: (N, K), lowest grade first, each row summing to 1.

    Returns:
        (N,) index of the grade.
    """
    reached = probabilities_nk.astype(np.float64).cumsum(1)[:, :-1]
    return np.asarray((reached < 0.5).sum(1), np.int64)


def grade_error(
    labels_n: NDArray[np.int64],
    grades_n: NDArray[np.int64],
    patients_n: NDArray[np.str_],
    bootstrap: Bootstrap,
) -> Estimate:
    """Mean absolute error in grades, with an interval that resamples patients."""
    errors = np.abs(labels_n - grades_n).astype(np.float64)

    def mean(weights_bn: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(weights_bn @ errors / weights_bn.sum(1))

    replicates = resample(patients_n, bootstrap, mean)
    return interval(float(errors.mean()), replicates, len(np.unique(patients_n)), bootstrap)


def grade_agreement(
    labels_n: NDArray[np.int64],
    probabilities_nk: NDArray[np.floating[Any]],
    patients_n: NDArray[np.str_],
    bootstrap: Bootstrap,
) -> dict[str, Estimate]:
    """``mean_absolute_error`` in grades and ``quadratic_kappa`` of the median grade."""
    grades = median_grade(probabilities_nk)
    classes = probabilities_nk.shape[1]
    return {
        "mean_absolute_error": grade_error(labels_n, grades, patients_n, bootstrap),
        "quadratic_kappa": cohen_kappa(
            labels_n,
            grades,
            classes,
            weights="quadratic",
            patients_n=patients_n,
            bootstrap=bootstrap,
        ),
    }

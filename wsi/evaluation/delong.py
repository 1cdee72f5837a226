"""DeLong's test: do two scores of the same cases differ in AUC?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from wsi.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class DeLong:
    """Two AUCs of the same cases.

    Attributes:
        auc_a, auc_b: ties count half.
        difference: a minus b.
        low, high: 95 % interval of the difference.
        z, p_value: two-sided; ``p_value`` is 1 where both rank all cases alike.
        note: what a reader must know.
    """

    auc_a: float
    auc_b: float
    difference: float
    low: float
    high: float
    z: float
    p_value: float
    note: str = ""


def delong_test(
    labels_n: NDArray[np.bool_], scores_a_n: NDArray[np.float64], scores_b_n: NDArray[np.float64]
) -> DeLong:
    """Compare two correlated AUCs (DeLong 1988, by the midranks of Sun & Xu 2014).

    Cases are taken as independent: with several slides a patient the p-value is too small.

    Raises:
        DatasetError: a class has fewer than two cases.
    """
    positives, negatives = int(labels_n.sum()), int((~labels_n).sum())
    if min(positives, negatives) < 2:
        raise DatasetError(
            f"DeLong's test needs two cases of each class; there are {positives} positive "
            f"and {negatives} negative"
        )
    parts = [_components(labels_n, scores) for scores in (scores_a_n, scores_b_n)]
    auc_a, auc_b = (float(of_positive.mean()) for of_positive, _ in parts)
    from_positives = np.cov(np.stack([p for p, _ in parts]))
    from_negatives = np.cov(np.stack([n for _, n in parts]))
    covariance = from_positives / positives + from_negatives / negatives
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = auc_a - auc_b
    if variance <= 1e-15:
        same = abs(difference) < 1e-12
        return DeLong(
            auc_a=auc_a,
            auc_b=auc_b,
            difference=difference,
            low=difference,
            high=difference,
            z=0.0 if same else float(np.copysign(np.inf, difference)),
            p_value=1.0 if same else 0.0,
            note="the difference does not vary between cases",
        )
    z = difference / variance**0.5
    half = float(norm.ppf(0.975)) * variance**0.5
    return DeLong(
        auc_a=auc_a,
        auc_b=auc_b,
        difference=difference,
        low=difference - half,
        high=difference + half,
        z=z,
        p_value=float(2 * norm.sf(abs(z))),
    )


def _components(
    labels_n: NDArray[np.bool_], scores_n: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each positive the share of negatives below it; for each negative of positives above."""
    of_all = rankdata(scores_n)
    positive, negative = scores_n[labels_n], scores_n[~labels_n]
    of_positive = (of_all[labels_n] - rankdata(positive)) / len(negative)
    of_negative = 1 - (of_all[~labels_n] - rankdata(negative)) / len(positive)
    return of_positive, of_negative

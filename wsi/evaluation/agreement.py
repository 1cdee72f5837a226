"""Agreement between raters beyond chance."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from wsi.errors import DatasetError
from wsi.evaluation.bootstrap import Bootstrap, Estimate, interval, resample

Weights = str | None


def cohen_kappa(
    first_n: NDArray[np.int64],
    second_n: NDArray[np.int64],
    classes: int,
    *,
    weights: Weights = None,
    patients_n: NDArray[np.str_] | None = None,
    bootstrap: Bootstrap | None = None,
) -> Estimate:
    """Agreement of two raters (Cohen 1960).

    Args:
        first_n, second_n: (N,) class index that each gave.
        classes: how many classes there are.
        weights: ``None``; ``linear`` or ``quadratic`` for ordinal grades (Cohen 1968).
        patients_n: (N,) to resample by; each case its own patient if not given.
        bootstrap: how the interval is made.

    Raises:
        DatasetError: there is no such weighting.
    """
    penalty = _penalty(classes, weights)
    names = np.arange(classes)
    table = confusion_matrix(first_n, second_n, labels=names)
    if min(np.count_nonzero(table.sum(0)), np.count_nonzero(table.sum(1))) < 2 and (
        np.count_nonzero(table.sum(0) + table.sum(1)) < 2
    ):
        return Estimate(value=None, note="both raters gave the same class to every case")
    value = float(cohen_kappa_score(first_n, second_n, labels=names, weights=weights))
    patients = np.arange(len(first_n)).astype(str) if patients_n is None else patients_n
    spec = bootstrap or Bootstrap()
    cell_of_n = first_n * classes + second_n
    one_hot = np.eye(classes * classes)[cell_of_n]

    def kappa(weights_bn: NDArray[np.float64]) -> NDArray[np.float64]:
        share = (weights_bn @ one_hot).reshape(-1, classes, classes)
        share = share / share.sum((1, 2), keepdims=True)
        chance = share.sum(2)[:, :, None] * share.sum(1)[:, None, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1 - (share * penalty).sum((1, 2)) / (chance * penalty).sum((1, 2)))

    return interval(value, resample(patients, spec, kappa), len(np.unique(patients)), spec)


def _penalty(classes: int, weights: Weights) -> NDArray[np.float64]:
    """What a disagreement costs."""
    apart = np.abs(np.subtract.outer(np.arange(classes), np.arange(classes))).astype(np.float64)
    if weights is None:
        return (apart > 0).astype(np.float64)
    if weights not in ("linear", "quadratic"):
        raise DatasetError(f"kappa weights are linear or quadratic, not {weights!r}")
    return apart if weights == "linear" else apart**2


def fleiss_kappa(counts_nc: NDArray[np.int64]) -> Estimate:
    """Agreement of several raters (Fleiss 1971).

    Args:
        counts_nc: (N cases, C classes) how many raters gave each class; all cases have the same
            number of raters, at least two.

    Raises:
        DatasetError: the number of raters differs between cases, or is below two.
    """
    raters = counts_nc.sum(1)
    if len(raters) == 0 or raters.min() != raters.max() or raters[0] < 2:
        raise DatasetError("Fleiss' kappa needs the same number of raters, at least two, per case")
    n = int(raters[0])
    share = counts_nc.sum(0) / counts_nc.sum()
    by_chance = float((share**2).sum())
    if by_chance == 1:
        return Estimate(value=None, note="every rater gave the same class to every case")
    observed = float(((counts_nc**2).sum(1) - n).mean() / (n * (n - 1)))
    return Estimate(value=(observed - by_chance) / (1 - by_chance))


def count_votes(ratings_nr: NDArray[np.int64], classes: Sequence[str]) -> NDArray[np.int64]:
    """(N, C) how many raters gave each class; -1 in (N, R) ``ratings_nr`` says "did not rate"."""
    return np.stack([(ratings_nr == index).sum(1) for index in range(len(classes))], axis=1)

"""Whether a score of 0.8 means "eight in ten"."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss

NOT_PROBABILITIES = "scores are not probabilities: some lie outside 0 to 1"


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Cases whose score lies in one interval.

    Attributes:
        low, high: the interval; the last one includes its upper end.
        count: cases.
        mean_score: what the model said, on average.
        observed: share of positives among them.
        observed_low, observed_high: its 95 % interval (Wilson 1927).
    """

    low: float
    high: float
    count: int
    mean_score: float
    observed: float
    observed_low: float
    observed_high: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well scores serve as probabilities.

    Attributes:
        brier: mean squared error (Brier 1950).
        ece: expected calibration error over bins of equal width (Naeini 2015).
        bins: those with cases in them.
    """

    brier: float
    ece: float
    bins: tuple[ReliabilityBin, ...]


def calibration(
    labels_n: NDArray[np.bool_], scores_n: NDArray[np.float64], bins: int = 10
) -> Calibration | None:
    """Calibration of scores, or ``None`` where they are no probabilities.

    Args:
        labels_n: (N,) true for positives.
        scores_n: (N,).
        bins: of equal width.
    """
    if scores_n.min() < 0 or scores_n.max() > 1:
        return None
    edges = np.linspace(0, 1, bins + 1)
    bin_of_n = np.clip(np.searchsorted(edges, scores_n, side="right") - 1, 0, bins - 1)
    made = [_bin(labels_n[bin_of_n == b], scores_n[bin_of_n == b], edges, b) for b in range(bins)]
    filled = tuple(one for one in made if one)
    gaps = [abs(one.observed - one.mean_score) * one.count for one in filled]
    return Calibration(
        brier=float(brier_score_loss(labels_n, scores_n, pos_label=True)),
        ece=float(sum(gaps) / len(labels_n)),
        bins=filled,
    )


def _bin(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], edges: NDArray[np.float64], index: int
) -> ReliabilityBin | None:
    if not len(labels):
        return None
    wilson = binomtest(int(labels.sum()), len(labels)).proportion_ci(method="wilson")
    return ReliabilityBin(
        low=float(edges[index]),
        high=float(edges[index + 1]),
        count=len(labels),
        mean_score=float(scores.mean()),
        observed=float(labels.mean()),
        observed_low=float(wilson.low),
        observed_high=float(wilson.high),
    )

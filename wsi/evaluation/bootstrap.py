"""Confidence intervals by resampling patients.

Slides of one patient resemble each other: an interval that resamples slides would be too narrow.
So whole patients are drawn, with replacement (percentile bootstrap; Efron & Tibshirani 1993).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ConfigError

#: weights of replicates held at once: 32 MiB
_CHUNK = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        replicates: how often patients are drawn.
        confidence: such as 0.95.
        seed: of the draws.
    """

    replicates: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replicates < 1 or not 0 < self.confidence < 1:
            raise ConfigError("replicates must be positive and the confidence between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its interval.

    Attributes:
        value: ``None`` where it is not defined; ``note`` says why.
        low, high: ends of the interval; ``None`` where there is none.
        note: what a reader must know of it.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return f"not available: {self.note}"
        if self.low is None or self.high is None:
            return f"{self.value:.4f}" + (f" ({self.note})" if self.note else "")
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def patient_weights(patients_n: NDArray[np.str_], spec: Bootstrap) -> Iterator[NDArray[np.float64]]:
    """How often each case is in each replicate, some replicates at a time.

    Yields:
        (B, N) float64; the B add up to ``spec.replicates``.
    """
    names, patient_of_n = np.unique(patients_n, return_inverse=True)
    rng = np.random.default_rng(spec.seed)
    share = np.full(len(names), 1 / len(names))
    chunk = max(1, _CHUNK // max(1, len(patients_n)))
    for start in range(0, spec.replicates, chunk):
        count = min(chunk, spec.replicates - start)
        yield rng.multinomial(len(names), share, size=count).astype(np.float64)[:, patient_of_n]


def resample(
    patients_n: NDArray[np.str_],
    spec: Bootstrap,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """A statistic in every replicate.

    Args:
        statistic: (B, N) weights to (B, ...) values; NaN where a replicate does not define it.
    """
    return np.concatenate([statistic(weights) for weights in patient_weights(patients_n, spec)])


def interval(
    value: float, replicates_b: NDArray[np.float64], patients: int, spec: Bootstrap
) -> Estimate:
    """The percentile interval of a figure.

    Replicates that do not define the figure (one class only was drawn) are left out and counted.
    """
    if patients < 2:
        return Estimate(value=value, note="no interval: all cases are of one patient")
    good = replicates_b[np.isfinite(replicates_b)]
    lost = len(replicates_b) - len(good)
    if len(good) < 0.5 * len(replicates_b):
        return Estimate(value=value, note="no interval: too few patients of one class")
    tail = (1 - spec.confidence) / 2
    low, high = np.quantile(good, [tail, 1 - tail])
    note = f"{lost} of {len(replicates_b)} replicates had one class only" if lost else ""
    return Estimate(value=value, low=float(low), high=float(high), note=note)

"""ROC and precision-recall arithmetic, exact with ties, for many weightings of cases at once.

scikit-learn computes one weighting a call; the bootstrap needs thousands. A test holds both equal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Cumulated:
    """Positives and negatives at or above each distinct score, highest first.

    Attributes:
        thresholds_t: (T + 1,) infinity, then the T distinct scores in descending order.
        true_bt, false_bt: (B, T + 1) weight of positive and negative cases called positive.
    """

    thresholds_t: NDArray[np.float64]
    true_bt: NDArray[np.float64]
    false_bt: NDArray[np.float64]

    @property
    def sensitivity_bt(self) -> NDArray[np.float64]:
        """(B, T + 1); NaN without positives."""
        return _share(self.true_bt, self.true_bt[:, -1:])

    @property
    def false_positive_rate_bt(self) -> NDArray[np.float64]:
        """(B, T + 1); NaN without negatives."""
        return _share(self.false_bt, self.false_bt[:, -1:])

    @property
    def precision_bt(self) -> NDArray[np.float64]:
        """(B, T + 1); 1 where nothing is called positive, as scikit-learn has it."""
        called = self.true_bt + self.false_bt
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(called > 0, self.true_bt / called, 1.0)

    def auc_b(self) -> NDArray[np.float64]:
        """(B,) area under the ROC curve; cases of equal score count half. NaN with one class."""
        return np.asarray(np.trapezoid(self.sensitivity_bt, self.false_positive_rate_bt, axis=1))

    def average_precision_b(self) -> NDArray[np.float64]:
        """(B,) precision summed over the steps of recall. NaN without positives."""
        steps = np.diff(self.sensitivity_bt, axis=1)
        return np.asarray((steps * self.precision_bt[:, 1:]).sum(1))

    def sensitivity_at_b(self, specificity: float) -> NDArray[np.float64]:
        """(B,) highest sensitivity among the thresholds that reach a specificity."""
        allowed = self.false_positive_rate_bt <= 1 - specificity + 1e-12
        best = np.where(allowed, self.sensitivity_bt, -1).max(1)
        return _defined(best, self)

    def specificity_at_b(self, sensitivity: float) -> NDArray[np.float64]:
        """(B,) highest specificity among the thresholds that reach a sensitivity."""
        allowed = self.sensitivity_bt >= sensitivity - 1e-12
        best = np.where(allowed, 1 - self.false_positive_rate_bt, -1).max(1)
        return _defined(best, self)

    def sensitivity_on_grid_bg(self, rates_g: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B, G) the ROC curves, interpolated at false positive rates."""
        return np.stack(
            [
                np.interp(rates_g, x, y)
                for x, y in zip(self.false_positive_rate_bt, self.sensitivity_bt, strict=True)
            ]
        )

    def precision_on_grid_bg(self, recalls_g: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B, G) precision at the first threshold that reaches each recall.

        Not interpolated: between two points precision does not run straight (Davis 2006).
        """
        rows = zip(self.sensitivity_bt, self.precision_bt, strict=True)
        return np.stack(
            [
                y[np.minimum(np.searchsorted(x, recalls_g - 1e-12), len(y) - 1)]
                if np.isfinite(x[-1])
                else np.full(len(recalls_g), np.nan)
                for x, y in rows
            ]
        )


def cumulate(
    labels_n: NDArray[np.bool_],
    scores_n: NDArray[np.float64],
    weights_bn: NDArray[np.float64] | None = None,
) -> Cumulated:
    """Count cases from the highest score down.

    Args:
        labels_n: (N,) true for positives.
        scores_n: (N,).
        weights_bn: (B, N) how much each case counts; each once if not given (B = 1).
    """
    weights = np.ones((1, len(labels_n))) if weights_bn is None else weights_bn
    order = np.argsort(-scores_n, kind="stable")
    ranked = scores_n[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    parts = []
    for wanted in (labels_n, ~labels_n):
        counts = np.cumsum(weights[:, order] * wanted[order], axis=1)[:, ends]
        parts.append(np.concatenate([np.zeros((len(weights), 1)), counts], axis=1))
    return Cumulated(np.concatenate([[np.inf], ranked[ends]]), parts[0], parts[1])


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(part / whole)


def _defined(values_b: NDArray[np.float64], counts: Cumulated) -> NDArray[np.float64]:
    """NaN where a replicate lacks a class."""
    both = (counts.true_bt[:, -1] > 0) & (counts.false_bt[:, -1] > 0)
    return np.where(both, values_b, np.nan)

"""Everything that one score says of positive and negative cases, with intervals by patient."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from wsi.evaluation.agreement import cohen_kappa
from wsi.evaluation.bootstrap import Bootstrap, Estimate, interval, resample
from wsi.evaluation.calibration import NOT_PROBABILITIES, Calibration, calibration
from wsi.evaluation.ranking import Cumulated, cumulate

GRID = np.linspace(0, 1, 101)
"""False positive rates, and recalls, at which curves have a band."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """What is asked.

    Attributes:
        specificity: at which sensitivity is reported.
        sensitivity: at which specificity is reported.
        threshold: a score at or above which a case is called positive; ``None`` leaves it out.
        bins: of the reliability plot.
        bootstrap: how intervals are made.
    """

    specificity: float = 0.95
    sensitivity: float = 0.95
    threshold: float | None = 0.5
    bins: int = 10
    bootstrap: Bootstrap = field(default_factory=Bootstrap)


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What happens where cases at or above one score are called positive.

    Attributes:
        name: how the threshold was chosen.
        threshold: the score.
        true_positive, false_positive, true_negative, false_negative: cases.
        sensitivity, specificity: intervals hold the threshold fixed.
        kappa: agreement of the calls with the truth beyond chance (Cohen 1960).
        ppv, npv: at this table's prevalence; ``None`` where nothing was called so.
    """

    name: str
    threshold: float
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int
    sensitivity: Estimate
    specificity: Estimate
    kappa: Estimate
    ppv: float | None
    npv: float | None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve with its points, and a band around it at ``GRID``.

    Attributes:
        x_t, y_t: false positive rate and sensitivity, or recall and precision.
        low_g, high_g: ends of the pointwise interval at each value of ``GRID``; empty without one.
    """

    x_t: NDArray[np.float64]
    y_t: NDArray[np.float64]
    low_g: NDArray[np.float64]
    high_g: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoreEvaluation:
    """One score against the truth.

    Attributes:
        name: of the score.
        cases, positives, patients: how many.
        notes: what a reader must know; why a figure is not there.
        auc, average_precision: with intervals by patient.
        sensitivity_at_specificity, specificity_at_sensitivity: each replicate of the interval
            chooses its own threshold.
        operating_points: thresholds of interest.
        roc, precision_recall: ``None`` with one class only.
        calibration: ``None`` where scores are not probabilities.
        auc_replicates_b: AUC in each bootstrap replicate, to compare scores with.
    """

    name: str
    cases: int
    positives: int
    patients: int
    notes: tuple[str, ...]
    auc: Estimate
    average_precision: Estimate
    sensitivity_at_specificity: Estimate
    specificity_at_sensitivity: Estimate
    operating_points: tuple[OperatingPoint, ...]
    roc: Curve | None
    precision_recall: Curve | None
    calibration: Calibration | None
    auc_replicates_b: NDArray[np.float64]


def evaluate_score(
    name: str,
    labels_n: NDArray[np.bool_],
    scores_n: NDArray[np.float64],
    patients_n: NDArray[np.str_],
    spec: EvaluationSpec,
) -> ScoreEvaluation:
    """Evaluate one score.

    A table of one class only, or of one patient, is evaluated as far as it goes and says so.

    Args:
        name: for the report.
        labels_n: (N,) true for positives, N at least 1.
        scores_n: (N,) higher says "more likely positive".
        patients_n: (N,) whom each case is of.
        spec: what is asked.
    """
    positives, patients = int(labels_n.sum()), len(np.unique(patients_n))
    measured = calibration(labels_n, scores_n, spec.bins)
    notes = [] if measured else [NOT_PROBABILITIES]
    if patients < 2:
        notes.append("all cases are of one patient: there are no intervals")
    if positives in (0, len(labels_n)):
        return _one_class(name, labels_n, scores_n, patients_n, tuple(notes), measured, spec)
    counts = cumulate(labels_n, scores_n)
    chosen = _thresholds(counts, spec)
    replicates = resample(
        patients_n,
        spec.bootstrap,
        lambda weights_bn: _statistics(labels_n, scores_n, weights_bn, chosen, spec),
    )
    head, curves = np.split(replicates, [4 + 2 * len(chosen)], axis=1)

    def estimate(value: float, column: int) -> Estimate:
        return interval(value, head[:, column], patients, spec.bootstrap)

    return ScoreEvaluation(
        name=name,
        cases=len(labels_n),
        positives=positives,
        patients=patients,
        notes=tuple(notes),
        auc=estimate(float(roc_auc_score(labels_n, scores_n)), 0),
        average_precision=estimate(float(average_precision_score(labels_n, scores_n)), 1),
        sensitivity_at_specificity=estimate(float(counts.sensitivity_at_b(spec.specificity)[0]), 2),
        specificity_at_sensitivity=estimate(float(counts.specificity_at_b(spec.sensitivity)[0]), 3),
        operating_points=tuple(
            _operating_point(what, threshold, labels_n, scores_n, patients_n, pair, spec.bootstrap)
            for (what, threshold), pair in zip(
                chosen.items(), np.split(head[:, 4:], max(1, len(chosen)), axis=1), strict=True
            )
        ),
        roc=_curve(
            counts.false_positive_rate_bt[0],
            counts.sensitivity_bt[0],
            curves[:, : len(GRID)],
            patients,
            spec.bootstrap,
        ),
        precision_recall=_curve(
            counts.sensitivity_bt[0],
            counts.precision_bt[0],
            curves[:, len(GRID) :],
            patients,
            spec.bootstrap,
        ),
        calibration=measured,
        auc_replicates_b=head[:, 0],
    )


def _one_class(
    name: str,
    labels_n: NDArray[np.bool_],
    scores_n: NDArray[np.float64],
    patients_n: NDArray[np.str_],
    notes: tuple[str, ...],
    measured: Calibration | None,
    spec: EvaluationSpec,
) -> ScoreEvaluation:
    """What is defined without a second class: calls at the threshold, calibration."""
    which = "positive" if labels_n.all() else "negative"
    missing = Estimate(value=None, note=f"all {len(labels_n)} cases are {which}")
    return ScoreEvaluation(
        name=name,
        cases=len(labels_n),
        positives=int(labels_n.sum()),
        patients=len(np.unique(patients_n)),
        notes=(*notes, f"{missing.note}: ROC, precision-recall and AUC are not defined"),
        auc=missing,
        average_precision=missing,
        sensitivity_at_specificity=missing,
        specificity_at_sensitivity=missing,
        operating_points=()
        if spec.threshold is None
        else (_point_of_one_class(spec.threshold, labels_n, scores_n, patients_n, missing, spec),),
        roc=None,
        precision_recall=None,
        calibration=measured,
        auc_replicates_b=np.empty(0),
    )


def _point_of_one_class(
    threshold: float,
    labels_n: NDArray[np.bool_],
    scores_n: NDArray[np.float64],
    patients_n: NDArray[np.str_],
    missing: Estimate,
    spec: EvaluationSpec,
) -> OperatingPoint:
    """Sensitivity of positives alone, or specificity of negatives alone."""
    right_n = ((scores_n >= threshold) == labels_n).astype(np.float64)

    def share(weights_bn: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(weights_bn @ right_n / weights_bn.sum(1))

    replicates = resample(patients_n, spec.bootstrap, share)
    patients = len(np.unique(patients_n))
    found = interval(float(right_n.mean()), replicates, patients, spec.bootstrap)
    right, positive = int(right_n.sum()), bool(labels_n.all())
    wrong = len(labels_n) - right
    return OperatingPoint(
        name=f"score at least {threshold:g}",
        threshold=threshold,
        true_positive=right if positive else 0,
        false_positive=0 if positive else wrong,
        true_negative=0 if positive else right,
        false_negative=wrong if positive else 0,
        sensitivity=found if positive else missing,
        specificity=missing if positive else found,
        kappa=missing,
        ppv=None,
        npv=None,
    )


def _thresholds(counts: Cumulated, spec: EvaluationSpec) -> dict[str, float]:
    """Operating points of interest: name to score."""
    sensitivity, rate = counts.sensitivity_bt[0], counts.false_positive_rate_bt[0]
    found = {"highest sensitivity + specificity (Youden 1950)": int((sensitivity - rate).argmax())}
    # The last threshold that keeps the specificity has the highest sensitivity, and the first
    # that reaches the sensitivity the highest specificity: both only grow along the curve.
    kept = np.flatnonzero(rate <= 1 - spec.specificity + 1e-12)
    found[f"specificity at least {spec.specificity:g}"] = int(kept[-1])
    reached = np.flatnonzero(sensitivity >= spec.sensitivity - 1e-12)
    found[f"sensitivity at least {spec.sensitivity:g}"] = int(reached[0])
    chosen = {what: float(counts.thresholds_t[index]) for what, index in found.items()}
    if spec.threshold is not None:
        chosen = {f"score at least {spec.threshold:g}": spec.threshold, **chosen}
    return chosen


def _statistics(
    labels_n: NDArray[np.bool_],
    scores_n: NDArray[np.float64],
    weights_bn: NDArray[np.float64],
    chosen: dict[str, float],
    spec: EvaluationSpec,
) -> NDArray[np.float64]:
    """(B, 4 + 2 thresholds + 2 grids) every bootstrapped figure of some replicates."""
    counts = cumulate(labels_n, scores_n, weights_bn)
    columns = [
        counts.auc_b(),
        counts.average_precision_b(),
        counts.sensitivity_at_b(spec.specificity),
        counts.specificity_at_b(spec.sensitivity),
    ]
    for threshold in chosen.values():
        last = int((counts.thresholds_t >= threshold).sum()) - 1
        columns += [counts.sensitivity_bt[:, last], 1 - counts.false_positive_rate_bt[:, last]]
    return np.concatenate(
        [
            np.stack(columns, axis=1),
            counts.sensitivity_on_grid_bg(GRID),
            counts.precision_on_grid_bg(GRID),
        ],
        axis=1,
    )


def _operating_point(
    name: str,
    threshold: float,
    labels_n: NDArray[np.bool_],
    scores_n: NDArray[np.float64],
    patients_n: NDArray[np.str_],
    replicates_b2: NDArray[np.float64],
    spec: Bootstrap,
) -> OperatingPoint:
    called, patients = scores_n >= threshold, len(np.unique(patients_n))
    (tn, fp), (fn, tp) = confusion_matrix(labels_n, called, labels=[False, True])
    return OperatingPoint(
        name=name,
        threshold=threshold,
        true_positive=int(tp),
        false_positive=int(fp),
        true_negative=int(tn),
        false_negative=int(fn),
        sensitivity=interval(float(tp / (tp + fn)), replicates_b2[:, 0], patients, spec),
        specificity=interval(float(tn / (tn + fp)), replicates_b2[:, 1], patients, spec),
        kappa=cohen_kappa(
            labels_n.astype(np.int64),
            called.astype(np.int64),
            2,
            patients_n=patients_n,
            bootstrap=spec,
        ),
        ppv=float(tp / (tp + fp)) if tp + fp else None,
        npv=float(tn / (tn + fn)) if tn + fn else None,
    )


def _curve(
    x_t: NDArray[np.float64],
    y_t: NDArray[np.float64],
    replicates_bg: NDArray[np.float64],
    patients: int,
    spec: Bootstrap,
) -> Curve:
    low, high = np.empty(0), np.empty(0)
    good = replicates_bg[np.isfinite(replicates_bg).all(1)]
    if patients > 1 and len(good) >= 0.5 * len(replicates_bg):
        tail = (1 - spec.confidence) / 2
        low, high = np.quantile(good, [tail, 1 - tail], axis=0)
    return Curve(x_t=x_t, y_t=y_t, low_g=low, high_g=high)

"""One figure for several models that were trained alike: repeats of a cross-validation, seeds."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from wsi.evaluation.bootstrap import Bootstrap, Estimate, interval, resample
from wsi.evaluation.ranking import cumulate


def repeated_auc(
    labels_n: NDArray[np.int64],
    probabilities_rnk: NDArray[np.float64],
    patients_n: NDArray[np.str_],
    spec: Bootstrap,
) -> tuple[NDArray[np.float64], Estimate]:
    """AUC of R models on the same N cases, and their mean.

    Two classes: the AUC is that of the second. More: the mean of one class against the rest, over
    the classes that are there.

    Returns:
        (R,) AUC of each model; and their mean, whose interval resamples patients and holds the
        models fixed. NaN and no value where the cases are of one class.
    """
    classes = probabilities_rnk.shape[2]
    judged = [1] if classes == 2 else list(range(classes))
    judged = [k for k in judged if 0 < (labels_n == k).sum() < len(labels_n)]
    if not judged:
        missing = Estimate(value=None, note=f"all {len(labels_n)} cases are of one class")
        return np.full(len(probabilities_rnk), np.nan), missing

    def mean_auc(weights_bn: NDArray[np.float64]) -> NDArray[np.float64]:
        areas = [
            cumulate(labels_n == k, one[:, k], weights_bn).auc_b()
            for one in probabilities_rnk
            for k in judged
        ]
        return np.asarray(np.mean(areas, axis=0))

    auc_r = np.array(
        [
            np.mean([roc_auc_score(labels_n == k, one[:, k]) for k in judged])
            for one in probabilities_rnk
        ]
    )
    replicates = resample(patients_n, spec, mean_auc)
    patients = len(np.unique(patients_n))
    return auc_r, interval(float(auc_r.mean()), replicates, patients, spec)

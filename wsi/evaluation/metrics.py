"""Figures of a classifier on labelled examples; scikit-learn does the arithmetic."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score


def classification_metrics(
    labels_n: NDArray[np.int64],
    probabilities_nc: NDArray[np.float32],
    classes: tuple[str, ...],
    *,
    prefix: str,
) -> dict[str, float]:
    """AUC and accuracy, named with the split they come from.

    The AUC is that of the last class against the others where there are two classes, and the mean
    of one class against the rest over all classes present otherwise (ties count half). It is NaN
    where only one class is present.

    Args:
        labels_n: (N,) index of the true class.
        probabilities_nc: (N, C) in [0, 1].
        classes: the C names.
        prefix: such as ``validation``.
    """
    predicted = probabilities_nc.argmax(1)
    areas = {
        name: float(roc_auc_score(labels_n == index, probabilities_nc[:, index]))
        for index, name in enumerate(classes)
        if 0 < (labels_n == index).sum() < len(labels_n)
    }
    figures = {
        f"{prefix}_auc": float(np.mean(list(areas.values()))) if areas else float("nan"),
        f"{prefix}_accuracy": float((predicted == labels_n).mean()),
    }
    if len(np.unique(labels_n)) > 1:
        figures[f"{prefix}_balanced_accuracy"] = float(balanced_accuracy_score(labels_n, predicted))
    if len(classes) > 2:
        figures |= {f"{prefix}_auc_{name}": area for name, area in areas.items()}
    return figures

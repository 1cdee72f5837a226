"""Labels that are likely wrong: by cross-validated predictions, and by several raters.

Confident learning (Northcutt, Jiang & Chuang 2021): a case is confidently of class j if its
probability of j is at least the mean probability of j among the cases that are labelled j. Counting
given against confident classes estimates how often each class is mistaken for each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi.data.raters import Ratings, dawid_skene
from wsi.datasets.table import Entry
from wsi.errors import DatasetError
from wsi.slide_names import slide_stem
from wsi.tables import need_columns, number_of, read_lines

_NAME_COLUMNS = ("name", "slide", "path", "file")


@dataclass(frozen=True, kw_only=True)
class LabelIssue:
    """A label that something contradicts.

    Attributes:
        entry: the line.
        likely: what it may be instead.
        given_probability, likely_probability: of the label and of the other.
    """

    entry: Entry
    likely: str
    given_probability: float
    likely_probability: float


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """What contradicts the labels of a table.

    Attributes:
        source: scores or ratings.
        classes: K names.
        cases: how many were compared.
        joint_kk: estimated share of cases labelled i that are truly j; sums to 1.
        noise_share: what is not on its diagonal.
        issues: most likely wrong first.
        unmatched: lines of which the source says nothing.
    """

    source: str
    classes: tuple[str, ...]
    cases: int
    joint_kk: NDArray[np.float64]
    noise_share: float
    issues: tuple[LabelIssue, ...]
    unmatched: int


def noise_by_scores(entries: Sequence[Entry], path: Path) -> LabelNoise:
    """Confident learning from a table of predictions.

    The predictions must be of models that did not see the case (cross-validation): a model repeats
    the errors of labels that it was trained on.

    Args:
        entries: with their labels.
        path: CSV with the slide (``name``, ``slide``, ``path`` or ``file``) and ``p_CLASS`` for
            each class, as ``wsi evaluate`` and ``wsi train fusion`` write it.

    Raises:
        DatasetError: a column is missing, or no line is of a slide with a label.
    """
    lines = read_lines(path)
    column = next((name for name in _NAME_COLUMNS if name in lines[0]), None)
    classes = tuple(name.removeprefix("p_") for name in lines[0] if name.startswith("p_"))
    if column is None or len(classes) < 2:
        raise DatasetError(f"{path}: predictions need a column name and p_CLASS of two classes")
    need_columns(lines, [f"p_{name}" for name in classes], str(path))
    by_name = _by_name([line[column] for line in lines], str(path))
    values_of = [
        [number_of(line[f"p_{name}"], f"{path}, line {number}, p_{name}") for name in classes]
        for number, line in enumerate(lines, start=2)
    ]
    scores = {name: values_of[row] for name, row in by_name.items()}
    labelled = [entry for entry in entries if entry.label]
    _by_name([entry.path for entry in labelled], "the table")
    if strange := sorted({entry.label for entry in labelled} - set(classes)):
        raise DatasetError(f"{path}: no column p_{strange[0]}, a label of the table")
    known = [entry for entry in labelled if entry.name in scores]
    if not known:
        raise DatasetError(f"{path}: none of its slides is in the table")
    labels = np.array([classes.index(entry.label) for entry in known])
    values = np.array([scores[entry.name] for entry in known])
    joint, likely = confident_joint(labels, values)
    suspects = np.flatnonzero((likely >= 0) & (likely != labels))
    rows = np.arange(len(known))
    given, other = values[rows, labels], values[rows, likely]
    order = suspects[np.argsort(given[suspects] - other[suspects], kind="stable")]
    return LabelNoise(
        source=path.name,
        classes=classes,
        cases=len(known),
        joint_kk=joint,
        noise_share=float(1 - np.trace(joint)),
        issues=tuple(
            LabelIssue(
                entry=known[i],
                likely=classes[likely[i]],
                given_probability=float(given[i]),
                likely_probability=float(other[i]),
            )
            for i in order
        ),
        unmatched=len(labelled) - len(known),
    )


def _by_name(paths: Sequence[str], source: str) -> dict[str, int]:
    """Place of each slide by its name. Raises DatasetError where two have one name."""
    found: dict[str, int] = {}
    for place, path in enumerate(paths):
        if (other := found.setdefault(slide_stem(path), place)) != place:
            raise DatasetError(
                f"{source}: {paths[other]} and {path} have the same name: what is known about "
                f"{slide_stem(path)} may be of either"
            )
    return found


def confident_joint(
    labels_n: NDArray[np.int64], probabilities_nk: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Estimated joint of given and true classes, and each case's confident class.

    Returns:
        (K, K) shares of cases labelled i and truly j, scaled to the number of each label; and (N,)
        the class that each case is confidently of, -1 where of none.
    """
    classes = probabilities_nk.shape[1]
    counts = np.bincount(labels_n, minlength=classes)
    thresholds = np.array(
        [probabilities_nk[labels_n == k, k].mean() if counts[k] else np.inf for k in range(classes)]
    )
    # A rounding error must not keep a case that is exactly average from its class.
    reached = probabilities_nk >= thresholds - 1e-12
    likely = np.where(reached, probabilities_nk, -1.0).argmax(1)
    likely[~reached.any(1)] = -1
    joint = np.zeros((classes, classes))
    sure = likely >= 0
    np.add.at(joint, (labels_n[sure], likely[sure]), 1)
    empty = joint.sum(1) == 0
    joint[empty, empty] = 1  # nothing is known of such a class: take its labels as right
    joint *= (counts / joint.sum(1))[:, None]
    return joint / joint.sum(), likely.astype(np.int64)


def noise_by_ratings(entries: Sequence[Entry], ratings: Ratings) -> LabelNoise:
    """The table's labels against the consensus of several raters (Dawid & Skene 1979).

    Raises:
        DatasetError: no rated slide is in the table.
    """
    consensus = dawid_skene(ratings.labels_nr, len(ratings.classes))
    rated = _by_name(ratings.slides, ratings.source)
    labelled = [entry for entry in entries if entry.label]
    _by_name([entry.path for entry in labelled], "the table")
    known = [e for e in labelled if e.name in rated and e.label in ratings.classes]
    if not known:
        raise DatasetError(f"{ratings.source}: no rated slide has a label in the table")
    rows = np.array([rated[entry.name] for entry in known])
    labels = np.array([ratings.classes.index(entry.label) for entry in known])
    posterior = consensus.posterior_nk[rows]
    joint = np.stack(
        [posterior[labels == k].sum(0) for k in range(len(ratings.classes))]
    ) / len(known)  # fmt: skip
    likely = posterior.argmax(1)
    every = np.arange(len(known))
    suspects = np.flatnonzero(likely != labels)
    order = suspects[np.argsort(-posterior[every, likely][suspects], kind="stable")]
    return LabelNoise(
        source=ratings.source,
        classes=ratings.classes,
        cases=len(known),
        joint_kk=joint,
        noise_share=float(1 - np.trace(joint)),
        issues=tuple(
            LabelIssue(
                entry=known[i],
                likely=ratings.classes[likely[i]],
                given_probability=float(posterior[i, labels[i]]),
                likely_probability=float(posterior[i, likely[i]]),
            )
            for i in order
        ),
        unmatched=len(labelled) - len(known),
    )

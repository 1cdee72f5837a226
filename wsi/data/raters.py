"""Labels by several raters: how reliable each one is, and soft labels that take it into account."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi.data.heatmap_features import class_index
from wsi.errors import DatasetError
from wsi.evaluation.agreement import cohen_kappa, count_votes, fleiss_kappa
from wsi.evaluation.bootstrap import Bootstrap
from wsi.files import write_text
from wsi.tables import need_columns, read_lines

_NOT_RATED = -1


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """Who said what of which slide.

    Attributes:
        source: for messages.
        slides: N names, as the table has them.
        raters: R names.
        classes: K names.
        labels_nr: (N, R) index of the class that a rater gave; -1 where there is none.
    """

    source: str
    slides: tuple[str, ...]
    raters: tuple[str, ...]
    classes: tuple[str, ...]
    labels_nr: NDArray[np.int64]


def read_ratings(path: Path, classes: Sequence[str]) -> Ratings:
    """Read a CSV table with a line a rating: ``slide``, ``rater``, ``label``.

    Raises:
        DatasetError: a column is missing, a label unknown, or a rater rates a slide twice.
    """
    lines = read_lines(path)
    need_columns(lines, ("slide", "rater", "label"), str(path))
    slides = tuple(dict.fromkeys(line["slide"] for line in lines))
    raters = tuple(dict.fromkeys(line["rater"] for line in lines))
    row, column = ({name: i for i, name in enumerate(names)} for names in (slides, raters))
    labels = np.full((len(slides), len(raters)), _NOT_RATED, np.int64)
    for number, line in enumerate(lines, start=2):
        where = f"{path}, line {number}"
        place = row[line["slide"]], column[line["rater"]]
        if labels[place] != _NOT_RATED:
            raise DatasetError(f"{where}: {line['rater']} has rated {line['slide']} already")
        labels[place] = class_index(line["label"], classes, where)
    return Ratings(
        source=path.name, slides=slides, raters=raters, classes=tuple(classes), labels_nr=labels
    )


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """What the ratings say together.

    Attributes:
        posterior_nk: (N, K) probability of each class for each slide: soft labels.
        confusion_rkk: (R, K, K) how often a rater gives class j where the truth is class i.
        prior_k: (K,) share of the classes.
        iterations: of EM.
        converged: whether it came to rest.
    """

    posterior_nk: NDArray[np.float64]
    confusion_rkk: NDArray[np.float64]
    prior_k: NDArray[np.float64]
    iterations: int
    converged: bool

    @property
    def reliability_r(self) -> NDArray[np.float64]:
        """(R,) share of slides that a rater gets right, at the estimated class shares."""
        right = np.diagonal(self.confusion_rkk, axis1=1, axis2=2)
        return np.asarray(right @ self.prior_k)


def dawid_skene(
    labels_nr: NDArray[np.int64],
    classes: int,
    *,
    smoothing: float = 0.1,
    iterations: int = 500,
    tolerance: float = 1e-7,
) -> Consensus:
    """Truth and raters' errors from ratings alone, by EM (Dawid & Skene 1979).

    It starts from the majority, so a class keeps its name as long as most raters are better than
    chance. Raters are taken as independent given the truth: two who sat together count twice.

    Args:
        labels_nr: (N, R) class index, -1 where there is no rating.
        classes: K.
        smoothing: ratings imagined in each cell of each rater's table, so that a rater with few
            slides is never certain.
        iterations: at most so many.
        tolerance: change of the soft labels below which it stops.

    Raises:
        DatasetError: a slide has no rating.
    """
    if (bare := (labels_nr < 0).all(1)).any() or not len(labels_nr):
        raise DatasetError(f"{int(bare.sum())} of {len(labels_nr)} slides have no rating")
    one_hot_nrk = (labels_nr[:, :, None] == np.arange(classes)).astype(np.float64)
    votes = one_hot_nrk.sum(1)
    posterior = votes / votes.sum(1, keepdims=True)
    for taken in range(1, iterations + 1):  # noqa: B007 - how many it took
        prior = posterior.mean(0)
        confusion = np.einsum("ni,nrj->rij", posterior, one_hot_nrk) + smoothing
        confusion /= confusion.sum(2, keepdims=True)
        with np.errstate(divide="ignore"):  # a class that nobody ever gave has no prior
            logs = np.log(prior) + np.einsum("nrj,rij->ni", one_hot_nrk, np.log(confusion))
        fresh = np.exp(logs - logs.max(1, keepdims=True))
        fresh /= fresh.sum(1, keepdims=True)
        change = float(np.abs(fresh - posterior).max())
        posterior = fresh
        if change < tolerance:
            break
    return Consensus(
        posterior_nk=posterior,
        confusion_rkk=confusion,
        prior_k=prior,
        iterations=taken,
        converged=change < tolerance,
    )


def describe(ratings: Ratings, consensus: Consensus) -> dict[str, Any]:
    """What a model card or report says of the raters, as JSON types."""
    rated_nr = ratings.labels_nr >= 0
    told: dict[str, Any] = {
        "method": "Dawid-Skene",
        "source": ratings.source,
        "slides": len(ratings.slides),
        "converged": consensus.converged,
        "raters": {
            name: {
                "rated": int(rated_nr[:, r].sum()),
                "reliability": round(float(consensus.reliability_r[r]), 4),
                "confusion": np.round(consensus.confusion_rkk[r], 4).tolist(),
            }
            for r, name in enumerate(ratings.raters)
        },
    }
    # Fleiss' kappa is defined only where every slide has as many raters.
    if rated_nr.sum(1).min() == rated_nr.sum(1).max() >= 2:
        told["fleiss_kappa"] = fleiss_kappa(count_votes(ratings.labels_nr, ratings.classes)).value
    return told


def write_raters(ratings: Ratings, out: Path, *, ordinal: bool = False) -> dict[str, Any]:
    """Write ``raters.json`` and ``soft_labels.csv``.

    Args:
        out: folder.
        ordinal: classes are grades: Cohen's kappa weighs by the squared distance.

    Returns:
        What ``raters.json`` holds: ``describe``, and Cohen's kappa of every pair of raters.

    Raises:
        DatasetError: a file cannot be written.
    """
    consensus = dawid_skene(ratings.labels_nr, len(ratings.classes))
    told = {
        **describe(ratings, consensus),
        "kappa": "quadratic weights" if ordinal else "unweighted",
        "pairs": [
            _pair(ratings, a, b, ordinal) for a, b in combinations(range(len(ratings.raters)), 2)
        ],
    }
    write_text(out / "raters.json", json.dumps(told, indent=1, allow_nan=False) + "\n")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["slide", *(f"p_{name}" for name in ratings.classes)])
    for slide, values in zip(ratings.slides, consensus.posterior_nk, strict=True):
        writer.writerow([slide, *(f"{value:.6f}" for value in values)])
    write_text(out / "soft_labels.csv", text.getvalue())
    return told


def _pair(ratings: Ratings, a: int, b: int, ordinal: bool) -> dict[str, Any]:
    """Cohen's kappa of two raters on the slides that both have rated."""
    labels = ratings.labels_nr[:, [a, b]]
    labels = labels[(labels >= 0).all(1)]
    named = {"first": ratings.raters[a], "second": ratings.raters[b], "slides": len(labels)}
    if not len(labels):
        return {**named, "kappa": None, "low": None, "high": None, "note": "no slide in common"}
    found = cohen_kappa(
        labels[:, 0],
        labels[:, 1],
        len(ratings.classes),
        weights="quadratic" if ordinal else None,
        bootstrap=Bootstrap(replicates=500),
    )
    return {**named, "kappa": found.value, "low": found.low, "high": found.high, "note": found.note}

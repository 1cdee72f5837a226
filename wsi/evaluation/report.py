"""A table of scores evaluated whole: each score, each pair, each subgroup."""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi.errors import DatasetError
from wsi.evaluation.agreement import cohen_kappa
from wsi.evaluation.binary import EvaluationSpec, ScoreEvaluation, evaluate_score
from wsi.evaluation.bootstrap import Estimate, interval
from wsi.evaluation.delong import DeLong, delong_test
from wsi.evaluation.score_table import ScoreTable
from wsi.plain_json import finite_json

NOTICE = "Research use only; not a medical device."


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two scores of the same cases.

    Attributes:
        first, second: names of the scores.
        delong: test of their AUCs, which takes cases as independent; ``None`` where not defined.
        difference: AUC of the first minus that of the second, interval by patient.
        kappa: agreement of their calls at the threshold; ``None`` where none was asked for.
    """

    first: str
    second: str
    delong: DeLong | None
    difference: Estimate
    kappa: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """The cases with one value in a column."""

    column: str
    value: str
    scores: tuple[ScoreEvaluation, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A whole table.

    Attributes:
        source: the table.
        spec: what was asked.
        by_patient: whether intervals resample patients, or cases for want of patients.
        scores, pairs, subgroups: what was found.
    """

    source: str
    spec: EvaluationSpec
    by_patient: bool
    scores: tuple[ScoreEvaluation, ...]
    pairs: tuple[Pair, ...]
    subgroups: tuple[Subgroup, ...]


def evaluate_table(table: ScoreTable, spec: EvaluationSpec | None = None) -> Evaluation:
    """Evaluate every score of a table, every pair of scores and every subgroup."""
    spec = spec or EvaluationSpec()
    scores = tuple(
        evaluate_score(name, table.labels_n, values, table.patients_n, spec)
        for name, values in table.scores.items()
    )
    return Evaluation(
        source=table.source,
        spec=spec,
        by_patient=table.by_patient,
        scores=scores,
        pairs=tuple(_pair(table, a, b, spec) for a, b in itertools.combinations(scores, 2)),
        subgroups=tuple(_subgroups(table, spec)),
    )


def _pair(
    table: ScoreTable, first: ScoreEvaluation, second: ScoreEvaluation, spec: EvaluationSpec
) -> Pair:
    a, b = table.scores[first.name], table.scores[second.name]
    kappa = _kappa(table, a, b, spec)
    try:
        test = delong_test(table.labels_n, a, b)
    except DatasetError as error:
        missing = Estimate(value=None, note=str(error))
        return Pair(
            first=first.name, second=second.name, delong=None, difference=missing, kappa=kappa
        )
    # The same seed draws the same patients for both, so the replicates are paired.
    apart = first.auc_replicates_b - second.auc_replicates_b
    return Pair(
        first=first.name,
        second=second.name,
        delong=test,
        difference=interval(test.difference, apart, first.patients, spec.bootstrap),
        kappa=kappa,
    )


def _kappa(
    table: ScoreTable, a: NDArray[np.float64], b: NDArray[np.float64], spec: EvaluationSpec
) -> Estimate | None:
    """Cohen's kappa of two scores' calls."""
    if spec.threshold is None:
        return None
    calls = [(values >= spec.threshold).astype(np.int64) for values in (a, b)]
    return cohen_kappa(calls[0], calls[1], 2, patients_n=table.patients_n, bootstrap=spec.bootstrap)


def _subgroups(table: ScoreTable, spec: EvaluationSpec) -> list[Subgroup]:
    found = []
    for column, values_n in table.groups.items():
        for value in np.unique(values_n):
            inside = values_n == value
            found.append(
                Subgroup(
                    column=column,
                    value=str(value),
                    scores=tuple(
                        evaluate_score(
                            name,
                            table.labels_n[inside],
                            scores[inside],
                            table.patients_n[inside],
                            spec,
                        )
                        for name, scores in table.scores.items()
                    ),
                )
            )
    return found


def to_json(value: Any) -> Any:
    """Plain JSON types; what is not finite becomes ``null``. Bootstrap replicates are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.name != "auc_replicates_b"
        }
    if isinstance(value, dict):
        return {str(key): to_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    return finite_json(value)

"""Tables of slides with their true label and one or more scores."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi.errors import DatasetError
from wsi.identifiers import NOT_GIVEN, identifiers_of, normal_identifier
from wsi.tables import need_columns, number_of, read_lines

_TRUE = frozenset({"1", "1.0", "true", "yes", "positive"})
_FALSE = frozenset({"0", "0.0", "false", "no", "negative"})
YES_OR_NO = _TRUE | _FALSE
"""Labels, in small letters, that need no positive class to be named."""


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Cases, their truth and what models said of them.

    Attributes:
        source: where the table comes from, for messages and reports.
        labels_n: (N,) bool, true where the case is positive.
        scores: column name to (N,) float64.
        patients_n: (N,) names; each case its own where the table names no patient.
        by_patient: whether the table names patients.
        groups: column name to (N,) values to look at subgroups by.
    """

    source: str
    labels_n: NDArray[np.bool_]
    scores: dict[str, NDArray[np.float64]]
    patients_n: NDArray[np.str_]
    by_patient: bool
    groups: dict[str, NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.labels_n)

    def per_patient(self) -> "ScoreTable":
        """A case a patient: positive if one slide is, with the highest score of the slides.

        Raises:
            DatasetError: the table names no patients, or has subgroups, which cut across them.
        """
        if not self.by_patient:
            raise DatasetError(f"{self.source}: cases per patient need a column of patients")
        if self.groups:
            raise DatasetError(f"{self.source}: subgroups of slides cannot be had per patient")
        names, patient_of_n = np.unique(self.patients_n, return_inverse=True)
        slides = [np.flatnonzero(patient_of_n == index) for index in range(len(names))]
        return ScoreTable(
            source=f"{self.source}, per patient",
            labels_n=np.array([self.labels_n[rows].any() for rows in slides]),
            scores={
                name: np.array([values[rows].max() for rows in slides])
                for name, values in self.scores.items()
            },
            patients_n=names,
            by_patient=True,
            groups={},
        )


def truth_of(text: str, positive: str | None, where: str, negative: Collection[str] = ()) -> bool:
    """Whether a label is the positive class: by name, or 1 / true / yes / positive.

    Args:
        text: the label as written.
        positive: name of the positive class; ``None`` reads yes and no.
        where: for messages.
        negative: names of the other classes, where ``positive`` is given.

    Raises:
        DatasetError: it is empty or says "not known", or it is neither positive nor negative.
    """
    text = text.strip()
    if text.casefold() in NOT_GIVEN:
        raise DatasetError(
            f"{where}: the label is {text!r}: nothing is known about this case; leave the line out"
            if text
            else f"{where}: the label is empty"
        )
    if positive is not None:
        if text == positive:
            return True
        if text in negative:
            return False
        raise DatasetError(
            f"{where}: label {text!r} is neither the positive class {positive!r} nor one of the "
            f"negative ones ({', '.join(sorted(negative)) or 'none are named'})"
        )
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise DatasetError(f"{where}: label {text!r} is neither 0 nor 1; name the positive class")


def negatives_of(
    labels: Collection[str], positive: str, source: str, named: Collection[str] = ()
) -> frozenset[str]:
    """Which labels say "negative", where the positive one is named.

    Two labels explain each other. Of three and more, one may be a misspelling of the positive
    class: then the negative ones must be named.

    Args:
        labels: every label of the table, stripped.
        positive: one of them.
        source: for messages.
        named: negative classes that the user named.

    Raises:
        DatasetError: no label is the positive class, one looks like it, or there are several
            others and none was named.
    """
    given = {label for label in labels if label.casefold() not in NOT_GIVEN}
    if positive not in given:
        raise DatasetError(
            f"{source}: no label is {positive!r}; labels there: {', '.join(sorted(given))}"
        )
    others = given - {positive}
    spelled = {normal_identifier(text).casefold() for text in (positive,)}
    if alike := sorted(o for o in others if normal_identifier(o).casefold() in spelled):
        raise DatasetError(
            f"{source}: label {alike[0]!r} looks like {positive!r} written in another way; write "
            "each class in one way"
        )
    if named:
        return frozenset(named)
    if len(others) > 1:
        raise DatasetError(
            f"{source}: labels beside {positive!r} are {', '.join(sorted(others))}: say which of "
            f"them are negative, such as --negative {','.join(sorted(others))}"
        )
    return frozenset(others)


def read_scores(
    path: Path,
    *,
    label: str,
    scores: Sequence[str],
    patient: str | None = None,
    positive: str | None = None,
    negative: Collection[str] = (),
    groups: Sequence[str] = (),
) -> ScoreTable:
    """Read a table of scores.

    Args:
        path: CSV with a header.
        label: column of the truth.
        scores: columns of scores; higher says "more likely positive".
        patient: column of the patient, for intervals that resample patients.
        positive: the label of positive cases, where labels are not 0 and 1.
        negative: the labels of negative cases, where there is more than one.
        groups: columns to make subgroups by.

    Raises:
        DatasetError: a column is missing, a score is not a number, a label is unknown, or two
            patients look alike.
    """
    lines = read_lines(path)
    wanted = [label, *scores, *([patient] if patient else []), *groups]
    need_columns(lines, wanted, str(path))
    places = [f"{path}, line {number}" for number in range(2, len(lines) + 2)]
    pairs = list(zip(lines, places, strict=True))
    others = (
        frozenset[str]()
        if positive is None
        else negatives_of({line[label].strip() for line in lines}, positive, str(path), negative)
    )
    names = identifiers_of(lines, patient, str(path)) if patient else places
    if names is None:
        raise DatasetError(f"{path}: {patient} is empty in every line")
    return ScoreTable(
        source=path.name,
        labels_n=np.array(
            [truth_of(line[label], positive, where, others) for line, where in pairs]
        ),
        scores={
            name: np.array([number_of(line[name], f"{w}, {name}") for line, w in pairs])
            for name in scores
        },
        patients_n=np.array(names, np.str_),
        by_patient=patient is not None,
        groups={name: np.array([line[name].strip() for line in lines], np.str_) for name in groups},
    )

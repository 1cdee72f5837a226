"""Tables of slides with their true label and one or more scores."""

import csv
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi.errors import DatasetError

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


def read_lines(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file with a header, every cell a string.

    Raises:
        DatasetError: it cannot be read, has no lines, or a line has too many or too few cells.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not in UTF-8; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise DatasetError(f"{path}: is no CSV: {error}") from error
    if not lines:
        raise DatasetError(f"{path}: the table has no rows")
    for number, line in enumerate(lines, start=2):
        if None in line or None in line.values():
            raise DatasetError(f"{path}, line {number}: not as many cells as the header has")
    return lines


def need_columns(lines: Sequence[dict[str, str]], names: Sequence[str], source: str) -> None:
    """Insist on columns.

    Raises:
        DatasetError: names those that are missing and those that are there.
    """
    missing = [name for name in names if name not in lines[0]]
    if missing:
        raise DatasetError(
            f"{source}: column missing: {', '.join(missing)}; it has: {', '.join(lines[0])}"
        )


def number_of(text: str, where: str) -> float:
    """A finite number in a table.

    Raises:
        DatasetError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        raise DatasetError(f"{where}: {text!r} is no number") from None
    if not math.isfinite(value):
        raise DatasetError(f"{where}: {text!r} is not finite")
    return value


def truth_of(text: str, positive: str | None, where: str) -> bool:
    """Whether a label is the positive class: by name, or 1 / true / yes / positive.

    Raises:
        DatasetError: it is neither yes nor no and no positive class was named.
    """
    text = text.strip()
    if not text:
        raise DatasetError(f"{where}: the label is empty")
    if positive is not None:
        return text == positive
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise DatasetError(f"{where}: label {text!r} is neither 0 nor 1; name the positive class")


def need_positive(labels: Collection[str], positive: str, source: str) -> None:
    """Insist that some label is the positive class.

    Raises:
        DatasetError: names the labels that are there.
    """
    if positive not in labels:
        raise DatasetError(
            f"{source}: no label is {positive!r}; labels there: {', '.join(sorted(labels))}"
        )


def read_scores(
    path: Path,
    *,
    label: str,
    scores: Sequence[str],
    patient: str | None = None,
    positive: str | None = None,
    groups: Sequence[str] = (),
) -> ScoreTable:
    """Read a table of scores.

    Args:
        path: CSV with a header.
        label: column of the truth.
        scores: columns of scores; higher says "more likely positive".
        patient: column of the patient, for intervals that resample patients.
        positive: the label of positive cases, where labels are not 0 and 1.
        groups: columns to make subgroups by.

    Raises:
        DatasetError: a column is missing, a score is no number, a label is unknown.
    """
    lines = read_lines(path)
    wanted = [label, *scores, *([patient] if patient else []), *groups]
    need_columns(lines, wanted, str(path))
    places = [f"{path}, line {number}" for number in range(2, len(lines) + 2)]
    pairs = list(zip(lines, places, strict=True))
    if positive is not None:
        need_positive({line[label].strip() for line in lines}, positive, str(path))
    names = [line[patient].strip() for line in lines] if patient else [str(p) for p in places]
    if "" in names:
        raise DatasetError(f"{places[names.index('')]}: {patient} is empty")
    return ScoreTable(
        source=path.name,
        labels_n=np.array([truth_of(line[label], positive, where) for line, where in pairs]),
        scores={
            name: np.array([number_of(line[name], f"{w}, {name}") for line, w in pairs])
            for name in scores
        },
        patients_n=np.array(names, np.str_),
        by_patient=patient is not None,
        groups={name: np.array([line[name].strip() for line in lines], np.str_) for name in groups},
    )

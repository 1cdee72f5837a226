"""Feature tables: a line a slide, with its label and numbers to tell it by."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsi.errors import DatasetError
from wsi.identifiers import identifiers_of
from wsi.models.aggregators import FEATURES, feature_names
from wsi.tables import need_columns, number_of, read_lines

PatientPooling = Literal["max", "mean"]


@dataclass(frozen=True, kw_only=True)
class FeatureTable:
    """Slides by their features.

    Attributes:
        source: for messages.
        names_n: (N,) of slides.
        patients_n: (N,) of patients; the slide's own name where the table names none.
        by_patient: whether the table names patients.
        labels_n: (N,) index into the classes; ``None`` where the table has no labels.
        features: F names.
        values_nf: (N, F) float64.
        pooled: how a patient's slides were joined into one case; empty where cases are slides.
    """

    source: str
    names_n: NDArray[np.str_]
    patients_n: NDArray[np.str_]
    by_patient: bool
    labels_n: NDArray[np.int64] | None
    features: tuple[str, ...]
    values_nf: NDArray[np.float64]
    pooled: str = ""

    def digest(self) -> str:
        """Names the data: slides, labels and features."""
        digest = hashlib.sha256("\t".join(self.features).encode())
        labels = self.labels_n if self.labels_n is not None else np.full(len(self.names_n), -1)
        for name, label, values in zip(self.names_n, labels, self.values_nf, strict=True):
            digest.update(f"\n{name}\t{label}\t".encode() + values.tobytes())
        return digest.hexdigest()


def read_features(
    paths: Sequence[Path],
    classes: Sequence[str],
    *,
    label: str | None = "tumor",
    name: str = "name",
    patient: str | None = None,
    features: Sequence[str] = FEATURES,
) -> FeatureTable:
    """Read one or several tables as one.

    Args:
        paths: CSV files with a header; columns may come in any order, others are ignored.
        classes: names; the table says the name or its index.
        label: column of the class; ``None`` reads a table without labels.
        name: column of the slide's name.
        patient: column of the patient.
        features: columns of numbers.

    Raises:
        DatasetError: a column is missing, a cell is wrong, a slide comes twice, or two patients
            look alike.
    """
    lines: list[tuple[dict[str, str], str]] = []
    for path in paths:
        found = read_lines(path)
        need_columns(found, [c for c in (name, label, patient, *features) if c], str(path))
        lines += [(line, f"{path}, line {n}") for n, line in enumerate(found, start=2)]
    names = [line[name] for line, _ in lines]
    seen: dict[str, str] = {}
    for slide, (_, where) in zip(names, lines, strict=True):
        if slide in seen:
            raise DatasetError(f"{where}: {slide} was there already: {seen[slide]}")
        seen[slide] = where
    source = ", ".join(path.name for path in paths)
    people = identifiers_of([line for line, _ in lines], patient, source) if patient else names
    if people is None:
        raise DatasetError(f"{source}: {patient} is empty in every line")
    return FeatureTable(
        source=source,
        names_n=np.array(names, np.str_),
        patients_n=np.array(people),
        by_patient=patient is not None,
        labels_n=np.array([class_index(line[label], classes, where) for line, where in lines])
        if label
        else None,
        features=tuple(features),
        values_nf=np.array(
            [[number_of(line[f], f"{where}, {f}") for f in features] for line, where in lines]
        ),
    )


def pool_patients(
    table: FeatureTable, classes: Sequence[str], *, pooling: PatientPooling, worst: bool
) -> FeatureTable:
    """A case a patient: each feature the largest, or the mean, of the patient's slides.

    The largest follows the one slide with disease among normal ones, and rises with the number of
    slides; the mean does not rise, and thins that slide out.

    Args:
        classes: names, in the order of labels.
        pooling: of each feature by itself.
        worst: slides of one patient may differ, and the last of their classes counts.

    Raises:
        DatasetError: the table names no patients, or labels of one patient differ and ``worst`` is
            not asked.
    """
    if not table.by_patient:
        raise DatasetError(f"{table.source}: cases per patient need a column of patients")
    names, patient_of_n = np.unique(table.patients_n, return_inverse=True)
    slides = [np.flatnonzero(patient_of_n == index) for index in range(len(names))]
    if table.labels_n is not None and not worst:
        for name, rows in zip(names, slides, strict=True):
            if len(set(table.labels_n[rows])) > 1:
                told = [f"{table.names_n[i]} {classes[table.labels_n[i]]}" for i in rows]
                raise DatasetError(
                    f"patient {name}: slides have different labels ({', '.join(told)}): one label "
                    "a patient is needed, or the rule that the worst one counts"
                )
    join = np.max if pooling == "max" else np.mean
    return FeatureTable(
        source=f"{table.source}, per patient",
        names_n=names,
        patients_n=names,
        by_patient=True,
        labels_n=None
        if table.labels_n is None
        else np.array([table.labels_n[rows].max() for rows in slides]),
        features=table.features,
        values_nf=np.stack([join(table.values_nf[rows], axis=0) for rows in slides]),
        pooled=pooling,
    )


def columns_of(paths: Sequence[Path], classes: Sequence[str]) -> tuple[str, ...]:
    """The feature columns to learn slide classes from.

    Those of each disease's own map, if a table has any of them; otherwise those of the one map of
    all diseases together, as published tables have.

    Raises:
        DatasetError: a table cannot be read.
    """
    wanted = feature_names(tuple(classes))
    own = set(wanted) - set(FEATURES)
    return wanted if any(own & read_lines(path)[0].keys() for path in paths) else FEATURES


def class_index(text: str, classes: Sequence[str], where: str) -> int:
    """A class by name or index.

    Raises:
        DatasetError: there is no such class.
    """
    text = text.strip()
    if text in classes:
        return list(classes).index(text)
    if text.isdigit() and int(text) < len(classes):
        return int(text)
    raise DatasetError(f"{where}: label {text!r} is not one of the classes {', '.join(classes)}")

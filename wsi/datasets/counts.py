"""What a dataset table says by itself: counts, balance, patients in two splits."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats.contingency import association

from wsi.data.tables import SPLITS
from wsi.datasets.table import NO_LABEL, NO_SPLIT, Entry, Problem, few
from wsi.errors import DatasetError
from wsi.identifiers import DatasetWarning, require_distinct

_RARE = 0.1
_CONFOUNDED = 0.5
_ORDER = ("train", "val", "test")

_MOST_NAMED = 100
"""A report is what a table is mended by: patients to look at are named, not counted."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """How often each pair of values occurs.

    Attributes:
        rows, columns: names.
        counts: of each row, by column.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A table in numbers.

    Attributes:
        entries, patients: how many.
        by_split: label by split, in lines.
        patients_by_split: label by split, in patients.
        by_site: label by site, in lines; ``None`` where the table names no sites.
        site_splits: split by site; ``None`` likewise.
        site_association: Cramér's V of site and label, 0 to 1; ``None`` where not defined. What a
            model could learn of the label from the site alone.
        lines_per_patient: number of lines to the number of patients that have so many.
    """

    entries: int
    patients: int
    by_split: Crossing
    patients_by_split: Crossing
    by_site: Crossing | None
    site_splits: Crossing | None
    site_association: float | None
    lines_per_patient: dict[int, int]


def count(entries: Sequence[Entry]) -> Counts:
    """The table in numbers."""
    labels = [entry.label or NO_LABEL for entry in entries]
    splits = [entry.split or NO_SPLIT for entry in entries]
    sites = [entry.site or "(no site)" for entry in entries]
    patients = [entry.patient for entry in entries]
    has_sites = any(entry.site for entry in entries)
    of_patients = sorted(set(zip(labels, splits, patients, strict=True)))
    return Counts(
        entries=len(entries),
        patients=len(set(patients)),
        by_split=cross(labels, splits),
        patients_by_split=cross([p[0] for p in of_patients], [p[1] for p in of_patients]),
        by_site=cross(labels, sites) if has_sites else None,
        site_splits=cross(splits, sites) if has_sites else None,
        site_association=_association(cross(labels, sites)) if has_sites else None,
        lines_per_patient=dict(sorted(Counter(Counter(patients).values()).items())),
    )


def cross(rows: Sequence[str], columns: Sequence[str]) -> Crossing:
    """Counts of pairs; splits in their usual order, other names sorted."""
    pairs = Counter(zip(rows, columns, strict=True))
    names = [sorted(set(one), key=_rank) for one in (rows, columns)]
    return Crossing(
        rows=tuple(names[0]),
        columns=tuple(names[1]),
        counts=tuple(tuple(pairs[row, column] for column in names[1]) for row in names[0]),
    )


def _rank(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _association(crossing: Crossing) -> float | None:
    counts = np.array(crossing.counts)
    if min(counts.shape) < 2:
        return None
    return float(association(counts, method="cramer"))


def check_counts(entries: Sequence[Entry], counts: Counts) -> list[Problem]:
    """What the numbers warn of."""
    return [
        *_leaks(entries),
        *_patients(entries),
        *_holes(entries),
        *_balance(counts),
        *_sites(entries, counts),
    ]


def _leaks(entries: Sequence[Entry]) -> list[Problem]:
    splits: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.split:
            splits[entry.patient].add(entry.split)
    leaking = sorted(name for name, found in splits.items() if len(found) > 1)
    if not leaking:
        return []
    told = few([f"{name} ({' and '.join(sorted(splits[name], key=_rank))})" for name in leaking])
    message = (
        f"{len(leaking)} patient(s) in more than one split: {told}; split again with "
        "wsi dataset split"
    )
    return [Problem(severity="error", kind="patient_in_two_splits", message=message)]


def _patients(entries: Sequence[Entry]) -> list[Problem]:
    """Identifiers that look alike, and lines without one where others have it."""
    named = [entry for entry in entries if entry.patient != entry.path]
    found = []
    if named and len(named) < len(entries):
        where = few([str(entry.line) for entry in entries if entry.patient == entry.path])
        message = f"{len(entries) - len(named)} line(s) without patient, others have one: {where}"
        found.append(Problem(severity="error", kind="patient_empty", message=message))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DatasetWarning)
        try:
            names = (entry.patient for entry in named)
            require_distinct(names, "patient", "patients", most=_MOST_NAMED)
        except DatasetError as error:
            found.append(Problem(severity="error", kind="patients_alike", message=str(error)))
    found += [
        Problem(severity="warning", kind="patients_share_number", message=str(one.message))
        for one in caught
    ]
    return found


def _holes(entries: Sequence[Entry]) -> list[Problem]:
    """Cells that are empty or make no sense."""
    found = []
    known = set(SPLITS.values())
    checks = (
        ("no_path", [e for e in entries if not e.path], "no path", "error"),
        ("no_label", [e for e in entries if not (e.label or e.annotations)],
         "neither label nor annotations", "error"),
        ("no_split", [e for e in entries if e.split not in known],
         "a split that is not train, val or test", "warning"),
        ("no_mpp_number", [e for e in entries if e.mpp and e.given_mpp is None],
         "an mpp that is not a number", "error"),
    )  # fmt: skip
    for kind, lines, what, severity in checks:
        if lines:
            where = few([str(entry.line) for entry in lines])
            message = f"{len(lines)} line(s) with {what}: line {where}"
            found.append(Problem(severity=severity, kind=kind, message=message))  # type: ignore[arg-type]
    if all(entry.patient == entry.path for entry in entries):
        message = (
            "the table names no patients: slides of one patient in two splits cannot be seen, and "
            "intervals resample slides; add a column patient"
        )
        found.append(Problem(severity="warning", kind="no_patients", message=message))
    return found


def _balance(counts: Counts) -> list[Problem]:
    found = []
    crossing = counts.by_split
    for column, split in enumerate(crossing.columns):
        if split not in _ORDER:
            continue
        sizes = {
            label: line[column]
            for label, line in zip(crossing.rows, crossing.counts, strict=True)
            if label != NO_LABEL
        }
        absent = [label for label, size in sizes.items() if not size]
        total = sum(sizes.values())
        rare = [f"{k} ({v} of {total})" for k, v in sizes.items() if 0 < v < _RARE * total]
        if absent and total:
            message = f"split {split} has no {' and no '.join(absent)}"
            found.append(Problem(severity="error", kind="class_missing", message=message))
        if rare:
            message = f"split {split} has little of {', '.join(rare)}: below {_RARE:.0%}"
            found.append(Problem(severity="warning", kind="class_rare", message=message))
    return found


def _sites(entries: Sequence[Entry], counts: Counts) -> list[Problem]:
    found = []
    labels: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.site and entry.label:
            labels[entry.site].add(entry.label)
    several = len({entry.label for entry in entries if entry.label}) > 1
    single = sorted(site for site, seen in labels.items() if len(seen) == 1)
    if single and several and len(labels) > 1:
        message = (
            f"{len(single)} site(s) with a single class: {few(single)}; there a model can learn "
            "the class from stain or scanner"
        )
        found.append(Problem(severity="warning", kind="site_of_one_class", message=message))
    if counts.site_association is not None and counts.site_association > _CONFOUNDED:
        message = (
            f"site and label go together (Cramér's V {counts.site_association:.2f}): evaluate on "
            "sites that were not trained on (wsi dataset split --by site)"
        )
        found.append(Problem(severity="warning", kind="site_confounded", message=message))
    return found

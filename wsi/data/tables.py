"""Training tables: CSV files of patches or slides with label, patient and split."""

import hashlib
import os
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wsi.errors import DatasetError
from wsi.identifiers import DatasetWarning, identifiers_of
from wsi.slides.identity import slide_digest
from wsi.tables import number_of, read_lines, require_spelling

Split = Literal["train", "val", "test"]
SPLITS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
PATH_COLUMNS = ("path", "file", "slide")
_COLUMNS = ("label", "patient", "split", "annotations", "mpp")
_PATIENTS = ("case", "case_id", "subject", "subject_id", "pid")
_OF_A_FILE = ("split", "label", "patient", "annotations", "mpp")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a training table.

    Attributes:
        path: as written: a file, or a member of a zip.
        label: index into the classes; ``None`` where the table has no label (annotated slides).
        patient: whom it comes from; the path itself where the table does not say.
        split: what it is used for.
        annotations: path of an annotation file, or empty.
        mpp: level-0 resolution given for a slide that states none.
        force_mpp: ``mpp`` counts also where the slide states another one.
    """

    path: str
    label: int | None
    patient: str
    split: Split
    annotations: str = ""
    mpp: float | None = None
    force_mpp: bool = False


def read_table(
    path: Path,
    classes: Sequence[str],
    *,
    root: Path | None = None,
    needs_label: bool = True,
    force_mpp: bool = False,
    tell: Callable[[str], None] | None = None,
) -> list[Row]:
    """Read and check a table.

    Args:
        path: CSV.
        classes: that labels may name.
        root: folder or zip that the paths are relative to; the table's folder unless given.
        needs_label: every line must have one.
        force_mpp: the column ``mpp`` counts also where a slide states another resolution.
        tell: gets what two lines say differently of one file, instead of its being refused: of an
            annotated slide, each may name the annotations of another area.

    Columns: ``path`` (or ``file``, ``slide``), ``split``, ``label`` (a class name or its index),
    ``patient`` (see ``wsi.identifiers``), ``annotations``, ``mpp``. Others are ignored.

    Raises:
        DatasetError: a column is missing or nearly called like one of these, a label or split is
            unknown, a patient is in two splits, is written in two ways or missing in some lines,
            two lines say different things of one file, or a class has no training example.
    """
    lines = read_lines(path)
    require_spelling(lines, _COLUMNS, str(path))
    _warn_without_patients(lines[0], str(path))
    column = next((name for name in PATH_COLUMNS if name in lines[0]), None)
    missing = [] if column else ["path"]
    missing += [name for name in ("split", "label") if name not in lines[0]]
    if not needs_label and "label" in missing:
        missing.remove("label")
    if missing or column is None:
        raise DatasetError(
            f"{path}: column missing: {', '.join(missing)}; it has: {', '.join(lines[0])}"
        )
    patients = identifiers_of(lines, "patient", str(path)) if "patient" in lines[0] else None
    rows = [
        _row(
            line,
            column,
            classes,
            f"{path}, line {number}",
            patients[number - 2] if patients else None,
            force_mpp=force_mpp,
        )
        for number, line in enumerate(lines, start=2)
    ]
    check_leakage(rows, source=str(path))
    differing = differing_lines(rows, root or path.parent, source=str(path))
    if differing and tell is None:
        raise DatasetError(differing[0])
    if tell is not None:
        for text in differing:
            tell(text)
    if needs_label:
        check_classes(rows, classes, source=str(path))
    return rows


def _warn_without_patients(header: Iterable[str], source: str) -> None:
    named = [name for name in header if name.casefold() in _PATIENTS]
    if named and "patient" not in header:
        warnings.warn(
            f"{source}: there is no column patient, so each file counts as a patient of its own; "
            f"if {named[0]!r} says whom it comes from, call it patient",
            DatasetWarning,
            stacklevel=3,
        )


def _row(
    line: Mapping[str, str],
    column: str,
    classes: Sequence[str],
    where: str,
    patient: str | None,
    *,
    force_mpp: bool,
) -> Row:
    path = line[column].strip()
    if not path:
        raise DatasetError(f"{where}: {column} is empty")
    split = (line.get("split") or "").strip().lower()
    if split not in SPLITS:
        raise DatasetError(f"{where}: split {split!r} is not train, val or test")
    mpp = line.get("mpp", "").strip()
    given_mpp = number_of(mpp, f"{where}, mpp") if mpp else 0.0
    if given_mpp < 0:
        raise DatasetError(f"{where}: mpp {mpp} is negative")
    return Row(
        path=path,
        label=_label((line.get("label") or "").strip(), classes, where),
        patient=patient or path,
        split=SPLITS[split],
        annotations=line.get("annotations", "").strip(),
        mpp=given_mpp or None,
        force_mpp=force_mpp,
    )


def _label(text: str, classes: Sequence[str], where: str) -> int | None:
    if not text:
        return None
    if text in classes:
        return list(classes).index(text)
    if text.isdecimal() and int(text) < len(classes):
        return int(text)
    raise DatasetError(f"{where}: label {text!r} is not one of the classes {', '.join(classes)}")


def require_files(rows: Iterable[Row], root: Path) -> None:
    """Refuse a table whose slides are not all there.

    Raises:
        DatasetError: says how many are missing, and the first.
    """
    missing = [row.path for row in rows if not (root / row.path).exists()]
    if missing:
        raise DatasetError(f"{len(missing)} slide(s) of the table are missing, first {missing[0]}")


def rows_digest(rows: Iterable[Row], root: Path) -> str:
    """Names the data of a training, in order: slides by their content, with label, split, patient
    and resolution.

    Raises:
        SlideError: one cannot be read.
    """
    digest = hashlib.sha256()
    for r in rows:
        told = (r.path, r.label, r.split, r.patient, r.mpp, slide_digest(root / r.path))
        digest.update(("\t".join(str(part) for part in told) + "\n").encode())
    return digest.hexdigest()


def check_leakage(rows: Iterable[Row], *, source: str) -> None:
    """Refuse a table in which one patient is in two splits.

    Raises:
        DatasetError: names the patients.
    """
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        splits[row.patient].add(row.split)
    leaking = sorted(patient for patient, names in splits.items() if len(names) > 1)
    if leaking:
        first = ", ".join(f"{p} ({' and '.join(sorted(splits[p]))})" for p in leaking[:3])
        raise DatasetError(
            f"{source}: {len(leaking)} patient(s) in more than one split: {first}; "
            "a model must not be tested on a patient that it was trained on"
        )


def differing_lines(rows: Sequence[Row], root: Path, *, source: str) -> list[str]:
    """Which lines say different things of one file, however it is called, and what differs.

    Args:
        rows: of a table without its first line.
        root: folder or zip that the paths are relative to.
        source: of the table, for messages.
    """
    zipped = zipfile.is_zipfile(root)
    first: dict[str, tuple[int, Row]] = {}
    found = []
    for number, row in enumerate(rows, start=2):
        place = os.path.normpath(row.path) if zipped else os.path.realpath(root / row.path)
        before, known = first.setdefault(place, (number, row))
        if differing := [name for name in _OF_A_FILE if getattr(row, name) != getattr(known, name)]:
            leaks = "what is learned from it cannot be tested on it"
            found.append(
                f"{source}: lines {before} and {number} name one file, {row.path}, with another "
                f"{' and '.join(differing)}; "
                + (leaks if row.split != known.split else "keep one of them")
            )
    return found


def check_classes(rows: Sequence[Row], classes: Sequence[str], *, source: str) -> None:
    """Refuse a table without a label, or with a class that training never sees.

    Raises:
        DatasetError: names the row or the class.
    """
    unlabelled = next((row for row in rows if row.label is None), None)
    if unlabelled:
        raise DatasetError(f"{source}: {unlabelled.path} has no label")
    for index, name in enumerate(classes):
        count = sum(row.label == index and row.split == "train" for row in rows)
        if count < 2:
            raise DatasetError(
                f"{source}: class {name!r} has {count} training example(s); it needs at least two"
            )

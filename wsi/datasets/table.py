"""Dataset tables read leniently: what training refuses, a report describes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wsi.data.tables import PATH_COLUMNS, SPLITS
from wsi.errors import DatasetError
from wsi.identifiers import normal_identifier
from wsi.slide_names import slide_stem
from wsi.tables import plain_number, read_lines

Severity = Literal["error", "warning"]
NO_LABEL = "(no label)"
NO_SPLIT = "(no split)"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a dataset table, as it is.

    Attributes:
        line: its number in the file.
        path, annotations: as written; annotations may be empty.
        label: class; empty where the table has none.
        patient: the path where the table does not say.
        split: train, val, test, or whatever is written.
        site: where it comes from; empty where the table does not say.
        mpp: as written.
    """

    line: int
    path: str
    label: str
    patient: str
    split: str
    site: str
    annotations: str
    mpp: str

    @property
    def name(self) -> str:
        """File name without its ending."""
        return slide_stem(self.path)

    @property
    def given_mpp(self) -> float | None:
        """``mpp`` as a number; ``None`` where there is none that is positive."""
        try:
            value = float(plain_number(self.mpp))
        except ValueError:
            return None
        return value if 0 < value < math.inf else None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that a training would suffer from.

    Attributes:
        severity: an ``error`` makes figures untrue or stops a training; a ``warning`` may be meant.
        kind: a stable word.
        message: what, which, what to do.
    """

    severity: Severity
    kind: str
    message: str


def read_entries(path: Path, *, site: str = "site") -> list[Entry]:
    """Every line of a table.

    Args:
        path: CSV with ``path`` (or ``file``, ``slide``); ``label``, ``patient``, ``split``,
            ``annotations``, ``mpp`` where there are any.
        site: column of the site, scanner or centre.

    Raises:
        DatasetError: it is not a CSV file, or has no column of paths.
    """
    lines = read_lines(path)
    column = next((name for name in PATH_COLUMNS if name in lines[0]), None)
    if column is None:
        raise DatasetError(
            f"{path}: column missing: {' or '.join(PATH_COLUMNS)}; it has: {', '.join(lines[0])}"
        )
    found = []
    for number, line in enumerate(lines, start=2):

        def cell(name: str, line: dict[str, str] = line) -> str:
            return line.get(name, "").strip()

        split = cell("split").lower()
        found.append(
            Entry(
                line=number,
                path=cell(column),
                label=cell("label"),
                patient=normal_identifier(cell("patient")) or cell(column),
                split=SPLITS.get(split, split),
                site=cell(site),
                annotations=cell("annotations"),
                mpp=cell("mpp"),
            )
        )
    return found


def few(names: Sequence[str], most: int = 5) -> str:
    """The first names of many, for a message."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

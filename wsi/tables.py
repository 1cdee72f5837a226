"""Tables that people write: CSV files with a header, every cell a string.

Commas, semicolons or tabs part the cells, whichever the header has most of; spreadsheets in half
of the world write semicolons, and a comma in their numbers.
"""

import csv
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from wsi.errors import DatasetError

DELIMITERS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_OTHERS = re.compile(r"[\W\d_]+")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")


def delimiter_of(header: str) -> str:
    """What parts the cells of a table with this first line."""
    return max(DELIMITERS, key=header.count)


def read_lines(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file with a header; cells as written, names of columns stripped.

    Raises:
        DatasetError: it cannot be read, has no lines, names a column twice, or a line has too many
            or too few cells.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            delimiter = delimiter_of(file.readline())
            file.seek(0)
            rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not in UTF-8; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise DatasetError(f"{path}: is not a CSV file: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if len(rows) < 2:
        raise DatasetError(f"{path}: the table has no rows")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DatasetError(f"{path}: column {twice[0]!r} occurs twice; which one counts?")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DatasetError(
                f"{path}, line {number}: {len(row)} cells where the header has {len(header)}"
            )
    return [dict(zip(header, row, strict=True)) for row in rows[1:]]


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


def require_spelling(lines: Sequence[dict[str, str]], names: Sequence[str], source: str) -> None:
    """Insist that no column is nearly called like one that would be read (``patient_id``).

    Raises:
        DatasetError: names the column; it would be ignored without a word.
    """
    for column in lines[0]:
        plain = _OTHERS.sub("", column.casefold())
        for meant in names:
            same = column != meant and plain == meant
            alike = meant not in lines[0] and plain in (f"{meant}s", f"{meant}id", f"{meant}name")
            if not same and not alike:
                continue
            raise DatasetError(
                f"{source}: column {column!r} is not read, {meant!r} would be: rename it, or "
                "leave it out"
            )


def number_of(text: str, where: str) -> float:
    """A finite number in a table, with a decimal point or comma.

    Raises:
        DatasetError: it is not a number, not finite, or could be read in two ways (``1,234``).
    """
    try:
        value = float(plain_number(text))
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from None
    if not math.isfinite(value):
        raise DatasetError(f"{where}: {text!r} is not finite")
    return value


def plain_number(text: str) -> str:
    """A number as Python writes it: a decimal comma becomes a point.

    Raises:
        ValueError: it is not a number, or its comma could also part thousands.
    """
    text = text.strip()
    if _THOUSANDS.fullmatch(text):
        raise ValueError(f"{text!r} could be a fraction or thousands; write it with a point")
    if _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    try:
        float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    return text


class HasSplit(Protocol):
    """One line of a table that is divided for training."""

    @property
    def split(self) -> str | None:
        """``train``, ``val``, ``test``; ``None`` where the table does not say."""
        ...


_Line = TypeVar("_Line", bound=HasSplit)


def of_split(
    lines: Iterable[_Line], split: str, source: Path, *, each: str = "slide"
) -> list[_Line]:
    """The lines of one split.

    Args:
        lines: of the table.
        split: which.
        source: the table, for the message.
        each: what a line stands for, for the message.

    Raises:
        DatasetError: there is none.
    """
    found = [line for line in lines if line.split == split]
    if not found:
        raise DatasetError(f"{source}: no {each} is in the split {split}")
    return found

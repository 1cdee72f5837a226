"""A table of slides, as spreadsheets save it: one line a slide."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import BadRequestError
from service.slides.schemas import MppIn
from wsi.tables import delimiter_of, plain_number

_NAMES = {"slide_id": "slide", "path": "slide"}
_COLUMNS = ("slide", "mpp", "pipeline", "model", "priority")


class Line(BaseModel):
    """One line of a table. ``slide`` is an id of the service, a path on a mount, or an object."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slide: str = Field(min_length=1, max_length=4096)
    mpp: MppIn | None = None
    pipeline: str | None = Field(default=None, max_length=64)
    model: str | None = Field(default=None, max_length=255)
    priority: int | None = Field(default=None, ge=-100, le=100)


@dataclass(frozen=True)
class BadLine:
    """A line that cannot be read, and why."""

    slide: str
    reason: str


def read_table(content: bytes, *, max_lines: int) -> Iterator[Line | BadLine]:
    """The lines of a CSV file; empty ones are left out.

    Columns: ``slide`` (or ``slide_id``, ``path``), ``mpp``, ``pipeline``, ``model``, ``priority``;
    all but the first may be missing or empty. Commas, semicolons or tabs; UTF-8.

    Raises:
        BadRequestError: it is no such table.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequestError("the table must be CSV in UTF-8") from error
    head = text.partition("\n")[0]
    delimiter = delimiter_of(head)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadRequestError(f"the table is not a CSV file: {error}") from error
    columns = [_column(name) for name in rows[0]] if rows else []
    unknown = [name for name in columns if name not in _COLUMNS]
    if unknown or "slide" not in columns or len(set(columns)) < len(columns):
        raise BadRequestError(
            f"the first line must name the columns: slide (an id or a path) and, if wanted, "
            f"{', '.join(_COLUMNS[1:])}; it says: {', '.join(columns) or 'nothing'}"
        )
    filled = [(number, row) for number, row in enumerate(rows[1:], start=2) if any(row)]
    if not filled or len(filled) > max_lines:
        raise BadRequestError(f"the table must have 1 to {max_lines} lines, not {len(filled)}")
    return (_line(number, dict(zip(columns, row, strict=False)), row) for number, row in filled)


def _column(name: str) -> str:
    plain = name.strip().lower().replace(" ", "_")
    return _NAMES.get(plain, plain)[:64]


def _line(number: int, cells: Mapping[str, str], row: list[str]) -> Line | BadLine:
    slide = cells.get("slide", "").strip()
    if len(row) > len(cells):
        return BadLine(slide, f"line {number} has more cells than there are columns")
    given = {name: text.strip() for name, text in cells.items() if text.strip()}
    try:
        if "mpp" in given:
            given["mpp"] = plain_number(given["mpp"])
    except ValueError as error:
        return BadLine(slide, f"line {number}: mpp: {error}")
    try:
        return Line.model_validate(given)
    except ValidationError as error:
        issues = "; ".join(f"{issue['loc'][0]}: {issue['msg']}" for issue in error.errors())
        return BadLine(slide, f"line {number}: {issues}")
